-- Kinds of jobs, stopping, plan jobs. A deploy has the empty task and its options; `forced` says that running nodes are
-- to be ended too once the job is stopping.

CREATE TABLE plan_jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    state       TEXT NOT NULL,
    plan        TEXT NOT NULL,
    environment TEXT NOT NULL,
    params      TEXT NOT NULL,
    sensitive   TEXT NOT NULL,
    description TEXT NOT NULL,
    userdata    TEXT NOT NULL,
    result      TEXT,
    owner       TEXT NOT NULL,
    owner_login TEXT NOT NULL,
    created     INTEGER NOT NULL,
    finished    INTEGER
) STRICT;

ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'task';
ALTER TABLE jobs ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN concurrency INTEGER;
ALTER TABLE jobs ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN plan_job INTEGER REFERENCES plan_jobs (id);

CREATE INDEX jobs_plan ON jobs (plan_job) WHERE plan_job IS NOT NULL;

CREATE TABLE plan_events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_job  INTEGER NOT NULL REFERENCES plan_jobs (id),
    kind      TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    details   TEXT NOT NULL
) STRICT;

CREATE INDEX plan_events_job ON plan_events (plan_job, id);
