//! The orchestrator as a whole: threads, store and files, against a broker and agents in this process.

mod graph;
mod kinds;
mod schedules;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::model::{JobState, NodeOrder, NodeState, Scope, Terms, Work};
use super::rbac::TokenRequest;
use super::sources::service::Identity;
use super::*;
use crate::config::settings::{
    AccessSettings, CodeSource, MissedRuns, OrchestratorSettings, ScheduleSettings, WebhookSettings,
};
use crate::pcp::Envelope;
use crate::tls::testing::Pki;

/// Settings with everything below `dir`.
pub fn settings(dir: &Path) -> OrchestratorSettings {
    OrchestratorSettings {
        data_dir: dir.to_owned(),
        database: None,
        code_dir: dir.join("code"),
        task_concurrency: 4,
        deploy_concurrency: 2,
        allowed_status_requests: 35,
        status_interval: Duration::from_secs(12),
        default_task_timeout: None,
        default_deploy_timeout: None,
        access: AccessSettings {
            token_lifetime: Duration::from_secs(3600),
            token_lifetime_max: Duration::from_secs(10 * 365 * 86_400),
            failed_logins_max: 10,
            lockout: Some(Duration::from_secs(900)),
            certificate_allowlist: None,
            audit_log: None,
        },
        keep_jobs: None,
        graph_dir: None,
        disk_reserve: 0,
        webhooks: WebhookSettings::default(),
        brokers: vec![],
        code_source: CodeSource::Directory,
        puppetdb: None,
        classifier: None,
        schedules: ScheduleSettings { missed: MissedRuns::RunOnce, v1_api: true, usage_days: 30 },
    }
}

/// As whom it asks services, of which there are none.
pub fn identity() -> Identity {
    let material = Pki::new("ca").material("orch.example");
    let tls = Arc::new(ArcSwap::new(material.client_config().unwrap()));
    Identity { name: "orch.example".into(), tls }
}

struct ChannelPort(Sender<Bytes>);

impl Port for ChannelPort {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        self.0.try_send(message).map_err(crossbeam_channel::TrySendError::into_inner)
    }
}

fn message(message_type: &str, sender: Option<&str>, data: &Value) -> Bytes {
    let message_type = format!("http://puppetlabs.com/{message_type}");
    let id = Uuid::new_v4().to_string();
    let outgoing = crate::pcp::Outgoing {
        id: &id,
        message_type: &message_type,
        target: None,
        sender,
        in_reply_to: None,
        data: Some(data),
    };
    outgoing.encode().into()
}

/// A broker with the agent `a`, which answers every request at once if `answers`, and remembers what it was asked.
fn broker(requests: Receiver<Bytes>, to: Sender<Bytes>, answers: bool, seen: Arc<Mutex<Vec<Value>>>) {
    for request in requests {
        let envelope = Envelope::decode(&request).unwrap();
        let data: Value = envelope.data_as().unwrap();
        let transaction = data["transaction_id"].clone();
        let answer = match (envelope.message_type.rsplit('/').next().unwrap(), answers) {
            ("inventory_request", _) => message("inventory_response", None, &json!({"uris": ["pcp://a/agent"]})),
            ("rpc_non_blocking_request", true) => {
                let results = json!({"exitcode": 0, "stdout": data["params"]["input"].to_string()});
                let data = json!({"transaction_id": transaction, "results": results});
                message("rpc_non_blocking_response", Some("pcp://a/agent"), &data)
            }
            ("rpc_blocking_request", true) => {
                let asked = data["params"]["transaction_id"].clone();
                let results = json!({"transaction_id": asked, "status": "success", "exitcode": 0, "stdout": "found"});
                let data = json!({"transaction_id": transaction, "results": results});
                message("rpc_blocking_response", Some("pcp://a/agent"), &data)
            }
            _ => {
                seen.lock().unwrap().push(data);
                continue;
            }
        };
        seen.lock().unwrap().push(data);
        drop(to.send(answer));
    }
}

fn start(dir: &TempDir, answers: bool) -> (Orchestrator, Arc<Mutex<Vec<Value>>>) {
    start_with(&settings(dir.path()), &identity(), answers)
}

