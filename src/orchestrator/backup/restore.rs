//! From a backup to a data directory that a server can start on. What has happened since the backup is not in it, so by
//! default nothing goes on by itself: jobs that had not ended then are ended, and all tokens are revoked, those included
//! that were revoked after the backup.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::{BackedUp, BackupError, FORMAT, KEYS, MANIFEST, Manifest, clear, digest, failed, is_key_name};
use crate::clock::WallTime;
use crate::durable::sync_parent;
use crate::limits::{BACKUP_FILES_MAX, BACKUP_MANIFEST_BYTES_MAX};
use crate::orchestrator::events::{self, Action, EXECUTION_FAILURE, Ending};
use crate::orchestrator::model::{JobState, PlanEnd};
use crate::orchestrator::store::files::{DATABASE, create_private_dir, lock, private_file};
use crate::orchestrator::store::plans::PlanStore;
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::store::{Change, NodeKey, Store, UnfinishedJob};
use crate::sha256::hexadecimal;

/// Where a restored directory is made, below the data directory.
const STAGING: &str = "restore~";

/// The same once it is whole.
const READY: &str = "restore-ready";

/// What becomes of jobs that had not ended when the backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// They end: their nodes are errored.
    End,
    /// They go on when the server starts. Agents do not run a transaction again that they remember.
    Resume,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was made.
    pub created: String,
    /// Jobs that had not ended.
    pub unfinished: usize,
}

/// Makes `data_dir` what it was when the backup `from` was made. There must be no database in it yet. Nothing of it is in
/// place before all of it is.
pub fn restore(from: &Path, data_dir: &Path, unfinished: Unfinished) -> Result<Restored, BackupError> {
    let manifest = read_manifest(from)?;
    create_private_dir(data_dir)?;
    let _lock = lock(data_dir)?;
    if data_dir.join(READY).is_dir() {
        put_in_place(data_dir, &mut |from, to| fs::rename(from, to))?;
    }
    // What SQLite keeps beside a database belongs to the one that was there before, and would be played into the new one.
    let beside = ["-wal", "-shm", "-journal"].map(|end| format!("{DATABASE}{end}"));
    for present in [DATABASE, KEYS].into_iter().chain(beside.iter().map(String::as_str)).map(|name| data_dir.join(name))
    {
        if present.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(present));
        }
    }
    let staging = data_dir.join(STAGING);
    clear(&staging)?;
    create_private_dir(&staging.join(KEYS))?;
    let number = copy_and_settle(from, &staging, &manifest, unfinished).inspect_err(|_| {
        // What is told is why; a rest is removed by the next attempt.
        let _ = fs::remove_dir_all(&staging);
    })?;
    // From here on it counts: whatever happens, it is put into its place sooner or later.
    let ready = data_dir.join(READY);
    fs::rename(&staging, &ready).and_then(|()| sync_parent(&ready)).map_err(failed(&ready))?;
    put_in_place(data_dir, &mut |from, to| fs::rename(from, to))?;
    Ok(Restored { created: manifest.created, unfinished: number })
}

/// Ends what a restore was kept from ending by a crash. To be called before anything in `data_dir` is opened.
pub fn finish_restore(data_dir: &Path) -> Result<(), BackupError> {
    if !data_dir.join(READY).is_dir() {
        return Ok(());
    }
    let _lock = lock(data_dir)?;
    tracing::info!(data_dir = %data_dir.display(), "a restore that was interrupted is completed");
    put_in_place(data_dir, &mut |from, to| fs::rename(from, to))
}

