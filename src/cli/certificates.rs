//! Certificates over the life of a process: read at the start and again whenever the files change, with all that follows
//! from that for whoever is connected.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use tracing::warn;

use crate::broker::sweep::{Certificates, Review};
use crate::clock::WallTime;
use crate::config::settings::{self, BrokerSettings, CertificatePaths, TlsSessions};
use crate::link::CertificateId;
use crate::tls::crl::Trust;
use crate::tls::identity::peer_name;
use crate::tls::material::{ClientAuth, Material};
use crate::tls::resumption::ServerTls;

/// The TLS configurations of all listeners and of what we dial, and who we are.
pub(super) struct Tls {
    paths: CertificatePaths,
    wanted: Wanted,
    /// The name in our certificate.
    pub(super) name: String,
    /// For clients of the broker.
    pub(super) broker: Arc<ArcSwap<ServerTls>>,
    /// For the API.
    pub(super) api: Arc<ArcSwap<ServerConfig>>,
    /// For controllers that we dial.
    pub(super) client: Arc<ArcSwap<ClientConfig>>,
    known: Mutex<Known>,
}

/// What the broker's listener is to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    client_auth: ClientAuth,
    sessions: TlsSessions,
}

impl Wanted {
    /// As the settings say.
    pub(super) fn of(settings: &BrokerSettings) -> Self {
        let client_auth = match settings.client_auth {
            settings::ClientAuth::Need => ClientAuth::Required,
            settings::ClientAuth::Want => ClientAuth::Optional,
        };
        Self { client_auth, sessions: settings.tls_sessions }
    }
}

/// What was in the files when they were read last.
struct Known {
    stamps: Stamps,
    authorities: Vec<CertificateId>,
    revoked: Arc<[CertificateId]>,
    next_update: Option<WallTime>,
    warnings: Vec<String>,
}

/// What tells one state of the files from another without reading them; a file that is replaced by renaming has another
/// inode. `None` for a file that is not there.
type Stamps = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// The configurations that come from one set of files.
struct Configurations {
    broker: Arc<ServerTls>,
    api: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn load(paths: &CertificatePaths, wanted: Wanted) -> Result<Self, String> {
        let stamps = stamps(paths);
        let material = Material::load(paths).map_err(|error| error.to_string())?;
        let Configurations { broker, api, client } = configurations(&material, wanted)?;
        let name = name(paths, &material)?;
        let known = Mutex::new(Known::new(stamps, paths, material.trust()));
        Ok(Self {
            paths: paths.clone(),
            wanted,
            name,
            broker: Arc::new(ArcSwap::new(broker)),
            api: Arc::new(ArcSwap::new(api)),
            client: Arc::new(ArcSwap::new(client)),
            known,
        })
    }

    /// Whether one of the files is not what was read last.
    pub(super) fn has_changed(&self) -> bool {
        self.known().stamps != stamps(&self.paths)
    }

    /// What an operator should know of the files as they are.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.known().warnings.clone()
    }

    /// The same in the log.
    pub(super) fn warn(&self) {
        for warning in self.warnings() {
            warn!("{warning}");
        }
    }

    /// When the first CRL should be replaced.
    pub(super) fn next_update(&self) -> Option<WallTime> {
        self.known().next_update
    }

    /// Reads the files again for new connections and says what it means for those that are open, if anything. What is
    /// wrong with the files leaves everything as it was.
    pub(super) fn reload(&self, throttle: Duration) -> Result<Option<Arc<Review>>, String> {
        // First: what changes while the files are read is seen the next time.
        let stamps = stamps(&self.paths);
        let material = Material::load(&self.paths).map_err(|error| error.to_string())?;
        let Configurations { broker, api, client } = configurations(&material, self.wanted)?;
        let name = name(&self.paths, &material)?;
        if name != self.name {
            let path = self.paths.certificate.display();
            return Err(format!("{path}: is for {name} and not for {}; restart to take another name", self.name));
        }
        self.broker.store(broker);
        self.api.store(api);
        self.client.store(client);
        let now = Known::new(stamps, &self.paths, material.trust());
        let former = std::mem::replace(&mut *self.known(), now);
        self.warn();
        Ok(self.known().review(&former, throttle))
    }

    /// A review of everybody because the policy has changed, and maybe certificates with it.
    pub(super) fn review_of_policy(&self, certificates: Option<Arc<Review>>, throttle: Duration) -> Arc<Review> {
        let certificates = match certificates {
            Some(review) => review.certificates.clone(),
            None => Certificates::Revoked(self.known().revoked.clone()),
        };
        Arc::new(Review { certificates, policy_changed: true, throttle })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(stamps: Stamps, paths: &CertificatePaths, trust: &Trust) -> Self {
        let path = paths.crl.as_ref().unwrap_or(&paths.ca).display();
        Self {
            stamps,
            authorities: trust.authorities.clone(),
            revoked: trust.revoked.as_slice().into(),
            next_update: trust.next_update,
            warnings: trust.warnings.iter().map(|warning| format!("{path}: {warning}")).collect(),
        }
    }

    /// What the difference means for open connections.
    fn review(&self, former: &Self, throttle: Duration) -> Option<Arc<Review>> {
        let lost = former.authorities.iter().any(|authority| self.authorities.binary_search(authority).is_err());
        let certificates = match lost {
            true => Certificates::Distrusted(self.revoked.clone()),
            false if self.revoked == former.revoked => return None,
            false => Certificates::Revoked(self.revoked.clone()),
        };
        Some(Arc::new(Review { certificates, policy_changed: false, throttle }))
    }
}

fn name(paths: &CertificatePaths, material: &Material) -> Result<String, String> {
    let name = peer_name(material.certificate())
        .map_err(|error| format!("{}: {}", paths.certificate.display(), error.label()))?;
    Ok(name.common_name.into())
}

fn configurations(material: &Material, wanted: Wanted) -> Result<Configurations, String> {
    let api = material.server_config(ClientAuth::Optional);
    Ok(Configurations {
        broker: material.listener(wanted.client_auth, wanted.sessions).map_err(|error| error.to_string())?,
        api: api.map_err(|error| error.to_string())?,
        client: material.client_config().map_err(|error| error.to_string())?,
    })
}

fn stamps(paths: &CertificatePaths) -> Stamps {
    let all = [Some(&paths.certificate), Some(&paths.key), Some(&paths.ca), paths.crl.as_ref()];
    all.into_iter().flatten().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests;
