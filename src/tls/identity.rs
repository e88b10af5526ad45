//! Who a certificate names: the subject's common name, and which certificate it is (RFC 5280, 4.1.2). Puppet identifies
//! nodes by the common name; rustls has verified the chain before anything here is asked.

use x509_parser::prelude::{FromDer, X509Certificate};

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
}

impl IdentityError {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "certificate-unreadable",
            Self::NoCommonName => "certificate-without-name",
            Self::UnusableCommonName => "certificate-name-unusable",
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
    let certificate = certificate_id(certificate.issuer().as_raw(), certificate.raw_serial());
    Ok(PeerName { common_name: name.into(), certificate, attributes: CertificateAttributes::default() })
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
