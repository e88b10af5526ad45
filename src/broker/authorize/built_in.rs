//! The policy without rules. It is narrower than the one that Puppet ships with its broker: any certificate holder may
//! associate, and answer those who may ask, or itself; only controllers and named clients may ask for the inventory or
//! give orders to agents.

use std::collections::HashSet;

use super::{Bits, Denial, Judged};
use crate::broker::controllers::Controllers;
use crate::pcp::{PcpUri, SERVER_URI, message_type as pcp};
use crate::pxp::message_type as pxp;

/// The policy and those who may give orders under it.
#[derive(Debug, Clone)]
pub(super) struct BuiltIn {
    privileged: HashSet<Box<str>>,
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

/// The types that a controller may send by default (pcp-broker, `controller-allowlist`).
pub const CONTROLLER_ALLOWLIST: [&str; 3] = PRIVILEGED;

impl BuiltIn {
    pub(super) fn new<'a>(privileged: impl IntoIterator<Item = &'a str>) -> Self {
        Self { privileged: privileged.into_iter().map(|name| name.to_ascii_lowercase().into()).collect() }
    }

    /// The first bit says whether the holder may give orders.
    pub(super) fn rights(&self, common_name: &str) -> Bits {
        let mut bits = Bits::default();
        bits[0] = u64::from(self.is_privileged(common_name));
        bits
    }

    pub(super) fn judge(
        &self,
        bits: &Bits,
        judged: &Judged<'_>,
        controllers: &Controllers,
    ) -> Result<(), Denial<'static>> {
        let answer = ANYONE.contains(&judged.message_type);
        let is_allowed = if bits[0] == 0 {
            answer && (self.may_ask(judged.target, controllers) || authority(judged.target) == Some(judged.common_name))
        } else {
            answer || PRIVILEGED.contains(&judged.message_type)
        };
        if is_allowed { Ok(()) } else { Err(Denial::BuiltIn) }
    }

    /// Whether this target may ask anything of clients, so that they may have an answer for it.
    fn may_ask(&self, target: &str, controllers: &Controllers) -> bool {
        target == SERVER_URI
            || controllers.is_known(target)
            || authority(target).is_some_and(|name| self.is_privileged(name))
    }

    fn is_privileged(&self, common_name: &str) -> bool {
        self.privileged.contains(common_name)
            || (common_name.bytes().any(|byte| byte.is_ascii_uppercase())
                && self.privileged.contains(&*common_name.to_ascii_lowercase()))
    }
}

fn authority(uri: &str) -> Option<&str> {
    PcpUri::parse(uri).map(|uri| uri.authority)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::authorize::Policy;
    use crate::broker::controllers::Controller;

    fn allows(policy: &Policy, common_name: &str, message_type: &str, target: &str, controllers: &Controllers) -> bool {
        let judged = Judged { common_name, sender: "pcp://x/y", message_type, target };
        policy.judge(&policy.rights(common_name, None), &judged, controllers).is_ok()
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
        controllers.link(Arc::new(Controller {
            uri: orchestrator.into(),
            way: crate::broker::controllers::Way::Port(Box::new(Nowhere)),
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
