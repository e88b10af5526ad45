//! Parameters of jobs that have not ended, and secrets of webhooks, sealed with AES-256-GCM: a restart needs them, sensitive values included, and
//! nobody who reads the database may. The key is in a file of its own, `<data_dir>/keys/job-parameters`, mode 0600.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::store::StoreError;
use super::store::files::create_private_dir;
use crate::sha256::{Sha256, hexadecimal};
use crate::{durable, random};

/// The key's file, below `keys`.
pub const KEY: &str = "job-parameters";

/// Length of the key in bytes.
const KEY_LENGTH: usize = 32;

/// What is sealed, so that nothing can be put in the place of something else: parameters of jobs, or the secret of the
/// webhook whose id follows.
const PARAMETERS: &[u8] = b"podium job parameters 1";
const WEBHOOK_SECRET: &[u8] = b"podium webhook secret 1 ";

/// Seals and opens.
pub struct Vault {
    key: LessSafeKey,
    fingerprint: String,
    path: PathBuf,
}

impl Vault {
    /// Reads the key below `data_dir`, or makes one.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = data_dir.join("keys");
        create_private_dir(&dir)?;
        let path = dir.join(KEY);
        let failed = |cause: String| StoreError::File { path: path.clone(), cause };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key: [u8; KEY_LENGTH] = random::secret();
                durable::replace(&path, &key, 0o600).map_err(|error| failed(error.to_string()))?;
                key.to_vec()
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut sha256 = Sha256::default();
        // Of the key alone it would be a hash of the secret that has other uses.
        sha256.update(b"podium key fingerprint 1");
        sha256.update(&bytes);
        let fingerprint = hexadecimal(&sha256.finish())[..32].to_owned();
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| failed(format!("the key has {} bytes instead of {KEY_LENGTH}", bytes.len())))?;
        Ok(Self { key: LessSafeKey::new(key), fingerprint, path })
    }

    /// What the key is told by.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// Nonce, ciphertext and tag. Nonces are random: 2^32 jobs are safe with one key.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.seal_as(PARAMETERS, plain)
    }

    /// The same for the secret of a webhook.
    pub fn seal_secret(&self, webhook: &str, plain: &[u8]) -> Vec<u8> {
        self.seal_as(&[WEBHOOK_SECRET, webhook.as_bytes()].concat(), plain)
    }

    fn seal_as(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::secret();
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
            .expect("parameters are far shorter than what one nonce may seal");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The plain bytes; the error says what to do.
    pub fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.unseal_as(PARAMETERS, sealed).ok_or_else(|| {
            format!(
                "its stored parameters cannot be opened with the key {}: run the task again, or restore the key that was \
                 there when the job was accepted",
                self.path.display()
            )
        })
    }

    /// The same for the secret of a webhook.
    pub fn unseal_secret(&self, webhook: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.unseal_as(&[WEBHOOK_SECRET, webhook.as_bytes()].concat(), sealed).ok_or_else(|| {
            format!(
                "its secret cannot be opened with the key {}: add the webhook again, or restore the key that was there \
                 when it was added",
                self.path.display()
            )
        })
    }

    fn unseal_as(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(context), &mut rest).ok()?.len();
        rest.truncate(length);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn opens_what_it_sealed_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = Vault::open(dir.path()).unwrap().seal(b"hunter2");
        let vault = Vault::open(dir.path()).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(vault.unseal(&sealed).unwrap(), b"hunter2");
        let mut changed = sealed.clone();
        changed[NONCE_LEN] ^= 1;
        assert!(vault.unseal(&changed).unwrap_err().contains("job-parameters"));
        assert!(vault.unseal(b"short").is_err());
        let secret = vault.seal_secret("a", b"hunter3");
        assert_eq!(vault.unseal_secret("a", &secret).unwrap(), b"hunter3");
        assert!(vault.unseal_secret("b", &secret).is_err() && vault.unseal(&secret).is_err());
        let mode = fs::metadata(dir.path().join("keys/job-parameters")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn says_what_is_wrong_with_a_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        fs::write(dir.path().join("keys/job-parameters"), "short").unwrap();
        assert!(Vault::open(dir.path()).err().unwrap().to_string().contains("5 bytes instead of 32"));
    }
}
