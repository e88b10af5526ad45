-- Roles, who has them, lock-out of users, and all that is known of a token. Times are milliseconds since 1970.

CREATE TABLE roles (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    display_name TEXT NOT NULL UNIQUE,
    description  TEXT NOT NULL,
    permissions  TEXT NOT NULL
) STRICT;

CREATE TABLE user_roles (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id INTEGER NOT NULL,
    PRIMARY KEY (user_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_roles_role ON user_roles (role_id);

-- SQLite only: no other database has ever had users with the roles in a column.
INSERT INTO user_roles (user_id, role_id)
    SELECT users.id, json_each.value FROM users, json_each(users.role_ids);
-- For both again.

ALTER TABLE users DROP COLUMN role_ids;
ALTER TABLE users ADD COLUMN failed_logins INTEGER NOT NULL DEFAULT 0;
-- SHA-256 of the secret that lets its owner choose a new password, once.
ALTER TABLE users ADD COLUMN reset_hash BLOB;
ALTER TABLE users ADD COLUMN reset_expires INTEGER;

-- Tokens live for an hour as a rule: whoever had one logs in again.
DROP TABLE tokens;

CREATE TABLE tokens (
    hash        BLOB PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    label       TEXT,
    description TEXT NOT NULL,
    client      TEXT NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    last_active INTEGER NOT NULL,
    timeout     INTEGER,
    revoked     INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX tokens_label ON tokens (user_id, label) WHERE label IS NOT NULL;
CREATE INDEX tokens_user ON tokens (user_id);
CREATE INDEX tokens_expires ON tokens (expires);
