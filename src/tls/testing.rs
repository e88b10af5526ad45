//! A small PKI for tests, as Puppet would issue it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::settings::CertificatePaths;
use crate::config::settings::TlsSessions;
use crate::tls::material::{ClientAuth, Material, provider};
use crate::tls::resumption::ServerTls;

/// One CA, its files and what it has issued.
pub(crate) struct Pki {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    serial: AtomicU64,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    key: KeyPair,
    pub(crate) serial: u64,
}

impl Issued {
    /// The certificate.
    pub(crate) fn der(&self) -> &[u8] {
        self.certificate.der()
    }
}

impl Pki {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        let pki = Self {
            directory,
            issuer: Issuer::new(params, key),
            ca: certificate.der().clone(),
            serial: AtomicU64::new(1),
        };
        pki.revoke(&[]);
        pki
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| {})
    }

    pub(crate) fn issue_expired(&self, name: &str) -> Issued {
        self.issue_with(name, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// A certificate that differs from what Puppet issues.
    pub(crate) fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = params(name);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key, serial }
    }

    /// A CA below this one, with files of its own, and its certificate's serial number here.
    pub(crate) fn intermediate(&self, name: &str) -> (Self, u64) {
        let mut params = params(name);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        let ca = certificate.der().clone();
        let pki = Self { directory, issuer: Issuer::new(params, key), ca, serial: AtomicU64::new(1) };
        pki.revoke(&[]);
        (pki, serial)
    }

    /// A CRL of this CA from these years, PEM.
    pub(crate) fn crl(&self, serials: impl IntoIterator<Item = u64>, years: (i32, i32)) -> String {
        let revoked = serials.into_iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(years.0, 1, 1),
            next_update: date_time_ymd(years.1, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        crl.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Writes the CRL anew.
    pub(crate) fn revoke(&self, revoked: &[&Issued]) {
        let crl = self.crl(revoked.iter().map(|issued| issued.serial), (2024, 2124));
        std::fs::write(self.directory.path().join("crl.pem"), crl).unwrap();
    }

    /// The files of a host of this CA.
    pub(crate) fn paths(&self, issued: &Issued) -> CertificatePaths {
        let path = |name: String| -> PathBuf { self.directory().join(name) };
        let certificate = path(format!("{}.pem", issued.serial));
        let key = path(format!("{}.key", issued.serial));
        std::fs::write(&certificate, issued.certificate.pem()).unwrap();
        std::fs::write(&key, issued.key.serialize_pem()).unwrap();
        CertificatePaths { certificate, key, ca: self.ca(), crl: Some(path("crl.pem".to_owned())) }
    }

    /// Where the files are; there is room for others.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The CA's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.directory().join("ca.pem")
    }

    /// The material of a host that gets a certificate for it.
    pub(crate) fn material(&self, name: &str) -> Material {
        Material::load(&self.paths(&self.issue(name))).unwrap()
    }

    pub(crate) fn server(&self, issued: &Issued) -> Arc<ServerConfig> {
        Material::load(&self.paths(issued)).unwrap().server_config(ClientAuth::Required).unwrap()
    }

    /// As the program listens.
    pub(crate) fn listener(&self, issued: &Issued) -> Arc<ServerTls> {
        Material::load(&self.paths(issued)).unwrap().listener(ClientAuth::Required, TlsSessions::Compact).unwrap()
    }

    /// Takes tickets of the former listener, and lets in whom the latter lets in.
    pub(crate) fn mixed(tickets: &ServerTls, verifier: &ServerTls) -> Arc<ServerTls> {
        Arc::new(ServerTls { config: tickets.config.clone(), verifier: verifier.verifier.clone() })
    }

    /// As an agent dials.
    pub(crate) fn agent(&self, issued: &Issued) -> Arc<ClientConfig> {
        Material::load(&self.paths(issued)).unwrap().resuming_client_config().unwrap()
    }

    /// A server with a certificate of this CA that asks clients for certificates of another.
    pub(crate) fn server_for_clients_of(&self, name: &str, clients: &Pki) -> Arc<ServerConfig> {
        let theirs = clients.paths(&clients.issue("unused"));
        let paths = CertificatePaths { ca: theirs.ca, crl: theirs.crl, ..self.paths(&self.issue(name)) };
        Material::load(&paths).unwrap().server_config(ClientAuth::Required).unwrap()
    }

    /// As the program dials.
    pub(crate) fn dialler(&self, issued: &Issued) -> Arc<ClientConfig> {
        Material::load(&self.paths(issued)).unwrap().client_config().unwrap()
    }

    /// A client with a certificate of this CA, for servers of another.
    pub(crate) fn client_of(
        &self,
        version: &'static SupportedProtocolVersion,
        issued: &Issued,
        servers: &Pki,
    ) -> Arc<ClientConfig> {
        client_with(version, issued, vec![issued.certificate.der().clone()], servers)
    }

    /// The same, which sends the certificate of this CA along.
    pub(crate) fn client_with_chain(
        &self,
        version: &'static SupportedProtocolVersion,
        issued: &Issued,
        servers: &Pki,
    ) -> Arc<ClientConfig> {
        client_with(version, issued, vec![issued.certificate.der().clone(), self.ca.clone()], servers)
    }

    /// A client with one protocol version, which may have no certificate or one of another CA.
    pub(crate) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        issued: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        self.client_that_has(provider(), version, issued)
    }

    /// The same with other cryptography.
    pub(crate) fn client_that_has(
        &self,
        provider: Arc<CryptoProvider>,
        version: &'static SupportedProtocolVersion,
        issued: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match issued {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![issued.certificate.der().clone()], key).unwrap()
            }
        })
    }
}

fn client_with(
    version: &'static SupportedProtocolVersion,
    issued: &Issued,
    chain: Vec<CertificateDer<'static>>,
    servers: &Pki,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(servers.ca.clone()).unwrap();
    let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key);
    Arc::new(config.unwrap())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
