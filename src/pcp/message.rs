//! The data of the messages that a broker answers or sends: association, inventory, errors (PCP 2.0). All are closed:
//! an unknown key makes them invalid.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::envelope::Text;
use crate::limits::{INVENTORY_PATTERN_BYTES_MAX, INVENTORY_PATTERNS_MAX};

/// Data of `associate_response`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociateResponse<'a> {
    /// The id of the request.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Whether the client is associated.
    pub success: bool,
    /// Why not.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}

/// Data of `inventory_request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with a query")]
pub struct InventoryRequest<'a> {
    /// URIs, exact or with wildcard components.
    #[serde(borrow, deserialize_with = "bounded_query")]
    pub query: Vec<Cow<'a, str>>,
    /// Whether to send updates from now on; absent or false ends a subscription.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subscribe: bool,
}

/// Reads a query, borrowing, and no further than its limits.
fn bounded_query<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'de, str>>, D::Error> {
    struct Query;

    impl<'de> Visitor<'de> for Query {
        type Value = Vec<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of PCP URIs")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let (mut query, mut bytes) = (Vec::new(), 0);
            while let Some(Text(text)) = list.next_element()? {
                bytes += text.len();
                if query.len() == INVENTORY_PATTERNS_MAX || bytes > INVENTORY_PATTERN_BYTES_MAX {
                    return Err(A::Error::custom(format_args!(
                        "more than {INVENTORY_PATTERNS_MAX} texts or {INVENTORY_PATTERN_BYTES_MAX} bytes of them; use wildcards"
                    )));
                }
                query.push(text);
            }
            Ok(query)
        }
    }

    deserializer.deserialize_seq(Query)
}

/// Data of `inventory_response`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryResponse<'a> {
    /// The matching clients, sorted, each once.
    #[serde(borrow)]
    pub uris: Vec<Cow<'a, str>>,
}

/// Data of `inventory_update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryUpdate<'a> {
    /// In the order in which they happened.
    #[serde(borrow)]
    pub changes: Vec<InventoryChange<'a>>,
}

/// One change of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryChange<'a> {
    /// Who came or went.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// 1 for came, -1 for went.
    pub change: i8,
}

/// The texts of `error_message`, whose v2 data is a JSON string. Clients match on them.
pub mod error_text {
    /// The envelope could not be read.
    pub const NOT_DECODED: &str = "Could not decode message";
    /// The sender's authority is not the connection's certificate name.
    pub const NOT_AUTHENTICATED: &str = "Message not authenticated.";
    /// The message's type or target is not allowed.
    pub const NOT_AUTHORIZED: &str = "Message not authorized.";
    /// A wildcard target.
    pub const MULTICAST: &str = "Multiple recipients no longer supported.";
    /// The target is not in the inventory.
    pub const NOT_CONNECTED: &str = "Not connected.";
    /// The target closes its connection on messages of this size.
    pub const TOO_LARGE: &str = "Message too large for the target: agents take at most 32000000 bytes.";
    /// The target, or the worker that has it, does not keep up.
    pub const OVERLOADED: &str = "Delivery failed: too much is waiting for the target.";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<usize, String> {
        let text = format!(r#"{{"query":{query}}}"#);
        let request = serde_json::from_str::<InventoryRequest<'_>>(&text).map_err(|error| error.to_string())?;
        assert!(request.query.iter().all(|text| matches!(text, Cow::Borrowed(_))));
        Ok(request.query.len())
    }

    #[test]
    fn a_request_without_data_is_told_what_is_missing() {
        let error = serde_json::from_str::<InventoryRequest<'_>>("null").unwrap_err().to_string();
        assert!(error.starts_with("invalid type: null, expected an object with a query"), "{error}");
    }

    #[test]
    fn a_query_is_bounded() {
        let list = |count: usize, text: &str| format!("[{}]", vec![format!("\"{text}\""); count].join(","));
        assert_eq!(read("[]"), Ok(0));
        assert_eq!(read(&list(INVENTORY_PATTERNS_MAX, "")), Ok(INVENTORY_PATTERNS_MAX));
        assert!(read(&list(INVENTORY_PATTERNS_MAX + 1, "")).unwrap_err().starts_with("more than 50000 texts"));
        let half = "x".repeat(INVENTORY_PATTERN_BYTES_MAX / 2);
        assert_eq!(read(&list(2, &half)), Ok(2));
        assert!(read(&list(3, &half)).is_err());
        assert!(read("\"pcp://*/agent\"").is_err());
    }
}
