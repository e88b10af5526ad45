-- The order of a job's nodes, the reports of Puppet runs, and when a password was last wrong.

CREATE TABLE node_order (
    job            INTEGER NOT NULL REFERENCES jobs (id),
    position       INTEGER NOT NULL,
    after_position INTEGER NOT NULL,
    PRIMARY KEY (job, position, after_position)
) STRICT, WITHOUT ROWID;

CREATE TABLE node_reports (
    job    INTEGER NOT NULL REFERENCES jobs (id),
    name   TEXT NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;

ALTER TABLE users ADD COLUMN last_failed INTEGER;

CREATE INDEX plan_jobs_running ON plan_jobs (state, owner_login);
CREATE INDEX tokens_revoked ON tokens (revoked) WHERE revoked IS NOT NULL;
