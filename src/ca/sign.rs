//! Keys, certificates and revocation lists: what is in them, as Puppet's CA makes them (RFC 5280).

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, RsaKeySize, SanType, SerialNumber,
};
use x509_parser::pem::parse_x509_pem;
use x509_parser::time::ASN1Time;

use super::CaError;
use super::files::Layout;
use crate::clock::WallTime;

const DAY_SECONDS: i64 = 86_400;
/// Puppet's: clocks of nodes may be behind.
const BACKDATED_SECONDS: i64 = DAY_SECONDS;
/// Puppet's lives of a CA, a certificate and a revocation list.
const CA_SECONDS: i64 = 15 * 365 * DAY_SECONDS;
const LEAF_SECONDS: i64 = 5 * 365 * DAY_SECONDS;
const CRL_SECONDS: i64 = 5 * 365 * DAY_SECONDS;

/// What keys are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyType {
    /// ECDSA on P-256: a handshake costs a tenth of RSA's.
    P256,
    /// RSA with 4096 bits, as Puppet's CA makes them.
    Rsa4096,
}

/// Further names of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AltNames {
    /// Host names.
    pub dns: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// The CA's key and name.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    key_type: KeyType,
}

impl Signer {
    /// A new key with its self-signed certificate, PEM.
    pub fn create(common_name: &str, key_type: KeyType) -> Result<(Self, String), CaError> {
        let key = generate(key_type)?;
        let now = WallTime::now();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(serial(1));
        set_validity(&mut params, now, CA_SECONDS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(signing)?;
        Ok((Self { issuer: Issuer::new(params, key), key_type }, certificate.pem()))
    }

    /// From the files.
    pub fn open(layout: &Layout, certificate: &str, key: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key)
            .map_err(|error| layout.error(&layout.ca_key, format!("holds no usable private key: {error}")))?;
        let bad = |message: String| layout.error(&layout.ca_certificate, message);
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|error| bad(format!("is not PEM: {error}")))?;
        let parsed = pem.parse_x509().map_err(|error| bad(format!("holds no certificate: {error}")))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::KeyMismatch {
                certificate: layout.ca_certificate.clone(),
                key: layout.ca_key.clone(),
            });
        }
        let is_ecdsa = key.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key_type = if is_ecdsa { KeyType::P256 } else { KeyType::Rsa4096 };
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|error| bad(error.to_string()))?;
        Ok(Self { issuer, key_type })
    }

    /// The CA's key, PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for servers and clients alike, and its key, both PEM.
    pub fn issue(
        &self,
        name: &str,
        number: u64,
        alt_names: &AltNames,
        now: WallTime,
    ) -> Result<(String, String), CaError> {
        let key = generate(self.key_type)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial(number));
        set_validity(&mut params, now, LEAF_SECONDS)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let others = alt_names.dns.iter().filter(|other| *other != name);
        for dns in std::iter::once(name).chain(others.map(String::as_str)) {
            params.subject_alt_names.push(SanType::DnsName(dns.try_into().map_err(signing)?));
        }
        params.subject_alt_names.extend(alt_names.addresses.iter().map(|address| SanType::IpAddress(*address)));
        let certificate = params.signed_by(&key, &self.issuer).map_err(signing)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// A revocation list, PEM.
    pub fn crl(&self, revoked: &[(u64, WallTime)], number: u64, now: WallTime) -> Result<String, CaError> {
        let seconds = now.as_millis() / 1000;
        let revoked_certs = revoked
            .iter()
            .map(|(number, at)| {
                Ok(RevokedCertParams {
                    serial_number: serial(*number),
                    revocation_time: time(at.as_millis() / 1000)?.to_datetime(),
                    reason_code: None,
                    invalidity_date: None,
                })
            })
            .collect::<Result<Vec<_>, CaError>>()?;
        let params = CertificateRevocationListParams {
            this_update: time(seconds - BACKDATED_SECONDS)?.to_datetime(),
            next_update: time(seconds + CRL_SECONDS)?.to_datetime(),
            crl_number: serial(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|crl| crl.pem()).map_err(signing)
    }
}

fn generate(key_type: KeyType) -> Result<KeyPair, CaError> {
    match key_type {
        KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
    .map_err(signing)
}

fn set_validity(params: &mut CertificateParams, now: WallTime, life_seconds: i64) -> Result<(), CaError> {
    let seconds = now.as_millis() / 1000;
    params.not_before = time(seconds - BACKDATED_SECONDS)?.to_datetime();
    params.not_after = time(seconds + life_seconds)?.to_datetime();
    Ok(())
}

fn time(seconds: i64) -> Result<ASN1Time, CaError> {
    ASN1Time::from_timestamp(seconds).map_err(|_| CaError::Signing("the clock of this host is wrong".to_owned()))
}

fn serial(number: u64) -> SerialNumber {
    let bytes = number.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    SerialNumber::from_slice(&bytes[start..])
}

fn signing(error: rcgen::Error) -> CaError {
    CaError::Signing(error.to_string())
}
