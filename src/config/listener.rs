//! What the sections of listeners (`webserver`) say: addresses and certificate files.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::reader::Reader;
use super::settings::CertificatePaths;

/// The certificate files, from `global.certs` or from the sections of listeners, whose files must be the same.
pub fn certificates(reader: &mut Reader<'_>, sections: &[&str]) -> Option<CertificatePaths> {
    let certificate = certificate_file(reader, sections, "ssl-cert", true);
    let key = certificate_file(reader, sections, "ssl-key", true);
    let ca = certificate_file(reader, sections, "ssl-ca-cert", true);
    let crl = certificate_file(reader, sections, "ssl-crl-path", false);
    if crl.is_none() && !reader.has("global.certs.ssl-crl-path") {
        reader
            .warn("global.certs.ssl-crl-path", "is not set: revoked certificates are accepted; give the CA's crl.pem");
    }
    Some(CertificatePaths { certificate: certificate?, key: key?, ca: ca?, crl })
}

/// Puppet Enterprise repeats the certificate files per listener; here they are one set, so the repetitions must agree.
fn certificate_file(reader: &mut Reader<'_>, sections: &[&str], name: &str, required: bool) -> Option<PathBuf> {
    let global = format!("global.certs.{name}");
    let mut chosen: Option<(String, PathBuf)> = None;
    let in_sections = sections.iter().map(|section| format!("{section}.{name}"));
    for key in std::iter::once(global.clone()).chain(in_sections) {
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
        None if required => reader.required_file(&global),
        None => None,
    }
}

/// Where a listener of this section listens.
pub fn address(reader: &mut Reader<'_>, section: &str, default_port: u16) -> SocketAddr {
    let host_key = format!("{section}.ssl-host");
    let host = match reader.text(&host_key).as_deref() {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().unwrap_or_else(|_| {
            reader.fail(&host_key, format!("\"{text}\" is not an IP address; give one, 0.0.0.0 or :: for all"));
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }),
    };
    let port = reader.integer(&format!("{section}.ssl-port"), 0..=u64::from(u16::MAX));
    SocketAddr::new(host, port.and_then(|port| u16::try_from(port).ok()).unwrap_or(default_port))
}
