//! Users, roles and tokens. What must hold between rows (free names, numbers of them) is looked at where it is
//! written, by the one writer.

use std::collections::HashMap;

use super::{SqlStore, execute, next_number};
use crate::clock::WallTime;
use crate::limits::{ROLES_MAX, TOKENS_PER_USER_MAX, USERS_MAX};
use crate::orchestrator::rbac::roles::Role;
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::access::{AccessChange, AccessStore, Reset, Token, User};
use crate::orchestrator::store::sql::{Row, Session, SqlError, Value, json, values};

impl<S: SqlStore> AccessStore for S {
    fn user(&self, login: &str) -> Result<Option<User>, StoreError> {
        self.read("look up a user", |session| find_user(session, "login = ?1", login.into()))
    }

    fn user_by_id(&self, id: &str) -> Result<Option<User>, StoreError> {
        self.read("look up a user", |session| find_user(session, "id = ?1", id.into()))
    }

    fn user_by_reset(&self, hash: &[u8; 32]) -> Result<Option<User>, StoreError> {
        self.read("look up a user", |session| find_user(session, "reset_hash = ?1", hash.into()))
    }

    fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read("list users", |session| {
            let mut users = session.all("SELECT * FROM users ORDER BY login", &[], user)?;
            let mut of: HashMap<String, Vec<i64>> = HashMap::new();
            let sql = "SELECT user_id, role_id FROM user_roles ORDER BY role_id";
            for (user, role) in session.all(sql, &[], |row| Ok((row.get("user_id")?, row.get("role_id")?)))? {
                of.entry(user).or_default().push(role);
            }
            users.iter_mut().for_each(|user| user.role_ids = of.remove(&user.id).unwrap_or_default());
            Ok(users)
        })
    }

    fn roles(&self) -> Result<Vec<Role>, StoreError> {
        self.read("list roles", |session| session.all("SELECT * FROM roles ORDER BY id", &[], role))
    }

    fn roles_of(&self, user: &str) -> Result<Vec<Role>, StoreError> {
        self.read("list a user's roles", |session| {
            let sql = "SELECT roles.* FROM user_roles JOIN roles ON roles.id = role_id WHERE user_id = ?1 ORDER BY id";
            session.all(sql, values![user], role)
        })
    }

    fn token(&self, hash: &[u8; 32]) -> Result<Option<(Token, User)>, StoreError> {
        self.read("look up a token", |session| {
            let sql = "SELECT tokens.*, users.* FROM tokens JOIN users ON users.id = user_id WHERE hash = ?1";
            let found = session.first(sql, values![hash], |row| Ok((token(row)?, user(row)?)))?;
            let Some((token, mut user)) = found else { return Ok(None) };
            add_roles(session, &mut user)?;
            Ok(Some((token, user)))
        })
    }

    fn dead_tokens(&self, before: WallTime, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        self.read("list tokens out of use", |session| {
            // One after the other: each has an index of its own.
            let mut dead: Vec<[u8; 32]> = Vec::new();
            for column in ["expires", "revoked"] {
                let sql = format!("SELECT hash FROM tokens WHERE {column} < ?1 LIMIT ?2");
                let left = i64::try_from(limit - dead.len()).unwrap_or(i64::MAX);
                dead.extend(session.all(&sql, values![before, left], |row| row.get::<[u8; 32]>("hash"))?);
            }
            Ok(dead)
        })
    }
}

fn find_user(session: &mut dyn Session, filter: &str, value: Value<'_>) -> Result<Option<User>, SqlError> {
    let found = session.first(&format!("SELECT * FROM users WHERE {filter}"), &[value], user)?;
    let Some(mut user) = found else { return Ok(None) };
    add_roles(session, &mut user)?;
    Ok(Some(user))
}

fn add_roles(session: &mut dyn Session, user: &mut User) -> Result<(), SqlError> {
    let sql = "SELECT role_id FROM user_roles WHERE user_id = ?1 ORDER BY role_id";
    user.role_ids = session.all(sql, values![&user.id], |row| row.get("role_id"))?;
    Ok(())
}

