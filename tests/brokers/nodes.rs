//! Three brokers on compile nodes, one server, agents all over them, and a broker that dies in the middle of a task.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::system::lab::{Lab, lines, lossy};

const BROKERS: [&str; 3] = ["compile1.example.test", "compile2.example.test", "compile3.example.test"];
const AGENTS_PER_BROKER: usize = 2;

/// Says that it started, waits until the test lets it go on, says who it was. A task that ran twice has said so twice.
const WAITING: &str = "#!/bin/sh
echo \"start $$\" >> \"$PT_directory/runs\"
while [ ! -e \"$PT_directory/go\" ]; do sleep 0.1; done
echo \"{\\\"pid\\\": $$}\"
";

fn broker_uri(index: usize) -> String {
    format!("pcp://{}/server", BROKERS[index])
}

/// A site with all brokers and agents up: the lab, and the index of each agent's first broker.
fn site() -> (Lab, BTreeMap<String, usize>) {
    let count = BROKERS.len() * AGENTS_PER_BROKER;
    let agents: BTreeMap<String, usize> =
        (0..count).map(|number| (format!("node{number}.example.test"), number % BROKERS.len())).collect();
    let names: Vec<&str> = agents.keys().map(String::as_str).collect();
    let mut lab = Lab::new(&names);
    lab.write_task("waiting.sh", WAITING);
    lab.allow_brokers(&BROKERS);
    let controller = format!("wss://localhost:{}/server", lab.api_port);
    let ports = BROKERS.map(|name| lab.add_broker(name, &controller, ""));
    // Brokers and agents are up before the server is: all of them find each other without help.
    for name in BROKERS {
        lab.start_broker(name);
    }
    for (name, first) in &agents {
        let mut own = ports;
        own.rotate_left(*first);
        lab.connect_agent_to(name, &own);
    }
    lab.start_server();
    lab.wait("the brokers to link", || {
        BROKERS.iter().all(|name| lab.log(&format!("broker-{name}")).contains("established connection with controller"))
    });
    for name in &names {
        lab.start_agent(name);
    }
    lab.wait_connected(&names);
    (lab, agents)
}

/// What a node's task wrote into the spool of that very node.
fn spooled(lab: &Lab, node: &str) -> Vec<Value> {
    let transactions = fs::read_dir(lab.path(&format!("agents/{node}/spool"))).unwrap();
    let outputs = transactions.filter_map(|entry| fs::read(entry.unwrap().path().join("stdout")).ok());
    outputs.map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
}

#[test]
fn a_broker_dies_in_the_middle_of_a_task_and_nothing_is_lost_or_run_twice() {
    let (mut lab, agents) = site();
    for (name, broker) in lab.connected() {
        assert_eq!(broker, broker_uri(agents[&name]), "{name} is where its first URI points");
    }
    let directory = lab.path("meeting");
    fs::create_dir(&directory).unwrap();
    let parameter = format!("directory={}", directory.display());
    let client =
        lab.client_command(&["task", "run", "demo::waiting", &parameter, "--all", "--format", "json"]).spawn().unwrap();
    lab.wait("all tasks to start", || lines(&directory.join("runs")).len() == agents.len());

    lab.kill_broker(BROKERS[1]);
    lab.wait("its agents to go to another broker", || {
        let connected = lab.connected();
        for (name, first) in agents.iter().filter(|(_, first)| **first != 1) {
            assert_eq!(connected.get(name), Some(&broker_uri(*first)), "agents of other brokers stay: {connected:?}");
        }
        let moved = |name: &String| connected.get(name).is_some_and(|broker| *broker != broker_uri(1));
        agents.iter().filter(|(_, first)| **first == 1).all(|(name, _)| moved(name))
    });
    fs::write(directory.join("go"), "").unwrap();

    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", lossy(&output.stdout), lossy(&output.stderr));
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(job["state"], "finished", "{job}");
    let items = job["items"].as_array().unwrap();
    let ended: BTreeSet<&str> = items.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!((items.len(), ended.len()), (agents.len(), agents.len()), "every node ends once: {job}");
    for item in items {
        let name = item["name"].as_str().unwrap();
        assert_eq!((&item["state"], vec![item["result"].clone()]), (&"finished".into(), spooled(&lab, name)), "{name}");
    }
    assert_eq!(lines(&directory.join("runs")).len(), agents.len(), "a task ran twice");
}
