//! Certificates for thousands of agents: one CA, one key for all of them, a name each. Making a key each would take
//! longer than everything else.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use podium::tls::material::provider;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, RsaKeySize, SerialNumber, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// What the keys of CA and hosts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Quick.
    P256,
    /// As Puppet's CA makes them; the server keeps the larger certificate of each peer.
    Rsa4096,
}

/// A CA and the keys that it certifies.
pub struct Pki {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: rcgen::Certificate,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
}

/// Where the server finds its files.
pub struct ServerFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
    pub crl: Option<PathBuf>,
}

impl Pki {
    pub fn new(keys: Keys) -> Self {
        let mut params = params("ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = generate(keys);
        let ca = params.self_signed(&ca_key).unwrap();
        let key = generate(keys);
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signing = provider().key_provider.load_private_key(private).unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { directory, issuer: Issuer::new(params, ca_key), ca, key, signing }
    }

    /// The files of a server called `localhost`.
    pub fn server_files(&self) -> ServerFiles {
        ServerFiles {
            certificate: self.write("server.pem", self.issue(params("localhost")).pem()),
            key: self.write("server.key", self.key.serialize_pem()),
            ca: self.write("ca.pem", self.ca.pem()),
            crl: None,
        }
    }

    /// The same with a list of revoked certificates, by their serial numbers.
    pub fn server_files_with_crl(&self, revoked: &[u64]) -> ServerFiles {
        let revoked = revoked.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = crl.signed_by(&self.issuer).unwrap();
        ServerFiles { crl: Some(self.write("crl.pem", crl.pem().unwrap())), ..self.server_files() }
    }

    fn write(&self, name: &str, content: String) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// An agent's side of a handshake.
    pub fn agent(&self, name: &str, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        self.presenting(self.certify(name, |_| {}), version)
    }

    /// The same with a certificate that is made elsewhere or in another way.
    pub fn presenting(&self, certified: CertifiedKey, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let builder = self.builder(version);
        let mut config = builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    /// A certificate as an agent has it, except for what `change` does. The CA's goes with it, as with deployed agents.
    pub fn certify(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertifiedKey {
        let mut params = params(name);
        change(&mut params);
        let chain = vec![self.issue(params).der().clone(), self.ca.der().clone()];
        CertifiedKey::new(chain, self.signing.clone())
    }

    /// The same without a certificate.
    pub fn anonymous(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        Arc::new(self.builder(version).with_no_client_auth())
    }

    fn builder(
        &self,
        version: &'static SupportedProtocolVersion,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        builder.with_root_certificates(roots)
    }

    fn issue(&self, params: CertificateParams) -> rcgen::Certificate {
        params.signed_by(&self.key, &self.issuer).unwrap()
    }
}

fn generate(keys: Keys) -> KeyPair {
    match keys {
        Keys::P256 => KeyPair::generate().unwrap(),
        Keys::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap(),
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
