//! A whole site on loopback, made of the real binary: a CA, a server, brokers on compile nodes, agents, and the operator's
//! client. Everything lives in a temporary directory and dies with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::support::port::free_port;

const PODIUM: &str = env!("CARGO_BIN_EXE_podium");
pub const SERVER: &str = "orch.example.test";
/// How long anything may take before the test fails; generous, because machines are busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Lab {
    directory: tempfile::TempDir,
    pub broker_port: u16,
    pub api_port: u16,
    server: Option<Child>,
    brokers: BTreeMap<String, Child>,
    agents: BTreeMap<String, Child>,
    token: String,
}

impl Lab {
    /// A CA, certificates and configuration for a server and these agents; nothing runs yet.
    pub fn new(agents: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (broker_port, api_port) = (free_port(), free_port());
        let (server, brokers, agents_running) = (None, BTreeMap::new(), BTreeMap::new());
        let token = String::new();
        let lab = Self { directory, broker_port, api_port, server, brokers, agents: agents_running, token };
        lab.must(&["ca", "init", &lab.text("ca")]);
        lab.issue_server();
        lab.write_server_configuration();
        fs::create_dir_all(lab.path("code/environments/production/modules")).unwrap();
        for agent in agents {
            lab.must(&["ca", "issue", &lab.text("ca"), agent]);
            lab.write_agent_configuration(agent);
        }
        lab
    }

    /// A certificate for this name.
    pub fn issue(&self, name: &str, options: &[&str]) {
        self.must(&[&["ca", "issue", &self.text("ca"), name], options].concat());
    }

    /// A certificate for the server, which must have none or a revoked one.
    pub fn issue_server(&self) {
        self.issue(SERVER, &["--dns-alt-names", "localhost", "--ip", "127.0.0.1"]);
    }

