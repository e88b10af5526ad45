//! Tests only: an orchestrator that knows one finished job and plays new ones a step further each time their events are
//! asked for, and a server with real certificates in front of it.

mod access;
mod job;
mod plans;
mod schedules;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use serde_json::{Map, Value, json};

use super::{Backend, Server, Setup};
use crate::clock::WallTime;
use crate::config::settings::WebhookSettings;
use crate::observe::audit_log::AuditLog;
use crate::observe::metrics::Metrics;
use crate::observe::status::{Service, ServiceHealth, ServiceState};
use crate::orchestrator::bell::Bell;
use crate::orchestrator::classifier::Classifier;
use crate::orchestrator::dispatch::Stop;
use crate::orchestrator::graph::Graph;
use crate::orchestrator::model::{
    DeployCommand, Event, EventType, InventoryEntry, Job, JobEvent, JobId, JobQuery, JobSpec, JobState, JobStatus,
    Node, NodeConnection, NodeQuery, NodeState, Page, PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanJob, PlanJobId,
    PlanListing, PlanQuery, PlanShown, Refusal, RefusalKind, Scope, Subject, TaskCommand, TaskDetail, TaskListing,
    TaskWork, Terms, Work,
};
use crate::orchestrator::rbac::Rbac;
use crate::orchestrator::schedule::Schedules;
use crate::orchestrator::sources::{EnvironmentListing, Needed};
use crate::orchestrator::store::Store;
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::store::usage::UsageDay;
use crate::orchestrator::task_targets::TaskTargets;
use crate::orchestrator::vault::Vault;
use crate::orchestrator::webhooks::Webhooks;
use crate::orchestrator::{BrokerLink, CodeFile, NotAttached};
use crate::pxp::task::{FileUri, TaskFile};
use crate::reactor::Listen;
use crate::tls::material::ClientAuth;
use crate::tls::testing::Pki;
use job::{fresh_node, old_events, old_job, old_node};

/// A token that is good.
pub(crate) const TOKEN: &str = "0AbC-good";
/// The login and password that give it.
pub(crate) const LOGIN: (&str, &str) = ("ada", "correct horse");
/// A node on which every task fails.
pub(crate) const BROKEN_NODE: &str = "broken.example.com";
/// The number of the job that is there from the start.
pub(crate) const OLD_JOB: JobId = JobId(82);

const START: i64 = 1_772_360_130_000;

/// The orchestrator.
pub(crate) struct Fake {
    state: Mutex<State>,
    rbac: Rbac,
    classifier: Classifier,
    /// Where groups are, if elsewhere.
    pub(crate) classifier_url: OnceLock<String>,
    task_targets: TaskTargets,
    webhooks: Webhooks,
    bell: Arc<Bell>,
    schedules: Schedules,
    pub(crate) store: Arc<dyn Store>,
    files: tempfile::TempDir,
}

struct State {
    jobs: BTreeMap<i64, Played>,
    commands: Vec<TaskCommand>,
    links: Vec<BrokerLink>,
    last_event: i64,
}

struct Played {
    job: Job,
    nodes: Vec<Node>,
    events: Vec<Event>,
}

impl Fake {
    /// With job 82.
    pub(crate) fn new() -> Arc<Self> {
        let old = Played { job: old_job(), nodes: vec![old_node()], events: old_events() };
        let jobs = BTreeMap::from([(OLD_JOB.0, old)]);
        let files = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&files.path().join("data")).unwrap());
        let (vault, bell) = (Arc::new(Vault::open(files.path()).unwrap()), Arc::new(Bell::default()));
        let ca = files.path().join("ca.pem");
        fs::copy(Pki::new("ca").ca(), &ca).unwrap();
        let settings = WebhookSettings { ca: Some(ca), loopback: true };
        Arc::new(Self {
            state: Mutex::new(State { jobs, commands: Vec::new(), links: Vec::new(), last_event: 13 }),
            rbac: access::rbac(files.path(), &store),
            classifier: Classifier::new(store.clone()),
            classifier_url: OnceLock::new(),
            task_targets: TaskTargets::new(store.clone()),
            webhooks: Webhooks::start(store.clone(), vault, bell.clone(), settings).unwrap(),
            bell,
            schedules: schedules::schedules(files.path(), &store),
            store,
            files,
        })
    }

    /// Where the audit log is.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.files.path().join("audit.log")
    }

    /// The file of certificates that need no token.
    pub(crate) fn allowlist(&self) -> PathBuf {
        self.files.path().join("allowlist")
    }

    /// What was asked for.
    pub(crate) fn commands(&self) -> Vec<TaskCommand> {
        self.state.lock().unwrap().commands.clone()
    }

    /// The next link of a broker that nobody has taken yet.
    pub(crate) fn link(&self) -> Option<BrokerLink> {
        self.state.lock().unwrap().links.pop()
    }

    fn create(&self, spec: JobSpec, names: &[String]) -> JobId {
        let mut state = self.state.lock().unwrap();
        let id = JobId(state.jobs.keys().last().map_or(1, |last| last + 1));
        let nodes: Vec<Node> = names.iter().map(|name| fresh_node(name)).collect();
        let job = Job {
            id,
            state: JobState::Ready,
            spec,
            finished: None,
            started: None,
            node_count: nodes.len() as u64,
            node_states: BTreeMap::from([(NodeState::Ready, nodes.len() as u64)]),
            ..old_job()
        };
        state.jobs.insert(id.0, Played { job, nodes, events: Vec::new() });
        id
    }

    fn with_job<T>(&self, id: JobId, look: impl FnOnce(&mut Played, &mut i64) -> T) -> Result<T, Refusal> {
        let mut state = self.state.lock().unwrap();
        let State { jobs, last_event, .. } = &mut *state;
        let unknown = || Refusal::new(RefusalKind::UnknownJob, format!("Unknown job {id}")).with("job", id.to_string());
        jobs.get_mut(&id.0).map(|played| look(played, last_event)).ok_or_else(unknown)
    }
}

