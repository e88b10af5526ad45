//! The store in one SQLite file. WAL with `synchronous=FULL`: a commit is flushed before it is acknowledged, so neither
//! a killed process nor a loss of power takes back what a caller was told. One thread writes; readers have connections
//! of their own and never wait for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use super::check::{Checked, check};
use super::files::{DATABASE, create_private_dir, lock, private_file, sync_dir};
use super::servers::Servers;
use super::sql::schema::{MIGRATIONS, for_sqlite, newest};
use super::sql::sqlite::{SqliteDatabase, prepare};
use super::sql::{Session, SqlError};
use super::tables::SqlStore;
use super::writer::Queue;
use crate::limits::{STORE_ANSWER_BYTES_MAX, STORE_READERS_MAX};

/// The store in `<data_dir>/podium.db`.
pub struct SqliteStore {
    path: PathBuf,
    queue: Queue,
    readers: Mutex<Vec<Connection>>,
    answer_bytes_max: usize,
    /// Held as long as the store lives: a second process is refused.
    _lock: File,
}

impl SqliteStore {
    /// Opens or creates the store below `data_dir`, which becomes readable by its owner only.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_within(data_dir, None)
    }

    /// The same with a most of pages that the file may have: for tests, a disk that is full.
    pub(in crate::orchestrator) fn open_within(data_dir: &Path, pages_max: Option<u32>) -> Result<Self, StoreError> {
        create_private_dir(data_dir)?;
        let lock = lock(data_dir)?;
        let path = data_dir.join(DATABASE);
        // Created here because SQLite would use the umask; its other files take the mode of this one.
        drop(private_file(&path)?);
        sync_dir(data_dir)?;
        let mut connection = Connection::open(&path).map_err(database("open"))?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(database("switch to WAL"))?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(database("set synchronous"))?;
        connection.pragma_update(None, "foreign_keys", true).map_err(database("set foreign_keys"))?;
        migrate(&mut connection, &path)?;
        if let Some(pages) = pages_max {
            connection.pragma_update(None, "max_page_count", pages).map_err(database("set max_page_count"))?;
        }
        prepare(&connection);
        // Nobody waits for what nobody claims: it is found at the next start.
        let (unclaimed, _) = crossbeam_channel::bounded(0);
        let queue = Queue::start(Box::new(SqliteDatabase(connection)), unclaimed, None)
            .map_err(|error| StoreError::File { path: path.clone(), cause: error.to_string() })?;
        let readers = Mutex::new(Vec::new());
        Ok(Self { path, queue, readers, answer_bytes_max: STORE_ANSWER_BYTES_MAX, _lock: lock })
    }
}

impl SqlStore for SqliteStore {
    fn read<T>(
        &self,
        action: &'static str,
        mut question: impl FnMut(&mut dyn Session) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        let failed = |action| move |error: rusqlite::Error| SqlError::from(error).during(action);
        let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
                .inspect(prepare)
                .map_err(failed("open for reading"))?,
        };
        // One snapshot for all statements of the question.
        let transaction = connection.unchecked_transaction().map_err(failed("begin to read"))?;
        let answer = question(&mut &*transaction).map_err(|error| error.during(action));
        drop(transaction);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < STORE_READERS_MAX {
            readers.push(connection);
        }
        answer
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }
}

/// There is one server: whoever holds the lock.
impl Servers for SqliteStore {}

/// Looks whether the store below `data_dir` is whole, while a server uses it or not.
pub fn inspect(data_dir: &Path) -> Result<Checked, StoreError> {
    let path = data_dir.join(DATABASE);
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(database("open to be checked"))?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(database("read its schema version"))?;
    if found != newest() {
        return Err(StoreError::OtherSchema { found, expected: newest() });
    }
    // One snapshot of everything.
    let transaction = connection.unchecked_transaction().map_err(database("begin to read"))?;
    let words = |pragma: &str| -> rusqlite::Result<Vec<String>> {
        let mut statement = transaction.prepare(pragma)?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect()
    };
    let mut problems = words("PRAGMA integrity_check(100)").map_err(database("check itself"))?;
    problems.retain(|line| line != "ok");
    if !problems.is_empty() {
        // What cannot be read right need not be understood.
        return Ok(Checked { problems, ..Checked::default() });
    }
    let references = words("PRAGMA foreign_key_check").map_err(database("check its references"))?;
    let mut checked = check(&mut &*transaction).map_err(|error| error.during("be read"))?;
    checked
        .problems
        .extend(references.into_iter().map(|table| format!("a row of {table} refers to one that is not there")));
    Ok(checked)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(database("read its schema version"))?;
    if found > newest() {
        return Err(StoreError::NewerSchema { found, supported: newest(), place: path.display().to_string() });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Corrupt(format!("user_version {found}")))?;
    for (index, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction().map_err(database("begin a migration"))?;
        transaction.execute_batch(&for_sqlite(step)).map_err(database("migrate its schema"))?;
        let version = i64::try_from(index + 1).unwrap_or(i64::MAX);
        transaction.pragma_update(None, "user_version", version).map_err(database("record its schema version"))?;
        transaction.commit().map_err(database("commit a migration"))?;
    }
    Ok(())
}

