//! The broker as part of a process: certificates, broker core and reactor together, in `podium server` and in
//! `podium broker`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use tracing::{info, warn};

use crate::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use crate::broker::controllers::Controller;
use crate::broker::core::{BrokerCore, BrokerMail};
use crate::broker::links::{self, Expected, LinkSettings};
use crate::broker::mounts::Mounts;
use crate::broker::{Access, Broker, Observer, Outcome};
use crate::config::Problem;
use crate::config::settings::{BrokerSettings, CertificatePaths, ControllerSettings, ControllerUri};
use crate::limits;
use crate::observe::metrics::{Metrics, count};
use crate::random;
use crate::reactor::{ConnectionLimits, Mailboxes, Options, Reactor};
use crate::tls::identity::peer_name;
use crate::tls::material::{ClientAuth, Material};

/// Fewest workers: with one there would be no way between workers, and a path that tests use must be the one that runs.
const WORKERS_MIN: usize = 2;

/// A running broker.
pub(super) struct BrokerHost {
    /// What its workers share.
    pub(super) broker: Arc<Broker>,
    /// What everything in the process counts in.
    pub(super) metrics: Arc<Metrics>,
    reactor: Reactor<BrokerMail>,
}

impl BrokerHost {
    /// Starts the workers; the controllers are known from the first connection on.
    pub(super) fn start(
        settings: &BrokerSettings,
        tls: &Tls,
        controllers: Vec<Arc<Controller>>,
    ) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::new());
        let workers = workers(settings.workers);
        let policy = Policy::new(settings.privileged_clients.iter().map(String::as_str));
        let counts = Arc::new(Counts { metrics: metrics.clone() });
        let broker = Broker::new(workers, Mounts::default(), policy, counts);
        for controller in controllers {
            broker.controllers.link(controller);
        }
        let reactor = start_reactor(settings, workers, tls, &broker, &metrics)?;
        if reactor.mailboxes().send(links::WORKER, BrokerMail::DialControllers).is_err() {
            return Err("the broker: a worker has ended right after its start; see the log".to_owned());
        }
        Ok(Self { broker, metrics, reactor })
    }

    /// How to reach the workers.
    pub(super) fn mailboxes(&self) -> Mailboxes<BrokerMail> {
        self.reactor.mailboxes()
    }

    /// Says goodbye to the clients and ends the workers.
    pub(super) fn stop(self, grace: Duration) {
        self.reactor.stop(grace);
    }
}

/// The message types that controllers may send.
pub(super) fn allowlist(settings: &ControllerSettings) -> Vec<Box<str>> {
    match &settings.allowlist {
        Some(types) => types.iter().map(|text| text.as_str().into()).collect(),
        None => CONTROLLER_ALLOWLIST.map(Box::from).to_vec(),
    }
}

/// What the broker needs to know of the controllers that it dials.
fn link_settings(settings: &ControllerSettings) -> LinkSettings {
    let expected = |uri: &ControllerUri| Expected {
        uri: format!("pcp://{}/server", uri.authority).into(),
        address: uri.address.clone(),
    };
    LinkSettings {
        expected: settings.uris.iter().map(expected).collect(),
        allowlist: allowlist(settings),
        grace_period: settings.grace_period,
    }
}

/// What `--check` does once the settings are known to be right.
pub(super) fn check_certificates(paths: &CertificatePaths, warnings: &[Problem]) -> ExitCode {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    match Tls::load(paths) {
        Ok(_) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// The TLS configurations of all listeners, and who we are.
pub(super) struct Tls {
    paths: CertificatePaths,
    /// The name in our certificate.
    pub(super) name: String,
    broker: Arc<ArcSwap<ServerConfig>>,
    /// For links to controllers.
    links: Arc<ArcSwap<ClientConfig>>,
    /// For the API.
    pub(super) api: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn load(paths: &CertificatePaths) -> Result<Self, String> {
        let material = Material::load(paths).map_err(|error| error.to_string())?;
        let Configurations { broker, links, api } = configurations(&material)?;
        let name = peer_name(material.certificate())
            .map_err(|error| format!("{}: {}", paths.certificate.display(), error.label()))?
            .common_name
            .into();
        let swap = |config| Arc::new(ArcSwap::new(config));
        let links = Arc::new(ArcSwap::new(links));
        Ok(Self { paths: paths.clone(), name, broker: swap(broker), links, api: swap(api) })
    }

    /// Reads the files again for new connections; what is wrong with them leaves everything as it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        let material = Material::load(&self.paths).map_err(|error| error.to_string())?;
        let Configurations { broker, links, api } = configurations(&material)?;
        self.broker.store(broker);
        self.links.store(links);
        self.api.store(api);
        Ok(())
    }
}

/// What the same files are good for.
struct Configurations {
    broker: Arc<ServerConfig>,
    links: Arc<ClientConfig>,
    api: Arc<ServerConfig>,
}

fn configurations(material: &Material) -> Result<Configurations, String> {
    let config = |client_auth| material.server_config(client_auth).map_err(|error| error.to_string());
    Ok(Configurations {
        broker: config(ClientAuth::Required)?,
        links: material.client_config().map_err(|error| error.to_string())?,
        api: config(ClientAuth::Optional)?,
    })
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
        client_tls: Some(tls.links.clone()),
        workers,
        limits: ConnectionLimits {
            connections_max,
            message_bytes_max: settings.message_bytes_max,
            idle_timeout: settings.idle_timeout,
            dialled_queue_bytes_max: limits::CONTROLLER_QUEUE_BYTES_MAX,
            ..ConnectionLimits::default()
        },
        ping_interval: Some(limits::CONTROLLER_PING_INTERVAL),
        metrics: metrics.clone(),
        ..Options::default()
    };
    raise_descriptor_limit(connections_max);
    let broker = broker.clone();
    let build = move |worker, _: &Mailboxes<BrokerMail>| {
        let core = BrokerCore::new(broker.clone(), random::seed());
        if worker == links::WORKER { core.with_links(link_settings(&settings.controllers)) } else { core }
    };
    let reactor = Reactor::start(options, build).map_err(|error| format!("the broker: {error}"))?;
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

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {
        self.metrics.superseded.inc();
    }

    fn controllers_linked(&self, linked: usize) {
        self.metrics.controllers_linked.set(i64::try_from(linked).unwrap_or(i64::MAX));
    }
}
