-- What is known of nodes: facts and extensions of certificates, as JSON. `sequence` is that of the node's last change, so
-- that readers can ask for what has changed. Beside them the embedded classifier's groups, and task targets.

CREATE TABLE known_facts (
    name       TEXT PRIMARY KEY,
    facts      TEXT,
    stored     INTEGER,
    extensions TEXT,
    sequence   INTEGER NOT NULL UNIQUE
) STRICT;

CREATE TABLE known_facts_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    bytes    INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;

INSERT INTO known_facts_state VALUES (1, 0, 0);

CREATE TABLE classifier_groups (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    environment TEXT NOT NULL,
    body        TEXT NOT NULL,
    UNIQUE (environment, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE classifier_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
) STRICT;

INSERT INTO classifier_state VALUES (1, 0);

CREATE TABLE task_targets (
    id   INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;
