//! One Puppet run, in the order of events of pxp-agent's module: Puppet itself looks after its lock, so it is run first
//! and the lock is looked at only if that fails.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};

use super::report::Report;
use super::{ErrorType, NOT_RUN, Outcome, flags};
use crate::agent::files::check_program;
use crate::agent::modules::external;
use crate::agent::passwd;
use crate::limits::{PUPPET_CONFIGPRINT_BYTES_MAX, PUPPET_LOCK_PATIENCE};
use crate::pxp::puppet_run;

/// Where Puppet is, if the configuration does not say: the packages of Puppet and OpenVox, then the distribution's.
const PUPPET_BINS: [&str; 3] = ["/opt/puppetlabs/bin/puppet", "/usr/bin/puppet", "/usr/local/bin/puppet"];

/// Time between looks at the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Does what the JSON text `input` asks for.
pub fn run(input: &[u8]) -> Outcome {
    run_within(input, PUPPET_LOCK_PATIENCE)
}

fn run_within(input: &[u8], patience: Duration) -> Outcome {
    match Asked::read(input) {
        Ok(asked) => attempt(&asked, patience).unwrap_or_else(|failed| *failed),
        Err(error) => *Outcome::failed(ErrorType::InvalidJson, error, NOT_RUN),
    }
}

struct Asked {
    puppet: PathBuf,
    arguments: Vec<String>,
}

impl Asked {
    fn read(input: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(input);
        let json: Value =
            serde_json::from_slice(input).map_err(|_| format!("Invalid json received on STDIN: {text}"))?;
        let Value::Object(json) = json else {
            return Err(format!("The json received on STDIN was not a hash: {text}"));
        };
        let Some(Value::Object(asked)) = json.get("input") else {
            return Err(format!("The json received on STDIN did not contain a valid 'input' key: {text}"));
        };
        let words = |key: &str| asked.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let flags: Vec<String> = words("flags").iter().filter_map(|flag| flag.as_str().map(str::to_owned)).collect();
        let job = asked.get("job").map(|job| job.as_str().map_or_else(|| job.to_string(), str::to_owned));
        let empty = Map::new();
        let configuration = json.get("configuration").and_then(Value::as_object).unwrap_or(&empty);
        let puppet = configuration.get("puppet_bin").and_then(Value::as_str).map_or_else(default_bin, PathBuf::from);
        Ok(Self { puppet, arguments: flags::arguments(&flags, job.as_deref())? })
    }
}

fn default_bin() -> PathBuf {
    let mut bins = PUPPET_BINS.into_iter().map(PathBuf::from);
    bins.clone().find(|bin| bin.exists()).or_else(|| bins.next()).unwrap_or_default()
}

/// The files of Puppet that tell how it stands.
struct Files {
    report: PathBuf,
    disabled: Option<PathBuf>,
    running: Option<PathBuf>,
}

impl Files {
    fn is_disabled(&self) -> bool {
        self.disabled.as_deref().is_some_and(Path::exists)
    }

    fn is_running(&self) -> bool {
        self.running.as_deref().is_some_and(Path::exists)
    }
}

/// How Puppet stands on this node.
#[derive(Debug)]
pub struct State {
    /// The program that would be run.
    pub puppet: PathBuf,
    /// Whether somebody has disabled it.
    pub is_disabled: bool,
    /// Whether a run is under way.
    pub is_running: bool,
    /// What the last run came to, and when.
    pub last_run: Option<String>,
}

/// Finds out how Puppet stands. `configurations` is the directory with the configuration of modules.
pub fn state(configurations: &Path) -> State {
    let path = configurations.join(format!("{}.conf", puppet_run::MODULE));
    let configuration = external::configuration(&path, None).ok().flatten().unwrap_or_default();
    let puppet = configuration.get("puppet_bin").and_then(Value::as_str).map_or_else(default_bin, PathBuf::from);
    let files = check_program(&puppet).ok().and_then(|()| files(&puppet));
    let report = |files: &Files| File::open(&files.report).and_then(|file| Report::read(BufReader::new(file))).ok();
    State {
        is_disabled: files.as_ref().is_some_and(Files::is_disabled),
        is_running: files.as_ref().is_some_and(Files::is_running),
        last_run: files.as_ref().and_then(report).map(|report| format!("{}, {}", report.status, report.time)),
        puppet,
    }
}

