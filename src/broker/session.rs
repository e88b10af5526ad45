//! One associated client and the table of a worker's clients, by slot.

use std::sync::Arc;

use super::authorize::{Policy, Rights};
use super::mounts::DEFAULT_TYPE;
use crate::limits::AGENT_RECEIVE_BYTES_MAX;
use crate::link::{CertificateAttributes, CertificateId, PeerId};
use crate::pcp::{PcpUri, Version};

/// Whether a session is the one that its URI names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The newest connection of its URI, as far as this worker knows.
    Associated,
    /// A newer connection has the URI; this one is being dropped and what it still says is ignored.
    Superseded,
}

/// An associated client.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    /// `pcp://<common name>/<type>`, shared with the directory.
    pub(super) uri: Arc<str>,
    pub(super) standing: Standing,
    pub(super) version: Version,
    /// To find it in a CRL later.
    pub(super) certificate: CertificateId,
    /// For the rights under another policy; most certificates have none.
    pub(super) attributes: Option<Box<CertificateAttributes>>,
    pub(super) rights: Rights,
}

impl Session {
    /// Whether the policy lets the session's holder be associated as it is.
    pub(super) fn may_associate(&self, policy: &Policy) -> bool {
        policy.may_associate(&self.rights_under(policy), &self.uri).is_ok()
    }

    /// Whether the policy lets the session's holder know who is connected.
    pub(super) fn is_privileged(&self, policy: &Policy) -> bool {
        policy.is_privileged(&self.rights_under(policy), &self.uri)
    }

    fn rights_under(&self, policy: &Policy) -> Rights {
        let common_name = PcpUri::parse(&self.uri).map_or("", |uri| uri.authority);
        policy.rights(common_name, self.attributes.as_deref())
    }

    /// The largest message that the client takes; a larger one would make it close.
    pub(super) fn message_bytes_max(&self) -> usize {
        let is_agent = self.uri.strip_suffix(DEFAULT_TYPE).is_some_and(|rest| rest.ends_with('/'));
        if is_agent { AGENT_RECEIVE_BYTES_MAX } else { usize::MAX }
    }
}

/// The sessions of one worker. A slot's session answers only to the id it was made with.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
    /// The latest generation of all that have ever been in.
    newest: u32,
}

impl Sessions {
    pub(super) fn insert(&mut self, session: Session) {
        let index = session.peer.slot as usize;
        if session.peer.generation.wrapping_sub(self.newest) <= u32::MAX / 2 {
            self.newest = session.peer.generation;
        }
        if index >= self.slots.len() {
            self.slots.resize(index + 1, None);
        }
        debug_assert!(self.slots[index].is_none(), "a slot is reused only after its Closed event");
        self.slots[index] = Some(session);
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&Session> {
        self.slots.get(peer.slot as usize)?.as_ref().filter(|session| session.peer == peer)
    }

    /// The session of a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&Session> {
        self.slots.get(slot)?.as_ref()
    }

    /// How many slots there are, empty ones included.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Session> {
        self.slots.get_mut(peer.slot as usize)?.as_mut().filter(|session| session.peer == peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.slots.iter().flatten().map(|session| session.peer)
    }

    pub(super) fn supersede(&mut self, peer: PeerId) -> Option<&Session> {
        let session = self.get_mut(peer)?;
        session.standing = Standing::Superseded;
        Some(session)
    }

    pub(super) fn remove(&mut self, peer: PeerId) -> Option<Session> {
        self.get(peer)?;
        self.slots[peer.slot as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle agent has one.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Option<Session>>() <= 80, "{}", size_of::<Option<Session>>());
    }
}
