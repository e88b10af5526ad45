//! Every metric of the program: its name, its meaning, and how it is written for Prometheus (OpenMetrics text). Bumping
//! one is an atomic add; hot paths count in plain integers and add once per loop turn.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The one label of the families: a word from a closed set of the program, never from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    /// What happened.
    pub label: &'static str,
}

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
    /// Bytes of incomplete messages.
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
    /// When the first CRL should be replaced, in seconds since 1970; 0 if no list says so.
    pub crl_next_update: Gauge,
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
            partial_bytes: add(r, "partial_bytes", "Bytes of incomplete messages"),
            mailbox_full: add(r, "mailbox_full", "Mails given back because the mailbox was full"),
            decode_errors: add(r, "decode_errors", "Messages that are no valid envelope"),
            undeliverable: add(r, "undeliverable", "Messages that did not reach their target"),
            messages_routed: add(r, "messages_routed", "Messages allowed, and routed or answered"),
            messages_refused: add(r, "messages_refused", "Messages not allowed or not understood"),
            superseded: add(r, "superseded", "Connections superseded by a newer one of the same URI"),
            crl_next_update: add(
                r,
                "crl_next_update_seconds",
                "Time since 1970 at which the first CRL should be replaced, 0 for none",
            ),
            registry,
        }
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

#[cfg(test)]
mod tests {
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
}
