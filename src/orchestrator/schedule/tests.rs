//! Nothing is started twice and nothing is lost when the process is killed at any point.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Map;

use super::driver::Pass;
use super::*;
use crate::config::settings::MissedRuns;
use crate::orchestrator::model::schedule::{Repeat, RunOutcome};
use crate::orchestrator::model::{JobOrder, JobQuery, JobSpec, JobState};
use crate::orchestrator::store::NewJob;
use crate::orchestrator::store::sqlite::SqliteStore;

/// Makes jobs that say which slot they are for.
struct Direct {
    store: Arc<dyn Store>,
    /// Refuses them if there is one.
    refusal: Arc<Mutex<Option<RefusalKind>>>,
}

impl Submit for Direct {
    fn is_ready(&self) -> bool {
        true
    }

    fn owner(&self, owner: &Subject) -> Result<Subject, Refusal> {
        Ok(owner.clone())
    }

    fn may_remove(&self, _by: &Subject, _owner: &Subject) -> Result<(), Refusal> {
        Ok(())
    }

    fn permit_task(&self, _subject: &Subject, _task: &str, _environment: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn resolve(&self, _subject: &Subject, _scope: &Scope, _environment: &str) -> Result<Vec<String>, Refusal> {
        Ok(vec!["a".into(), "b".into()])
    }

    fn check(&self, _subject: &Subject, submission: Submission) -> Result<Vec<String>, Refusal> {
        let Submission::Task(command) = submission else { return Ok(Vec::new()) };
        Ok(command.params.keys().filter(|name| *name == "secret").cloned().collect())
    }

    fn submit(&self, subject: &Subject, submission: Submission, firing: Firing) -> Result<JobId, Refusal> {
        if let Some(kind) = *self.refusal.lock().unwrap() {
            return Err(Refusal::new(kind, "refused"));
        }
        let Submission::Task(TaskCommand { task, params, mut terms, .. }) = submission else { panic!("no task") };
        terms.userdata = Map::from_iter([("slot".to_owned(), firing.slot.as_millis().into())]);
        terms.description = Value::Object(params).to_string();
        let mut spec = JobSpec::of_task(&task, terms.scope.clone(), subject.clone());
        spec.terms = terms;
        let job =
            NewJob { spec, created: firing.slot, payload: vec![], nodes: vec![], order: vec![], firing: Some(firing) };
        Ok(self.store.create_job(job)?)
    }
}

fn open(dir: &Path) -> (Arc<dyn Store>, Schedules) {
    open_with(dir, MissedRuns::RunOnce)
}

fn open_with(dir: &Path, missed: MissedRuns) -> (Arc<dyn Store>, Schedules) {
    open_refusing(dir, missed, Arc::default())
}

fn open_refusing(
    dir: &Path,
    missed: MissedRuns,
    refusal: Arc<Mutex<Option<RefusalKind>>>,
) -> (Arc<dyn Store>, Schedules) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir).unwrap());
    let vault = Arc::new(Vault::open(dir).unwrap());
    let settings = ScheduleSettings { missed, v1_api: false, usage_days: 1 };
    let submit = Arc::new(Direct { store: store.clone(), refusal });
    (store.clone(), Schedules::new(store, vault, submit, settings))
}

fn spec(start: WallTime, repeat: Repeat, params: Value) -> ScheduleSpec {
    let params = params.as_object().cloned().unwrap();
    let work = ScheduledWork::Task(ScheduledTask { task: "demo".into(), params, sensitive: vec![] });
    ScheduleSpec {
        work,
        terms: Terms::new("production", Scope::Nodes(vec!["a".into()])),
        timing: Timing { start, repeat },
    }
}

fn later(seconds: i64) -> WallTime {
    let now = WallTime::now().as_millis();
    WallTime::from_millis((now / 1000 + 3600 + seconds) * 1000)
}

fn plus(time: WallTime, seconds: i64) -> WallTime {
    WallTime::from_millis(time.as_millis() + seconds * 1000)
}

