//! Which paths are PCP endpoints, and the client type that a path names (pcp-broker's web routes).

use crate::limits::URI_BYTES_MAX;
use crate::link::Admission;

/// Where clients connect. A path is a mount itself or goes on with a slash and the client type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounts {
    /// PCP v2.
    pub v2: Box<str>,
}

impl Default for Mounts {
    fn default() -> Self {
        Self { v2: "/pcp2".into() }
    }
}

/// The type of a client whose path names none.
const DEFAULT_TYPE: &str = "agent";

impl Mounts {
    /// The client type that a path names, or how to refuse it.
    pub fn resolve<'p>(&self, path: &'p str) -> Result<&'p str, Admission> {
        let refuse = |status, reason| Err(Admission::Refuse { status, reason });
        let Some(client_type) = below(path, &self.v2) else { return refuse(404, "Not found.") };
        let well_formed = client_type.len() <= URI_BYTES_MAX / 4
            && client_type.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
        if !well_formed {
            return refuse(400, "The path names no client type.");
        }
        if client_type == "server" {
            return refuse(403, super::core::ASSOCIATION_UNSUCCESSFUL.1);
        }
        Ok(client_type)
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
