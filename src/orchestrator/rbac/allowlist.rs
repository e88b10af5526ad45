//! Certificates that need no login: a file of names, one per line, `#` begins a comment, as Puppet Enterprise's
//! `rbac-certificate-allowlist`. Names are compared whole. Who is in it may do everything.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::API_USER;
use super::roles::ADMINISTRATORS;
use crate::limits::ALLOWLIST_BYTES_MAX;
use crate::orchestrator::model::Subject;
use crate::orchestrator::store::StoreError;

/// UUID of the subject behind all certificates, the one of Puppet Enterprise.
const API_USER_ID: &str = "af94921f-bd76-4b58-b5ce-e17c029a2790";

/// The names, and where they come from.
pub struct Allowlist {
    path: Option<PathBuf>,
    names: RwLock<BTreeSet<String>>,
}

impl Allowlist {
    /// Reads the file; without one nobody is in the list.
    pub fn load(path: Option<&Path>) -> Result<Self, StoreError> {
        let names = path.map_or_else(|| Ok(BTreeSet::new()), read)?;
        Ok(Self { path: path.map(Path::to_owned), names: RwLock::new(names) })
    }

    /// Reads the file again. If it cannot be read, the names stay as they were.
    pub fn reload(&self) {
        let Some(path) = &self.path else { return };
        match read(path) {
            Ok(names) => {
                tracing::info!(path = %path.display(), names = names.len(), "the certificate allowlist was read again");
                *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
            }
            Err(error) => tracing::error!("the certificate allowlist stays as it was: {error}"),
        }
    }

    /// Who the holder of this certificate is, if the list has it.
    pub fn subject(&self, certificate: &str) -> Option<Subject> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(certificate).then(|| Subject {
            id: API_USER_ID.to_owned(),
            login: API_USER.to_owned(),
            display_name: certificate.to_owned(),
            email: String::new(),
            is_superuser: true,
            is_remote: false,
            is_revoked: false,
            is_group: false,
            last_login: None,
            role_ids: vec![ADMINISTRATORS],
        })
    }
}

fn read(path: &Path) -> Result<BTreeSet<String>, StoreError> {
    let failed = |cause: String| StoreError::File { path: path.to_owned(), cause };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(ALLOWLIST_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > ALLOWLIST_BYTES_MAX {
        return Err(failed(format!("it has more than {ALLOWLIST_BYTES_MAX} bytes")));
    }
    let mut names = BTreeSet::new();
    for (line, number) in text.lines().zip(1..) {
        let name = line.split('#').next().unwrap_or_default().trim();
        if name.contains(|letter: char| letter.is_whitespace() || letter == '*' || letter == '/') {
            return Err(failed(format!(
                "line {number}: {name:?} is not a certificate name; give one name per line, whole"
            )));
        }
        if !name.is_empty() {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowlist");
        std::fs::write(&path, "# consoles\nconsole.example.com\n\n  other.example.com # by hand\n").unwrap();
        let list = Allowlist::load(Some(&path)).unwrap();
        let subject = list.subject("console.example.com").unwrap();
        assert!(subject.is_superuser && subject.login == API_USER);
        assert!(list.subject("other.example.com").is_some());
        for other in ["", "console.example.co", "console.example.com.evil", "CONSOLE.example.com", "example.com", "#"] {
            assert!(list.subject(other).is_none(), "{other}");
        }
        assert!(Allowlist::load(None).unwrap().subject("console.example.com").is_none());
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowlist");
        std::fs::write(&path, "a\n").unwrap();
        let list = Allowlist::load(Some(&path)).unwrap();
        for bad in ["a\nb c\n", "*\n"] {
            std::fs::write(&path, bad).unwrap();
            list.reload();
            assert!(list.subject("a").is_some());
            assert!(Allowlist::load(Some(&path)).is_err());
        }
        std::fs::write(&path, "b\n").unwrap();
        list.reload();
        assert!(list.subject("a").is_none() && list.subject("b").is_some());
    }
}
