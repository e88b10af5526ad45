//! A broker of its own as its operator sees it: access logs, status from the command line, settings changed by SIGHUP.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use podium::config::settings::CertificatePaths;
use podium::tls::material::Material;
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConnection, StreamOwned};
use tungstenite::Message;

use crate::support::port::free_port;

const PODIUM: &str = env!("CARGO_BIN_EXE_podium");
const PATIENCE: Duration = Duration::from_secs(120);

/// A running broker; it dies with this.
struct Broker {
    directory: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Broker {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let ca = directory.path().join("ca");
        let text = ca.to_str().unwrap();
        for arguments in [
            &["ca", "init", text][..],
            &["ca", "issue", text, "localhost"],
            &["ca", "issue", text, "web1.example.test"],
        ] {
            assert!(Command::new(PODIUM).args(arguments).output().unwrap().status.success());
        }
        let log = fs::File::create(directory.path().join("out")).unwrap();
        configure(&directory, port, "info", "info");
        let child = Command::new(PODIUM)
            .args(["broker", "--config"])
            .arg(directory.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let broker = Self { directory, port, child };
        broker.wait("the broker to be up", || broker.read("out").contains("the broker is up"));
        broker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < end, "waited in vain for {what}:\n{}", self.read("out"));
            std::thread::yield_now();
        }
    }

    /// The configuration is read again.
    fn reload(&self, log_level: &str, access_level: &str) {
        configure(&self.directory, self.port, log_level, access_level);
        self.hang_up();
    }

    fn hang_up(&self) {
        let id = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(id, Signal::HUP).unwrap();
    }

    fn status(&self, arguments: &[&str]) -> Output {
        Command::new(PODIUM).args(["broker", "status"]).args(arguments).output().unwrap()
    }

    /// Connects as an agent and says something that no agent may say.
    fn trespass(&self) {
        let file = |kind: &str| self.path(&format!("ca/{kind}/web1.example.test.pem"));
        let paths = CertificatePaths {
            certificate: file("certs"),
            key: file("private_keys"),
            ca: self.path("ca/certs/ca.pem"),
            crl: None,
        };
        let tls = Material::load(&paths).unwrap().client_config().unwrap();
        let connection = ClientConnection::new(tls, "localhost".try_into().unwrap()).unwrap();
        let tcp = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream = StreamOwned::new(connection, tcp);
        let (mut socket, _) = tungstenite::client("wss://localhost/pcp2/agent", stream).unwrap();
        let order = r#"{"id":"538077bb-0000-4000-8000-000000000000","target":"pcp://web2.example.test/agent",
            "message_type":"http://puppetlabs.com/rpc_blocking_request","data":{}}"#;
        socket.send(Message::text(order)).unwrap();
        let answer = socket.read().unwrap().into_text().unwrap();
        assert!(answer.contains("Message not authorized."), "{answer}");
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(directory: &tempfile::TempDir, port: u16, log_level: &str, access_level: &str) {
    let configuration = format!(
        r#"
        global: {{ certs: {{ ssl-cert: "../ca/certs/localhost.pem", ssl-key: "../ca/private_keys/localhost.pem"
                            ssl-ca-cert: "../ca/certs/ca.pem" }}
                   log.level: {log_level} }}
        webserver: {{ ssl-host: "127.0.0.1", ssl-port: {port}, client-auth: want, access-log.file: "../requests" }}
        pcp-broker: {{ workers: 2, access-log: {{ level: {access_level}, file: "../messages" }} }}
        "#
    );
    fs::create_dir_all(directory.path().join("conf")).unwrap();
    let mut file = fs::File::create(directory.path().join("conf/broker.conf")).unwrap();
    file.write_all(configuration.as_bytes()).unwrap();
}

