//! The agent as a process of the system: its pid file, and leaving the terminal (pxp-agent, `pidfile`, `foreground`).

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, test_kill_process};

use crate::durable;

/// Everybody may read who we are.
const PIDFILE_MODE: u32 = 0o644;

/// Removes the pid file when dropped, if it is still ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    content: String,
}

impl PidFile {
    /// Writes our process id, unless the file names an agent that runs.
    pub fn write(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let own = std::process::id();
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(format!("the PID file '{shown}' is not a regular file")),
            Ok(_) | Err(_) => {}
        }
        if let Some(pid) = running(path).filter(|pid| *pid != own) {
            return Err(format!("Already running with PID={pid}"));
        }
        let content = format!("{own}\n");
        let parent = path.parent().unwrap_or(Path::new("/"));
        let written =
            fs::create_dir_all(parent).and_then(|()| durable::replace(path, content.as_bytes(), PIDFILE_MODE));
        match written {
            Ok(()) => Ok(Self { path: path.to_owned(), content }),
            Err(error) => Err(format!("the PID file '{shown}' cannot be written: {error}; check its directory")),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|content| content == self.content) {
            // The process ends either way, and the next one looks whether the id is alive.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that a pid file names, if it is there. An id that some other program has got since does not count.
pub fn running(path: &Path) -> Option<u32> {
    let pid: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let alive = test_kill_process(Pid::from_raw(pid).filter(|_| pid > 0)?) != Err(rustix::io::Errno::SRCH);
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_agent = command_line.split(|byte| *byte == 0).any(|word| word == b"agent" || word.ends_with(b"pxp-agent"));
    (alive && is_agent).then(|| u32::try_from(pid).ok())?
}

/// The hidden flag of a process that was started by [`detach`].
pub const DETACHED: &str = "--detached";

/// Starts the same command again, without a terminal and in the foreground of nobody.
pub fn detach(config: &Path) -> io::Result<ExitCode> {
    let arguments = std::env::args_os().skip(1);
    let mut command = Command::new("/proc/self/exe");
    command.arg0("podium").args(arguments).arg(DETACHED);
    if let Ok(config) = config.canonicalize() {
        command.arg("--config").arg(config);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(|_| ExitCode::SUCCESS)
}

/// Makes this process the leader of a session of its own.
pub fn leave_session() {
    // Fails if we are one already, which is as good.
    let _ = rustix::process::setsid();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_lives_as_long_as_its_agent() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/agent.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "1\n").unwrap();
        drop(PidFile::write(&path).unwrap());
        let error = PidFile::write(root.path()).unwrap_err();
        assert!(error.contains("is not a regular file"), "{error}");
    }

    #[test]
    fn an_agent_that_runs_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agent.pid");
        let mut other = Command::new("sh").args(["-c", "read line", "agent"]).stdin(Stdio::piped()).spawn().unwrap();
        fs::write(&path, format!("{}\n", other.id())).unwrap();
        // A process that has just been started has no command line for a moment.
        while fs::read(format!("/proc/{}/cmdline", other.id())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(PidFile::write(&path).unwrap_err(), format!("Already running with PID={}", other.id()));
        drop(other.stdin.take());
        other.wait().unwrap();
        PidFile::write(&path).unwrap();
    }
}
