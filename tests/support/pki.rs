//! Certificates for thousands of agents: one CA, one key for all of them, a name each. Making a key each would take
//! longer than everything else.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use podium::tls::material::provider;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, RsaKeySize,
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
        let write = |name: &str, content: String| {
            let path = self.directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        ServerFiles {
            certificate: write("server.pem", self.issue("localhost").pem()),
            key: write("server.key", self.key.serialize_pem()),
            ca: write("ca.pem", self.ca.pem()),
        }
    }

    /// An agent's side of a handshake.
    pub fn agent(&self, name: &str, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let certified = CertifiedKey::new(vec![self.issue(name).der().clone()], self.signing.clone());
        let builder = self.builder(version);
        let mut config = builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
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

    fn issue(&self, name: &str) -> rcgen::Certificate {
        params(name).signed_by(&self.key, &self.issuer).unwrap()
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
