//! Scheduled jobs with threads, store and files: they start by themselves, as their owner, for as long as that user may.

use serde_json::json;

use super::*;
use crate::clock::WallTime;
use crate::orchestrator::model::DeployOptions;
use crate::orchestrator::model::schedule::{
    Repeat, RunOutcome, ScheduleId, ScheduleSpec, ScheduledTask, ScheduledWork, Timing,
};
use crate::orchestrator::rbac::permission::{Action, EVERY, Grant};
use crate::orchestrator::rbac::roles::Role;
use crate::orchestrator::store::Change;
use crate::orchestrator::store::access::{AccessChange, User};

fn soon(seconds: i64) -> WallTime {
    WallTime::from_millis((WallTime::now().as_millis() / 1000 + seconds) * 1000)
}

fn work(params: Value) -> ScheduledWork {
    let params = params.as_object().cloned().unwrap();
    ScheduledWork::Task(ScheduledTask { task: "demo".into(), params, sensitive: vec![] })
}

fn spec(work: ScheduledWork, start: WallTime, repeat: Repeat) -> ScheduleSpec {
    ScheduleSpec { work, terms: on(Scope::Nodes(vec!["a".into()])), timing: Timing { start, repeat } }
}

fn last(orchestrator: &Orchestrator, id: ScheduleId) -> Option<RunOutcome> {
    orchestrator.schedules().get(id).unwrap().last_run.map(|last| last.outcome)
}

