//! Who a certificate names: the subject's common name, which certificate it is (RFC 5280, 4.1.2), and what access rules
//! may ask of it besides: subject alternative names (4.2.1.6) and Puppet's extensions. Puppet identifies nodes by the
//! common name; rustls has verified the chain before anything here is asked.

use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::X509Certificate;

use crate::limits::{CERTIFICATE_ATTRIBUTE_BYTES_MAX, CERTIFICATE_ATTRIBUTES_MAX};
use crate::link::{CertificateAttributes, CertificateId, Identity};
use crate::sha256::Sha256;

/// What is known of the holder of a verified certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    /// The subject's common name.
    pub common_name: Box<str>,
    /// Which certificate it is.
    pub certificate: CertificateId,
    /// What else it says of its holder.
    pub attributes: CertificateAttributes,
}

impl PeerName {
    /// The same for an application.
    pub fn identity(&self) -> Identity<'_> {
        Identity { common_name: &self.common_name, certificate: self.certificate, attributes: &self.attributes }
    }
}

/// Why a certificate cannot be used to identify a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityError {
    /// Not a DER certificate.
    Unreadable,
    /// No common name, or more than one.
    NoCommonName,
    /// The common name cannot stand in a PCP URI: empty, with a slash, a wildcard, or with control characters.
    UnusableCommonName,
    /// A subject alternative name that is no name or address. Rules may forbid one, so it is not passed over.
    UnreadableAttributes,
    /// More subject alternative names and extensions than are kept.
    TooManyAttributes,
}

impl IdentityError {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "certificate-unreadable",
            Self::NoCommonName => "certificate-without-name",
            Self::UnusableCommonName => "certificate-name-unusable",
            Self::UnreadableAttributes => "certificate-attributes-unreadable",
            Self::TooManyAttributes => "certificate-attributes-too-many",
        }
    }
}

/// Reads the name from a DER certificate.
pub fn peer_name(certificate: &[u8]) -> Result<PeerName, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().ok_or(IdentityError::NoCommonName)?;
    if names.next().is_some() {
        return Err(IdentityError::NoCommonName);
    }
    let name = name.as_str().map_err(|_| IdentityError::UnusableCommonName)?;
    let usable = !name.is_empty()
        && name != "*"
        && name.len() <= crate::limits::URI_BYTES_MAX / 2
        && !name.chars().any(|c| c == '/' || c == '"' || c == '\\' || c.is_control());
    if !usable {
        return Err(IdentityError::UnusableCommonName);
    }
    let attributes = attributes(name, certificate.extensions())?;
    let common_name = name.into();
    let certificate = certificate_id(certificate.issuer().as_raw(), certificate.raw_serial());
    Ok(PeerName { common_name, certificate, attributes })
}

/// The arc of Puppet's extensions.
const PUPPET_ARC: &str = "1.3.6.1.4.1.34380.";

fn attributes(common_name: &str, extensions: &[X509Extension<'_>]) -> Result<CertificateAttributes, IdentityError> {
    let mut found = CertificateAttributes::default();
    let mut room = Room { count: CERTIFICATE_ATTRIBUTES_MAX, bytes: CERTIFICATE_ATTRIBUTE_BYTES_MAX };
    for extension in extensions {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    alternative_name(name, common_name, &mut found, &mut room)?;
                }
            }
            ParsedExtension::ParseError { .. } if is_alternative_name(extension) => {
                return Err(IdentityError::UnreadableAttributes);
            }
            _ => {
                let oid = extension.oid.to_id_string();
                if let Some(value) = oid.starts_with(PUPPET_ARC).then(|| text(extension.value)).flatten() {
                    room.take(oid.len() + value.len())?;
                    found.extensions.push((oid.into(), value.into()));
                }
            }
        }
    }
    Ok(found)
}

fn is_alternative_name(extension: &X509Extension<'_>) -> bool {
    extension.oid == x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME
}

fn alternative_name(
    name: &GeneralName<'_>,
    common_name: &str,
    found: &mut CertificateAttributes,
    room: &mut Room,
) -> Result<(), IdentityError> {
    match name {
        GeneralName::DNSName(name) if *name == common_name => {}
        GeneralName::DNSName(name) => {
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(IdentityError::UnreadableAttributes);
            }
            if !found.dns_names.iter().any(|known| **known == **name) {
                room.take(name.len())?;
                found.dns_names.push((*name).into());
            }
        }
        GeneralName::IPAddress(bytes) => {
            let address = address(bytes).ok_or(IdentityError::UnreadableAttributes)?.to_string();
            room.take(address.len())?;
            found.ip_addresses.push(address.into());
        }
        GeneralName::Invalid(..) => return Err(IdentityError::UnreadableAttributes),
        _ => {}
    }
    Ok(())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The text in an extension. Puppet writes it as a DER string, its old versions as it is; other kinds of values cannot
/// be asked for.
fn text(value: &[u8]) -> Option<&str> {
    let string = Any::from_der(value).ok().filter(|(rest, any)| {
        let is_string = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String].contains(&any.tag());
        rest.is_empty() && any.class() == Class::Universal && !any.header.is_constructed() && is_string
    });
    let bytes = string.map_or(value, |(_, any)| any.data);
    std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// What may still be kept of a certificate.
struct Room {
    count: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), IdentityError> {
        self.count = self.count.checked_sub(1).ok_or(IdentityError::TooManyAttributes)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(IdentityError::TooManyAttributes)?;
        Ok(())
    }
}

