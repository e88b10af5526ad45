//! The broker as part of a process: certificates, broker core and reactor together, in `podium server` and in
//! `podium broker`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::certificates::Tls;
use crate::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use crate::broker::controllers::Controller;
use crate::broker::core::{BrokerCore, BrokerMail};
use crate::broker::mounts::Mounts;
use crate::broker::sweep::Review;
use crate::broker::{Access, Broker, Observer, Outcome};
use crate::config::Problem;
use crate::config::settings::{BrokerSettings, CertificatePaths, ControllerSettings};
use crate::limits;
use crate::observe::metrics::{Metrics, count};
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
        let metrics = Arc::new(Metrics::new());
        let workers = workers(settings.workers);
        let policy = Policy::new(settings.privileged_clients.iter().map(String::as_str));
        let counts = Arc::new(Counts { metrics: metrics.clone() });
        let broker = Broker::new(workers, Mounts::default(), policy, counts);
        for controller in controllers {
            broker.controllers.link(controller);
        }
        let reactor = start_reactor(settings, workers, tls, listen, &broker, &metrics)?;
        Ok(Self { broker, metrics, reactor })
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

/// The message types that controllers may send.
pub(super) fn allowlist(settings: &ControllerSettings) -> Vec<Box<str>> {
    match &settings.allowlist {
        Some(types) => types.iter().map(|text| text.as_str().into()).collect(),
        None => CONTROLLER_ALLOWLIST.map(Box::from).to_vec(),
    }
}

/// What `--check` does once the settings are known to be right.
pub(super) fn check_certificates(paths: &CertificatePaths, warnings: &[Problem]) -> ExitCode {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    match Tls::load(paths) {
        Ok(tls) => {
            for warning in tls.warnings() {
                eprintln!("warning: {warning}");
            }
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
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
    listen: Listen,
    broker: &Arc<Broker>,
    metrics: &Arc<Metrics>,
) -> Result<Reactor<BrokerMail>, String> {
    let connections_max = match settings.connections_max {
        0 => limits::CONNECTIONS_MAX,
        most => most,
    };
    let options = Options {
        listen: Some(listen),
        server_tls: Some(tls.broker.clone()),
        client_tls: Some(tls.client.clone()),
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
}
