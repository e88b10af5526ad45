-- Who is told of events over HTTPS, and how far they have been told. Times are milliseconds since 1970.

CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    url           TEXT NOT NULL,
    kinds         TEXT NOT NULL,
    description   TEXT NOT NULL,
    owner         TEXT NOT NULL,
    created       INTEGER NOT NULL,
    secret        BLOB NOT NULL,
    state         TEXT NOT NULL,
    next_event    INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    failing_since INTEGER,
    last_error    TEXT,
    delivered     INTEGER,
    resumed       INTEGER NOT NULL DEFAULT 0
);