/// The id of the certificate with this serial number (big-endian, leading zeros do not matter) of this issuer (DER).
pub fn certificate_id(issuer: &[u8], serial: &[u8]) -> CertificateId {
    let mut hash = Sha256::default();
    hash.update(issuer);
    let leading_zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    hash.update(&serial[leading_zeros..]);
    let hash = hash.finish();
    CertificateId(std::array::from_fn(|index| hash[index]))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, SanType};

    use super::*;
    use crate::tls::testing::Pki;

    fn named(change: impl FnOnce(&mut CertificateParams)) -> Result<PeerName, IdentityError> {
        peer_name(Pki::new("ca").issue_with("a.example.com", change).der())
    }

    fn puppet_extension(last: &[u64], content: &[u8]) -> CustomExtension {
        let oid = [&[1, 3, 6, 1, 4, 1, 34380][..], last].concat();
        CustomExtension::from_oid_content(&oid, content.to_vec())
    }

    fn alternative_names(content: &[u8]) -> CustomExtension {
        CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec())
    }

    #[test]
    fn an_agent_has_nothing_but_its_name() {
        let name = named(|_| {}).unwrap();
        assert_eq!(&*name.common_name, "a.example.com");
        assert!(name.attributes.is_empty(), "its own name among the alternative names is not kept");
    }

    #[test]
    fn names_addresses_and_extensions() {
        let name = named(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("a.example.com".try_into().unwrap()),
                SanType::DnsName("Pool.example.com".try_into().unwrap()),
                SanType::DnsName("Pool.example.com".try_into().unwrap()),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8:0::1".parse().unwrap()),
                SanType::Rfc822Name("root@example.com".try_into().unwrap()),
            ];
            params.custom_extensions = vec![
                puppet_extension(&[1, 1, 13], b"\x0c\x03web"),
                puppet_extension(&[1, 1, 1], b"\x13\x02id"),
                puppet_extension(&[1, 2, 9], b"\x16\x02ia"),
                puppet_extension(&[1, 1, 12], b"production"),
                puppet_extension(&[1, 1, 14], b"\x02\x01\x05"),
                puppet_extension(&[1, 1, 15], b"\x0c\x09short"),
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 343801, 1], b"\x0c\x01x".to_vec()),
            ];
        })
        .unwrap();
        let found = name.attributes;
        assert_eq!(found.dns_names, ["Pool.example.com".into()]);
        assert_eq!(found.ip_addresses, ["192.0.2.7".into(), "2001:db8::1".into()]);
        let extensions: Vec<(&str, &str)> = found.extensions.iter().map(|(oid, value)| (&**oid, &**value)).collect();
        let expected = [
            ("1.3.6.1.4.1.34380.1.1.13", "web"),
            ("1.3.6.1.4.1.34380.1.1.1", "id"),
            ("1.3.6.1.4.1.34380.1.2.9", "ia"),
            ("1.3.6.1.4.1.34380.1.1.12", "production"),
        ];
        assert_eq!(extensions, expected, "numbers and broken strings are not text");
    }

    #[test]
    fn names_that_cannot_be_read_are_refused() {
        for (content, what) in [
            (&b"\x30\x05\x82\x03a\x00b"[..], "a control character"),
            (b"\x30\x02\x82\x00", "an empty name"),
            (b"\x30\x03\x82\x01\xff", "not UTF-8"),
            (b"\x30\x05\x87\x03\x01\x02\x03", "an address of three bytes"),
            (b"\x30\x7f\x82", "cut off"),
            (b"", "nothing"),
        ] {
            let found = named(|params| {
                params.subject_alt_names.clear();
                params.custom_extensions = vec![alternative_names(content)];
            });
            assert_eq!(found.unwrap_err(), IdentityError::UnreadableAttributes, "{what}");
        }
    }

    #[test]
    fn what_is_kept_has_limits() {
        let with = |count: usize, bytes: usize| {
            named(|params| {
                let names = (0..count).map(|index| format!("{index:0bytes$}").try_into().unwrap());
                params.subject_alt_names = names.map(SanType::DnsName).collect();
            })
        };
        assert_eq!(with(CERTIFICATE_ATTRIBUTES_MAX, 5).unwrap().attributes.dns_names.len(), CERTIFICATE_ATTRIBUTES_MAX);
        assert_eq!(with(CERTIFICATE_ATTRIBUTES_MAX + 1, 5).unwrap_err(), IdentityError::TooManyAttributes);
        assert!(with(1, CERTIFICATE_ATTRIBUTE_BYTES_MAX).is_ok());
        assert_eq!(with(1, CERTIFICATE_ATTRIBUTE_BYTES_MAX + 1).unwrap_err(), IdentityError::TooManyAttributes);
    }

    #[test]
    fn damaged_certificates_do_not_panic() {
        let pki = Pki::new("ca");
        let issued = pki.issue_with("a", |params| {
            params.subject_alt_names = vec![SanType::IpAddress("192.0.2.7".parse().unwrap())];
            params.custom_extensions = vec![puppet_extension(&[1, 1, 13], b"\x0c\x03web")];
        });
        let der = issued.der();
        for at in 0..der.len() {
            let mut damaged = der.to_vec();
            for byte in [0, 1, 0x7f, 0x80, 0x81, 0xff] {
                damaged[at] = byte;
                let _ = peer_name(&damaged);
            }
            let _ = peer_name(&der[..at]);
        }
    }
}