impl Played {
    fn step(&mut self, last_event: &mut i64) {
        let now = WallTime::from_millis(START + 5000);
        let mut event = |kind: EventType, details: Map<String, Value>, message: String| {
            *last_event += 1;
            self.events.push(Event { id: *last_event, kind, timestamp: now, details, message });
            *last_event
        };
        for node in &mut self.nodes {
            let name = node.name.clone();
            let details = object(json!({"node": name, "detail": {"noop": false}}));
            let (state, kind, message) = match node.state {
                NodeState::Ready => (NodeState::Running, EventType::NodeRunning, format!("Started on {name} ...")),
                NodeState::Running if name == BROKEN_NODE => {
                    let reason = json!({"msg": "exit code 1", "kind": "puppetlabs.tasks/task-error", "details": {}});
                    node.result = Some(json!({"_output": "half\n", "_error": reason}));
                    (NodeState::Failed, EventType::NodeFailed, format!("Failed on node {name}"))
                }
                NodeState::Running => {
                    node.result = Some(json!({"_output": "RedHat\n"}));
                    (NodeState::Finished, EventType::NodeFinished, format!("Finished on node {name}"))
                }
                _ => continue,
            };
            node.state = state;
            node.start = Some(WallTime::from_millis(START));
            node.finish = state.is_final().then_some(now);
            node.latest_event_id = event(kind, details, message);
        }
        self.job.state = JobState::Running;
        if self.nodes.iter().all(|node| node.state.is_final()) {
            let well = self.nodes.iter().all(|node| node.state == NodeState::Finished);
            self.job.state = if well { JobState::Finished } else { JobState::Failed };
            self.job.finished = Some(now);
            event(EventType::JobFinished, Map::new(), "Job finished".into());
        }
        self.job.started = Some(WallTime::from_millis(START));
        self.job.node_states = BTreeMap::new();
        for node in &self.nodes {
            *self.job.node_states.entry(node.state).or_default() += 1;
        }
    }
}

impl Backend for Fake {
    fn attach(&self, link: BrokerLink) -> Result<(), NotAttached> {
        self.state.lock().unwrap().links.push(link);
        Ok(())
    }

