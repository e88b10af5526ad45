//! The caller: starts a task on all, asks about it all the time, and checks that what it was told adds up.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use podium::https::{Client, Method, Request};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::support::server::Server;

/// One request.
const PATIENCE: Duration = Duration::from_secs(60);

/// An inventory or the nodes of a job with very many agents.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The API, over one connection.
pub struct Api {
    client: Client,
    port: u16,
    token: String,
}

impl Api {
    /// As the administrator that the server has made at its first start.
    pub fn login(server: &Server, ca: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("the CA's file") {
            roots.add(certificate.expect("a certificate")).expect("a CA");
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let client = Client::new(tls.into(), PATIENCE, PATIENCE).expect("a client");
        let mut api = Self { client, port: server.api.port(), token: String::new() };
        let password = std::fs::read_to_string(server.path("data/admin-password")).expect("the first password");
        let login = json!({"login": "admin", "password": password.trim(), "lifetime": "1d"});
        let answer = api.send(Method::POST, "/rbac-api/v1/auth/token", Some(&login));
        answer["token"].as_str().expect("a token").clone_into(&mut api.token);
        api
    }

    fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let headers = [("x-authentication", self.token.as_str()), ("content-type", "application/json")];
        let request = Request {
            method,
            host: "localhost",
            port: self.port,
            path_and_query: path,
            headers: if self.token.is_empty() { &headers[1..] } else { &headers },
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        };
        let response = self.client.request(&request, ANSWER_BYTES_MAX).expect("an answer");
        let text = String::from_utf8_lossy(&response.body);
        assert!(response.status.is_success(), "{path}: {} {text}", response.status);
        serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    fn get(&mut self, path: &str) -> Value {
        self.send(Method::GET, &format!("/orchestrator/v1/{path}"), None)
    }

    /// How many agents are there.
    pub fn connected(&mut self) -> usize {
        let inventory = self.get("inventory");
        let nodes = inventory["items"].as_array().expect("a list");
        nodes.iter().filter(|node| node["connected"] == Value::Bool(true)).count()
    }

    /// Starts the task on all of them.
    pub fn start_task(&mut self) -> String {
        let body = json!({"environment": "production", "task": "demo", "params": {}, "scope": {"query": "nodes[certname] {}"}});
        let answer = self.send(Method::POST, "/orchestrator/v1/command/task", Some(&body));
        answer["job"]["name"].as_str().expect("a job").to_owned()
    }
}

/// One who watches a job.
pub struct Watch {
    pub job: String,
    /// Of its questions, in microseconds.
    pub latencies: Histogram<u64>,
    next_event: String,
    ends: usize,
    asked: usize,
    is_over: bool,
}

impl Watch {
    pub fn new(job: String) -> Self {
        let latencies = Histogram::new(3).expect("three digits");
        Self { job, latencies, next_event: "0".to_owned(), ends: 0, asked: 0, is_over: false }
    }

    /// Whether the job was over when it was last asked for.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// One question: the job, its newest events, or a page of its nodes, by turns.
    pub fn ask(&mut self, api: &mut Api) {
        let job = &self.job;
        let began = Instant::now();
        match self.asked % 3 {
            0 => {
                let answer = api.get(&format!("jobs/{job}"));
                self.is_over = matches!(answer["state"].as_str(), Some("finished" | "failed" | "stopped"));
            }
            1 => drop(self.events(api)),
            _ => drop(api.get(&format!("jobs/{job}/nodes?limit=50&state=running"))),
        }
        let micros = u64::try_from(began.elapsed().as_micros()).expect("less than an eternity");
        self.latencies.record(micros).expect("a histogram that grows");
        self.asked += 1;
    }

    fn events(&mut self, api: &mut Api) -> usize {
        let answer = api.get(&format!("jobs/{}/events?start={}", self.job, self.next_event));
        answer["next-events"]["event"].as_str().expect("a number").clone_into(&mut self.next_event);
        let events = answer["items"].as_array().expect("a list");
        self.ends += events.iter().filter(|event| event["type"] == "node_finished").count();
        events.len()
    }

    /// Reads the events that are left: each agent has ended well, once.
    pub fn check(&mut self, api: &mut Api, agents: usize) {
        while self.events(api) > 0 {}
        assert!(self.ends == agents, "{} of {agents} agents have finished job {}", self.ends, self.job);
    }
}
