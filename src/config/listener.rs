//! What the sections of listeners (`webserver`) say: addresses and certificate files.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::reader::Reader;
use super::settings::CertificatePaths;

/// The certificate files, from the sections that have them. Puppet Enterprise repeats them per listener; here they are
/// one set, so the repetitions must agree.
pub fn certificates(reader: &mut Reader<'_>, sections: &[&str]) -> Option<CertificatePaths> {
    let certificate = certificate_file(reader, sections, "ssl-cert", true);
    let key = certificate_file(reader, sections, "ssl-key", true);
    let ca = certificate_file(reader, sections, "ssl-ca-cert", true);
    let crl = certificate_file(reader, sections, "ssl-crl-path", false);
    if crl.is_none() && !sections.iter().any(|section| reader.has(&format!("{section}.ssl-crl-path"))) {
        let key = format!("{}.ssl-crl-path", sections.first().copied().unwrap_or_default());
        reader.warn(&key, "is not set: revoked certificates are accepted; give the CA's crl.pem");
    }
    Some(CertificatePaths { certificate: certificate?, key: key?, ca: ca?, crl })
}

fn certificate_file(reader: &mut Reader<'_>, sections: &[&str], name: &str, required: bool) -> Option<PathBuf> {
    let mut chosen: Option<(String, PathBuf)> = None;
    for key in sections.iter().map(|section| format!("{section}.{name}")) {
        let Some(path) = reader.path(&key) else { continue };
        match &chosen {
            None => chosen = Some((key.clone(), path)),
            Some((other, first)) if *first != path => {
                let first = first.display();
                reader.fail(&key, format!("differs from {other} ({first}); both listeners use one set of files"));
            }
            Some(_) => {}
        }
    }
    match chosen {
        Some((key, _)) => reader.file(&key),
        None if required => reader.required_file(&format!("{}.{name}", sections.first()?)),
        None => None,
    }
}

/// The section of the one listener that a broker has: `webserver` itself, or one of its named servers, of which `routed`
/// is the one that the web routes send the broker's paths to.
pub fn section(reader: &mut Reader<'_>, routed: Option<&str>) -> String {
    let servers: Vec<String> = reader.subsections("webserver");
    if let Some(name) = routed {
        if !servers.iter().any(|server| server == name) {
            let message = format!("has no server \"{name}\", to which web-router-service sends the broker's paths");
            reader.fail("webserver", message);
        }
        return format!("webserver.{name}");
    }
    let is_tls = |reader: &mut Reader<'_>, section: &str| {
        ["ssl-port", "ssl-host"].iter().any(|name| reader.has(&format!("{section}.{name}")))
    };
    if servers.is_empty() || is_tls(reader, "webserver") {
        return "webserver".to_owned();
    }
    if let [only] = servers.as_slice() {
        return format!("webserver.{only}");
    }
    if !servers.iter().any(|server| server == PREFERRED) {
        let message = format!(
            "has the servers {}; say in web-router-service which of them is the broker's, or name it {PREFERRED}",
            servers.join(", ")
        );
        reader.fail("webserver", message);
    }
    format!("webserver.{PREFERRED}")
}

/// The server's name in the files that pcp-broker ships.
const PREFERRED: &str = "pcp-broker";

/// Where a listener of this section listens.
pub fn address(reader: &mut Reader<'_>, section: &str, default_port: u16) -> SocketAddr {
    let host_key = format!("{section}.ssl-host");
    let host = match reader.text(&host_key).as_deref() {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().ok().or_else(|| resolve(text)).unwrap_or_else(|| {
            let message = format!("\"{text}\" is no IP address and no name of one; give one, 0.0.0.0 or :: for all");
            reader.fail(&host_key, message);
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }),
    };
    let port = reader.integer(&format!("{section}.ssl-port"), 0..=u64::from(u16::MAX));
    SocketAddr::new(host, port.and_then(|port| u16::try_from(port).ok()).unwrap_or(default_port))
}

/// Files written for Jetty may have the host's name; the first address is the one that Jetty takes, too.
fn resolve(host: &str) -> Option<IpAddr> {
    Some((host, 0).to_socket_addrs().ok()?.next()?.ip())
}
