//! Bundles and lists of every kind, and what rustls makes of them.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use super::*;
use crate::config::settings::CertificatePaths;
use crate::tls::identity::peer_name;
use crate::tls::material::{ClientAuth, Material};
use crate::tls::testing::{Issued, Pki};

const YEARS: (i32, i32) = (2024, 2124);

/// A host of the first CA that trusts these CAs with these lists.
fn material(host: &Pki, authorities: &[&Pki], lists: &[String]) -> Material {
    let read = |pki: &&Pki| std::fs::read_to_string(pki.ca()).unwrap();
    let (ca, crl) = (host.directory().join("bundle.pem"), host.directory().join("lists.pem"));
    std::fs::write(&ca, authorities.iter().map(read).collect::<String>()).unwrap();
    std::fs::write(&crl, lists.concat()).unwrap();
    let paths = CertificatePaths { ca, crl: Some(crl), ..host.paths(&host.issue("localhost")) };
    Material::load(&paths).unwrap()
}

fn id(issued: &Issued) -> CertificateId {
    peer_name(issued.certificate.der()).unwrap().certificate
}

/// What became of a handshake and of the client's wish to do without one the next time.
fn shake(server: &Arc<ServerConfig>, client: &Arc<rustls::ClientConfig>) -> Result<HandshakeKind, rustls::Error> {
    let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    // Enough flights for either version, and the tickets that come after them.
    for _ in 0..5 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
        }
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
        }
        client.process_new_packets()?;
    }
    assert_eq!(client.tls13_tickets_received(), 0);
    Ok(server.handshake_kind().expect("the handshake is over"))
}

fn refused(server: &Arc<ServerConfig>, pki: &Pki, client: &Issued, root: &Pki) -> bool {
    [&TLS12, &TLS13].iter().any(|version| shake(server, &pki.client_of(version, client, root)).is_err())
}

#[test]
fn nothing_is_resumed_and_a_revoked_certificate_is_refused_at_once() {
    for version in [&TLS12, &TLS13] {
        let pki = Pki::new("ca");
        let (agent, host) = (pki.issue("agent"), pki.issue("localhost"));
        // As rustls makes it: with a memory for sessions and tickets.
        let client = pki.client(version, Some(&agent));
        let before = pki.server(&host);
        for _ in 0..3 {
            assert_eq!(shake(&before, &client), Ok(HandshakeKind::Full), "{version:?}");
        }
        pki.revoke(&[&agent]);
        let after = pki.server(&host);
        assert!(shake(&after, &client).is_err(), "{version:?}");
        assert!(shake(&after, &pki.client(version, Some(&pki.issue("agent")))).is_ok());
    }
}

#[test]
fn several_cas_and_lists() {
    let root = Pki::new("root");
    let (web, _) = root.intermediate("web");
    let (db, _) = root.intermediate("db");
    let (good, bad) = (web.issue("good"), web.issue("bad"));
    let other = db.issue("other");
    let lists = [root.crl([], YEARS), web.crl([bad.serial], YEARS), db.crl([77], YEARS)];
    let material = material(&root, &[&root, &web, &db], &lists);
    let trust = material.trust();
    assert_eq!(trust.warnings, Vec::<String>::new());
    assert_eq!((trust.authorities.len(), trust.revoked.len()), (3, 2));
    assert!(trust.revoked.binary_search(&id(&bad)).is_ok());
    // The same serial number of another CA is another certificate.
    assert!(trust.revoked.binary_search(&id(&good)).is_err());
    let server = material.server_config(ClientAuth::Required).unwrap();
    assert!(!refused(&server, &web, &good, &root) && !refused(&server, &db, &other, &root));
    assert!(refused(&server, &web, &bad, &root));
}

#[test]
fn a_revoked_ca_takes_what_it_issued_with_it() {
    let root = Pki::new("root");
    let (web, serial) = root.intermediate("web");
    let agent = web.issue("agent");
    let lists = |serials: &[u64]| [root.crl(serials.to_vec(), YEARS), web.crl([], YEARS)];
    let before = material(&root, &[&root, &web], &lists(&[]));
    assert!(!refused(&before.server_config(ClientAuth::Required).unwrap(), &web, &agent, &root));
    let after = material(&root, &[&root, &web], &lists(&[serial]));
    assert!(refused(&after.server_config(ClientAuth::Required).unwrap(), &web, &agent, &root));
    assert_eq!(after.trust().authorities.len(), 1);
    let warnings = &after.trust().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("the CA CN=web is revoked by the CRL of CN=root"),
        "{warnings:?}"
    );
}

