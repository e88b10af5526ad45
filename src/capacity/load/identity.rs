//! A certificate for each simulated name, signed with the key of a CA that the operator gives. All names share one key:
//! making a key each would take longer than everything else, and brokers never compare them. Certificates are as
//! Puppet's CA makes them (RFC 5280); they lie one behind the other in one piece of memory.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, RsaKeySize, SanType, SerialNumber,
};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use x509_parser::pem::parse_x509_pem;
use x509_parser::time::ASN1Time;

use super::LoadError;
use super::plan::{Keys, Plan, TlsVersions};
use crate::clock::WallTime;
use crate::link::Dial;
use crate::random::{Random, seed};
use crate::reactor::Outfitter;
use crate::tls::material::provider;

/// The index of the controller's certificate.
pub const CONTROLLER: u32 = u32::MAX;

const DAY_SECONDS: i64 = 86_400;

/// The names of one process with all they need to connect.
pub struct Identities {
    template: ClientConfig,
    certificates: Arc<Certificates>,
    address: SocketAddr,
    sources: Vec<IpAddr>,
    first: u32,
}

/// All certificates and the key they share.
#[derive(Debug)]
struct Certificates {
    key: Arc<dyn SigningKey>,
    /// DER, one behind the other; the controller's is the last.
    all: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Certificates {
    fn get(&self, index: usize) -> CertificateDer<'static> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        CertificateDer::from(self.all[start..self.ends[index]].to_vec())
    }
}

/// Presents one of them. It is put together when it is needed: a session may keep its resolver for as long as it lives.
#[derive(Debug)]
struct Presented {
    certificates: Arc<Certificates>,
    index: usize,
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let chain = vec![self.certificates.get(self.index)];
        Some(Arc::new(CertifiedKey::new(chain, self.certificates.key.clone())))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Identities {
    /// Makes all certificates of a plan.
    pub fn make(plan: &Plan) -> Result<Self, LoadError> {
        let authority = Authority::read(&plan.ca_certificate, &plan.ca_key)?;
        let key = generate(plan.keys)?;
        let private = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| LoadError::Failed(format!("the agents' key cannot be used: {error}")))?;
        let signing = provider().key_provider.load_private_key(private).map_err(failed)?;
        let mut names: Vec<String> = (0..plan.connections).map(|index| plan.name_of(index)).collect();
        names.extend((0..plan.slow_count()).map(|index| plan.slow_name(index)));
        // Without a controller nobody presents this one.
        names.push(plan.controller.as_ref().map_or_else(|| plan.name_of(0), |(name, _)| name.clone()));
        let (mut all, mut ends) = (Vec::new(), Vec::with_capacity(names.len()));
        for certificate in authority.sign_all(&names, &key)? {
            all.extend_from_slice(&certificate);
            ends.push(all.len());
        }
        all.shrink_to_fit();
        let certificates = Arc::new(Certificates { key: signing, all, ends });
        let template = template(plan.tls, authority.roots)?;
        Ok(Self { template, certificates, address: plan.address, sources: plan.sources.clone(), first: plan.first })
    }

    /// The configuration of one of the agents, of those that do not read after the last of them, or of the controller.
    pub fn config(&self, index: u32) -> ClientConfig {
        let last = self.certificates.ends.len() - 1;
        let index = (index as usize).min(last);
        let mut config = self.template.clone();
        config.client_auth_cert_resolver = Arc::new(Presented { certificates: self.certificates.clone(), index });
        config
    }

    /// Bytes of all certificates.
    pub fn bytes(&self) -> usize {
        self.certificates.all.len() + size_of_val(&*self.certificates.ends)
    }

    /// The local address of one of the agents.
    pub fn source_of(&self, index: u32) -> Option<IpAddr> {
        let count = self.sources.len().checked_sub(1)? + 1;
        Some(self.sources[(self.first as usize).wrapping_add(index as usize) % count])
    }
}

impl Outfitter for Identities {
    fn tls(&self, dial: &Dial) -> Option<Arc<ClientConfig>> {
        Some(Arc::new(self.config(u32::try_from(dial.tag.0).unwrap_or(CONTROLLER))))
    }

    fn address(&self, _dial: &Dial) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn source(&self, dial: &Dial) -> Option<IpAddr> {
        self.source_of(u32::try_from(dial.tag.0).unwrap_or(CONTROLLER))
    }
}

