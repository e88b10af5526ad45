-- Scheduled jobs, and what is known of the use of each day.

CREATE TABLE schedules (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    revision    INTEGER NOT NULL,
    enabled     INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    environment TEXT NOT NULL,
    work        TEXT NOT NULL,
    terms       TEXT NOT NULL,
    payload     BLOB,
    start       INTEGER NOT NULL,
    repeats     TEXT NOT NULL,
    owner       TEXT NOT NULL,
    owner_login TEXT NOT NULL,
    next_run    INTEGER,
    ended       INTEGER,
    last_run    INTEGER,
    last_job    INTEGER,
    last_error  TEXT
) STRICT;

CREATE INDEX schedules_due ON schedules (next_run, id) WHERE next_run IS NOT NULL;
CREATE INDEX schedules_ended ON schedules (ended) WHERE ended IS NOT NULL;

-- Which schedule made the job; that one may be gone.
ALTER TABLE jobs ADD COLUMN schedule INTEGER;

-- Days are counted from 1970-01-01.
CREATE TABLE usage_days (
    day         INTEGER PRIMARY KEY,
    nodes       INTEGER NOT NULL,
    corrective  INTEGER NOT NULL,
    intentional INTEGER NOT NULL,
    task_nodes  INTEGER NOT NULL,
    plan_nodes  INTEGER NOT NULL
) STRICT;

-- Of the days that are not over yet, or have not been counted since.
CREATE TABLE usage_nodes (
    day  INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (day, name)
) STRICT;
