//! Addresses in settings: `wss://` URIs of brokers and controllers, `https://` URLs of services, hosts with ports.

use super::reader::Reader;
use super::settings::{BrokerUri, ControllerUri};

/// `wss://host[:port][/path]`, to whose path the client type is appended.
pub fn broker_uri(reader: &mut Reader<'_>, key: &str, uri: &str, client_type: &str) -> Option<BrokerUri> {
    let Some(rest) = uri.strip_prefix("wss://") else {
        reader.fail(key, format!("value \"{uri}\" must start with wss://"));
        return None;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = host_and_port(reader, key, uri, authority, 443)?;
    let slash = if path.ends_with('/') || (client_type.is_empty() && !path.is_empty()) { "" } else { "/" };
    Some(BrokerUri { host, port, path: format!("{path}{slash}{client_type}") })
}

/// `wss://host[:port][/path]` of an orchestrator.
pub fn controller_uri(reader: &mut Reader<'_>, key: &str, uri: &str) -> Option<ControllerUri> {
    let address = broker_uri(reader, key, uri, "server")?;
    let authority = uri.trim_start_matches("wss://").split('/').next().unwrap_or_default();
    Some(ControllerUri { authority: authority.to_owned(), address })
}

/// `https://host[:port]` without a path; the scheme may be missing.
pub fn https_uri(reader: &mut Reader<'_>, key: &str, uri: &str, default_port: u16) -> Option<(String, u16)> {
    let rest = match uri.split_once("://") {
        None => uri,
        Some(("https", rest)) => rest,
        Some(_) => {
            reader.fail(key, format!("value \"{uri}\" must start with https://"));
            return None;
        }
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if path.len() > 1 {
        reader.fail(key, format!("value \"{uri}\" has a path; give https://<server>:{default_port}"));
        return None;
    }
    host_and_port(reader, key, uri, authority, default_port)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub fn host_and_port(
    reader: &mut Reader<'_>,
    key: &str,
    uri: &str,
    authority: &str,
    default_port: u16,
) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or("invalid"))),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0));
    match port {
        Some(port) if is_host(host) => Some((host.to_owned(), port)),
        _ => {
            reader.fail(key, format!("value \"{uri}\" must have a host and, after a colon, a port from 1 to 65535"));
            None
        }
    }
}

fn is_host(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
        || !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
