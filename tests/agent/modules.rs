//! The modules besides `task`, from request to result.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use podium::sha256::{Sha256, hexadecimal};
use serde_json::{Value, json};

use super::bench::{Bench, fifo, wait_for};

fn executable(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn failed(id: &str, action: &str, error: &str) -> Value {
    format!("Failed to execute the task for the non blocking '{action}' request (transaction {id}). Error: {error}")
        .into()
}

#[test]
fn a_command_runs_in_the_login_shell() {
    let bench = Bench::new();
    let results = json!({"exitcode": 3, "stdout": "a b\n", "stderr": "e\n"});
    let params = json!({"command": "echo 'a b'; echo e >&2; exit 3"});
    assert_eq!(bench.run_action("7", ("command", "run"), &params)["results"], results);
    let metadata = bench.metadata("7");
    assert_eq!((&metadata["module"], &metadata["results"]), (&json!("command"), &results));
    assert_eq!(bench.status("7")["status"], "failure");
    let data = json!({"transaction_id": "b", "module": "command", "action": "run", "params": params});
    bench.submit("rpc_blocking_request", data);
    assert_eq!(bench.expect("rpc_blocking_response")["results"], results);
}

#[test]
fn a_script_runs_with_its_arguments() {
    let bench = Bench::new();
    let script = bench.file("dir/it.sh", "#!/bin/sh\nfor a; do echo \"[$a]\"; done; cat\n");
    let params = json!({"script": script, "arguments": ["a b", ""]});
    let data = bench.run_action("7", ("script", "run"), &params);
    assert_eq!(data["results"], json!({"exitcode": 0, "stdout": "[a b]\n[]\n"}));
    let mut params = params;
    params["script"]["filename"] = "..".into();
    let data = bench.run_action("8", ("script", "run"), &params);
    assert_eq!(data["description"], failed("8", "script run", "'..' cannot be the name of a script"));
}

/// One entry of `file download`.
fn item(kind: &str, destination: &Path, link_source: &str, content: &str) -> Value {
    let sha256 = hexadecimal(&Sha256::of(content.as_bytes()));
    json!({"kind": kind, "destination": destination, "link_source": link_source, "sha256": sha256,
        "uri": {"path": "/x", "params": {}}})
}

#[test]
fn directories_links_and_files_that_are_there() {
    let bench = Bench::new();
    let root = bench.root.path().join("made");
    let (directory, link, file) = (root.join("a/b"), root.join("a/link"), root.join("a/b/file"));
    let items = json!([item("directory", &directory, "", ""), item("symlink", &link, "b/file", "")]);
    let data = bench.run_action("7", ("file", "download"), &json!({"files": items}));
    assert_eq!(data["results"], json!({"exitcode": 0, "stdout": "downloaded"}));
    let expected = json!({"transaction_id": "7", "status": "success", "exitcode": 0, "stdout": "downloaded"});
    assert_eq!(bench.status("7"), expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), fs::read_link(&link).unwrap().to_str()), (0o750, Some("b/file")));
    fs::write(&file, "content").unwrap();
    fs::remove_file(&link).unwrap();
    symlink("/elsewhere", &link).unwrap();
    let items = json!([item("file", &file, "", "content"), item("symlink", &link, "b/file", "")]);
    assert_eq!(bench.run_action("8", ("file", "download"), &json!({"files": items}))["results"]["exitcode"], 0);
    assert_eq!((mode(&file), fs::read_link(&link).unwrap().to_str()), (0o750, Some("b/file")));
    assert_eq!(fs::read_dir(root.join("a")).unwrap().count(), 2, "nothing is left beside them");
}

#[test]
fn downloads_that_cannot_be_done() {
    let bench = Bench::new();
    let file = bench.root.path().join("file");
    fs::write(&file, "").unwrap();
    let shown = file.display();
    let cases = [
        (item("directory", &file, "", ""), format!("Destination \"{shown}\" already exists and is not a directory!")),
        (item("symlink", &file, "x", ""), format!("Destination \"{shown}\" already exists and is not a symlink!")),
        (item("pipe", &file, "", ""), "Not a valid file type! pipe".to_owned()),
        (item("file", Path::new("x"), "", ""), "Destination \"x\" must be an absolute path".to_owned()),
        (
            item("file", &file, "", "other"),
            "Failed to download file with: Cannot download file. No master-uris were provided".to_owned(),
        ),
    ];
    for (index, (item, error)) in cases.into_iter().enumerate() {
        let id = index.to_string();
        let data = bench.run_action(&id, ("file", "download"), &json!({"files": [item]}));
        assert_eq!(data["description"], failed(&id, "file download", &error));
        assert_eq!(bench.status(&id)["status"], "failure");
    }
}

const METADATA: &str = r#"{"description":"d","actions":[{"name":"run","input":{"type":"object","required":["x"]},
    "results":{"type":"object","required":["y"]}}]}"#;

fn with_module(script: &str) -> Bench {
    let root = tempfile::tempdir().unwrap();
    let text = format!("#!/bin/sh\nif [ $1 = metadata ]; then echo '{METADATA}'; exit; fi\n{script}\n");
    executable(&root.path().join("modules/mine"), &text);
    Bench::over(root)
}

