//! Tasks that are held to a user, a nice value, a umask, a cgroup. Users only where the tests are root's.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use podium::agent::confine::{Confinement, Launcher};
use podium::agent::passwd;
use serde_json::{Value, json};

use super::bench::{Bench, wrapper};

fn bench(confinement: Confinement) -> Bench {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
    Bench::held(root, Launcher { program: wrapper().program, confinement })
}

/// An agent whose tasks are of a user without rights; `None` if we are not root.
fn bench_of_nobody() -> Option<Bench> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let user = passwd::user("nobody").expect("every system has this user");
    let confinement = Confinement { user: Some(user), umask: Some(0o077), ..Confinement::default() };
    let bench = bench(confinement.clone());
    confinement.open_to_tasks(&bench.root.path().join("cache")).unwrap();
    Some(bench)
}

fn words(results: &Value) -> Vec<String> {
    assert_eq!(results["exitcode"], 0, "{results}");
    results["stdout"].as_str().unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_task_takes_nice_umask_and_cgroup_upon_itself() {
    let cgroup = tempfile::tempdir().unwrap();
    let processes = cgroup.path().join("cgroup.procs");
    fs::write(&processes, "").unwrap();
    let cgroup = Some(cgroup.path().to_owned());
    let bench = bench(Confinement { user: None, nice: Some(7), umask: Some(0o027), cgroup });
    let answer = bench.run("7", &bench.script("#!/bin/sh\necho $(nice) $(umask) $$ \"$PT__task\"\n"));
    let words = words(&answer["results"]);
    assert_eq!((words[0].as_str(), words[1].as_str(), words[3].as_str()), ("7", "0027", "demo::it"));
    assert_eq!(words[2], fs::read_to_string(processes).unwrap(), "the task itself is in the cgroup");
    let command = bench.run_action("8", ("command", "run"), &json!({"command": "nice"}));
    assert_eq!(command["results"]["stdout"], "7\n");
}

#[test]
fn a_cgroup_that_is_gone_is_told_by_the_task() {
    let cgroup = Some("/no/such/cgroup".into());
    let bench = bench(Confinement { cgroup, ..Confinement::default() });
    let results = &bench.run("7", &bench.script("#!/bin/sh\necho ran\n"))["results"];
    assert_eq!((&results["exitcode"], results.get("stdout")), (&json!(127), None));
    let stderr = results["stderr"].as_str().unwrap();
    assert!(stderr.contains("the cgroup cannot be entered by /no/such/cgroup/cgroup.procs: No such file"), "{stderr}");
}

#[test]
fn what_cannot_be_executed_looks_as_it_does_without_a_hold() {
    let bench = bench(Confinement { nice: Some(1), ..Confinement::default() });
    let results = &bench.run("7", &bench.script("#!/no/such/shell\n"))["results"];
    assert_eq!(results["exitcode"], 127);
    let stderr = results["stderr"].as_str().unwrap();
    assert!(stderr.starts_with("Executable '") && stderr.contains("failed to run: No such file"), "{stderr}");
}

#[test]
fn a_task_of_a_user_has_the_user_s_rights_and_no_others() {
    let Some(bench) = bench_of_nobody() else { return };
    let script = "#!/bin/sh
        [ \"$(id -u)\" = \"$(id -u nobody)\" ] && [ \"$(id -G)\" = \"$(id -G nobody)\" ] || { id; exit 3; }
        [ \"$USER $(umask)\" = 'nobody 0077' ] || { env; exit 4; }
        ls \"$(dirname \"$0\")/../../spool\" 2>/dev/null && exit 5
        (: > \"$0\") 2>/dev/null && exit 6
        (: > \"$(dirname \"$0\")/new\") 2>/dev/null && exit 7
        cat\n";
    let mut params = bench.script(script);
    params["input"] = json!({"word": "w"});
    let results = bench.run("7", &params)["results"].take();
    assert_eq!(results["exitcode"], 0, "{results}");
    assert_eq!(results["stdout"], r#"{"_task":"demo::it","word":"w"}"#);
    let command = bench.run_action("8", ("command", "run"), &json!({"command": "id -un; pwd"}));
    assert_eq!(words(&command["results"]), ["nobody", "/"]);
}

#[test]
fn extra_files_are_where_the_user_can_read_them_and_go_with_the_task() {
    let Some(bench) = bench_of_nobody() else { return };
    let executable = bench.file("it.sh", "#!/bin/sh\nid -un; cat \"$PT__installdir/demo/files/extra\"\n");
    let extra = bench.file("demo/files/extra", "extra\n");
    let files = json!([executable, extra]);
    let params = json!({"task": "demo::it", "input": {}, "files": files, "metadata": {"files": ["demo/files/extra"]}});
    let answer = bench.run("7", &params);
    assert_eq!(words(&answer["results"]), ["nobody", "extra"]);
    let entries = fs::read_dir(bench.root.path().join("cache")).unwrap();
    assert_eq!(entries.count(), 2, "only the two files are left in the cache");
}
