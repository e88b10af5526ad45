//! Claims, crashes and purges of the spool.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::agent::metadata::{REDACTED, Results, timestamp};

pub(crate) fn id(text: &str) -> TransactionId {
    TransactionId::parse(text).unwrap()
}

pub(crate) fn running(id: &TransactionId, start: WallTime) -> Metadata {
    Metadata {
        requester: "pcp://c/x".into(),
        module: "task".into(),
        action: "run".into(),
        request_params: REDACTED.into(),
        transaction_id: id.to_string(),
        request_id: "1-1-1-1-1".into(),
        notify_outcome: true,
        start: timestamp(start),
        status: StoredStatus::Running,
        end: None,
        results_are_valid: None,
        results: None,
        execution_error: None,
    }
}

#[test]
fn what_had_not_begun_when_the_agent_was_killed_may_be_ordered_again() {
    let (root, spool) = spool();
    for name in ["unstarted", "started", "of-pxp-agent", "stopped", "done"] {
        let Claimed::New(claim) = spool.claim(&id(name)) else { panic!() };
        spool.create(&claim, &running(claim.id(), WallTime::now())).unwrap();
    }
    fs::remove_file(spool.directory(&id("of-pxp-agent")).join(UNSTARTED)).unwrap();
    spool.write_pid(&id("started"), 1).unwrap();
    spool.condemn(&id("stopped")).unwrap();
    spool.write_results(&id("done"), &ProcessResults::default()).unwrap();
    let spool = Spool::open(&root.path().join("spool"), 1000).unwrap();
    assert!(matches!(spool.claim(&id("unstarted")), Claimed::New(_)));
    for name in ["started", "of-pxp-agent", "stopped", "done"] {
        assert!(matches!(spool.claim(&id(name)), Claimed::Known), "{name}");
    }
}

#[test]
fn a_disk_without_room_is_refused() {
    // The kernel's own file system has no room for anybody.
    let spool = Spool::open(Path::new("/proc/sys"), 1000).unwrap();
    let Claimed::New(claim) = spool.claim(&id("no-such-file")) else { panic!() };
    let error = spool.create(&claim, &running(claim.id(), WallTime::now())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), "the disk of /proc/sys has only 0 bytes left; make room on this node");
}

pub(crate) fn spool() -> (tempfile::TempDir, Spool) {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(&directory.path().join("spool"), 1000).unwrap();
    (directory, spool)
}

pub(crate) fn create(spool: &Spool, name: &str, start: WallTime) -> (TransactionId, Claim) {
    let id = id(name);
    let Claimed::New(claim) = spool.claim(&id) else { panic!("{name} is known") };
    spool.create(&claim, &running(&id, start)).unwrap();
    (id, claim)
}

#[test]
fn has_the_layout_and_the_modes_of_the_reference() {
    let (_root, spool) = spool();
    let (id, _claim) = create(&spool, "7", WallTime::from_millis(1_795_328_795_845));
    spool.write_pid(&id, 12).unwrap();
    let directory = spool.directory(&id);
    let text = fs::read_to_string(directory.join("metadata")).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"requester":"pcp://c/x","module":"task","action":"run","request_params":"{}","transaction_id":"7","#,
            r#""request_id":"1-1-1-1-1","notify_outcome":true,"start":"2026-11-22T06:26:35.845000Z","#,
            r#""status":"running"}"#,
            "\n"
        )
    );
    assert_eq!(fs::read_to_string(directory.join("pid")).unwrap(), "12\n");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("metadata"))), (0o750, 0o640));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
}

#[test]
fn a_transaction_is_claimed_once() {
    let (_root, spool) = spool();
    let (first, claim) = create(&spool, "7", WallTime::now());
    assert!(matches!(spool.claim(&first), Claimed::Known));
    drop(claim);
    assert!(matches!(spool.claim(&first), Claimed::Known), "it is on disk");
    let Claimed::New(second) = spool.claim(&id("8")) else { panic!() };
    assert!(matches!(spool.claim(&id("8")), Claimed::Known), "it is in hand");
    drop(second);
    assert!(matches!(spool.claim(&id("8")), Claimed::New(_)), "it never came to be");
}

#[test]
fn what_cannot_be_created_is_not_known_afterwards() {
    let (root, spool) = spool();
    fs::remove_dir(root.path().join("spool")).unwrap();
    fs::write(root.path().join("spool"), "").unwrap();
    let Claimed::New(claim) = spool.claim(&id("7")) else { panic!() };
    assert!(spool.create(&claim, &running(&id("7"), WallTime::now())).is_err());
    drop(claim);
    assert!(matches!(spool.claim(&id("7")), Claimed::New(_)));
}

#[test]
fn what_a_crash_left_half_made_is_removed_at_the_start() {
    let (_root, spool) = spool();
    let (id, _) = create(&spool, "7", WallTime::now());
    spool.write_pid(&id, 1).unwrap();
    for name in ["8~", "not an id~"] {
        fs::create_dir(spool.root.join(name)).unwrap();
        fs::write(spool.root.join(name).join("metadata~"), "{").unwrap();
    }
    let mut names = Spool::open(&spool.root, 1000).unwrap().names();
    names.sort();
    assert_eq!(names, ["7", "not an id~"]);
}

#[test]
fn purges_by_age_and_never_what_runs() {
    let (_root, spool) = spool();
    let day = Duration::from_secs(86_400);
    let now = WallTime::now();
    let old = WallTime::from_millis(now.as_millis() - 2 * 86_400_000);
    drop(create(&spool, "fresh", now));
    let in_hand = create(&spool, "in-hand", old);
    drop(create(&spool, "lost", old));
    let (done, claim) = create(&spool, "done", old);
    spool.finish(&done, &Ending::Valid(Results::default())).unwrap();
    drop(claim);
    let (alive, _) = create(&spool, "alive", old);
    let mut wrapper = std::process::Command::new("sh")
        .args(["-c", "read line", "execution-wrapper", "alive"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    spool.write_pid(&alive, wrapper.id()).unwrap();
    fs::create_dir(spool.root.join("foreign")).unwrap();
    assert_eq!(spool.purge(day, now), 2);
    let mut left: Vec<String> = spool.ids().iter().map(ToString::to_string).collect();
    left.sort();
    assert_eq!(left, ["alive", "foreign", "fresh", "in-hand"]);
    drop((in_hand, wrapper.stdin.take()));
    wrapper.wait().unwrap();
}

#[test]
fn a_reused_pid_is_not_the_wrapper() {
    let (_root, spool) = spool();
    let (id, _claim) = create(&spool, "no-such-transaction-on-any-command-line", WallTime::now());
    assert_eq!(spool.process(&id), Process::Unrecorded);
    spool.write_pid(&id, std::process::id()).unwrap();
    assert_eq!(spool.process(&id), Process::Dead);
}