/// Moves what is ready to where the server looks for it; as often as it takes.
fn put_in_place(data_dir: &Path, rename: &mut dyn FnMut(&Path, &Path) -> io::Result<()>) -> Result<(), BackupError> {
    let ready = data_dir.join(READY);
    for name in [KEYS, DATABASE] {
        let (from, to) = (ready.join(name), data_dir.join(name));
        if from.symlink_metadata().is_ok() {
            rename(&from, &to).and_then(|()| sync_parent(&to)).map_err(failed(&to))?;
        }
    }
    fs::remove_dir_all(&ready).and_then(|()| sync_parent(&ready)).map_err(failed(&ready))
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BackupError::Missing(path.clone()),
        _ => BackupError::File(path.clone(), error),
    })?;
    let mut text = Vec::new();
    file.take(BACKUP_MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(failed(&path))?;
    let damaged = |what: String| BackupError::Damaged(path.clone(), what);
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(format!("no manifest: {error}")))?;
    if manifest.format != FORMAT {
        return Err(damaged(format!("has layout {}, this program knows {FORMAT}", manifest.format)));
    }
    if manifest.files.len() > BACKUP_FILES_MAX || !manifest.files.iter().any(|file| file.path == DATABASE) {
        return Err(damaged(format!("must name {DATABASE} and at most {BACKUP_FILES_MAX} files")));
    }
    // Paths from a file that anybody may have written must not lead anywhere else.
    let is_known = |path: &str| {
        path == DATABASE || path.strip_prefix(KEYS).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_key_name)
    };
    match manifest.files.iter().find(|file| !is_known(&file.path)) {
        Some(odd) => Err(damaged(format!("names `{}`, which is no part of a backup", odd.path.escape_debug()))),
        None => Ok(manifest),
    }
}

/// The files, and the number of jobs that had not ended.
fn copy_and_settle(
    from: &Path,
    staging: &Path,
    manifest: &Manifest,
    unfinished: Unfinished,
) -> Result<usize, BackupError> {
    manifest.files.iter().try_for_each(|file| copy(from, staging, file))?;
    let database = staging.join(DATABASE);
    check_and_revoke(&database).map_err(|error| BackupError::Database(database.clone(), error.to_string()))?;
    let store = SqliteStore::open(staging)?;
    let jobs = store.unfinished()?;
    if unfinished == Unfinished::End {
        let reason = format!(
            "the server was restored from a backup of {}: what became of it since is not known",
            manifest.created
        );
        jobs.iter().try_for_each(|job| store.commit(ending(job, &reason)))?;
        end_plans(&store, &reason)?;
    }
    store.close();
    drop(store);
    into_one_file(&database).map_err(|error| BackupError::Database(database, error.to_string()))?;
    Ok(jobs.len())
}

/// Whoever runs a plan elsewhere has lost what it had done here since.
fn end_plans(store: &SqliteStore, reason: &str) -> Result<(), BackupError> {
    let error = json!({"kind": EXECUTION_FAILURE, "msg": reason, "details": {}});
    for plan_job in store.running_plans()? {
        let end = PlanEnd { plan_job, is_success: false, result: error.clone() };
        store.finish_plan(end, WallTime::now())?;
    }
    Ok(())
}

fn copy(from: &Path, staging: &Path, file: &BackedUp) -> Result<(), BackupError> {
    let (source, target) = (from.join(&file.path), staging.join(&file.path));
    let mut reading = File::open(&source).map_err(failed(&source))?;
    let mut writing = private_file(&target)?;
    io::copy(&mut reading, &mut writing).and_then(|_| writing.sync_all()).map_err(failed(&target))?;
    // Of the copy: that is what will be used.
    let (bytes, digest) = digest(&target)?;
    if bytes != file.bytes || hexadecimal(&digest) != file.sha256 {
        let what = format!("{bytes} bytes whose SHA-256 is not that of the manifest");
        return Err(BackupError::Damaged(source, what));
    }
    Ok(())
}

fn check_and_revoke(database: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(database)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(rusqlite::Error::InvalidColumnName(verdict));
    }
    let now = WallTime::now().as_millis();
    connection.execute("UPDATE tokens SET revoked = coalesce(revoked, ?1)", [now])?;
    connection.execute("UPDATE users SET reset_hash = NULL, reset_expires = NULL", []).map(drop)
}

/// Takes the log into the database: only that will be moved.
fn into_one_file(database: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(database)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    debug_assert_eq!(mode, "delete", "nobody else has it open");
    connection.close().map_err(|(_, error)| error)
}