/// Else its revocation would leave the connections that came by it: a session does not know its chain.
#[test]
fn a_ca_that_is_not_in_the_bundle_cannot_be_sent_along() {
    let root = Pki::new("root");
    let (web, _) = root.intermediate("web");
    let agent = web.issue("agent");
    let lists = [root.crl([], YEARS), web.crl([], YEARS)];
    for version in [&TLS12, &TLS13] {
        let client = web.client_with_chain(version, &agent, &root);
        let shake_with = |authorities: &[&Pki], lists: &[String]| {
            shake(&material(&root, authorities, lists).server_config(ClientAuth::Required).unwrap(), &client)
        };
        assert_eq!(shake_with(&[&root, &web], &lists), Ok(HandshakeKind::Full));
        assert!(shake_with(&[&root], &lists).is_err());
        assert!(shake_with(&[&root], &lists[1..]).is_err(), "with no other list");
    }
}

#[test]
fn a_renewed_certificate_is_the_same_ca() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = |name: &str, number: u64, key: &rcgen::KeyPair| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serial_number = Some(number.into());
        params.self_signed(key).unwrap().der().clone()
    };
    let authorities =
        |certificate| examine(vec![certificate], Vec::new(), WallTime::now()).ok().unwrap().trust.authorities;
    let first = authorities(certificate("ca", 1, &key));
    assert_eq!(first, authorities(certificate("ca", 2, &key)));
    assert_ne!(first, authorities(certificate("ca", 1, &rcgen::KeyPair::generate().unwrap())));
}

/// What rustls does in each case is part of the warning.
#[test]
fn what_an_operator_should_know() {
    let (pki, foreign) = (Pki::new("ca"), Pki::new("foreign"));
    let agent = pki.issue("agent");
    let warnings = |material: &Material| material.trust().warnings.join("\n");
    let old = material(&pki, &[&pki], &[pki.crl([], (2020, 2021))]);
    assert!(
        warnings(&old).contains("the CRL of CN=ca should have been replaced on 2021-01-01T00:00:00Z"),
        "{}",
        warnings(&old)
    );
    assert!(!refused(&old.server_config(ClientAuth::Required).unwrap(), &pki, &agent, &pki));
    assert_eq!(old.trust().next_update.unwrap().to_seconds_string(), "2021-01-01T00:00:00Z");
    let without = material(&pki, &[&pki, &foreign], &[foreign.crl([], YEARS)]);
    assert!(warnings(&without).starts_with("there is no CRL of the CA CN=ca: certificates that it issued are refused"));
    assert!(refused(&without.server_config(ClientAuth::Required).unwrap(), &pki, &agent, &pki));
    let extra = material(&pki, &[&pki], &[pki.crl([], YEARS), foreign.crl([], YEARS)]);
    assert!(warnings(&extra).starts_with("the CRL of CN=foreign has no effect: that CA is not in the bundle"));
    let early = material(&pki, &[&pki], &[pki.crl([], (2090, 2124))]);
    assert!(warnings(&early).contains("is of 2090-01-01T00:00:00Z, which is yet to come"));
}

#[test]
fn of_two_lists_of_one_ca_the_newer_counts() {
    let pki = Pki::new("ca");
    let agent = pki.issue("agent");
    for lists in [
        [pki.crl([], (2024, 2124)), pki.crl([agent.serial], (2025, 2124))],
        [pki.crl([agent.serial], (2025, 2124)), pki.crl([], (2024, 2124))],
    ] {
        let server = material(&pki, &[&pki], &lists).server_config(ClientAuth::Required).unwrap();
        assert!(refused(&server, &pki, &agent, &pki));
    }
}

#[test]
fn a_long_list_is_read_entry_by_entry() {
    let pki = Pki::new("ca");
    let agent = pki.issue("agent");
    let lists = [pki.crl((100..10_100).chain([agent.serial]), YEARS)];
    let material = material(&pki, &[&pki], &lists);
    assert_eq!(material.trust().revoked.len(), 10_001);
    assert!(material.trust().revoked.is_sorted());
    assert!(material.trust().revoked.binary_search(&id(&agent)).is_ok());
}