/// What the dispatcher does with jobs: they end.
fn end_jobs(store: &dyn Store) {
    for job in store.unfinished().unwrap() {
        let at = WallTime::now();
        store.commit(vec![Change::JobEntered { job: job.id, state: JobState::Finished, at, event: None }]).unwrap();
    }
}

fn jobs(store: &dyn Store) -> Vec<crate::orchestrator::model::Job> {
    let query = JobQuery {
        limit: 100_000,
        offset: 0,
        order_by: JobOrder::Name,
        descending: false,
        kind: None,
        task: None,
        min_finish: None,
        max_finish: None,
    };
    store.jobs(&query).unwrap().items
}

/// Slots of the jobs of each schedule, in the order of the jobs.
fn fired(store: &dyn Store) -> BTreeMap<i64, Vec<i64>> {
    let mut fired: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for job in jobs(store) {
        let slot = job.spec.terms.userdata["slot"].as_i64().unwrap();
        fired.entry(job.spec.terms.schedule.unwrap().0).or_default().push(slot);
    }
    fired
}

const VICTIM: &str = "PODIUM_TEST_SCHEDULE_VICTIM";
const SCHEDULES: i64 = 3;

/// A clock of its own goes on by a second with each look at what is due, from where the schedules stand.
#[test]
#[ignore = "runs only as a child of `a_killed_process_starts_nothing_twice_and_loses_nothing`"]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM) else { return };
    let (store, schedules) = open(Path::new(&dir));
    let mut now = store.next_due().unwrap().unwrap();
    loop {
        end_jobs(&*store);
        assert_eq!(schedules.pass(now), Pass::Done);
        println!("\npassed {}", now.as_millis());
        now = plus(now, 1);
    }
}

#[test]
fn a_killed_process_starts_nothing_twice_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = later(0);
    {
        let (_store, schedules) = open(dir.path());
        for _ in 0..SCHEDULES {
            schedules.add(&Subject::default(), spec(start, Repeat::Every(1), serde_json::json!({}))).unwrap();
        }
    }
    let mut passed = 0;
    // Killed after so many looks, and however far the next one has come.
    for looks in [1, 3, 2, 5, 1, 1, 4, 2, 7, 1, 2, 3] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "orchestrator::schedule::tests::victim"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut told = lines.filter_map(|line| line.strip_prefix("passed ")?.parse::<i64>().ok());
        let last = told.by_ref().take(looks).last();
        child.kill().unwrap();
        passed = told.last().or(last).expect("the child has looked");
        child.wait().unwrap();
    }
    let (store, schedules) = open(dir.path());
    let fired = fired(&*store);
    assert_eq!(fired.len(), 3);
    for (id, slots) in fired {
        let next = schedules.get(ScheduleId(id)).unwrap().next_run.unwrap().as_millis();
        let expected: Vec<i64> = (start.as_millis()..next).step_by(1000).collect();
        assert_eq!(slots, expected, "each slot once, in order, up to the next one");
        assert!(next > passed, "what was told is there");
    }
}

#[test]
fn a_job_that_still_runs_is_waited_for_and_what_was_missed_is_made_up_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, schedules) = open(dir.path());
    let start = later(0);
    let id = schedules.add(&Subject::default(), spec(start, Repeat::Every(60), serde_json::json!({}))).unwrap();
    let slots = || fired(&*store).remove(&id.0).unwrap_or_default();
    let at = |seconds| plus(start, seconds).as_millis();
    schedules.pass(plus(start, -1));
    assert!(slots().is_empty());
    schedules.pass(start);
    schedules.pass(plus(start, 60));
    assert_eq!(slots(), [at(0)], "the first one runs");
    assert_eq!(schedules.get(id).unwrap().next_run, Some(plus(start, 120)));
    end_jobs(&*store);
    schedules.pass(plus(start, 119));
    schedules.pass(plus(start, 600));
    assert_eq!(slots(), [at(0), at(120)], "one for all");
    assert_eq!(schedules.get(id).unwrap().next_run, Some(plus(start, 660)));
    end_jobs(&*store);
    // A clock that goes back starts nothing again.
    schedules.pass(plus(start, 120));
    assert_eq!(slots().len(), 2);
    let edit = ScheduleEdit { enabled: Some(false), ..ScheduleEdit::default() };
    schedules.edit(&Subject::default(), id, edit).unwrap();
    schedules.pass(plus(start, 7200));
    assert_eq!(slots().len(), 2);
}

