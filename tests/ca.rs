//! Certificates of the lab CA in real handshakes: whom rustls lets in, and whom it does not once the CRL says so.

use std::path::Path;
use std::sync::Arc;

use podium::ca::{AltNames, Authority, Issued, KeyType, local_alt_names};
use podium::tls::material::{ClientAuth, Material};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

/// A handshake in memory: the name that the server's certificate must have, or what either side refuses.
fn handshake(server: &Issued, client: &Issued, host: &str) -> Result<(), rustls::Error> {
    let server = Material::load(&server.paths()).unwrap().server_config(ClientAuth::Required).unwrap();
    let client = Material::load(&client.paths()).unwrap().client_config().unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(&client), host).unwrap();
    while server.is_handshaking() || client.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn lab(dir: &Path, key_type: KeyType) -> (Authority, Issued, Issued) {
    let authority = Authority::create(dir, "Lab CA", key_type).unwrap();
    let server = authority.issue("orch.example.com", &local_alt_names()).unwrap();
    let agent = authority.issue("web1.example.com", &AltNames::default()).unwrap();
    (authority, server, agent)
}

#[test]
fn issued_certificates_verify_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (_, server, agent) = lab(dir.path(), KeyType::P256);
    for host in ["orch.example.com", "localhost", "127.0.0.1", "::1"] {
        assert_eq!(handshake(&server, &agent, host), Ok(()), "{host}");
    }
    assert!(handshake(&server, &agent, "other.example.com").is_err());
}

#[test]
fn a_revoked_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, server, agent) = lab(dir.path(), KeyType::P256);
    assert_eq!(handshake(&server, &agent, "localhost"), Ok(()));
    authority.revoke("web1.example.com").unwrap();
    let error = handshake(&server, &agent, "localhost").unwrap_err();
    assert!(error.to_string().contains("Revoked"), "{error}");
    let again = authority.issue("web1.example.com", &AltNames::default()).unwrap();
    assert_eq!(handshake(&server, &again, "localhost"), Ok(()));
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, server, _) = lab(dir.path(), KeyType::P256);
    let (_, _, stranger) = lab(other_dir.path(), KeyType::P256);
    assert!(handshake(&server, &stranger, "localhost").is_err());
}

#[test]
fn an_authority_is_the_same_after_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (_, server, _) = lab(dir.path(), KeyType::P256);
    let reopened = Authority::open(dir.path()).unwrap();
    let agent = reopened.issue("web2", &AltNames::default()).unwrap();
    assert_eq!(handshake(&server, &agent, "localhost"), Ok(()));
    reopened.revoke("web2").unwrap();
    assert!(handshake(&server, &agent, "localhost").is_err());
}

#[test]
fn rsa_keys_like_puppet_s() {
    let dir = tempfile::tempdir().unwrap();
    let (_, server, agent) = lab(dir.path(), KeyType::Rsa4096);
    assert_eq!(handshake(&server, &agent, "orch.example.com"), Ok(()));
}
