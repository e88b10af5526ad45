//! The section `pcp-broker`, with pcp-broker's own keys, defaults and units.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::authorization::client_access;
use super::duration::Bare;
use super::observed;
use super::reader::Reader;
use super::settings::{BrokerSettings, ControllerSettings, ControllerUri, MountSettings, TlsSessions};
use super::uri::controller_uri;
use crate::limits;

const DAY: Duration = Duration::from_secs(86_400);
const WORKERS_MAX: u64 = 256;
/// The interval at which deployed agents ping, and so the shortest sensible idle timeout.
const AGENT_PING_INTERVAL: Duration = Duration::from_secs(120);

/// Which program the section is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `podium server`, whose orchestrator is its only controller.
    Appliance,
    /// `podium broker`, which dials its controllers.
    CompileNode,
}

/// Reads the section; `section` is that of the broker's listener.
pub fn settings(
    reader: &mut Reader<'_>,
    section: &str,
    listen: SocketAddr,
    mounts: MountSettings,
    role: Role,
) -> BrokerSettings {
    let idle_key = "pcp-broker.idle-timeout";
    let idle_timeout =
        reader.duration(idle_key, Bare::Milliseconds, Duration::from_millis(100)..=DAY).unwrap_or(limits::IDLE_TIMEOUT);
    if idle_timeout <= AGENT_PING_INTERVAL {
        reader
            .warn(idle_key, "is not longer than the agents' ping interval of 120 s: idle agents will be disconnected");
    }
    BrokerSettings {
        listen,
        mounts,
        client_auth: observed::client_auth(reader, section),
        tls_sessions: tls_sessions(reader),
        message_log: observed::message_log(reader),
        request_log: observed::request_log(reader, section),
        workers: size(reader.integer("pcp-broker.workers", 0..=WORKERS_MAX), 0),
        connections_max: size(reader.integer("pcp-broker.max-connections", 0..=limits::CONNECTIONS_MAX as u64), 0),
        message_bytes_max: size(
            reader.integer("pcp-broker.max-message-size", 1024..=limits::MESSAGE_BYTES_MAX as u64),
            limits::MESSAGE_BYTES_MAX,
        ),
        idle_timeout,
        access: client_access(reader),
        controllers: match role {
            Role::Appliance => {
                ControllerSettings { uris: Vec::new(), allowlist: None, grace_period: limits::CONTROLLER_GRACE_PERIOD }
            }
            Role::CompileNode => controllers(reader),
        },
        certificate_check_period: period(reader, "crl-check-period", Duration::from_millis(100)..=DAY)
            .unwrap_or(limits::CERTIFICATE_CHECK_PERIOD),
        expired_throttle: period(reader, "expired-conn-throttle", Duration::ZERO..=Duration::from_secs(60))
            .unwrap_or(limits::EXPIRED_THROTTLE),
        drain_timeout: reader
            .duration("pcp-broker.drain-timeout", Bare::Seconds, Duration::ZERO..=Duration::from_secs(600))
            .unwrap_or(limits::DRAIN_TIMEOUT),
    }
}

fn tls_sessions(reader: &mut Reader<'_>) -> TlsSessions {
    let key = "pcp-broker.tls-session";
    match reader.text(key).as_deref() {
        None => TlsSessions::default(),
        Some("rustls") => TlsSessions::Rustls,
        Some("compact") => TlsSessions::Compact,
        Some(other) => {
            reader.fail(key, format!("\"{other}\" is not possible; give compact or rustls"));
            TlsSessions::default()
        }
    }
}

fn period(reader: &mut Reader<'_>, name: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    reader.duration(&format!("pcp-broker.{name}"), Bare::Milliseconds, range)
}

fn controllers(reader: &mut Reader<'_>) -> ControllerSettings {
    let key = "pcp-broker.controller-uris";
    let texts = reader.texts(key).unwrap_or_default();
    let mut uris: Vec<ControllerUri> = Vec::new();
    for text in &texts {
        let Some(uri) = controller_uri(reader, key, text) else { continue };
        if uris.iter().any(|other| other.authority == uri.authority) {
            reader.fail(key, format!("names {} twice; remove one", uri.authority));
        }
        uris.push(uri);
    }
    if uris.len() > limits::CONTROLLERS_MAX {
        reader.fail(key, format!("has {} entries; {} is the most", uris.len(), limits::CONTROLLERS_MAX));
    }
    let old = reader.texts("pcp-broker.controller-whitelist");
    let allowlist = reader.texts("pcp-broker.controller-allowlist").or(old);
    let grace_key = "pcp-broker.controller-disconnection-graceperiod";
    ControllerSettings {
        uris,
        allowlist,
        grace_period: reader
            .duration(grace_key, Bare::Seconds, Duration::ZERO..=DAY)
            .unwrap_or(limits::CONTROLLER_GRACE_PERIOD),
    }
}

/// A number that fits, or the default.
pub fn size(value: Option<u64>, default: usize) -> usize {
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
}
