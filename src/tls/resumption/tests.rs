//! Who may resume a session, and who may not any more: our session against rustls' buffered client.

use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::tls::session::{TlsSession, TlsState};
use crate::tls::testing::{Issued, Pki};

/// Shakes hands over memory; says how, or why not, and how many tickets there were for it.
fn shake(server: &Arc<ServerTls>, client: &Arc<rustls::ClientConfig>) -> (Result<HandshakeKind, TlsFailure>, u32) {
    let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut server = TlsSession::accept(server.clone());
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        if wire.is_empty() {
            break;
        }
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        if let Err(failure) = server.read(&mut wire, &mut plain, &mut out) {
            return (Err(failure), client.tls13_tickets_received());
        }
        let mut rest = &out[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert_eq!(server.state(), TlsState::Established);
    (Ok(client.handshake_kind().unwrap()), client.tls13_tickets_received())
}

fn agent_and_host(pki: &Pki) -> (Issued, Issued) {
    (pki.issue("agent.example"), pki.issue("localhost"))
}

#[test]
fn an_agent_resumes_with_tls_1_3() {
    let pki = Pki::new("ca");
    let (agent, host) = agent_and_host(&pki);
    let (server, client) = (pki.listener(&host), pki.agent(&agent));
    assert_eq!(shake(&server, &client), (Ok(HandshakeKind::Full), 1));
    for _ in 0..3 {
        assert_eq!(shake(&server, &client), (Ok(HandshakeKind::Resumed), 1), "each ticket is for one handshake");
    }
}

#[test]
fn nobody_resumes_with_tls_1_2() {
    let pki = Pki::new("ca");
    let (agent, host) = agent_and_host(&pki);
    // As rustls makes it: with a memory for sessions and tickets.
    let (server, client) = (pki.listener(&host), pki.client(&TLS12, Some(&agent)));
    for _ in 0..3 {
        assert_eq!(shake(&server, &client), (Ok(HandshakeKind::Full), 0));
    }
}

#[test]
fn new_files_make_old_tickets_worthless() {
    let pki = Pki::new("ca");
    let (agent, host) = agent_and_host(&pki);
    let client = pki.agent(&agent);
    assert_eq!(shake(&pki.listener(&host), &client), (Ok(HandshakeKind::Full), 1));
    assert_eq!(shake(&pki.listener(&host), &client), (Ok(HandshakeKind::Full), 1));
    pki.revoke(&[&agent]);
    let (outcome, _) = shake(&pki.listener(&host), &client);
    assert_eq!(outcome, Err(TlsFailure::CertificateRevoked));
}

/// Even if the key stayed the same.
#[test]
fn whoever_was_revoked_since_does_not_resume() {
    let pki = Pki::new("ca");
    let (agent, host) = agent_and_host(&pki);
    let (before, client) = (pki.listener(&host), pki.agent(&agent));
    assert_eq!(shake(&before, &client), (Ok(HandshakeKind::Full), 1));
    pki.revoke(&[&agent]);
    let after = Pki::mixed(&before, &pki.listener(&host));
    assert_eq!(shake(&after, &client).0, Err(TlsFailure::CertificateRevoked));
    let (other, strange) = (pki.issue("other.example"), Pki::new("other"));
    let client = pki.agent(&other);
    assert_eq!(shake(&before, &client).0, Ok(HandshakeKind::Full));
    let after = Pki::mixed(&before, &strange.listener(&strange.issue("localhost")));
    let outcome = shake(&after, &client).0.unwrap_err();
    assert!(outcome.label().starts_with("certificate-"), "a CA that is not trusted any more: {outcome:?}");
}

#[test]
fn whoever_has_expired_since_does_not_resume() {
    let pki = Pki::new("ca");
    let (agent, host) = agent_and_host(&pki);
    let expiring = pki.issue_with("agent.example", |params| {
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    });
    let (server, recheck) = (pki.listener(&host), Recheck::new(&pki.listener(&host)));
    let judge = |issued: &Issued, year: i32| {
        let client = pki.client(&TLS13, Some(issued));
        let mut session = None;
        for _ in 0..2 {
            session = Some(resumed(&server, &client));
        }
        let days = i64::from(year - 1970) * 365;
        recheck.judge(&session.unwrap(), WallTime::from_millis(days * 86_400_000))
    };
    assert_eq!(judge(&expiring, 2089), Ok(()));
    assert_eq!(judge(&expiring, 2092), Err(TlsFailure::CertificateExpired));
    assert_eq!(judge(&agent, 2092), Ok(()), "it is the leaf that counts");
}

/// The server's side of a handshake with rustls alone.
fn resumed(server: &ServerTls, client: &Arc<rustls::ClientConfig>) -> rustls::ServerConnection {
    let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
    let mut server = rustls::ServerConnection::new(server.config.clone()).unwrap();
    for _ in 0..6 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    server
}

#[test]
fn only_what_is_certainly_tls_1_3_gets_a_ticket() {
    assert!(is_tls13(&[0, 3, 4, 0x13, 2]) && is_tls13(&[1, 2, b'a', b'b', 3, 4]));
    for other in [&[][..], &[0], &[0, 3], &[0, 3, 3], &[1], &[1, 9, 3, 4], &[1, 0, 3, 3], &[2, 3, 4]] {
        assert!(!is_tls13(other), "{other:?}");
    }
}