/// A row of `users`; the roles are elsewhere.
fn user(row: &Row<'_>) -> Result<User, SqlError> {
    let reset: (Option<[u8; 32]>, Option<WallTime>) = (row.option("reset_hash")?, row.option("reset_expires")?);
    Ok(User {
        id: row.get("id")?,
        login: row.get("login")?,
        password_hash: row.get("password_hash")?,
        display_name: row.get("display_name")?,
        email: row.get("email")?,
        is_superuser: row.get("is_superuser")?,
        is_revoked: row.get("is_revoked")?,
        last_login: row.option("last_login")?,
        failed_logins: row.get("failed_logins")?,
        last_failed: row.option("last_failed")?,
        reset: reset.0.zip(reset.1).map(|(hash, expires)| Reset { hash, expires }),
        role_ids: Vec::new(),
    })
}

fn token(row: &Row<'_>) -> Result<Token, SqlError> {
    Ok(Token {
        hash: row.get("hash")?,
        user_id: row.get("user_id")?,
        label: row.option("label")?,
        description: row.get("description")?,
        client: row.get("client")?,
        created: row.get("created")?,
        expires: row.get("expires")?,
        last_active: row.get("last_active")?,
        timeout: row.option("timeout")?,
        revoked: row.option("revoked")?,
    })
}

fn role(row: &Row<'_>) -> Result<Role, SqlError> {
    Ok(Role {
        id: row.get("id")?,
        display_name: row.get("display_name")?,
        description: row.get("description")?,
        permissions: row.parsed("permissions")?,
    })
}

/// Makes a change.
pub fn apply(session: &mut dyn Session, change: &AccessChange) -> Result<(), StoreError> {
    match change {
        AccessChange::UserAdded(user) => add_user(session, user),
        AccessChange::UserEdited(user) => edit_user(session, user),
        AccessChange::UserRemoved(id) => {
            one(execute(session, "DELETE FROM users WHERE id = ?1", values![id])?, "user", id)
        }
        AccessChange::PasswordSet { user, hash } => {
            let sql = "UPDATE users SET password_hash = ?2, failed_logins = 0, reset_hash = NULL, reset_expires = NULL \
                       WHERE id = ?1";
            one(execute(session, sql, values![user, hash])?, "user", user)
        }
        AccessChange::ResetOffered { user, reset } => {
            let sql = "UPDATE users SET reset_hash = ?2, reset_expires = ?3 WHERE id = ?1";
            one(execute(session, sql, values![user, &reset.hash, reset.expires.as_millis()])?, "user", user)
        }
        AccessChange::LoginFailed { user, at, old_at } => {
            let sql = "UPDATE users SET failed_logins = CASE WHEN last_failed <= ?3 THEN 1 ELSE failed_logins + 1 END, \
                       last_failed = ?2 WHERE id = ?1";
            execute(session, sql, values![user, *at, old_at.map(WallTime::as_millis)]).map(drop)
        }
        AccessChange::LoggedIn { user, at } => {
            let sql = "UPDATE users SET failed_logins = 0, last_login = ?2 WHERE id = ?1";
            one(execute(session, sql, values![user, at.as_millis()])?, "user", user)
        }
        AccessChange::Unlocked { user } => {
            let sql = "UPDATE users SET failed_logins = 0 WHERE id = ?1";
            one(execute(session, sql, values![user])?, "user", user)
        }
        AccessChange::RoleAdded(role) => add_role(session, role),
        AccessChange::RoleSet(role) => set_role(session, role),
        AccessChange::RoleRemoved(id) => {
            execute(session, "DELETE FROM user_roles WHERE role_id = ?1", values![*id])?;
            one(execute(session, "DELETE FROM roles WHERE id = ?1", values![*id])?, "role", id)
        }
        AccessChange::MembersSet { role, users } => set_members(session, *role, users),
        AccessChange::TokenIssued(token) => issue_token(session, token),
        AccessChange::TokenUsed { hash, at } => {
            let sql = "UPDATE tokens SET last_active = ?2 WHERE hash = ?1 AND last_active < ?2";
            execute(session, sql, values![hash, at.as_millis()]).map(drop)
        }
        AccessChange::TokenRevoked { hash, at } => {
            let sql = "UPDATE tokens SET revoked = coalesce(revoked, ?2) WHERE hash = ?1";
            execute(session, sql, values![hash, at.as_millis()]).map(drop)
        }
        AccessChange::TokensForgotten(hashes) => hashes
            .iter()
            .try_for_each(|hash| execute(session, "DELETE FROM tokens WHERE hash = ?1", values![hash]).map(drop)),
        AccessChange::TokensRevoked { user, label, at } => {
            let sql = "UPDATE tokens SET revoked = coalesce(revoked, ?3) \
                       WHERE user_id = ?1 AND (?2 IS NULL OR label = ?2)";
            execute(session, sql, values![user, label, at.as_millis()]).map(drop)
        }
    }
}

