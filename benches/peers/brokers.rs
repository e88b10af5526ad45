//! The three brokers as processes, set up alike: TLS, client certificates of one CA, no log of messages.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::support::pki::Pki;
use super::support::port::free_port;
use super::support::server::{PATIENCE, Server};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Podium,
    Nats,
    Mosquitto,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Podium => "podium",
            Self::Nats => "nats",
            Self::Mosquitto => "mosquitto",
        }
    }
}

/// A running broker. It ends with this.
pub struct Broker {
    pub peer: Peer,
    pub address: SocketAddr,
    process: Process,
}

enum Process {
    Podium(Server),
    Other(Child, #[expect(dead_code, reason = "held as long as the child may read it")] tempfile::TempDir),
}

impl Broker {
    /// Starts one; `None` if it is not installed.
    pub fn start(peer: Peer, pki: &Pki) -> Option<Self> {
        if peer == Peer::Podium {
            let settings = format!("pcp-broker.privileged-clients: [\"{}\"]\n", super::swarm::CONTROLLER);
            let server = Server::start_with(&pki.server_files(), &settings, &[]);
            return Some(Self { peer, address: server.address, process: Process::Podium(server) });
        }
        let files = pki.server_files();
        let port = free_port();
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.ca.display());
        let (program, argument, text) = match peer {
            Peer::Nats => (
                "nats-server",
                "-c",
                format!(
                    "host: \"127.0.0.1\"\nport: {port}\nmax_connections: 100000\n\
                     tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true, timeout: 30 }}\n"
                ),
            ),
            _ => (
                "mosquitto",
                "-c",
                format!(
                    "listener {port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\ncafile {ca}\n\
                     require_certificate true\nuse_identity_as_username true\npersistence false\nlog_type error\n\
                     set_tcp_nodelay true\nmax_queued_messages 0\n"
                ),
            ),
        };
        let configuration = directory.path().join("configuration");
        fs::write(&configuration, text).unwrap();
        // Daemons are where not every user looks for programs.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg(argument)
            .arg(&configuration)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .ok()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let broker = Self { peer, address, process: Process::Other(child, directory) };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(broker)
    }

    fn pid(&self) -> u32 {
        match &self.process {
            Process::Podium(server) => server.pid(),
            Process::Other(child, _) => child.id(),
        }
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let nanoseconds = tasks.map(|task| {
            // The first figure is the time on a processor, which ticks in nanoseconds, unlike that of `stat`.
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().map_or(0, |figure| figure.parse().unwrap())
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Bytes of resident memory.
    pub fn resident(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Process::Other(child, _) = &mut self.process {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