/// The CA that signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    fn read(certificate: &Path, key: &Path) -> Result<Self, LoadError> {
        let read = |path: &Path, flag: &str| {
            std::fs::read_to_string(path)
                .map_err(|error| LoadError::Usage(format!("{flag}: {} cannot be read: {error}", path.display())))
        };
        let (ca_text, key_text) = (read(certificate, "the CA's certificate")?, read(key, "the CA's key")?);
        let bad = |what: String| LoadError::Usage(format!("{}: {what}", certificate.display()));
        let ca_key = KeyPair::from_pem(&key_text)
            .map_err(|error| LoadError::Usage(format!("{}: no usable private key: {error}", key.display())))?;
        let (_, pem) = parse_x509_pem(ca_text.as_bytes()).map_err(|error| bad(format!("is not PEM: {error}")))?;
        let parsed = pem.parse_x509().map_err(|error| bad(format!("holds no certificate: {error}")))?;
        if parsed.public_key().raw != ca_key.subject_public_key_info() {
            return Err(bad(format!("its first certificate and the key {} do not belong together", key.display())));
        }
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca_text.as_bytes()) {
            let authority = authority.map_err(|error| bad(format!("is not PEM: {error}")))?;
            roots.add(authority).map_err(|error| bad(format!("holds an unusable CA certificate: {error}")))?;
        }
        let issuer = Issuer::from_ca_cert_pem(&ca_text, ca_key).map_err(|error| bad(error.to_string()))?;
        Ok(Self { issuer, roots })
    }

    /// Signs for all names, on all cores: with an RSA-4096 CA each takes milliseconds.
    fn sign_all(&self, names: &[String], key: &KeyPair) -> Result<Vec<Vec<u8>>, LoadError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let sign = |names: &[String]| {
            let mut random = Random::seeded(seed());
            names.iter().map(|name| self.sign(name, key, &mut random)).collect::<Result<Vec<_>, _>>()
        };
        let parts = std::thread::scope(|scope| {
            let part = names.len().div_ceil(threads);
            let workers: Vec<_> = names.chunks(part).map(|names| scope.spawn(move || sign(names))).collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, Result<Vec<Vec<u8>>, LoadError>>| {
                worker.join().unwrap_or_else(|_| Err(LoadError::Failed("a thread that signs has panicked".to_owned())))
            };
            workers.into_iter().map(join).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    fn sign(&self, name: &str, key: &KeyPair, random: &mut Random) -> Result<Vec<u8>, LoadError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(&(random.next_u64() >> 1 | 1 << 62).to_be_bytes()));
        let now = WallTime::now().as_millis() / 1000;
        params.not_before = time(now - DAY_SECONDS)?.to_datetime();
        params.not_after = time(now + 5 * 365 * DAY_SECONDS)?.to_datetime();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(failed)?));
        let certificate = params.signed_by(key, &self.issuer).map_err(failed)?;
        Ok(certificate.der().to_vec())
    }
}

fn time(seconds: i64) -> Result<ASN1Time, LoadError> {
    ASN1Time::from_timestamp(seconds).map_err(|_| LoadError::Failed("the clock of this host is wrong".to_owned()))
}

fn generate(keys: Keys) -> Result<KeyPair, LoadError> {
    match keys {
        Keys::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        Keys::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        Keys::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
    .map_err(failed)
}

fn template(versions: TlsVersions, roots: RootCertStore) -> Result<ClientConfig, LoadError> {
    let versions = match versions {
        TlsVersions::Tls12 => vec![&TLS12],
        TlsVersions::Tls13 => vec![&TLS13],
        TlsVersions::Either => vec![&TLS13, &TLS12],
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&versions).map_err(failed)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // As the deployed agents, which never resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn failed(error: impl std::fmt::Display) -> LoadError {
    LoadError::Failed(format!("the cryptography failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{self, KeyType};
    use crate::capacity::load::plan::tests::plan;
    use crate::tls::identity::peer_name;

    fn with_ca(dir: &Path) -> Plan {
        ca::Authority::create(dir, "Lab", KeyType::P256).unwrap();
        Plan { ca_certificate: dir.join("ca/ca_crt.pem"), ca_key: dir.join("ca/ca_key.pem"), ..plan() }
    }

    #[test]
    fn every_name_has_a_certificate_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let plan =
            Plan { sources: vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()], ..with_ca(dir.path()) };
        let identities = Identities::make(&plan).unwrap();
        let named = |index: u32| {
            let key = identities.config(index).client_auth_cert_resolver.resolve(&[], &[]).unwrap();
            peer_name(&key.cert[0]).unwrap()
        };
        for index in 0..10 {
            assert_eq!(&*named(index).common_name, plan.name_of(index));
        }
        assert_eq!(&*named(CONTROLLER).common_name, "ctl");
        assert_ne!(named(0).certificate, named(1).certificate);
        assert_ne!(identities.source_of(0), identities.source_of(1));
        assert!(identities.bytes() < 11 * 700, "{}", identities.bytes());
    }

    #[test]
    fn what_is_wrong_with_the_ca_is_said() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plan = with_ca(dir.path());
        with_ca(other.path());
        let refused = |plan: &Plan| Identities::make(plan).err().unwrap().to_string();
        let other_key = Plan { ca_key: other.path().join("ca/ca_key.pem"), ..plan.clone() };
        assert!(refused(&other_key).contains("do not belong together"));
        let no_key = Plan { ca_key: plan.ca_certificate.clone(), ..plan.clone() };
        assert!(refused(&no_key).contains("no usable private key"));
        let missing = Plan { ca_certificate: "/nowhere/ca.pem".into(), ..plan.clone() };
        assert!(refused(&missing).contains("/nowhere/ca.pem cannot be read"));
        std::fs::write(other.path().join("x"), "nothing").unwrap();
        let no_pem = Plan { ca_certificate: other.path().join("x"), ..plan };
        assert!(refused(&no_pem).contains("is not PEM"));
    }
}
