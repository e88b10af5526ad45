//! Runs of a Puppet that is a shell script, for everything that can go wrong with a real one.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

struct Node {
    root: tempfile::TempDir,
}

impl Node {
    /// Puppet does what `script` says, with `$state` for its directory.
    fn new(script: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().display().to_string();
        let text = format!(
            "#!/bin/sh\nstate={state}\nif [ \"$2\" = --configprint ]; then\n\
             echo \"lastrunreport = $state/report\"\necho \"agent_disabled_lockfile = $state/disabled\"\n\
             echo \"agent_catalog_run_lockfile = $state/running\"\nexit 0\nfi\necho \"$@\" >> $state/calls\n\
             report() {{ printf 'time: t\\ntransaction_uuid: u\\nenvironment: e\\nstatus: %s\\n' $1 > $state/report; }}\n\
             {script}\n"
        );
        let node = Self { root };
        node.write("puppet", &text);
        fs::set_permissions(node.path("puppet"), fs::Permissions::from_mode(0o755)).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn run(&self) -> Value {
        let input = json!({"input": {"flags": ["--noop"], "job": "7"},
            "configuration": {"puppet_bin": self.path("puppet")}});
        json!(run_within(input.to_string().as_bytes(), Duration::from_millis(300)))
    }

    /// `error_type`, `error`, `exitcode` and `status`.
    fn error(&self) -> (String, String, i64, String) {
        let outcome = self.run();
        let text = |key: &str| outcome[key].as_str().unwrap_or_default().to_owned();
        (text("error_type"), text("error"), outcome["exitcode"].as_i64().unwrap(), text("status"))
    }
}

#[track_caller]
fn fails(script: &str, prepare: &[(&str, &str)], error_type: &str, error: &str, exitcode: i64, status: &str) {
    let node = Node::new(script);
    for (name, content) in prepare {
        node.write(name, content);
    }
    let error = error.replace("$state", &node.root.path().display().to_string());
    assert_eq!(node.error(), (error_type.to_owned(), error, exitcode, status.to_owned()), "{script}");
}

#[test]
fn a_good_run_says_what_its_report_says() {
    let node = Node::new("report changed");
    let expected = json!({"time": "t", "transaction_uuid": "u", "environment": "e", "status": "changed", "metrics": {},
        "exitcode": 0, "version": 1});
    assert_eq!(node.run(), expected);
    let calls = fs::read_to_string(node.path("calls")).unwrap();
    assert_eq!(calls, "agent --noop --onetime --no-daemonize --verbose --job-id 7\n");
}

#[test]
fn every_error_has_its_type_and_text() {
    let unexpected = "The Puppet run failed in an unexpected way";
    fails("exit 1", &[("disabled", "")], "agent_disabled", "Puppet agent is disabled", 1, "unknown");
    fails("exit 1", &[("running", "1")], "agent_locked", "Puppet agent run is already in progress", 1, "unknown");
    fails("exit 0", &[], "no_last_run_report", "$state/report doesn't exist", 0, "unknown");
    fails("exit 3", &[("report", "old")], "no_last_run_report", unexpected, 3, "unknown");
    let error = "$state/report could not be loaded: it has no time";
    fails("echo x > $state/report", &[], "invalid_last_run_report", error, 0, "unknown");
    let error = "Puppet agent exited with a non 0 exitcode";
    fails("report failed; exit 1", &[], "agent_exit_non_zero", error, 1, "failed");
    fails("kill -9 $$", &[], "agent_failed_to_start", "Failed to start Puppet agent", -1, "unknown");
}

#[test]
fn another_run_is_waited_for() {
    let script = "if [ -e $state/second ]; then report unchanged; exit 0; fi\n\
                  touch $state/second; (sleep 0.05; rm $state/running) & exit 1";
    let node = Node::new(script);
    node.write("running", "1");
    assert_eq!(node.run()["status"], "unchanged");
    assert_eq!(fs::read_to_string(node.path("calls")).unwrap().lines().count(), 2);
}

#[test]
fn without_puppet_or_sense_nothing_is_run() {
    let of = |input: &str| {
        let outcome = json!(run(input.as_bytes()));
        (outcome["error_type"].as_str().unwrap().to_owned(), outcome["error"].as_str().unwrap().to_owned())
    };
    let (error_type, error) = of(r#"{"input":{"flags":[]},"configuration":{"puppet_bin":"/no/puppet"}}"#);
    assert_eq!(error_type, "no_puppet_bin");
    assert_eq!(error, "Puppet executable '/no/puppet' does not exist");
    for (input, start) in [
        ("{", "Invalid json received on STDIN: {"),
        ("[]", "The json received on STDIN was not a hash: []"),
        ("{}", "The json received on STDIN did not contain a valid 'input' key: {}"),
        (r#"{"input":{"flags":["--server"]}}"#, "The json received on STDIN included a non-permitted flag: --server"),
    ] {
        assert_eq!(of(input), ("invalid_json".to_owned(), start.to_owned()));
    }
    let node = Node::new("touch $state/ran");
    fs::set_permissions(node.path("puppet"), fs::Permissions::from_mode(0o777)).unwrap();
    let (error_type, error, ..) = node.error();
    assert!(error_type == "no_puppet_bin" && error.contains("is not safe: others may write"), "{error}");
    assert!(!node.path("ran").exists() && !node.path("calls").exists());
    let node = Node::new("");
    node.write("puppet", "#!/bin/sh\nexit 1\n");
    assert_eq!(node.error().1, "could not find the location of the last run report");
}
