//! The spool: a directory per transaction, in pxp-agent's layout: `metadata`, `pid`, `stdout`, `stderr`, `exitcode`.
//! What is here is never run again. How a transaction stands is read in [`super::status`].

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::files;
use super::metadata::{Ending, Metadata, StoredStatus};
use super::output::Output;
use super::refusals::Refusals;
use super::transaction::{Kind, Label, TransactionId};
use crate::clock::WallTime;
use crate::durable;
use crate::limits::SPOOL_FREE_BYTES_MIN;
use crate::pxp::response::ProcessResults;

/// The spool directory and the transactions that a thread of this process has in hand.
pub struct Spool {
    root: PathBuf,
    message_bytes_max: usize,
    busy: Arc<Busy>,
    refusals: Refusals,
}

#[derive(Default)]
struct Busy {
    ids: Mutex<HashSet<TransactionId>>,
    /// Those of them that may not start any more.
    refused: Mutex<HashSet<TransactionId>>,
    released: Condvar,
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashSet<TransactionId>> {
        self.ids.lock().expect("nothing panics while it holds this lock")
    }

    fn lock_refused(&self) -> MutexGuard<'_, HashSet<TransactionId>> {
        self.refused.lock().expect("nothing panics while it holds this lock")
    }
}

/// What [`Spool::claim`] says of a transaction id.
pub enum Claimed {
    /// Not seen before; in hand until the claim is dropped.
    New(Claim),
    /// In hand, or on disk: it must not be run again.
    Known,
    /// It was stopped before it came: it must not be run.
    Refused,
}

/// A transaction in the hand of a thread of this process.
pub struct Claim {
    id: TransactionId,
    busy: Arc<Busy>,
}

impl Claim {
    /// Whose it is.
    pub fn id(&self) -> &TransactionId {
        &self.id
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.id);
        self.busy.lock_refused().remove(&self.id);
        self.busy.released.notify_all();
    }
}

/// Why metadata cannot be used; the text goes to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The transaction has no directory.
    NoDirectory,
    /// The directory has no usable metadata.
    Metadata(String),
}

/// Whether the process of a transaction is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It runs.
    Alive,
    /// It does not.
    Dead,
    /// It was never recorded.
    Unrecorded,
}

impl Spool {
    /// Opens the spool at `root`, creating it if needed. Results that are larger than `message_bytes_max` are not read.
    pub fn open(root: &Path, message_bytes_max: usize) -> io::Result<Self> {
        files::open_private(root)?;
        let refusals = Refusals::open(root)?;
        let spool = Self { root: root.to_owned(), message_bytes_max, busy: Arc::default(), refusals };
        spool.remove_unborn();
        spool.forget_unstarted();
        Ok(spool)
    }

    /// Removes transactions that an agent had written down when it was killed, and had not begun: a controller that asks
    /// about one hears that it was never heard of and may order it again. The process is on disk before it gets its job,
    /// so without one nothing ran; pxp-agent, whose transactions have no such file, gives the job first.
    fn forget_unstarted(&self) {
        for id in self.ids() {
            let directory = self.directory(&id);
            let is_running = |metadata: Metadata| metadata.status == StoredStatus::Running;
            let has = |name: &str| directory.join(name).symlink_metadata().is_ok();
            let ran = !has(UNSTARTED) || has("pid") || has("exitcode");
            if ran || has(CONDEMNED) || !self.metadata(&id).is_ok_and(is_running) {
                continue;
            }
            match remove_directory(&directory) {
                Ok(()) => tracing::info!("transaction {id}: had not begun when the last agent ended, and is forgotten"),
                Err(error) => tracing::warn!("transaction {id}: had not begun, and cannot be removed: {error}"),
            }
        }
    }

    /// Removes directories that a crash kept from getting their names; see [`Spool::create`].
    fn remove_unborn(&self) {
        let is_unborn = |name: &str| name.strip_suffix('~').is_some_and(|id| TransactionId::parse(id).is_some());
        for name in self.names().iter().filter(|name| is_unborn(name)) {
            if let Err(error) = remove_directory(&self.root.join(name)) {
                tracing::warn!("the unfinished directory {name} in the spool cannot be removed: {error}");
            }
        }
    }