#[test]
fn an_external_module_gets_and_gives_json() {
    let root = with_module("input=$(cat); echo \"{\\\"y\\\":$input}\"; exit 1").root;
    fs::create_dir(root.path().join("modules-conf")).unwrap();
    fs::write(root.path().join("modules-conf/mine.conf"), r#"{"c":1}"#).unwrap();
    let bench = Bench::over(root);
    let results = json!({"y": {"input": {"x": "\u{e4}"}, "configuration": {"c": 1}}});
    let data = bench.run_action("7", ("mine", "run"), &json!({"x": "\u{e4}"}));
    assert_eq!(data["results"], results, "whatever the exit code");
    assert_eq!(bench.metadata("7")["results"], results);
    let status = bench.status("7");
    assert_eq!((&status["status"], &status["exitcode"]), (&json!("failure"), &json!(1)));
    let stdout: Value = serde_json::from_str(status["stdout"].as_str().unwrap()).unwrap();
    assert_eq!(stdout, results, "a status query has what the module printed");
}

#[test]
fn results_that_do_not_fit_the_module_s_own_schema() {
    let bench = with_module("echo '{}'; echo why >&2");
    let data = bench.run_action("7", ("mine", "run"), &json!({"x": 1}));
    let error = "The task executed for the non blocking 'mine run' request (transaction 7) returned invalid results on \
                 stdout: {}\n - stderr:\nwhy\n";
    assert_eq!(data["description"], error);
    assert_eq!(bench.metadata("7")["execution_error"], error);
}

/// An agent whose Puppet is a script, with `$state` for a directory.
fn with_puppet(script: &str) -> Bench {
    let root = tempfile::tempdir().unwrap();
    let (puppet, state) = (root.path().join("puppet"), root.path().display().to_string());
    let text = format!(
        "#!/bin/sh\nstate={state}\nif [ \"$2\" = --configprint ]; then echo \"lastrunreport = $state/report\"; exit; fi\n\
         {script}\n"
    );
    executable(&puppet, &text);
    fs::create_dir(root.path().join("modules-conf")).unwrap();
    let configuration = json!({"puppet_bin": puppet}).to_string();
    fs::write(root.path().join("modules-conf/pxp-module-puppet.conf"), configuration).unwrap();
    Bench::over(root)
}

const PUPPET: (&str, &str) = ("pxp-module-puppet", "run");

#[test]
fn a_puppet_run_tells_what_its_report_says() {
    let report = "time: t\\ntransaction_uuid: u\\nenvironment: e\\nstatus: changed\\nmetrics:\\n  resources:\\n    values:\\n    \
                  - - total\\n      - Total\\n      - 8\\n    - - corrective_change\\n      - Corrective change\\n      - 1\\n";
    let bench = with_puppet(&format!("printf '{report}' > $state/report; echo noise; echo \"$@\" > $state/call"));
    let params = json!({"flags": ["--noop", "--environment", "e"], "job": "81", "env": []});
    let results = bench.run_action("7", PUPPET, &params)["results"].take();
    let expected = json!({"time": "t", "transaction_uuid": "u", "environment": "e", "status": "changed",
        "metrics": {"total": 8, "corrective_change": 1}, "exitcode": 0, "version": 1});
    assert_eq!(results, expected);
    let call = fs::read_to_string(bench.root.path().join("call")).unwrap();
    assert_eq!(call, "agent --noop --environment e --onetime --no-daemonize --verbose --job-id 81\n");
    assert_eq!(bench.status("7")["status"], "success");
}

#[test]
fn a_puppet_run_that_fails_has_results_all_the_same() {
    let bench = with_puppet("exit 1");
    let results = bench.run_action("7", PUPPET, &json!({"flags": []}))["results"].take();
    assert_eq!((&results["error_type"], &results["exitcode"]), (&json!("no_last_run_report"), &json!(1)));
    let status = bench.status("7");
    assert_eq!((&status["status"], &status["exitcode"]), (&json!("failure"), &json!(1)));
    let results = bench.run_action("8", PUPPET, &json!({"flags": ["--server", "evil"]}))["results"].take();
    assert_eq!((&results["error_type"], &results["exitcode"]), (&json!("invalid_json"), &json!(-1)));
}

#[test]
fn a_puppet_run_survives_its_agent_and_can_be_ended() {
    let bench = with_puppet("echo > $state/begun; cat $state/pipe; exec sleep 1000");
    fifo(&bench.root.path().join("pipe"));
    bench.start_action("7", PUPPET, &json!({"flags": []}));
    wait_for(&bench.root.path().join("begun"));
    let bench = bench.restarted();
    assert_eq!(bench.status("7")["status"], "running");
    let params = json!({"transaction_id": "7"});
    let data = json!({"transaction_id": "s", "module": "podium", "action": "stop", "params": params});
    bench.submit("rpc_blocking_request", data);
    bench.expect("rpc_blocking_response");
    let end = bench.status_at_end("7");
    assert_eq!((&end["status"], &end["exitcode"]), (&json!("failure"), &json!(15)));
}

#[test]
fn an_apply_that_cannot_be_done_is_told() {
    let bench = Bench::new();
    let data = bench.run_action("7", ("apply", "prep"), &json!({"environment": "../x"}));
    assert_eq!(data["description"], failed("7", "apply prep", "'../x' cannot be the name of an environment"));
    let data = bench.run_action("8", ("apply", "apply"), &json!({"catalog": {}, "apply_options": {}}));
    assert_eq!(data["description"], failed("8", "apply apply", "the catalog names no environment"));
}
