//! kill -9 of the server and of an agent in the middle of a task.

use serde_json::Value;

use super::lab::{Lab, lines, lossy};

/// Says that it started, waits until the test lets it go on, says that it ended. A task that ran twice has said so twice.
const WAITING: &str = "#!/bin/sh
echo \"start $$\" >> \"$PT_directory/runs\"
while [ ! -e \"$PT_directory/go\" ]; do sleep 0.1; done
echo \"{\\\"pid\\\": $$}\"
";

fn job_state(lab: &Lab, job: &str) -> Option<Value> {
    serde_json::from_slice(&lab.client(&["job", "show", job, "--format", "json"], "").stdout).ok()
}

#[test]
fn a_killed_server_loses_nothing_and_runs_nothing_twice() {
    let names: Vec<String> = (1..=8).map(|number| format!("node{number}.example.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = Lab::new(&names);
    lab.write_task("waiting.sh", WAITING);
    lab.start_server();
    for name in &names {
        lab.start_agent(name);
    }
    lab.wait_connected(&names);
    let directory = lab.path("meeting");
    std::fs::create_dir(&directory).unwrap();
    let parameter = format!("directory={}", directory.display());
    let client = lab
        .client_command(&["task", "run", "demo::waiting", &parameter, "--all", "--format", "json"])
        .spawn()
        .unwrap();
    lab.wait("all tasks to start", || lines(&directory.join("runs")).len() == names.len());
    lab.kill_server();
    std::fs::write(directory.join("go"), "").unwrap();
    lab.start_server();
    let output = client.wait_with_output().unwrap();
    let job: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", lossy(&output.stdout), lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(0), "{job}\n{}", lab.log("server"));
    assert_eq!(job["state"], "finished");
    assert_eq!(job["items"].as_array().unwrap().len(), names.len());
    assert_eq!(lines(&directory.join("runs")).len(), names.len(), "a task ran twice");
}

#[test]
fn a_killed_agent_still_delivers_its_task() {
    let mut lab = Lab::new(&["a.example.test"]);
    lab.write_task("waiting.sh", WAITING);
    lab.start_server();
    lab.start_agent("a.example.test");
    lab.wait_connected(&["a.example.test"]);
    let directory = lab.path("meeting");
    std::fs::create_dir(&directory).unwrap();
    let parameter = format!("directory={}", directory.display());
    let client = lab
        .client_command(&["task", "run", "demo::waiting", &parameter, "--all", "--format", "json"])
        .spawn()
        .unwrap();
    lab.wait("the task to start", || lines(&directory.join("runs")).len() == 1);
    lab.kill_agent("a.example.test");
    std::fs::write(directory.join("go"), "").unwrap();
    lab.wait("the server to notice", || !connected(&lab));
    lab.start_agent("a.example.test");
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", lossy(&output.stdout), lossy(&output.stderr));
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(job_state(&lab, id).unwrap()["state"], "finished");
    assert_eq!(lines(&directory.join("runs")).len(), 1, "the task ran twice");
}

fn connected(lab: &Lab) -> bool {
    let output = lab.client(&["inventory", "--format", "json"], "");
    let inventory: Value = serde_json::from_slice(&output.stdout).unwrap();
    inventory["items"][0]["connected"] == true
}
