//! The execution wrapper: a process between agent and task, in a session of its own, that brings the task's output and
//! exit code into the spool even if the agent is killed meanwhile (pxp-agent's `execution_wrapper`).
//!
//! The agent writes a [`Job`] as JSON to its standard input, after it has recorded the wrapper's process id. If the
//! agent dies before that, the wrapper finds half a job and runs nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::child::{self, Program};
use super::confine::Launcher;
use super::files;

/// What the wrapper is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What to run.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to the inherited environment. pxp-agent puts it into the wrapper's own; here, so that one that is too large
    /// for the kernel fails as the task's failure, with an exit code.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Its standard input.
    pub input: String,
    /// What it is held to.
    #[serde(default)]
    pub launcher: Option<Launcher>,
    /// File for its standard output.
    pub stdout: PathBuf,
    /// File for its standard error.
    pub stderr: PathBuf,
    /// File for its exit code, written when the other two are complete and on disk.
    pub exitcode: PathBuf,
}

/// Detaches from the agent's session, reads a job and runs it; returns the task's exit code.
pub fn run(input: impl Read) -> io::Result<i32> {
    // Fails if we are a session's leader already, which is as good.
    let _ = rustix::process::setsid();
    let job: Job = serde_json::from_reader(input)?;
    run_job(&job)
}

/// Runs one job; everything it left is on disk when this returns.
pub fn run_job(job: &Job) -> io::Result<i32> {
    let mut stdout = files::create(&job.stdout)?;
    let mut stderr = files::create(&job.stderr)?;
    let Job { executable, arguments, environment, input, launcher, .. } = job;
    let program = Program { executable, arguments, environment, input, launcher: launcher.as_ref() };
    let exit_code = child::run(&program, &mut stdout, &mut stderr);
    for file in [&stdout, &stderr] {
        File::sync_all(file)?;
    }
    files::write(&job.exitcode, exit_code.to_string().as_bytes())?;
    Ok(exit_code)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn job(directory: &Path) -> Job {
        Job {
            executable: "/bin/sh".into(),
            arguments: vec!["-c".into(), "cat; echo \"$PT_x\" >&2; exit 4".into()],
            environment: [("PT_x".to_owned(), "y".to_owned())].into(),
            input: "in".into(),
            launcher: None,
            stdout: directory.join("stdout"),
            stderr: directory.join("stderr"),
            exitcode: directory.join("exitcode"),
        }
    }

    #[test]
    fn leaves_output_and_exit_code() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(run_job(&job(directory.path())).unwrap(), 4);
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((read("stdout"), read("stderr"), read("exitcode")), ("in".into(), "y\n".into(), "4".into()));
        let mode = fs::metadata(directory.path().join("stdout")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn half_a_job_runs_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let text = serde_json::to_vec(&job(directory.path())).unwrap();
        assert!(serde_json::from_reader::<_, Job>(&text[..text.len() - 1]).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn reads_the_job_of_the_reference() {
        let text = r#"{"executable":"/t","arguments":["a"],"input":"{}","stdout":"/o","stderr":"/e","exitcode":"/x"}"#;
        assert!(serde_json::from_str::<Job>(text).unwrap().environment.is_empty());
    }
}
