//! Who may do what: users with roles, roles with permissions, tokens that stand for users, and certificates that need
//! none. Decisions are pure (`permission`); everything that lasts is in the orchestrator's store.

pub mod allowlist;
pub mod error;
pub mod nodes;
mod password;
pub mod permission;
pub mod roles;
mod tokens;
pub mod users;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};

use argon2::Argon2;

use super::model::{Refusal, RefusalKind, Subject};
use super::store::access::{AccessChange, User};
use super::store::{Store, StoreError};
use crate::clock::WallTime;
use crate::config::settings::{AccessSettings, OrchestratorSettings};
use crate::durable;
use crate::sha256::{Sha256, hexadecimal};
use allowlist::Allowlist;
pub use error::{AccessError, AccessKind, AuthError, LoginRefused};
use password::Passwords;
use permission::{Action, Grant, permits, permits_any};
use roles::ADMINISTRATORS;
pub use tokens::{TokenRequest, Use};

/// Login of the user that the first start creates.
pub const ADMIN: &str = "admin";

/// Login of the subject that stands for certificates of the allowlist; no user can have it.
pub const API_USER: &str = "api_user";

/// Users, roles and tokens.
pub struct Rbac {
    store: Arc<dyn Store>,
    passwords: Passwords,
    settings: AccessSettings,
    allowlist: Allowlist,
    /// Held while somebody changes users or roles, from what is read for the decision to what is written.
    changing: Mutex<()>,
}

impl Rbac {
    /// Users and tokens in `store`. The default roles are made if there are none, and the user `admin` if there is none,
    /// with a random password that is written to `<data_dir>/admin-password`.
    pub fn open(store: Arc<dyn Store>, settings: &OrchestratorSettings) -> Result<Self, StoreError> {
        Self::with_argon2(store, settings, Argon2::default())
    }

    pub(crate) fn with_argon2(
        store: Arc<dyn Store>,
        settings: &OrchestratorSettings,
        argon2: Argon2<'static>,
    ) -> Result<Self, StoreError> {
        let allowlist = Allowlist::load(settings.access.certificate_allowlist.as_deref())?;
        let (passwords, settings_kept) = (Passwords::new(argon2)?, settings.access.clone());
        let rbac = Self { store, passwords, settings: settings_kept, allowlist, changing: Mutex::new(()) };
        // Two servers may start at once.
        let _alone = rbac.store.alone()?;
        if rbac.store.roles()?.is_empty() {
            rbac.change(roles::defaults().into_iter().map(AccessChange::RoleSet).collect())?;
        }
        rbac.create_admin(&settings.data_dir)?;
        Ok(rbac)
    }

    fn create_admin(&self, data_dir: &Path) -> Result<(), StoreError> {
        if self.store.user(ADMIN)?.is_some() {
            return Ok(());
        }
        let password = &password::secret()[..32];
        let path = data_dir.join("admin-password");
        // The file first: a crash in between writes another one at the next start.
        durable::replace(&path, format!("{password}\n").as_bytes(), 0o600)
            .map_err(|error| StoreError::File { path: path.clone(), cause: error.to_string() })?;
        let admin = User {
            id: uuid::Uuid::new_v4().to_string(),
            login: ADMIN.to_owned(),
            password_hash: self.passwords.hash(password)?,
            display_name: "Administrator".to_owned(),
            email: String::new(),
            is_superuser: true,
            is_revoked: false,
            last_login: None,
            failed_logins: 0,
            last_failed: None,
            reset: None,
            role_ids: vec![ADMINISTRATORS],
        };
        self.change(vec![AccessChange::UserAdded(admin)])?;
        tracing::info!(path = %path.display(), "created the user `admin`; its password is in the file");
        Ok(())
    }

    /// Whether a user may do this to this instance ([`permission::EVERY`] for all of them); the refusal if not.
    pub fn permit(&self, subject: &Subject, action: Action, instance: &str) -> Result<(), Refusal> {
        if subject.is_superuser || permits(&self.grants_of(subject)?, action, instance) {
            return Ok(());
        }
        Err(not_permitted(action, instance))
    }

    /// Whether a user may do this to anything at all; to what, its handler must ask.
    pub fn permit_any(&self, subject: &Subject, action: Action) -> Result<(), Refusal> {
        if subject.is_superuser || permits_any(&self.grants_of(subject)?, action) {
            return Ok(());
        }
        Err(not_permitted(action, permission::EVERY))
    }

    /// What a user's roles give, as the store has them now.
    pub fn grants_of(&self, subject: &Subject) -> Result<Vec<Grant>, StoreError> {
        let roles = self.store.roles_of(&subject.id)?;
        Ok(roles.into_iter().flat_map(|role| role.permissions).collect())
    }

    /// Hashes as this one does.
    #[cfg(test)]
    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The certificates that need no token.
    pub fn allowlist(&self) -> &Allowlist {
        &self.allowlist
    }

    /// Whether too many passwords of a user were wrong.
    pub fn is_locked(&self, user: &User) -> bool {
        let most = self.settings.failed_logins_max;
        most > 0 && user.failed_logins >= most && !self.is_old(user.last_failed)
    }

    /// Whether so much time has passed since a wrong password that those before it do not count any more.
    fn is_old(&self, last_failed: Option<WallTime>) -> bool {
        last_failed.zip(self.old_at(WallTime::now())).is_some_and(|(last, old)| last <= old)
    }

    /// The time of the newest wrong password that does not count any more; `None` if all do.
    fn old_at(&self, now: WallTime) -> Option<WallTime> {
        let lockout = i64::try_from(self.settings.lockout?.as_millis()).unwrap_or(i64::MAX);
        Some(WallTime::from_millis(now.as_millis().saturating_sub(lockout)))
    }

    /// A wrong password. Whether those before still count is looked at where it is written: of many at once only the first
    /// finds them old.
    fn login_failed(&self, user: User) -> AccessChange {
        let at = WallTime::now();
        AccessChange::LoginFailed { user: user.id, at, old_at: self.old_at(at) }
    }
}

/// A user as the one who does something.
pub fn subject(user: User) -> Subject {
    Subject {
        id: user.id,
        login: user.login,
        display_name: user.display_name,
        email: user.email,
        is_superuser: user.is_superuser || user.role_ids.contains(&ADMINISTRATORS),
        is_remote: false,
        is_revoked: user.is_revoked,
        is_group: false,
        last_login: user.last_login.map(WallTime::to_millis_string),
        role_ids: user.role_ids,
    }
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

/// Tokens have 256 random bits: one round of a fast hash is enough, and looking one up by its hash tells nothing by the
/// time it takes.
fn sha256(text: &str) -> [u8; 32] {
    Sha256::of(text.as_bytes())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hexadecimal(bytes)
}
