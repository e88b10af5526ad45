//! What the store keeps of users, roles and tokens: the contract's part that `rbac` uses.

use std::time::Duration;

use super::StoreError;
use crate::clock::WallTime;
use crate::orchestrator::rbac::roles::Role;

/// Keeps users, roles and tokens. They are changed by [`super::Change::Access`].
pub trait AccessStore: Send + Sync {
    /// A user by login.
    fn user(&self, login: &str) -> Result<Option<User>, StoreError>;

    /// A user by UUID.
    fn user_by_id(&self, id: &str) -> Result<Option<User>, StoreError>;

    /// The user who was offered a new password with the secret of this SHA-256.
    fn user_by_reset(&self, hash: &[u8; 32]) -> Result<Option<User>, StoreError>;

    /// All users, sorted by login.
    fn users(&self) -> Result<Vec<User>, StoreError>;

    /// All roles, sorted by number.
    fn roles(&self) -> Result<Vec<Role>, StoreError>;

    /// The roles that a user has.
    fn roles_of(&self, user: &str) -> Result<Vec<Role>, StoreError>;

    /// A token by the SHA-256 of its text, with its user.
    fn token(&self, hash: &[u8; 32]) -> Result<Option<(Token, User)>, StoreError>;

    /// Tokens that expired or were revoked before a time, so many at most.
    fn dead_tokens(&self, before: WallTime, limit: usize) -> Result<Vec<[u8; 32]>, StoreError>;
}

/// A user as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// UUID.
    pub id: String,
    /// The name used to log in.
    pub login: String,
    /// PHC string; empty for a user who has never had a password.
    pub password_hash: String,
    /// For people.
    pub display_name: String,
    /// May be empty.
    pub email: String,
    /// May do everything, whatever the roles.
    pub is_superuser: bool,
    /// May do nothing any more.
    pub is_revoked: bool,
    /// When the password was last right.
    pub last_login: Option<WallTime>,
    /// Passwords that were wrong since then.
    pub failed_logins: u32,
    /// When the last of them was.
    pub last_failed: Option<WallTime>,
    /// A new password may be chosen.
    pub reset: Option<Reset>,
    /// Numbers of the roles, sorted.
    pub role_ids: Vec<i64>,
}

/// The offer to choose a new password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// SHA-256 of the secret that takes it.
    pub hash: [u8; 32],
    /// Until when.
    pub expires: WallTime,
}

/// A token as stored: not its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// Whose.
    pub user_id: String,
    /// Chosen by the user, who has no other token with it.
    pub label: Option<String>,
    /// What for; may be empty.
    pub description: String,
    /// Which program has asked for it; may be empty.
    pub client: String,
    /// When it was issued.
    pub created: WallTime,
    /// When its life is over.
    pub expires: WallTime,
    /// When it was last used, to the minute.
    pub last_active: WallTime,
    /// How long it may lie unused.
    pub timeout: Option<Duration>,
    /// Since when it may not be used any more.
    pub revoked: Option<WallTime>,
}

/// One change of users, roles and tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum AccessChange {
    /// A new user; the login must be free.
    UserAdded(User),
    /// Login, names, roles and the revocation of a user; nothing else of it.
    UserEdited(User),
    /// A user is gone, with the tokens.
    UserRemoved(String),
    /// A user has a new password, is not locked any more, and is offered no other one.
    PasswordSet {
        /// UUID.
        user: String,
        /// PHC string.
        hash: String,
    },
    /// A user may choose a new password.
    ResetOffered {
        /// UUID.
        user: String,
        /// How and until when.
        reset: Reset,
    },
    /// A password was wrong.
    LoginFailed {
        /// UUID.
        user: String,
        /// When.
        at: WallTime,
        /// If the last one before it was not after this, those before it do not count any more.
        old_at: Option<WallTime>,
    },
    /// A password was right.
    LoggedIn {
        /// UUID.
        user: String,
        /// When.
        at: WallTime,
    },
    /// Wrong passwords are forgotten.
    Unlocked {
        /// UUID.
        user: String,
    },
    /// A new role; its number is given by the store, and its name must be free.
    RoleAdded(Role),
    /// A role of this number, new or changed; its name must be free.
    RoleSet(Role),
    /// A role is gone, and nobody has it any more.
    RoleRemoved(i64),
    /// These users have the role, and no others.
    MembersSet {
        /// The role's number.
        role: i64,
        /// UUIDs.
        users: Vec<String>,
    },
    /// A token is issued.
    TokenIssued(Token),
    /// A token was used.
    TokenUsed {
        /// Which.
        hash: [u8; 32],
        /// When.
        at: WallTime,
    },
    /// A token may not be used any more.
    TokenRevoked {
        /// Which.
        hash: [u8; 32],
        /// Since when.
        at: WallTime,
    },
    /// Tokens that nobody can use are removed.
    TokensForgotten(Vec<[u8; 32]>),
    /// A user's tokens may not be used any more: those with this label, or all.
    TokensRevoked {
        /// UUID.
        user: String,
        /// Of which.
        label: Option<String>,
        /// Since when.
        at: WallTime,
    },
}
