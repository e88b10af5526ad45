//! The patterns of an inventory query, and what they match. A subscription is asked about every change and a query about
//! every client, so a URI is split once, when it comes, and a look at a pattern costs a few comparisons however many there
//! are.

use crate::pcp::PcpUri;

/// What every PCP URI begins with.
pub(super) const SCHEME: &str = "pcp://";

/// Where the authority of a URI ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split(u16);

impl Split {
    /// A URI of this text; one that is not a PCP URI matches nothing.
    pub(super) fn of(uri: &str) -> Self {
        let end = PcpUri::parse(uri).and_then(|parsed| u16::try_from(SCHEME.len() + parsed.authority.len()).ok());
        Self(end.unwrap_or(0))
    }

    fn parts(self, uri: &str) -> Option<PcpUri<'_>> {
        let end = usize::from(self.0);
        Some(PcpUri { authority: uri.get(SCHEME.len()..end)?, client_type: uri.get(end + 1..)? })
    }
}

/// The patterns of an inventory query, by what they leave open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    /// Nothing is left open.
    exact: Vec<Box<str>>,
    /// `pcp://*/<type>`.
    types: Vec<Box<str>>,
    /// `pcp://<name>/*`.
    names: Vec<Box<str>>,
    /// `pcp://*/*`.
    everything: bool,
}

impl Patterns {
    /// Patterns from the texts of a query. A text that is not a PCP URI matches nothing.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Self::default();
        for text in texts {
            let Some(uri) = PcpUri::parse(text) else { continue };
            match (uri.authority, uri.client_type) {
                ("*", "*") => patterns.everything = true,
                ("*", client_type) => patterns.types.push(client_type.into()),
                (name, "*") => patterns.names.push(name.into()),
                _ => patterns.exact.push(text.into()),
            }
        }
        for texts in [&mut patterns.exact, &mut patterns.types, &mut patterns.names] {
            texts.sort_unstable();
            texts.dedup();
            texts.shrink_to_fit();
        }
        patterns
    }

    /// The URIs that are meant if none is left open.
    pub(super) fn exact(&self) -> Option<impl Iterator<Item = &str>> {
        let open = self.everything || !self.types.is_empty() || !self.names.is_empty();
        (!open).then(|| self.exact.iter().map(|text| &**text))
    }

    pub(super) fn matches(&self, uri: &str, split: Split) -> bool {
        let Some(PcpUri { authority, client_type }) = split.parts(uri) else { return false };
        let among = |texts: &[Box<str>], wanted: &str| texts.binary_search_by(|text| (**text).cmp(wanted)).is_ok();
        self.everything || among(&self.types, client_type) || among(&self.names, authority) || among(&self.exact, uri)
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.exact, &self.types, &self.names];
        texts.into_iter().flatten().map(|text| text.len() + size_of::<Box<str>>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, uri: &str) -> bool {
        Patterns::new([pattern, "nonsense"]).matches(uri, Split::of(uri))
    }

    #[test]
    fn matches_what_the_specification_says() {
        let parts = ["", "a", "b", "*", "a*"];
        for (name, kind) in parts.iter().flat_map(|name| parts[1..].iter().map(move |kind| (name, kind))) {
            let pattern = format!("pcp://{name}/{kind}");
            for (name, kind) in parts.iter().flat_map(|name| parts[1..].iter().map(move |kind| (name, kind))) {
                let uri = format!("pcp://{name}/{kind}");
                let expected = PcpUri::parse(&pattern).unwrap().matches(&PcpUri::parse(&uri).unwrap());
                assert_eq!(matches(&pattern, &uri), expected, "{pattern} {uri}");
            }
        }
    }

    #[test]
    fn what_is_no_uri_matches_nothing() {
        let long = format!("pcp://{}/x", "a".repeat(70_000));
        for uri in ["", "pcp://", "pcp://a", "pcp://a/", "pcp://a/b/c", "nonsense", &long] {
            for pattern in ["pcp://*/*", "pcp://a/*", uri] {
                assert!(!matches(pattern, uri), "{pattern} {uri}");
            }
        }
    }

    #[test]
    fn exact_only_if_nothing_is_open() {
        let exact = |texts: &[&str]| Patterns::new(texts.iter().copied()).exact().map(Iterator::count);
        assert_eq!(exact(&["pcp://a/b", "pcp://a/b", "pcp://b/c"]), Some(2));
        assert_eq!(exact(&[]), Some(0));
        for open in ["pcp://*/*", "pcp://*/a", "pcp://a/*"] {
            assert_eq!(exact(&["pcp://a/b", open]), None);
        }
    }
}
