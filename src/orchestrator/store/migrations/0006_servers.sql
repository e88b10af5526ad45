-- Numbers that are given one after the other without gaps, and never twice. In PostgreSQL several servers may use one
-- database: who they are, which of them a job belongs to, and what they want of each other. Times are the database's.

CREATE TABLE numbers (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

INSERT INTO numbers (name, last) SELECT 'jobs', coalesce(max(id), 0) FROM jobs;
INSERT INTO numbers (name, last) SELECT 'plan_jobs', coalesce(max(id), 0) FROM plan_jobs;
INSERT INTO numbers (name, last) SELECT 'roles', coalesce(max(id), 0) FROM roles;

-- Its rows go step by step, and until the last one is gone it is not whole.
ALTER TABLE jobs ADD COLUMN removing INTEGER NOT NULL DEFAULT 0;

-- SQLite only: numbers of what was removed before are not given again.
UPDATE numbers SET last = max(last, (SELECT seq FROM sqlite_sequence WHERE sqlite_sequence.name = numbers.name))
    WHERE name IN (SELECT name FROM sqlite_sequence);
-- For both again.

-- PostgreSQL only: a server's number is that of its start; `ended` is set once it may write nothing any more. `last_batch`
-- is its last transaction, by which it finds out what became of one in doubt.
CREATE TABLE servers (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    instance   TEXT NOT NULL,
    name       TEXT NOT NULL,
    started    INTEGER NOT NULL,
    heartbeat  INTEGER NOT NULL,
    ended      INTEGER,
    ended_why  TEXT
);

CREATE TABLE server_batches (
    server     INTEGER PRIMARY KEY,
    last_batch INTEGER NOT NULL
);

CREATE TABLE site_keys (
    name        TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL
);

ALTER TABLE jobs ADD COLUMN server INTEGER DEFAULT nullif(current_setting('podium.server', true), '')::BIGINT;
ALTER TABLE jobs ADD COLUMN stop_wanted INTEGER NOT NULL DEFAULT 0;
