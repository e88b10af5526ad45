//! Users and their tokens: argon2id hashes of passwords, SHA-256 hashes of tokens, in the orchestrator's store.

pub mod permission;
pub mod roles;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

use permission::{Action, Grant, permits};
use roles::ADMINISTRATORS;

use super::model::{Refusal, RefusalKind, Subject};
use super::store::{Change, Store, StoreError, Token, User};
use crate::clock::WallTime;
use crate::config::settings::OrchestratorSettings;
use crate::limits::{LOGINS_WAITING_MAX, PASSWORD_BYTES_MAX, PASSWORD_HASHES_IN_FLIGHT_MAX};
use crate::sha256::{Sha256, hexadecimal};
use crate::{durable, random};

/// Login of the user that the first start creates.
const ADMIN: &str = "admin";

/// Why a login or a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// Unknown login or wrong password; which one is not told.
    WrongCredentials,
    /// The user was revoked.
    UserRevoked,
    /// No such token.
    InvalidToken,
    /// The token's life is over.
    TokenExpired,
    /// The token was revoked.
    TokenRevoked,
    /// The store does not answer, or too many logins are waiting.
    Unavailable,
}

/// Users and tokens.
pub struct Rbac {
    store: Arc<dyn Store>,
    argon2: Argon2<'static>,
    gate: Gate,
    lifetime: Duration,
    lifetime_max: Duration,
    /// Verified in the place of an unknown user's, so that both take the same time.
    decoy: String,
}

impl Rbac {
    /// Users and tokens in `store`. If there is no user `admin`, one is created, with a random password that is written
    /// to `<data_dir>/admin-password`.
    pub fn open(store: Arc<dyn Store>, settings: &OrchestratorSettings) -> Result<Self, StoreError> {
        Self::with_argon2(store, settings, Argon2::default())
    }

    fn with_argon2(
        store: Arc<dyn Store>,
        settings: &OrchestratorSettings,
        argon2: Argon2<'static>,
    ) -> Result<Self, StoreError> {
        let decoy = hash_password(&argon2, &hexadecimal(&random::secret::<16>()))?;
        let (lifetime, lifetime_max) = (settings.token_lifetime, settings.token_lifetime_max);
        let rbac = Self { store, argon2, gate: Gate::default(), lifetime, lifetime_max, decoy };
        rbac.create_admin(&settings.data_dir)?;
        Ok(rbac)
    }

    fn create_admin(&self, data_dir: &Path) -> Result<(), StoreError> {
        if self.store.user(ADMIN)?.is_some() {
            return Ok(());
        }
        let password = hexadecimal(&random::secret::<16>());
        let path = data_dir.join("admin-password");
        // The file first: a crash in between writes another one at the next start.
        durable::replace(&path, format!("{password}\n").as_bytes(), 0o600)
            .map_err(|error| StoreError::File { path: path.clone(), cause: error.to_string() })?;
        let admin = User {
            id: uuid::Uuid::new_v4().to_string(),
            login: ADMIN.to_owned(),
            password_hash: hash_password(&self.argon2, &password)?,
            display_name: "Administrator".to_owned(),
            email: String::new(),
            is_superuser: true,
            is_revoked: false,
            last_login: None,
            role_ids: vec![ADMINISTRATORS],
        };
        self.store.commit(vec![Change::UserSet(admin)])?;
        tracing::info!(path = %path.display(), "created the user `admin`; its password is in the file");
        Ok(())
    }

    /// Checks a password and issues a token; `lifetime` `None` is the default of one hour, zero the maximum.
    pub fn login(
        &self,
        login: &str,
        password: &str,
        lifetime: Option<Duration>,
        label: Option<&str>,
    ) -> Result<String, AuthError> {
        let user = self.store.user(login).map_err(unavailable)?;
        let hash = user.as_ref().map_or(self.decoy.as_str(), |user| &user.password_hash);
        let is_right = self.verify(password, hash)?;
        let Some(user) = user.filter(|_| is_right) else { return Err(AuthError::WrongCredentials) };
        if user.is_revoked {
            return Err(AuthError::UserRevoked);
        }
        self.issue(&user, lifetime, label)
    }