fn attempt(asked: &Asked, patience: Duration) -> Result<Outcome, Box<Outcome>> {
    let puppet = &asked.puppet;
    if !puppet.exists() {
        let error = format!("Puppet executable '{}' does not exist", puppet.display());
        return Err(Outcome::failed(ErrorType::NoPuppetBin, error, NOT_RUN));
    }
    check_trusted(puppet)?;
    let files = files(puppet).ok_or_else(|| {
        let error = "could not find the location of the last run report";
        Outcome::failed(ErrorType::NoLastRunReport, error, NOT_RUN)
    })?;
    let before = modified(&files.report);
    let mut exitcode = puppet_agent(asked)?;
    if exitcode != 0 {
        let disabled = |code| Outcome::failed(ErrorType::AgentDisabled, "Puppet agent is disabled", code);
        if files.is_disabled() {
            return Err(disabled(exitcode));
        }
        if files.is_running() {
            wait_for(&files, patience);
            check_trusted(puppet)?;
            exitcode = puppet_agent(asked)?;
            if exitcode != 0 && files.is_disabled() {
                return Err(disabled(exitcode));
            }
            if exitcode != 0 && files.is_running() {
                let error = "Puppet agent run is already in progress";
                return Err(Outcome::failed(ErrorType::AgentLocked, error, exitcode));
            }
        }
    }
    judge(&files.report, before, exitcode)
}

/// Whoever may change Puppet would have it run as this user.
fn check_trusted(puppet: &Path) -> Result<(), Box<Outcome>> {
    check_program(puppet).map_err(|error| {
        let error = format!("Puppet executable '{}' is not run: {error}", puppet.display());
        Outcome::failed(ErrorType::NoPuppetBin, error, NOT_RUN)
    })
}

fn wait_for(files: &Files, patience: Duration) {
    let end = Instant::now() + patience;
    while files.is_running() && Instant::now() < end {
        thread::sleep(LOCK_INTERVAL);
    }
}

/// What the report of the run says, if it has left one.
fn judge(report: &Path, before: Option<SystemTime>, exitcode: i64) -> Result<Outcome, Box<Outcome>> {
    let path = report.display();
    let after = modified(report);
    if after.is_none() {
        let error = format!("{path} doesn't exist");
        return Err(Outcome::failed(ErrorType::NoLastRunReport, error, exitcode));
    }
    if after == before {
        let error = "The Puppet run failed in an unexpected way";
        return Err(Outcome::failed(ErrorType::NoLastRunReport, error, exitcode));
    }
    let read = File::open(report).and_then(|file| Report::read(BufReader::new(file)));
    let report = read.map_err(|error| {
        let error = format!("{path} could not be loaded: {error}");
        Outcome::failed(ErrorType::InvalidLastRunReport, error, exitcode)
    })?;
    let outcome = Outcome::of(report, exitcode);
    match exitcode {
        0 => Ok(outcome),
        _ => Err(outcome.with_error(ErrorType::AgentExitNonZero, "Puppet agent exited with a non 0 exitcode")),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn files(puppet: &Path) -> Option<Files> {
    let keys = "lastrunreport,agent_disabled_lockfile,agent_catalog_run_lockfile";
    let mut child = command(puppet).args(["agent", "--configprint", keys]).stdout(Stdio::piped()).spawn().ok()?;
    let mut text = String::new();
    let stdout = child.stdout.take()?;
    let read = stdout.take(PUPPET_CONFIGPRINT_BYTES_MAX).read_to_string(&mut text);
    let waited = child.wait();
    read.and(waited).ok()?;
    let path = |key: &str| {
        let of_key = |line: &str| Some(line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().to_owned());
        text.lines().find_map(of_key).filter(|path| !path.is_empty()).map(PathBuf::from)
    };
    Some(Files {
        report: path("lastrunreport")?,
        disabled: path("agent_disabled_lockfile"),
        running: path("agent_catalog_run_lockfile"),
    })
}

/// Runs `puppet agent` and returns its exit code. What it prints is in its report and in the system's log.
fn puppet_agent(asked: &Asked) -> Result<i64, Box<Outcome>> {
    let status = command(&asked.puppet).arg("agent").args(&asked.arguments).stdout(Stdio::null()).status();
    match status.ok().and_then(|status| status.code()) {
        Some(code) => Ok(code.into()),
        None => Err(Outcome::failed(ErrorType::AgentFailedToStart, "Failed to start Puppet agent", NOT_RUN)),
    }
}

/// Puppet with the environment that it needs: who it runs as, and UTF-8 where the locale does not say so.
fn command(puppet: &Path) -> Command {
    let mut command = Command::new(puppet);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    if !rustix::process::geteuid().is_root()
        && let Some(user) = passwd::own_user()
    {
        command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.home);
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
    if matches!(locale.as_deref(), None | Some("C" | "POSIX")) {
        let options = variable("RUBYOPT").map_or_else(String::new, |options| format!("{options} "));
        command.env("RUBYOPT", format!("{options}-EUTF-8"));
    }
    command
}

#[cfg(test)]
mod tests;
