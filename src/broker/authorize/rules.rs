//! The rules of the configuration, made ready for messages (trapperkeeper-authorization, `rules`): the first rule whose
//! conditions a message meets decides, by what its lists say of the certificate.

use std::collections::{BTreeSet, HashMap};

use tracing::debug;

use super::acl::Holder;
use super::{Bits, Denial, Judged};
use crate::config::authorization::{Access, AuthorizationRules, Identification, Rule};
use crate::link::CertificateAttributes;

/// The rules in their order, and which of them a message of each type can meet.
#[derive(Debug, Clone)]
pub(super) struct RuleSet {
    rules: Vec<Rule>,
    identification: Identification,
    /// For each type that a rule names: the rules that name it, and those for any type, in their order.
    by_type: HashMap<Box<str>, Box<[u8]>>,
    /// For all other types.
    for_others: Box<[u8]>,
}

impl RuleSet {
    pub(super) fn new(configured: &AuthorizationRules) -> Self {
        if !configured.elsewhere.is_empty() {
            debug!(rules = ?configured.elsewhere, "authorization rules are left out: they are not about messages");
        }
        let rules = configured.rules.clone();
        let numbered = || rules.iter().zip(0_u8..);
        let about = |message_type: Option<&str>| -> Box<[u8]> {
            let meets = |rule: &Rule| match (&rule.conditions.message_type, message_type) {
                (None, _) => true,
                (Some(types), Some(message_type)) => types.contains(message_type),
                (Some(_), None) => false,
            };
            numbered().filter(|(rule, _)| meets(rule)).map(|(_, number)| number).collect()
        };
        let types: BTreeSet<&String> =
            rules.iter().filter_map(|rule| rule.conditions.message_type.as_ref()).flatten().collect();
        let by_type = types.into_iter().map(|name| (name.as_str().into(), about(Some(name)))).collect();
        let for_others = about(None);
        Self { rules, identification: configured.identification, by_type, for_others }
    }

    /// A bit for each rule that lets the holder of a certificate pass.
    pub(super) fn rights(&self, common_name: &str, attributes: Option<&CertificateAttributes>) -> Bits {
        let holder = Holder::new(common_name, attributes);
        let mut bits = Bits::default();
        for (index, rule) in self.rules.iter().enumerate() {
            let may_pass = match self.identification {
                Identification::Certificates => holder.may_pass(&rule.access),
                Identification::Headers => rule.access == Access::Anyone,
            };
            bits[index / 64] |= u64::from(may_pass) << (index % 64);
        }
        bits
    }

    pub(super) fn judge(&self, bits: &Bits, judged: &Judged<'_>) -> Result<(), Denial<'_>> {
        let candidates = self.by_type.get(judged.message_type).unwrap_or(&self.for_others);
        let decides = |number: &&u8| {
            let conditions = &self.rules[usize::from(**number)].conditions;
            is_one_of(judged.target, conditions.target.as_ref()) && is_one_of(judged.sender, conditions.sender.as_ref())
        };
        let Some(number) = candidates.iter().find(decides) else { return Err(Denial::NoRule) };
        let index = usize::from(*number);
        if bits[index / 64] >> (index % 64) & 1 == 1 { Ok(()) } else { Err(Denial::Rule(&self.rules[index].name)) }
    }
}

fn is_one_of(value: &str, values: Option<&BTreeSet<String>>) -> bool {
    values.is_none_or(|values| values.contains(value))
}
