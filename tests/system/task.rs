//! A task from the command line to the agents and back.

use serde_json::{Value, json};

use super::lab::{Lab, lossy};

const ECHO_METADATA: &str = r#"{"description": "Says what it was told", "input_method": "both",
    "parameters": {"word": {"type": "String[1]"}, "count": {"type": "Integer[1, 9]", "default": 2},
                   "secret": {"type": "Optional[String]", "sensitive": true}}}"#;
const ECHO: &str = "#!/bin/sh\ninput=$(cat)\nprintf '{\"word\": \"%s\", \"count\": %s, \"task\": \"%s\", \"length\": %s}' \
    \"$PT_word\" \"$PT_count\" \"$PT__task\" \"${#input}\"\n";

fn two_agents() -> Lab {
    let mut lab = Lab::new(&["a.example.test", "b.example.test"]);
    lab.write_task("echo.sh", ECHO);
    lab.write_task("echo.json", ECHO_METADATA);
    lab.write_task("fail.sh", "#!/bin/sh\necho to stdout; echo to stderr >&2; exit 7\n");
    lab.start_server();
    lab.start_agent("a.example.test");
    lab.start_agent("b.example.test");
    lab.wait_connected(&["a.example.test", "b.example.test"]);
    lab
}

fn json_of(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", lossy(&output.stdout), lossy(&output.stderr)))
}

#[test]
fn a_task_runs_on_all_nodes_and_bad_input_is_refused() {
    let lab = two_agents();
    let output =
        lab.client(&["task", "run", "demo::echo", "word=hello", "secret=xyzzy", "--all", "--format", "json"], "");
    assert_eq!(output.status.code(), Some(0), "{}", lossy(&output.stderr));
    let job = json_of(&output);
    assert_eq!(job["state"], "finished");
    let items = job["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    for item in items {
        assert_eq!(item["state"], "finished");
        assert_eq!((&item["result"]["word"], &item["result"]["count"]), (&json!("hello"), &json!(2)));
        assert_eq!(item["result"]["task"], "demo::echo");
    }

    let failing = lab.client(&["task", "run", "demo::fail", "--nodes", "a.example.test", "--format", "json"], "");
    assert_eq!(failing.status.code(), Some(1));
    let job = json_of(&failing);
    assert_eq!((&job["state"], &job["items"][0]["state"]), (&json!("failed"), &json!("failed")));
    assert_eq!(job["items"][0]["result"]["_error"]["details"]["exit_code"], 7);

    let jobs_before = json_of(&lab.client(&["job", "show", "--format", "json"], ""));
    for (arguments, expected) in [
        (vec!["demo::echo", "word=5", "--all"], "word"),
        (vec!["demo::echo", "--all"], "word"),
        (vec!["demo::echo", "word=x", "other=1", "--all"], "other"),
        (vec!["demo::echo", "word=x", "count=10", "--all"], "count"),
        (vec!["demo::nosuch", "--all"], "demo::nosuch"),
        (vec!["demo::echo", "word=x", "--noop", "--all"], "noop"),
        (vec!["demo::echo", "word=x", "--all", "-e", "nosuch"], "nosuch"),
    ] {
        let output = lab.client(&[&["task", "run"], arguments.as_slice()].concat(), "");
        assert_eq!(output.status.code(), Some(5), "{arguments:?}");
        assert!(lossy(&output.stderr).contains(expected), "{arguments:?}: {}", lossy(&output.stderr));
    }
    assert_eq!(json_of(&lab.client(&["job", "show", "--format", "json"], "")), jobs_before, "nothing was run");

    let unknown = lab.client(&["task", "run", "demo::fail", "--nodes", "nosuch.example.test", "--format", "json"], "");
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(json_of(&unknown)["items"][0]["state"], "errored");

    for log in ["server", "agent-a.example.test", "agent-b.example.test"] {
        assert!(!lab.log(log).contains("xyzzy"), "the secret is in {log}.log");
    }
    let database = std::fs::read_dir(lab.path("data")).unwrap();
    for entry in database.filter_map(Result::ok).filter(|entry| entry.path().is_file()) {
        let content = std::fs::read(entry.path()).unwrap();
        assert!(!content.windows(5).any(|window| window == b"xyzzy"), "the secret is in {:?}", entry.path());
    }
}
