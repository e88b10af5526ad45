//! `podium server` or `podium broker` as a child process, and what the kernel says of it: descriptors and memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use podium::limits::OBSERVE_INTERVAL;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::pki::{Pki, ServerFiles};
use super::port::free_port;

/// How long anything may take before it counts as failed; generous, because machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The client that may ask a [`Server::broker`] for the inventory.
pub const PRIVILEGED: &str = "ctl.example.test";

/// A server of the real binary. It dies with this.
pub struct Server {
    child: Child,
    directory: tempfile::TempDir,
    pub address: SocketAddr,
    /// Of the API, which a broker alone does not have.
    pub api: SocketAddr,
}

impl Server {
    /// Starts one with two workers and waits until it is up.
    pub fn start(pki: &Pki) -> Self {
        Self::start_with(&pki.server_files(), "", &[])
    }

    /// The same with these files, and with more in the configuration and in its environment.
    pub fn start_with(files: &ServerFiles, more: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_prepared(files, more, environment, |_| {})
    }

    /// The same in a directory that is made ready before.
    pub fn start_prepared(
        files: &ServerFiles,
        more: &str,
        environment: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let (broker, api) = (free_port(), free_port());
        let data = directory.path().join("data");
        let code = directory.path().join("code");
        fs::create_dir_all(code.join("environments/production/modules")).unwrap();
        let configuration = format!(
            "global: {{ certs: {{ ssl-cert: {:?}, ssl-key: {:?}, ssl-ca-cert: {:?} }} }}\n\
             webserver: {{ pcp-broker: {{ ssl-host: \"127.0.0.1\", ssl-port: {broker} }}\n\
             orchestrator: {{ ssl-host: \"127.0.0.1\", ssl-port: {api} }} }}\n\
             pcp-broker: {{ workers: 2 }}\n\
             orchestrator: {{ data-dir: {data:?}, code-dir: {code:?} }}\n",
            files.certificate, files.key, files.ca
        );
        let configuration = [&configuration, &crl(files), more].concat();
        Self::spawn("server", directory, &configuration, environment, [broker, api])
    }

    /// A broker alone, without controllers. These agents send no pings, and connecting all of them may take longer than
    /// an agent may be silent.
    pub fn broker(pki: &Pki, more: &str) -> Self {
        let files = pki.server_files();
        let (directory, broker) = (tempfile::tempdir().unwrap(), free_port());
        let configuration = format!(
            "global: {{ certs: {{ ssl-cert: {:?}, ssl-key: {:?}, ssl-ca-cert: {:?} }} }}\n\
             webserver: {{ pcp-broker: {{ ssl-host: \"127.0.0.1\", ssl-port: {broker} }} }}\n\
             pcp-broker: {{ workers: 2, privileged-clients: [{PRIVILEGED:?}], idle-timeout: 1h }}\n{more}",
            files.certificate, files.key, files.ca
        );
        Self::spawn("broker", directory, &configuration, &[], [broker, broker])
    }

    /// Starts the subcommand and waits until it is up.
    fn spawn(
        subcommand: &str,
        directory: tempfile::TempDir,
        configuration: &str,
        environment: &[(&str, &str)],
        ports: [u16; 2],
    ) -> Self {
        fs::create_dir(directory.path().join("conf")).unwrap();
        fs::write(directory.path().join("conf/podium.conf"), configuration).unwrap();
        let child = launch(subcommand, directory.path(), environment);
        let [address, api] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let server = Self { child, directory, address, api };
        server.wait("it to be up", || server.log().contains(&format!("the {subcommand} is up")));
        server
    }

    /// Kills a server with SIGKILL and starts it again on what that has left.
    pub fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = launch("server", self.directory.path(), &[]);
        self.wait("it to be up again", || self.log().contains("the server is up"));
    }

    /// Runs a subcommand of `podium server` with its configuration, to its end.
    pub fn run(&self, subcommand: &str) -> Output {
        Command::new(binary())
            .args(["server", subcommand, "--config"])
            .arg(self.path("conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// A file or directory of its own.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// Writes another file of its configuration.
    pub fn configure(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join("conf").join(name), text).unwrap();
    }

    /// Sends it SIGHUP.
    pub fn hang_up(&self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::HUP)
            .unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            pause();
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Lets the process have no more than so many.
    pub fn limit_descriptors(&self, most: u64) {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        let child = Pid::from_child(&self.child);
        prlimit(Some(child), Resource::Nofile, limit).unwrap();
    }

    /// Bytes of user-space memory that are the process's own: resident, without what is mapped from files.
    pub fn memory(&self) -> usize {
        self.kibibytes("Anonymous:") * 1024
    }

    /// Bytes of resident memory, the program's text included.
    pub fn resident(&self) -> usize {
        self.kibibytes("Rss:") * 1024
    }

    fn kibibytes(&self, field: &str) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The memory when nothing has changed for longer than the pause after which freed memory goes back.
    pub fn settled_memory(&self) -> usize {
        let mut last = self.memory();
        let mut since = Instant::now();
        while since.elapsed() < OBSERVE_INTERVAL + Duration::from_secs(1) {
            pause();
            let now = self.memory();
            if now.abs_diff(last) > 64 * 1024 {
                since = Instant::now();
                last = now;
            }
        }
        self.memory()
    }

    /// Waits until `condition` holds; fails with the log's end.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                let log = self.log();
                let lines: Vec<&str> = log.lines().collect();
                panic!("waited in vain for {what}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
            pause();
        }
    }

    /// Waits until there are no more than so many descriptors.
    pub fn wait_descriptors(&self, most: usize) {
        self.wait(&format!("at most {most} descriptors"), || self.descriptors() <= most);
    }
}

/// Starts the subcommand with the configuration and a new log in its directory.
fn launch(subcommand: &str, directory: &Path, environment: &[(&str, &str)]) -> Child {
    let log = File::create(directory.join("log")).unwrap();
    Command::new(binary())
        .args([subcommand, "--config"])
        .arg(directory.join("conf"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The binary of this build, or another one to be compared with it.
pub fn binary() -> OsString {
    std::env::var_os("PODIUM_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_podium").into())
}

fn crl(files: &ServerFiles) -> String {
    files.crl.as_ref().map_or_else(String::new, |path| format!("global.certs.ssl-crl-path: {path:?}\n"))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Between two looks at another process.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
