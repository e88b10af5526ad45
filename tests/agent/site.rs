//! An agent as a process of its own, a broker, and a controller that asks the agent and nobody else.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use podium::sha256::{Sha256, hexadecimal};
use rustix::process::{Pid, Signal};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fleet::Agent as Connection;
use crate::support::pki::{Keys, Pki};
use crate::support::server::{PATIENCE, PRIVILEGED, Server};

pub struct Site {
    _broker: Server,
    controller: Connection,
    /// What came while something else was waited for.
    waiting: VecDeque<Value>,
    pub root: TempDir,
    pub program: PathBuf,
    agent: Option<Child>,
}

impl Site {
    /// Everything but the agent, whose configuration is there, with `more` in it.
    pub fn new(more: &str) -> Self {
        let pki = Pki::new(Keys::P256);
        let broker = Server::broker(&pki, "");
        let controller = Connection::connect_to(broker.address, "/pcp2/ctl", pki.agent(PRIVILEGED, &TLS13)).unwrap();
        let root = tempfile::tempdir().unwrap();
        // The broker's certificate is as good as any: the agent is called localhost then.
        let files = pki.server_files();
        for (from, to) in [(&files.certificate, "cert.pem"), (&files.key, "key.pem"), (&files.ca, "ca.pem")] {
            fs::copy(from, root.path().join(to)).unwrap();
        }
        let text = format!(
            "ssl-cert: cert.pem, ssl-key: key.pem, ssl-ca-cert: ca.pem\n\
             broker-ws-uris: [\"wss://localhost:{}/pcp2/\"]\n\
             spool-dir: spool, task-cache-dir: cache, modules-config-dir: modules, logfile: log, pidfile: pid\n{more}",
            broker.address.port()
        );
        fs::write(root.path().join("pxp-agent.conf"), text).unwrap();
        let program = env!("CARGO_BIN_EXE_podium").into();
        Self { _broker: broker, controller, waiting: VecDeque::new(), root, program, agent: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["agent", "--config"]).arg(self.root.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn connections(&self) -> usize {
        fs::read_to_string(self.path("log")).unwrap_or_default().matches("connected to wss://").count()
    }

    /// Does something and waits until the agent has connected once more.
    pub fn until_connected<T>(&self, start: impl FnOnce() -> T) -> T {
        let before = self.connections();
        let started = start();
        wait("the agent to connect", || self.connections() > before);
        started
    }

    pub fn start(&mut self) {
        self.agent = Some(self.until_connected(|| self.command().spawn().unwrap()));
    }

    pub fn pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Puts a script into the cache and describes it as requests do.
    pub fn script(&self, content: &str) -> Value {
        let sha256 = hexadecimal(&Sha256::of(content.as_bytes()));
        let directory = self.path("cache").join(&sha256);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("it.sh"), content).unwrap();
        json!({"filename": "it.sh", "sha256": sha256, "uri": {"path": "/x", "params": {}}})
    }

    fn send(&mut self, kind: &str, data: &Value) {
        let message = json!({
            "id": uuid::Uuid::new_v4().to_string(), "message_type": format!("http://puppetlabs.com/{kind}"),
            "sender": format!("pcp://{PRIVILEGED}/ctl"), "target": "pcp://localhost/agent", "data": data
        });
        self.controller.send(message.to_string().as_bytes()).unwrap();
    }

    /// Asks for a task.
    pub fn run(&mut self, id: &str, file: &Value) {
        let params = json!({"task": "demo::it", "input": {"id": id}, "files": [file]});
        let data = json!(
            {"transaction_id": id, "notify_outcome": true, "module": "task", "action": "run", "params": params}
        );
        self.send("rpc_non_blocking_request", &data);
    }

    /// The next message of this kind about a transaction, and everything else later.
    pub fn receive(&mut self, kind: &str, id: &str) -> Value {
        let fits = |message: &Value| {
            let is_of_kind = message["message_type"].as_str().is_some_and(|full| full.ends_with(kind));
            is_of_kind && message["data"]["transaction_id"] == id
        };
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let message: Value = serde_json::from_slice(&self.controller.receive().expect(kind)).unwrap();
            if fits(&message) {
                return message;
            }
            self.waiting.push_back(message);
        }
    }

    /// Final responses that nobody has asked for yet.
    pub fn responses(&self) -> impl Iterator<Item = &Value> {
        let is_final = |message: &&Value| {
            message["message_type"].as_str().is_some_and(|kind| kind.ends_with("/rpc_non_blocking_response"))
        };
        self.waiting.iter().filter(is_final)
    }

    /// The results of a status query.
    pub fn status(&mut self, id: &str) -> Value {
        let query = uuid::Uuid::new_v4().to_string();
        let params = json!({"transaction_id": id});
        let data = json!({"transaction_id": query, "module": "status", "action": "query", "params": params});
        self.send("rpc_blocking_request", &data);
        self.receive("/rpc_blocking_response", &query)["data"]["results"].take()
    }

    /// The same once the transaction does not run any more.
    pub fn status_at_end(&mut self, id: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status(id);
            if status["status"] != "running" {
                return status;
            }
            assert!(Instant::now() < end, "{id} does not end");
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill();
        }
    }
}

/// Waits until the condition holds.
pub fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: it takes too long");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

pub fn signal(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Makes a copy of the program, which replaces one that is there.
pub fn install(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&beside, to).unwrap();
}
