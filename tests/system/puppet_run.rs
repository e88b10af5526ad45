//! A Puppet run of a job against a real Puppet Server and PuppetDB, see `puppet_stack`: the real agent runs for the job, and
//! its report is found by the run's transaction. The broker and the PXP agent are played here.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use podium::config::settings::{AccessSettings, CodeSource, OrchestratorSettings, ServiceSettings};
use podium::link::Port;
use podium::orchestrator::model::{
    DeployCommand, DeployOptions, JobState, NodeOrder, NodeQuery, Scope, Subject, Terms,
};
use podium::orchestrator::sources::service::Identity;
use podium::orchestrator::{BrokerLink, Orchestrator};
use podium::pcp::{Envelope, Outgoing};
use serde_json::{Value, json};

use super::puppet_stack::{NODE, PATIENCE, PUPPETDB, SERVER, Stack};

struct ToTest(Sender<Bytes>);

impl Port for ToTest {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        self.0.send(message).map_err(|error| error.0)
    }
}

fn service(host: &str, port: u16) -> ServiceSettings {
    ServiceSettings { host: host.into(), port, connect_timeout: PATIENCE, request_timeout: PATIENCE }
}

fn settings(dir: &Path) -> OrchestratorSettings {
    let day = Duration::from_secs(86_400);
    OrchestratorSettings {
        data_dir: dir.join("data"),
        code_dir: dir.join("code"),
        task_concurrency: 4,
        deploy_concurrency: 2,
        allowed_status_requests: 35,
        status_interval: day,
        default_task_timeout: None,
        default_deploy_timeout: None,
        access: AccessSettings {
            token_lifetime: day,
            token_lifetime_max: day,
            failed_logins_max: 10,
            lockout: None,
            certificate_allowlist: None,
            audit_log: None,
        },
        brokers: vec![],
        keep_jobs: None,
        graph_dir: None,
        schedules: podium::config::settings::ScheduleSettings {
            missed: podium::config::settings::MissedRuns::Skip,
            v1_api: false,
            usage_days: 1,
        },
        disk_reserve: 0,
        webhooks: podium::config::settings::WebhookSettings::default(),
        code_source: CodeSource::PuppetServer(service("puppet.example.test", 8140)),
        puppetdb: Some(service(PUPPETDB, 8081)),
        classifier: None,
        database: None,
    }
}

fn message(message_type: &str, sender: Option<&str>, data: &Value) -> Bytes {
    let message_type = format!("http://puppetlabs.com/{message_type}");
    let id = uuid::Uuid::new_v4().to_string();
    let (target, in_reply_to, data) = (None, None, Some(data));
    Outgoing { id: &id, message_type: &message_type, target, sender, in_reply_to, data }.encode().into()
}

/// The transaction in the report that the agent has left.
fn last_transaction(dir: &Path) -> Option<String> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = last_transaction(&path) {
                return Some(found);
            }
        } else if entry.file_name() == "last_run_report.yaml" {
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("transaction_uuid:"))?;
            return Some(line.trim().trim_matches(['"', '\'']).to_owned());
        }
    }
    None
}

/// A broker with one agent, which has the real Puppet run.
fn play(stack: &Stack, requests: &Receiver<Bytes>, answers: &Sender<Bytes>) {
    let agent = format!("pcp://{NODE}/agent");
    while let Ok(request) = requests.recv_timeout(PATIENCE) {
        let envelope = Envelope::decode(&request).unwrap();
        if envelope.message_type.ends_with("/inventory_request") {
            drop(answers.send(message("inventory_response", None, &json!({"uris": [agent]}))));
            continue;
        }
        let data: Value = envelope.data_as().unwrap();
        let code = stack.run(&["agent", NODE, "--job-id", data["params"]["job"].as_str().unwrap()]);
        let uuid = last_transaction(&stack.directory.join("agents").join(NODE)).expect("the agent has left a report");
        let status = if code == Some(0) { "unchanged" } else { "changed" };
        let results = json!({"transaction_uuid": uuid, "environment": "production", "status": status,
                             "metrics": {"total": 1}, "exitcode": 0, "version": 1});
        let outcome = json!({"transaction_id": data["transaction_id"], "results": results});
        drop(answers.send(message("rpc_non_blocking_response", Some(&agent), &outcome)));
        return;
    }
}

#[test]
fn a_run_of_a_job_is_found_in_puppetdb_with_its_report() {
    let Some(stack) = Stack::find() else { return };
    let ((to_broker, requests), (answers, from_broker)) = (unbounded(), unbounded());
    let tls = Arc::new(ArcSwap::new(stack.material().client_config().unwrap()));
    let identity = Identity { name: SERVER.into(), tls };
    let broker_uri = "pcp://broker.example.test/server".to_owned();
    let link = BrokerLink { broker_uri, to_broker: Box::new(ToTest(to_broker)), from_broker };
    let orchestrator = Orchestrator::start(&settings(stack.own.path()), &identity, vec![link]).unwrap();
    let graph = orchestrator.graph("production").unwrap();
    assert!(graph.instances.is_empty(), "this Puppet Server has no environment graph: {graph:?}");
    thread::scope(|scope| {
        scope.spawn(|| play(&stack, &requests, &answers));
        let subject = Subject { login: "ada".into(), is_superuser: true, ..Subject::default() };
        let terms = Terms::new("production", Scope::Nodes(vec![NODE.into()]));
        let options = DeployOptions { enforce_environment: true, ..DeployOptions::default() };
        let id = orchestrator.run_puppet(&subject, DeployCommand { options, terms }).unwrap();
        stack.wait("the end of the job", || orchestrator.job(id).unwrap().state == JobState::Finished);
        let query = NodeQuery {
            limit: None,
            offset: 0,
            order_by: NodeOrder::Name,
            descending: false,
            state: None,
            with_results: true,
        };
        let node = || orchestrator.nodes(id, &query).unwrap().items.remove(0);
        stack.wait("the report", || node().details.contains_key("hash"));
        let (details, result) = (node().details, node().result.unwrap());
        println!("{details:?}\n{result}");
        assert_eq!((details["hash"].as_str().unwrap().len(), &details["hash"]), (40, &result["hash"]));
        let url = details["report-url"].as_str().unwrap();
        assert!(url.starts_with("https://puppetdb.example.test:8081/pdb/query/v4/reports?query="), "{url}");
        assert!(result["configuration_version"].is_string(), "{result}");
    });
    orchestrator.stop();
}
