//! Whether a certificate is one that an access control entry names (trapperkeeper-authorization, `acl`). Names are
//! compared whole, label by label; up to its version 2.0.1 the reference compared the shorter list only.

use std::borrow::Cow;

use crate::config::authorization::{Access, Ace, Attribute};
use crate::link::CertificateAttributes;

/// Who is asked about: a name and what else the certificate says.
pub(super) struct Holder<'c> {
    common_name: &'c str,
    /// The common name and all alternative names.
    names: Vec<Name<'c>>,
    attributes: Option<&'c CertificateAttributes>,
}

/// A name as both lists see it. What could pass for another name is that name for `deny`, and none for `allow`: the
/// reference ignores dots at the end, and its lower case makes ASCII letters of others.
struct Name<'c> {
    written: &'c str,
    allowed: Cow<'c, str>,
    denied: Cow<'c, str>,
}

#[derive(Clone, Copy)]
enum List {
    Deny,
    Allow,
}

impl<'c> Holder<'c> {
    pub(super) fn new(common_name: &'c str, attributes: Option<&'c CertificateAttributes>) -> Self {
        let alternative = attributes.map_or(&[][..], |attributes| &attributes.dns_names);
        let names = std::iter::once(common_name).chain(alternative.iter().map(|name| &**name)).map(Name::new).collect();
        Self { common_name, names, attributes }
    }

    /// Whether a rule's lists let the holder pass: first those who are denied, then those who are allowed.
    pub(super) fn may_pass(&self, access: &Access) -> bool {
        match access {
            Access::Anyone => true,
            Access::Listed { deny, allow } => {
                !deny.iter().any(|ace| self.is_in(ace, List::Deny))
                    && allow.iter().any(|ace| self.is_in(ace, List::Allow))
            }
        }
    }

    fn is_in(&self, ace: &Ace, list: List) -> bool {
        match ace {
            Ace::Everyone => true,
            Ace::Name(expected) => self.names.iter().any(|name| name.seen(list) == expected),
            Ace::Domain(domain) => self.names.iter().any(|name| is_within(name.seen(list), domain)),
            Ace::Matching(pattern) => self.names.iter().any(|name| pattern.is_in(name.written)),
            Ace::Certificate(attributes) => attributes.iter().all(|attribute| self.has(attribute)),
        }
    }

    fn has(&self, attribute: &Attribute) -> bool {
        match attribute {
            Attribute::Extension { oid, values } => {
                let mut extensions = self.attributes.iter().flat_map(|attributes| &attributes.extensions);
                extensions.any(|(found, value)| **found == **oid && is_among(value, values))
            }
            Attribute::AlternativeName { dns_names, ip_addresses } => {
                // The common name is not kept among the alternative names, where it nearly always is, too.
                is_among(self.common_name, dns_names)
                    || self.attributes.is_some_and(|attributes| {
                        attributes.dns_names.iter().any(|name| is_among(name, dns_names))
                            || attributes.ip_addresses.iter().any(|address| is_among(address, ip_addresses))
                    })
            }
        }
    }
}

impl<'c> Name<'c> {
    fn new(written: &'c str) -> Self {
        let is_plain = written.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        let (allowed, denied) = if is_plain {
            (written.into(), written.trim_end_matches('.').into())
        } else {
            (written.to_ascii_lowercase().into(), written.to_lowercase().trim_end_matches('.').to_owned().into())
        };
        Self { written, allowed, denied }
    }

    fn seen(&self, list: List) -> &str {
        match list {
            List::Deny => &self.denied,
            List::Allow => &self.allowed,
        }
    }
}

/// Whether a name is a domain's or below it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

fn is_among(value: &str, values: &[String]) -> bool {
    values.iter().any(|one| one == value)
}
