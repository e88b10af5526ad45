//! The store in one SQLite file. WAL with `synchronous=FULL`: a commit is flushed before it is acknowledged, so neither
//! a killed process nor a loss of power takes back what a caller was told. One thread writes; readers have connections
//! of their own and never wait for it.

mod facts;
mod groups;
pub(super) mod plans;
pub(super) mod schedules;
mod task_targets;
mod usage;

pub(super) use facts::apply as apply_facts;
pub(super) use groups::apply as apply_groups;
pub(super) use task_targets::apply as apply_task_target;
pub(super) use usage::apply as apply_usage;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Rows, ToSql, params};

use super::files::{DATABASE, create_private_dir, lock, private_file, sync_dir};
use super::rows::{self, database};
use super::writer::{self, Write};
use super::{Change, NewJob, Pruned, Store, StoreError, UnfinishedJob};
use crate::clock::WallTime;
use crate::limits::{EVENTS_PAGE_MAX, STORE_ANSWER_BYTES_MAX, STORE_QUEUE_MAX, STORE_READERS_MAX};
use crate::orchestrator::model::{Event, Job, JobId, JobKind, JobOrder, JobQuery, Node, NodeOrder, NodeQuery, Page};

/// The schema's steps; a database of version n has had the first n of them.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_jobs_and_users.sql"),
    include_str!("migrations/0002_kinds.sql"),
    include_str!("migrations/0003_access.sql"),
    include_str!("migrations/0004_facts.sql"),
    include_str!("migrations/0005_old_jobs.sql"),
    include_str!("migrations/0010_schedules.sql"),
];

/// The store in `<data_dir>/podium.db`.
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Option<(Sender<Write>, JoinHandle<()>)>>,
    readers: Mutex<Vec<Connection>>,
    answer_bytes_max: usize,
    /// Held as long as the store lives: a second process is refused.
    _lock: File,
}

