//! The dispatcher with two running nodes, told arbitrary things by its broker, by agents and by strangers: every node
//! ends at most once, and only its own agent or the broker can end it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use podium::clock::{Moment, WallTime};
use podium::limits::START_GRACE;
use podium::orchestrator::dispatch::{AcceptedJob, DispatchSettings, Dispatcher, Now, Output};
use podium::orchestrator::inventory::Inventory;
use podium::orchestrator::model::{JobId, JobSpec, Scope, Subject};
use podium::orchestrator::store::{Change, NodeKey, UnfinishedJob};
use podium::pcp::Envelope;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::cases;
use super::mutator::{mutate, mutate_json, noise};
use podium::random::Random;

const BROKER: &str = "pcp://broker/server";
const NODES: [&str; 2] = ["a", "b"];

struct World {
    dispatcher: Dispatcher,
    now: Moment,
    ended: BTreeSet<NodeKey>,
    /// Ids of messages that it has sent.
    sent: Vec<String>,
}

fn transaction(position: u32) -> Uuid {
    Uuid::from_u128(u128::from(position) + 1_000)
}

impl World {
    fn new() -> Self {
        let settings = DispatchSettings {
            task_concurrency: 8,
            deploy_concurrency: 2,
            allowed_status_requests: 3,
            status_interval: Duration::from_secs(12),
        };
        let inventory = Arc::new(RwLock::new(Inventory::new(vec![])));
        let counter = Mutex::new(0);
        let new_id = move || {
            let mut counter = counter.lock().unwrap();
            *counter += 1;
            Uuid::from_u128(*counter)
        };
        let now = Moment::from_millis(1_000);
        let mut dispatcher = Dispatcher::new(settings, inventory, Box::new(new_id), now);
        dispatcher.attach(Now { moment: now, wall: WallTime::from_millis(1_000) }, BROKER);
        let mut world = Self { dispatcher, now, ended: BTreeSet::new(), sent: Vec::new() };
        let uris: Vec<String> = NODES.iter().map(|name| format!("pcp://{name}/agent")).collect();
        world.receive(&message("inventory_response", BROKER, None, &json!({"uris": uris})));
        world.act(|dispatcher, now, out| dispatcher.accept(now, job(), out));
        world.now = world.now + START_GRACE;
        world.act(|_, _, _| {});
        world
    }

    /// Returns the nodes that have ended by it.
    fn act(&mut self, action: impl FnOnce(&mut Dispatcher, Now, &mut Output)) -> Vec<NodeKey> {
        let millis = i64::try_from(self.now.as_millis()).unwrap();
        let now = Now { moment: self.now, wall: WallTime::from_millis(millis) };
        let mut out = Output::default();
        action(&mut self.dispatcher, now, &mut out);
        self.dispatcher.turn(now, &mut out);
        for send in &out.sends {
            self.sent.push(Envelope::decode(&send.message).expect("an envelope").id.into_owned());
        }
        let ended = |change: &Change| if let Change::NodeEnded { node, .. } = change { Some(*node) } else { None };
        let ended: Vec<NodeKey> = out.changes.iter().filter_map(ended).collect();
        for node in &ended {
            assert!(self.ended.insert(*node), "{node:?} has ended twice");
        }
        ended
    }

    fn receive(&mut self, message: &[u8]) -> Vec<NodeKey> {
        self.act(|dispatcher, now, out| _ = dispatcher.receive(now, 0, message, out))
    }
}

fn job() -> AcceptedJob {
    let nodes = NODES.iter().zip(0..).map(|(name, position)| ((*name).to_owned(), transaction(position)));
    let spec = JobSpec::of_task("demo", Scope::Nodes(vec![]), Subject::default());
    let job = UnfinishedJob::new(JobId(1), spec, nodes);
    AcceptedJob { job, params: Ok(RawValue::from_string(r#"{"task":"demo"}"#.to_owned()).unwrap()) }
}

fn message(kind: &str, sender: &str, in_reply_to: Option<&str>, data: &Value) -> Vec<u8> {
    let mut message = json!({
        "id": "1-1-1-1-1", "message_type": format!("http://puppetlabs.com/{kind}"), "sender": sender,
        "target": "pcp://orch/orchestrator", "data": data,
    });
    if let Some(id) = in_reply_to {
        message["in_reply_to"] = json!(id);
    }
    message.to_string().into_bytes()
}

fn any_message(random: &mut Random, sent: &[String]) -> Vec<u8> {
    let senders = [BROKER, "pcp://a/agent", "pcp://b/agent", "pcp://stranger/agent", "pcp:///server", "pcp://a/other"];
    let sender = *random.pick(&senders);
    let id = transaction(u32::try_from(random.index(3)).unwrap()).to_string();
    let status = ["unknown", "running", "success", "failure"][random.index(4)];
    let (kind, mut data) = match random.index(7) {
        0 => ("inventory_response", json!({"uris": ["pcp://a/agent", "pcp://c/agent"]})),
        1 => ("inventory_update", json!({"changes": [{"client": "pcp://b/agent", "change": -1}]})),
        2 => ("rpc_provisional_response", json!({"transaction_id": id})),
        3 => ("rpc_non_blocking_response", json!({"transaction_id": id, "results": {"exitcode": 1, "stdout": "{}"}})),
        4 => {
            let results = json!({"transaction_id": id, "status": status, "exitcode": 0, "stdout": "{\"_error\": 1}"});
            ("rpc_blocking_response", json!({"transaction_id": id, "results": results}))
        }
        5 => (
            "rpc_error_message",
            json!({"transaction_id": id, "id": "1-1-1-1-1", "description": "found no results directory"}),
        ),
        _ => ("error_message", json!("Not connected.")),
    };
    if random.percent(30) {
        mutate_json(random, &mut data);
    }
    let about = (!sent.is_empty() && random.percent(50)).then(|| random.pick(sent).as_str());
    let bytes = message(kind, sender, about, &data);
    match random.index(10) {
        0 => noise(random),
        1 | 2 => mutate(random, &bytes, &[b"\"", b"}", b"{", b"[", b"null", b"pcp://a/agent", b"\\u0000", b"\xFF"]),
        _ => bytes,
    }
}

#[test]
fn anything_from_anyone() {
    cases(400, |random| {
        let mut world = World::new();
        for _ in 0..30 {
            if random.percent(20) {
                world.now = world.now + Duration::from_secs(random.index(30) as u64);
                world.act(|_, _, _| {});
                continue;
            }
            let bytes = any_message(random, &world.sent);
            let sender = Envelope::decode(&bytes).ok().and_then(|envelope| envelope.sender.map(|uri| uri.into_owned()));
            // What is due ends before, so that what ends now has ended by the message.
            world.act(|_, _, _| {});
            for node in world.receive(&bytes) {
                let own = format!("pcp://{}/agent", NODES[node.position as usize]);
                let may = [Some(own.as_str()), Some(BROKER), Some("pcp:///server"), None];
                assert!(may.contains(&sender.as_deref()), "{sender:?} ended {node:?}");
            }
        }
    });
}
