//! Who may send what to whom. The built-in policy is narrower than the one that Puppet ships with its broker: any
//! certificate holder may associate, and answer those who may ask, or itself; only controllers and named clients may ask for the
//! inventory or give orders to agents.

use std::collections::HashSet;

use super::controllers::Controllers;
use crate::link::CertificateAttributes;
use crate::pcp::{PcpUri, SERVER_URI, message_type as pcp};
use crate::pxp::message_type as pxp;

/// The rules for clients that connect with a certificate.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    privileged: HashSet<Box<str>>,
    generation: u32,
}

/// What a policy says of one certificate, found out once per connection so that a message costs no look at names. Only
/// good under the policy that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    generation: u32,
    privileged: bool,
}

/// What is judged: one message of a client.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The name in the client's certificate.
    pub common_name: &'a str,
    /// The envelope's sender, by default the connection's URI.
    pub sender: &'a str,
    /// The full type.
    pub message_type: &'a str,
    /// The target's URI, by default the broker's.
    pub target: &'a str,
}

/// Types that any client may send, to those who may ask.
const ANYONE: [&str; 6] = [
    pcp::ASSOCIATE_REQUEST,
    pcp::ERROR_MESSAGE,
    pxp::PROVISIONAL_RESPONSE,
    pxp::BLOCKING_RESPONSE,
    pxp::NON_BLOCKING_RESPONSE,
    pxp::RPC_ERROR,
];

/// Types that only privileged clients may send.
const PRIVILEGED: [&str; 3] = [pcp::INVENTORY_REQUEST, pxp::BLOCKING_REQUEST, pxp::NON_BLOCKING_REQUEST];

impl Policy {
    /// A policy under which the holders of these certificate names may give orders. Names are compared whole and
    /// without regard to case.
    pub fn new<'a>(privileged: impl IntoIterator<Item = &'a str>) -> Self {
        let privileged = privileged.into_iter().map(|name| name.to_ascii_lowercase().into()).collect();
        Self { privileged, generation: 0 }
    }

    /// The same policy as the one that follows `earlier`, so that rights under that one are not good any more.
    pub fn after(mut self, earlier: &Self) -> Self {
        self.generation = earlier.generation.wrapping_add(1);
        self
    }

    /// What the policy says of the holder of a certificate.
    pub fn rights(&self, common_name: &str, _attributes: Option<&CertificateAttributes>) -> Rights {
        Rights { generation: self.generation, privileged: self.is_privileged(common_name) }
    }

    /// Whether the rights were made by this policy.
    pub fn made(&self, rights: &Rights) -> bool {
        self.generation == rights.generation
    }

    /// Whether the holder of the rights may send a message.
    pub fn allows(&self, rights: &Rights, judged: &Judged<'_>, controllers: &Controllers) -> bool {
        if !well_formed(judged.message_type, false) || !well_formed(judged.target, true) {
            return false;
        }
        let answer = ANYONE.contains(&judged.message_type);
        if rights.privileged {
            return answer || PRIVILEGED.contains(&judged.message_type);
        }
        answer && (self.may_ask(judged.target, controllers) || authority(judged.target) == Some(judged.common_name))
    }

    /// Whether this target may ask anything of clients, so that they may have an answer for it.
    fn may_ask(&self, target: &str, controllers: &Controllers) -> bool {
        target == SERVER_URI
            || controllers.is_known(target)
            || authority(target).is_some_and(|name| self.is_privileged(name))
    }

    /// Whether the holder of the certificate name may give orders.
    pub fn is_privileged(&self, common_name: &str) -> bool {
        self.privileged.contains(common_name)
            || (common_name.bytes().any(|byte| byte.is_ascii_uppercase())
                && self.privileged.contains(&*common_name.to_ascii_lowercase()))
    }
}

/// The types that a controller may send by default (pcp-broker, `controller-allowlist`).
pub const CONTROLLER_ALLOWLIST: [&str; 3] = PRIVILEGED;

fn authority(uri: &str) -> Option<&str> {
    PcpUri::parse(uri).map(|uri| uri.authority)
}

/// The reference's check before its rules: `^[\w\-.:/]*$` for types, also `*` for targets.
fn well_formed(text: &str, wildcard: bool) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte) || (wildcard && byte == b'*'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn allows(policy: &Policy, common_name: &str, message_type: &str, target: &str, controllers: &Controllers) -> bool {
        let judged = Judged { common_name, sender: "pcp://x/y", message_type, target };
        policy.allows(&policy.rights(common_name, None), &judged, controllers)
    }

    #[test]
    fn only_named_clients_give_orders() {
        let policy = Policy::new(["ctl.example.com"]);
        let controllers = Controllers::default();
        assert!(allows(&policy, "ctl.example.com", pxp::NON_BLOCKING_REQUEST, "pcp://a/agent", &controllers));
        assert!(allows(&policy, "CTL.example.com", pxp::NON_BLOCKING_REQUEST, "pcp://a/agent", &controllers));
        for name in ["a", "example.com", "x.ctl.example.com", "ctl.example.com.evil", ""] {
            assert!(!allows(&policy, name, pxp::NON_BLOCKING_REQUEST, "pcp://a/agent", &controllers), "{name}");
            assert!(!allows(&policy, name, pcp::INVENTORY_REQUEST, "pcp:///server", &controllers), "{name}");
            assert!(
                allows(&policy, name, pxp::NON_BLOCKING_RESPONSE, "pcp://ctl.example.com/x", &controllers),
                "{name}"
            );
        }
    }

    #[test]
    fn answers_go_to_those_who_may_ask() {
        struct Nowhere;

        impl crate::link::Port for Nowhere {
            fn offer(&self, message: bytes::Bytes) -> Result<(), bytes::Bytes> {
                Err(message)
            }
        }

        let policy = Policy::new(["ctl.example.com"]);
        let controllers = Controllers::default();
        let orchestrator = "pcp://orch.example.com/orchestrator";
        let allowed = |controllers: &Controllers, target| allows(&policy, "a", pxp::RPC_ERROR, target, controllers);
        assert!(allowed(&controllers, SERVER_URI) && allowed(&controllers, "pcp://ctl.example.com/any"));
        assert!(!allowed(&controllers, orchestrator) && !allowed(&controllers, "pcp://b/agent"));
        controllers.link(Arc::new(super::super::controllers::Controller {
            uri: orchestrator.into(),
            way: super::super::controllers::Way::Port(Box::new(Nowhere)),
            allowlist: Vec::new(),
        }));
        assert!(allowed(&controllers, orchestrator) && !allowed(&controllers, "pcp://orch.example.com/agent"));
        assert!(allows(&policy, "ctl.example.com", pxp::RPC_ERROR, "pcp://b/agent", &controllers));
        assert!(allowed(&controllers, "pcp://a/other"), "to the same name");
    }

    #[test]
    fn unknown_and_odd_types_are_refused() {
        let policy = Policy::new(["ctl"]);
        let controllers = Controllers::default();
        for message_type in
            ["", "x", "http://puppetlabs.com/inventory_update", "http://puppetlabs.com/rpc_error_message\n"]
        {
            assert!(!allows(&policy, "ctl", message_type, "pcp://a/agent", &controllers), "{message_type}");
        }
        assert!(!allows(&policy, "ctl", pxp::RPC_ERROR, "pcp://a b/agent", &controllers));
    }
}