impl SqliteStore {
    /// Opens or creates the store below `data_dir`, which becomes readable by its owner only.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
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
        let (requests, queue) = bounded(STORE_QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || writer::run(connection, &queue))
            .map_err(|error| StoreError::File { path: path.clone(), cause: error.to_string() })?;
        let (writer, readers) = (Mutex::new(Some((requests, thread))), Mutex::new(Vec::new()));
        Ok(Self { path, writer, readers, answer_bytes_max: STORE_ANSWER_BYTES_MAX, _lock: lock })
    }

    fn write<T>(&self, request: impl FnOnce(Sender<Result<T, StoreError>>) -> Write) -> Result<T, StoreError> {
        let requests = {
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.as_ref().map(|(requests, _)| requests.clone()).ok_or(StoreError::Closed)?
        };
        let (done, outcome) = bounded(1);
        requests.send(request(done)).map_err(|_| StoreError::Closed)?;
        drop(requests);
        // The writer drops a request unanswered only if its transaction could not even begin.
        outcome.recv().map_err(|_| StoreError::Database {
            action: "begin a transaction",
            cause: "see the disk's free space and the server's log".into(),
        })?
    }

    /// Asks one question on a connection for reading.
    pub(super) fn read<T>(
        &self,
        action: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
                .map_err(database("open for reading"))?,
        };
        // One snapshot for all statements of the question.
        let transaction = connection.unchecked_transaction().map_err(database("begin to read"))?;
        let answer = question(&transaction).map_err(database(action));
        drop(transaction);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < STORE_READERS_MAX {
            readers.push(connection);
        }
        answer
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let supported = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(database("read its schema version"))?;
    if found > supported {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Corrupt(format!("user_version {found}")))?;
    for (index, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction().map_err(database("begin a migration"))?;
        transaction.execute_batch(step).map_err(database("migrate its schema"))?;
        let version = i64::try_from(index + 1).unwrap_or(i64::MAX);
        transaction.pragma_update(None, "user_version", version).map_err(database("record its schema version"))?;
        transaction.commit().map_err(database("commit a migration"))?;
    }
    Ok(())
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for SqliteStore {
    fn create_job(&self, job: NewJob) -> Result<JobId, StoreError> {
        self.write(|done| Write::Create(Box::new(job), done))
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write(|done| Write::Commit(changes, done))
    }

    fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read("read a job", |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM jobs WHERE id = ?1")?;
            let Some(mut job) = statement.query_row(params![id.0], rows::job).optional()? else { return Ok(None) };
            rows::complete(connection, &mut job)?;
            Ok(Some(job))
        })
    }

    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, StoreError> {
        self.read("list jobs", |connection| list_jobs(connection, query, self.answer_bytes_max))?
    }

    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Option<Page<Node>>, StoreError> {
        self.read("list nodes", |connection| list_nodes(connection, id, query, self.answer_bytes_max))?
    }

    fn events(&self, id: JobId, start: i64) -> Result<Option<Vec<Event>>, StoreError> {
        self.read("list events", |connection| {
            if !job_exists(connection, id)? {
                return Ok(None);
            }
            let sql = "SELECT * FROM events WHERE job = ?1 AND id >= ?2 ORDER BY id LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = statement.query(params![id.0, start, EVENTS_PAGE_MAX])?;
            let (mut events, mut bytes) = (Vec::new(), 0);
            // The rest is found from the number of the last one on.
            while bytes <= self.answer_bytes_max
                && let Some(row) = found.next()?
            {
                bytes += rows::bytes(row, &["details", "message"])?;
                events.push(rows::event(row)?);
            }
            Ok(Some(events))
        })
    }

    fn unfinished(&self) -> Result<Vec<UnfinishedJob>, StoreError> {
        self.read("list unfinished jobs", list_unfinished)
    }

    fn prune(&self, before: WallTime, rows: usize) -> Result<Pruned, StoreError> {
        self.write(|done| Write::Prune(before, rows, done))
    }

    fn known_nodes(&self) -> Result<Vec<String>, StoreError> {
        self.read("list known nodes", |connection| {
            let mut statement = connection.prepare_cached("SELECT name FROM known_nodes ORDER BY name")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((requests, thread)) = writer {
            drop(requests);
            // A panic of the writer has been reported by its own hook.
            drop(thread.join());
        }
    }
}

fn job_exists(connection: &Connection, id: JobId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists(params![id.0])
}

/// Reads rows as long as they fit into an answer.
fn within<T>(
    mut found: Rows<'_>,
    columns: &[&str],
    bytes_max: usize,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Result<Vec<T>, StoreError>> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        bytes += rows::bytes(row, columns)?;
        if bytes > bytes_max {
            return Ok(Err(StoreError::TooLarge { bytes_max }));
        }
        items.push(read(row)?);
    }
    Ok(Ok(items))
}