/// A change that must have met one row.
fn one(rows: usize, what: &str, id: impl std::fmt::Display) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Missing(format!("there is no {what} {id} any more"))) }
}

fn count(session: &mut dyn Session, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
    session.number(sql, values).map(i64::unsigned_abs).map_err(|error| error.during("count rows"))
}

fn conflict<T>(message: String) -> Result<T, StoreError> {
    Err(StoreError::Conflict(message))
}

fn add_user(session: &mut dyn Session, user: &User) -> Result<(), StoreError> {
    if count(session, "SELECT count(*) AS n FROM users", &[])? >= USERS_MAX {
        return conflict(format!("there are {USERS_MAX} users already; remove one first"));
    }
    refuse_taken_login(session, user)?;
    execute(
        session,
        "INSERT INTO users (id, login, password_hash, display_name, email, is_superuser, is_revoked, last_login, \
         failed_logins, reset_hash, reset_expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        values![
            &user.id,
            &user.login,
            &user.password_hash,
            &user.display_name,
            &user.email,
            user.is_superuser,
            user.is_revoked,
            user.last_login.map(WallTime::as_millis),
            user.failed_logins,
            user.reset.as_ref().map(|reset| &reset.hash),
            user.reset.map(|reset| reset.expires.as_millis()),
        ],
    )?;
    set_roles_of(session, user)
}

fn edit_user(session: &mut dyn Session, user: &User) -> Result<(), StoreError> {
    refuse_taken_login(session, user)?;
    // An offer of a new password was made for what the user was.
    let sql = "UPDATE users SET login = ?2, display_name = ?3, email = ?4, is_revoked = ?5, reset_hash = NULL, \
               reset_expires = NULL WHERE id = ?1";
    let values = values![&user.id, &user.login, &user.display_name, &user.email, user.is_revoked];
    one(execute(session, sql, values)?, "user", &user.id)?;
    set_roles_of(session, user)
}

fn refuse_taken_login(session: &mut dyn Session, user: &User) -> Result<(), StoreError> {
    let sql = "SELECT count(*) AS n FROM users WHERE login = ?1 AND id <> ?2";
    if count(session, sql, values![&user.login, &user.id])? > 0 {
        return conflict(format!("the login {:?} belongs to another user", user.login));
    }
    Ok(())
}

fn set_roles_of(session: &mut dyn Session, user: &User) -> Result<(), StoreError> {
    execute(session, "DELETE FROM user_roles WHERE user_id = ?1", values![&user.id])?;
    user.role_ids.iter().try_for_each(|role| give(session, &user.id, *role))
}

