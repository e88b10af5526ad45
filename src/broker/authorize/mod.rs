//! Who may send what to whom: the rules of the configuration if there are any, else a built-in policy. What a policy says
//! of a certificate is found out once per connection, so that a message costs no look at names.

mod acl;
mod built_in;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

use super::controllers::Controllers;
use crate::config::authorization::ClientAccess;
use crate::link::CertificateAttributes;
use crate::pcp::{SERVER_URI, message_type};
use built_in::BuiltIn;
pub use built_in::CONTROLLER_ALLOWLIST;
use rules::RuleSet;

/// The rules for clients that connect with a certificate.
#[derive(Debug, Clone)]
pub struct Policy {
    kind: Kind,
    generation: u32,
}

#[derive(Debug, Clone)]
enum Kind {
    BuiltIn(BuiltIn),
    Rules(RuleSet),
}

/// What a policy says of one certificate. Only good under the policy that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    generation: u32,
    bits: Bits,
}

/// A bit per rule, or one for the built-in policy.
type Bits = [u64; crate::limits::AUTHORIZATION_RULES_MAX / 64];

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

/// Why a message is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial<'p> {
    /// Type or target are not what either can be.
    Malformed,
    /// The built-in policy does not allow it.
    BuiltIn,
    /// The first rule that it meets denies it.
    Rule(&'p str),
    /// It meets no rule.
    NoRule,
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("illegal message type or target"),
            Self::BuiltIn => f.write_str("denied by the built-in policy"),
            Self::Rule(name) => write!(f, "denied by rule '{}'", name.escape_debug()),
            Self::NoRule => f.write_str("global deny all - no rules matched"),
        }
    }
}

impl Policy {
    /// The built-in policy, under which the holders of these certificate names may give orders. Names are compared whole
    /// and without regard to case.
    pub fn new<'a>(privileged: impl IntoIterator<Item = &'a str>) -> Self {
        Self { kind: Kind::BuiltIn(BuiltIn::new(privileged)), generation: 0 }
    }

    /// The policy that the configuration asks for.
    pub fn from_access(access: &ClientAccess) -> Self {
        match access {
            ClientAccess::BuiltIn { privileged } => Self::new(privileged.iter().map(String::as_str)),
            ClientAccess::Rules(rules) => Self { kind: Kind::Rules(RuleSet::new(rules)), generation: 0 },
        }
    }

    /// The same policy as the one that follows `earlier`, so that rights under that one are not good any more.
    pub fn after(mut self, earlier: &Self) -> Self {
        self.generation = earlier.generation.wrapping_add(1);
        self
    }

    /// What the policy says of the holder of a certificate.
    pub fn rights(&self, common_name: &str, attributes: Option<&CertificateAttributes>) -> Rights {
        let bits = match &self.kind {
            Kind::BuiltIn(policy) => policy.rights(common_name),
            Kind::Rules(rules) => rules.rights(common_name, attributes),
        };
        Rights { generation: self.generation, bits }
    }

    /// Whether the rights were made by this policy.
    pub fn made(&self, rights: &Rights) -> bool {
        self.generation == rights.generation
    }

    /// Whether the holder of the rights may send a message, or why not.
    pub fn judge(&self, rights: &Rights, judged: &Judged<'_>, controllers: &Controllers) -> Result<(), Denial<'_>> {
        if !well_formed(judged.message_type, false) || !well_formed(judged.target, true) {
            return Err(Denial::Malformed);
        }
        match &self.kind {
            Kind::BuiltIn(policy) => policy.judge(&rights.bits, judged, controllers),
            Kind::Rules(rules) => rules.judge(&rights.bits, judged),
        }
    }

    /// Whether the holder of the rights may be connected as `uri`, or why not: judged as the association that connecting
    /// stands for.
    pub fn may_associate(&self, rights: &Rights, uri: &str) -> Result<(), Denial<'_>> {
        self.may_tell_broker(rights, uri, message_type::ASSOCIATE_REQUEST)
    }

    /// Whether the holder of the rights is one of those who give orders: they may know who is connected.
    pub fn is_privileged(&self, rights: &Rights, uri: &str) -> bool {
        self.may_tell_broker(rights, uri, message_type::INVENTORY_REQUEST).is_ok()
    }

    /// Whether a message to the broker itself is allowed; controllers have no part in that.
    fn may_tell_broker(&self, rights: &Rights, uri: &str, message_type: &str) -> Result<(), Denial<'_>> {
        let judged = Judged { common_name: "", sender: uri, message_type, target: SERVER_URI };
        match &self.kind {
            Kind::BuiltIn(policy) => policy.judge(&rights.bits, &judged, &Controllers::default()),
            Kind::Rules(rules) => rules.judge(&rights.bits, &judged),
        }
    }
}

/// The bytes of `[\w\-.:/]`; a table because some eighty are looked up for every message.
const IN_TYPES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/');
        byte += 1;
    }
    table
};

/// The reference's check before its rules: `^[\w\-.:/]*$` for types, also `*` for targets.
fn well_formed(text: &str, wildcard: bool) -> bool {
    text.bytes().all(|byte| IN_TYPES[usize::from(byte)] || (wildcard && byte == b'*'))
}
