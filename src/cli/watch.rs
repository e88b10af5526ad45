//! What `podium server` and `podium broker` let operators see of their broker: counts and access logs as messages pass,
//! the service behind the status pages, the limits that hold, and how all of it is set anew while the process runs.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::{error, info};

use crate::broker::state::BrokerState;
use crate::broker::{Access, AccessEnvelope, Broker, Observer, Outcome};
use crate::clock::Clock;
use crate::config::settings::{BrokerSettings, LogLevel, LogSettings, MountSettings};
use crate::limits;
use crate::observe::access_log::{AccessLog, AccessLogs, MessageEntry, Verdict};
use crate::observe::log;
use crate::observe::metrics::{Metrics, count};
use crate::observe::status::{Level, Service, ServiceHealth, ServiceState, StatusPages};
use crate::reactor::{ConnectionLimits, Options};

/// Everything that watches one broker.
pub(super) struct Watch {
    /// What everything in the process counts in.
    pub(super) metrics: Arc<Metrics>,
    logs: AccessLogs,
    /// That of the workers, and the beginning of the uptime.
    clock: Clock,
}

impl Watch {
    /// Opens the access logs and starts the thread that writes them.
    pub(super) fn start(settings: &BrokerSettings, workers: usize) -> Result<Self, String> {
        let (metrics, clock) = (Arc::new(Metrics::new()), Clock::start());
        metrics.process.look();
        let logs = AccessLogs::start(workers, clock, metrics.clone())
            .map_err(|error| format!("no thread for the access logs: {error}; raise the limit of processes"))?;
        let watch = Self { metrics, logs, clock };
        watch.configure(settings)?;
        Ok(watch)
    }

    fn configure(&self, settings: &BrokerSettings) -> Result<(), String> {
        let Watch { logs, .. } = self;
        let configured = logs
            .messages
            .configure(&settings.message_log)
            .and_then(|()| logs.requests.configure(&settings.request_log))
            .map_err(|error| error.to_string());
        self.reopen();
        configured
    }

    /// What the broker core reports to.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Counts { metrics: self.metrics.clone(), log: self.logs.messages.clone() })
    }

    /// The reactor's part of it, on top of its other options.
    pub(super) fn options(&self, broker: &Arc<Broker>, mounts: &MountSettings, options: Options) -> Options {
        self.metrics.set_limits(&bounds(options.workers, &options.limits));
        let metrics = self.metrics.clone();
        let pages = StatusPages {
            status_path: mounts.status.clone(),
            metrics_path: mounts.metrics.clone(),
            services: vec![self.service(broker)],
            metrics: Arc::new(move || metrics.render()),
        };
        Options {
            clock: self.clock,
            metrics: self.metrics.clone(),
            pages: Some(Arc::new(pages)),
            request_log: Some(self.logs.requests.clone()),
            ..options
        }
    }

    /// The broker as the status endpoints know it.
    pub(super) fn service(&self, broker: &Arc<Broker>) -> Service {
        let (broker, metrics, clock) = (broker.clone(), self.metrics.clone(), self.clock);
        let probe = move |level| {
            let details = details(&broker, &metrics, clock, level);
            ServiceHealth { state: state(&broker), details, alerts: Vec::new() }
        };
        Service { name: "broker-service", probe: Arc::new(probe) }
    }

    /// Sets log level and access logs as the configuration says now, and opens their files again.
    pub(super) fn reload(&self, log: &LogSettings, broker: &BrokerSettings) {
        if let Err(message) = self.configure(broker) {
            return error!("the settings of the logs stay as they were: {message}");
        }
        let say = || info!(level = ?log.level, "log level and access logs were read again");
        // While, or as soon as, there is a level at which it is written.
        if log.level < LogLevel::Info {
            say();
            log::change(log.level);
        } else {
            log::change(log.level);
            say();
        }
    }

    /// Opens the files of the access logs again.
    pub(super) fn reopen(&self) {
        self.logs.messages.reopen();
        self.logs.requests.reopen();
    }
}

/// How the broker is.
fn state(broker: &Broker) -> ServiceState {
    match broker.state() {
        BrokerState::Starting => ServiceState::Starting,
        BrokerState::Running => ServiceState::Running,
        BrokerState::Error => ServiceState::Error,
        BrokerState::Stopping => ServiceState::Stopping,
    }
}

fn details(broker: &Broker, metrics: &Metrics, clock: Clock, level: Level) -> Map<String, Value> {
    let mut details = Map::new();
    if level == Level::Critical {
        return details;
    }
    let process = &metrics.process;
    let timers: Map<_, _> =
        metrics.timers().map(|(name, timer)| (name.to_owned(), timer.render())).into_iter().collect();
    let mut add = |name: &str, value: Value| details.insert(name.to_owned(), value);
    add("metrics", Value::Object(timers));
    add("connections", json!(broker.directory.len()));
    add("connections_max", json!(metrics.limit("connections_max")));
    add("handshakes_in_flight", json!(metrics.handshakes_in_flight.get()));
    add("queued_bytes", json!(metrics.queued_bytes.get()));
    add("partial_bytes", json!(metrics.partial_bytes.get()));
    add("resident_bytes", json!(process.resident.get()));
    add("uptime_seconds", json!(clock.now().as_millis() / 1000));
    if level == Level::Debug {
        let heap = json!({"used": process.anonymous.get(), "committed": process.resident.get()});
        add(
            "memory",
            json!({"HeapMemoryUsage": heap, "Resident": process.resident.get(), "PeakResident": process.resident_peak.get()}),
        );
        add("threads", json!({"ThreadCount": process.threads.get()}));
        add("file_descriptors", json!({"open": process.descriptors.get(), "max": process.descriptors_max.get()}));
    }
    details
}

