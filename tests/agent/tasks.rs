//! Tasks from request to result.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use podium::agent::execute::WrapperCommand;
use serde_json::{Value, json};

use super::bench::{Bench, fifo};

#[test]
fn a_task_leaves_its_result_in_answer_and_spool() {
    let bench = Bench::new();
    let mut params = bench.script("#!/bin/sh\necho out\necho err >&2\nexit 200\n");
    params["input"] = json!({"password": "hunter2"});
    let data = bench.run("7", &params);
    let results = json!({"exitcode": 200, "stdout": "out\n", "stderr": "err\n"});
    assert_eq!(data, json!({"transaction_id": "7", "results": results}));
    let read = |name| fs::read_to_string(bench.directory("7").join(name)).unwrap();
    assert_eq!((read("stdout"), read("stderr"), read("exitcode")), ("out\n".into(), "err\n".into(), "200".into()));
    assert!(read("pid").trim().parse::<u32>().is_ok());
    let metadata = bench.metadata("7");
    assert_eq!((&metadata["status"], &metadata["results_are_valid"]), (&json!("success"), &json!(true)));
    assert_eq!((&metadata["results"], &metadata["request_params"]), (&results, &json!("{}")));
    assert!(!read("metadata").contains("hunter2"));
    let mode = |name| fs::metadata(bench.directory("7").join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["metadata", "pid", "stdout", "stderr", "exitcode"] {
        assert_eq!(mode(name), 0o640, "{name}");
    }
    assert_eq!(mode(""), 0o750);
    let status =
        json!({"transaction_id": "7", "status": "failure", "exitcode": 200, "stdout": "out\n", "stderr": "err\n"});
    assert_eq!(bench.status("7"), status);
}

#[test]
fn input_methods() {
    let script = "#!/bin/sh\ncat; echo \"|$PT_a|$PT_n|$PT__task\"\n";
    let stdin = r#"{"_task":"demo::it","a":"x y","n":{"k":1}}"#;
    let environment = r#"|x y|{"k":1}|demo::it"#;
    let cases = [
        (Some("both"), format!("{stdin}{environment}\n")),
        (None, format!("{stdin}{environment}\n")),
        (Some("stdin"), format!("{stdin}|||\n")),
        (Some("environment"), format!("{environment}\n")),
    ];
    let bench = Bench::new();
    for (index, (method, expected)) in cases.into_iter().enumerate() {
        let mut params = bench.script(script);
        params["input"] = json!({"a": "x y", "n": {"k": 1}});
        if let Some(method) = method {
            params["metadata"] = json!({"input_method": method});
        }
        let data = bench.run(&index.to_string(), &params);
        assert_eq!(data["results"]["stdout"], expected, "{method:?}");
    }
}

#[test]
fn extra_files_are_installed_around_the_task() {
    let bench = Bench::new();
    let script = "#!/bin/sh\ncat \"$PT__installdir/demo/files/data\"; cd \"${0%/*}/../..\"; pwd; ls demo lib\n";
    let files = json!([bench.file("it.sh", script), bench.file("demo/files/data", "data\n"), bench.file("lib/x", "x")]);
    let metadata = json!({"files": ["demo/files/", "lib/x"], "input_method": "environment"});
    let params = json!({"task": "demo::it", "input": {}, "files": files, "metadata": metadata});
    let data = bench.run("7", &params);
    let stdout = data["results"]["stdout"].as_str().unwrap_or_else(|| panic!("{data}"));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines[0], &lines[2..]), ("data", &["demo:", "files", "tasks", "", "lib:", "x"][..]));
    let install_dir = bench.directory("7").canonicalize().unwrap();
    assert!(lines[1].starts_with(install_dir.join("temp_task_").to_str().unwrap()), "{}", lines[1]);
}

#[test]
fn a_known_transaction_is_never_run_again() {
    let bench = Bench::new();
    let (pipe, runs) = (bench.root.path().join("pipe"), bench.root.path().join("runs"));
    fifo(&pipe);
    let params = bench.script(&format!("#!/bin/sh\necho run >> {}\ncat {}\n", runs.display(), pipe.display()));
    bench.start("7", &params);
    bench.start("7", &params);
    for _ in 0..2 {
        bench.expect("rpc_provisional_response");
    }
    fs::write(&pipe, "go").unwrap();
    bench.expect("rpc_non_blocking_response");
    bench.start("7", &json!({"task": "other", "input": {}, "files": params["files"]}));
    bench.expect("rpc_provisional_response");
    let bench = bench.restarted();
    bench.start("7", &params);
    bench.expect("rpc_provisional_response");
    bench.status("7");
    bench.expect_silence();
    assert_eq!(fs::read_to_string(runs).unwrap(), "run\n");
}

#[test]
fn an_outcome_that_nobody_wants_is_kept() {
    let bench = Bench::new();
    let params = bench.script("#!/bin/sh\necho out\n");
    let data = json!(
        {"transaction_id": "7", "notify_outcome": false, "module": "task", "action": "run", "params": params}
    );
    bench.submit("rpc_non_blocking_request", data);
    bench.expect("rpc_provisional_response");
    let expected = json!({"transaction_id": "7", "status": "success", "exitcode": 0, "stdout": "out\n"});
    assert_eq!(bench.status_at_end("7"), expected);
    bench.expect_silence();
}

#[test]
fn output_that_is_not_text() {
    let bench = Bench::new();
    let data = bench.run("out", &bench.script("#!/bin/sh\nprintf '\\377'\n"));
    let error = "The task executed for the non blocking 'task run' request (transaction out) returned invalid UTF-8 on \
                 stdout";
    assert_eq!(data["description"], error);
    assert_eq!(bench.metadata("out")["status"], "failure");
    let status = bench.status("out");
    assert_eq!((&status["status"], &status["exitcode"]), (&json!("failure"), &json!(0)));
    assert!(status["stdout"].as_str().unwrap().contains(error));
    let data = bench.run("err", &bench.script("#!/bin/sh\nprintf 'a\\377b' >&2\n"));
    assert_eq!(data["results"], json!({"exitcode": 0, "stderr": "a\u{fffd}b"}));
}