fn start_with(
    settings: &OrchestratorSettings,
    identity: &Identity,
    answers: bool,
) -> (Orchestrator, Arc<Mutex<Vec<Value>>>) {
    let (to_broker, requests) = bounded(100);
    let (to, from_broker) = bounded(100);
    let seen = Arc::new(Mutex::new(vec![]));
    thread::spawn({
        let seen = seen.clone();
        move || broker(requests, to, answers, seen)
    });
    let link = BrokerLink {
        broker_uri: "pcp://broker/server".into(),
        to_broker: Box::new(ChannelPort(to_broker)),
        from_broker,
    };
    (Orchestrator::start(settings, identity, vec![link]).unwrap(), seen)
}

fn code(dir: &TempDir) {
    let tasks = dir.path().join("code/environments/production/modules/demo/tasks");
    fs::create_dir_all(&tasks).unwrap();
    fs::write(tasks.join("init.sh"), "#!/bin/sh\ncat").unwrap();
    let metadata = json!({"supports_noop": true, "parameters": {
        "name": {"type": "String[1]"}, "count": {"type": "Integer", "default": 3},
        "secret": {"type": "Optional[String]", "sensitive": true}}});
    fs::write(tasks.join("init.json"), metadata.to_string()).unwrap();
}

fn on(scope: Scope) -> Terms {
    Terms::new("production", scope)
}

fn command(params: Value) -> TaskCommand {
    TaskCommand {
        task: "demo".into(),
        params: params.as_object().cloned().unwrap(),
        plan_job: None,
        terms: on(Scope::Nodes(vec!["a".into()])),
    }
}

fn admin(orchestrator: &Orchestrator, dir: &TempDir) -> Subject {
    let password = fs::read_to_string(dir.path().join("admin-password")).unwrap();
    let token = orchestrator.rbac().login("admin", password.trim(), &TokenRequest::default()).unwrap();
    orchestrator.rbac().authenticate(&token).unwrap()
}

/// Waits, with a deadline, until the condition holds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        thread::yield_now();
    }
}

fn nodes(orchestrator: &Orchestrator, id: JobId) -> Vec<Node> {
    let query = NodeQuery {
        limit: None,
        offset: 0,
        order_by: NodeOrder::Name,
        descending: false,
        state: None,
        with_results: true,
    };
    orchestrator.nodes(id, &query).unwrap().items
}

#[test]
fn a_task_runs_and_its_secrets_stay_secret() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let id = orchestrator.run_task(&subject, command(json!({"name": "ada", "secret": "hunter2"}))).unwrap();
    until("the end of the job", || orchestrator.job(id).unwrap().state == JobState::Finished);
    let job = orchestrator.job(id).unwrap();
    let Work::Task(work) = job.spec.work else { panic!("no task") };
    assert_eq!((json!(work.params), &*work.sensitive), (json!({"name": "ada"}), &["secret".to_owned()][..]));
    let node = nodes(&orchestrator, id).remove(0);
    // The fake agent gives back its input, which nobody can prevent: defaults and secrets have reached it.
    assert_eq!(
        (node.state, node.result),
        (NodeState::Finished, Some(json!({"name": "ada", "count": 3, "secret": "hunter2"})))
    );
    let (events, next) = orchestrator.events(id, 0).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.word()).collect();
    assert_eq!(kinds, ["node_running", "node_finished", "job_finished"]);
    assert_eq!(orchestrator.events(id, next).unwrap(), (vec![], next));
    assert_eq!(orchestrator.inventory()[0].connection.as_ref().unwrap().broker, "pcp://broker/server");
    orchestrator.stop();
    assert_eq!(
        orchestrator.run_task(&subject, command(json!({"name": "x"}))).unwrap_err().kind,
        RefusalKind::UnknownError
    );
}

#[test]
fn a_restart_asks_before_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, seen) = start(&dir, false);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let id = orchestrator.run_task(&subject, command(json!({"name": "ada", "secret": "hunter2"}))).unwrap();
    until("the request", || seen.lock().unwrap().iter().any(|data| data["module"] == "task"));
    orchestrator.stop();
    drop(orchestrator);
    for file in ["podium.db", "podium.db-wal"] {
        let bytes = fs::read(dir.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{file} has the secret in clear");
    }
    let (orchestrator, seen) = start(&dir, true);
    until("the end of the job", || orchestrator.job(id).unwrap().state == JobState::Finished);
    assert_eq!(nodes(&orchestrator, id)[0].result, Some(json!({"_output": "found"})));
    assert!(seen.lock().unwrap().iter().all(|data| data["module"] != "task"), "nothing is sent twice");
    orchestrator.stop();
}

