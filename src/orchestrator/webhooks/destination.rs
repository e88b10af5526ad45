//! Where deliveries may go: to servers that an administrator has named, over TLS, in the site's own networks too, since that
//! is where chat servers and build servers are. Not to loopback addresses, nor to others that mean something else on every
//! host, such as a cloud's metadata service: whoever may add webhooks must not reach what only local processes may. The other
//! addresses of this host are not known here: what listens on them is reached, as from elsewhere in the network. Addresses
//! are judged when a connection is made, so that a name cannot point elsewhere later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::WEBHOOK_URL_BYTES_MAX;
use crate::orchestrator::model::{Refusal, RefusalKind};

/// A server and what to ask of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// Name or address.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    /// As it was given; may be a secret.
    pub(super) path_and_query: String,
}

impl Destination {
    /// Reads a URL, and refuses addresses that are never reached.
    pub(super) fn parse(url: &str, may_be_loopback: bool) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(RefusalKind::ValidationError, format!("url {why}; it must be https://host[:port]/path."))
                .with("key", "url")
        };
        if url.len() > WEBHOOK_URL_BYTES_MAX {
            return Err(refuse(&format!("has more than {WEBHOOK_URL_BYTES_MAX} bytes")));
        }
        let parsed: hyper::Uri = url.parse().map_err(|_| refuse("is not a URL"))?;
        if parsed.scheme_str() != Some("https") {
            return Err(refuse("does not begin with https://"));
        }
        if url.contains('#') {
            return Err(refuse("has a fragment, which is never sent"));
        }
        let authority = parsed.authority().ok_or_else(|| refuse("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("has a user or password, which would be in logs"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refuse("has no host"));
        }
        if let Ok(address) = host.parse()
            && !(admits(address) || may_be_loopback && admits_loopback(address))
        {
            return Err(refuse("leads to this host, or to an address that is local to every host"));
        }
        let path_and_query = parsed.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host, port: authority.port_u16().unwrap_or(443), path_and_query })
    }
}

/// Whether deliveries may go to an address.
pub(super) fn admits(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets() == METADATA_V4,
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.segments() == METADATA_V6
                || embedded(v6).is_some_and(|v4| !admits(IpAddr::V4(v4)))
        }
    };
    !(is_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// Metadata services of clouds, among addresses that are private otherwise.
const METADATA_V4: [u8; 4] = [100, 100, 100, 200];
const METADATA_V6: [u16; 8] = [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];

/// The IPv4 address to which a packet for an IPv6 address may be sent on: NAT64 (RFC 6052), 6to4 (RFC 3056), and addresses
/// that are IPv4-compatible (RFC 4291, 2.5.5.1).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

/// The same where this host may be reached too.
pub(super) fn admits_loopback(address: IpAddr) -> bool {
    admits(address) || address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let parse = |url: &str| Destination::parse(url, false).unwrap();
        let expected =
            |host: &str, port, path: &str| Destination { host: host.to_owned(), port, path_and_query: path.to_owned() };
        assert_eq!(parse("https://hooks.example.com"), expected("hooks.example.com", 443, "/"));
        assert_eq!(parse("https://10.1.2.3:8443/a/b?c=d"), expected("10.1.2.3", 8443, "/a/b?c=d"));
        assert_eq!(parse("https://[fd12::1]/x"), expected("fd12::1", 443, "/x"));
        assert!(Destination::parse("https://127.0.0.1:1/x", true).is_ok());
    }

    #[test]
    fn what_is_not_for_webhooks_is_refused() {
        let cases = [
            ("", "is not a URL"),
            ("http://a.example/x", "does not begin with https://"),
            ("a.example/x", "is not a URL"),
            ("/x", "does not begin with https://"),
            ("https://u:p@a.example/x", "has a user or password"),
            ("https://a.example/x#y", "has a fragment"),
            ("https://127.0.0.1/", "leads to this host"),
            ("https://[::1]/", "leads to this host"),
            ("https://[::ffff:127.0.0.1]/", "leads to this host"),
            ("https://169.254.169.254/latest", "leads to this host"),
            ("https://[fd00:ec2::254]/latest", "leads to this host"),
            ("https://0.0.0.0/", "leads to this host"),
            ("https://100.100.100.200/latest", "leads to this host"),
            ("https://[64:ff9b::7f00:1]/", "leads to this host"),
            ("https://[64:ff9b::169.254.169.254]/", "leads to this host"),
            ("https://[2002:7f00:1::1]/", "leads to this host"),
            ("https://[2002:a9fe:a9fe::]/", "leads to this host"),
            ("https://[::127.0.0.1]/", "leads to this host"),
            ("https://[::100.100.100.200]/", "leads to this host"),
        ];
        for (url, why) in cases {
            let refusal = Destination::parse(url, false).unwrap_err();
            assert!(refusal.message.contains(why), "{url}: {}", refusal.message);
        }
        assert!(Destination::parse("https://169.254.169.254/", true).is_err());
        for harmless in ["64:ff9b::10.1.2.3", "2002:a01:203::1", "100.100.100.201"] {
            assert!(admits(harmless.parse().unwrap()), "{harmless}");
        }
        assert!(Destination::parse(&format!("https://a.example/{}", "x".repeat(WEBHOOK_URL_BYTES_MAX)), true).is_err());
    }
}
