//! What the CA has issued and revoked, read back from its own files: Puppet's `inventory.txt` and the CRL (RFC 5280,
//! section 5).

use std::fmt;

use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::clock::WallTime;

/// The CA's own serial number.
const CA_SERIAL: u64 = 1;

/// Whether a certificate can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Valid,
    /// Its time is over.
    Expired,
    /// It is on the CRL.
    Revoked,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Common name.
    pub name: String,
    /// Serial number.
    pub serial: u64,
    /// Puppet's form of a time: `2026-03-01T10:15:30UTC`.
    pub not_before: String,
    /// Likewise.
    pub not_after: String,
    /// Whether it can be used.
    pub state: State,
}

impl Entry {
    /// Of a certificate that has just been made.
    pub fn of_pem(pem: &str) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| format!("is not PEM: {error}"))?;
        let certificate = pem.parse_x509().map_err(|error| format!("holds no certificate: {error}"))?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            name: name.ok_or("has no common name")?.to_owned(),
            serial: serial_of(certificate.raw_serial()).ok_or("has a serial number of another CA")?,
            not_before: puppet_time(certificate.validity().not_before.timestamp()),
            not_after: puppet_time(certificate.validity().not_after.timestamp()),
            state: State::Valid,
        })
    }

    /// Of a line of the inventory.
    pub fn of_line(line: &str, crl: &Crl) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let serial = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        let (not_before, not_after) = (words.next()?, words.next()?);
        let name = words.next()?.strip_prefix("/CN=")?;
        let state = if crl.revoked.iter().any(|(revoked, _)| *revoked == serial) {
            State::Revoked
        } else if *not_after < *puppet_time(WallTime::now().as_millis() / 1000) {
            State::Expired
        } else {
            State::Valid
        };
        Some(Self {
            name: name.to_owned(),
            serial,
            not_before: not_before.to_owned(),
            not_after: not_after.to_owned(),
            state,
        })
    }

    /// The line of the inventory.
    pub fn line(&self) -> String {
        format!("0x{:04X} {} {} /CN={}\n", self.serial, self.not_before, self.not_after, self.name)
    }

    /// Whether it is the CA's own.
    pub fn is_ca(&self) -> bool {
        self.serial == CA_SERIAL
    }
}

/// What a CRL says.
pub struct Crl {
    /// Counts the lists.
    pub number: u64,
    /// Serial numbers, with the time of revocation.
    pub revoked: Vec<(u64, WallTime)>,
}

impl Crl {
    pub fn of_pem(pem: &str) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| format!("is not PEM: {error}"))?;
        let (_, crl) = CertificateRevocationList::from_der(&pem.contents)
            .map_err(|error| format!("holds no revocation list: {error}"))?;
        let number = crl.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::CRLNumber(number) => u64::try_from(number).ok(),
            _ => None,
        });
        let revoked = crl
            .iter_revoked_certificates()
            .map(|entry| {
                let time = WallTime::from_millis(entry.revocation_date.timestamp().saturating_mul(1000));
                serial_of(entry.raw_serial()).map(|serial| (serial, time))
            })
            .collect::<Option<Vec<_>>>();
        Ok(Self {
            number: number.ok_or("has no number")?,
            revoked: revoked.ok_or("lists a serial number of another CA")?,
        })
    }
}

/// Big-endian, with the zero that keeps DER's integers positive.
fn serial_of(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let significant = &bytes[start..];
    (significant.len() <= 8).then(|| significant.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn puppet_time(seconds: i64) -> String {
    let text = WallTime::from_millis(seconds.saturating_mul(1000)).to_seconds_string();
    text.replace('Z', "UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_positive_integers() {
        assert_eq!(serial_of(&[0, 0x80]), Some(128));
        assert_eq!(serial_of(&[1, 0]), Some(256));
        assert_eq!(serial_of(&[]), Some(0));
        assert_eq!(serial_of(&[1; 9]), None);
    }

    #[test]
    fn lines_of_the_inventory() {
        let crl = Crl { number: 1, revoked: vec![(10, WallTime::from_millis(0))] };
        let line = "0x000A 2020-01-01T00:00:00UTC 2090-01-01T00:00:00UTC /CN=web1\n";
        let entry = Entry::of_line(line.trim_end(), &crl).unwrap();
        assert_eq!((entry.name.as_str(), entry.serial, entry.state), ("web1", 10, State::Revoked));
        assert_eq!(entry.line(), line);
        let expired = Entry::of_line("0x0001 2020-01-01T00:00:00UTC 2021-01-01T00:00:00UTC /CN=web1", &crl).unwrap();
        assert_eq!(expired.state, State::Expired);
        assert_eq!(Entry::of_line("0x0001 /CN=web1", &crl), None);
    }
}
