-- Jobs, their nodes and events, the inventory's names, users and tokens. Times are milliseconds since 1970.

CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    state       TEXT NOT NULL,
    environment TEXT NOT NULL,
    task        TEXT NOT NULL,
    params      TEXT NOT NULL,
    sensitive   TEXT NOT NULL,
    scope       TEXT NOT NULL,
    noop        INTEGER NOT NULL,
    description TEXT NOT NULL,
    userdata    TEXT NOT NULL,
    timeout     INTEGER,
    owner       TEXT NOT NULL,
    owner_login TEXT NOT NULL,
    created     INTEGER NOT NULL,
    started     INTEGER,
    finished    INTEGER,
    timestamp   INTEGER NOT NULL,
    node_count  INTEGER NOT NULL,
    payload     BLOB
) STRICT;

CREATE INDEX jobs_unfinished ON jobs (id) WHERE finished IS NULL;

CREATE TABLE job_status (
    job   INTEGER NOT NULL REFERENCES jobs (id),
    seq   INTEGER NOT NULL,
    state TEXT NOT NULL,
    enter INTEGER NOT NULL,
    exit  INTEGER,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    job             INTEGER NOT NULL REFERENCES jobs (id),
    position        INTEGER NOT NULL,
    name            TEXT NOT NULL,
    transaction_id  TEXT NOT NULL,
    state           TEXT NOT NULL,
    start           INTEGER,
    finish          INTEGER,
    timestamp       INTEGER NOT NULL,
    latest_event_id INTEGER NOT NULL DEFAULT 0,
    acknowledged    INTEGER NOT NULL DEFAULT 0,
    resent          INTEGER NOT NULL DEFAULT 0,
    details         TEXT NOT NULL DEFAULT '{}',
    result          TEXT,
    PRIMARY KEY (job, position),
    UNIQUE (job, name)
) STRICT;

CREATE INDEX nodes_state ON nodes (job, state);

CREATE TABLE events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    job       INTEGER NOT NULL REFERENCES jobs (id),
    kind      TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    details   TEXT NOT NULL,
    message   TEXT NOT NULL
) STRICT;

CREATE INDEX events_job ON events (job, id);

CREATE TABLE known_nodes (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    login         TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    display_name  TEXT NOT NULL,
    email         TEXT NOT NULL,
    is_superuser  INTEGER NOT NULL,
    is_revoked    INTEGER NOT NULL,
    last_login    INTEGER,
    role_ids      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    hash       BLOB PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    label      TEXT,
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    revoked    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