    pub fn signal_server(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(self.server.as_ref().unwrap()), signal).unwrap();
    }

    pub fn revoke(&self, name: &str) {
        self.must(&["ca", "revoke", &self.text("ca"), name]);
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn text(&self, relative: &str) -> String {
        self.path(relative).to_str().unwrap().to_owned()
    }

    fn write_server_configuration(&self) {
        let certificates = self.certificates(SERVER);
        self.write(
            "server/podium.conf",
            &format!(
                r#"
                global: {{ certs: {{ ssl-cert: "{}", ssl-key: "{}", ssl-ca-cert: "{}", ssl-crl-path: "{}" }} }}
                webserver: {{
                  pcp-broker: {{ ssl-host: "127.0.0.1", ssl-port: {} }}
                  orchestrator: {{ ssl-host: "127.0.0.1", ssl-port: {} }}
                }}
                pcp-broker: {{ workers: 2 }}
                orchestrator: {{ data-dir: "{}", code-dir: "{}", status-interval: 1s }}
                "#,
                certificates.certificate,
                certificates.key,
                certificates.ca,
                certificates.crl,
                self.broker_port,
                self.api_port,
                self.text("data"),
                self.text("code"),
            ),
        );
    }

    /// Certificate and configuration of a broker on a compile node, which is to dial this URI; its port.
    pub fn add_broker(&self, name: &str, controller: &str, settings: &str) -> u16 {
        self.issue(name, &["--dns-alt-names", "localhost"]);
        let certificates = self.certificates(name);
        let port = free_port();
        self.write(
            &format!("brokers/{name}/conf.d/broker.conf"),
            &format!(
                r#"
                global: {{ logging-config: "/etc/puppetlabs/pcp-broker/logback.xml" }}
                webserver: {{
                  ssl-host: "127.0.0.1", ssl-port: {port}, client-auth: want
                  ssl-cert: "{}", ssl-key: "{}", ssl-ca-cert: "{}", ssl-crl-path: "{}"
                }}
                pcp-broker: {{ workers: 2, controller-uris: ["{controller}"] }}
                {settings}
                "#,
                certificates.certificate, certificates.key, certificates.ca, certificates.crl,
            ),
        );
        port
    }

    /// Names the brokers that may link to the server; before it starts.
    pub fn allow_brokers(&self, names: &[&str]) {
        self.write("server/conf.d/brokers.conf", &format!("orchestrator.brokers: {names:?}"));
    }

    pub fn start_broker(&mut self, name: &str) {
        let configuration = self.text(&format!("brokers/{name}"));
        let broker = self.start(&format!("broker-{name}"), &["broker", "--config", &configuration]);
        self.brokers.insert(name.to_owned(), broker);
    }

    /// Kills a broker with SIGKILL.
    pub fn kill_broker(&mut self, name: &str) {
        kill(self.brokers.remove(name).unwrap());
    }

    /// Sends a broker SIGTERM; its exit code.
    pub fn stop_broker(&mut self, name: &str) -> Option<i32> {
        let mut broker = self.brokers.remove(name).unwrap();
        let status = Command::new("kill").args(["-TERM", &broker.id().to_string()]).status().unwrap();
        assert!(status.success());
        broker.wait().unwrap().code()
    }

    fn write_agent_configuration(&self, name: &str) {
        self.connect_agent_to(name, &[self.broker_port]);
    }

    /// Names the brokers that an agent may connect to, in order; before it starts.
    pub fn connect_agent_to(&self, name: &str, ports: &[u16]) {
        let certificates = self.certificates(name);
        let uris: Vec<String> = ports.iter().map(|port| format!("wss://localhost:{port}/pcp2/")).collect();
        let configuration = serde_json::json!({
            "broker-ws-uris": uris,
            "primary-uris": [format!("https://localhost:{}", self.api_port)],
            "pcp-version": "2",
            "ssl-cert": certificates.certificate,
            "ssl-key": certificates.key,
            "ssl-ca-cert": certificates.ca,
            "ssl-crl": certificates.crl,
            "spool-dir": self.text(&format!("agents/{name}/spool")),
            "task-cache-dir": self.text(&format!("agents/{name}/cache")),
        });
        self.write(&format!("agents/{name}/pxp-agent.conf"), &configuration.to_string());
    }

    pub fn certificates(&self, name: &str) -> Certificates {
        Certificates {
            certificate: self.text(&format!("ca/certs/{name}.pem")),
            key: self.text(&format!("ca/private_keys/{name}.pem")),
            ca: self.text("ca/certs/ca.pem"),
            crl: self.text("ca/crl.pem"),
        }
    }

    /// Writes a file below the laboratory's directory.
    pub fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A task of the module `demo` in the environment `production`.
    pub fn write_task(&self, file: &str, content: &str) {
        self.write(&format!("code/environments/production/modules/demo/tasks/{file}"), content);
    }

    pub fn start_server(&mut self) {
        self.server = Some(self.start("server", &["server", "--config", &self.text("server")]));
        let deadline = Instant::now() + PATIENCE;
        while !self.path("data/admin-password").exists() {
            assert!(Instant::now() < deadline, "the server did not start:\n{}", self.log("server"));
            pause();
        }
        self.login();
    }

    fn login(&mut self) {
        let password = fs::read_to_string(self.path("data/admin-password")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.client(&["access", "login", "admin", "--print"], password.trim());
            if output.status.success() {
                String::from_utf8(output.stdout).unwrap().trim().clone_into(&mut self.token);
                self.write("token", &self.token);
                return;
            }
            assert!(Instant::now() < deadline, "{}\n{}", lossy(&output.stderr), self.log("server"));
            pause();
        }
    }

    /// Kills the server with SIGKILL.
    pub fn kill_server(&mut self) {
        kill(self.server.take().unwrap());
    }

    pub fn server_id(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    pub fn start_agent(&mut self, name: &str) {
        let configuration = self.text(&format!("agents/{name}"));
        let agent = self.start(&format!("agent-{name}"), &["agent", "--config", &configuration]);
        self.agents.insert(name.to_owned(), agent);
    }

    /// Kills an agent with SIGKILL.
    pub fn kill_agent(&mut self, name: &str) {
        kill(self.agents.remove(name).unwrap());
    }

    fn start(&self, log: &str, arguments: &[&str]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.path(&format!("{log}.log"))).unwrap();
        Command::new(PODIUM)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Waits until exactly these nodes are connected.
    pub fn wait_connected(&self, names: &[&str]) {
        self.wait("the nodes to be connected", || {
            let connected = self.connected();
            names.iter().all(|name| connected.contains_key(*name)) && connected.len() == names.len()
        });
    }

    /// The connected nodes and the broker of each.
    pub fn connected(&self) -> BTreeMap<String, String> {
        let output = self.client(&["inventory", "--format", "json"], "");
        let inventory = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        let items = inventory["items"].as_array().cloned().unwrap_or_default();
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let connected = items.iter().filter(|item| item["connected"] == true);
        connected.map(|item| (text(item, "name"), text(item, "broker"))).collect()
    }

    /// Waits until `condition` holds; fails with the server's log.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", self.logs());
            pause();
        }
    }

    /// The server's log and those of the brokers.
    fn logs(&self) -> String {
        let brokers = fs::read_dir(self.path("brokers")).into_iter().flatten();
        let brokers = brokers.map(|entry| format!("broker-{}", entry.unwrap().file_name().to_string_lossy()));
        brokers.chain(["server".to_owned()]).map(|name| format!("{name}:\n{}\n", self.log(&name))).collect()
    }

    /// Runs the operator's client with these arguments and this standard input.
    pub fn client(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.client_command(arguments).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Starts the operator's client and leaves it running.
    pub fn client_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PODIUM);
        command
            .args(arguments)
            .args(["--service-url", &format!("https://localhost:{}", self.api_port)])
            .args(["--ca-cert", &self.text("ca/certs/ca.pem")])
            .args(["--token-file", &self.text("token")])
            .env("HOME", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn must(&self, arguments: &[&str]) {
        let output = Command::new(PODIUM).args(arguments).output().unwrap();
        assert!(output.status.success(), "podium {arguments:?}: {}", lossy(&output.stderr));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let (brokers, agents) = (std::mem::take(&mut self.brokers), std::mem::take(&mut self.agents));
        for child in self.server.take().into_iter().chain(brokers.into_values()).chain(agents.into_values()) {
            kill(child);
        }
    }
}

/// Paths of a node's files.
pub struct Certificates {
    pub certificate: String,
    pub key: String,
    pub ca: String,
    pub crl: String,
}

/// Between two looks at a condition that another process brings about, so that the test does not take its processor.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of a file, none if it does not exist.
pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
