//! Tokens: issued against a password or another token, 256 random bits each, of which the store knows the SHA-256.

use std::time::Duration;

use super::error::{AuthError, LoginRefused};
use super::{Rbac, password, sha256, subject};
use crate::clock::WallTime;
use crate::limits::TOKEN_ACTIVITY_INTERVAL;
use crate::orchestrator::model::Subject;
use crate::orchestrator::store::access::{AccessChange, Token, User};
use crate::orchestrator::store::{Change, StoreError};

/// What a token is to be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// How long it lives; `None` is the server's default, zero the longest possible.
    pub lifetime: Option<Duration>,
    /// Chosen by the user, for whom it is unique.
    pub label: Option<String>,
    /// What for.
    pub description: String,
    /// For which program.
    pub client: String,
    /// How long it may lie unused.
    pub timeout: Option<Duration>,
}

/// Whether asking about a token is using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is.
    Counts,
    /// It is not.
    Peek,
}

impl Rbac {
    /// Checks a password and issues a token. Wrong passwords are counted, and too many of them lock the user.
    pub fn login(&self, login: &str, password: &str, wanted: &TokenRequest) -> Result<String, LoginRefused> {
        let user = self.store.user(login).map_err(|error| LoginRefused { error: unavailable(error), login: None })?;
        let known = user.as_ref().map(|user| user.login.clone());
        let refused = |error| LoginRefused { error, login: known.clone() };
        let is_locked = user.as_ref().is_some_and(|user| self.is_locked(user));
        let hash = user.as_ref().filter(|user| !is_locked && !user.password_hash.is_empty());
        let is_right =
            self.passwords.verify(password, hash.map(|user| user.password_hash.as_str())).map_err(refused)?;
        let Some(user) = user else { return Err(refused(AuthError::WrongCredentials)) };
        if is_locked {
            return Err(refused(AuthError::Locked));
        }
        if !is_right {
            self.change(vec![self.login_failed(user)]).map_err(unavailable).map_err(refused)?;
            return Err(refused(AuthError::WrongCredentials));
        }
        if user.is_revoked {
            return Err(refused(AuthError::UserRevoked));
        }
        let logged_in = AccessChange::LoggedIn { user: user.id.clone(), at: WallTime::now() };
        self.issue(&user.id, wanted, vec![logged_in]).map_err(refused)
    }

    /// Issues another token to somebody who has one.
    pub fn issue_token(&self, subject: &Subject, wanted: &TokenRequest) -> Result<String, AuthError> {
        if self.store.user_by_id(&subject.id).map_err(unavailable)?.is_none() {
            return Err(AuthError::NotIssued("Certificates need no tokens: log in as a user to get one.".to_owned()));
        }
        self.issue(&subject.id, wanted, Vec::new())
    }

    fn issue(&self, user: &str, wanted: &TokenRequest, mut with: Vec<AccessChange>) -> Result<String, AuthError> {
        let lifetime = match wanted.lifetime {
            None => self.settings.token_lifetime,
            Some(Duration::ZERO) => self.settings.token_lifetime_max,
            Some(asked) => asked,
        };
        let lifetime = i64::try_from(lifetime.min(self.settings.token_lifetime_max).as_millis()).unwrap_or(i64::MAX);
        let text = password::secret();
        let created = WallTime::now();
        with.push(AccessChange::TokenIssued(Token {
            hash: sha256(&text),
            user_id: user.to_owned(),
            label: wanted.label.clone(),
            description: wanted.description.clone(),
            client: wanted.client.clone(),
            created,
            expires: WallTime::from_millis(created.as_millis().saturating_add(lifetime)),
            last_active: created,
            timeout: wanted.timeout,
            revoked: None,
        }));
        match self.change(with) {
            Ok(()) => Ok(text),
            Err(StoreError::Conflict(why)) => Err(AuthError::NotIssued(format!("No token is issued: {why}."))),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Who a token belongs to.
    pub fn authenticate(&self, token: &str) -> Result<Subject, AuthError> {
        self.look_up(token, Use::Counts).map(|(subject, _)| subject)
    }

    /// The same with all that is known of the token.
    pub fn look_up(&self, text: &str, usage: Use) -> Result<(Subject, Token), AuthError> {
        let (mut token, user) = self.store.token(&sha256(text)).map_err(unavailable)?.ok_or(AuthError::InvalidToken)?;
        let now = WallTime::now();
        if token.revoked.is_some() {
            return Err(AuthError::TokenRevoked);
        }
        if token.expires <= now {
            return Err(AuthError::TokenExpired);
        }
        let unused = unused(&token, now);
        if token.timeout.is_some_and(|timeout| unused >= timeout) {
            return Err(AuthError::TokenTimedOut);
        }
        if user.is_revoked {
            return Err(AuthError::UserRevoked);
        }
        // A token that may lie unused for seconds only is looked after more often.
        let interval =
            token.timeout.map_or(TOKEN_ACTIVITY_INTERVAL, |timeout| TOKEN_ACTIVITY_INTERVAL.min(timeout / 4));
        if usage == Use::Counts && unused >= interval {
            // A disk that is full must not keep anybody from looking.
            match self.change(vec![AccessChange::TokenUsed { hash: token.hash, at: now }]) {
                Ok(()) => token.last_active = now,
                Err(error) => tracing::warn!(%error, "the time of a token's last use cannot be written"),
            }
        }
        Ok((subject(user), token))
    }

    /// The user who has this token, be it good or not.
    pub fn owner_of(&self, token: &str) -> Result<Option<User>, StoreError> {
        Ok(self.store.token(&sha256(token))?.map(|(_, user)| user))
    }

    /// Ends a token's life; an unknown one is [`AuthError::InvalidToken`].
    pub fn revoke(&self, token: &str) -> Result<(), AuthError> {
        let hash = sha256(token);
        self.store.token(&hash).map_err(unavailable)?.ok_or(AuthError::InvalidToken)?;
        self.change(vec![AccessChange::TokenRevoked { hash, at: WallTime::now() }]).map_err(unavailable)
    }

    /// Ends the lives of a user's tokens: of those with this label, or of all.
    pub fn revoke_of(&self, user: &str, label: Option<&str>) -> Result<(), AuthError> {
        let (user, label) = (user.to_owned(), label.map(str::to_owned));
        self.change(vec![AccessChange::TokensRevoked { user, label, at: WallTime::now() }]).map_err(unavailable)
    }

    pub(super) fn change(&self, changes: Vec<AccessChange>) -> Result<(), StoreError> {
        self.store.commit(changes.into_iter().map(Change::Access).collect())
    }
}

fn unused(token: &Token, now: WallTime) -> Duration {
    let millis = now.as_millis().saturating_sub(token.last_active.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn unavailable(error: StoreError) -> AuthError {
    tracing::error!(%error, "users and tokens cannot be read");
    AuthError::Unavailable
}
