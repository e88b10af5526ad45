//! Every metric of the program: its name, its meaning, and how it is written for Prometheus (OpenMetrics text). Bumping
//! one is an atomic add; hot paths count in plain integers and add once per loop turn.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::timer::Timer;

/// The one label of the families: a word from a closed set of the program, never from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    /// What happened.
    pub label: &'static str,
}

/// The label of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

/// The label of what each worker measures for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabel {
    worker: u16,
}

/// Upper ends of the buckets of a turn of a worker's loop, in seconds: most take some 10 us, and what takes more than
/// 10 ms keeps everybody else waiting.
const TURN_SECONDS: [f64; 12] = [10e-6, 30e-6, 100e-6, 300e-6, 1e-3, 3e-3, 10e-3, 30e-3, 100e-3, 300e-3, 1.0, 3.0];

/// A counter per word.
pub type Labelled = Family<Label, Counter>;

/// The metrics of one process.
pub struct Metrics {
    /// Connections that are open for messages.
    pub connections_open: Gauge,
    /// TCP connections accepted.
    pub connections_accepted: Counter,
    /// Accepted connections in TLS handshake or upgrade.
    pub handshakes_in_flight: Gauge,
    /// Accepted connections that wait for a handshake slot.
    pub accept_queue: Gauge,
    /// Accepted connections that waited too long for one and were dropped.
    pub accept_queue_expired: Counter,
    /// Attempts to accept that failed, by cause.
    pub accept_errors: Labelled,
    /// Connections refused before they were open, by cause.
    pub refused: Labelled,
    /// Open connections that ended, by cause.
    pub closed: Labelled,
    /// Attempts to dial that failed, by kind.
    pub dial_failed: Labelled,
    /// Messages received.
    pub messages_in: Counter,
    /// Messages sent or queued.
    pub messages_out: Counter,
    /// Messages not sent because the queue of the connection or the worker was full.
    pub sends_full: Counter,
    /// Bytes read from sockets.
    pub bytes_in: Counter,
    /// Bytes written to sockets.
    pub bytes_out: Counter,
    /// Bytes that wait for sockets.
    pub queued_bytes: Gauge,
    /// Bytes of incomplete messages and TLS records.
    pub partial_bytes: Gauge,
    /// Mails given back because the mailbox was full.
    pub mailbox_full: Counter,
    /// Messages that are no valid envelope, by cause.
    pub decode_errors: Labelled,
    /// Messages that did not reach their target, by cause.
    pub undeliverable: Labelled,
    /// Messages that were allowed, and routed or answered.
    pub messages_routed: Counter,
    /// Messages that were not allowed or not understood, by cause.
    pub messages_refused: Labelled,
    /// Connections superseded by a newer one of the same URI.
    pub superseded: Counter,
    /// Controllers that are linked.
    pub controllers_linked: Gauge,
    /// Links from brokers on compile nodes that are up.
    pub broker_links: Gauge,
    /// Links that were refused before they were up, by cause.
    pub broker_links_refused: Labelled,
    /// Links that ended, by cause.
    pub broker_links_closed: Labelled,
    /// Messages received over links.
    pub broker_link_messages_in: Counter,
    /// Messages written to links.
    pub broker_link_messages_out: Counter,
    /// Accepted connections that got as far as messages.
    pub connections_opened: Counter,
    /// Requests for status pages that were answered, by status.
    pub pages: Labelled,
    /// Mails that wait for workers.
    pub mailbox_mails: Gauge,
    /// Lines of the access logs that were lost, by log.
    pub access_log_dropped: Labelled,
    /// When the oldest of the CRLs should be replaced, in seconds since 1970; 0 if there is none.
    pub crl_next_update: Gauge,
    /// Bytes that are free on the disk of the data directory.
    pub disk_free: Gauge,
    /// Jobs refused because they were fewer than the reserve.
    pub disk_refused: Counter,
    /// 1 while nothing can be stored.
    pub disk_full: Gauge,
    /// Deliveries to webhooks, by outcome.
    pub webhook_deliveries: Labelled,
    /// Webhooks whose last delivery failed, and those that were given up.
    pub webhooks_unwell: Family<Label, Gauge>,
    /// Starts of sessions.
    pub on_connect: Timer,
    /// Ends of sessions.
    pub on_close: Timer,
    /// Messages received.
    pub on_message: Timer,
    /// Messages sent.
    pub on_send: Timer,
    /// The process's own numbers.
    pub process: Process,
    turns: Family<WorkerLabel, Histogram, fn() -> Histogram>,
    limits: Family<LimitLabel, Gauge>,
    registry: Registry,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("podium");
        let r = &mut registry;
        Self {
            connections_open: add(r, "connections_open", "Connections open for messages"),
            connections_accepted: add(r, "connections_accepted", "TCP connections accepted"),
            handshakes_in_flight: add(r, "handshakes_in_flight", "Connections in TLS handshake or upgrade"),
            accept_queue: add(r, "accept_queue", "Accepted connections waiting for a handshake slot"),
            accept_queue_expired: add(r, "accept_queue_expired", "Accepted connections dropped after waiting too long"),
            accept_errors: add(r, "accept_errors", "Attempts to accept that failed"),
            refused: add(r, "refused", "Connections refused before they were open"),
            closed: add(r, "closed", "Open connections that ended"),
            dial_failed: add(r, "dial_failed", "Attempts to connect that failed"),
            messages_in: add(r, "messages_in", "Messages received"),
            messages_out: add(r, "messages_out", "Messages sent or queued"),
            sends_full: add(r, "sends_full", "Messages not sent because a queue was full"),
            bytes_in: add(r, "bytes_in", "Bytes read from sockets"),
            bytes_out: add(r, "bytes_out", "Bytes written to sockets"),
            queued_bytes: add(r, "queued_bytes", "Bytes waiting for sockets"),
            partial_bytes: add(r, "partial_bytes", "Bytes of incomplete messages and TLS records"),
            mailbox_full: add(r, "mailbox_full", "Mails given back because the mailbox was full"),
            decode_errors: add(r, "decode_errors", "Messages that are no valid envelope"),
            undeliverable: add(r, "undeliverable", "Messages that did not reach their target"),
            messages_routed: add(r, "messages_routed", "Messages allowed, and routed or answered"),
            messages_refused: add(r, "messages_refused", "Messages not allowed or not understood"),
            superseded: add(r, "superseded", "Connections superseded by a newer one of the same URI"),
            controllers_linked: add(r, "controllers_linked", "Controllers that are linked"),
            broker_links: add(r, "broker_links", "Links from brokers that are up"),
            broker_links_refused: add(r, "broker_links_refused", "Links from brokers refused before they were up"),
            broker_links_closed: add(r, "broker_links_closed", "Links from brokers that ended"),
            broker_link_messages_in: add(r, "broker_link_messages_in", "Messages received over links from brokers"),
            broker_link_messages_out: add(r, "broker_link_messages_out", "Messages written to links from brokers"),
            connections_opened: add(r, "connections_opened", "Accepted connections that were opened for messages"),
            pages: add(r, "pages", "Requests for status pages, by status of the answer"),
            mailbox_mails: add(r, "mailbox_mails", "Mails waiting for workers"),
            access_log_dropped: add(r, "access_log_dropped", "Lines of access logs that were lost"),
            crl_next_update: add_unit(
                r,
                "crl_next_update",
                "When the next CRL is due, since 1970; 0 without CRL",
                Unit::Seconds,
            ),
            disk_free: add_unit(r, "disk_free", "Bytes free on the disk of the data directory", Unit::Bytes),
            disk_refused: add(r, "disk_refused", "Jobs refused because the disk is nearly full"),
            disk_full: add(r, "disk_full", "1 while what happens to jobs cannot be stored"),
            webhook_deliveries: add(r, "webhook_deliveries", "Deliveries to webhooks, by outcome"),
            webhooks_unwell: add(r, "webhooks_unwell", "Webhooks that fail, and those given up"),
            on_connect: Timer::default(),
            on_close: Timer::default(),
            on_message: Timer::default(),
            on_send: Timer::default(),
            process: Process::new(r),
            turns: add_turns(r),
            limits: add(r, "limit", "Limits that hold, in their own units"),
            registry,
        }
    }

    /// Where a worker notes how long a turn of its loop took.
    pub fn turns(&self, worker: u16) -> Histogram {
        self.turns.get_or_create_owned(&WorkerLabel { worker })
    }

    /// Says which limits hold.
    pub fn set_limits(&self, limits: &[(&'static str, usize)]) {
        for &(limit, value) in limits {
            self.limits.get_or_create(&LimitLabel { limit }).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// A limit that [`Self::set_limits`] has set; 0 for others.
    pub fn limit(&self, limit: &'static str) -> i64 {
        self.limits.get_or_create(&LimitLabel { limit }).get()
    }

    /// The four timers, under the reference's names.
    pub fn timers(&self) -> [(&'static str, &Timer); 4] {
        [
            ("puppetlabs.pcp.on-close", &self.on_close),
            ("puppetlabs.pcp.on-connect", &self.on_connect),
            ("puppetlabs.pcp.on-message", &self.on_message),
            ("puppetlabs.pcp.on-send", &self.on_send),
        ]
    }

    /// Brings up to date what is not counted as it happens; `passed` since the last time.
    pub fn look(&self, passed: Duration) {
        for (_, timer) in self.timers() {
            timer.tick(passed);
        }
        self.process.look();
    }

    /// OpenMetrics text, for `Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Counts one of `label`.
pub fn count(family: &Labelled, label: &'static str) {
    family.get_or_create(&Label { label }).inc();
}

fn add<M: prometheus_client::registry::Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn add_unit(registry: &mut Registry, name: &str, help: &str, unit: Unit) -> Gauge {
    let metric = Gauge::default();
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

fn add_turns(registry: &mut Registry) -> Family<WorkerLabel, Histogram, fn() -> Histogram> {
    let family = Family::new_with_constructor((|| Histogram::new(TURN_SECONDS)) as fn() -> Histogram);
    registry.register_with_unit("turn", "Time of one turn of a worker's loop", Unit::Seconds, family.clone());
    family
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn rendered_text_names_prefix_and_label() {
        let metrics = Metrics::new();
        metrics.connections_open.set(3);
        count(&metrics.refused, "not-tls");
        count(&metrics.refused, "not-tls");
        let text = metrics.render();
        assert!(text.contains("podium_connections_open 3\n"), "{text}");
        assert!(text.contains("podium_refused_total{label=\"not-tls\"} 2\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    /// A sample's name and, apart from it, its labels.
    fn sample(line: &str) -> (&str, &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(labels.ends_with('}'), "{line}");
        (name, labels)
    }

    #[test]
    fn the_exposition_is_open_metrics() {
        let metrics = Metrics::new();
        count(&metrics.refused, "not-tls");
        metrics.turns(3).observe(0.002);
        metrics.set_limits(&[("connections_max", 7), ("workers", 2)]);
        metrics.look(Duration::from_secs(5));
        let text = metrics.render();
        let body = text.strip_suffix("# EOF\n").expect("it ends");
        let (mut types, mut helps, mut series) = (HashMap::new(), HashSet::new(), HashSet::new());
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(types.insert(name, kind).is_none(), "{name} is there twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                helps.insert(rest.split_once(' ').unwrap().0);
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').unwrap();
                assert!(name.ends_with(unit), "{line}");
            } else {
                let (name, labels) = sample(line);
                assert!(series.insert((name, labels)), "{line} is there twice");
                let suffixes: &[&str] = &["_total", "_bucket", "_count", "_sum", ""];
                let family = suffixes.iter().find_map(|suffix| types.get_key_value(name.strip_suffix(suffix)?));
                let (family, kind) = family.unwrap_or_else(|| panic!("{line} is of no type"));
                assert!(family.starts_with("podium_") && helps.contains(family), "{line}");
                assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
            }
        }
        for (name, labels) in [
            ("podium_refused_total", "label=\"not-tls\"}"),
            ("podium_turn_seconds_bucket", "le=\"0.003\",worker=\"3\"}"),
            ("podium_limit", "limit=\"connections_max\"}"),
            ("podium_resident_bytes", "}"),
            ("podium_crl_next_update_seconds", "}"),
        ] {
            assert!(series.contains(&(name, labels)), "{name}{{{labels} is not in\n{text}");
        }
        assert_eq!(metrics.limit("connections_max"), 7);
    }
}
