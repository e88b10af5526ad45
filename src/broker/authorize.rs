//! Who may send what. The built-in policy follows the one that Puppet ships with its broker: any certificate holder may
//! associate and answer, only named clients may ask for the inventory or give orders to agents.

use std::collections::HashSet;

use crate::pcp::message_type as pcp;
use crate::pxp::message_type as pxp;

/// The rules for clients that connect with a certificate.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    privileged: HashSet<Box<str>>,
}

/// Types that any client may send.
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
        Self { privileged: privileged.into_iter().map(|name| name.to_ascii_lowercase().into()).collect() }
    }

    /// Whether the holder of the certificate name may send a message of this type to this target.
    pub fn allows(&self, common_name: &str, message_type: &str, target: &str) -> bool {
        if !well_formed(message_type, false) || !well_formed(target, true) {
            return false;
        }
        ANYONE.contains(&message_type) || (PRIVILEGED.contains(&message_type) && self.is_privileged(common_name))
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

/// The reference's check before its rules: `^[\w\-.:/]*$` for types, also `*` for targets.
fn well_formed(text: &str, wildcard: bool) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte) || (wildcard && byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_clients_give_orders() {
        let policy = Policy::new(["ctl.example.com"]);
        assert!(policy.allows("ctl.example.com", pxp::NON_BLOCKING_REQUEST, "pcp://a/agent"));
        assert!(policy.allows("CTL.example.com", pxp::NON_BLOCKING_REQUEST, "pcp://a/agent"));
        for name in ["a", "example.com", "x.ctl.example.com", "ctl.example.com.evil", ""] {
            assert!(!policy.allows(name, pxp::NON_BLOCKING_REQUEST, "pcp://a/agent"), "{name}");
            assert!(!policy.allows(name, pcp::INVENTORY_REQUEST, "pcp:///server"), "{name}");
            assert!(policy.allows(name, pxp::NON_BLOCKING_RESPONSE, "pcp://ctl.example.com/x"), "{name}");
        }
    }

    #[test]
    fn unknown_and_odd_types_are_refused() {
        let policy = Policy::new(["ctl"]);
        for message_type in
            ["", "x", "http://puppetlabs.com/inventory_update", "http://puppetlabs.com/rpc_error_message\n"]
        {
            assert!(!policy.allows("ctl", message_type, "pcp://a/agent"), "{message_type}");
        }
        assert!(!policy.allows("ctl", pxp::RPC_ERROR, "pcp://a b/agent"));
    }
}
