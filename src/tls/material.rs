//! Certificates, keys, CAs and CRLs from PEM files into rustls configurations, with an error for every way a file can
//! be wrong. TLS 1.2 and 1.3; the deployed pxp-agent speaks 1.2 only and sends its leaf certificate alone, so every CA
//! of the bundle, intermediates included, is a trust anchor.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::clock::WallTime;
use crate::config::settings::{CertificatePaths, TlsSessions};
use crate::limits::RESUMED_SERVERS_MAX;
use crate::tls::crl::{self, Trust, Unreadable};
use crate::tls::lean;
use crate::tls::resumption::{ServerTls, Tickets};
use crate::tls::session::make_compact;

/// What is wrong with a certificate, key, CA or CRL file.
#[derive(Debug)]
pub struct MaterialError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for MaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for MaterialError {}

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No handshake without a valid one: the broker.
    Required,
    /// A valid one or none: the API, where tokens are another way in.
    Optional,
}

/// The content of the four files.
pub struct Material {
    paths: CertificatePaths,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    trust: Trust,
}

impl Material {
    /// Reads all files.
    pub fn load(paths: &CertificatePaths) -> Result<Self, MaterialError> {
        let chain = read_all::<CertificateDer<'static>>(&paths.certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&read(&paths.key)?).map_err(|error| {
            fail(&paths.key, format!("no usable private key ({error}); it must be PEM and not encrypted"))
        })?;
        let authorities = read_all::<CertificateDer<'static>>(&paths.ca, "certificate")?;
        let crls = match &paths.crl {
            Some(path) => read_all::<CertificateRevocationListDer<'static>>(path, "CRL")?,
            None => Vec::new(),
        };
        let examined = crl::examine(authorities, crls, WallTime::now()).map_err(|unreadable| match unreadable {
            Unreadable::Authority(message) => fail(&paths.ca, message),
            Unreadable::List(message) => fail(paths.crl.as_ref().unwrap_or(&paths.ca), message),
        })?;
        if examined.authorities.is_empty() {
            return Err(fail(&paths.ca, "holds no CA that is not revoked; add the one in use now".to_owned()));
        }
        let roots = Arc::new(roots(&paths.ca, examined.authorities)?);
        Ok(Self { paths: paths.clone(), chain, key, roots, crls: examined.lists, trust: examined.trust })
    }

    /// What CAs and CRLs say.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Our own leaf certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The configuration of a server that resumes no sessions.
    pub fn server_config(&self, client_auth: ClientAuth) -> Result<Arc<ServerConfig>, MaterialError> {
        self.server(client_auth).map(|(config, _)| Arc::new(config))
    }

    /// What a listener for agents needs: those with a certificate may resume their sessions until it is made anew.
    pub fn listener(&self, client_auth: ClientAuth, sessions: TlsSessions) -> Result<Arc<ServerTls>, MaterialError> {
        let (mut config, verifier) = self.server(client_auth)?;
        if client_auth == ClientAuth::Required {
            config.ticketer = Tickets::new().map_err(|error| self.fail_pair(error))?;
            config.send_tls13_tickets = 1;
        }
        if sessions == TlsSessions::Compact {
            make_compact(&mut config);
        }
        Ok(Arc::new(ServerTls { config: Arc::new(config), verifier }))
    }

    fn server(&self, client_auth: ClientAuth) -> Result<(ServerConfig, Arc<dyn ClientCertVerifier>), MaterialError> {
        let builder = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), lean::provider())
            .with_crls(self.crls.clone());
        let builder = match client_auth {
            ClientAuth::Required => builder,
            ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| self.fail_crl(error))?;
        let mut config = ServerConfig::builder_with_provider(lean::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| self.fail_pair(error))?;
        // A resumed session skips the verifier and with it the CRL.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok((config, verifier))
    }

    /// The same for a client that resumes its sessions; their tickets are in memory only.
    pub fn resuming_client_config(&self) -> Result<Arc<ClientConfig>, MaterialError> {
        let mut config = ClientConfig::clone(&*self.client_config()?);
        config.resumption = rustls::client::Resumption::in_memory_sessions(RESUMED_SERVERS_MAX)
            .tls12_resumption(rustls::client::Tls12Resumption::Disabled);
        Ok(Arc::new(config))
    }

    /// The configuration of a client that presents our certificate.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, MaterialError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), lean::provider())
            .with_crls(self.crls.clone())
            .build()
            .map_err(|error| self.fail_crl(error))?;
        let mut config = ClientConfig::builder_with_provider(lean::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| self.fail_pair(error))?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn fail_crl(&self, error: impl fmt::Display) -> MaterialError {
        let path = self.paths.crl.as_ref().unwrap_or(&self.paths.ca);
        fail(path, format!("cannot be used to verify peers: {error}"))
    }

    fn fail_pair(&self, error: rustls::Error) -> MaterialError {
        let key = self.paths.key.display();
        fail(&self.paths.certificate, format!("cannot be used together with the key {key}: {error}"))
    }
}

/// The configuration of a client without a certificate of its own, such as the operator's.
pub fn anonymous_client_config(ca: &Path) -> Result<Arc<ClientConfig>, MaterialError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
        .with_root_certificates(roots(ca, read_all(ca, "certificate")?)?)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The cryptography used everywhere, as it comes. What lasts has lean keys besides.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(path: &Path, authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(|error| fail(path, format!("holds an unusable CA certificate: {error}")))?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, MaterialError> {
    std::fs::read(path).map_err(|error| fail(path, format!("cannot be read: {error}")))
}

/// All PEM sections of one kind; at least one.
fn read_all<T: PemObject>(path: &Path, kind: &str) -> Result<Vec<T>, MaterialError> {
    let items = T::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<T>, _>>()
        .map_err(|error| fail(path, format!("is not valid PEM: {error}")))?;
    if items.is_empty() {
        return Err(fail(path, format!("holds no PEM {kind}")));
    }
    Ok(items)
}

fn fail(path: &Path, message: String) -> MaterialError {
    MaterialError { path: path.to_owned(), message }
}
