//! The processes that the quickstart starts from its own binary, and Ctrl-C.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Time to end after SIGTERM; then SIGKILL.
const STOP: Duration = Duration::from_secs(10);
const STOP_POLL: Duration = Duration::from_millis(20);
/// Lines of each log that are shown when something failed.
const TAIL_LINES: usize = 20;
/// A command of the operator's that only asks the server ends before this.
const COMMAND: Duration = Duration::from_secs(60);

/// Ctrl-C and polite requests to stop.
pub struct Interrupts {
    arrived: Receiver<()>,
    flag: Arc<AtomicBool>,
}

impl Interrupts {
    /// From now on the signals do not end the process by themselves.
    pub fn catch() -> Result<Self, String> {
        let fail = |error| format!("signals cannot be caught: {error}");
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(fail)?;
        let (sender, arrived): (Sender<()>, _) = bounded(1);
        let flag = Arc::new(AtomicBool::new(false));
        let shared = flag.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in &mut signals {
                    shared.store(true, Ordering::Relaxed);
                    // One that waits already says the same.
                    let _ = sender.try_send(());
                }
            })
            .map_err(fail)?;
        Ok(Self { arrived, flag })
    }

    /// Whether one has come.
    pub fn interrupted(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Waits for one.
    pub fn wait(&self) {
        // The sender lives as long as the process.
        let _ = self.arrived.recv();
    }

    /// Waits for a while; an error if one comes.
    pub fn pause(&self, time: Duration) -> Result<(), String> {
        match self.arrived.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err("interrupted".to_owned()),
        }
    }
}

/// The server and the agents; stopped when dropped.
pub struct Processes {
    logs: PathBuf,
    running: Vec<(String, Child)>,
}

impl Processes {
    pub fn new(logs: PathBuf) -> Self {
        Self { logs, running: Vec::new() }
    }

    /// Starts this binary with other arguments; what it prints is its log. A process of the same name must have ended.
    pub fn start(&mut self, name: &str, arguments: &[&str]) -> Result<(), String> {
        let path = self.log_file(name);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
        let twin = log.try_clone().map_err(|error| format!("{}: {error}", path.display()))?;
        let child = own_binary()?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(twin)
            // Ctrl-C in the terminal reaches us alone, and we stop them in order.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("podium {} cannot be started: {error}", arguments.join(" ")))?;
        self.running.retain(|(other, _)| other != name);
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    pub fn is_running(&mut self, name: &str) -> bool {
        let child = self.running.iter_mut().find(|(other, _)| other == name);
        child.is_some_and(|(_, child)| matches!(child.try_wait(), Ok(None)))
    }

    /// The first process that is not running any more.
    pub fn first_ended(&mut self) -> Option<&str> {
        let ended = self.running.iter_mut().find_map(|(name, child)| match child.try_wait() {
            Ok(None) => None,
            _ => Some(name),
        });
        ended.map(|name| name.as_str())
    }

    pub fn log_contains(&self, name: &str, text: &str) -> bool {
        std::fs::read_to_string(self.log_file(name)).is_ok_and(|log| log.contains(text))
    }

    /// The end of every log.
    pub fn log_tails(&self) -> String {
        let tail = |name: &str| {
            let path = self.log_file(name);
            let log = std::fs::read_to_string(&path).unwrap_or_else(|error| format!("cannot be read: {error}"));
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            format!("--- the end of {} ---\n{}\n", path.display(), last.join("\n"))
        };
        self.running.iter().map(|(name, _)| tail(name)).collect::<Vec<String>>().join("\n")
    }

    /// Stops all, the latest first, so that the agents go before their server.
    pub fn stop(&mut self) {
        for (_, child) in self.running.iter_mut().rev() {
            if matches!(child.try_wait(), Ok(None)) {
                send(child, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP;
        for (name, mut child) in self.running.drain(..).rev() {
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    eprintln!("podium quickstart: {name} did not stop within {} s; killed", STOP.as_secs());
                    send(&child, Signal::KILL);
                    let _ = child.wait();
                    break;
                }
                std::thread::sleep(STOP_POLL);
            }
        }
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a command of the operator's printed.
pub struct CommandOutput {
    success: bool,
    stdout: String,
    stderr: String,
}

impl CommandOutput {
    /// Its standard output, or an error with all it said.
    pub fn expect_success(self, what: &str) -> Result<String, String> {
        match self.success {
            true => Ok(self.stdout),
            false => Err(format!("{what} failed: {}{}", self.stderr, self.stdout)),
        }
    }
}

/// Runs a command of the operator's and takes what it prints.
pub fn capture(arguments: &[&str], stdin: Option<&str>, interrupts: &Interrupts) -> Result<CommandOutput, String> {
    let mut child = own_binary()?
        .args(arguments)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("podium {} cannot be started: {error}", arguments.join(" ")))?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
        // A command that does not read its input says why on its own.
        let _ = writeln!(pipe, "{text}");
    }
    let pid = child.id();
    let (sender, finished) = bounded(1);
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = await_end(&finished, pid, interrupts, Some(COMMAND))?;
    let output = output.map_err(|error| format!("podium {}: {error}", arguments.join(" ")))?;
    Ok(CommandOutput {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command of the operator's in our terminal for as long as it takes; whether it succeeded.
pub fn show(arguments: &[&str], interrupts: &Interrupts) -> Result<bool, String> {
    let mut child = own_binary()?
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("podium {} cannot be started: {error}", arguments.join(" ")))?;
    let pid = child.id();
    let (sender, finished) = bounded(1);
    std::thread::spawn(move || sender.send(child.wait()));
    let status = await_end(&finished, pid, interrupts, None)?;
    Ok(status.is_ok_and(|status| status.success()))
}

/// Waits for a command; ends it if we are interrupted or it takes too long.
fn await_end<T>(
    finished: &Receiver<T>,
    pid: u32,
    interrupts: &Interrupts,
    time: Option<Duration>,
) -> Result<T, String> {
    let deadline = time.map_or_else(never, crossbeam_channel::after);
    let reason = select! {
        recv(finished) -> outcome => return outcome.map_err(|_| "a command was lost".to_owned()),
        recv(interrupts.arrived) -> _ => "interrupted",
        recv(deadline) -> _ => "a command did not end",
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    Err(reason.to_owned())
}

fn send(child: &Child, signal: Signal) {
    // One that has ended meanwhile needs no signal; its id is ours until it is waited for.
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn own_binary() -> Result<Command, String> {
    // Opened through the kernel's link where there is one, so that an upgrade meanwhile does not mix versions.
    let link = PathBuf::from("/proc/self/exe");
    let path = if File::open(&link).is_ok() { Ok(link) } else { std::env::current_exe() };
    path.map(Command::new).map_err(|error| format!("the path of this program is unknown: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_tails_show_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = Processes::new(dir.path().to_owned());
        let child = Command::new("true").spawn().unwrap();
        processes.running.push(("server".to_owned(), child));
        let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        std::fs::write(dir.path().join("server.log"), lines.join("\n")).unwrap();
        let tails = processes.log_tails();
        assert!(!tails.contains("line 79\n") && tails.contains("line 80\n") && tails.contains("line 99"), "{tails}");
        assert!(processes.log_contains("server", "line 3\n"));
    }

    #[test]
    fn stopping_ends_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes = Processes::new(dir.path().to_owned());
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        processes.running.push(("sleeper".to_owned(), child));
        assert!(processes.is_running("sleeper"));
        processes.stop();
        assert!(!processes.is_running("sleeper"));
    }
}
