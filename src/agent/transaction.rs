//! Transaction ids that may name a directory, and the phrase that names a request in error texts (PXP 1.0;
//! pxp-agent's wording).

use std::fmt;

use crate::limits::TRANSACTION_ID_BYTES_MAX;

/// A transaction id that is safe as the name of a directory. Controllers send UUIDs; anything else that is a plain token
/// is accepted, whereas pxp-agent takes any string and follows `../`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Box<str>);

impl TransactionId {
    /// What is wrong with an id that [`TransactionId::parse`] refuses.
    pub const RULE: &'static str =
        "the transaction id must have 1 to 128 characters of A-Z a-z 0-9 . _ - and not be . or ..";

    /// Checks `text`; `None` if it breaks [`TransactionId::RULE`].
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let usable = (1..=TRANSACTION_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(plain)
            && text != "."
            && text != "..";
        usable.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the answer to a request is its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is.
    Blocking,
    /// A provisional response comes first.
    NonBlocking,
}

/// Names a request in the texts of `rpc_error_message`.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// Of the request.
    pub kind: Kind,
    /// Of the request.
    pub module: &'a str,
    /// Of the request.
    pub action: &'a str,
    /// Of the request.
    pub transaction_id: &'a str,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Blocking => "blocking",
            Kind::NonBlocking => "non blocking",
        };
        write!(f, "{kind} '{} {}' request (transaction {})", self.module, self.action, self.transaction_id)
    }
}

impl Label<'_> {
    /// The text for an action that could not be run.
    pub fn failed(&self, error: &str) -> String {
        format!("Failed to execute the task for the {self}. Error: {error}")
    }

    /// The text for an action whose standard output cannot be put into JSON.
    pub fn invalid_utf8(&self) -> String {
        format!("The task executed for the {self} returned invalid UTF-8 on stdout")
    }

    /// The text for a module whose standard output is no JSON.
    pub fn invalid_json(&self, stderr: Option<&str>) -> String {
        format!("The task executed for the {self} returned invalid JSON on stdout{}", and_stderr(stderr))
    }

    /// The text for a module whose results do not fit its own schema.
    pub fn invalid_results(&self, stdout: &str, stderr: Option<&str>) -> String {
        let stderr = and_stderr(stderr);
        format!("The task executed for the {self} returned invalid results on stdout: {stdout}{stderr}")
    }

    /// The text for a module that said nothing.
    pub fn no_results(&self, stderr: Option<&str>) -> String {
        format!("The task executed for the {self} returned no results on stdout{}", and_stderr(stderr))
    }

    /// The text for an action whose results do not fit into a message.
    pub fn too_large(size: u64, max: usize) -> String {
        format!("Message size: {size} exceeded max-message-size {max}")
    }
}

fn and_stderr(stderr: Option<&str>) -> String {
    stderr.map_or_else(|| " - stderr: (empty)".to_owned(), |text| format!(" - stderr:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_tokens_name_directories() {
        for good in ["7", "a.b", "..a", "f93df7fa-5168-4f8d-a7b5-180d46019213", &"x".repeat(128)] {
            assert_eq!(TransactionId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "/etc", "a b", "a~", "a\0", "ä", &"x".repeat(129)] {
            assert_eq!(TransactionId::parse(bad), None, "{bad:?}");
        }
    }
}
