//! `podium server`: puts broker, orchestrator and API together in one process. The orchestrator's link to the broker is
//! a pair of bounded queues here; to a broker elsewhere it would be a websocket, and it could not tell.

mod local_link;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde_json::{Map, Value, json};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::service::{self, Failure};
use crate::api::{self, Service, ServiceHealth, ServiceState};
use crate::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use crate::broker::controllers::Controller;
use crate::broker::core::{BrokerCore, BrokerMail};
use crate::broker::{Broker, Observer, Outcome};
use crate::config::settings::{BrokerSettings, CertificatePaths, ServerSettings};
use crate::config::{Loaded, load_server};
use crate::limits;
use crate::observe::metrics::{Metrics, count};
use crate::orchestrator::inventory::LinkedBroker;
use crate::orchestrator::{BrokerLink, Orchestrator};
use crate::random;
use crate::reactor::{ConnectionLimits, Options, Reactor};
use crate::tls::identity::peer_name;
use crate::tls::material::{ClientAuth, Material};
use local_link::{ToBroker, to_orchestrator};

/// Time for connections and requests under way when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Fewest workers: with one there would be no way between workers, and a path that tests use must be the one that runs.
const WORKERS_MIN: usize = 2;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory with the configuration files
    #[arg(long, default_value = "/etc/puppetlabs/podium")]
    config: PathBuf,
    /// Check the configuration and the files it names, and exit
    #[arg(long)]
    check: bool,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let loaded = load_server(&arguments.config);
    match loaded {
        Ok(Loaded { settings, warnings }) if arguments.check => check(&settings, &warnings),
        loaded => service::run("server", loaded, |settings| &settings.log, serve),
    }
}

/// Runs until a signal says stop.
fn serve(settings: &ServerSettings, signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates).map_err(Failure::Configuration)?;
    Appliance::start(settings, tls).map_err(Failure::Work)?.serve(signals);
    Ok(())
}

fn check(settings: &ServerSettings, warnings: &[crate::config::Problem]) -> ExitCode {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    match Tls::load(&settings.certificates) {
        Ok(_) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// The TLS configurations of both listeners, and who we are.
struct Tls {
    paths: CertificatePaths,
    name: String,
    broker: Arc<ArcSwap<ServerConfig>>,
    api: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    fn load(paths: &CertificatePaths) -> Result<Self, String> {
        let material = Material::load(paths).map_err(|error| error.to_string())?;
        let (broker, api) = configurations(&material)?;
        let name = peer_name(material.certificate())
            .map_err(|error| format!("{}: {}", paths.certificate.display(), error.label()))?
            .common_name
            .into();
        let swap = |config| Arc::new(ArcSwap::new(config));
        Ok(Self { paths: paths.clone(), name, broker: swap(broker), api: swap(api) })
    }

    /// Reads the files again for new connections; what is wrong with them leaves everything as it was.
    fn reload(&self) -> Result<(), String> {
        let material = Material::load(&self.paths).map_err(|error| error.to_string())?;
        let (broker, api) = configurations(&material)?;
        self.broker.store(broker);
        self.api.store(api);
        Ok(())
    }
}

fn configurations(material: &Material) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), String> {
    let config = |client_auth| material.server_config(client_auth).map_err(|error| error.to_string());
    Ok((config(ClientAuth::Required)?, config(ClientAuth::Optional)?))
}

/// Everything that runs.
struct Appliance {
    tls: Tls,
    broker: Arc<Broker>,
    reactor: Reactor<BrokerMail>,
    orchestrator: Orchestrator,
    api: api::Server,
}

impl Appliance {
    fn start(settings: &ServerSettings, tls: Tls) -> Result<Self, String> {
        if let Some(own) = settings.orchestrator.brokers.iter().find(|name| name.eq_ignore_ascii_case(&tls.name)) {
            return Err(format!(
                "orchestrator.brokers: {own} is this server itself, whose broker needs no link; remove it"
            ));
        }
        let metrics = Arc::new(Metrics::new());
        let workers = workers(settings.broker.workers);
        let policy = Policy::new(settings.broker.privileged_clients.iter().map(String::as_str));
        let broker = Broker::new(workers, policy, Arc::new(Counts { metrics: metrics.clone() }));
        let (port, from_broker) = to_orchestrator();
        let uri = format!("pcp://{}/orchestrator", tls.name);
        let controller = broker.controllers.link(Controller {
            uri: uri.as_str().into(),
            port: Box::new(port),
            allowlist: CONTROLLER_ALLOWLIST.map(Box::from).to_vec(),
        });
        let reactor = start_reactor(&settings.broker, workers, &tls, &broker, &metrics)?;
        let link = BrokerLink {
            broker_uri: format!("pcp://{}/server", tls.name),
            to_broker: Box::new(ToBroker::new(reactor.mailboxes(), controller)),
            from_broker,
        };
        let orchestrator = Orchestrator::start(&settings.orchestrator, vec![link])
            .map_err(|refusal| format!("the orchestrator cannot start: {}", refusal.message))?;
        let api = start_api(settings, &tls, &broker, &orchestrator, metrics)?;
        Ok(Self { tls, broker, reactor, orchestrator, api })
    }

    /// Runs until a signal says stop.
    fn serve(self, mut signals: Signals) {
        info!(name = self.tls.name, "the server is up");
        for signal in signals.forever() {
            if signal != SIGHUP {
                info!(signal, "stopping");
                break;
            }
            match self.tls.reload() {
                Ok(()) => info!("certificates, CAs and CRLs were read again"),
                Err(message) => error!("certificates stay as they were: {message}"),
            }
        }
        // Clients first, so that nothing new is acknowledged; the orchestrator last, so that what agents still say is kept.
        self.broker.begin_stop();
        self.api.stop(STOP_GRACE);
        self.reactor.stop(STOP_GRACE);
        self.orchestrator.stop();
        info!("stopped");
    }
}

fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(WORKERS_MIN, |cores| cores.get().max(WORKERS_MIN)),
        workers => workers,
    }
}

