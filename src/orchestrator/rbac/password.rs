//! Passwords: argon2id hashes, few of them computed at once, and no way to tell an unknown login by the time it takes.

use std::sync::{Condvar, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

use super::{AuthError, sha256_hex};
use crate::limits::{LOGINS_WAITING_MAX, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PASSWORD_HASHES_IN_FLIGHT_MAX};
use crate::orchestrator::store::StoreError;
use crate::random;

/// Hashes and verifies.
pub struct Passwords {
    argon2: Argon2<'static>,
    gate: Gate,
    /// Verified in the place of an unknown user's, so that both take the same time.
    decoy: String,
}

impl Passwords {
    /// With these costs.
    pub fn new(argon2: Argon2<'static>) -> Result<Self, StoreError> {
        let mut passwords = Self { argon2, gate: Gate::default(), decoy: String::new() };
        passwords.decoy = passwords.hash(&secret())?;
        Ok(passwords)
    }

    /// What is stored of a password.
    pub fn hash(&self, password: &str) -> Result<String, StoreError> {
        let failed = |cause: String| StoreError::Database { action: "hash a password", cause };
        let _permit = self.gate.enter().ok_or_else(|| failed("too many passwords wait for it".to_owned()))?;
        let hash = self.argon2.hash_password(password.as_bytes()).map_err(|error| failed(error.to_string()))?;
        Ok(hash.to_string())
    }

    /// Whether the password is the one of this hash; without a hash it never is, which takes as long.
    pub fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, AuthError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let _permit = self.gate.enter().ok_or(AuthError::Unavailable)?;
        let parsed = PasswordHash::new(hash.unwrap_or(&self.decoy)).map_err(|error| {
            tracing::error!(%error, "a stored password hash cannot be read");
            AuthError::Unavailable
        })?;
        let is_right = self.argon2.verify_password(password.as_bytes(), &parsed).is_ok();
        Ok(is_right && hash.is_some())
    }
}

/// A password or a token's text that nobody guesses.
pub fn secret() -> String {
    sha256_hex(&random::secret::<32>())
}

/// What is wrong with a new password.
pub fn problem(password: &str) -> Option<String> {
    let characters = password.chars().count();
    if characters < PASSWORD_CHARS_MIN {
        return Some(format!("The password has {characters} characters; it needs {PASSWORD_CHARS_MIN}."));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Some(format!("The password is longer than {PASSWORD_BYTES_MAX} bytes."));
    }
    None
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
    use super::*;

    #[test]
    fn hashing_is_bounded() {
        let gate = Gate::default();
        let permits: Vec<_> = (0..PASSWORD_HASHES_IN_FLIGHT_MAX).map(|_| gate.enter().unwrap()).collect();
        gate.counts.lock().unwrap().waiting = LOGINS_WAITING_MAX;
        assert!(gate.enter().is_none());
        drop(permits);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn new_passwords_have_a_length() {
        assert!(problem("short").unwrap().contains("5 characters"));
        assert!(problem(&"x".repeat(PASSWORD_BYTES_MAX + 1)).unwrap().contains("longer"));
        assert_eq!(problem("long enough"), None);
    }
}
