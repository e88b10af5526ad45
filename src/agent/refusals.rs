//! Transactions that were stopped before their order came: an empty file each in a directory of the spool whose name no
//! transaction can have. A restart does not forget them; the oldest go when there are too many or when they are too old.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::files;
use super::transaction::TransactionId;
use crate::clock::WallTime;
use crate::limits::AGENT_REFUSALS_MAX;

const DIRECTORY: &str = "~refused";

/// What may not begin.
#[derive(Default)]
pub struct Refusals {
    directory: PathBuf,
    /// The oldest first.
    ids: Mutex<VecDeque<(TransactionId, SystemTime)>>,
}

impl Refusals {
    /// Reads what an earlier agent has left below the spool at `root`.
    pub fn open(root: &Path) -> io::Result<Self> {
        let directory = root.join(DIRECTORY);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { directory, ids: Mutex::default() });
            }
            Err(error) => return Err(error),
        };
        let known = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let id = TransactionId::parse(entry.file_name().to_str()?)?;
            Some((id, entry.metadata().ok()?.modified().ok()?))
        };
        let mut ids: Vec<_> = entries.filter_map(known).collect();
        ids.sort_by_key(|(_, since)| *since);
        Ok(Self { directory, ids: Mutex::new(ids.into()) })
    }

    /// Whether the transaction may not begin.
    pub fn has(&self, id: &TransactionId) -> bool {
        self.lock().iter().any(|(known, _)| known == id)
    }

    /// The transaction may not begin; that is on disk when this returns, if there is room.
    pub fn add(&self, id: &TransactionId) {
        let mut ids = self.lock();
        if ids.iter().any(|(known, _)| known == id) {
            return;
        }
        let path = self.directory.join(id.as_str());
        if let Err(error) = files::create_directory(&self.directory).and_then(|()| files::write(&path, b"")) {
            tracing::warn!("transaction {id}: a restart of the agent would forget that it was stopped: {error}");
        }
        ids.push_back((id.clone(), SystemTime::now()));
        while ids.len() > AGENT_REFUSALS_MAX {
            self.forget_oldest(&mut ids);
        }
    }

    /// Forgets what was refused more than `age` before `now`.
    pub fn purge(&self, age: Duration, now: WallTime) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
        let mut ids = self.lock();
        while ids.front().is_some_and(|(_, since)| now.duration_since(*since).is_ok_and(|elapsed| elapsed > age)) {
            self.forget_oldest(&mut ids);
        }
    }

    fn forget_oldest(&self, ids: &mut VecDeque<(TransactionId, SystemTime)>) {
        let Some((id, _)) = ids.pop_front() else { return };
        match fs::remove_file(self.directory.join(id.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("the refusal of transaction {id} cannot be removed from the spool: {error}");
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(TransactionId, SystemTime)>> {
        self.ids.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> TransactionId {
        TransactionId::parse(&number.to_string()).unwrap()
    }

    #[test]
    fn they_are_remembered_by_the_next_agent_and_forgotten_with_age() {
        let root = tempfile::tempdir().unwrap();
        let refusals = Refusals::open(root.path()).unwrap();
        refusals.add(&id(1));
        refusals.add(&id(1));
        let refusals = Refusals::open(root.path()).unwrap();
        assert!(refusals.has(&id(1)) && !refusals.has(&id(2)));
        let later = WallTime::from_millis(WallTime::now().as_millis() + 60_000);
        refusals.purge(Duration::from_secs(3600), later);
        assert!(refusals.has(&id(1)));
        refusals.purge(Duration::from_secs(1), later);
        assert!(!refusals.has(&id(1)) && !Refusals::open(root.path()).unwrap().has(&id(1)));
    }

    #[test]
    fn there_are_never_too_many() {
        let root = tempfile::tempdir().unwrap();
        let refusals = Refusals::open(root.path()).unwrap();
        let old = (0..AGENT_REFUSALS_MAX).map(|number| (id(number), SystemTime::now()));
        refusals.lock().extend(old);
        refusals.add(&id(AGENT_REFUSALS_MAX));
        assert_eq!(refusals.lock().len(), AGENT_REFUSALS_MAX);
        assert!(!refusals.has(&id(0)) && refusals.has(&id(AGENT_REFUSALS_MAX)));
    }
}
