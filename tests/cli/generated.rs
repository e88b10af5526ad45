//! Completions and manual pages: that they are whole, and that a shell that is here takes them.

use std::process::{Command, Stdio};

use super::{code, podium, stderr, stdout, text};

#[test]
fn bash_completes_our_commands_and_flags() {
    let script = podium(&["completions", "bash"]);
    assert_eq!(code(&script), 0);
    let ask = |words: &str, current: &str, count: usize| {
        let asked = format!(
            "{}\nCOMP_WORDS=({words} '{current}') COMP_CWORD={count}\n_podium podium '{current}' x\necho \"${{COMPREPLY[*]}}\"",
            stdout(&script)
        );
        // Longer than an argument may be.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), asked).unwrap();
        let output = Command::new("bash").arg(file.path()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    assert_eq!(ask("podium", "pl", 1), "plan");
    assert_eq!(ask("podium job", "st", 2), "stop");
    assert_eq!(ask("podium job run", "--conc", 3), "--concurrency");
}

#[test]
fn other_shells_read_their_completions_too() {
    for (shell, mark) in [("zsh", "#compdef podium"), ("fish", "complete -c podium")] {
        let script = podium(&["completions", shell]);
        assert_eq!(code(&script), 0);
        assert!(stdout(&script).contains(mark), "{shell}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), stdout(&script)).unwrap();
        let checked = Command::new(shell).arg("-n").arg(file.path()).output();
        // Not every machine has it.
        if let Ok(output) = checked {
            assert!(output.status.success(), "{shell}: {}", stderr(&output));
        }
    }
    assert_eq!(code(&podium(&["completions", "tcsh"])), 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("man1");
    assert_eq!(code(&podium(&["man", "--dir", text(&target)])), 0);
    let page = |name: &str| std::fs::read_to_string(target.join(format!("{name}.1"))).unwrap();
    for name in [
        "podium",
        "podium-job-run",
        "podium-task-show",
        "podium-plan-job",
        "podium-app-show",
        "podium-access-login",
        "podium-schedule-task",
    ] {
        let page = page(name);
        assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    let run = page("podium-job-run");
    for part in ["podium job run", "\\-\\-no\\-enforce\\-environment", "\\-\\-node\\-group", "Exit codes:"] {
        assert!(run.contains(part), "{part} is missing in\n{run}");
    }
    assert!(!target.join("podium-execution-wrapper.1").exists());
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = podium(&["man", "--dir", text(&file)]);
    assert_eq!(code(&refused), 1);
    assert!(stderr(&refused).contains("cannot be written"), "{}", stderr(&refused));
}
