//! What clients see: messages in the form of their protocol, and the inventory as a subscriber is told of it.

use std::collections::BTreeSet;

use podium::pcp::message_type;
use serde_json::Value;

/// A message as a client reads it, whatever its form.
pub struct Seen {
    pub id: String,
    pub message_type: String,
    pub target: Option<String>,
    pub sender: Option<String>,
    pub in_reply_to: Option<String>,
    pub data: Value,
}

impl Seen {
    /// Of PCP v2.
    pub fn v2(message: &[u8]) -> Self {
        let envelope: Value = serde_json::from_slice(message).unwrap();
        let text = |key: &str| envelope[key].as_str().map(str::to_owned);
        Self {
            id: text("id").unwrap(),
            message_type: text("message_type").unwrap(),
            target: text("target"),
            sender: text("sender"),
            in_reply_to: text("in_reply_to"),
            data: envelope["data"].clone(),
        }
    }

    /// Of PCP v1.
    pub fn v1(message: &[u8]) -> Self {
        let length = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap()) as usize;
        let data_at = 6 + length(2);
        assert_eq!((message[0], message[1], message[data_at]), (1, 1, 2));
        let envelope: Value = serde_json::from_slice(&message[6..data_at]).unwrap();
        let data: Value = serde_json::from_slice(&message[data_at + 5..]).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let is_error = envelope["message_type"] == message_type::ERROR_MESSAGE;
        assert!(envelope["targets"].as_array().unwrap().len() <= 1);
        Self {
            id: text(&envelope["id"]).unwrap(),
            message_type: text(&envelope["message_type"]).unwrap(),
            target: text(&envelope["targets"][0]),
            sender: text(&envelope["sender"]),
            in_reply_to: text(if is_error { &data["id"] } else { &envelope["in-reply-to"] }),
            data: if is_error { data["description"].clone() } else { data },
        }
    }
}

/// What one subscriber believes after its response and updates.
#[derive(Default)]
pub struct View {
    pub believed: BTreeSet<String>,
    /// Whether its subscription was answered.
    pub subscribed: bool,
    /// Updates since [`Self::happening`].
    updates: usize,
    /// How often one happening brought more than one update.
    pub splits: usize,
}

impl View {
    /// Something new happens: what is told from now on is of one tick at most.
    pub fn happening(&mut self) {
        self.splits += usize::from(self.updates > 1);
        self.updates = 0;
    }

    /// A message of the inventory. Complains of what is lost, repeated or out of order.
    pub fn told(&mut self, message: &Seen, update_bytes_max: usize) {
        if message.message_type == message_type::INVENTORY_RESPONSE {
            let uris = message.data["uris"].as_array().unwrap();
            self.believed = uris.iter().map(|uri| uri.as_str().unwrap().to_owned()).collect();
            assert_eq!(self.believed.len(), uris.len(), "a URI twice");
            self.subscribed = true;
            return;
        }
        assert_eq!(message.message_type, message_type::INVENTORY_UPDATE);
        assert!(self.subscribed, "an update before the response");
        self.updates += 1;
        let changes = message.data["changes"].as_array().unwrap();
        assert!(changes.len() == 1 || message.data.to_string().len() <= update_bytes_max + r#"{"changes":[]}"#.len());
        for change in changes {
            let client = change["client"].as_str().unwrap();
            let told_something_new = match change["change"].as_i64() {
                Some(1) => self.believed.insert(client.to_owned()),
                _ => self.believed.remove(client),
            };
            assert!(told_something_new, "a lost or repeated change of {client}");
        }
    }
}
