//! The broker as part of a process: certificates, broker core and reactor together, in `podium server` and in
//! `podium broker`.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{error, info, warn};

use super::certificates::Tls;
use super::watch::{Watch, bounds};
use crate::broker::Broker;
use crate::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use crate::broker::controllers::Controller;
use crate::broker::core::{BrokerCore, BrokerMail};
use crate::broker::links::{self, Expected, LinkSettings};
use crate::broker::mounts::Mounts;
use crate::broker::sweep::Review;
use crate::config::settings::{BrokerSettings, ControllerSettings, ControllerUri, LogSettings, MountSettings};
use crate::config::{Loaded, Problems};
use crate::limits;
use crate::observe::metrics::Metrics;
use crate::random;
use crate::reactor::{ConnectionLimits, Listen, Mailboxes, Options, Pulse, Reactor};

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
        listen: Listen,
        controllers: Vec<Arc<Controller>>,
    ) -> Result<Self, String> {
        let workers = workers(settings.workers);
        let watch = Watch::start(settings, workers)?;
        let policy = Policy::from_access(&settings.access);
        let broker = Broker::new(workers, mounts(&settings.mounts), policy, watch.observer());
        for controller in controllers {
            broker.controllers.link(controller);
        }
        let reactor = start_reactor(settings, workers, tls, listen, &broker, &watch)?;
        if reactor.mailboxes().send(links::WORKER, BrokerMail::DialControllers).is_err() {
            return Err("the broker: a worker has ended right after its start; see the log".to_owned());
        }
        Ok(Self { broker, metrics: watch.metrics.clone(), watch, reactor })
    }

    /// Takes from the configuration what can change while the process runs: who may send what, the level of the log and
    /// the access logs. What else has changed since the start, by `changed`, needs a restart, and the log says so. Anything
    /// wrong with the files leaves everything as it was. Says whether the policy is a new one.
    pub(super) fn reload<T>(
        &self,
        loaded: Result<Loaded<T>, Problems>,
        changed: impl FnOnce(&T) -> Vec<&'static str>,
        parts: impl FnOnce(&T) -> (&LogSettings, &BrokerSettings),
    ) -> bool {
        match &loaded {
            Ok(Loaded { settings, warnings }) => {
                for warning in warnings {
                    warn!("{warning}");
                }
                let changed = changed(settings);
                if !changed.is_empty() {
                    warn!("needs a restart: {}", changed.join(", "));
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
        loaded.is_ok()
    }

    /// How to reach the workers.
    pub(super) fn mailboxes(&self) -> Mailboxes<BrokerMail> {
        self.reactor.mailboxes()
    }

    /// Whether the workers do their work.
    pub(super) fn pulse(&self) -> Pulse {
        self.reactor.pulse()
    }

    /// Has a worker look at its sessions again; false if its mailbox is full.
    pub(super) fn review(&self, worker: u16, review: Arc<Review>) -> bool {
        self.reactor.mailboxes().send(worker, BrokerMail::Review(review)).is_ok()
    }

    /// Nobody comes any more; those that are there stay for now.
    pub(super) fn shut(&self) {
        self.broker.begin_stop();
        self.reactor.shut();
    }

    /// Says goodbye to the clients and ends the workers, after `timeout` at the latest.
    pub(super) fn stop(self, timeout: Duration) {
        // The last to be sent away need some time to answer.
        self.broker.begin_drain(timeout * 3 / 4);
        self.reactor.stop(timeout);
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

/// How many workers there are.
pub(super) fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(WORKERS_MIN, |cores| cores.get().max(WORKERS_MIN)),
        workers => workers,
    }
}

/// The limits that hold with these settings.
pub(super) fn connection_limits(settings: &BrokerSettings) -> ConnectionLimits {
    ConnectionLimits {
        connections_max: match settings.connections_max {
            0 => limits::CONNECTIONS_MAX,
            most => most,
        },
        message_bytes_max: settings.message_bytes_max,
        idle_timeout: settings.idle_timeout,
        dialled_queue_bytes_max: limits::CONTROLLER_QUEUE_BYTES_MAX,
        ..ConnectionLimits::default()
    }
}

fn start_reactor(
    settings: &BrokerSettings,
    workers: usize,
    tls: &Tls,
    listen: Listen,
    broker: &Arc<Broker>,
    watch: &Watch,
) -> Result<Reactor<BrokerMail>, String> {
    let mut limits = connection_limits(settings);
    limits.descriptors_max = raise_descriptor_limit(limits.connections_max);
    let options = Options {
        listen: Some(listen),
        server_tls: Some(tls.broker.clone()),
        client_tls: Some(tls.client.clone()),
        workers,
        limits,
        ping_interval: Some(limits::CONTROLLER_PING_INTERVAL),
        ..Options::default()
    };
    let options = watch.options(broker, &settings.mounts, options);
    forbid_core_dumps();
    let broker = broker.clone();
    let build = move |worker, _: &Mailboxes<BrokerMail>| {
        let core = BrokerCore::new(broker.clone(), random::seed()).on_worker(worker);
        if worker == links::WORKER { core.with_links(link_settings(&settings.controllers)) } else { core }
    };
    let reactor = Reactor::start(options, build).map_err(|error| format!("the broker: {error}"))?;
    let bounds = bounds(workers, &limits);
    let bounds: Vec<String> = bounds.iter().map(|(name, value)| format!("{name}={value}")).collect();
    info!(address = %reactor.local_addr().unwrap_or(settings.listen), "the broker listens");
    info!("its limits: {}", bounds.join(" "));
    Ok(reactor)
}

/// Takes all the file descriptors that the system allows. Connections that nobody has verified yet need some, too, and
/// must not use up those of the API and the store: how many there are for connections.
fn raise_descriptor_limit(connections_max: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let wanted = (connections_max + limits::DESCRIPTORS_BESIDE_CONNECTIONS) as u64;
    if limit.is_some_and(|limit| limit < wanted) {
        warn!(limit, wanted, "too few file descriptors for that many connections; raise LimitNOFILE");
    }
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(usize::MAX, |limit| limit.saturating_sub(limits::DESCRIPTORS_BESIDE_CONNECTIONS))
}

/// The keys of all connections are in memory and must not be written to a disk. The kernel gives no core to a collector,
/// systemd's for instance, only where the limit is 1; for a core in a file that is too little, too.
fn forbid_core_dumps() {
    let limit = Some(1);
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: limit, maximum: limit }) {
        warn!(%error, "a crash may leave a core with keys of TLS on the disk");
    }
}

/// How many file descriptors the process may have; `None` is as many as it likes.
pub(super) fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}