#[test]
fn what_was_missed_is_left_out_if_that_is_wanted_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (store, schedules) = open_with(dir.path(), MissedRuns::Skip);
    let start = later(0);
    let add = |repeat| schedules.add(&Subject::default(), spec(start, repeat, serde_json::json!({}))).unwrap();
    let (hourly, once) = (add(Repeat::Every(3600)), add(Repeat::Once));
    schedules.pass(plus(start, 1000));
    assert!(jobs(&*store).is_empty());
    for (id, next) in [(hourly, Some(plus(start, 3600))), (once, None)] {
        let schedule = schedules.get(id).unwrap();
        let RunOutcome::NotSubmitted(error) = schedule.last_run.unwrap().outcome else { panic!("a job") };
        assert_eq!((error["kind"].as_str(), schedule.next_run), (Some("puppetlabs.orchestrator/missed"), next));
    }
    schedules.pass(plus(start, 3601));
    assert_eq!(fired(&*store).remove(&hourly.0).unwrap(), [plus(start, 3600).as_millis()]);
}

#[test]
fn parameters_that_stand_for_nodes_and_sensitive_ones_reach_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let (store, schedules) = open(dir.path());
    let params = serde_json::json!({
        "plain": {"value": [1]}, "nodes": {"value": "nodes {}", "type": "query"}, "secret": {"value": "hunter2"},
    });
    let id = schedules.add(&Subject::default(), spec(later(0), Repeat::Every(60), params)).unwrap();
    let shown = schedules.get(id).unwrap();
    let ScheduledWork::Task(task) = &shown.spec.work else { panic!("{shown:?}") };
    assert_eq!((task.params.len(), task.sensitive.as_slice()), (2, &["secret".to_owned()][..]));
    let payload = store.schedule(id).unwrap().unwrap().payload.unwrap();
    assert!(!payload.windows(7).any(|window| window == b"hunter2"));
    // A change of the environment keeps what was sealed.
    let edit = ScheduleEdit { environment: Some("qa".into()), ..ScheduleEdit::default() };
    schedules.edit(&Subject::default(), id, edit).unwrap();
    schedules.pass(later(1));
    let job = jobs(&*store).remove(0);
    assert_eq!(job.spec.terms.environment, "qa");
    assert_eq!(job.spec.terms.description, r#"{"nodes":["a","b"],"plain":[1],"secret":"hunter2"}"#);
}

#[test]
fn a_run_that_is_over_needs_its_secrets_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, schedules) = open(dir.path());
    let params = serde_json::json!({"secret": {"value": "hunter2"}});
    let start = later(0);
    let id = schedules.add(&Subject::default(), spec(start, Repeat::Once, params.clone())).unwrap();
    schedules.pass(start);
    let stored = store.schedule(id).unwrap().unwrap();
    assert_eq!((stored.payload, stored.schedule.next_run), (None, None));
    let timing = Timing { start: later(60), repeat: Repeat::Once };
    let edit = ScheduleEdit { timing: Some(timing.clone()), ..ScheduleEdit::default() };
    let refusal = schedules.edit(&Subject::default(), id, edit.clone()).unwrap_err();
    assert!(refusal.message.contains("give input again"), "{refusal}");
    let ScheduleSpec { work, terms, .. } = spec(start, Repeat::Once, params);
    let edit = ScheduleEdit { input: Some((work, terms)), ..edit };
    schedules.edit(&Subject::default(), id, edit).unwrap();
    assert_eq!(schedules.get(id).unwrap().next_run, Some(timing.start));
    schedules.pass(timing.start);
    assert_eq!(fired(&*store)[&id.0].len(), 1, "the first job has not ended");
    end_jobs(&*store);
}

