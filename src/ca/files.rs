//! The CA's files: where they are, and writes that a crash cannot cut in half.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::CaError;
use super::inventory::{Crl, Entry};
use crate::durable;

/// Mode of certificates and lists.
pub const PUBLIC: u32 = 0o644;
/// Mode of keys.
pub const SECRET: u32 = 0o600;

/// Where everything is.
pub struct Layout {
    dir: PathBuf,
    pub ca_certificate: PathBuf,
    pub ca_key: PathBuf,
    ca_crl: PathBuf,
    pub serial: PathBuf,
    pub inventory: PathBuf,
    pub certs_ca: PathBuf,
    pub crl: PathBuf,
}

impl Layout {
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ca_certificate: dir.join("ca/ca_crt.pem"),
            ca_key: dir.join("ca/ca_key.pem"),
            ca_crl: dir.join("ca/ca_crl.pem"),
            serial: dir.join("ca/serial"),
            inventory: dir.join("ca/inventory.txt"),
            certs_ca: dir.join("certs/ca.pem"),
            crl: dir.join("crl.pem"),
        }
    }

    pub fn signed(&self, name: &str) -> PathBuf {
        self.dir.join(format!("ca/signed/{name}.pem"))
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("certs/{name}.pem"))
    }

    pub fn private_key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("private_keys/{name}.pem"))
    }

    pub fn make_directories(&self) -> Result<(), CaError> {
        for (name, mode) in [("ca/signed", 0o755), ("certs", 0o755), ("private_keys", 0o750)] {
            let path = self.dir.join(name);
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(&path)
                .map_err(|error| self.error(&path, format!("the directory cannot be made: {error}")))?;
        }
        Ok(())
    }

    /// Keeps other processes from changing the CA until the file is dropped.
    pub fn lock(&self) -> Result<File, CaError> {
        let path = self.dir.join("ca/lock");
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(SECRET)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| self.error(&path, format!("cannot be locked: {error}")))
    }

    /// The next serial number; it counts as used from now on.
    pub fn take_serial(&self) -> Result<u64, CaError> {
        let text = read(&self.serial)?;
        let serial = u64::from_str_radix(text.trim(), 16)
            .ok()
            .filter(|serial| (1..u64::MAX).contains(serial))
            .ok_or_else(|| self.error(&self.serial, "holds no hexadecimal serial number; restore it from a backup"))?;
        write(&self.serial, &format!("{:04X}\n", serial + 1), PUBLIC)?;
        Ok(serial)
    }

    pub fn read_inventory(&self) -> Result<Vec<Entry>, CaError> {
        let crl = self.read_crl()?;
        read(&self.inventory)?
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                Entry::of_line(line, &crl)
                    .ok_or_else(|| self.error(&self.inventory, format!("\"{line}\" is not an entry of an inventory")))
            })
            .collect()
    }

    pub fn read_crl(&self) -> Result<Crl, CaError> {
        Crl::of_pem(&read(&self.ca_crl)?).map_err(|message| self.error(&self.ca_crl, message))
    }

    /// The CA's own copy is the one that the next is made from, so it comes first.
    pub fn write_crl(&self, pem: &str) -> Result<(), CaError> {
        write(&self.ca_crl, pem, PUBLIC)?;
        write(&self.crl, pem, PUBLIC)
    }

    pub fn error(&self, path: &Path, message: impl Into<String>) -> CaError {
        CaError::File { path: path.to_owned(), message: message.into() }
    }
}

pub fn read(path: &Path) -> Result<String, CaError> {
    std::fs::read_to_string(path)
        .map_err(|error| CaError::File { path: path.to_owned(), message: format!("cannot be read: {error}") })
}

/// Replaces a file as a whole: readers see the old content or the new.
pub fn write(path: &Path, content: &str, mode: u32) -> Result<(), CaError> {
    let fail =
        |error: std::io::Error| CaError::File { path: path.to_owned(), message: format!("cannot be written: {error}") };
    durable::replace(path, content.as_bytes(), mode).map_err(fail)
}
