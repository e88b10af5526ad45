//! Puppet runs, stopped jobs and plan jobs, with threads, store and files.

use serde_json::{Map, json};

use super::*;
use crate::orchestrator::model::{DeployOptions, PlanState};

fn deploy(environment: &str, scope: Scope) -> DeployCommand {
    let options = DeployOptions { enforce_environment: true, ..DeployOptions::default() };
    DeployCommand { options, terms: Terms::new(environment, scope) }
}

#[test]
fn a_puppet_run_is_sent_with_its_job_number_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, seen) = start(&dir, false);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let nodes_a = || Scope::Nodes(vec!["a".into()]);
    let kind = |command| orchestrator.run_puppet(&subject, command).unwrap_err().kind;
    assert_eq!(kind(deploy("nosuch", nodes_a())), RefusalKind::UnknownEnvironment);
    assert_eq!(kind(deploy("production", Scope::Nodes(vec![]))), RefusalKind::EmptyTarget);
    let id = orchestrator.run_puppet(&subject, deploy("production", nodes_a())).unwrap();
    let request = || seen.lock().unwrap().iter().find(|data| data["module"] == "pxp-module-puppet").cloned();
    until("the request", || request().is_some());
    let params = json!({"env": [], "flags": ["--environment", "production"], "job": id.to_string()});
    assert_eq!(request().unwrap()["params"], params);
    orchestrator.stop();
    drop(orchestrator);
    let (orchestrator, seen) = start(&dir, true);
    until("the end of the job", || orchestrator.job(id).unwrap().state.is_final());
    assert!(seen.lock().unwrap().iter().all(|data| data["module"] != "pxp-module-puppet"), "nothing is sent twice");
    orchestrator.stop();
}

#[test]
fn a_stop_that_was_acknowledged_holds_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, seen) = start(&dir, false);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let id = orchestrator.run_task(&subject, command(json!({"name": "ada"}))).unwrap();
    until("the request", || seen.lock().unwrap().iter().any(|data| data["module"] == "task"));
    let job = orchestrator.stop_job(&subject, id, Stop::ByForce).unwrap();
    assert_eq!((job.state, job.node_states[&NodeState::Running]), (JobState::Stopping, 1));
    assert_eq!(orchestrator.stop_job(&subject, JobId(99), Stop::Gently).unwrap_err().kind, RefusalKind::UnknownJob);
    // What a killed process leaves: the files as they are.
    let copy = tempfile::tempdir().unwrap();
    code(&copy);
    fs::create_dir(copy.path().join("keys")).unwrap();
    for file in ["podium.db", "podium.db-wal", "keys/job-parameters"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    orchestrator.stop();
    let (orchestrator, seen) = start(&copy, true);
    until("the end of the job", || orchestrator.job(id).unwrap().state.is_final());
    let stopped = orchestrator.job(id).unwrap();
    assert_eq!(stopped.state, JobState::Stopped);
    assert_eq!(orchestrator.stop_job(&subject, id, Stop::Gently).unwrap(), stopped);
    let (events, _) = orchestrator.events(id, 0).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.word()).collect();
    assert_eq!(kinds, ["node_running", "job_stopping", "node_finished", "job_aborted"]);
    let asked: Vec<String> = seen.lock().unwrap().iter().map(|data| data["module"].to_string()).collect();
    assert!(asked.contains(&"\"podium\"".to_owned()) && !asked.contains(&"\"task\"".to_owned()), "{asked:?}");
    orchestrator.stop();
}

#[test]
fn a_plan_that_runs_elsewhere_has_jobs_until_it_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    let subject = admin(&orchestrator, &dir);
    let asked = PlanCommand {
        plan: "demo".into(),
        environment: "production".into(),
        params: Map::new(),
        sensitive: vec![],
        description: String::new(),
        userdata: Map::new(),
    };
    let large = Map::from_iter([("a".to_owned(), json!("x".repeat(crate::limits::PLAN_JOB_BYTES_MAX)))]);
    let refusal = orchestrator.start_plan(&subject, PlanCommand { params: large, ..asked.clone() }).unwrap_err();
    assert!(refusal.kind == RefusalKind::ValidationError && refusal.message.contains("is the most"), "{refusal}");
    let plan = orchestrator.start_plan(&subject, asked).unwrap();
    let step = |plan_job| TaskCommand { plan_job: Some(plan_job), ..command(json!({"name": "ada"})) };
    let id = orchestrator.run_task(&subject, step(plan)).unwrap();
    assert_eq!(orchestrator.plan_job(plan).unwrap().jobs[0].0, id);
    let end = || PlanEnd { plan_job: plan, is_success: false, result: json!("x") };
    let other = Subject { id: "somebody else".into(), is_superuser: false, ..subject.clone() };
    assert_eq!(orchestrator.finish_plan(&other, end()).unwrap_err().kind, RefusalKind::NotPermitted);
    orchestrator.finish_plan(&subject, end()).unwrap();
    assert_eq!(orchestrator.finish_plan(&subject, end()).unwrap_err().kind, RefusalKind::PlanAlreadyFinished);
    assert_eq!(orchestrator.run_task(&subject, step(plan)).unwrap_err().kind, RefusalKind::PlanAlreadyFinished);
    assert_eq!(orchestrator.run_task(&subject, step(PlanJobId(99))).unwrap_err().kind, RefusalKind::UnknownJob);
    assert_eq!(orchestrator.plan_job(plan).unwrap().plan.state, PlanState::Failure);
    let (events, next) = orchestrator.plan_events(plan, 0).unwrap();
    assert_eq!((events.len(), orchestrator.plan_event(plan, next - 1).unwrap()), (2, events[1].clone()));
    assert_eq!(orchestrator.plan_event(plan, next).unwrap_err().kind, RefusalKind::MismatchedJobEventId);
    orchestrator.stop();
}
