//! A broker on a compile node that links to the real server: its agents are seen, run tasks and are found again after the
//! link was cut, and what is wrong with a link ends the link and nothing else. The broker is played by this test.

use std::net::TcpStream;
use std::process::{Child, Output};
use std::time::Duration;

use podium::tls::material::anonymous_client_config;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::hostile::{config, counter};
use super::lab::{Lab, lossy};

const COMPILE: &str = "compile1.example.test";
const WEB: &str = "web1.example.test";
/// How the server is known to a broker that dials it: by the address in the broker's configuration.
const DIALLED: &str = "pcp://localhost:8143/server";

fn lab() -> Lab {
    let mut lab = Lab::new(&[COMPILE, WEB, "a.example.test"]);
    lab.write("server/conf.d/brokers.conf", &format!("orchestrator.brokers: [{COMPILE}]"));
    lab.write_task("hello.sh", "#!/bin/sh\necho hello\n");
    lab.start_server();
    lab
}

type Socket = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

fn dial(lab: &Lab, name: Option<&str>) -> tungstenite::Result<Socket> {
    let config = match name {
        Some(name) => config(&lab.certificates(name)),
        None => anonymous_client_config(lab.certificates(WEB).ca.as_ref()).unwrap(),
    };
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", lab.api_port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("wss://localhost:{}/server/server", lab.api_port).into_client_request().unwrap();
    match tungstenite::client(request, StreamOwned::new(connection, socket)) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the socket blocks"),
    }
}

fn status_of(refused: tungstenite::Result<Socket>) -> u16 {
    match refused {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it may link"),
    }
}

/// The broker on the compile node.
struct Broker {
    socket: Socket,
}

impl Broker {
    /// Links, and answers the inventory request with these agents.
    fn link(lab: &Lab, agents: &[&str]) -> Self {
        let mut broker = Self { socket: dial(lab, Some(COMPILE)).unwrap() };
        let request = broker.next();
        assert_eq!(request["message_type"], "http://puppetlabs.com/inventory_request");
        assert_eq!((&request["target"], request.get("sender")), (&json!("pcp:///server"), None));
        assert_eq!(request["data"], json!({"query": ["pcp://*/agent"], "subscribe": true}));
        let uris: Vec<String> = agents.iter().map(|name| format!("pcp://{name}/agent")).collect();
        broker.send("inventory_response", None, Some(&request["id"]), &json!({"uris": uris}));
        broker
    }

