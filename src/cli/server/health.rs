//! How the orchestrator is, for the status endpoints and the metrics.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use crate::observe::metrics::{Label, Metrics};
use crate::observe::status::{Alert, ServiceHealth, ServiceState};
use crate::orchestrator::Orchestrator;
use crate::orchestrator::disk::Room;
use crate::orchestrator::inventory::LinkedBroker;
use crate::orchestrator::webhooks::HookState;

/// The answer of its probe.
pub(super) fn of_orchestrator(orchestrator: &Orchestrator) -> ServiceHealth {
    let room = orchestrator.disk().room();
    let state = match room {
        Room::None => ServiceState::Error,
        _ if !orchestrator.is_dispatching() => ServiceState::Error,
        _ => ServiceState::Running,
    };
    ServiceHealth { state, details: details(orchestrator), alerts: alerts(room, orchestrator) }
}

fn alerts(room: Room, orchestrator: &Orchestrator) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let mut add = |severity, message| alerts.push(Alert { severity, message });
    match room {
        Room::Enough => {}
        Room::Low { free, reserve } => add(
            "warning",
            format!(
                "The disk of the data directory has {free} bytes left, fewer than orchestrator.disk-reserve ({reserve}): \
                 no job is accepted. Make room."
            ),
        ),
        Room::None => {
            let message =
                "The disk of the data directory is full: jobs wait until there is room, and none is accepted.";
            add("critical", message.to_owned());
        }
    }
    if !orchestrator.is_dispatching() {
        add(
            "critical",
            "The dispatcher has stopped: the log says why. Restart the server once that is mended.".to_owned(),
        );
    }
    match orchestrator.webhooks().unwell(HookState::Dead) {
        0 => {}
        dead => add("warning", format!("{dead} webhooks were given up: podium webhook list says which and why.")),
    }
    alerts
}

fn details(orchestrator: &Orchestrator) -> Map<String, Value> {
    let brokers = ("brokers".to_owned(), orchestrator.brokers().iter().map(broker).collect());
    let up = |(key, up): (&str, bool)| (key.to_owned(), json!(up));
    // Users and groups are kept in the same database; what Puppet Enterprise asks other services is a part of this one.
    let can_store = orchestrator.is_dispatching() && !orchestrator.disk().is_full();
    let own = [
        ("db_up", can_store),
        ("rbac_up", true),
        ("classifier_up", true),
        ("pxp_up", !orchestrator.brokers().is_empty()),
    ];
    orchestrator.services_up().into_iter().chain(own).map(up).chain([brokers]).collect()
}

fn broker(broker: &LinkedBroker) -> Value {
    json!({"broker": *broker.uri, "since": broker.since.to_millis_string(), "connections": broker.nodes})
}

/// Brings the orchestrator's metrics up to date.
pub(super) fn count(orchestrator: &Orchestrator, metrics: &Metrics) {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let disk = orchestrator.disk();
    metrics.disk_free.set(disk.free().map_or(-1, gauge));
    metrics.disk_full.set(i64::from(disk.is_full()));
    raise(&metrics.disk_refused, disk.refused());
    let webhooks = orchestrator.webhooks();
    let counts = webhooks.counts();
    for (label, count) in [("delivered", &counts.delivered), ("failed", &counts.failed)] {
        raise(&metrics.webhook_deliveries.get_or_create(&Label { label }), count.load(Ordering::Relaxed));
    }
    for (label, state) in [("failing", HookState::Active), ("dead", HookState::Dead)] {
        let unwell = webhooks.unwell(state) as u64;
        metrics.webhooks_unwell.get_or_create(&Label { label }).set(gauge(unwell));
    }
}

/// Two questions at once may find the same number, and none takes it back.
fn raise(counter: &prometheus_client::metrics::counter::Counter, to: u64) {
    counter.inner().fetch_max(to, Ordering::Relaxed);
}