    fn run_task(&self, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal> {
        let Scope::Nodes(names) = &command.terms.scope else {
            return Err(Refusal::new(RefusalKind::QueryError, "PuppetDB is not configured"));
        };
        if names.is_empty() {
            let refusal = Refusal::new(RefusalKind::EmptyTarget, "The scope has no nodes");
            return Err(refusal.with("environment", "production").with("target", command.terms.scope.kind()));
        }
        if command.task != "facter" {
            let message = format!("Unknown task {}", command.task);
            return Err(Refusal::new(RefusalKind::UnknownTask, message).with("task", command.task));
        }
        let work = Work::Task(TaskWork {
            task: command.task.clone(),
            params: command.params.clone(),
            sensitive: vec![],
            plan_job: command.plan_job,
        });
        let id = self.create(JobSpec { work, terms: command.terms.clone(), owner: subject.clone() }, names);
        self.state.lock().unwrap().commands.push(command);
        Ok(id)
    }

    fn plan_puppet(&self, _: &Subject, command: &DeployCommand) -> Result<Vec<Vec<String>>, Refusal> {
        check_environment(&command.terms.environment)?;
        let Scope::Nodes(names) = command.terms.scope.clone() else { return Ok(Vec::new()) };
        Ok(names.into_iter().map(|name| vec![name]).collect())
    }

    fn graph(&self, environment: &str) -> Result<Graph, Refusal> {
        check_environment(environment)?;
        Ok(Graph::default())
    }

    fn run_puppet(&self, subject: &Subject, command: DeployCommand) -> Result<JobId, Refusal> {
        let DeployCommand { options, terms } = command;
        check_environment(&terms.environment)?;
        let Scope::Nodes(names) = terms.scope.clone() else {
            return Err(Refusal::new(RefusalKind::QueryError, "PuppetDB is not configured"));
        };
        Ok(self.create(JobSpec { work: Work::Deploy(options), terms, owner: subject.clone() }, &names))
    }

    fn stop_job(&self, _subject: &Subject, id: JobId, _stop: Stop) -> Result<Job, Refusal> {
        self.with_job(id, |played, _| {
            if !played.job.state.is_final() {
                played.job.state = JobState::Stopping;
            }
            played.job.clone()
        })
    }

    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, Refusal> {
        let state = self.state.lock().unwrap();
        let is_asked = |job: &Job| query.kind.is_none_or(|kind| job.spec.work.kind() == kind);
        let mut items: Vec<Job> =
            state.jobs.values().map(|played| played.job.clone()).filter(|job| is_asked(job)).collect();
        let total = items.len() as u64;
        if query.descending {
            items.reverse();
        }
        items.truncate(query.limit as usize);
        Ok(Page { items, total })
    }

    fn job(&self, id: JobId) -> Result<Job, Refusal> {
        self.with_job(id, |played, _| played.job.clone())
    }

    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Page<Node>, Refusal> {
        let nodes = self.with_job(id, |played, _| played.nodes.clone())?;
        let items: Vec<Node> =
            nodes.into_iter().filter(|node| query.state.is_none_or(|state| node.state == state)).collect();
        Ok(Page { total: items.len() as u64, items })
    }

    fn events(&self, id: JobId, start: i64) -> Result<(Vec<Event>, i64), Refusal> {
        self.with_job(id, |played, last_event| {
            if !played.job.state.is_final() {
                played.step(last_event);
            }
            let events: Vec<Event> = played.events.iter().filter(|event| event.id >= start).cloned().collect();
            let next = events.last().map_or(start, |event| event.id + 1);
            (events, next)
        })
    }

    fn start_plan(&self, _subject: &Subject, _command: PlanCommand) -> Result<PlanJobId, Refusal> {
        Ok(PlanJobId(39))
    }

    fn finish_plan(&self, _subject: &Subject, end: PlanEnd) -> Result<(), Refusal> {
        plans::finish(&end)
    }

    fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, Refusal> {
        Ok(Page { items: vec![plans::job(query.with_results)], total: 1 })
    }

    fn plan_job(&self, id: PlanJobId) -> Result<PlanDetail, Refusal> {
        plans::detail(id)
    }

    fn plan_events(&self, id: PlanJobId, start: i64) -> Result<(Vec<PlanEvent>, i64), Refusal> {
        let events: Vec<PlanEvent> = plans::events(id)?.into_iter().filter(|event| event.id >= start).collect();
        let next = events.last().map_or(start, |event| event.id + 1);
        Ok((events, next))
    }

    fn plan_event(&self, id: PlanJobId, event: i64) -> Result<PlanEvent, Refusal> {
        let found = plans::events(id)?.into_iter().find(|found| found.id == event);
        found.ok_or_else(|| Refusal::new(RefusalKind::MismatchedJobEventId, "not of this plan job"))
    }

    fn needs(&self, _scope: Option<&Scope>) -> Vec<Needed> {
        Vec::new()
    }

    fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal> {
        Ok(vec![self.environment("production")?])
    }

    fn environment(&self, name: &str) -> Result<EnvironmentListing, Refusal> {
        check_environment(name)?;
        let settings = json!({"modulepath": ["/code/modules"], "manifest": "/code/manifests",
                              "environment_timeout": 0, "config_version": ""});
        Ok(EnvironmentListing { name: name.to_owned(), settings: object(settings) })
    }

    fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        check_environment(environment)?;
        let listing = |name: &str, private, description: &str| TaskListing {
            name: name.into(),
            private,
            description: description.into(),
        };
        Ok(vec![listing("facter", false, "Shows a fact"), listing("facter::internal", true, "For other tasks")])
    }

    fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal> {
        check_environment(environment)?;
        if (module, name) != ("facter", "init") {
            let message = format!("Unknown task {module}::{name}");
            return Err(Refusal::new(RefusalKind::UnknownTask, message).with("task", format!("{module}::{name}")));
        }
        let metadata = json!({
            "description": "Shows a fact",
            "supports_noop": false,
            "input_method": "stdin",
            "parameters": {"fact": {"type": "String[1]", "description": "The name of the fact"},
                           "external": {"type": "Optional[Boolean]"}},
        });
        let uri = FileUri {
            path: "/puppet/v3/file_content/tasks/facter/init.rb".into(),
            params: BTreeMap::from([("environment".to_owned(), environment.to_owned())]),
        };
        let file = TaskFile { filename: "init.rb".into(), sha256: "ab".repeat(32), size_bytes: Some(4711), uri };
        Ok(TaskDetail { name: "facter".into(), metadata: object(metadata), files: vec![file] })
    }

    fn plans(&self, environment: &str) -> Result<Vec<PlanListing>, Refusal> {
        check_environment(environment).map(|()| plans::list())
    }

    fn plan(&self, environment: &str, module: &str, name: &str) -> Result<PlanShown, Refusal> {
        check_environment(environment).and_then(|()| plans::show(module, name))
    }

    fn inventory(&self) -> Vec<InventoryEntry> {
        self.inventory_of(&["web01.example.com".into(), "web02.example.com".into()])
    }

    fn inventory_of(&self, names: &[String]) -> Vec<InventoryEntry> {
        let connection = || NodeConnection {
            broker: "pcp://broker.example.com/server".into(),
            since: WallTime::from_millis(START + 120),
        };
        let entry = |name: &String| InventoryEntry {
            name: name.clone(),
            connection: (name == "web01.example.com").then(connection),
        };
        names.iter().map(entry).collect()
    }

    fn classifier(&self) -> Result<&Classifier, String> {
        self.classifier_url.get().map_or(Ok(&self.classifier), |url| Err(url.clone()))
    }

    fn task_targets(&self) -> &TaskTargets {
        &self.task_targets
    }

    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        check_environment(environment)?;
        if mount_path != "tasks/demo/a file.sh" {
            return Ok(None);
        }
        let path = self.files.path().join("file");
        File::create(&path).unwrap().write_all(&file_content()).unwrap();
        Ok(Some(CodeFile { file: File::open(path).unwrap(), length: file_content().len() as u64 }))
    }

    fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, Refusal> {
        let ids: Vec<JobId> = match job {
            Some(job) => vec![job],
            None => self.state.lock().unwrap().jobs.keys().map(|id| JobId(*id)).collect(),
        };
        let mut found = Vec::new();
        for job in ids {
            found.extend(self.events(job, start)?.0.into_iter().map(|event| JobEvent { job, event }));
        }
        found.sort_by_key(|found| found.event.id);
        found.truncate(events as usize);
        Ok(found)
    }

    fn last_event(&self) -> Result<i64, Refusal> {
        Ok(self.state.lock().unwrap().last_event)
    }

    fn listen(&self) -> tokio::sync::watch::Receiver<u64> {
        self.bell.listen()
    }

    fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, Refusal> {
        Ok(self.store.usage(first, last)?)
    }

    fn rbac(&self) -> &Rbac {
        &self.rbac
    }
}

/// What the one file holds: more than two chunks.
pub(crate) fn file_content() -> Vec<u8> {
    (0..150_000_u32).map(|number| number.to_le_bytes()[0]).collect()
}

fn check_environment(environment: &str) -> Result<(), Refusal> {
    if environment == "production" {
        return Ok(());
    }
    let message = format!("Unknown environment {environment}");
    Err(Refusal::new(RefusalKind::UnknownEnvironment, message).with("environment", environment))
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("not an object") };
    object
}

/// What a server is started with.
pub(crate) fn setup(fake: Arc<Fake>, pki: &Pki) -> Setup {
    let audit = Arc::new(AuditLog::open(Some(&fake.audit_log()), Counter::default()).unwrap());
    let tls = pki.material("localhost").server_config(ClientAuth::Optional).unwrap();
    let service = |name, state, details: Value| Service {
        name,
        probe: Arc::new(move |_| ServiceHealth { state, details: object(details.clone()), alerts: Vec::new() }),
    };
    Setup {
        listen: Listen::Address("127.0.0.1:0".parse().unwrap()),
        tls: Arc::new(ArcSwap::new(tls)),
        backend: fake,
        audit,
        public_url: "https://orch.example.com:8143".into(),
        services: vec![
            service("orchestrator-service", ServiceState::Running, json!({"db_up": true})),
            service("broker-service", ServiceState::Starting, json!({})),
        ],
        metrics: Arc::new(|| "# EOF\n".to_owned()),
        brokers: vec!["compile1.example.com".into()],
        counts: Arc::new(Metrics::new()),
    }
}

/// A started server.
pub(crate) fn serve(fake: Arc<Fake>, pki: &Pki) -> Server {
    Server::start(&setup(fake, pki)).unwrap()
}
