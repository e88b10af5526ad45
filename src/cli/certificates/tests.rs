//! Files that change, and what follows from it.

use super::*;
use crate::tls::testing::Pki;

const PAUSE: Duration = Duration::from_millis(30);

const NEED: Wanted = Wanted { client_auth: ClientAuth::Required, sessions: TlsSessions::Rustls };

fn revoked_by(review: Option<Arc<Review>>) -> Option<(bool, usize)> {
    review.map(|review| match &review.certificates {
        Certificates::Revoked(revoked) => (false, revoked.len()),
        Certificates::Distrusted(revoked) => (true, revoked.len()),
    })
}

#[test]
fn open_connections_are_reviewed_if_there_is_a_reason() {
    let pki = Pki::new("ca");
    let agent = pki.issue("agent");
    let tls = Tls::load(&pki.paths(&pki.issue("localhost")), NEED).unwrap();
    assert_eq!(revoked_by(tls.reload(PAUSE).unwrap()), None);
    pki.revoke(&[&agent]);
    assert!(tls.has_changed());
    assert_eq!(revoked_by(tls.reload(PAUSE).unwrap()), Some((false, 1)));
    assert!(!tls.has_changed());
    let first = std::fs::read_to_string(pki.ca()).unwrap();
    let other = Pki::new("other");
    let both = first.clone() + &std::fs::read_to_string(other.ca()).unwrap();
    std::fs::write(pki.ca(), both).unwrap();
    assert_eq!(revoked_by(tls.reload(PAUSE).unwrap()), None, "one more CA takes nothing from anybody");
    std::fs::write(pki.ca(), first).unwrap();
    assert_eq!(revoked_by(tls.reload(PAUSE).unwrap()), Some((true, 1)));
}

#[test]
fn what_is_wrong_leaves_everything_as_it_was_until_it_is_mended() {
    let pki = Pki::new("ca");
    let paths = pki.paths(&pki.issue("localhost"));
    let tls = Tls::load(&paths, NEED).unwrap();
    let before = tls.broker.load_full();
    let crl = std::fs::read_to_string(paths.crl.as_ref().unwrap()).unwrap();
    let other = pki.paths(&pki.issue("elsewhere"));
    for (path, content, reason) in [
        (&paths.ca, String::new(), "holds no PEM certificate"),
        (paths.crl.as_ref().unwrap(), crl[..crl.len() / 2].to_owned(), "crl.pem: "),
        (&paths.key, std::fs::read_to_string(&other.key).unwrap(), "cannot be used together with the key"),
    ] {
        let good = std::fs::read(path).unwrap();
        std::fs::write(path, content).unwrap();
        let message = tls.reload(PAUSE).expect_err(reason);
        assert!(message.contains(reason), "{message}");
        assert!(tls.has_changed(), "it is tried again");
        std::fs::write(path, good).unwrap();
    }
    assert!(Arc::ptr_eq(&before, &tls.broker.load_full()));
    for (from, to) in [(&other.key, &paths.key), (&other.certificate, &paths.certificate)] {
        std::fs::copy(from, to).unwrap();
    }
    assert!(tls.reload(PAUSE).unwrap_err().contains("is for elsewhere and not for localhost"));
}
