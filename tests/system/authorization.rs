//! `podium server` and its authorization rules: safe without any, wrong ones change nothing, right ones hold at once.

use podium::pxp::message_type;
use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::support::fleet::Agent;
use crate::support::pki::{Keys, Pki};
use crate::support::server::Server;

const OUTLAW: &str = "outlaw.example";

fn connect(server: &Server, pki: &Pki, name: &str) -> std::io::Result<Agent> {
    Agent::connect(server.address, pki.agent(name, &TLS13))
}

/// What an agent is told that gives itself an order.
fn order_to_itself(agent: &mut Agent) -> Value {
    let order = json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": message_type::BLOCKING_REQUEST,
        "target": "pcp://agent.example/agent",
        "data": {},
    });
    agent.send(order.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&agent.receive().unwrap()).unwrap()
}

fn reload(server: &Server, rules: &str, outcome: &str) {
    server.configure("auth.conf", &format!("authorization {{ version: 1, rules: [ {rules} ] }}"));
    server.hang_up();
    server.wait(outcome, || server.log().contains(outcome));
}

#[test]
fn rules_are_read_again_on_sighup() {
    let pki = Pki::new(Keys::P256);
    let server = Server::start(&pki);
    let mut agent = connect(&server, &pki, "agent.example").unwrap();
    assert_eq!(order_to_itself(&mut agent)["data"], "Message not authorized.", "without rules agents only answer");

    reload(&server, "{ name: r }", "auth.conf: authorization.rules.\"r\".sort-order: must be given");
    assert!(server.log().contains("the configuration stays as it was"));
    assert_eq!(order_to_itself(&mut agent)["data"], "Message not authorized.");
    let mut outlaw = connect(&server, &pki, OUTLAW).unwrap();
    outlaw.close().unwrap();

    let rules = format!(
        "{{ name: all, sort-order: 1, allow: \"*\", deny: {OUTLAW}
            match-request {{ path: \"/pcp-broker/send\", type: path }} }}"
    );
    reload(&server, &rules, "who may send what was read again");
    assert_eq!(order_to_itself(&mut agent)["message_type"], message_type::BLOCKING_REQUEST, "it is delivered");
    let refusal = connect(&server, &pki, OUTLAW).map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains("403"), "{refusal}");
    server.wait("the rule's name in the log", || server.log().contains("denied by rule 'all'"));
}