    fn next(&mut self) -> Value {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    fn send(&mut self, message_type: &str, sender: Option<&str>, in_reply_to: Option<&Value>, data: &Value) {
        let mut message = json!({
            "id": "1d2c3b4a-0000-4000-8000-000000000001", "target": DIALLED,
            "message_type": format!("http://puppetlabs.com/{message_type}"), "data": data,
        });
        if let Some(sender) = sender {
            message["sender"] = sender.into();
        }
        if let Some(id) = in_reply_to {
            message["in_reply_to"] = id.clone();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    fn reports(&mut self, name: &str, change: i8) {
        let changes = json!({"changes": [{"client": format!("pcp://{name}/agent"), "change": change}]});
        self.send("inventory_update", None, None, &changes);
    }

    /// What the agent says, with the sender that its broker puts in.
    fn agent(&mut self, message_type: &str, data: &Value) {
        self.send(message_type, Some(&format!("pcp://{WEB}/agent")), None, data);
    }

    /// The request for the task; its transaction.
    fn task_request(&mut self) -> Value {
        let request = self.next();
        assert_eq!(request["message_type"], "http://puppetlabs.com/rpc_non_blocking_request");
        assert_eq!((&request["target"], request.get("sender")), (&json!(format!("pcp://{WEB}/agent")), None));
        assert_eq!(request["data"]["params"]["task"], "demo::hello");
        request["data"]["transaction_id"].clone()
    }

    /// Waits for the close frame.
    fn closed_with(&mut self) -> u16 {
        loop {
            match self.socket.read().unwrap() {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => panic!("a close frame without a code"),
                _ => {}
            }
        }
    }
}

fn run_task(lab: &Lab) -> Child {
    lab.client_command(&["task", "run", "demo::hello", "--nodes", WEB, "--format", "json"]).spawn().unwrap()
}

fn job_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}{}", lossy(&output.stdout), lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_task_runs_through_the_broker_of_a_compile_node() {
    let lab = lab();
    let mut broker = Broker::link(&lab, &[]);
    broker.reports(WEB, 1);
    lab.wait_connected(&[WEB]);
    let inventory = lab.client(&["inventory", "--format", "json"], "");
    let inventory: Value = serde_json::from_slice(&inventory.stdout).unwrap();
    assert_eq!(inventory["items"][0]["broker"], format!("pcp://{COMPILE}/server"));
    assert_eq!(counter(&lab, "podium_broker_links "), 1);

    let client = run_task(&lab);
    let transaction = broker.task_request();
    broker.agent("rpc_provisional_response", &json!({"transaction_id": transaction}));
    let results = json!({"exitcode": 0, "stdout": "{\"said\": \"hello\"}"});
    broker.agent("rpc_non_blocking_response", &json!({"transaction_id": transaction, "results": results}));
    let job = job_of(&client.wait_with_output().unwrap());
    assert_eq!(job["items"][0]["result"], json!({"said": "hello"}));

    broker.reports(WEB, -1);
    lab.wait_connected(&[]);
}

#[test]
fn a_link_that_is_cut_in_the_middle_of_a_job_loses_nothing() {
    let lab = lab();
    let mut broker = Broker::link(&lab, &[WEB]);
    lab.wait_connected(&[WEB]);
    let client = run_task(&lab);
    let transaction = broker.task_request();
    drop(broker);
    lab.wait_connected(&[]);

    let mut broker = Broker::link(&lab, &[WEB]);
    let query = broker.next();
    assert_eq!((&query["data"]["module"], &query["data"]["action"]), (&json!("status"), &json!("query")), "{query}");
    assert_eq!(query["data"]["params"]["transaction_id"], transaction);
    let results = json!({"transaction_id": transaction, "status": "success", "exitcode": 0, "stdout": "{\"n\": 1}"});
    let answer = json!({"transaction_id": query["data"]["transaction_id"], "results": results});
    broker.agent("rpc_blocking_response", &answer);
    let job = job_of(&client.wait_with_output().unwrap());
    assert_eq!((&job["state"], &job["items"][0]["result"]), (&json!("finished"), &json!({"n": 1})));
}

#[test]
fn what_is_wrong_with_a_link_ends_that_link_at_most() {
    let lab = lab();
    for (name, label) in [(Some(WEB), "not-named"), (None, "no-client-certificate")] {
        assert_eq!(status_of(dial(&lab, name)), 403);
        assert_eq!(counter(&lab, &format!("podium_broker_links_refused_total{{label=\"{label}\"}}")), 1);
        assert!(lab.log("server").contains(&format!("reason={label}")), "{}", lab.log("server"));
    }

    // Nonsense from the broker itself is dropped; the link is that of all its agents.
    let mut broker = Broker::link(&lab, &[]);
    for nonsense in ["{", "null", "{\"id\": 1}", "[]", "\u{0}"] {
        broker.socket.send(Message::text(nonsense)).unwrap();
    }
    broker.reports("*", 1);
    broker.send("inventory_update", None, None, &json!({"changes": "many"}));
    broker.send("rpc_non_blocking_response", None, None, &json!([]));
    broker.reports(WEB, 1);
    lab.wait_connected(&[WEB]);
    assert!(lab.log("server").contains("messages dropped"), "{}", lab.log("server"));

    broker.socket.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(broker.closed_with(), 1003);
    lab.wait_connected(&[]);
    let mut broker = Broker::link(&lab, &[WEB]);
    // The header of a masked text frame of 100 MB.
    let mut frame = vec![0x81, 0xFF];
    frame.extend_from_slice(&100_000_000u64.to_be_bytes());
    frame.extend_from_slice(&[0; 1024]);
    std::io::Write::write_all(broker.socket.get_mut(), &frame).unwrap();
    assert_eq!(broker.closed_with(), 1009);
    for label in ["binary", "ws-too-big"] {
        let prefix = format!("podium_broker_links_closed_total{{label=\"{label}\"}}");
        lab.wait("the link to be counted", || counter(&lab, &prefix) == 1);
    }

    let mut older = Broker::link(&lab, &[WEB]);
    let _newer = Broker::link(&lab, &[WEB]);
    assert_eq!(older.closed_with(), 1001);
    lab.wait_connected(&[WEB]);
}