#[test]
fn output_that_is_too_large() {
    let bench = Bench::new();
    let script = "#!/bin/sh\nhead -c 100001 /dev/zero | tr '\\0' x\n";
    let expected = "Message size: 100001 exceeded max-message-size 100000";
    assert_eq!(bench.run("7", &bench.script(script))["description"], expected);
    assert_eq!(bench.metadata("7")["status"], "success");
    let params = json!({"transaction_id": "7"});
    let data = json!({"transaction_id": "q", "module": "status", "action": "query", "params": params});
    bench.submit("rpc_blocking_request", data);
    assert_eq!(bench.expect("rpc_error_message")["description"], expected);
}

#[test]
fn large_input_that_nobody_reads() {
    let bench = Bench::new();
    let mut params = bench.script("#!/bin/sh\necho done\n");
    params["metadata"] = json!({"input_method": "stdin"});
    params["input"] = json!({"large": "x".repeat(1_000_000)});
    assert_eq!(bench.run("7", &params)["results"], json!({"exitcode": 0, "stdout": "done\n"}));
}

#[test]
fn what_cannot_be_executed() {
    let bench = Bench::new();
    let cases = [("#!/no/such/interpreter\n", 127), ("no shebang\n", 8)];
    for (index, (content, exitcode)) in cases.into_iter().enumerate() {
        let results = bench.run(&index.to_string(), &bench.script(content))["results"].take();
        assert_eq!(results["exitcode"], exitcode);
        assert!(results["stderr"].as_str().unwrap().contains("failed to run: "), "{results}");
    }
    let mut large = bench.script("#!/bin/sh\n");
    large["input"] = json!({"large": "x".repeat(200_000)});
    assert_eq!(bench.run("large", &large)["results"]["exitcode"], 7);
    assert_eq!(bench.run("signal", &bench.script("#!/bin/sh\nkill -9 $$\n"))["results"]["exitcode"], 9);
}

#[test]
fn failures_before_the_start_are_told_and_kept() {
    let bench = Bench::new();
    let mut absent = bench.script("#!/bin/sh\n");
    absent["files"][0]["sha256"] = json!("0".repeat(64));
    let mut traversal = bench.script("#!/bin/sh\n");
    traversal["files"][0]["sha256"] = json!("../../../etc");
    let mut tampered = bench.script("#!/bin/sh\necho tampered\n");
    let path = format!("cache/{}/it.sh", tampered["files"][0]["sha256"].as_str().unwrap());
    fs::write(bench.root.path().join(path), "#!/bin/sh\necho evil\n").unwrap();
    tampered["task"] = json!("demo");
    let mut method = bench.script("#!/bin/sh\n");
    method["input_method"] = json!("telepathy");
    let cases: [(&str, Value, &str); 4] = [
        ("absent", absent, "Failed to download file with: Cannot download file. No master-uris were provided"),
        ("traversal", traversal, "the sha256 of file \"it.sh\" is not 64 hexadecimal digits"),
        ("tampered", tampered, "Failed to download file with: Cannot download file. No master-uris were provided"),
        ("method", method, "unsupported task input method: telepathy"),
    ];
    for (id, params, error) in cases {
        let text = format!(
            "Failed to execute the task for the non blocking 'task run' request (transaction {id}). Error: {error}"
        );
        assert_eq!(bench.run(id, &params)["description"], text);
        let status = bench.status(id);
        assert_eq!((&status["status"], &status["exitcode"]), (&json!("failure"), &json!(0)), "{status}");
        assert!(status["stdout"].as_str().unwrap().contains("puppetlabs.pxp-agent/execution-error"));
        assert_eq!(bench.metadata(id)["execution_error"], text);
    }
}

#[test]
fn a_wrapper_that_cannot_run_or_dies_is_told() {
    let none = WrapperCommand { program: "/no/such/wrapper".into(), arguments: Vec::new() };
    let bench = Bench::with_wrapper(none);
    let text = bench.run("7", &bench.script("#!/bin/sh\n"))["description"].to_string();
    assert!(text.contains("the execution wrapper cannot be run"), "{text}");
    assert_eq!(bench.status("7")["status"], "failure");
    let bench = Bench::with_wrapper(WrapperCommand { program: "/bin/false".into(), arguments: Vec::new() });
    let text = bench.run("7", &bench.script("#!/bin/sh\n"))["description"].to_string();
    assert!(text.contains("task process is not running, but no output is available"), "{text}");
    assert_eq!(bench.metadata("7")["status"], "undetermined");
    assert_eq!(bench.status("7")["status"], "unknown");
}

#[test]
fn blocking_requests_leave_nothing() {
    let bench = Bench::new();
    let files =
        json!([bench.file("it.sh", "#!/bin/sh\ncat $PT__installdir/lib/x\nexit 3\n"), bench.file("lib/x", "x")]);
    let params = json!({"task": "demo::it", "input": {}, "files": files, "metadata": {"files": ["lib/x"]}});
    let data = json!({"transaction_id": "../any", "module": "task", "action": "run", "params": params});
    bench.submit("rpc_blocking_request", data);
    let results = bench.expect("rpc_blocking_response")["results"].take();
    assert_eq!(results, json!({"exitcode": 3, "stdout": "x"}));
    assert_eq!(fs::read_dir(bench.root.path().join("spool")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(bench.root.path().join("cache")).unwrap().count(), 2);
}