    fn verify(&self, password: &str, hash: &str) -> Result<bool, AuthError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let _permit = self.gate.enter().ok_or(AuthError::Unavailable)?;
        let hash = PasswordHash::new(hash).map_err(|error| {
            tracing::error!(%error, "a stored password hash cannot be read");
            AuthError::Unavailable
        })?;
        Ok(self.argon2.verify_password(password.as_bytes(), &hash).is_ok())
    }

    fn issue(&self, user: &User, lifetime: Option<Duration>, label: Option<&str>) -> Result<String, AuthError> {
        let lifetime = match lifetime {
            None => self.lifetime,
            Some(Duration::ZERO) => self.lifetime_max,
            Some(asked) => asked,
        };
        let lifetime = i64::try_from(lifetime.min(self.lifetime_max).as_millis()).unwrap_or(i64::MAX);
        let text = hexadecimal(&random::secret::<32>());
        let created = WallTime::now();
        let token = Token {
            hash: sha256(&text),
            user_id: user.id.clone(),
            label: label.map(str::to_owned),
            created,
            expires: WallTime::from_millis(created.as_millis().saturating_add(lifetime)),
            is_revoked: false,
        };
        self.store.commit(vec![Change::TokenIssued(token)]).map_err(unavailable)?;
        Ok(text)
    }

    /// Who a token belongs to.
    pub fn authenticate(&self, token: &str) -> Result<Subject, AuthError> {
        let (token, user) = self.store.token(&sha256(token)).map_err(unavailable)?.ok_or(AuthError::InvalidToken)?;
        if token.is_revoked {
            return Err(AuthError::TokenRevoked);
        }
        if token.expires <= WallTime::now() {
            return Err(AuthError::TokenExpired);
        }
        if user.is_revoked {
            return Err(AuthError::UserRevoked);
        }
        Ok(subject(user))
    }

    /// Whether a user may do this to this instance ([`permission::EVERY`] for all of them); the refusal if not.
    pub fn permit(&self, subject: &Subject, action: Action, instance: &str) -> Result<(), Refusal> {
        if subject.is_superuser || permits(&grants_of(subject), action, instance) {
            return Ok(());
        }
        Err(not_permitted(action, instance))
    }

    /// Ends a token's life; an unknown one is [`AuthError::InvalidToken`].
    pub fn revoke(&self, token: &str) -> Result<(), AuthError> {
        let hash = sha256(token);
        self.store.token(&hash).map_err(unavailable)?.ok_or(AuthError::InvalidToken)?;
        self.store.commit(vec![Change::TokenRevoked(hash)]).map_err(unavailable)
    }
}

fn grants_of(subject: &Subject) -> Vec<Grant> {
    let roles = roles::defaults().into_iter().filter(|role| subject.role_ids.contains(&role.id));
    roles.flat_map(|role| role.permissions).collect()
}

/// What the API answers with 403.
fn not_permitted(action: Action, instance: &str) -> Refusal {
    let (object_type, name) = (action.object_type(), action.name());
    let message = format!(
        "You are not permitted to do this: it needs the permission {object_type}:{name}:{instance}, which none of your \
         roles gives."
    );
    let permission = serde_json::json!({"object_type": object_type, "action": name, "instance": instance});
    Refusal::new(RefusalKind::NotPermitted, message).with("permission", permission)
}

fn unavailable(error: StoreError) -> AuthError {
    tracing::error!(%error, "users and tokens cannot be read");
    AuthError::Unavailable
}

fn subject(user: User) -> Subject {
    Subject {
        id: user.id,
        login: user.login,
        display_name: user.display_name,
        email: user.email,
        is_superuser: user.is_superuser,
        is_remote: false,
        is_revoked: user.is_revoked,
        is_group: false,
        last_login: user.last_login.map(WallTime::to_millis_string),
        role_ids: user.role_ids,
    }
}

fn hash_password(argon2: &Argon2<'_>, password: &str) -> Result<String, StoreError> {
    let hash = argon2
        .hash_password(password.as_bytes())
        .map_err(|error| StoreError::Database { action: "hash a password", cause: error.to_string() })?;
    Ok(hash.to_string())
}

/// Tokens have 256 random bits: one round of a fast hash is enough, and looking one up by its hash tells nothing by the
/// time it takes.
fn sha256(text: &str) -> [u8; 32] {
    Sha256::of(text.as_bytes())
}

/// Lets few password hashes be computed at once, and few wait for that.
#[derive(Default)]
struct Gate {
    counts: Mutex<GateCounts>,
    freed: Condvar,
}

