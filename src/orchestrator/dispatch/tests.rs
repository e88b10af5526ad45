//! The dispatcher, message by message, in virtual time. What holds for every order of events is in the simulation.

mod deploy;
mod links;
mod order;
mod silence;
mod stall;
mod stop;

use serde_json::{Value, json};

use super::messages::Received;
use super::*;
use crate::limits::START_GRACE;
use crate::orchestrator::model::{EventType, JobSpec, NodeState, Scope, Subject};
use crate::pcp::Outgoing;
use crate::pxp::status::execution_error;

const BROKER: &str = "pcp://broker/server";
const ME: &str = "pcp://orch/orchestrator";

/// A dispatcher with everything that it has put out.
struct Bench {
    dispatcher: Dispatcher,
    now: Moment,
    changes: Vec<Change>,
    sends: Vec<Value>,
    /// Of each of the sends.
    links: Vec<LinkIndex>,
}

impl Bench {
    fn new() -> Self {
        let settings = DispatchSettings {
            task_concurrency: 8,
            deploy_concurrency: 2,
            allowed_status_requests: 3,
            status_interval: Duration::from_secs(12),
        };
        let inventory = Arc::new(RwLock::new(Inventory::new(vec![])));
        let mut id = 0;
        let new_id = move || {
            id += 1;
            Uuid::from_u128(id)
        };
        let now = Moment::from_millis(1_000);
        let mut dispatcher = Dispatcher::new(settings, inventory, Box::new(new_id), now);
        dispatcher.attach(Now { moment: now, wall: WallTime::from_millis(1_000) }, BROKER);
        Self { dispatcher, now, changes: vec![], sends: vec![], links: vec![] }
    }

    /// With node `a` connected and the grace over.
    fn connected() -> Self {
        let mut bench = Self::new();
        bench.broker("inventory_response", &json!({"uris": ["pcp://a/agent"]}));
        bench.pass(START_GRACE);
        bench.sends.clear();
        bench.links.clear();
        bench
    }

    fn now(&self) -> Now {
        Now { moment: self.now, wall: WallTime::from_millis(i64::try_from(self.now.as_millis()).unwrap()) }
    }

    fn act(&mut self, action: impl FnOnce(&mut Dispatcher, Now, &mut Output)) {
        let now = self.now();
        let mut out = Output::default();
        action(&mut self.dispatcher, now, &mut out);
        self.dispatcher.turn(now, &mut out);
        self.changes.append(&mut out.changes);
        self.links.extend(out.sends.iter().map(|send| send.link));
        self.sends.extend(out.sends.iter().map(|send| serde_json::from_slice::<Value>(&send.message).unwrap()));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.act(|_, _, _| {});
    }

