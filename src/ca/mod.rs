//! Certificates for labs and tests: a CA in Puppet's directory layout, so that its files can stand where Puppet's would.
//!
//! ```text
//! ca/ca_crt.pem ca/ca_key.pem ca/ca_crl.pem    the CA
//! ca/serial                                    next serial number, hexadecimal
//! ca/inventory.txt                             every certificate ever issued: serial, validity, subject
//! ca/signed/NAME.pem                           the current certificate of NAME
//! certs/ca.pem certs/NAME.pem private_keys/NAME.pem crl.pem    what is given to NAME
//! ```
//!
//! One self-signed CA without intermediates. Every change is made under a lock and in an order in which a crash leaves
//! at most a serial number unused.

mod files;
mod inventory;
mod name;
mod sign;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::clock::WallTime;
use crate::config::settings::CertificatePaths;
use files::Layout;
pub use inventory::{Entry, State};
use sign::Signer;
pub use sign::{AltNames, KeyType};

/// Why the CA refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaError {
    /// `create` where there is a CA.
    Exists(PathBuf),
    /// `open` where there is none.
    Missing(PathBuf),
    /// A name that is not a certname.
    InvalidName {
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// `issue` for a name with a valid certificate.
    AlreadyIssued(String),
    /// `revoke` of a name without a certificate.
    Unknown(String),
    /// `revoke` of a name whose certificates are all revoked.
    AlreadyRevoked(String),
    /// The CA's certificate and key do not belong together.
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file that cannot be read, written or understood.
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A key or signature could not be made.
    Signing(String),
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(dir) => {
                write!(f, "{} holds a CA already; use it, or give another directory", dir.display())
            }
            Self::Missing(dir) => {
                write!(f, "{0} holds no CA; make one with podium ca init {0}", dir.display())
            }
            Self::InvalidName { name, rule } => write!(f, "\"{name}\" cannot be a certificate's name: {rule}"),
            Self::AlreadyIssued(name) => {
                write!(f, "{name} has a certificate already; revoke it first to issue another")
            }
            Self::Unknown(name) => write!(f, "no certificate was issued to {name}; see podium ca list"),
            Self::AlreadyRevoked(name) => write!(f, "the certificate of {name} is revoked already"),
            Self::KeyMismatch { certificate, key } => write!(
                f,
                "{} and {} do not belong together; restore both from the same backup",
                certificate.display(),
                key.display()
            ),
            Self::File { path, message } => write!(f, "{}: {message}", path.display()),
            Self::Signing(message) => write!(f, "the cryptography failed: {message}"),
        }
    }
}

impl std::error::Error for CaError {}

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The CA's revocation list.
    pub crl: PathBuf,
}

impl Issued {
    /// As the settings of a server or agent.
    pub fn paths(&self) -> CertificatePaths {
        CertificatePaths {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            ca: self.ca.clone(),
            crl: Some(self.crl.clone()),
        }
    }
}

/// A CA that has been opened.
pub struct Authority {
    layout: Layout,
    signer: Signer,
}

impl Authority {
    /// Makes a CA in a directory that has none. The keys it issues are of the same type as its own.
    pub fn create(dir: &Path, common_name: &str, key_type: KeyType) -> Result<Self, CaError> {
        if common_name.trim().is_empty() || common_name.chars().any(char::is_control) {
            return Err(CaError::InvalidName { name: common_name.to_owned(), rule: "give a visible text" });
        }
        let layout = Layout::new(dir);
        layout.make_directories()?;
        let _lock = layout.lock()?;
        if layout.ca_certificate.exists() {
            return Err(CaError::Exists(dir.to_owned()));
        }
        let (signer, certificate) = Signer::create(common_name, key_type)?;
        files::write(&layout.ca_key, &signer.key_pem(), files::SECRET)?;
        layout.write_crl(&signer.crl(&[], 1, WallTime::now())?)?;
        files::write(&layout.serial, "0002\n", files::PUBLIC)?;
        let own = Entry::of_pem(&certificate).map_err(|message| layout.error(&layout.ca_certificate, message))?;
        files::write(&layout.inventory, &own.line(), files::PUBLIC)?;
        files::write(&layout.certs_ca, &certificate, files::PUBLIC)?;
        // Last: from here on there is a CA.
        files::write(&layout.ca_certificate, &certificate, files::PUBLIC)?;
        Ok(Self { layout, signer })
    }