#[test]
fn what_others_may_do() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, schedules) = open(dir.path());
    let user = |id: &str, is_superuser| Subject { id: id.into(), login: id.into(), is_superuser, ..Subject::default() };
    let ada = user("ada", false);
    let add = || schedules.add(&ada, spec(later(0), Repeat::Every(60), serde_json::json!({}))).unwrap();
    let edit = |by: &Subject, id, edit| schedules.edit(by, id, edit).map_err(|refusal| refusal.kind);
    let described = || ScheduleEdit { description: Some("x".into()), ..ScheduleEdit::default() };
    let removal = || ScheduleEdit { enabled: Some(false), ..ScheduleEdit::default() };
    let id = add();
    assert_eq!(edit(&user("bob", false), id, described()), Err(RefusalKind::NotPermitted));
    let both = ScheduleEdit { enabled: Some(false), ..described() };
    assert_eq!(edit(&user("bob", false), id, both), Err(RefusalKind::NotPermitted));
    assert_eq!(edit(&user("root", true), id, described()), Ok(()));
    assert_eq!(edit(&ada, id, described()), Ok(()));
    // The rest of the orchestrator says here that everybody may.
    assert_eq!(edit(&user("bob", false), id, removal()), Ok(()));
    assert_eq!(edit(&ada, id, described()), Err(RefusalKind::DisabledScheduledJob));
    assert_eq!(edit(&ada, ScheduleId(99), removal()), Err(RefusalKind::UnknownJob));
}

#[test]
fn what_may_be_over_soon_is_tried_again_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = Arc::new(Mutex::new(None));
    let (store, schedules) = open_refusing(dir.path(), MissedRuns::Skip, refusal.clone());
    let refuse = |kind| *refusal.lock().unwrap() = kind;
    let start = later(0);
    let at = |hour: i64, seconds| plus(start, hour * 3600 + seconds);
    let id = schedules.add(&Subject::default(), spec(start, Repeat::Every(3600), serde_json::json!({}))).unwrap();
    let fired = || fired(&*store).remove(&id.0).unwrap_or_default().len();
    let kinds = [
        RefusalKind::PuppetdbError,
        RefusalKind::PuppetserverError,
        RefusalKind::ClassifierError,
        RefusalKind::InsufficientStorage,
        RefusalKind::UnknownError,
    ];
    for kind in kinds {
        refuse(Some(kind));
        assert_eq!(schedules.pass(at(0, 1)), Pass::Left, "{kind:?}");
        let schedule = schedules.get(id).unwrap();
        assert_eq!((schedule.next_run, schedule.last_run), (Some(start), None), "{kind:?}");
    }
    refuse(None);
    assert_eq!((schedules.pass(at(0, 10)), fired()), (Pass::Done, 1), "the slot was left for it");
    end_jobs(&*store);
    // After a while it is given up, and others at once.
    for (hour, kind, seconds) in [(1, RefusalKind::PuppetdbError, 299), (2, RefusalKind::NotPermitted, 1)] {
        refuse(Some(kind));
        assert_eq!(schedules.pass(at(hour, seconds)), Pass::Done, "{kind:?}");
        let schedule = schedules.get(id).unwrap();
        let RunOutcome::NotSubmitted(error) = schedule.last_run.unwrap().outcome else { panic!("a job") };
        assert_eq!(error["kind"], format!("puppetlabs.orchestrator/{}", kind.word()));
        assert_eq!(schedule.next_run, Some(at(hour + 1, 0)));
    }
}

#[test]
fn of_two_servers_the_one_that_can_starts_what_the_other_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let (store, able) = open(dir.path());
    let refusal = Arc::new(Mutex::new(Some(RefusalKind::PuppetdbError)));
    let submit = Arc::new(Direct { store: store.clone(), refusal });
    let vault = Arc::new(Vault::open(dir.path()).unwrap());
    let unable = Schedules::new(store.clone(), vault, submit, able.settings);
    let start = later(0);
    let id = able.add(&Subject::default(), spec(start, Repeat::Every(3600), serde_json::json!({}))).unwrap();
    assert_eq!((unable.pass(start), able.pass(start), unable.pass(start)), (Pass::Left, Pass::Done, Pass::Done));
    assert_eq!(fired(&*store)[&id.0], [start.as_millis()]);
}