    fn job(&mut self, names: &[&str], change: impl FnOnce(&mut UnfinishedJob)) {
        self.job_with(names, r#"{"task":"demo"}"#, change);
    }

    fn job_with(&mut self, names: &[&str], params: &str, change: impl FnOnce(&mut UnfinishedJob)) {
        let nodes = names.iter().zip(0..).map(|(name, position)| ((*name).to_owned(), transaction(position)));
        let mut job = UnfinishedJob::new(JobId(1), spec("ada"), nodes);
        change(&mut job);
        let params = Ok(RawValue::from_string(params.to_owned()).unwrap());
        self.act(|dispatcher, now, out| dispatcher.accept(now, AcceptedJob { job, params }, out));
    }

    fn receive(&mut self, message_type: &str, sender: &str, in_reply_to: Option<&str>, data: &Value) -> Received {
        let message_type = format!("http://puppetlabs.com/{message_type}");
        let outgoing = Outgoing {
            id: "1-1-1-1-1",
            message_type: &message_type,
            target: Some(ME),
            sender: Some(sender),
            in_reply_to,
            data: Some(data),
        };
        let mut received = Received::Unexpected;
        self.act(|dispatcher, now, out| received = dispatcher.receive(now, 0, &outgoing.encode(), out));
        received
    }

    fn broker(&mut self, message_type: &str, data: &Value) -> Received {
        self.receive(message_type, BROKER, None, data)
    }

    /// Node `a` comes or goes.
    fn update(&mut self, change: i8) {
        self.broker("inventory_update", &json!({"changes": [{"client": "pcp://a/agent", "change": change}]}));
    }

    fn agent(&mut self, message_type: &str, data: &Value) -> Received {
        self.receive(message_type, "pcp://a/agent", None, data)
    }

    /// Lets time pass until a status query is sent and answers it.
    fn answer_status(&mut self, mut results: Value) -> Received {
        self.sends.clear();
        for _ in 0..20 {
            self.pass(Duration::from_secs(1));
            if let Some(query) = self.sends.iter().find(|send| send["data"]["module"] == "status").cloned() {
                results["transaction_id"] = transaction(0).to_string().into();
                let data = json!({"transaction_id": query["data"]["transaction_id"], "results": results});
                return self.agent("rpc_blocking_response", &data);
            }
        }
        panic!("no status query was sent");
    }

    fn ending(&self) -> (NodeState, Value) {
        let mut endings = self.changes.iter().filter_map(|change| match change {
            Change::NodeEnded { state, result, .. } => Some((*state, result.clone())),
            _ => None,
        });
        let ending = endings.next().expect("the node has ended");
        assert_eq!(endings.next(), None, "a node ends once");
        ending
    }

    fn error(&self) -> String {
        let (state, result) = self.ending();
        assert_eq!(state, NodeState::Errored);
        result["_error"]["msg"].as_str().unwrap().to_owned()
    }

    fn requests(&self) -> usize {
        self.sends.iter().filter(|send| send["data"]["module"] == "task").count()
    }
}

/// The task `demo`, asked for by this user.
fn spec(login: &str) -> JobSpec {
    let owner = Subject { login: login.to_owned(), ..Subject::default() };
    JobSpec::of_task("demo", Scope::Nodes(vec![]), owner)
}

fn transaction(position: u32) -> Uuid {
    Uuid::from_u128(0xf000 + u128::from(position))
}

fn of_a() -> String {
    transaction(0).to_string()
}

fn words(changes: &[Change]) -> Vec<&'static str> {
    let word = |change: &Change| match change {
        Change::JobEntered { state, .. } => state.word(),
        Change::NodeStarted { event, .. } | Change::NodeEnded { event, .. } => event.kind.word(),
        Change::NodeAcknowledged(_) => "acknowledged",
        Change::NodeResent(_) => "resent",
        Change::JobForced(_) => "forced",
        Change::NodeNoted { .. } => "noted",
        Change::NodesSeen(_) => "seen",
        _ => "other",
    };
    changes.iter().map(word).collect()
}

#[test]
fn a_task_from_request_to_result() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    let request = bench.sends[0].clone();
    assert_eq!((request["target"].as_str(), request.get("sender")), (Some("pcp://a/agent"), None));
    assert_eq!(
        request["data"],
        json!({"transaction_id": of_a(), "notify_outcome": true, "module": "task", "action": "run", "params": {"task": "demo"}})
    );
    assert_eq!(bench.agent("rpc_provisional_response", &json!({"transaction_id": of_a()})), Received::Used);
    let outcome = json!({"transaction_id": of_a(), "results": {"exitcode": 0, "stdout": "{\"a\":1}"}});
    assert_eq!(bench.agent("rpc_non_blocking_response", &outcome), Received::Used);
    assert_eq!(bench.agent("rpc_non_blocking_response", &outcome), Received::Stale);
    assert_eq!(bench.ending(), (NodeState::Finished, json!({"a": 1})));
    assert_eq!(words(&bench.changes), ["seen", "running", "node_running", "acknowledged", "node_finished", "finished"]);
    let Some(Change::JobEntered { event: Some(event), .. }) = bench.changes.last() else { panic!("no last event") };
    assert_eq!(event.kind, EventType::JobFinished);
}

#[test]
fn nodes_that_are_not_connected_are_waited_for_only_after_the_start() {
    let mut bench = Bench::new();
    bench.job(&["a", "b"], |_| {});
    bench.pass(Duration::from_secs(20));
    bench.broker("inventory_update", &json!({"changes": [{"client": "pcp://a/agent", "change": 1}]}));
    assert_eq!(bench.requests(), 1);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.error(), "b is not connected to the PCP broker");
}

#[test]
fn a_request_that_could_not_be_delivered_ends_the_node() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    let id = bench.sends[0]["id"].as_str().unwrap().to_owned();
    let forged = bench.receive("error_message", "pcp://b/agent", Some(&id), &"Not connected.".into());
    assert_eq!(forged, Received::Forged);
    assert_eq!(bench.receive("error_message", BROKER, Some(&id), &"Not connected.".into()), Received::Used);
    assert_eq!(bench.error(), "a is not connected to the PCP broker");
}