fn database(action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| SqlError::from(error).during(action)
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::access::AccessStore;
    use super::super::{Change, Store, conformance};
    use super::*;
    use crate::orchestrator::model::{JobId, NodeQuery, NodeState};

    /// Opens a store that has just been closed. A process that another test is about to start holds the lock with us until
    /// its program is loaded.
    fn reopened(data_dir: &Path) -> SqliteStore {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match SqliteStore::open(data_dir) {
                Err(StoreError::InUse(_)) if Instant::now() < deadline => thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        conformance::run(&|| Box::new(reopened(dir.path())));
    }

    #[test]
    fn rows_are_what_the_events_tell() {
        let dir = tempfile::tempdir().unwrap();
        let inspected = || inspect(dir.path()).unwrap().problems;
        conformance::log::run(&|| Box::new(reopened(dir.path())), 24, &inspected);
        // Whatever is changed behind the store's back is found.
        for (damage, expected) in [
            (
                "UPDATE nodes SET state = CASE state WHEN 'finished' THEN 'errored' ELSE 'finished' END \
                 WHERE job = 1 AND position = 0",
                "but its last event is",
            ),
            (
                "DELETE FROM events WHERE job = 2; INSERT INTO events (job, kind, timestamp, details, message) \
              VALUES (2, 'node_running', 1, '{\"node\":\"x\"}', '')",
                "events of x, which is no node",
            ),
            ("UPDATE jobs SET state = 'running', finished = 5 WHERE id = 3", "job 3: is running"),
            ("INSERT INTO job_status (job, seq, state, enter) VALUES (4, 99, 'ready', 1)", "job 4: its history"),
            ("UPDATE numbers SET last = 0 WHERE name = 'jobs'", "given twice"),
        ] {
            Connection::open(dir.path().join(DATABASE)).unwrap().execute_batch(damage).unwrap();
            let problems = inspected();
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{damage}: {problems:#?}");
        }
    }

    #[test]
    fn a_database_of_every_version_is_migrated() {
        for version in 0..newest() {
            let dir = tempfile::tempdir().unwrap();
            let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
            for step in &MIGRATIONS[..usize::try_from(version).unwrap()] {
                connection.execute_batch(&for_sqlite(step)).unwrap();
            }
            if version > 0 {
                let jobs = "INSERT INTO jobs (id, state, environment, task, params, sensitive, scope, noop, description, \
                            userdata, owner, owner_login, created, finished, timestamp, node_count) VALUES (41, \
                            'finished', 'e', 't', '{}', '[]', '{\"nodes\":[]}', 0, '', '{}', '{}', 'l', 1, 1, 1, 0); \
                            DELETE FROM jobs";
                let roles = "INSERT INTO users VALUES ('u', 'ada', 'h', 'Ada', '', 0, 0, NULL, '[3,1]')";
                connection.execute_batch(if version < 3 { roles } else { "" }).unwrap();
                connection.execute_batch(if version < 2 { jobs } else { "" }).unwrap();
            }
            connection.pragma_update(None, "user_version", version).unwrap();
            drop(connection);
            let store = SqliteStore::open(dir.path()).unwrap();
            let job = store.create_job(conformance::new_job("t", &["a"])).unwrap();
            let expected = if version == 1 { 42 } else { 1 };
            assert_eq!(job.0, expected, "from version {version}: numbers of what was removed are not given again");
            let of_ada = store.user("ada").unwrap().map(|user| user.role_ids);
            assert_eq!(of_ada, (1..3).contains(&version).then(|| vec![1, 3]), "from version {version}");
        }
    }

    #[test]
    fn a_copy_of_the_files_of_a_running_store_has_everything_acknowledged() {
        // What a killed process leaves: the files as they are, without any of the work of closing.
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        store.commit(vec![Change::NodesSeen(vec!["a".into()])]).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for file in ["podium.db", "podium.db-wal"] {
            fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
        }
        assert_eq!(SqliteStore::open(copy.path()).unwrap().known_nodes().unwrap(), ["a"]);
    }

    /// Names the data directory for the process that is to be killed.
    const VICTIM: &str = "PODIUM_TEST_STORE_VICTIM";

    #[test]
    #[ignore = "runs only as a child of `a_killed_process_loses_nothing_acknowledged`"]
    fn victim() {
        let Ok(data_dir) = std::env::var(VICTIM) else { return };
        let store = SqliteStore::open(Path::new(&data_dir)).unwrap();
        loop {
            println!("\nacknowledged {}", store.create_job(conformance::new_job("t", &["a", "b"])).unwrap());
        }
    }

    #[test]
    fn a_killed_process_loses_nothing_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "orchestrator::store::sqlite::tests::victim"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acknowledged = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<i64>().ok());
        let seen: Vec<i64> = acknowledged.by_ref().take(20).collect();
        child.kill().unwrap();
        let rest = acknowledged.last();
        child.wait().unwrap();
        let last = rest.or(seen.last().copied()).expect("the child has written");
        let store = SqliteStore::open(dir.path()).unwrap();
        for id in 1..=last {
            let job = store.job(JobId(id)).unwrap().unwrap();
            assert_eq!(job.node_states.values().sum::<u64>(), 2, "job {id} is whole");
        }
        let next = store.create_job(conformance::new_job("t", &["a"])).unwrap().0;
        assert!(next == last + 1 || next == last + 2, "{next} after {last}: one may have been committed and not told");
    }

    #[test]
    fn files_are_private_and_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("new/data");
        let store = SqliteStore::open(&data_dir).unwrap();
        store.commit(vec![Change::NodesSeen(vec!["a".into()])]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data_dir), 0o700);
        for file in ["podium.db", "podium.db-wal", "podium.db-shm", "lock"] {
            assert_eq!(mode(&data_dir.join(file)), 0o600, "{file}");
        }
        assert!(matches!(SqliteStore::open(&data_dir), Err(StoreError::InUse(_))));
    }

    #[test]
    fn a_directory_that_is_there_keeps_its_mode_and_must_not_be_writable_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o755);
        drop(SqliteStore::open(dir.path()).unwrap());
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o755);
        set(0o775);
        assert!(matches!(SqliteStore::open(dir.path()), Err(StoreError::File { .. })));
    }

    #[test]
    fn answers_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path()).unwrap();
        let id = store.create_job(conformance::new_job("t", &["a", "b"])).unwrap();
        store.create_job(conformance::new_job("t", &["a"])).unwrap();
        for position in 0..2 {
            store.commit(vec![conformance::ended(conformance::key(id, position), NodeState::Finished, 1)]).unwrap();
        }
        let nodes = NodeQuery { with_results: true, ..conformance::all_nodes() };
        let few = NodeQuery { limit: Some(1), ..nodes.clone() };
        let without = NodeQuery { with_results: false, ..few.clone() };
        let jobs = conformance::all_jobs();
        assert!(store.nodes(id, &nodes).is_ok() && store.jobs(&jobs).is_ok());
        store.answer_bytes_max = 25;
        let refused = StoreError::TooLarge { bytes_max: 25 };
        assert_eq!(store.nodes(id, &nodes).unwrap_err(), refused);
        assert_eq!(store.nodes(id, &few).unwrap().unwrap().items.len(), 1);
        assert_eq!(store.nodes(id, &without).unwrap().unwrap().items[0].result, None);
        assert_eq!(store.jobs(&jobs).unwrap_err(), refused);
        // Events come in parts, each with one at least.
        store.answer_bytes_max = 0;
        let first = store.events(id, 0).unwrap().unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(store.events(id, first[0].id + 1).unwrap().unwrap().len(), 1);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join("podium.db")).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = SqliteStore::open(dir.path()).err().unwrap();
        assert!(
            matches!(error, StoreError::NewerSchema { found: 99, supported, .. } if supported == newest()),
            "{error}"
        );
    }
}
