//! Users, roles and tokens in SQLite. What must hold between rows (free names, numbers of them) is looked at where it is
//! written, by the one writer.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::StoreError;
use super::access::{AccessChange, AccessStore, Reset, Token, User};
use super::rows::{database, json, parsed, time, time_option};
use super::sqlite::SqliteStore;
use super::writer::execute;
use crate::clock::WallTime;
use crate::limits::{ROLES_MAX, TOKENS_PER_USER_MAX, USERS_MAX};
use crate::orchestrator::rbac::roles::Role;

/// Every column of a user, the roles as JSON.
const USER: &str = "users.*, (SELECT json_group_array(role_id) FROM (SELECT role_id FROM user_roles \
                    WHERE user_id = users.id ORDER BY role_id)) AS role_ids";

impl AccessStore for SqliteStore {
    fn user(&self, login: &str) -> Result<Option<User>, StoreError> {
        self.read("look up a user", |connection| find_user(connection, "login = ?1", login))
    }

    fn user_by_id(&self, id: &str) -> Result<Option<User>, StoreError> {
        self.read("look up a user", |connection| find_user(connection, "id = ?1", id))
    }

    fn user_by_reset(&self, hash: &[u8; 32]) -> Result<Option<User>, StoreError> {
        self.read("look up a user", |connection| find_user(connection, "reset_hash = ?1", hash))
    }

    fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read("list users", |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {USER} FROM users ORDER BY login"))?;
            statement.query_map([], user)?.collect()
        })
    }

    fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.read("list roles", |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM roles ORDER BY id")?;
            statement.query_map([], role)?.collect()
        })
    }

    fn roles_of(&self, user: &str) -> Result<Vec<Role>, StoreError> {
        self.read("list a user's roles", |connection| {
            let sql = "SELECT roles.* FROM user_roles JOIN roles ON roles.id = role_id WHERE user_id = ?1 ORDER BY id";
            connection.prepare_cached(sql)?.query_map(params![user], role)?.collect()
        })
    }

    fn token(&self, hash: &[u8; 32]) -> Result<Option<(Token, User)>, StoreError> {
        self.read("look up a token", |connection| {
            let sql = format!("SELECT tokens.*, {USER} FROM tokens JOIN users ON users.id = user_id WHERE hash = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_row(params![hash], |row| Ok((token(row)?, user(row)?))).optional()
        })
    }

    fn dead_tokens(&self, before: WallTime, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        self.read("list tokens out of use", |connection| {
            // One after the other: each has an index of its own.
            let mut dead: Vec<[u8; 32]> = Vec::new();
            for column in ["expires", "revoked"] {
                let sql = format!("SELECT hash FROM tokens WHERE {column} < ?1 LIMIT ?2");
                let left = i64::try_from(limit - dead.len()).unwrap_or(i64::MAX);
                let mut statement = connection.prepare_cached(&sql)?;
                let found = statement.query_map(params![before.as_millis(), left], |row| row.get::<_, [u8; 32]>(0))?;
                dead.extend(found.collect::<Result<Vec<_>, _>>()?);
            }
            Ok(dead)
        })
    }
}

