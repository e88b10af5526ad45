//! Against a real Puppet Server, PuppetDB and Puppet agent: tasks from the server's API, nodes by query, files from the
//! server, reports. The environment variable PODIUM_PUPPET_STACK names the tool that issues certificates and runs agents
//! there, and PUPPET_STACK_DIR its directory; without the former the test says so and does nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use podium::config::settings::{CertificatePaths, ServiceSettings};
use podium::https::{Client, Method, Request};
use podium::orchestrator::sources::puppetdb::{PuppetDb, ReportKey};
use podium::orchestrator::sources::service::Identity;
use podium::tls::material::Material;
use serde_json::{Value, json};

use crate::support::port::free_port;

const VARIABLE: &str = "PODIUM_PUPPET_STACK";
const PODIUM: &str = env!("CARGO_BIN_EXE_podium");
pub(super) const SERVER: &str = "orch.example.test";
pub(super) const NODE: &str = "node01.example.test";
pub(super) const PUPPETDB: &str = "puppetdb.example.test";
/// A run of the Puppet agent takes a while on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

pub(super) struct Stack {
    tool: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) own: tempfile::TempDir,
    ports: [u16; 2],
    children: Vec<Child>,
    token: String,
}

impl Stack {
    /// With certificates for server and node; `None` where there is no such stack.
    pub(super) fn find() -> Option<Self> {
        let Some(tool) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
            println!("skipped: {VARIABLE} does not name the tool of a real Puppet Server and PuppetDB");
            return None;
        };
        let directory = std::env::var_os("PUPPET_STACK_DIR").unwrap_or_else(|| "/var/tmp/puppet-stack".into()).into();
        let own = tempfile::tempdir().unwrap();
        let (ports, children, token) = ([free_port(), free_port()], Vec::new(), String::new());
        let stack = Self { tool, directory, own, ports, children, token };
        assert_eq!(stack.run(&["cert", SERVER, NODE]), Some(0));
        Some(stack)
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Option<i32> {
        let tool = Command::new(&self.tool).args(arguments).stdin(Stdio::null()).output().unwrap();
        println!("{arguments:?}: {}{}", String::from_utf8_lossy(&tool.stdout), String::from_utf8_lossy(&tool.stderr));
        tool.status.code()
    }

    fn certificates(&self, name: &str) -> CertificatePaths {
        let at = |file: &str| self.directory.join("certs").join(name).join(file);
        CertificatePaths { certificate: at("cert.pem"), key: at("key.pem"), ca: at("ca.pem"), crl: Some(at("crl.pem")) }
    }

    pub(super) fn material(&self) -> Material {
        Material::load(&self.certificates(SERVER)).unwrap()
    }

