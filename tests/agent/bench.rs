//! An agent without its connection: requests go in as messages, replies come out of a channel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::Receiver;
use podium::agent::confine::Launcher;
use podium::agent::connect::{Executor, Mail};
use podium::agent::execute::WrapperCommand;
use podium::agent::executor::{Threads, Workshop};
use podium::agent::modules::apply::{self, ApplySettings};
use podium::agent::modules::{command, external, file, puppet, script, task};
use podium::agent::registry::Registry;
use podium::agent::reply::Reply;
use podium::agent::requests::{Verdict, judge};
use podium::agent::spool::Spool;
use podium::agent::task_cache::{Sources, TaskCache};
use podium::agent::transaction::TransactionId;
use podium::config::settings::CertificatePaths;
use podium::sha256::{Sha256, hexadecimal};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const DEADLINE: Duration = Duration::from_secs(20);
pub const DATA_MAX: usize = 100_000;

pub struct Bench {
    pub root: TempDir,
    registry: Arc<Registry>,
    threads: Threads,
    replies: Receiver<Mail>,
}

/// How the agent of these tests starts its wrapper.
pub fn wrapper() -> WrapperCommand {
    WrapperCommand { program: env!("CARGO_BIN_EXE_podium").into(), arguments: vec!["execution-wrapper".into()] }
}

/// What an agent has, with external modules and their configuration below `root`.
fn registry(root: &Path, wrapper: &WrapperCommand) -> Registry {
    let place = |name: &str| root.join(name);
    let puppet = external::configuration(&place("modules-conf/pxp-module-puppet.conf"), None).unwrap();
    let certificates = CertificatePaths {
        certificate: place("cert.pem"),
        key: place("key.pem"),
        ca: place("ca.pem"),
        crl: Some(place("crl.pem")),
    };
    let cache_dir = place("cache");
    let mut work = apply::entries(ApplySettings { certificates, primaries: Vec::new(), proxy: None, cache_dir });
    work.extend([command::entry(), file::entry(), script::entry(), task::entry()]);
    work.push(puppet::entry(wrapper.program.clone(), puppet));
    let mut registry = Registry::new(work);
    let problems = external::load(&place("modules"), &place("modules-conf"), &mut registry);
    assert!(problems.is_empty(), "{problems:?}");
    registry
}

impl Bench {
    pub fn new() -> Self {
        Self::with_wrapper(wrapper())
    }

    pub fn with_wrapper(wrapper: WrapperCommand) -> Self {
        Self::at(tempfile::tempdir().unwrap(), wrapper, None)
    }

    /// The agent is started again over what it left.
    pub fn restarted(self) -> Self {
        Self::over(self.root)
    }

    /// An agent over what another one has left.
    pub fn over(root: TempDir) -> Self {
        Self::at(root, wrapper(), None)
    }

    /// One whose tasks are held.
    pub fn held(root: TempDir, launcher: Launcher) -> Self {
        Self::at(root, wrapper(), Some(launcher))
    }

    fn at(root: TempDir, wrapper: WrapperCommand, launcher: Option<Launcher>) -> Self {
        let (post, replies) = crossbeam_channel::unbounded();
        let provider = podium::tls::material::provider();
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let cache = TaskCache::open(Sources {
            directory: root.path().join("cache"),
            primaries: Vec::new(),
            proxy: None,
            tls: Arc::new(ArcSwap::from_pointee(tls)),
            connect_timeout: DEADLINE,
            total_timeout: DEADLINE,
            pause: |_| {},
        });
        let registry = Arc::new(registry(root.path(), &wrapper));
        let workshop = Workshop {
            registry: registry.clone(),
            spool: Spool::open(&root.path().join("spool"), DATA_MAX).unwrap(),
            cache: cache.unwrap(),
            wrapper,
            launcher,
            post: Arc::new(move |mail| post.send(mail).map_err(|error| error.into_inner())),
            data_max: DATA_MAX,
            spool_ttl: None,
            cache_ttl: None,
        };
        Self { root, registry, threads: Threads::start(workshop).unwrap(), replies }
    }

