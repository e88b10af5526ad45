//! What the CA bundle and its revocation lists say together (RFC 5280, 5): which certificates are revoked, which CAs are
//! still good, and what an operator should know before agents find it out.

use std::collections::HashSet;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate, X509Name};

use crate::clock::WallTime;
use crate::link::CertificateId;
use crate::tls::identity::certificate_id;

/// What is trusted, and what not any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Revoked certificates, sorted; 16 bytes each.
    pub revoked: Vec<CertificateId>,
    /// The CAs that are good, sorted, each named by its subject and key: a renewed certificate is the same CA.
    pub authorities: Vec<CertificateId>,
    /// When the first of the lists should be replaced.
    pub next_update: Option<WallTime>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// CAs and lists in the form in which they are given to the verifier.
pub struct Examined {
    /// Without those that are revoked themselves: what is trusted directly, rustls does not look up in any list.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Newest first, because rustls takes the first of an issuer. Without those of CAs that are not in the bundle: with
    /// them a peer could send such a CA along, and when that CA is revoked nobody would know which connections to end.
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    /// What they say.
    pub trust: Trust,
}

/// Which file is wrong, and how.
pub enum Unreadable {
    /// The bundle.
    Authority(String),
    /// The file of lists.
    List(String),
}

/// One list without its entries.
struct Header {
    issuer: Vec<u8>,
    issuer_text: String,
    this_update: i64,
}

/// Looks at a bundle and its lists; without any list nothing is checked.
pub fn examine(
    authorities: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    now: WallTime,
) -> Result<Examined, Unreadable> {
    let mut trust = Trust::default();
    let mut headed = Vec::with_capacity(lists.len());
    for list in lists {
        let header = read_list(&list, now, &mut trust)?;
        headed.push((header, list));
    }
    trust.revoked.sort_unstable();
    trust.revoked.dedup();
    headed.sort_by_key(|(header, _)| std::cmp::Reverse(header.this_update));
    let issuers: HashSet<&[u8]> = headed.iter().map(|(header, _)| &*header.issuer).collect();
    let mut subjects = HashSet::new();
    let mut good = Vec::with_capacity(authorities.len());
    for authority in authorities {
        if judge_authority(&authority, &issuers, &mut subjects, &mut trust)? {
            good.push(authority);
        }
    }
    trust.authorities.sort_unstable();
    let (known, strange): (Vec<_>, Vec<_>) =
        headed.into_iter().partition(|(header, _)| subjects.contains(&header.issuer));
    for (header, _) in &strange {
        let issuer = &header.issuer_text;
        trust.warnings.push(format!(
            "the CRL of {issuer} has no effect: that CA is not in the bundle; certificates that it issued are refused, \
             even if their holders send its certificate along"
        ));
    }
    // Without any list rustls would check nothing.
    let lists = if known.is_empty() { strange } else { known };
    Ok(Examined { authorities: good, lists: lists.into_iter().map(|(_, list)| list).collect(), trust })
}

fn read_list(der: &[u8], now: WallTime, trust: &mut Trust) -> Result<Header, Unreadable> {
    let (_, list) = CertificateRevocationList::from_der(der)
        .map_err(|error| Unreadable::List(format!("holds an unreadable CRL: {error}")))?;
    let issuer = list.issuer().as_raw();
    trust.revoked.extend(list.iter_revoked_certificates().map(|entry| certificate_id(issuer, entry.raw_serial())));
    if let Some(next) = list.next_update().map(wall_time) {
        if next <= now {
            trust.warnings.push(format!(
                "the CRL of {} should have been replaced on {}: it still holds, but certificates revoked since then do \
                 not count as revoked; fetch a new one from the CA",
                text(list.issuer()),
                next.to_seconds_string()
            ));
        }
        trust.next_update = Some(trust.next_update.map_or(next, |earliest| earliest.min(next)));
    }
    let this_update = wall_time(list.last_update());
    if this_update > now {
        trust.warnings.push(format!(
            "the CRL of {} is of {}, which is yet to come: check the clocks of this host and of the CA",
            text(list.issuer()),
            this_update.to_seconds_string()
        ));
    }
    Ok(Header {
        issuer: issuer.to_vec(),
        issuer_text: text(list.issuer()),
        this_update: list.last_update().timestamp(),
    })
}

/// Whether the CA may be trusted.
fn judge_authority(
    der: &[u8],
    issuers: &HashSet<&[u8]>,
    subjects: &mut HashSet<Vec<u8>>,
    trust: &mut Trust,
) -> Result<bool, Unreadable> {
    let (_, authority) = X509Certificate::from_der(der)
        .map_err(|error| Unreadable::Authority(format!("holds an unreadable CA certificate: {error}")))?;
    let subject = authority.subject().as_raw();
    subjects.insert(subject.to_vec());
    if trust.revoked.binary_search(&certificate_id(authority.issuer().as_raw(), authority.raw_serial())).is_ok() {
        let (name, issuer) = (text(authority.subject()), text(authority.issuer()));
        trust.warnings.push(format!(
            "the CA {name} is revoked by the CRL of {issuer}: nothing that it issued is accepted; take it out of the \
             bundle"
        ));
        return Ok(false);
    }
    if !issuers.is_empty() && !issuers.contains(subject) {
        trust.warnings.push(format!(
            "there is no CRL of the CA {}: certificates that it issued are refused; add its CRL to the file",
            text(authority.subject())
        ));
    }
    trust.authorities.push(certificate_id(subject, authority.public_key().raw));
    Ok(true)
}

fn wall_time(time: ASN1Time) -> WallTime {
    WallTime::from_millis(time.timestamp().saturating_mul(1000))
}

fn text(name: &X509Name<'_>) -> String {
    name.to_string()
}

#[cfg(test)]
mod tests;