    /// The directory of all.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a transaction.
    pub fn directory(&self, id: &TransactionId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Takes a transaction in hand unless it is known.
    pub fn claim(&self, id: &TransactionId) -> Claimed {
        let mut busy = self.busy.lock();
        // A directory without metadata counts too: pxp-agent may have left one, and its task may have run.
        if busy.contains(id) || self.directory(id).symlink_metadata().is_ok() {
            return Claimed::Known;
        }
        if self.refusals.has(id) {
            return Claimed::Refused;
        }
        busy.insert(id.clone());
        Claimed::New(Claim { id: id.clone(), busy: self.busy.clone() })
    }

    /// Whether a thread of this process has the transaction in hand.
    pub fn is_busy(&self, id: &TransactionId) -> bool {
        self.busy.lock().contains(id)
    }

    /// A transaction may not start any more, if it has not; also one whose order is still on its way.
    pub fn refuse(&self, id: &TransactionId) {
        let busy = self.busy.lock();
        if busy.contains(id) {
            self.busy.lock_refused().insert(id.clone());
        } else if self.directory(id).symlink_metadata().is_err() {
            self.refusals.add(id);
        }
    }

    /// Whether the transaction may not start any more.
    pub fn is_refused(&self, id: &TransactionId) -> bool {
        self.busy.lock_refused().contains(id)
    }

    /// Waits at most `limit` until no thread has the transaction in hand; tells whether that came true.
    pub fn wait_released(&self, id: &TransactionId, limit: Duration) -> bool {
        let busy = self.busy.lock();
        let wait = self.busy.released.wait_timeout_while(busy, limit, |busy| busy.contains(id));
        !wait.expect("nothing panics while it holds this lock").1.timed_out()
    }

    /// Creates the directory and its metadata; both are on disk when this returns, or neither.
    pub fn create(&self, claim: &Claim, metadata: &Metadata) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.root)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < SPOOL_FREE_BYTES_MIN {
            let root = self.root.display();
            let text = format!("the disk of {root} has only {free} bytes left; make room on this node");
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        let directory = self.directory(claim.id());
        // No transaction id has a `~`, so the directory never appears without its metadata.
        let beside = durable::appended(&directory, "~");
        let created = remove_directory(&beside)
            .and_then(|()| files::create_directory(&beside))
            .and_then(|()| files::create(&beside.join(UNSTARTED)).map(drop))
            .and_then(|()| files::write(&beside.join("metadata"), &to_line(metadata)))
            .and_then(|()| fs::rename(&beside, &directory))
            .and_then(|()| durable::sync_parent(&directory));
        if created.is_err() {
            // Otherwise a repetition would be taken for a duplicate of something that never ran.
            let _ = remove_directory(&beside).and_then(|()| remove_directory(&directory));
        }
        created
    }

    /// Records the process that runs the transaction.
    pub fn write_pid(&self, id: &TransactionId, pid: u32) -> io::Result<()> {
        files::write(&self.directory(id).join("pid"), format!("{pid}\n").as_bytes())?;
        self.mark_started(id)
    }

