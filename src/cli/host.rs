//! The broker as part of a process: certificates, broker core and reactor together, in `podium server` and in
//! `podium broker`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use tracing::{error, info, warn};

use super::watch::Watch;
use crate::broker::Broker;
use crate::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use crate::broker::controllers::Controller;
use crate::broker::core::{BrokerCore, BrokerMail};
use crate::broker::links::{self, Expected, LinkSettings};
use crate::broker::mounts::Mounts;
use crate::config::settings::{
    BrokerSettings, CertificatePaths, ClientAuth as Wanted, ControllerSettings, ControllerUri, LogSettings,
    MountSettings,
};
use crate::config::{Loaded, Problem, Problems};
use crate::limits;
use crate::observe::metrics::Metrics;
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
    /// What operators see of it.
    pub(super) watch: Watch,
    reactor: Reactor<BrokerMail>,
}

impl BrokerHost {
    /// Starts the workers; the controllers are known from the first connection on.
    pub(super) fn start(
        settings: &BrokerSettings,
        tls: &Tls,
        controllers: Vec<Arc<Controller>>,
    ) -> Result<Self, String> {
        let workers = workers(settings.workers);
        let watch = Watch::start(settings, workers)?;
        let policy = Policy::from_access(&settings.access);
        let broker = Broker::new(workers, mounts(&settings.mounts), policy, watch.observer());
        for controller in controllers {
            broker.controllers.link(controller);
        }
        let reactor = start_reactor(settings, workers, tls, &broker, &watch)?;
        if reactor.mailboxes().send(links::WORKER, BrokerMail::DialControllers).is_err() {
            return Err("the broker: a worker has ended right after its start; see the log".to_owned());
        }
        Ok(Self { broker, metrics: watch.metrics.clone(), watch, reactor })
    }

    /// Takes from the configuration what can change while the process runs: who may send what, the level of the log and
    /// the access logs. Anything wrong with the files leaves everything as it was.
    pub(super) fn reload<T>(
        &self,
        loaded: Result<Loaded<T>, Problems>,
        parts: impl FnOnce(&T) -> (&LogSettings, &BrokerSettings),
    ) {
        match &loaded {
            Ok(Loaded { settings, warnings }) => {
                for warning in warnings {
                    warn!("{warning}");
                }
                let (log, settings) = parts(settings);
                let policy = Policy::from_access(&settings.access).after(&self.broker.policy.load());
                self.broker.policy.store(Arc::new(policy));
                info!("who may send what was read again");
                self.watch.reload(log, settings);
            }
            Err(problems) => {
                self.watch.reopen();
                for problem in &problems.0 {
                    error!("the configuration stays as it was: {problem}");
                }
            }
        }
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

fn mounts(settings: &MountSettings) -> Mounts {
    let path = |path: &Option<String>| path.as_deref().map(Box::from);
    Mounts { v1: path(&settings.v1), v2: path(&settings.v2) }
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
    match Tls::load(paths, Wanted::Need) {
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
    wanted: Wanted,
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
    pub(super) fn load(paths: &CertificatePaths, wanted: Wanted) -> Result<Self, String> {
        let material = Material::load(paths).map_err(|error| error.to_string())?;
        let Configurations { broker, links, api } = configurations(&material, wanted)?;
        let name = peer_name(material.certificate())
            .map_err(|error| format!("{}: {}", paths.certificate.display(), error.label()))?
            .common_name
            .into();
        let swap = |config| Arc::new(ArcSwap::new(config));
        let links = Arc::new(ArcSwap::new(links));
        Ok(Self { paths: paths.clone(), wanted, name, broker: swap(broker), links, api: swap(api) })
    }

    /// Reads the files again for new connections; what is wrong with them leaves everything as it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        let material = Material::load(&self.paths).map_err(|error| error.to_string())?;
        let Configurations { broker, links, api } = configurations(&material, self.wanted)?;
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

fn configurations(material: &Material, wanted: Wanted) -> Result<Configurations, String> {
    let config = |client_auth| material.server_config(client_auth).map_err(|error| error.to_string());
    let broker = match wanted {
        Wanted::Need => ClientAuth::Required,
        Wanted::Want => ClientAuth::Optional,
    };
    Ok(Configurations {
        broker: config(broker)?,
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
    watch: &Watch,
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
        ..Options::default()
    };
    let options = watch.options(broker, options);
    raise_descriptor_limit(connections_max);
    let broker = broker.clone();
    let build = move |worker, _: &Mailboxes<BrokerMail>| {
        let core = BrokerCore::new(broker.clone(), random::seed()).on_worker(worker);
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