/// Every limit that bounds the broker, in its own unit.
pub(super) fn bounds(workers: usize, connection: &ConnectionLimits) -> Vec<(&'static str, usize)> {
    let ConnectionLimits {
        connections_max,
        // It is the system's, and the other end of what is left is `connections_max`.
        descriptors_max: _,
        message_bytes_max,
        idle_timeout,
        handshake_timeout,
        handshakes_in_flight_max,
        worker_queue_bytes_max,
        worker_partial_bytes_max,
        dialled_queue_bytes_max,
    } = *connection;
    // Two logs; of each a buffer per worker, and one that is being written.
    let access_log_bytes = 2 * (workers + 1) * limits::ACCESS_LOG_BUFFER_BYTES;
    vec![
        ("workers", workers),
        ("connections_max", connections_max),
        ("message_bytes_max", message_bytes_max),
        ("idle_timeout_seconds", idle_timeout.as_secs() as usize),
        ("handshake_timeout_seconds", handshake_timeout.as_secs() as usize),
        ("handshakes_in_flight_max", handshakes_in_flight_max * workers),
        ("accept_queue_max", limits::ACCEPT_QUEUE_MAX * workers),
        ("out_queue_bytes_max", limits::OUT_QUEUE_BYTES_MAX),
        ("controller_queue_bytes_max", dialled_queue_bytes_max),
        ("queued_bytes_max", worker_queue_bytes_max * workers),
        ("partial_bytes_max", worker_partial_bytes_max * workers),
        ("mailbox_mails_max", limits::MAILBOX_MAX * workers),
        ("mailbox_bytes_max", limits::MAILBOX_BYTES_MAX * workers),
        ("upgrade_bytes_max", limits::UPGRADE_BYTES_MAX),
        ("page_bytes_max", limits::PAGE_BYTES_MAX),
        ("access_log_bytes_max", access_log_bytes),
        ("inventory_log_max", limits::INVENTORY_LOG_MAX),
        ("subscriptions_max", limits::SUBSCRIPTIONS_MAX * workers),
    ]
}

/// Counts what the broker core reports, and writes the access log.
struct Counts {
    metrics: Arc<Metrics>,
    log: Arc<AccessLog>,
}

impl Observer for Counts {
    fn outcome(&self, outcome: Outcome) {
        match outcome {
            Outcome::Authorized => {
                self.metrics.messages_routed.inc();
            }
            Outcome::Undecodable(label) => count(&self.metrics.decode_errors, label),
            Outcome::NotConnected | Outcome::Overloaded | Outcome::TooLarge => {
                count(&self.metrics.undeliverable, outcome.label())
            }
            Outcome::NotAuthenticated
            | Outcome::NotAuthorized
            | Outcome::Multicast
            | Outcome::Unhandled
            | Outcome::AssociationRefused => {
                count(&self.metrics.messages_refused, outcome.label());
            }
        }
    }

    fn accessed(&self, worker: u16, outcome: Outcome, access: &Access<'_>) {
        let envelope = access.envelope.map(|AccessEnvelope { sender, message_type, id, target }| {
            // In the order of the line's fields.
            [sender, message_type, id, target]
        });
        let entry = MessageEntry {
            verdict: verdict(outcome),
            remote: access.remote,
            common_name: access.common_name,
            envelope,
        };
        self.log.message(worker, access.at, &entry);
    }

    fn superseded(&self) {
        self.metrics.superseded.inc();
    }

    fn controllers_linked(&self, linked: usize) {
        self.metrics.controllers_linked.set(i64::try_from(linked).unwrap_or(i64::MAX));
    }
}