    /// Opens the CA of a directory.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let layout = Layout::new(dir);
        if !layout.ca_certificate.exists() {
            return Err(CaError::Missing(dir.to_owned()));
        }
        let certificate = files::read(&layout.ca_certificate)?;
        let key = files::read(&layout.ca_key)?;
        let signer = Signer::open(&layout, &certificate, &key)?;
        Ok(Self { layout, signer })
    }

    /// Makes a key and a certificate for a name. It is valid for the name as a host name too.
    pub fn issue(&self, name: &str, alt_names: &AltNames) -> Result<Issued, CaError> {
        name::check(name)?;
        for alt_name in &alt_names.dns {
            name::check_dns(alt_name)?;
        }
        let _lock = self.layout.lock()?;
        let mut inventory = self.layout.read_inventory()?;
        if inventory.iter().any(|entry| entry.name == name && entry.state != State::Revoked) {
            return Err(CaError::AlreadyIssued(name.to_owned()));
        }
        // First: a serial number that was taken is never given again.
        let serial = self.layout.take_serial()?;
        let (certificate, key) = self.signer.issue(name, serial, alt_names, WallTime::now())?;
        let issued = self.paths(name);
        let signed = self.layout.signed(name);
        inventory.push(Entry::of_pem(&certificate).map_err(|message| self.layout.error(&signed, message))?);
        files::write(&issued.key, &key, files::SECRET)?;
        files::write(&issued.certificate, &certificate, files::PUBLIC)?;
        files::write(&signed, &certificate, files::PUBLIC)?;
        // Last: without its line the name can be issued again.
        let lines: String = inventory.iter().map(Entry::line).collect();
        files::write(&self.layout.inventory, &lines, files::PUBLIC)?;
        Ok(issued)
    }

    /// Puts all certificates of a name on the revocation list. Servers and agents notice when they read it again.
    pub fn revoke(&self, name: &str) -> Result<Vec<u64>, CaError> {
        let _lock = self.layout.lock()?;
        let inventory = self.layout.read_inventory()?;
        let of_name: Vec<&Entry> = inventory.iter().filter(|entry| entry.name == name && !entry.is_ca()).collect();
        if of_name.is_empty() {
            return Err(CaError::Unknown(name.to_owned()));
        }
        let serials: Vec<u64> =
            of_name.iter().filter(|entry| entry.state != State::Revoked).map(|entry| entry.serial).collect();
        if serials.is_empty() {
            return Err(CaError::AlreadyRevoked(name.to_owned()));
        }
        let mut crl = self.layout.read_crl()?;
        let now = WallTime::now();
        crl.revoked.extend(serials.iter().map(|serial| (*serial, now)));
        self.layout.write_crl(&self.signer.crl(&crl.revoked, crl.number + 1, now)?)?;
        Ok(serials)
    }

    /// All certificates ever issued, the CA's own first.
    pub fn list(&self) -> Result<Vec<Entry>, CaError> {
        self.layout.read_inventory()
    }

    /// The files of a name, whether they exist or not.
    pub fn paths(&self, name: &str) -> Issued {
        Issued {
            certificate: self.layout.certificate(name),
            key: self.layout.private_key(name),
            ca: self.layout.certs_ca.clone(),
            crl: self.layout.crl.clone(),
        }
    }
}

