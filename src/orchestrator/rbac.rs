//! Users and their tokens: argon2 hashes of passwords, SHA-256 hashes of tokens, in the orchestrator's store.

use std::time::Duration;

use super::model::Subject;

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
    /// The store does not answer.
    Unavailable,
}

/// Users and tokens.
pub struct Rbac {}

impl Rbac {
    /// Checks a password and issues a token; `lifetime` `None` is the default of one hour, zero the maximum.
    pub fn login(
        &self,
        _login: &str,
        _password: &str,
        _lifetime: Option<Duration>,
        _label: Option<&str>,
    ) -> Result<String, AuthError> {
        todo!()
    }

    /// Who a token belongs to.
    pub fn authenticate(&self, _token: &str) -> Result<Subject, AuthError> {
        todo!()
    }
}