#[derive(Default)]
struct GateCounts {
    inside: usize,
    waiting: usize,
}

/// The right to compute a hash.
struct Permit<'a>(&'a Gate);

impl Gate {
    /// Waits for a permit; `None` if too many wait already.
    fn enter(&self) -> Option<Permit<'_>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.inside >= PASSWORD_HASHES_IN_FLIGHT_MAX {
            if counts.waiting >= LOGINS_WAITING_MAX {
                return None;
            }
            counts.waiting += 1;
            counts = self
                .freed
                .wait_while(counts, |counts| counts.inside >= PASSWORD_HASHES_IN_FLIGHT_MAX)
                .unwrap_or_else(PoisonError::into_inner);
            counts.waiting -= 1;
        }
        counts.inside += 1;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).inside -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use argon2::{Algorithm, Params, Version};
    use tempfile::TempDir;

    use super::*;
    use crate::orchestrator::store::sqlite::SqliteStore;
    use crate::orchestrator::tests::settings;

    fn cheap() -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap())
    }

    fn open(dir: &TempDir) -> (Rbac, String) {
        let store = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let rbac = Rbac::with_argon2(store, &settings(dir.path()), cheap()).unwrap();
        (rbac, fs::read_to_string(dir.path().join("admin-password")).unwrap().trim().to_owned())
    }

    #[test]
    fn the_first_start_creates_admin_once() {
        let dir = tempfile::tempdir().unwrap();
        let (rbac, password) = open(&dir);
        let mode = fs::metadata(dir.path().join("admin-password")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = rbac.login("admin", &password, None, Some("mine")).unwrap();
        assert_eq!(token.len(), 64);
        drop(rbac);
        let (rbac, again) = open(&dir);
        assert_eq!(again, password);
        let subject = rbac.authenticate(&token).unwrap();
        assert!(subject.is_superuser && subject.last_login.is_some());
    }

    #[test]
    fn wrong_logins_and_tokens_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (rbac, password) = open(&dir);
        for (login, password) in [("admin", "wrong"), ("nobody", password.as_str()), ("admin", &"x".repeat(2000))] {
            assert_eq!(rbac.login(login, password, None, None), Err(AuthError::WrongCredentials));
        }
        assert_eq!(rbac.authenticate("nonsense"), Err(AuthError::InvalidToken));
        let token = rbac.login("admin", &password, None, None).unwrap();
        rbac.revoke(&token).unwrap();
        assert_eq!(rbac.authenticate(&token), Err(AuthError::TokenRevoked));
        let mut user = rbac.store.user("admin").unwrap().unwrap();
        let token = rbac.login("admin", &password, None, None).unwrap();
        user.is_revoked = true;
        rbac.store.commit(vec![Change::UserSet(user)]).unwrap();
        assert_eq!(rbac.authenticate(&token), Err(AuthError::UserRevoked));
        assert_eq!(rbac.login("admin", &password, None, None), Err(AuthError::UserRevoked));
    }

    #[test]
    fn lives_follow_the_rules() {
        let dir = tempfile::tempdir().unwrap();
        let (rbac, password) = open(&dir);
        let life = |lifetime: Option<Duration>| {
            let token = rbac.login("admin", &password, lifetime, None).unwrap();
            let (token, _) = rbac.store.token(&sha256(&token)).unwrap().unwrap();
            Duration::from_millis((token.expires.as_millis() - token.created.as_millis()).unsigned_abs())
        };
        assert_eq!(life(None), rbac.lifetime);
        assert_eq!(life(Some(Duration::ZERO)), rbac.lifetime_max);
        assert_eq!(life(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(life(Some(Duration::MAX)), rbac.lifetime_max);
        let token = rbac.login("admin", &password, Some(Duration::from_nanos(1)), None).unwrap();
        assert_eq!(rbac.authenticate(&token), Err(AuthError::TokenExpired));
    }

    #[test]
    fn hashing_is_bounded() {
        let gate = Gate::default();
        let permits: Vec<_> = (0..PASSWORD_HASHES_IN_FLIGHT_MAX).map(|_| gate.enter().unwrap()).collect();
        gate.counts.lock().unwrap().waiting = LOGINS_WAITING_MAX;
        assert!(gate.enter().is_none());
        drop(permits);
        assert!(gate.enter().is_some());
    }
}
