//! Which paths are PCP endpoints, and the protocol and client type that a path names (pcp-broker's web routes).

use crate::limits::URI_BYTES_MAX;
use crate::link::Admission;
use crate::pcp::Version;

/// Where clients connect. A path is a mount itself or goes on with a slash and the client type. None is a prefix of the
/// other, up to a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounts {
    /// PCP v1; `None` if it is not spoken.
    pub v1: Option<Box<str>>,
    /// PCP v2; `None` if it is not spoken.
    pub v2: Option<Box<str>>,
}

impl Default for Mounts {
    fn default() -> Self {
        Self { v1: Some("/pcp".into()), v2: Some("/pcp2".into()) }
    }
}

/// What a client asks for by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint<'p> {
    /// The protocol.
    pub version: Version,
    /// The last part of the client's URI.
    pub client_type: &'p str,
}

/// The type of a client whose path names none.
pub(super) const DEFAULT_TYPE: &str = "agent";

impl Mounts {
    /// What a path names, or how to refuse it.
    pub fn resolve<'p>(&self, path: &'p str) -> Result<Endpoint<'p>, Admission> {
        let refuse = |status, reason| Err(Admission::Refuse { status, reason });
        let mounts = [(Version::V1, &self.v1), (Version::V2, &self.v2)];
        let endpoint = mounts
            .into_iter()
            .find_map(|(version, mount)| Some(Endpoint { version, client_type: below(path, mount.as_deref()?)? }));
        let Some(endpoint) = endpoint else { return refuse(404, "Not found.") };
        let client_type = endpoint.client_type;
        let well_formed = client_type.len() <= URI_BYTES_MAX / 4
            && client_type.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
        if !well_formed {
            return refuse(400, "The path names no client type.");
        }
        if client_type == "server" {
            return refuse(403, super::core::ASSOCIATION_UNSUCCESSFUL.1);
        }
        Ok(endpoint)
    }
}

/// The client type of a path below a mount.
fn below<'p>(path: &'p str, mount: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(mount)?;
    match rest.strip_prefix('/') {
        None if rest.is_empty() => Some(DEFAULT_TYPE),
        Some("") => Some(DEFAULT_TYPE),
        client_type => client_type,
    }
}
