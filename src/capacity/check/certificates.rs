//! How long certificates and revocation lists still hold (RFC 5280, 4.1.2.5 and 5.1.2.5).

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};

use super::host::Host;
use super::{Finding, Severity, Step, Subject};
use crate::clock::WallTime;

const DAY: i64 = 24 * 3_600;

/// Days before the end of a certificate in which it is a finding; a CA's successor must reach every agent first.
const LEAF_DAYS: i64 = 30;
const CA_DAYS: i64 = 180;

/// Days before a list should be replaced.
const LIST_DAYS: i64 = 7;

/// All of them, in the order of the files.
pub(super) fn findings(host: &Host, subject: &Subject) -> Vec<Finding> {
    let why = "agents refuse a broker, and are refused, when a certificate has ended";
    if subject.pem_files.is_empty() {
        return vec![Finding::skip("certificates", "no files known; give --config or --certificate", why)];
    }
    subject.pem_files.iter().flat_map(|file| of_file(host, file, subject.now)).collect()
}

fn of_file(host: &Host, file: &Path, now: WallTime) -> Vec<Finding> {
    let key = file.display().to_string();
    let why = "agents refuse a broker, and are refused, when a certificate has ended";
    let fail = |value: String| {
        let advice = Step::Advice("a PEM file that this user can read; run it as the user of the service".to_owned());
        vec![Finding::new(&key, Severity::Fail, value, "readable", why, vec![advice])]
    };
    let bytes = match host.bytes(file) {
        Ok(bytes) => bytes,
        Err(problem) => return fail(problem.to_string()),
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let (certificates, lists) = match (certificates, lists) {
        (Ok(certificates), Ok(lists)) if !certificates.is_empty() || !lists.is_empty() => (certificates, lists),
        (Err(error), _) | (_, Err(error)) => return fail(format!("damaged: {error}")),
        _ => return fail("holds neither a certificate nor a revocation list".to_owned()),
    };
    let certificates = certificates.iter().map(|der| certificate(&key, der, now));
    certificates.chain(lists.iter().map(|der| list(&key, der, now))).collect()
}

fn certificate(file: &str, der: &[u8], now: WallTime) -> Finding {
    let why = "agents refuse a broker, and are refused, when a certificate has ended";
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Finding::new(file, Severity::Fail, "an unreadable certificate", "readable", why, Vec::new());
    };
    let days = if certificate.is_ca() { CA_DAYS } else { LEAF_DAYS };
    let (begin, end) = (certificate.validity().not_before, certificate.validity().not_after);
    let key = format!("{file}: {}", certificate.subject());
    let wanted = format!("valid for {days} days at least");
    let advice = if certificate.is_ca() {
        "renew the CA, and give its certificate to all agents before the old one ends"
    } else {
        "have the CA issue a new one; podium reads it while it runs"
    };
    let left = left(end, now);
    if seconds(now) < begin.timestamp() {
        let advice = Step::Advice("check the clocks of this host and of the CA".to_owned());
        return Finding::new(
            &key,
            Severity::Fail,
            format!("valid only from {}", shown(begin)),
            wanted,
            why,
            vec![advice],
        );
    }
    let (severity, value) = match left {
        0.. => (Severity::Warn, format!("{} days left, until {}", left / DAY, shown(end))),
        _ => (Severity::Fail, format!("has ended on {}", shown(end))),
    };
    Finding::judge(left >= days * DAY, severity, (&key, value, wanted), why, Step::Advice(advice.to_owned()))
}

fn list(file: &str, der: &[u8], now: WallTime) -> Finding {
    let why = "what was revoked after a list was made does not count; an old list still holds";
    let Ok((_, list)) = CertificateRevocationList::from_der(der) else {
        return Finding::new(file, Severity::Fail, "an unreadable revocation list", "readable", why, Vec::new());
    };
    let key = format!("{file}: CRL of {}", list.issuer());
    let wanted = format!("not due for {LIST_DAYS} days");
    let Some(next) = list.next_update() else {
        return Finding::ok(&key, "without an end", wanted, why);
    };
    let left = left(next, now);
    let value = match left {
        0.. => format!("due in {} days, on {}", left / DAY, shown(next)),
        _ => format!("was due on {}", shown(next)),
    };
    let advice = Step::Advice("fetch the new list from the CA; podium reads it while it runs".to_owned());
    Finding::judge(left >= LIST_DAYS * DAY, Severity::Warn, (&key, value, wanted), why, advice)
}

const fn seconds(now: WallTime) -> i64 {
    now.as_millis() / 1_000
}

fn left(end: ASN1Time, now: WallTime) -> i64 {
    end.timestamp().saturating_sub(seconds(now))
}

fn shown(time: ASN1Time) -> String {
    WallTime::from_millis(time.timestamp().saturating_mul(1_000)).to_seconds_string()
}