/// The reference says whether a message was allowed, and not whether it arrived.
fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Authorized
        | Outcome::NotConnected
        | Outcome::Overloaded
        | Outcome::TooLarge
        | Outcome::Unhandled
        | Outcome::AssociationRefused => Verdict::Authorized,
        Outcome::Undecodable(_) => Verdict::Undecodable,
        Outcome::NotAuthenticated => Verdict::NotAuthenticated,
        Outcome::NotAuthorized => Verdict::NotAuthorized,
        Outcome::Multicast => Verdict::Multicast,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::authorize::Policy;
    use crate::broker::mounts::Mounts;
    use crate::config::authorization::ClientAccess;
    use crate::config::settings::{
        AccessFormat, AccessLevel, AccessLogSettings, ClientAuth, ControllerSettings, TlsSessions,
    };
    use crate::observe::pages::Visitor;
    use crate::observe::status::answer;

    fn settings(message_log: AccessLogSettings) -> BrokerSettings {
        let off = AccessLogSettings { level: AccessLevel::Off, file: None, format: AccessFormat::Text };
        BrokerSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            workers: 1,
            connections_max: 0,
            client_auth: ClientAuth::Need,
            tls_sessions: TlsSessions::default(),
            message_log,
            request_log: off,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            idle_timeout: limits::IDLE_TIMEOUT,
            access: ClientAccess::BuiltIn { privileged: Vec::new() },
            mounts: MountSettings::default(),
            controllers: ControllerSettings {
                uris: Vec::new(),
                allowlist: None,
                grace_period: limits::CONTROLLER_GRACE_PERIOD,
            },
            certificate_check_period: limits::CERTIFICATE_CHECK_PERIOD,
            expired_throttle: limits::EXPIRED_THROTTLE,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }

    fn watched(file: &std::path::Path) -> (Watch, Arc<Broker>) {
        let log =
            AccessLogSettings { level: AccessLevel::Info, file: Some(file.to_owned()), format: AccessFormat::Text };
        let watch = Watch::start(&settings(log), 1).unwrap();
        let broker = Broker::new(1, Mounts::default(), Policy::new([]), watch.observer());
        (watch, broker)
    }

    /// Numbers change from run to run; which there are does not.
    fn redact(value: &mut Value) {
        match value {
            Value::Number(number) => *value = json!(if number.is_f64() { "[float]" } else { "[integer]" }),
            Value::Object(object) => object.values_mut().for_each(redact),
            _ => {}
        }
    }

    #[test]
    fn the_status_is_what_monitoring_reads() {
        let dir = tempfile::tempdir().unwrap();
        let (watch, broker) = watched(&dir.path().join("log"));
        let options = watch.options(&broker, &MountSettings::default(), Options::new());
        assert_eq!(watch.metrics.limit("queued_bytes_max"), limits::WORKER_QUEUE_BYTES_MAX as i64);
        let services = [watch.service(&broker)];
        let page = answer(&services, "/status/v1/services/broker-service", "level=debug").unwrap();
        let mut status: Value = serde_json::from_str(&page.body).unwrap();
        status["service_version"] = json!("[version]");
        redact(&mut status);
        insta::assert_snapshot!("broker_service", format!("{status:#}"));
        broker.begin_stop();
        let page =
            options.pages.unwrap().page(crate::observe::pages::Visitor::Unknown, "/status/v1/simple", "").unwrap();
        assert_eq!((page.status, &*page.body), (503, "unknown"));
    }

    #[test]
    fn status_and_metrics_are_where_the_web_routes_say() {
        let dir = tempfile::tempdir().unwrap();
        let (watch, broker) = watched(&dir.path().join("log"));
        let mounts = MountSettings { status: "/s/t".to_owned(), metrics: "/m".to_owned(), ..MountSettings::default() };
        let pages = watch.options(&broker, &mounts, Options::new()).pages.unwrap();
        let status = |path| pages.page(Visitor::Known, path, "").map(|page| page.status);
        assert_eq!(["/s/t/v1/simple", "/m", "/s/t/v2", "/s/t"].map(status), [200, 200, 404, 404].map(Some));
        assert_eq!(["/status/v1/simple", "/metrics", "/s/tv1/simple", "/m/"].map(status), [None; 4]);
    }

    #[test]
    fn outcomes_have_the_words_of_the_reference() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        let (watch, broker) = watched(&file);
        let observer = watch.observer();
        let outcomes = [
            (Outcome::Authorized, "AUTHORIZATION_SUCCESS"),
            (Outcome::NotConnected, "AUTHORIZATION_SUCCESS"),
            (Outcome::Overloaded, "AUTHORIZATION_SUCCESS"),
            (Outcome::TooLarge, "AUTHORIZATION_SUCCESS"),
            (Outcome::Unhandled, "AUTHORIZATION_SUCCESS"),
            (Outcome::AssociationRefused, "AUTHORIZATION_SUCCESS"),
            (Outcome::NotAuthorized, "AUTHORIZATION_FAILURE"),
            (Outcome::NotAuthenticated, "AUTHENTICATION_FAILURE"),
            (Outcome::Multicast, "MULTICAST_UNSUPPORTED"),
            (Outcome::Undecodable("json"), "DESERIALIZATION_ERROR"),
        ];
        for (outcome, _) in outcomes {
            let access = Access { at: watch.clock.now(), remote: None, common_name: "web1", envelope: None };
            observer.accessed(0, outcome, &access);
        }
        drop((watch, broker, observer));
        let text = std::fs::read_to_string(&file).unwrap();
        let words: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(words, outcomes.map(|(_, word)| word));
    }

    #[test]
    fn a_file_that_cannot_be_written_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let log = AccessLogSettings {
            level: AccessLevel::Warn,
            file: Some(dir.path().to_owned()),
            format: AccessFormat::Text,
        };
        let error = Watch::start(&settings(log), 1).err().unwrap();
        assert!(error.contains("the log cannot be opened"), "{error}");
    }
}
