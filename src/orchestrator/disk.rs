//! Room on the disk: jobs are accepted only as long as what becomes of those that run can be stored for certain, and how
//! it stands is told to whoever watches the server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::model::{Refusal, RefusalKind};

/// The file system of the data directory.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    reserve: u64,
    is_full: AtomicBool,
    refused: AtomicU64,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Jobs are accepted.
    Enough,
    /// No more jobs are accepted; those that run go on.
    Low {
        /// Bytes that are free.
        free: u64,
        /// Bytes below which no job is accepted.
        reserve: u64,
    },
    /// The database could not write: jobs wait until there is room.
    None,
}

impl Disk {
    /// Of a directory that is there; `reserve` bytes must be free for a job to be accepted.
    pub const fn new(dir: PathBuf, reserve: u64) -> Self {
        Self { dir, reserve, is_full: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    /// Bytes that are free for this process; `None` if the system does not say.
    pub fn free(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.dir).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// How it stands now.
    pub fn room(&self) -> Room {
        if self.is_full() {
            return Room::None;
        }
        match self.free() {
            Some(free) if free < self.reserve => Room::Low { free, reserve: self.reserve },
            _ => Room::Enough,
        }
    }

    /// Refuses a new job if there is too little room.
    pub fn check(&self) -> Result<(), Refusal> {
        let why = match self.room() {
            Room::Enough => return Ok(()),
            Room::Low { free, reserve } => format!(
                "{free} bytes are free, and orchestrator.disk-reserve keeps {reserve} for the results of jobs that run"
            ),
            Room::None => "the database has no room for the results of jobs that run".to_owned(),
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        let message = format!(
            "No job is accepted because the disk of {} is full: {why}. Make room there; jobs that run go on.",
            self.dir.display()
        );
        Err(Refusal::new(RefusalKind::InsufficientStorage, message))
    }

    /// Jobs that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the database has failed to write for want of room, and has not succeeded since.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Notes whether the database could write.
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_refused_below_the_reserve_and_while_nothing_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk = |reserve| Disk::new(dir.path().to_owned(), reserve);
        let roomy = disk(1);
        assert_eq!(roomy.check(), Ok(()));
        roomy.set_full(true);
        assert_eq!(roomy.check().unwrap_err().kind, RefusalKind::InsufficientStorage);
        roomy.set_full(false);
        assert_eq!((roomy.check(), roomy.refused()), (Ok(()), 1));
        let refusal = disk(u64::MAX).check().unwrap_err();
        assert_eq!(refusal.kind.status(), 507);
        assert!(refusal.message.contains("orchestrator.disk-reserve keeps"), "{}", refusal.message);
        // A directory that is gone is the database's to report.
        assert_eq!(Disk::new("/nonexistent".into(), u64::MAX).check(), Ok(()));
    }
}
