//! An orchestrator that answers what a test says, byte by byte, remembers what it was asked, and cuts connections if told to;
//! and the operator's client with a home of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use podium::config::settings::CertificatePaths;
use podium::tls::material::{ClientAuth, Material};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::support::pki::{Keys, Pki};

/// The token that the client's file holds.
pub const TOKEN: &str = "0AbC-good";

/// What gets one; needs none.
pub const LOGIN: &str = "POST /rbac-api/v1/auth/token";

/// What is answered to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and a body.
    Json(u16, Value),
    /// Nothing: the connection ends in the middle of the answer.
    Cut,
}

/// `GET` or `POST` with a path, below `/orchestrator/v1/` if it has no slash in front, and the answers to it; the last one
/// again and again.
pub type Script = Vec<(&'static str, Vec<Answer>)>;

/// A request of the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// As in a [`Script`].
    pub what: String,
    pub body: String,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, VecDeque<Answer>>,
    asked: Vec<Asked>,
}

/// The server, and the home of its client.
pub struct Fake {
    home: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

/// Status 200.
pub fn ok(body: Value) -> Answer {
    Answer::Json(200, body)
}

/// An error of the API.
pub fn refusal(status: u16, kind: &str, message: &str) -> Answer {
    Answer::Json(status, json!({"kind": format!("puppetlabs.orchestrator/{kind}"), "msg": message, "details": {}}))
}

impl Fake {
    /// With this script.
    pub fn start(script: Script) -> Self {
        let pki = Pki::new(Keys::P256);
        let files = pki.server_files();
        let home = tempfile::tempdir().unwrap();
        std::fs::copy(&files.ca, home.path().join("ca.pem")).unwrap();
        let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: None };
        let tls = Material::load(&paths).unwrap().server_config(ClientAuth::Optional).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = script.into_iter().map(|(what, answers)| (what.to_owned(), answers.into())).collect();
        let state = Arc::new(Mutex::new(State { answers, asked: Vec::new() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, shared) = (tls.clone(), shared.clone());
                // Whatever goes wrong is for the client to report.
                std::thread::spawn(move || serve(stream, tls, &shared));
            }
        });
        let fake = Self { home, state };
        fake.configure(&json!({"options": {
            "service-url": format!("https://localhost:{port}"), "cacert": "~/ca.pem", "token-file": "~/token",
        }}));
        std::fs::write(fake.path("token"), format!("{TOKEN}\n")).unwrap();
        fake
    }

    /// Below the client's home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Replaces the client's configuration.
    pub fn configure(&self, content: &Value) {
        let path = self.path(".puppetlabs/client-tools/orchestrator.conf");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.to_string()).unwrap();
    }

    /// The client, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = client(self.home.path(), arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the client.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The requests so far, that a client makes again and again each once.
    pub fn asked(&self) -> Vec<Asked> {
        let mut asked = self.state.lock().unwrap().asked.clone();
        asked.dedup();
        asked
    }

    /// How often this was asked.
    pub fn count(&self, what: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.what == what).count()
    }

    /// The body of the only request of this kind.
    pub fn body(&self, what: &str) -> String {
        let bodies: Vec<String> =
            self.asked().into_iter().filter(|asked| asked.what == what).map(|asked| asked.body).collect();
        let [body] = bodies.as_slice() else { panic!("{what} was asked {} times", bodies.len()) };
        body.clone()
    }
}

/// The client with this home and nothing of ours around it.
pub fn client(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podium"));
    command.args(arguments).env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> Option<()> {
    let mut tls = BufReader::new(StreamOwned::new(ServerConnection::new(config).ok()?, stream));
    loop {
        let mut line = String::new();
        tls.read_line(&mut line).ok().filter(|&length| length > 0)?;
        let (method, rest) = line.split_once(' ')?;
        let path = rest.split_once(' ')?.0;
        let path = path.strip_prefix("/orchestrator/v1/").unwrap_or(path);
        let (what, mut length, mut token) = (format!("{method} {path}"), 0, String::new());
        loop {
            let mut header = String::new();
            tls.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "x-authentication" => value.clone_into(&mut token),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        tls.read_exact(&mut body).ok()?;
        let answer = answer(state, Asked { what, body: String::from_utf8(body).ok()? }, &token);
        let (status, body) = match answer {
            Answer::Json(status, body) => (status, body.to_string()),
            Answer::Cut => {
                tls.get_mut().write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{").ok()?;
                tls.get_mut().flush().ok()?;
                return None;
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        tls.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).ok()?;
        tls.get_mut().flush().ok()?;
    }
}

fn answer(state: &Mutex<State>, asked: Asked, token: &str) -> Answer {
    let mut state = state.lock().unwrap();
    let unknown = refusal(404, "unknown-job", &format!("the test has no answer to {}", asked.what));
    let answer = match state.answers.get_mut(&asked.what) {
        _ if token != TOKEN && asked.what != LOGIN => {
            Answer::Json(401, json!({"kind": "puppetlabs.rbac/invalid-token", "msg": "no token"}))
        }
        Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
        Some(answers) => answers.front().cloned().unwrap_or(unknown),
        None => unknown,
    };
    state.asked.push(asked);
    answer
}
