//! PCP URIs: `pcp://<authority>/<type>`, exactly one path segment (PCP 2.0, uri.md).

use std::fmt;

use memchr::memchr;

/// A parsed PCP URI. The authority is a certificate's common name, empty for the broker; the type names the kind of
/// client. Either may be `*` in an inventory query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PcpUri<'a> {
    /// The common name.
    pub authority: &'a str,
    /// The client type.
    pub client_type: &'a str,
}

impl<'a> PcpUri<'a> {
    /// Parses `text`; `None` if it is not a PCP URI.
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("pcp://")?;
        // Several times for every message.
        let (authority, client_type) = rest.split_at(memchr(b'/', rest.as_bytes())?);
        let client_type = &client_type[1..];
        let is_one_segment = !client_type.is_empty() && memchr(b'/', client_type.as_bytes()).is_none();
        is_one_segment.then_some(Self { authority, client_type })
    }

    /// Whether a component is the wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.authority == "*" || self.client_type == "*"
    }

    /// Whether this URI, wildcards included, matches `other`.
    pub fn matches(&self, other: &PcpUri<'_>) -> bool {
        let component = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        component(self.authority, other.authority) && component(self.client_type, other.client_type)
    }
}

impl fmt::Display for PcpUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pcp://{}/{}", self.authority, self.client_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_the_specification_allows_and_nothing_else() {
        assert_eq!(PcpUri::parse("pcp://a.example/agent").unwrap().authority, "a.example");
        assert_eq!(PcpUri::parse("pcp:///server").unwrap().authority, "");
        for bad in ["", "pcp://a", "pcp://a/", "pcp://a/b/c", "http://a/b", "pcp:/a/b"] {
            assert_eq!(PcpUri::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn wildcards_are_whole_components() {
        let matches = |pattern, uri| PcpUri::parse(pattern).unwrap().matches(&PcpUri::parse(uri).unwrap());
        assert!(matches("pcp://*/agent", "pcp://a/agent"));
        assert!(matches("pcp://*/*", "pcp://a/b"));
        assert!(!matches("pcp://*/agent", "pcp://a/ctl"));
        assert!(!matches("pcp://a*/agent", "pcp://ab/agent"));
        assert!(!PcpUri::parse("pcp://a*/agent").unwrap().is_wildcard());
    }
}