/// The end of a job and of all its nodes that had not ended.
fn ending(job: &UnfinishedJob, reason: &str) -> Vec<Change> {
    let (now, action) = (WallTime::now(), Action::of(&job.spec.work));
    let nodes = job.nodes.iter().map(|node| {
        let key = NodeKey { job: job.id, position: node.position };
        Ending::errored(&action, &node.name, reason).into_change(&action, key, &node.name, now)
    });
    let unsuccessful = job.unsuccessful + job.nodes.len() as u64;
    let event = Some(events::job_ended(JobState::Failed, job.succeeded, unsuccessful));
    let ended = Change::JobEntered { job: job.id, state: JobState::Failed, at: now, event };
    nodes.chain([ended]).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::super::back_up;
    use super::*;
    use crate::orchestrator::model::{JobId, NodeState, PlanState};
    use crate::orchestrator::rbac::{Rbac, TokenRequest};
    use crate::orchestrator::store::conformance;
    use crate::orchestrator::vault::Vault;

    struct Site {
        dir: tempfile::TempDir,
        store: Arc<SqliteStore>,
        vault: Vault,
        job: JobId,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().join("data");
            let (store, vault) = (Arc::new(SqliteStore::open(&data).unwrap()), Vault::open(&data).unwrap());
            let mut new = conformance::new_job("t", &["a", "b"]);
            new.payload = vault.seal(b"{}");
            let job = store.create_job(new).unwrap();
            Self { dir, store, vault, job }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn log_in(&self) {
            let settings = crate::orchestrator::tests::settings(&self.path("data"));
            let rbac = Rbac::open(self.store.clone(), &settings).unwrap();
            let password = fs::read_to_string(self.path("data/admin-password")).unwrap();
            rbac.login("admin", password.trim(), &TokenRequest::default()).unwrap();
        }

        /// How many tokens are good for something.
        fn tokens(&self, data_dir: &Path) -> i64 {
            let connection = Connection::open(data_dir.join(DATABASE)).unwrap();
            connection.query_row("SELECT count(*) FROM tokens WHERE revoked IS NULL", [], |row| row.get(0)).unwrap()
        }

        /// A backup of the running store.
        fn backup(&self) -> PathBuf {
            let to = self.path("backup");
            back_up(&self.path("data"), &to).unwrap();
            to
        }
    }

    #[test]
    fn what_a_running_server_has_acknowledged_comes_back_and_can_go_on() {
        let site = Site::new();
        let from = site.backup();
        site.store.create_job(conformance::new_job("later", &["a"])).unwrap();
        let to = site.path("again");
        let restored = restore(&from, &to, Unfinished::Resume).unwrap();
        assert_eq!(restored.unfinished, 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&from), mode(&from.join("podium.db")), mode(&to.join("podium.db"))], [0o700, 0o600, 0o600]);
        let store = SqliteStore::open(&to).unwrap();
        let unfinished = store.unfinished().unwrap();
        assert_eq!((unfinished.len(), unfinished[0].id), (1, site.job), "not the later one");
        assert_eq!(Vault::open(&to).unwrap().unseal(&unfinished[0].payload).unwrap(), b"{}");
        assert_eq!(site.vault.unseal(&unfinished[0].payload).unwrap(), b"{}");
        assert!(!to.join(STAGING).exists());
    }

    #[test]
    fn by_default_nothing_goes_on_and_no_token_counts() {
        let site = Site::new();
        site.log_in();
        assert_eq!(site.tokens(&site.path("data")), 1);
        let from = site.backup();
        let to = site.path("again");
        assert_eq!(restore(&from, &to, Unfinished::End).unwrap().unfinished, 1);
        let store = SqliteStore::open(&to).unwrap();
        assert_eq!(store.unfinished().unwrap(), []);
        let job = store.job(site.job).unwrap().unwrap();
        assert_eq!((job.state, job.node_states[&NodeState::Errored]), (JobState::Failed, 2));
        assert_eq!(site.tokens(&to), 0);
        let events = store.events(site.job, 0).unwrap().unwrap();
        assert!(events[0].message.contains("restored from a backup of 20"), "{}", events[0].message);
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let site = Site::new();
        let from = site.backup();
        assert!(matches!(back_up(&site.path("data"), &from), Err(BackupError::Exists(_))));
        assert!(matches!(back_up(&site.path("nothing"), &site.path("b")), Err(BackupError::Missing(_))));
        let in_use = restore(&from, &site.path("data"), Unfinished::End).unwrap_err();
        assert!(matches!(in_use, BackupError::Store(_)), "{in_use}");
        let to = site.path("again");
        restore(&from, &to, Unfinished::End).unwrap();
        assert!(matches!(restore(&from, &to, Unfinished::End), Err(BackupError::Exists(_))));
        assert!(matches!(
            restore(&site.path("nothing"), &site.path("c"), Unfinished::End),
            Err(BackupError::Missing(_))
        ));
    }

    #[test]
    fn a_backup_that_was_changed_is_not_restored() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 5] = [
            ("SHA-256", |from| {
                let mut bytes = fs::read(from.join("podium.db")).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(from.join("podium.db"), bytes).unwrap();
            }),
            ("No such file", |from| fs::remove_file(from.join("keys/job-parameters")).unwrap()),
            ("no manifest", |from| fs::write(from.join(MANIFEST), "{").unwrap()),
            ("no part of a backup", |from| rewrite(from, "keys/job-parameters", "keys/../../../etc/passwd")),
            ("layout 2", |from| rewrite(from, "\"format\": 1", "\"format\": 2")),
        ];
        for (expected, change) in changes {
            let site = Site::new();
            let from = site.backup();
            change(&from);
            let to = site.path("again");
            let error = restore(&from, &to, Unfinished::End).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!to.join("podium.db").exists() && !to.join(STAGING).exists());
        }
    }

    #[test]
    fn what_another_database_has_left_behind_is_in_the_way() {
        for name in ["podium.db-wal", "podium.db-shm", "podium.db-journal"] {
            let site = Site::new();
            let (from, to) = (site.backup(), site.path("again"));
            create_private_dir(&to).unwrap();
            fs::write(to.join(name), "old").unwrap();
            match restore(&from, &to, Unfinished::End) {
                Err(BackupError::Exists(path)) => assert_eq!(path, to.join(name)),
                other => panic!("{other:?}"),
            }
            assert!(!to.join(DATABASE).exists() && !to.join(READY).exists());
        }
    }

    #[test]
    fn plans_end_as_their_jobs_do() {
        let site = Site::new();
        let plan = site.store.start_plan(conformance::plans::new_plan("a::b", 1_000)).unwrap();
        let from = site.backup();
        let (ended, resumed) = (site.path("ended"), site.path("resumed"));
        restore(&from, &ended, Unfinished::End).unwrap();
        restore(&from, &resumed, Unfinished::Resume).unwrap();
        let found = |dir: &Path| SqliteStore::open(dir).unwrap().plan_job(plan).unwrap().unwrap().plan;
        assert_eq!(found(&ended).state, PlanState::Failure);
        assert!(found(&ended).result.unwrap()["msg"].as_str().unwrap().contains("restored from a backup of 20"));
        assert_eq!(found(&resumed).state, PlanState::Running);
    }

    #[test]
    fn a_restore_that_was_interrupted_is_completed_or_was_none() {
        for failing in 0..2 {
            let site = Site::new();
            let from = site.backup();
            let to = site.path("again");
            restore(&from, &to, Unfinished::Resume).unwrap();
            // As it was when all of it was ready and nothing in its place.
            let ready = to.join(READY);
            create_private_dir(&ready).unwrap();
            for name in [KEYS, DATABASE] {
                fs::rename(to.join(name), ready.join(name)).unwrap();
            }
            let mut moved = 0;
            let mut crash = |from: &Path, to: &Path| {
                moved += 1;
                if moved > failing { Err(io::Error::other("crash")) } else { fs::rename(from, to) }
            };
            put_in_place(&to, &mut crash).unwrap_err();
            assert!(!to.join(DATABASE).exists(), "the database comes last");
            if failing == 0 {
                finish_restore(&to).unwrap();
            } else {
                assert!(matches!(restore(&from, &to, Unfinished::End), Err(BackupError::Exists(_))));
            }
            let store = SqliteStore::open(&to).unwrap();
            assert_eq!(store.unfinished().unwrap()[0].id, site.job);
            Vault::open(&to).unwrap().unseal(&store.unfinished().unwrap()[0].payload).unwrap();
            assert!(!ready.exists());
            finish_restore(&to).unwrap();
        }
        // Before it is ready it is as if nobody had tried.
        let site = Site::new();
        let (from, to) = (site.backup(), site.path("again"));
        create_private_dir(&to.join(STAGING).join(KEYS)).unwrap();
        finish_restore(&to).unwrap();
        assert!(!to.join(KEYS).exists() && !to.join(DATABASE).exists());
        restore(&from, &to, Unfinished::End).unwrap();
    }

    fn rewrite(from: &Path, old: &str, new: &str) {
        let path = from.join(MANIFEST);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{text}");
        fs::write(path, text.replace(old, new)).unwrap();
    }
}