fn error(orchestrator: &Orchestrator, id: ScheduleId) -> String {
    match last(orchestrator, id) {
        Some(RunOutcome::NotSubmitted(body)) => body["kind"].as_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// A user with the role Operators, which says nothing of tasks, and perhaps a role that does.
fn user(orchestrator: &Orchestrator, login: &str, is_revoked: bool, role_ids: Vec<i64>) -> Subject {
    let user = User {
        id: login.to_owned(),
        login: login.to_owned(),
        password_hash: String::new(),
        display_name: String::new(),
        email: String::new(),
        is_superuser: false,
        is_revoked,
        last_login: None,
        failed_logins: 0,
        last_failed: None,
        reset: None,
        role_ids,
    };
    let change = match orchestrator.inner.store.user_by_id(login).unwrap() {
        None => AccessChange::UserAdded(user.clone()),
        Some(_) => AccessChange::UserEdited(user.clone()),
    };
    orchestrator.inner.store.commit(vec![Change::Access(change)]).unwrap();
    rbac::subject(user)
}

#[test]
fn a_schedule_starts_by_itself_and_its_secrets_stay_secret() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let params = json!({"name": {"value": "ada"}, "secret": {"value": "hunter2"}});
    let id = orchestrator.schedules().add(&subject, spec(work(params), soon(3), Repeat::Once)).unwrap();
    until("the job", || last(&orchestrator, id).is_some());
    let Some(RunOutcome::Job(job)) = last(&orchestrator, id) else { panic!("{:?}", last(&orchestrator, id)) };
    until("its end", || orchestrator.job(job).unwrap().state == JobState::Finished);
    let shown = orchestrator.job(job).unwrap();
    assert_eq!((shown.spec.terms.schedule, shown.spec.owner.login.as_str()), (Some(id), "admin"));
    let result = nodes(&orchestrator, job).remove(0).result;
    assert_eq!(result, Some(json!({"name": "ada", "count": 3, "secret": "hunter2"})));
    let schedule = orchestrator.schedules().get(id).unwrap();
    assert_eq!(schedule.next_run, None);
    assert!(!format!("{schedule:?}").contains("hunter2"));
    orchestrator.stop();
}

#[test]
fn what_is_wrong_when_its_time_comes_is_written_down_and_the_schedule_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let role = Role {
        id: 77,
        display_name: "Tasks".into(),
        description: String::new(),
        permissions: vec![Grant::new(Action::TasksRun, EVERY), Grant::new(Action::PuppetAgentRun, EVERY)],
    };
    orchestrator.inner.store.commit(vec![Change::Access(AccessChange::RoleSet(role))]).unwrap();
    let ada = user(&orchestrator, "ada", false, vec![77]);
    let (start, schedules) = (soon(3600), orchestrator.schedules());
    let at = |hour: i64| WallTime::from_millis(start.as_millis() + hour * 3_600_000);
    let params = json!({"name": {"value": "ada"}});
    let refused = |by: &Subject, work| {
        schedules.add(by, spec(work, start, Repeat::Every(3600))).map_err(|refusal| refusal.kind).unwrap_err()
    };
    let nobody = user(&orchestrator, "bob", false, vec![]);
    let subject = admin(&orchestrator, &dir);
    let deploy = || ScheduledWork::Deploy(DeployOptions { enforce_environment: true, ..Default::default() });
    assert_eq!(refused(&nobody, work(params.clone())), RefusalKind::NotPermitted);
    let question = json!({"name": {"value": "no query", "type": "query"}});
    assert_eq!(refused(&nobody, work(question.clone())), RefusalKind::NotPermitted, "nothing is asked");
    let unknown =
        ScheduledTask { task: "nope".into(), params: question.as_object().cloned().unwrap(), sensitive: vec![] };
    assert_eq!(refused(&subject, ScheduledWork::Task(unknown)), RefusalKind::UnknownTask, "nothing is asked");
    assert_eq!(refused(&nobody, deploy()), RefusalKind::NotPermitted);
    assert_eq!(refused(&ada, work(json!({"name": {"value": 1}}))), RefusalKind::ValidationError);
    let id = schedules.add(&ada, spec(work(params), start, Repeat::Every(3600))).unwrap();
    let run = schedules.add(&ada, spec(deploy(), start, Repeat::Every(3600))).unwrap();

    schedules.pass(at(0));
    assert!(matches!(last(&orchestrator, id), Some(RunOutcome::Job(_))), "{:?}", last(&orchestrator, id));
    let ended = |id| match last(&orchestrator, id) {
        Some(RunOutcome::Job(job)) => orchestrator.job(job).unwrap().state.is_final(),
        _ => false,
    };
    until("the end of the task", || ended(id));
    let Some(RunOutcome::Job(job)) = last(&orchestrator, run) else { panic!("{:?}", last(&orchestrator, run)) };
    orchestrator.stop_job(&ada, job, Stop::ByForce).unwrap();
    until("the end of the run", || ended(run));

    let tasks = dir.path().join("code/environments/production/modules/demo/tasks");
    fs::rename(&tasks, dir.path().join("away")).unwrap();
    user(&orchestrator, "ada", false, vec![]);
    schedules.pass(at(1));
    assert_eq!(error(&orchestrator, run), "puppetlabs.orchestrator/not-permitted");
    user(&orchestrator, "ada", false, vec![77]);
    schedules.pass(at(2));
    assert_eq!(error(&orchestrator, id), "puppetlabs.orchestrator/unknown-task");
    fs::rename(dir.path().join("away"), &tasks).unwrap();
    user(&orchestrator, "ada", true, vec![77]);
    schedules.pass(at(3));
    assert_eq!(error(&orchestrator, id), "puppetlabs.orchestrator/not-permitted");
    user(&orchestrator, "ada", false, vec![77]);
    schedules.pass(at(4));
    assert!(matches!(last(&orchestrator, id), Some(RunOutcome::Job(_))), "it goes on: {:?}", last(&orchestrator, id));
    assert_eq!(schedules.get(id).unwrap().next_run, Some(at(5)));
    orchestrator.stop();
}

#[test]
fn room_that_is_kept_for_jobs_that_run_is_not_taken_by_scheduled_ones() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let settings = OrchestratorSettings { disk_reserve: u64::MAX, ..settings(dir.path()) };
    let (orchestrator, _) = start_with(&settings, &identity(), true);
    let (start, schedules) = (soon(3600), orchestrator.schedules());
    let at = |seconds: i64| WallTime::from_millis(start.as_millis() + seconds * 1000);
    let subject = admin(&orchestrator, &dir);
    let params = json!({"name": {"value": "ada"}});
    let id = schedules.add(&subject, spec(work(params), start, Repeat::Every(3600))).unwrap();
    schedules.pass(at(0));
    assert_eq!(
        (last(&orchestrator, id), schedules.get(id).unwrap().next_run),
        (None, Some(start)),
        "it may be over soon"
    );
    schedules.pass(at(300));
    assert_eq!(error(&orchestrator, id), "puppetlabs.orchestrator/insufficient-storage");
    orchestrator.stop();
}