#[test]
fn an_operator_watches_a_broker() {
    let broker = Broker::start();
    broker.trespass();
    broker.wait("the line of a message", || broker.read("messages").contains('\n'));
    let line = broker.read("messages");
    let fields: Vec<&str> = line.trim_end().split_once("] ").unwrap().1.split(' ').collect();
    assert_eq!((fields[0], fields[2], fields.len()), ("AUTHORIZATION_FAILURE", "web1.example.test", 7), "{line}");
    assert_eq!(fields[6], "pcp://web2.example.test/agent");
    let upgrade = "- web1.example.test [";
    broker.wait("the line of a request", || broker.read("requests").contains(upgrade));
    assert!(broker.read("requests").contains("\"GET /pcp2/agent HTTP/1.1\" 101 0\n"));
    broker.wait("the end of the connection", || broker.read("out").contains("event=connection-close"));
    assert!(broker.read("out").contains("event=connection-open"));

    let configuration = broker.path("conf");
    let shown = broker.status(&["--config", configuration.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{text}{}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.starts_with("state        running\n") && text.contains("received     "), "{text}");
    let (url, ca) = (format!("https://localhost:{}", broker.port), broker.path("ca/certs/ca.pem"));
    let shown = broker.status(&["--url", &url, "--ca", ca.to_str().unwrap(), "--format", "json"]);
    let status: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(status["status"]["metrics"]["puppetlabs.pcp.on-message"]["rates"]["total"], 1, "{status:#}");
    assert_eq!(status["status"]["metrics"]["puppetlabs.pcp.on-close"]["rates"]["total"], 1, "{status:#}");

    let again = "log level and access logs were read again";
    fs::rename(broker.path("messages"), broker.path("messages.1")).unwrap();
    broker.reload("error", "off");
    broker.wait("the new settings", || broker.read("out").contains(again));
    let connected = || broker.read("out").matches("event=connection-open").count();
    let answered = || broker.read("requests").matches("\"GET /pcp2/agent HTTP/1.1\" 101 0\n").count();
    broker.wait("connections not to be logged any more", || {
        let (logged, requests) = (connected(), answered());
        broker.trespass();
        broker.wait("the line of a request", || answered() > requests);
        connected() == logged
    });
    assert!(!broker.path("messages").exists(), "this log is off");
    broker.reload("debug", "warn");
    broker.wait("the next settings", || broker.read("out").matches(again).count() == 2);
    let logged = connected();
    broker.trespass();
    broker.wait("a new log of messages", || broker.read("messages").contains("AUTHORIZATION_FAILURE"));
    broker.wait("connections to be logged again", || connected() > logged);

    broker.reload("loud", "info");
    broker.wait("a refusal", || broker.read("out").contains("the configuration stays as it was"));
    drop(broker);
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let broker = Broker::start();
    broker.reload("info", "off");
    broker.wait("a reload", || broker.read("out").contains("access logs were read again"));
    assert!(!broker.read("out").contains("needs a restart"), "nothing of the kind has changed");
    let file = broker.path("conf/broker.conf");
    let more = "pcp-broker { idle-timeout: 500s, drain-timeout: 1s }";
    fs::write(&file, fs::read_to_string(&file).unwrap() + more).unwrap();
    broker.hang_up();
    let line = "needs a restart: pcp-broker.idle-timeout, pcp-broker.drain-timeout\n";
    broker.wait("a warning", || broker.read("out").contains(line));
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca");
    let text = ca.to_str().unwrap();
    assert!(Command::new(PODIUM).args(["ca", "init", text]).output().unwrap().status.success());
    let url = format!("https://localhost:{}", free_port());
    let file = ca.join("certs/ca.pem");
    let shown = Command::new(PODIUM)
        .args(["broker", "status", "--url", &url, "--ca", file.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert_eq!(shown.status.code(), Some(1), "{said}");
    assert!(said.contains("refused"), "{said}");
    let shown = Command::new(PODIUM).args(["broker", "status", "--config", "/nowhere"]).output().unwrap();
    assert_eq!(shown.status.code(), Some(2), "{}", String::from_utf8_lossy(&shown.stderr));
}