    fn write(&self, path: &str, content: &Value) -> PathBuf {
        let path = self.own.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content.to_string()).unwrap();
        path
    }

    fn start(&mut self, subcommand: &str, configuration: &Path) {
        let log = fs::File::create(self.own.path().join(format!("{subcommand}.log"))).unwrap();
        let mut command = Command::new(PODIUM);
        command.arg(subcommand).arg("--config").arg(configuration).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.children.push(child);
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.own.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    fn start_server(&mut self) {
        let CertificatePaths { certificate, key, ca, crl } = self.certificates(SERVER);
        let [broker, api] = self.ports;
        let configuration = self.write(
            "server/podium.conf",
            &json!({
                "global": {"certs": {"ssl-cert": certificate, "ssl-key": key, "ssl-ca-cert": ca, "ssl-crl-path": crl}},
                "webserver": {"pcp-broker": {"ssl-host": "127.0.0.1", "ssl-port": broker},
                              "orchestrator": {"ssl-host": "127.0.0.1", "ssl-port": api}},
                "pcp-broker": {"workers": 2},
                "orchestrator": {"data-dir": self.own.path().join("data"), "code-source": "puppet-server",
                                 "puppet-server-url": "https://puppet.example.test:8140",
                                 "puppetdb-url": format!("https://{PUPPETDB}:8081")},
            }),
        );
        self.start("server", configuration.parent().unwrap());
        let password = self.own.path().join("data/admin-password");
        self.wait("the server", || fs::read_to_string(&password).is_ok_and(|text| text.ends_with('\n')));
        let login = json!({"login": "admin", "password": fs::read_to_string(&password).unwrap().trim()});
        self.wait("the API", || std::net::TcpStream::connect(("127.0.0.1", api)).is_ok());
        self.token = self.post("/rbac-api/v1/auth/token", &login).1["token"].as_str().unwrap().to_owned();
    }

    /// An agent that gets files from Puppet Server.
    fn start_agent(&mut self) {
        let CertificatePaths { certificate, key, ca, crl } = self.certificates(NODE);
        let at = |path: &str| self.own.path().join(path);
        let configuration = self.write(
            "agent/pxp-agent.conf",
            &json!({
                "broker-ws-uris": [format!("wss://{SERVER}:{}/pcp2/", self.ports[0])],
                "primary-uris": ["https://puppet.example.test:8140"], "pcp-version": "2", "logfile": "-",
                "ssl-cert": certificate, "ssl-key": key, "ssl-ca-cert": ca, "ssl-crl": crl,
                "spool-dir": at("spool"), "task-cache-dir": at("cache"),
            }),
        );
        self.start("agent", configuration.parent().unwrap());
        let path = format!("/orchestrator/v1/inventory/{NODE}");
        self.wait("the agent", || self.get(&path).1["connected"] == true);
    }

    pub(super) fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}: {}{}",
                self.log("server"),
                self.log("agent")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> (u16, Value) {
        let mut client = Client::new(self.material().client_config().unwrap(), PATIENCE, PATIENCE).unwrap();
        let headers: &[(&str, &str)] = &[("x-authentication", self.token.as_str())];
        let headers = if self.token.is_empty() { &[] } else { headers };
        let request = Request { method, host: SERVER, port: self.ports[1], path_and_query: path, headers, body };
        let response = client.request(&request, 64 * 1024 * 1024).unwrap();
        (response.status.as_u16(), serde_json::from_slice(&response.body).unwrap_or_default())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, Vec::new())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask(Method::POST, path, body.to_string().into_bytes())
    }

    /// The kind and message of a refused task over this query.
    fn refused(&self, query: Value) -> (u16, String, String) {
        let command = json!({"task": "demo::hello", "params": {"name": "x"}, "scope": {"query": query}});
        let (status, body) = self.post("/orchestrator/v1/command/task", &command);
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        (status, text("kind").replace("puppetlabs.orchestrator/", ""), text("msg"))
    }

    fn puppetdb(&self) -> PuppetDb {
        let tls = Arc::new(ArcSwap::new(self.material().client_config().unwrap()));
        let (connect_timeout, request_timeout) = (PATIENCE, PATIENCE);
        let settings = ServiceSettings { host: PUPPETDB.into(), port: 8081, connect_timeout, request_timeout };
        PuppetDb::new(settings, Identity { name: SERVER.into(), tls })
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

#[test]
fn tasks_come_from_puppet_server_and_nodes_from_puppetdb() {
    let Some(mut stack) = Stack::find() else { return };
    let job = std::process::id().to_string();
    let code = stack.run(&["agent", NODE, "--job-id", &job]);
    assert!(matches!(code, Some(0 | 2)), "the Puppet agent ran: {code:?}");
    stack.start_server();
    stack.start_agent();
    let v1 = |path: &str| stack.get(&format!("/orchestrator/v1/{path}"));

    let (_, environments) = v1("environments");
    let names: Vec<_> = environments["items"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["production", "staging"]);
    assert_eq!(v1("environments/production").1["settings"]["environment_timeout"], 0);
    assert_eq!(v1("environments/nosuch").0, 404);
    let (_, tasks) = v1("tasks");
    assert!(tasks["items"].as_array().unwrap().iter().any(|task| task["name"] == "demo::hello"), "{tasks}");
    assert_eq!(v1("tasks?environment=nosuch").1["kind"], "puppetlabs.orchestrator/unknown-environment");
    assert_eq!(v1("tasks/demo/nosuch").1["msg"], "Could not find task 'nosuch' in environment production");
    assert_eq!(v1("tasks/nosuch/x").1["msg"], "Could not find module 'nosuch' in environment production");
    let (_, hello) = v1("tasks/demo/hello");
    assert_eq!(hello["files"][0]["uri"]["path"], "/puppet/v3/file_content/tasks/demo/hello.sh");

    let query = format!("inventory[certname] {{ certname = \"{NODE}\" and facts.puppetversion ~ \"^7\" }}");
    for query in [json!(query), json!(["from", "nodes", ["=", "certname", NODE]])] {
        let command = json!({"task": "demo::hello", "params": {"name": "ada"}, "scope": {"query": query}});
        let (status, accepted) = stack.post("/orchestrator/v1/command/task", &command);
        assert_eq!(status, 202, "{accepted}");
        let job = format!("jobs/{}", accepted["job"]["name"].as_str().unwrap());
        stack.wait("the job", || matches!(v1(&job).1["state"].as_str(), Some("finished" | "failed")));
        let (_, nodes) = v1(&format!("{job}/nodes"));
        assert_eq!(nodes["items"][0]["state"], "finished", "{nodes}\n{}", stack.log("agent"));
        assert_eq!(nodes["items"][0]["name"], NODE);
    }

    let (status, kind, message) = stack.refused(json!("nodes {"));
    assert_eq!((status, kind.as_str()), (400, "query-error"));
    assert!(message.starts_with("PuppetDB query failed: PQL parse error at line 1, column 8"), "{message}");
    let (status, kind, _) = stack.refused(json!("nodes[certname] { certname = \"nosuch\" }"));
    assert_eq!((status, kind.as_str()), (400, "empty-target"));
    let (_, kind, message) = stack.refused(json!("nodes[count()] { }"));
    assert_eq!(kind, "query-error");
    assert!(message.contains("its rows have no certname"), "{message}");

    let up = |key: &str| stack.get("/status/v1/services/orchestrator-service").1["status"][key] == true;
    stack.wait("both services to be up", || up("puppetserver_up") && up("puppetdb_up"));

    let puppetdb = stack.puppetdb();
    stack.wait("the report", || puppetdb.reports(ReportKey::Job(&job)).is_ok_and(|reports| !reports.is_empty()));
    let report = puppetdb.reports(ReportKey::Job(&job)).unwrap().remove(0);
    assert_eq!((report.certname.as_str(), report.job_id.as_deref()), (NODE, Some(job.as_str())));
    assert!(report.metric("time", "total").is_some_and(|seconds| seconds > 0.0));
    let uuid = report.transaction_uuid.clone().unwrap();
    assert_eq!(puppetdb.reports(ReportKey::Transaction(&uuid)).unwrap(), [report]);
    let versions = puppetdb.agent_versions(&[NODE.to_owned(), "nosuch".to_owned()]).unwrap();
    assert!(versions[NODE].starts_with("7.") && versions.len() == 1, "{versions:?}");
}
