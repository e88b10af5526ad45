//! Why a login, a token, or a change of users and roles was refused, with the kinds of Puppet Enterprise's RBAC API.

use crate::orchestrator::store::StoreError;

/// Why a login or a token was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// Unknown login or wrong password; which one is not told.
    WrongCredentials,
    /// Too many passwords of the user were wrong. It is answered as a wrong password is.
    Locked,
    /// The user was revoked.
    UserRevoked,
    /// No such token.
    InvalidToken,
    /// The token's life is over.
    TokenExpired,
    /// The token has lain unused for too long.
    TokenTimedOut,
    /// The token was revoked.
    TokenRevoked,
    /// The token cannot be issued; why.
    NotIssued(String),
    /// The store does not answer, or too many logins are waiting.
    Unavailable,
}

/// A login that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRefused {
    /// Why.
    pub error: AuthError,
    /// Whose login it would have been, if there is such a user.
    pub login: Option<String>,
}

/// Kinds of refused changes: the last part of the API's `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// 400: a value that cannot be.
    SchemaViolation,
    /// 400: what should be a UUID is none.
    InvalidUuid,
    /// 401: the password given is not the user's.
    WrongPassword,
    /// 403.
    PermissionDenied,
    /// 403: the first user and the first role stay as they are.
    AdminUserImmutable,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 422: it names a role or a user that is not there.
    InvalidAssociatedId,
    /// 500.
    ServerError,
}

impl AccessKind {
    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SchemaViolation => "schema-violation",
            Self::InvalidUuid => "invalid-uuid",
            Self::WrongPassword => "user-unauthenticated",
            Self::PermissionDenied => "permission-denied",
            Self::AdminUserImmutable => "admin-user-immutable",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::InvalidAssociatedId => "invalid-associated-id",
            Self::ServerError => "server-error",
        }
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::SchemaViolation | Self::InvalidUuid => 400,
            Self::WrongPassword => 401,
            Self::PermissionDenied | Self::AdminUserImmutable => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::InvalidAssociatedId => 422,
            Self::ServerError => 500,
        }
    }
}

/// A change of users and roles that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessError {
    /// Of which kind.
    pub kind: AccessKind,
    /// For people.
    pub message: String,
}

impl AccessError {
    /// Of any kind.
    pub fn new(kind: AccessKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A value that cannot be.
    pub fn schema(message: impl Into<String>) -> Self {
        Self::new(AccessKind::SchemaViolation, message)
    }
}

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> Self {
        let sentence = |text: String| {
            let mut letters = text.chars();
            let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
            format!("{first}{}.", letters.as_str())
        };
        match error {
            StoreError::Conflict(why) => Self::new(AccessKind::Conflict, sentence(why)),
            StoreError::Missing(why) => Self::new(AccessKind::InvalidAssociatedId, sentence(why)),
            other => {
                tracing::error!(error = %other, "users and roles cannot be read or written");
                Self::new(AccessKind::ServerError, "The store of users does not answer; see the server's log.")
            }
        }
    }
}