    /// Puts a file into the task cache, as if it had been downloaded, and describes it as requests do.
    pub fn file(&self, name: &str, content: &str) -> Value {
        let sha256 = hexadecimal(&Sha256::of(content.as_bytes()));
        let directory = self.root.path().join("cache").join(&sha256);
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name.rsplit('/').next().unwrap());
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        json!({"filename": name, "sha256": sha256, "uri": {"path": "/x", "params": {}}})
    }

    /// Parameters of `task run` for one script.
    pub fn script(&self, content: &str) -> Value {
        json!({"task": "demo::it", "input": {}, "files": [self.file("it.sh", content)]})
    }

    pub fn submit(&self, kind: &str, data: Value) {
        let message = json!({
            "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
            "message_type": format!("http://puppetlabs.com/{kind}"),
            "sender": "pcp://c/x",
            "data": data
        });
        match judge(message.to_string().as_bytes(), &self.registry, DATA_MAX) {
            Verdict::Order(order) => self.threads.submit(order).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Asks for a task without waiting for anything.
    pub fn start(&self, id: &str, params: &Value) {
        self.start_action(id, ("task", "run"), params);
    }

    /// Asks for an action without waiting for anything.
    pub fn start_action(&self, id: &str, (module, action): (&str, &str), params: &Value) {
        let data = json!(
            {"transaction_id": id, "notify_outcome": true, "module": module, "action": action, "params": params}
        );
        self.submit("rpc_non_blocking_request", data);
    }

    /// Runs a task and returns the data of its one final answer.
    pub fn run(&self, id: &str, params: &Value) -> Value {
        self.run_action(id, ("task", "run"), params)
    }

    /// Runs an action and returns the data of its one final answer.
    pub fn run_action(&self, id: &str, action: (&str, &str), params: &Value) -> Value {
        self.start_action(id, action, params);
        self.expect("rpc_provisional_response");
        let reply = self.reply();
        assert_eq!(reply.transaction_id, id);
        serde_json::from_str(reply.data.get()).unwrap()
    }

    /// The results of a status query.
    pub fn status(&self, id: &str) -> Value {
        let params = json!({"transaction_id": id});
        let data = json!({"transaction_id": "q", "module": "status", "action": "query", "params": params});
        self.submit("rpc_blocking_request", data);
        self.expect("rpc_blocking_response")["results"].take()
    }

    /// Asks until the transaction has ended.
    pub fn status_at_end(&self, id: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.status(id);
            if status["status"] != "running" {
                return status;
            }
            assert!(Instant::now() < end, "{id} does not end");
            std::thread::yield_now();
        }
    }

    pub fn reply(&self) -> Reply {
        match self.replies.recv_timeout(DEADLINE).expect("a reply") {
            Mail::Reply(reply) => *reply,
            Mail::Start => unreachable!("nobody posts it here"),
        }
    }

    pub fn expect(&self, kind: &str) -> Value {
        let reply = self.reply();
        assert_eq!(reply.message_type, format!("http://puppetlabs.com/{kind}"), "{}", reply.data);
        assert_eq!((reply.target.as_str(), reply.in_reply_to), ("pcp://c/x", None));
        serde_json::from_str(reply.data.get()).unwrap()
    }

    pub fn expect_silence(&self) {
        assert!(self.replies.is_empty());
    }

    pub fn directory(&self, id: &str) -> PathBuf {
        self.root.path().join("spool").join(id)
    }

    pub fn metadata(&self, id: &str) -> Value {
        serde_json::from_slice(&fs::read(self.directory(id).join("metadata")).unwrap()).unwrap()
    }
}

/// Waits until a file has content.
pub fn wait_for(path: &Path) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return text,
            Ok(_) | Err(_) => assert!(Instant::now() < end, "{} does not come", path.display()),
        }
        std::thread::yield_now();
    }
}

/// A named pipe, for tasks that wait until they are told.
pub fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

pub fn id(text: &str) -> TransactionId {
    TransactionId::parse(text).unwrap()
}
