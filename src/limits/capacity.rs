//! Limits of `podium capacity`.

/// Bytes of a file of the host that is looked at: a CRL of 100,000 entries has 4 MB, files of the kernel a page or a few.
pub const CAPACITY_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Drop-ins of a unit in one directory that are looked at.
pub const CAPACITY_FILES_MAX: usize = 256;