#[test]
fn dropping_the_last_handle_stops_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let (orchestrator, _) = start(&dir, true);
    drop(orchestrator);
    until("the end of the threads", || super::store::sqlite::SqliteStore::open(dir.path()).is_ok());
}

#[test]
fn stopping_does_not_wait_for_a_heartbeat() {
    let dir = tempfile::tempdir().unwrap();
    let (orchestrator, _) = start(&dir, true);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let started = Instant::now();
    orchestrator.stop();
    assert!(started.elapsed() < Duration::from_millis(700), "stopping took {:?}", started.elapsed());
}

#[test]
fn no_job_is_accepted_once_the_dispatcher_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    // Jobs can be written, what happens to them cannot.
    let database = rusqlite::Connection::open(dir.path().join("podium.db")).unwrap();
    database.execute_batch("DROP TABLE events").unwrap();
    orchestrator.run_task(&subject, command(json!({"name": "a"}))).unwrap();
    until("the end of the dispatcher", || !orchestrator.is_dispatching());
    let refusal = orchestrator.run_task(&subject, command(json!({"name": "a"}))).unwrap_err();
    assert!(refusal.message.contains("the dispatcher has stopped"), "{}", refusal.message);
    orchestrator.stop();
}

#[test]
fn commands_are_refused_with_reasons() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start(&dir, true);
    let subject = admin(&orchestrator, &dir);
    let right = || command(json!({"name": "a"}));
    let refusal = |command: TaskCommand| orchestrator.run_task(&subject, command).unwrap_err();
    let kind = |command: TaskCommand| refusal(command).kind;
    assert_eq!(
        kind(TaskCommand { terms: Terms { environment: "nosuch".into(), ..right().terms }, ..right() }),
        RefusalKind::UnknownEnvironment
    );
    assert_eq!(kind(TaskCommand { task: "demo::nosuch".into(), ..right() }), RefusalKind::UnknownTask);
    assert_eq!(kind(TaskCommand { task: "../demo".into(), ..right() }), RefusalKind::ValidationError);
    assert_eq!(kind(TaskCommand { terms: on(Scope::Nodes(vec![])), ..right() }), RefusalKind::EmptyTarget);
    let refusal = refusal(command(json!({"count": "x", "nosuch": 1})));
    let expected = "Task demo: has no parameter named 'nosuch'; parameter 'count' expects an Integer value, got String; \
                    expects a value for parameter 'name'";
    assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::ValidationError, expected));
    assert_eq!(refusal.details["problems"].as_array().unwrap().len(), 3);
    assert_eq!(orchestrator.job(JobId(1)).unwrap_err().kind, RefusalKind::UnknownJob);
    orchestrator.stop();
}

#[test]
fn brokers_are_linked_and_lost_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let orchestrator = Orchestrator::start(&settings(dir.path()), &identity(), vec![]).unwrap();
    let until = |what: &str, condition: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            thread::yield_now();
        }
    };
    for _ in 0..3 {
        let (to_broker, requests) = bounded(100);
        let (to, from_broker) = bounded(100);
        let link = BrokerLink {
            broker_uri: "pcp://compile1/server".into(),
            to_broker: Box::new(ChannelPort(to_broker)),
            from_broker,
        };
        orchestrator.attach(link).unwrap();
        let request = requests.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(Envelope::decode(&request).unwrap().message_type.ends_with("inventory_request"));
        to.send(message("inventory_response", None, &json!({"uris": ["pcp://a/agent"]}))).unwrap();
        until("the node to be connected", &|| orchestrator.brokers().iter().any(|broker| broker.nodes == 1));
        let connection = orchestrator.inventory_of(&["a".into()])[0].connection.clone().unwrap();
        assert_eq!(connection.broker, "pcp://compile1/server");
        drop(to);
        until("the link to be lost", &|| orchestrator.brokers().is_empty());
        assert_eq!(orchestrator.inventory_of(&["a".into()])[0].connection, None);
        let rest = requests.recv_timeout(Duration::from_secs(60));
        assert_eq!(rest, Err(RecvTimeoutError::Disconnected), "the dispatcher has let go of the link");
    }
    orchestrator.stop();
    let (_, from_broker) = bounded(1);
    let to_broker = Box::new(ChannelPort(bounded(1).0));
    let late = BrokerLink { broker_uri: "pcp://compile1/server".into(), to_broker, from_broker };
    assert_eq!(orchestrator.attach(late), Err(NotAttached::Stopped));
}

mod services;