fn start_reactor(
    settings: &BrokerSettings,
    workers: usize,
    tls: &Tls,
    broker: &Arc<Broker>,
    metrics: &Arc<Metrics>,
) -> Result<Reactor<BrokerMail>, String> {
    let connections_max = match settings.connections_max {
        0 => limits::CONNECTIONS_MAX,
        most => most,
    };
    let options = Options {
        listen: Some(settings.listen),
        server_tls: Some(tls.broker.clone()),
        workers,
        limits: ConnectionLimits {
            connections_max,
            message_bytes_max: settings.message_bytes_max,
            idle_timeout: settings.idle_timeout,
            ..ConnectionLimits::default()
        },
        metrics: metrics.clone(),
        ..Options::default()
    };
    raise_descriptor_limit(connections_max);
    let broker = broker.clone();
    let reactor = Reactor::start(options, move |_, _| BrokerCore::new(broker.clone(), random::seed()))
        .map_err(|error| format!("the broker: {error}"))?;
    info!(
        address = %reactor.local_addr().unwrap_or(settings.listen),
        workers,
        connections_max,
        message_bytes_max = settings.message_bytes_max,
        out_queue_bytes_max = limits::OUT_QUEUE_BYTES_MAX,
        handshakes_in_flight_max = limits::HANDSHAKES_IN_FLIGHT_MAX * workers,
        "the broker listens"
    );
    Ok(reactor)
}

/// Takes all the file descriptors that the system allows. Connections that nobody has verified yet need some, too, and
/// must not use up those of the API and the store.
fn raise_descriptor_limit(connections_max: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let wanted = (connections_max + limits::DESCRIPTORS_BESIDE_CONNECTIONS) as u64;
    if limit.is_some_and(|limit| limit < wanted) {
        warn!(limit, wanted, "too few file descriptors for that many connections; raise LimitNOFILE");
    }
}

fn start_api(
    settings: &ServerSettings,
    tls: &Tls,
    broker: &Arc<Broker>,
    orchestrator: &Orchestrator,
    metrics: Arc<Metrics>,
) -> Result<api::Server, String> {
    let probed = broker.clone();
    let broker_service = Service {
        name: "broker-service",
        probe: Arc::new(move || {
            let state = if probed.is_stopping() { ServiceState::Stopping } else { ServiceState::Running };
            let mut details = Map::new();
            details.insert("connections".to_owned(), json!(probed.directory.len()));
            ServiceHealth { state, details }
        }),
    };
    let probed = orchestrator.clone();
    let orchestrator_service = Service {
        name: "orchestrator-service",
        probe: Arc::new(move || ServiceHealth {
            state: if probed.is_dispatching() { ServiceState::Running } else { ServiceState::Error },
            details: Map::from_iter([("brokers".to_owned(), probed.brokers().iter().map(broker_details).collect())]),
        }),
    };
    let setup = api::Setup {
        listen: settings.api_listen,
        tls: tls.api.clone(),
        backend: Arc::new(orchestrator.clone()),
        public_url: format!("https://{}:{}", tls.name, settings.api_listen.port()),
        services: vec![orchestrator_service, broker_service],
        counts: metrics.clone(),
        metrics: Arc::new(move || metrics.render()),
        brokers: settings.orchestrator.brokers.clone(),
    };
    api::Server::start(&setup).map_err(|error| format!("{}: the API cannot listen: {error}", settings.api_listen))
}

fn broker_details(broker: &LinkedBroker) -> Value {
    json!({"broker": *broker.uri, "since": broker.since.to_millis_string(), "connections": broker.nodes})
}

/// Counts what the broker core reports.
struct Counts {
    metrics: Arc<Metrics>,
}

impl Observer for Counts {
    fn outcome(&self, outcome: Outcome) {
        match outcome {
            Outcome::Authorized => {
                self.metrics.messages_routed.inc();
            }
            Outcome::Undecodable(label) => count(&self.metrics.decode_errors, label),
            Outcome::NotConnected | Outcome::Overloaded => count(&self.metrics.undeliverable, outcome.label()),
            Outcome::NotAuthenticated | Outcome::NotAuthorized | Outcome::Multicast | Outcome::Unhandled => {
                count(&self.metrics.messages_refused, outcome.label());
            }
        }
    }

    fn superseded(&self) {
        self.metrics.superseded.inc();
    }
}