#[test]
fn nobody_speaks_for_another() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    let outcome = json!({"transaction_id": of_a(), "results": {"exitcode": 0}});
    let id = bench.sends[0]["id"].as_str().unwrap().to_owned();
    for sender in ["pcp://b/agent", "pcp://a/ctl"] {
        assert_eq!(bench.receive("error_message", sender, Some(&id), &"Not connected.".into()), Received::Forged);
        assert_eq!(bench.receive("rpc_non_blocking_response", sender, None, &outcome), Received::Forged);
    }
    let gone = json!({"changes": [{"client": "pcp://a/agent", "change": -1}]});
    assert_eq!(bench.receive("inventory_update", "pcp://b/agent", None, &gone), Received::Forged);
    assert_eq!(bench.agent("rpc_non_blocking_response", &json!({"results": 1})), Received::Malformed);
    assert_eq!(bench.agent("surprise", &json!({})), Received::Unexpected);
}

#[test]
fn status_queries_find_lost_results() {
    for (results, expected) in [
        (
            json!({"status": "success", "exitcode": 0, "stdout": "ok\n"}),
            (NodeState::Finished, json!({"_output": "ok\n"})),
        ),
        (
            json!({"status": "failure", "exitcode": 3, "stdout": "{\"_error\": {\"msg\": \"m\"}}"}),
            (NodeState::Failed, json!({"_error": {"msg": "m"}})),
        ),
        (
            json!({"status": "failure", "exitcode": 0, "stdout": execution_error("download failed")}),
            (NodeState::Errored, serde_json::from_str(&execution_error("download failed")).unwrap()),
        ),
    ] {
        let mut bench = Bench::connected();
        bench.job(&["a"], |_| {});
        assert_eq!(bench.answer_status(json!({"status": "running"})), Received::Used);
        assert_eq!(bench.answer_status(results), Received::Used);
        assert_eq!(bench.ending(), expected);
    }
}

#[test]
fn a_request_that_never_arrived_is_sent_once_more() {
    let never = json!({"status": "unknown", "stdout": execution_error("found no results directory")});
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    bench.answer_status(never.clone());
    assert_eq!(bench.requests(), 1);
    assert_eq!(words(&bench.changes).last(), Some(&"resent"));
    bench.answer_status(never);
    assert_eq!(bench.requests(), 0);
    assert_eq!(bench.error(), "found no results directory");
}

#[test]
fn a_request_that_arrived_is_never_sent_again() {
    for (known, text) in
        [(true, "found no results directory"), (false, "the PID and output of this task are not available")]
    {
        let mut bench = Bench::connected();
        bench.job(&["a"], |_| {});
        if known {
            bench.agent("rpc_provisional_response", &json!({"transaction_id": of_a()}));
        }
        bench.answer_status(json!({"status": "unknown", "stdout": execution_error(text)}));
        assert_eq!((bench.requests(), bench.error()), (0, text.to_owned()));
    }
}

#[test]
fn an_answer_to_an_old_query_says_nothing_about_a_second_request() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    bench.sends.clear();
    bench.pass(Duration::from_secs(19));
    bench.pass(Duration::from_secs(13));
    let queries: Vec<Value> = bench.sends.iter().map(|send| send["data"]["transaction_id"].clone()).collect();
    assert_eq!(queries.len(), 2);
    let results =
        json!({"transaction_id": of_a(), "status": "unknown", "stdout": execution_error("found no results directory")});
    let mut answer =
        |query: &Value| bench.agent("rpc_blocking_response", &json!({"transaction_id": query, "results": results}));
    assert_eq!(answer(&queries[0]), Received::Stale);
    assert_eq!(answer(&queries[1]), Received::Used);
    assert_eq!(answer(&queries[1]), Received::Stale);
    assert_eq!(words(&bench.changes).last(), Some(&"resent"));
}

#[test]
fn an_agent_that_each_query_disconnects_is_asked_in_turn_and_given_up() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    let mut seconds = 0;
    while !words(&bench.changes).contains(&"node_errored") {
        bench.pass(Duration::from_secs(1));
        bench.update(-1);
        bench.update(1);
        seconds += 1;
        assert!(seconds <= 8 * 12, "never given up");
    }
    assert!(bench.sends.iter().filter(|send| send["data"]["module"] == "status").count() <= 4);
}

#[test]
fn a_timeout_ends_the_node_and_counts_from_the_start() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |job| {
        job.spec.terms.timeout = Some(40);
        job.state = JobState::Running;
        job.nodes[0].start = Some(WallTime::from_millis(1_000));
    });
    bench.pass(Duration::from_secs(9));
    assert!(!words(&bench.changes).contains(&"node_errored"));
    bench.pass(Duration::from_secs(1));
    assert!(bench.error().contains("timeout of 40 s"));
}

