//! Many tasks, many deaths of the agent, and an upgrade below a running task. `AGENT_TASKS` (15), `AGENT_AT_ONCE` (8),
//! `AGENT_KILLS` (4) and `AGENT_SEED` say how much of it there is.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::bench::{fifo, wait_for};
use super::site::{Site, install, signal, wait};
use crate::support::server::PATIENCE;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn entries(path: &str) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// Children of a process, dead or alive.
fn children(pid: u32) -> usize {
    let is_child = |entry: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
        (parent == pid.to_string()).then_some(())
    };
    fs::read_dir("/proc").unwrap().filter_map(is_child).count()
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn many_tasks_leave_their_results_and_nothing_else() {
    let (tasks, at_once) = (number("AGENT_TASKS", 15), number("AGENT_AT_ONCE", 8));
    let mut site = Site::new("");
    site.start();
    let (pid, file) = (site.pid(), site.script("#!/bin/sh\necho \"$PT_id\"\n"));
    let expect = |site: &mut Site, id: &str| {
        let answer = site.receive("/rpc_non_blocking_response", id);
        assert_eq!(answer["data"]["results"], json!({"exitcode": 0, "stdout": format!("{id}\n")}));
    };
    site.run("first", &file);
    expect(&mut site, "first");
    let (descriptors, threads) = (format!("/proc/{pid}/fd"), format!("/proc/{pid}/task"));
    wait("the first task's thread to end", || children(pid) == 0);
    let before = (entries(&descriptors), resident_kib(pid));
    for task in 0..tasks {
        let id = format!("row-{task}");
        site.run(&id, &file);
        expect(&mut site, &id);
    }
    for task in 0..at_once {
        site.run(&format!("once-{task}"), &file);
    }
    for task in 0..at_once {
        expect(&mut site, &format!("once-{task}"));
    }
    wait("descriptors to be closed", || entries(&descriptors) <= before.0);
    wait("children to be gone", || children(pid) == 0);
    wait("threads to end", || entries(&threads) <= 8);
    let spool = site.path("spool");
    let left: Vec<String> = fs::read_dir(&spool)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('~'))
        .collect();
    assert_eq!(left.len() as u64, tasks + at_once + 1, "{left:?}");
    assert!(left.iter().all(|id| entries(spool.join(id).to_str().unwrap()) == 5), "five files for each");
    assert_eq!(site.responses().count(), 0, "no result came twice");
    println!("{tasks} + {at_once} tasks; private memory {} KiB before, {} after", before.1, resident_kib(pid));
}

/// How a transaction has ended for someone who asks until it has, and orders it once more if it was never heard of.
fn outcome(site: &mut Site, id: &str, file: &Value) -> Value {
    let is_unheard_of =
        |status: &Value| status["stdout"].as_str().is_some_and(|text| text.contains("found no results directory"));
    let status = site.status_at_end(id);
    if !is_unheard_of(&status) {
        return status;
    }
    site.run(id, file);
    // Orders and queries are for different threads of the agent.
    let end = Instant::now() + PATIENCE;
    loop {
        let status = site.status_at_end(id);
        if !is_unheard_of(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{id} is not begun");
    }
}

#[test]
fn an_agent_that_is_killed_again_and_again_runs_nothing_twice_and_loses_no_result() {
    let (kills, mut dice) = (number("AGENT_KILLS", 4), number("AGENT_SEED", 0x2545_f491_4f6c_dd1d));
    let mut site = Site::new("");
    let runs = site.path("runs");
    let file = site.script(&format!("#!/bin/sh\necho \"$PT_id\" >> {}\nsleep 0.02\necho \"$PT_id\"\n", runs.display()));
    let (mut done, mut never_ran) = (HashSet::new(), HashSet::new());
    site.start();
    for kill in 0..kills {
        let ids: Vec<String> = (0..3).map(|task| format!("{kill}-{task}")).collect();
        for id in &ids {
            site.run(id, &file);
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        std::thread::sleep(Duration::from_micros(dice % 150_000));
        site.kill();
        site.start();
        for id in ids {
            let status = outcome(&mut site, &id, &file);
            match status["status"].as_str() {
                Some("success") => {
                    assert_eq!(status["stdout"], format!("{id}\n"));
                    done.insert(id);
                }
                // Killed after its process was written down and before that had its job.
                Some("unknown") => {
                    never_ran.insert(id);
                }
                _ => panic!("{status}"),
            }
        }
    }
    let lines = fs::read_to_string(&runs).unwrap();
    let ran: HashSet<String> = lines.lines().map(str::to_owned).collect();
    assert_eq!(lines.lines().count(), ran.len(), "a task ran twice");
    assert_eq!(ran, done, "a task that ran has a result, and one that did not has none");
    let mut told = HashSet::new();
    for response in site.responses() {
        let id = response["data"]["transaction_id"].as_str().unwrap();
        assert!(told.insert(id), "the result of {id} came twice");
        assert!(done.contains(id), "{id} has a result and ended as unknown");
    }
    println!("{kills} kills: {} results, {} of them told; {} never ran", done.len(), told.len(), never_ran.len());
}

#[test]
fn a_task_survives_the_upgrade_of_the_agent() {
    let mut site = Site::new("");
    let installed = site.path("podium");
    install(&site.program, &installed);
    let original = std::mem::replace(&mut site.program, installed.clone());
    let (pipe, begun) = (site.path("pipe"), site.path("begun"));
    fifo(&pipe);
    let file = site.script(&format!("#!/bin/sh\necho $PPID > {}\ncat {}\n", begun.display(), pipe.display()));
    site.start();
    site.run("7", &file);
    let wrapper = wait_for(&begun);
    install(&original, &installed);
    signal(site.pid(), Signal::TERM);
    site.kill();
    site.start();
    let program = fs::read_link(format!("/proc/{}/exe", wrapper.trim())).unwrap();
    assert!(program.to_str().unwrap().ends_with("(deleted)"), "the wrapper is of the old file: {program:?}");
    assert_eq!(site.status("7")["status"], "running");
    fs::write(&pipe, "upgraded\n").unwrap();
    let expected = json!({"transaction_id": "7", "status": "success", "exitcode": 0, "stdout": "upgraded\n"});
    assert_eq!(site.status_at_end("7"), expected);
}