fn list_jobs(
    connection: &Connection,
    query: &JobQuery,
    bytes_max: usize,
) -> rusqlite::Result<Result<Page<Job>, StoreError>> {
    let order = match query.order_by {
        JobOrder::Owner => "owner_login",
        JobOrder::Timestamp => "timestamp",
        JobOrder::Environment => "environment",
        JobOrder::Name => "id",
        JobOrder::State => "state",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    let filter = "(?1 IS NULL OR instr(task, ?1) > 0) AND (?2 IS NULL OR finished >= ?2) AND \
                  (?3 IS NULL OR finished <= ?3) AND (?4 IS NULL OR kind = ?4)";
    let (min, max) = (query.min_finish.map(|time| time.as_millis()), query.max_finish.map(|time| time.as_millis()));
    let kind = query.kind.map(JobKind::word);
    let filters: [&dyn ToSql; 4] = [&query.task, &min, &max, &kind];
    let total: i64 = connection
        .prepare_cached(&format!("SELECT count(*) FROM jobs WHERE {filter}"))?
        .query_row(filters, |row| row.get(0))?;
    let sql =
        format!("SELECT * FROM jobs WHERE {filter} ORDER BY {order} {direction}, id {direction} LIMIT ?5 OFFSET ?6");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query(params![query.task, min, max, kind, query.limit, query.offset])?;
    let mut items = match within(found, &["params", "scope", "description", "userdata"], bytes_max, rows::job)? {
        Ok(items) => items,
        Err(error) => return Ok(Err(error)),
    };
    items.iter_mut().try_for_each(|job| rows::complete(connection, job))?;
    Ok(Ok(Page { items, total: total.unsigned_abs() }))
}

fn list_nodes(
    connection: &Connection,
    id: JobId,
    query: &NodeQuery,
    bytes_max: usize,
) -> rusqlite::Result<Result<Option<Page<Node>>, StoreError>> {
    if !job_exists(connection, id)? {
        return Ok(Ok(None));
    }
    let order = match query.order_by {
        NodeOrder::Name => "name",
        NodeOrder::Duration => "finish - start",
        NodeOrder::State => "state",
        NodeOrder::StartTimestamp => "start",
        NodeOrder::FinishTimestamp => "finish",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    let state = query.state.map(|state| state.word());
    let filter = "job = ?1 AND (?2 IS NULL OR state = ?2)";
    let total: i64 = connection
        .prepare_cached(&format!("SELECT count(*) FROM nodes WHERE {filter}"))?
        .query_row(params![id.0, state], |row| row.get(0))?;
    let result = if query.with_results { "result" } else { "NULL AS result" };
    let columns = format!("name, state, start, finish, timestamp, latest_event_id, details, {result}");
    let sql = format!(
        "SELECT {columns} FROM nodes WHERE {filter} ORDER BY {order} {direction}, name {direction} LIMIT ?3 OFFSET ?4"
    );
    // SQLite takes a negative limit for none.
    let limit = query.limit.map_or(-1, i64::from);
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query(params![id.0, state, limit, query.offset])?;
    let items = within(found, &["details", "result"], bytes_max, rows::node)?;
    Ok(items.map(|items| Some(Page { items, total: total.unsigned_abs() })))
}

fn list_unfinished(connection: &Connection) -> rusqlite::Result<Vec<UnfinishedJob>> {
    let mut statement = connection.prepare_cached("SELECT * FROM jobs WHERE finished IS NULL ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok(UnfinishedJob {
            id: JobId(row.get("id")?),
            state: rows::job_state(row)?,
            spec: rows::spec(row)?,
            is_forced: row.get("forced")?,
            payload: row.get::<_, Option<Vec<u8>>>("payload")?.unwrap_or_default(),
            succeeded: 0,
            unsuccessful: 0,
            nodes: Vec::new(),
        })
    })?;
    let mut jobs: Vec<UnfinishedJob> = rows.collect::<Result<_, _>>()?;
    let mut ended = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 'finished'), \
         count(*) FILTER (WHERE state IN ('failed', 'errored', 'skipped', 'stopped')) FROM nodes WHERE job = ?1",
    )?;
    let mut waiting = connection.prepare_cached(
        "SELECT * FROM nodes WHERE job = ?1 AND state IN ('new', 'ready', 'running') ORDER BY position",
    )?;
    for job in &mut jobs {
        let (succeeded, unsuccessful) =
            ended.query_row(params![job.id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        (job.succeeded, job.unsuccessful) = (succeeded.unsigned_abs(), unsuccessful.unsigned_abs());
        job.nodes = waiting.query_map(params![job.id.0], rows::unfinished_node)?.collect::<Result<_, _>>()?;
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::super::conformance;
    use super::*;
    use crate::orchestrator::model::NodeState;

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        conformance::run(&|| Box::new(SqliteStore::open(dir.path()).unwrap()));
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
        let newest = i64::try_from(MIGRATIONS.len()).unwrap();
        assert!(
            matches!(error, StoreError::NewerSchema { found: 99, supported, .. } if supported == newest),
            "{error}"
        );
    }
}