fn find_user(connection: &Connection, filter: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<Option<User>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {USER} FROM users WHERE {filter}"))?;
    statement.query_row(params![value], user).optional()
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let reset: (Option<[u8; 32]>, Option<WallTime>) = (row.get("reset_hash")?, time_option(row, "reset_expires")?);
    Ok(User {
        id: row.get("id")?,
        login: row.get("login")?,
        password_hash: row.get("password_hash")?,
        display_name: row.get("display_name")?,
        email: row.get("email")?,
        is_superuser: row.get("is_superuser")?,
        is_revoked: row.get("is_revoked")?,
        last_login: time_option(row, "last_login")?,
        failed_logins: row.get("failed_logins")?,
        last_failed: time_option(row, "last_failed")?,
        reset: reset.0.zip(reset.1).map(|(hash, expires)| Reset { hash, expires }),
        role_ids: parsed(row, "role_ids")?,
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let timeout: Option<i64> = row.get("timeout")?;
    Ok(Token {
        hash: row.get("hash")?,
        user_id: row.get("user_id")?,
        label: row.get("label")?,
        description: row.get("description")?,
        client: row.get("client")?,
        created: time(row, "created")?,
        expires: time(row, "expires")?,
        last_active: time(row, "last_active")?,
        timeout: timeout.map(|millis| Duration::from_millis(millis.unsigned_abs())),
        revoked: time_option(row, "revoked")?,
    })
}

fn role(row: &Row<'_>) -> rusqlite::Result<Role> {
    Ok(Role {
        id: row.get("id")?,
        display_name: row.get("display_name")?,
        description: row.get("description")?,
        permissions: parsed(row, "permissions")?,
    })
}

/// Makes a change.
pub(super) fn apply(connection: &Connection, change: &AccessChange) -> Result<(), StoreError> {
    match change {
        AccessChange::UserAdded(user) => add_user(connection, user),
        AccessChange::UserEdited(user) => edit_user(connection, user),
        AccessChange::UserRemoved(id) => {
            one(execute(connection, "DELETE FROM users WHERE id = ?1", params![id])?, "user", id)
        }
        AccessChange::PasswordSet { user, hash } => {
            let sql = "UPDATE users SET password_hash = ?2, failed_logins = 0, reset_hash = NULL, reset_expires = NULL \
                       WHERE id = ?1";
            one(execute(connection, sql, params![user, hash])?, "user", user)
        }
        AccessChange::ResetOffered { user, reset } => {
            let sql = "UPDATE users SET reset_hash = ?2, reset_expires = ?3 WHERE id = ?1";
            one(execute(connection, sql, params![user, reset.hash, reset.expires.as_millis()])?, "user", user)
        }
        AccessChange::LoginFailed { user, at, anew } => {
            let sql = "UPDATE users SET failed_logins = CASE WHEN ?3 THEN 1 ELSE failed_logins + 1 END, last_failed = ?2 \
                       WHERE id = ?1";
            execute(connection, sql, params![user, at.as_millis(), anew]).map(drop)
        }
        AccessChange::LoggedIn { user, at } => {
            let sql = "UPDATE users SET failed_logins = 0, last_login = ?2 WHERE id = ?1";
            one(execute(connection, sql, params![user, at.as_millis()])?, "user", user)
        }
        AccessChange::Unlocked { user } => {
            let sql = "UPDATE users SET failed_logins = 0 WHERE id = ?1";
            one(execute(connection, sql, params![user])?, "user", user)
        }
        AccessChange::RoleAdded(role) => add_role(connection, role),
        AccessChange::RoleSet(role) => set_role(connection, role),
        AccessChange::RoleRemoved(id) => {
            execute(connection, "DELETE FROM user_roles WHERE role_id = ?1", params![id])?;
            one(execute(connection, "DELETE FROM roles WHERE id = ?1", params![id])?, "role", id)
        }
        AccessChange::MembersSet { role, users } => set_members(connection, *role, users),
        AccessChange::TokenIssued(token) => issue_token(connection, token),
        AccessChange::TokenUsed { hash, at } => {
            let sql = "UPDATE tokens SET last_active = max(last_active, ?2) WHERE hash = ?1";
            execute(connection, sql, params![hash, at.as_millis()]).map(drop)
        }
        AccessChange::TokenRevoked { hash, at } => {
            let sql = "UPDATE tokens SET revoked = coalesce(revoked, ?2) WHERE hash = ?1";
            execute(connection, sql, params![hash, at.as_millis()]).map(drop)
        }
        AccessChange::TokensForgotten(hashes) => hashes
            .iter()
            .try_for_each(|hash| execute(connection, "DELETE FROM tokens WHERE hash = ?1", params![hash]).map(drop)),
        AccessChange::TokensRevoked { user, label, at } => {
            let sql = "UPDATE tokens SET revoked = coalesce(revoked, ?3) \
                       WHERE user_id = ?1 AND (?2 IS NULL OR label = ?2)";
            execute(connection, sql, params![user, label, at.as_millis()]).map(drop)
        }
    }
}

/// A change that must have met one row.
fn one(rows: usize, what: &str, id: impl std::fmt::Display) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Missing(format!("there is no {what} {id} any more"))) }
}

fn count(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(values, |row| row.get(0)))
        .map_err(database("count rows"))?;
    Ok(count.unsigned_abs())
}

fn conflict<T>(message: String) -> Result<T, StoreError> {
    Err(StoreError::Conflict(message))
}

fn add_user(connection: &Connection, user: &User) -> Result<(), StoreError> {
    if count(connection, "SELECT count(*) FROM users", [])? >= USERS_MAX {
        return conflict(format!("there are {USERS_MAX} users already; remove one first"));
    }
    refuse_taken_login(connection, user)?;
    execute(
        connection,
        "INSERT INTO users (id, login, password_hash, display_name, email, is_superuser, is_revoked, last_login, \
         failed_logins, reset_hash, reset_expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            user.id,
            user.login,
            user.password_hash,
            user.display_name,
            user.email,
            user.is_superuser,
            user.is_revoked,
            user.last_login.map(WallTime::as_millis),
            user.failed_logins,
            user.reset.map(|reset| reset.hash),
            user.reset.map(|reset| reset.expires.as_millis()),
        ],
    )?;
    set_roles_of(connection, user)
}