    fn mark_started(&self, id: &TransactionId) -> io::Result<()> {
        match fs::remove_file(self.directory(id).join(UNSTARTED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Records how the transaction ended.
    pub fn finish(&self, id: &TransactionId, ending: &Ending) -> io::Result<()> {
        let metadata = match self.metadata(id) {
            Ok(metadata) => metadata,
            Err(Unreadable::NoDirectory) => return Err(io::Error::other("the transaction's directory is gone")),
            Err(Unreadable::Metadata(error)) => return Err(io::Error::other(error)),
        };
        let metadata = metadata.ended(ending, WallTime::now());
        files::write(&self.directory(id).join("metadata"), &to_line(&metadata))
    }

    /// Reads the metadata.
    pub fn metadata(&self, id: &TransactionId) -> Result<Metadata, Unreadable> {
        let directory = self.directory(id);
        if !directory.is_dir() {
            return Err(Unreadable::NoDirectory);
        }
        let unreadable = |text: String| Unreadable::Metadata(text);
        let bytes = fs::read(directory.join("metadata"))
            .map_err(|_| unreadable(format!("metadata file of the transaction {id} does not exist")))?;
        let json: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|_| unreadable(format!("invalid JSON in metadata file of the transaction {id}")))?;
        serde_json::from_value(json).map_err(|_| unreadable(format!("invalid action metadata of the transaction {id}")))
    }

    /// The exit code, once the process has ended and all its output is on disk.
    pub fn exit_code(&self, id: &TransactionId) -> Option<i64> {
        fs::read_to_string(self.directory(id).join("exitcode")).ok()?.trim().parse().ok()
    }

    /// Standard error, with U+FFFD for what is not UTF-8, cut off at the size of a message.
    pub fn stderr(&self, id: &TransactionId) -> Option<String> {
        let mut bytes = Vec::new();
        let file = fs::File::open(self.directory(id).join("stderr")).ok()?;
        file.take(self.message_bytes_max as u64).read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What an ended process left; `None` while there is no exit code.
    pub fn collect(&self, id: &TransactionId, label: &Label<'_>, output: &Output) -> Option<Ending> {
        let exitcode = self.exit_code(id)?;
        let directory = self.directory(id);
        let length = |name| fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
        let size = length("stdout") + length("stderr");
        if size > self.message_bytes_max as u64 {
            return Some(Ending::TooLarge(size));
        }
        let stdout = fs::read(directory.join("stdout")).unwrap_or_default();
        Some(output.ending(label, exitcode, stdout, self.stderr(id)))
    }

    /// Records the results of an action that has no process.
    pub fn write_results(&self, id: &TransactionId, results: &ProcessResults) -> io::Result<()> {
        let directory = self.directory(id);
        let text = |stream: &Option<String>| stream.clone().unwrap_or_default();
        files::write(&directory.join("stdout"), text(&results.stdout).as_bytes())?;
        files::write(&directory.join("stderr"), text(&results.stderr).as_bytes())?;
        files::write(&directory.join("exitcode"), results.exitcode.to_string().as_bytes())?;
        self.mark_started(id)
    }

    /// The recorded process, if it is there: the leader of the session in which everything of the transaction runs.
    pub fn leader(&self, id: &TransactionId) -> Option<rustix::process::Pid> {
        if self.process(id) != Process::Alive {
            return None;
        }
        let text = fs::read_to_string(self.directory(id).join("pid")).ok()?;
        rustix::process::Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Whether the recorded process is there. A process that only inherited the number, after a reboot for instance,
    /// does not count: the wrapper's command line names the transaction.
    pub fn process(&self, id: &TransactionId) -> Process {
        let Ok(text) = fs::read_to_string(self.directory(id).join("pid")) else { return Process::Unrecorded };
        let Some(pid) = text.trim().parse().ok().filter(|&pid| pid > 0).and_then(rustix::process::Pid::from_raw) else {
            return Process::Unrecorded;
        };
        if !Path::new("/proc/self/cmdline").exists() {
            let alive = rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH);
            return if alive { Process::Alive } else { Process::Dead };
        }
        let directory = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        // Anybody can read a wrapper's command line, and use its words in one of his own. What the kernel does not let
        // itself be looked into belongs to root there.
        let own = [0, rustix::process::geteuid().as_raw()];
        if !fs::metadata(&directory).is_ok_and(|metadata| own.contains(&metadata.uid())) {
            return Process::Dead;
        }
        // Empty for a zombie. The second name is the wrapper of pxp-agent, whose transaction may still run.
        let command_line = fs::read(directory.join("cmdline")).unwrap_or_default();
        let is_ours = |word: &[u8]| word == id.as_str().as_bytes() || word.ends_with(b"execution_wrapper");
        if command_line.split(|&byte| byte == 0).any(is_ours) { Process::Alive } else { Process::Dead }
    }

    /// Finds out how a transaction that stands as running really stands, and records an end. `None` if it may still go
    /// on, or if nothing is known of it.
    pub fn settle(&self, metadata: &Metadata, id: &TransactionId, output: &Output) -> Option<Ending> {
        let label = label_of(metadata);
        let ending = self.collect(id, &label, output).or_else(|| match self.process(id) {
            Process::Alive | Process::Unrecorded => None,
            // It may have ended between the two looks.
            Process::Dead => self.collect(id, &label, output).or_else(|| Some(Ending::Undetermined(NO_OUTPUT.into()))),
        })?;
        if let Err(error) = self.finish(id, &ending) {
            tracing::warn!("transaction {id} has ended but that cannot be recorded: {error}; check the spool's disk");
        }
        Some(ending)
    }

    /// The transactions that stand as running and that no thread has in hand: those of an earlier life of the agent.
    pub fn leftovers(&self) -> Vec<TransactionId> {
        let mut leftovers = self.ids();
        leftovers.retain(|id| {
            !self.is_busy(id) && self.metadata(id).is_ok_and(|metadata| metadata.status == StoredStatus::Running)
        });
        leftovers
    }

    /// Remembers, for this life of the agent and the next, that what runs for the transaction is to be ended.
    pub fn condemn(&self, id: &TransactionId) -> io::Result<()> {
        files::write(&self.directory(id).join(CONDEMNED), b"")
    }

    /// The transactions that an earlier life of the agent was ending and whose processes are still there.
    pub fn condemned(&self) -> Vec<TransactionId> {
        let mut ids = self.ids();
        ids.retain(|id| self.directory(id).join(CONDEMNED).exists() && self.process(id) == Process::Alive);
        ids
    }

    /// Removes the directories of transactions that began more than `age` before `now` and do not run any more.
    pub fn purge(&self, age: Duration, now: WallTime) -> usize {
        let mut removed = 0;
        self.refusals.purge(age, now);
        for id in self.ids() {
            // In hand means in use, and claiming a purged id again must not meet a half-removed directory.
            let busy = self.busy.lock();
            if busy.contains(&id) || !self.is_purgeable(&id, age, now) {
                continue;
            }
            match remove_directory(&self.directory(&id)) {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!("the results of transaction {id} cannot be removed: {error}"),
            }
        }
        removed
    }

    fn is_purgeable(&self, id: &TransactionId, age: Duration, now: WallTime) -> bool {
        let metadata = match self.metadata(id) {
            Ok(metadata) => metadata,
            Err(Unreadable::NoDirectory) => return false,
            Err(Unreadable::Metadata(error)) => {
                tracing::warn!("{error}; its directory stays until you remove it");
                return false;
            }
        };
        let old = metadata.started().is_some_and(|start| {
            let elapsed = now.as_millis().saturating_sub(start.as_millis());
            u128::try_from(elapsed).is_ok_and(|elapsed| elapsed > age.as_millis())
        });
        old && (metadata.status != StoredStatus::Running || self.process(id) != Process::Alive)
    }

    fn ids(&self) -> Vec<TransactionId> {
        self.names().iter().filter_map(|name| TransactionId::parse(name)).collect()
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }
}

/// Where the last contact with a broker is written down.
const CONTACT: &str = "~contact";

/// Writes down when the agent has last reached or lost a broker, for `podium agent check`.
pub fn note_contact(root: &Path, text: &str) -> io::Result<()> {
    files::write(&root.join(CONTACT), format!("{} {text}\n", WallTime::now().to_millis_string()).as_bytes())
}

/// What was written down last.
pub fn last_contact(root: &Path) -> Option<String> {
    fs::read_to_string(root.join(CONTACT)).ok()
}

/// The transactions of a spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whose end is recorded.
    pub ended: usize,
    /// Whose end is not.
    pub running: usize,
    /// Of which nothing can be told.
    pub unreadable: usize,
}

/// Counts the transactions of the spool at `root`, which another process may be using.
pub fn counts(root: &Path) -> Counts {
    let spool =
        Spool { root: root.to_owned(), message_bytes_max: 0, busy: Arc::default(), refusals: Refusals::default() };
    let mut counts = Counts::default();
    for id in spool.ids() {
        match spool.metadata(&id) {
            Ok(metadata) if metadata.status == StoredStatus::Running => counts.running += 1,
            Ok(_) => counts.ended += 1,
            Err(_) => counts.unreadable += 1,
        }
    }
    counts
}

/// The file in the directory of a transaction of which nothing runs yet.
const UNSTARTED: &str = "unstarted";

/// The file in the directory of a transaction that is to be ended by force.
const CONDEMNED: &str = "condemned";

/// Stored, and told to controllers, of a process that left nothing.
pub const NO_OUTPUT: &str = "task process is not running, but no output is available";

/// The phrase for a stored request; only non-blocking ones are stored.
pub fn label_of(metadata: &Metadata) -> Label<'_> {
    let Metadata { module, action, transaction_id, .. } = metadata;
    Label { kind: Kind::NonBlocking, module, action, transaction_id }
}

fn to_line(metadata: &Metadata) -> Vec<u8> {
    let mut line = serde_json::to_vec(metadata).expect("metadata has string keys only");
    line.push(b'\n');
    line
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