#[test]
fn after_a_restart_the_agent_is_asked_first() {
    let mut bench = Bench::new();
    bench.job(&["a"], |job| {
        job.state = JobState::Running;
        job.nodes[0].start = Some(WallTime::from_millis(500));
    });
    bench.sends.clear();
    bench.broker("inventory_response", &json!({"uris": ["pcp://a/agent"]}));
    assert_eq!(bench.sends.len(), 1);
    assert_eq!(bench.sends[0]["data"]["params"], json!({"transaction_id": of_a()}));
}

#[test]
fn nothing_starts_while_brokers_do_not_keep_up() {
    let mut bench = Bench::connected();
    bench.dispatcher.set_pace(Pace::Hold);
    bench.job(&["a"], |_| {});
    assert_eq!(bench.requests(), 0);
    assert!(bench.dispatcher.next_deadline() > Some(bench.now));
    bench.dispatcher.set_pace(Pace::Go);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.requests(), 1);
}

#[test]
fn large_requests_are_made_a_few_at_a_time() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let mut bench = Bench::connected();
    let uris: Vec<String> = names.iter().map(|name| format!("pcp://{name}/agent")).collect();
    bench.broker("inventory_response", &json!({"uris": uris}));
    let large = format!("\"{}\"", "x".repeat(DISPATCH_STEP_BYTES_MAX / 3));
    bench.job_with(&names, &large, |_| {});
    assert_eq!(bench.requests(), 3);
    assert!(bench.dispatcher.next_deadline() <= Some(bench.now), "there is more to do at once");
    bench.pass(Duration::ZERO);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.requests(), names.len());
}

#[test]
fn agents_errors_end_the_node() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |_| {});
    let error = json!({"transaction_id": of_a(), "id": "x", "description": "unknown module: task"});
    assert_eq!(bench.agent("rpc_error_message", &error), Received::Used);
    assert_eq!(bench.error(), "unknown module: task");
}

#[test]
fn an_unanswered_subscription_is_repeated() {
    let mut bench = Bench::new();
    bench.act(|_, _, _| {});
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.sends.len(), 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.sends.len(), 2);
    assert_eq!(bench.sends[1]["data"], json!({"query": ["pcp://*/agent"], "subscribe": true}));
    bench.broker("inventory_response", &json!({"uris": []}));
    bench.pass(Duration::from_secs(299));
    assert_eq!(bench.sends.len(), 2);
}

#[test]
fn a_job_without_readable_parameters_ends() {
    let mut bench = Bench::connected();
    let job = UnfinishedJob::new(JobId(9), spec("ada"), [("a".to_owned(), transaction(0))]);
    let params = Err("the key is gone".to_owned());
    bench.act(|dispatcher, now, out| dispatcher.accept(now, AcceptedJob { job, params }, out));
    assert_eq!((bench.requests(), bench.error()), (0, "the key is gone".to_owned()));
}

#[test]
fn no_message_does_harm() {
    let types = [
        "inventory_response",
        "inventory_update",
        "rpc_provisional_response",
        "rpc_non_blocking_response",
        "rpc_blocking_response",
        "rpc_error_message",
        "error_message",
        "associate_response",
        "",
    ];
    let results = [
        json!(null),
        json!({}),
        json!({"exitcode": "x"}),
        json!({"transaction_id": of_a(), "status": "unknown"}),
        json!({"transaction_id": of_a(), "status": "success"}),
        json!({"exitcode": i64::MIN, "stdout": "\u{0}"}),
    ];
    let mut data: Vec<Value> = vec![
        json!(null),
        json!([]),
        json!("Not connected."),
        json!({"uris": ["x", "pcp://*/agent"]}),
        json!({"uris": [], "more": 1}),
        json!({"changes": [{"client": "", "change": 1}]}),
        json!({"transaction_id": ""}),
        json!({"transaction_id": of_a(), "id": "", "description": ""}),
    ];
    data.extend(results.iter().map(|results| json!({"transaction_id": of_a(), "results": results})));
    for message_type in types {
        for data in &data {
            for reply in [None, Some("1-1-1-1-1"), Some("00000000-0000-0000-0000-000000000002")] {
                for sender in ["pcp://a/agent", BROKER, "pcp:///server"] {
                    let mut bench = Bench::connected();
                    bench.job(&["a"], |_| {});
                    bench.receive(message_type, sender, reply, data);
                    bench.pass(Duration::from_secs(20));
                    bench.receive(message_type, sender, reply, data);
                }
            }
        }
    }
    let mut bench = Bench::connected();
    let mut out = Output::default();
    for bytes in [&b""[..], b"{", b"\xff\xfe", b"[]", b"null"] {
        assert_eq!(bench.dispatcher.receive(bench.now(), 0, bytes, &mut out), Received::Malformed);
    }
}