fn give(session: &mut dyn Session, user: &str, role: i64) -> Result<(), StoreError> {
    if count(session, "SELECT count(*) AS n FROM roles WHERE id = ?1", values![role])? == 0 {
        return Err(StoreError::Missing(format!("there is no role {role}")));
    }
    if count(session, "SELECT count(*) AS n FROM users WHERE id = ?1", values![user])? == 0 {
        return Err(StoreError::Missing(format!("there is no user {user}")));
    }
    let sql = "INSERT INTO user_roles (user_id, role_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    execute(session, sql, values![user, role]).map(drop)
}

fn add_role(session: &mut dyn Session, role: &Role) -> Result<(), StoreError> {
    if count(session, "SELECT count(*) AS n FROM roles", &[])? >= ROLES_MAX {
        return conflict(format!("there are {ROLES_MAX} roles already; remove one first"));
    }
    refuse_taken_name(session, &role.display_name, 0)?;
    let id = next_number(session, "roles")?;
    insert_role(session, &Role { id, ..role.clone() })
}

fn set_role(session: &mut dyn Session, role: &Role) -> Result<(), StoreError> {
    refuse_taken_name(session, &role.display_name, role.id)?;
    let sql = "UPDATE numbers SET last = ?1 WHERE name = 'roles' AND last < ?1";
    execute(session, sql, values![role.id])?;
    insert_role(session, role)
}

fn insert_role(session: &mut dyn Session, role: &Role) -> Result<(), StoreError> {
    let sql = "INSERT INTO roles (id, display_name, description, permissions) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (id) DO UPDATE SET display_name = ?2, description = ?3, permissions = ?4";
    let values = values![role.id, &role.display_name, &role.description, json(&role.permissions)];
    execute(session, sql, values).map(drop)
}

fn refuse_taken_name(session: &mut dyn Session, name: &str, id: i64) -> Result<(), StoreError> {
    let sql = "SELECT count(*) AS n FROM roles WHERE display_name = ?1 AND id <> ?2";
    if count(session, sql, values![name, id])? > 0 {
        return conflict(format!("another role is called {name:?}"));
    }
    Ok(())
}

fn set_members(session: &mut dyn Session, role: i64, users: &[String]) -> Result<(), StoreError> {
    execute(session, "DELETE FROM user_roles WHERE role_id = ?1", values![role])?;
    let void = "UPDATE users SET reset_hash = NULL, reset_expires = NULL WHERE id = ?1 AND reset_hash IS NOT NULL";
    users.iter().try_for_each(|user| {
        execute(session, void, values![user])?;
        give(session, user, role)
    })
}

fn issue_token(session: &mut dyn Session, token: &Token) -> Result<(), StoreError> {
    let created = token.created.as_millis();
    let sql = "DELETE FROM tokens WHERE user_id = ?1 AND label = ?2 AND (expires <= ?3 OR revoked IS NOT NULL)";
    execute(session, sql, values![&token.user_id, &token.label, created])?;
    let sql = "SELECT count(*) AS n FROM tokens WHERE user_id = ?1 AND label = ?2";
    if count(session, sql, values![&token.user_id, &token.label])? > 0 {
        let label = token.label.as_deref().unwrap_or_default();
        return conflict(format!("you have a token with the label {label:?}; revoke it, or give another label"));
    }
    if count(session, "SELECT count(*) AS n FROM tokens WHERE user_id = ?1", values![&token.user_id])?
        >= TOKENS_PER_USER_MAX
    {
        return conflict(format!(
            "you have {TOKENS_PER_USER_MAX} tokens; wait until some have expired, or revoke some"
        ));
    }
    let sql = "INSERT INTO tokens (hash, user_id, label, description, client, created, expires, last_active, timeout, \
               revoked) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = values![
        &token.hash,
        &token.user_id,
        &token.label,
        &token.description,
        &token.client,
        created,
        token.expires.as_millis(),
        token.last_active.as_millis(),
        token.timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)),
        token.revoked.map(WallTime::as_millis),
    ];
    execute(session, sql, values).map(drop)
}
