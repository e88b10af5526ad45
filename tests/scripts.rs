//! The scripts of `scripts/` and `tuning/`: their usage, what they would do, and that tuning comes and goes without a trace.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Those for operators, all in POSIX shell.
const SCRIPTS: [&str; 7] = [
    "apply-tuning.sh",
    "revert-tuning.sh",
    "capacity-run.sh",
    "soak.sh",
    "storm.sh",
    "compare-peer.sh",
    "many-brokers.sh",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script, with programs of the test's own before those of the system.
fn run(script: &Path, arguments: &[&str], programs: &Path) -> Output {
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    Command::new(script)
        .args(arguments)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|error| panic!("{script:?}: {error}"))
}

fn script(name: &str) -> PathBuf {
    root().join("scripts").join(name)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A directory with a `sysctl` that has values of its own and notes what it is told.
fn programs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sysctl");
    put(&path, "#!/bin/sh\nif [ \"$1\" = -n ]; then echo \"77 $2\"; else echo \"$*\" >> \"$0.said\"; fi\n");
    assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
    dir
}

#[test]
fn every_script_says_how_it_is_used() {
    let programs = programs();
    for name in SCRIPTS {
        let help = succeed(&run(&script(name), &["--help"], programs.path()));
        assert!(help.starts_with("usage: "), "{name}: {help}");
        let wrong = run(&script(name), &["--no-such-thing"], programs.path());
        assert_eq!(wrong.status.code(), Some(2), "{name}: {}", stderr(&wrong));
    }
    for size in ["1k", "10k", "50k"] {
        let nic = root().join("tuning").join(size).join("nic.sh");
        assert!(succeed(&run(&nic, &["--help"], programs.path())).starts_with("usage: "));
        assert_eq!(run(&nic, &["-n", "no-such-interface"], programs.path()).status.code(), Some(1));
        succeed(&run(&nic, &["-n", "lo"], programs.path()));
    }
}

#[test]
fn a_dry_run_prints_the_commands_of_a_load() {
    let programs = programs();
    let dry = |name: &str, arguments: &[&str]| succeed(&run(&script(name), arguments, programs.path()));
    let more = ["--", "--broker", "broker:8142"];
    let storm = dry("storm.sh", &[&["-n", "-o", "out dir", "500"], &more[..]].concat());
    let load = "podium capacity load storm --connections 500 --output out dir --broker broker:8142\n";
    assert!(storm.contains("podium capacity check --agents 500 ") && storm.ends_with(load), "{storm}");
    let soak = dry("soak.sh", &["-n", "-t", "10m", "500"]);
    assert!(
        soak.ends_with("load mixed --connections 500 --output capacity-mixed-500 --duration 10m --deadline 25h\n"),
        "{soak}"
    );
    let pair = dry("compare-peer.sh", &["-n", "request", "9", "ours:1/77", "peer:2", "--", "--rate", "5"]);
    let expected = "podium capacity load request --broker ours:1 --connections 9 --output compare-request-9/ours \
                    --watch-pid 77 --rate 5\n\
                    podium capacity load request --broker peer:2 --connections 9 --output compare-request-9/peer \
                    --rate 5\n";
    assert_eq!(pair, expected);
    assert!(!Path::new("capacity-mixed-500").exists() && !Path::new("compare-request-9").exists());
}

/// All files below a directory with their content.
fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn tuning_is_applied_and_taken_back() {
    let (host, programs) = (tempfile::tempdir().unwrap(), programs());
    let there = host.path().join("etc/sysctl.d/60-podium.conf");
    put(&there, "# mine\n");
    put(&host.path().join("etc/security/limits.conf"), "# theirs\n");
    let before = files(host.path());
    let at = ["--root", host.path().to_str().unwrap()];
    let apply = |size: &str, mode: &str| {
        let dir = root().join("tuning").join(size);
        succeed(&run(&script("apply-tuning.sh"), &[&at[..], &[mode, dir.to_str().unwrap()]].concat(), programs.path()))
    };
    let revert = |mode: &str| run(&script("revert-tuning.sh"), &[&at[..], &[mode]].concat(), programs.path());

    assert!(apply("10k", "-n").contains("nothing was done"));
    assert_eq!(files(host.path()), before);
    assert_eq!(revert("--yes").status.code(), Some(1), "nothing to take back");

    // A second time, in another size: what was there before is still what was there first.
    apply("10k", "--yes");
    apply("50k", "--yes");
    let ours = std::fs::read_to_string(root().join("tuning/50k/sysctl.d/60-podium.conf")).unwrap();
    assert_eq!(std::fs::read_to_string(&there).unwrap(), ours);
    let drop_in = host.path().join("etc/systemd/system/podium-broker.service.d/50-capacity.conf");
    assert!(std::fs::read_to_string(drop_in).unwrap().contains("LimitNOFILE=131072"));
    let applied = files(host.path());
    assert!(succeed(&revert("-n")).contains("nothing was done"));
    assert_eq!(files(host.path()), applied);

    succeed(&revert("--yes"));
    assert_eq!(files(host.path()), before);
    let said = std::fs::read_to_string(programs.path().join("sysctl.said")).unwrap();
    assert!(said.contains("-w net.core.somaxconn=77 net.core.somaxconn\n"), "{said}");
}

#[test]
fn a_directory_without_tuning_is_refused() {
    let programs = programs();
    let output = run(&script("apply-tuning.sh"), &[root().join("src").to_str().unwrap()], programs.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("has no sysctl.d/60-podium.conf"), "{}", stderr(&output));
}