/// For tests and demonstrations on one machine: `localhost` and both loopback addresses.
pub fn local_alt_names() -> AltNames {
    AltNames {
        dns: vec!["localhost".to_owned()],
        addresses: vec![IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(dir: &Path) -> Authority {
        Authority::create(dir, "Test CA", KeyType::P256).unwrap()
    }

    #[test]
    fn puppet_s_layout() {
        let dir = tempfile::tempdir().unwrap();
        let authority = create(dir.path());
        let issued = authority.issue("web1.example.com", &AltNames::default()).unwrap();
        assert_eq!(issued.certificate, dir.path().join("certs/web1.example.com.pem"));
        assert_eq!(issued.key, dir.path().join("private_keys/web1.example.com.pem"));
        let files =
            ["ca/ca_crt.pem", "ca/ca_key.pem", "ca/ca_crl.pem", "ca/signed/web1.example.com.pem", "certs/ca.pem"];
        for file in files.iter().chain(&["crl.pem"]) {
            assert!(dir.path().join(file).is_file(), "{file}");
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("ca/serial")).unwrap(), "0003\n");
        let inventory = std::fs::read_to_string(dir.path().join("ca/inventory.txt")).unwrap();
        let lines: Vec<&str> = inventory.lines().collect();
        assert!(lines[0].starts_with("0x0001 ") && lines[0].ends_with("UTC /CN=Test CA"), "{inventory}");
        assert!(lines[1].starts_with("0x0002 ") && lines[1].ends_with("UTC /CN=web1.example.com"), "{inventory}");
    }

    #[test]
    fn keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let issued = create(dir.path()).issue("web1", &AltNames::default()).unwrap();
        for file in [issued.key, dir.path().join("ca/ca_key.pem")] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_name_is_issued_once_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let authority = create(dir.path());
        let none = AltNames::default();
        authority.issue("web1", &none).unwrap();
        assert_eq!(authority.issue("web1", &none), Err(CaError::AlreadyIssued("web1".to_owned())));
        assert_eq!(authority.revoke("web2"), Err(CaError::Unknown("web2".to_owned())));
        assert_eq!(authority.revoke("Test CA"), Err(CaError::Unknown("Test CA".to_owned())));
        assert_eq!(authority.revoke("web1"), Ok(vec![2]));
        assert_eq!(authority.revoke("web1"), Err(CaError::AlreadyRevoked("web1".to_owned())));
        authority.issue("web1", &none).unwrap();
        let states: Vec<(u64, State)> =
            authority.list().unwrap().iter().map(|entry| (entry.serial, entry.state)).collect();
        assert_eq!(states, [(1, State::Valid), (2, State::Revoked), (3, State::Valid)]);
    }

    #[test]
    fn the_list_of_revoked_grows_over_openings() {
        let dir = tempfile::tempdir().unwrap();
        for (index, name) in ["web1", "web2"].into_iter().enumerate() {
            let authority = if index == 0 { create(dir.path()) } else { Authority::open(dir.path()).unwrap() };
            authority.issue(name, &AltNames::default()).unwrap();
            authority.revoke(name).unwrap();
        }
        let crl = Layout::new(dir.path()).read_crl().unwrap();
        assert_eq!(crl.number, 3);
        assert_eq!(crl.revoked.iter().map(|(serial, _)| *serial).collect::<Vec<_>>(), [2, 3]);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("crl.pem"), read("ca/ca_crl.pem"));
    }

    #[test]
    fn what_is_wrong_with_the_directory_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Authority::open(dir.path()).err(), Some(CaError::Missing(dir.path().to_owned())));
        create(dir.path());
        let again = Authority::create(dir.path(), "Test CA", KeyType::P256);
        assert_eq!(again.err(), Some(CaError::Exists(dir.path().to_owned())));
        let other = tempfile::tempdir().unwrap();
        create(other.path());
        std::fs::copy(other.path().join("ca/ca_key.pem"), dir.path().join("ca/ca_key.pem")).unwrap();
        assert!(matches!(Authority::open(dir.path()).err(), Some(CaError::KeyMismatch { .. })));
        std::fs::write(dir.path().join("ca/ca_key.pem"), "no key").unwrap();
        assert!(matches!(Authority::open(dir.path()).err(), Some(CaError::File { .. })));
    }

    #[test]
    fn a_crash_leaves_at_most_a_serial_number_unused() {
        let dir = tempfile::tempdir().unwrap();
        let authority = create(dir.path());
        // As after a crash between the first and the last write of an issue.
        authority.layout.take_serial().unwrap();
        std::fs::write(dir.path().join("private_keys/web1.pem"), "left over").unwrap();
        authority.issue("web1", &AltNames::default()).unwrap();
        assert_eq!(authority.list().unwrap().last().unwrap().serial, 3);
    }
}
