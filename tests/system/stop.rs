//! A job that is stopped by force, with a server that is killed right after it has said so.

use std::time::Duration;

use podium::https::{Client, Method, Request};
use serde_json::{Value, json};

use super::hostile::config;
use super::lab::{Lab, lines};

/// Says that it started, and never ends by itself.
const ENDLESS: &str = "#!/bin/sh\necho $$ >> \"$PT_directory/runs\"\nwhile :; do sleep 0.1; done\n";

fn call(lab: &Lab, method: Method, path: &str, body: &Value) -> Value {
    let patience = Duration::from_secs(30);
    let mut client = Client::new(config(&lab.certificates("a.example.test")), patience, patience).unwrap();
    let token = std::fs::read_to_string(lab.path("token")).unwrap();
    let request = Request {
        method,
        host: "localhost",
        port: lab.api_port,
        path_and_query: &format!("/orchestrator/v1/{path}"),
        headers: &[("X-Authentication", &token), ("Content-Type", "application/json")],
        body: body.to_string().into_bytes(),
    };
    let response = client.request(&request, 1 << 20).unwrap();
    assert!(response.status.is_success(), "{path}: {}", String::from_utf8_lossy(&response.body));
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn a_job_stopped_by_force_ends_what_runs_even_if_the_server_dies() {
    let names = ["a.example.test", "b.example.test"];
    let mut lab = Lab::new(&names);
    lab.write_task("endless.sh", ENDLESS);
    lab.start_server();
    names.iter().for_each(|name| lab.start_agent(name));
    lab.wait_connected(&names);
    let directory = lab.path("meeting");
    std::fs::create_dir(&directory).unwrap();
    let command = json!({"task": "demo::endless", "params": {"directory": directory}, "scope": {"nodes": names}, "concurrency": 1});
    let id = call(&lab, Method::POST, "command/task", &command)["job"]["name"].as_str().unwrap().to_owned();
    lab.wait("the task to start", || lines(&directory.join("runs")).len() == 1);
    let stopped = call(&lab, Method::POST, "command/stop", &json!({"job": id, "force": true}));
    assert_eq!(stopped["job"]["name"], json!(id));
    lab.kill_server();
    lab.start_server();
    let job = |lab: &Lab| call(lab, Method::GET, &format!("jobs/{id}"), &Value::Null);
    lab.wait("the job to end", || job(&lab)["state"] == "stopped");
    assert_eq!(job(&lab)["node_states"], json!({"skipped": 1, "stopped": 1}));
    let processes = lines(&directory.join("runs"));
    assert_eq!(processes.len(), 1, "nothing is started after a stop");
    assert!(!std::path::Path::new(&format!("/proc/{}/cwd", processes[0])).exists(), "the task still runs");
}