fn edit_user(connection: &Connection, user: &User) -> Result<(), StoreError> {
    refuse_taken_login(connection, user)?;
    // An offer of a new password was made for what the user was.
    let sql = "UPDATE users SET login = ?2, display_name = ?3, email = ?4, is_revoked = ?5, reset_hash = NULL, \
               reset_expires = NULL WHERE id = ?1";
    let values = params![user.id, user.login, user.display_name, user.email, user.is_revoked];
    one(execute(connection, sql, values)?, "user", &user.id)?;
    set_roles_of(connection, user)
}

fn refuse_taken_login(connection: &Connection, user: &User) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM users WHERE login = ?1 AND id <> ?2";
    if count(connection, sql, params![user.login, user.id])? > 0 {
        return conflict(format!("the login {:?} belongs to another user", user.login));
    }
    Ok(())
}

fn set_roles_of(connection: &Connection, user: &User) -> Result<(), StoreError> {
    execute(connection, "DELETE FROM user_roles WHERE user_id = ?1", params![user.id])?;
    user.role_ids.iter().try_for_each(|role| give(connection, &user.id, *role))
}

fn give(connection: &Connection, user: &str, role: i64) -> Result<(), StoreError> {
    if count(connection, "SELECT count(*) FROM roles WHERE id = ?1", params![role])? == 0 {
        return Err(StoreError::Missing(format!("there is no role {role}")));
    }
    if count(connection, "SELECT count(*) FROM users WHERE id = ?1", params![user])? == 0 {
        return Err(StoreError::Missing(format!("there is no user {user}")));
    }
    let sql = "INSERT OR IGNORE INTO user_roles (user_id, role_id) VALUES (?1, ?2)";
    execute(connection, sql, params![user, role]).map(drop)
}

fn add_role(connection: &Connection, role: &Role) -> Result<(), StoreError> {
    if count(connection, "SELECT count(*) FROM roles", [])? >= ROLES_MAX {
        return conflict(format!("there are {ROLES_MAX} roles already; remove one first"));
    }
    refuse_taken_name(connection, &role.display_name, 0)?;
    let sql = "INSERT INTO roles (display_name, description, permissions) VALUES (?1, ?2, ?3)";
    execute(connection, sql, params![role.display_name, role.description, json(&role.permissions)]).map(drop)
}

fn set_role(connection: &Connection, role: &Role) -> Result<(), StoreError> {
    refuse_taken_name(connection, &role.display_name, role.id)?;
    let sql = "INSERT INTO roles (id, display_name, description, permissions) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (id) DO UPDATE SET display_name = ?2, description = ?3, permissions = ?4";
    execute(connection, sql, params![role.id, role.display_name, role.description, json(&role.permissions)]).map(drop)
}

fn refuse_taken_name(connection: &Connection, name: &str, id: i64) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM roles WHERE display_name = ?1 AND id <> ?2";
    if count(connection, sql, params![name, id])? > 0 {
        return conflict(format!("another role is called {name:?}"));
    }
    Ok(())
}

fn set_members(connection: &Connection, role: i64, users: &[String]) -> Result<(), StoreError> {
    execute(connection, "DELETE FROM user_roles WHERE role_id = ?1", params![role])?;
    let void = "UPDATE users SET reset_hash = NULL, reset_expires = NULL WHERE id = ?1 AND reset_hash IS NOT NULL";
    users.iter().try_for_each(|user| {
        execute(connection, void, params![user])?;
        give(connection, user, role)
    })
}

fn issue_token(connection: &Connection, token: &Token) -> Result<(), StoreError> {
    let created = token.created.as_millis();
    let sql = "DELETE FROM tokens WHERE user_id = ?1 AND label = ?2 AND (expires <= ?3 OR revoked IS NOT NULL)";
    execute(connection, sql, params![token.user_id, token.label, created])?;
    let sql = "SELECT count(*) FROM tokens WHERE user_id = ?1 AND label = ?2";
    if count(connection, sql, params![token.user_id, token.label])? > 0 {
        let label = token.label.as_deref().unwrap_or_default();
        return conflict(format!("you have a token with the label {label:?}; revoke it, or give another label"));
    }
    if count(connection, "SELECT count(*) FROM tokens WHERE user_id = ?1", params![token.user_id])?
        >= TOKENS_PER_USER_MAX
    {
        return conflict(format!(
            "you have {TOKENS_PER_USER_MAX} tokens; wait until some have expired, or revoke some"
        ));
    }
    let sql = "INSERT INTO tokens (hash, user_id, label, description, client, created, expires, last_active, timeout, \
               revoked) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = params![
        token.hash,
        token.user_id,
        token.label,
        token.description,
        token.client,
        created,
        token.expires.as_millis(),
        token.last_active.as_millis(),
        token.timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)),
        token.revoked.map(WallTime::as_millis),
    ];
    execute(connection, sql, values).map(drop)
}
