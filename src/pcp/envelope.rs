//! The PCP v2 envelope: one JSON object per text message (PCP 2.0, message.md). Reading borrows from the message and
//! leaves `data` as raw bytes; forwarding reuses the bytes that came.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::PcpUri;

/// Why a message could not be read. The peer is told "Could not decode message" in every case; the variant is for the
/// counter and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// v1: the first byte is not 1.
    Version,
    /// v1: no envelope in the first chunk, or a length beyond the message.
    Chunks,
    /// v1: the data is not JSON.
    Data,
    /// Not JSON, not an object, a missing or unknown key, or a value of the wrong type.
    Syntax,
    /// `id` or `in_reply_to` is not a UUID.
    Id,
    /// `target` or `sender` is not a PCP URI.
    Uri,
}

impl DecodeError {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Version => "v1-version",
            Self::Chunks => "v1-chunks",
            Self::Data => "v1-data",
            Self::Syntax => "envelope-syntax",
            Self::Id => "envelope-id",
            Self::Uri => "envelope-uri",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the message does not begin with the version byte of PCP v1",
            Self::Chunks => "the message does not begin with a whole envelope chunk, or a chunk's length is wrong",
            Self::Data => "the data chunk is not JSON",
            Self::Syntax => "the message is not a JSON object with the keys of an envelope",
            Self::Id => "`id` or `in_reply_to` is not a UUID",
            Self::Uri => "`target` or `sender` is not a PCP URI",
        })
    }
}

/// A received envelope. No key but these may occur: agents drop messages with others, and so does every broker.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<'a> {
    /// The message's UUID, in any form that the reference accepts (`1-1-1-1-1` too).
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The full type, with its prefix.
    #[serde(borrow)]
    pub message_type: Cow<'a, str>,
    /// The receiver; absent means the broker.
    #[serde(default, borrow, deserialize_with = "present_str")]
    pub target: Option<Cow<'a, str>>,
    /// The sender; a broker fills it in before it forwards.
    #[serde(default, borrow, deserialize_with = "present_str")]
    pub sender: Option<Cow<'a, str>>,
    /// The id of the message that this one answers.
    #[serde(default, borrow, deserialize_with = "present_str")]
    pub in_reply_to: Option<Cow<'a, str>>,
    /// Any JSON; `null` counts as present.
    #[serde(default, borrow, deserialize_with = "present_raw")]
    pub data: Option<&'a RawValue>,
}

/// A string, borrowed where no escape forbids it; serde's own `Cow` would always copy outside of a field.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Reads a string that may be absent but not `null`.
pub(super) fn present_str<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Text::deserialize(deserializer).map(|text| Some(text.0))
}

/// Reads any JSON; serde's own `Option` would take `null` for absent.
fn present_raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Envelope<'a> {
    /// Reads one message.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        // serde would also take an array with the values in order, to which no sender could be added.
        if message.trim_ascii_start().first() != Some(&b'{') {
            return Err(DecodeError::Syntax);
        }
        let envelope: Self = serde_json::from_slice(message).map_err(|_| DecodeError::Syntax)?;
        if !is_uuid(&envelope.id) || !envelope.in_reply_to.as_deref().is_none_or(is_uuid) {
            return Err(DecodeError::Id);
        }
        for uri in [&envelope.target, &envelope.sender].into_iter().flatten() {
            PcpUri::parse(uri).ok_or(DecodeError::Uri)?;
        }
        Ok(envelope)
    }

    /// The same message to be sent on, with `sender` if it names none itself.
    pub fn outgoing<'s>(&'s self, sender: &'s str) -> Outgoing<'s, &'a RawValue> {
        Outgoing {
            id: &self.id,
            message_type: &self.message_type,
            target: self.target.as_deref(),
            sender: Some(self.sender.as_deref().unwrap_or(sender)),
            in_reply_to: self.in_reply_to.as_deref(),
            data: self.data,
        }
    }

    /// The data as `T`; absent data reads as `null`.
    pub fn data_as<T: Deserialize<'a>>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.data.map_or("null", RawValue::get))
    }
}

/// Whether Java's `UUID.fromString` would take `text`: five groups of hexadecimal digits of at most the usual lengths.
pub(super) fn is_uuid(text: &str) -> bool {
    const GROUP_LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut lengths = GROUP_LENGTHS.iter().copied();
    let (mut room, mut digits) = (lengths.next().unwrap_or(0), 0);
    for byte in text.bytes() {
        match byte {
            b'-' if digits > 0 => match lengths.next() {
                Some(length) => (room, digits) = (length, 0),
                None => return false,
            },
            _ if byte.is_ascii_hexdigit() && digits < room => digits += 1,
            _ => return false,
        }
    }
    digits > 0 && lengths.next().is_none()
}

/// An envelope to be sent.
#[derive(Debug, Clone, Serialize)]
pub struct Outgoing<'a, T: Serialize> {
    /// A new UUID.
    pub id: &'a str,
    /// The full type.
    pub message_type: &'a str,
    /// The receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// The sender; agents drop requests without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<&'a str>,
    /// The id of the message that this one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<&'a str>,
    /// The content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
}

impl<T: Serialize> Outgoing<'_, T> {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(128);
        self.encode_into(&mut message);
        message
    }

    /// Appends the message's bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("envelopes have string keys only");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";

    fn decode(text: &str) -> Result<Envelope<'_>, DecodeError> {
        Envelope::decode(text.as_bytes())
    }

    #[test]
    fn reads_borrowed() {
        let text = format!(r#"{{"id":"{ID}","message_type":"x","target":"pcp://a/b","data":{{"k": 1}}}}"#);
        let envelope = decode(&text).unwrap();
        assert!(matches!(envelope.id, Cow::Borrowed(ID)));
        assert!(matches!(envelope.target, Some(Cow::Borrowed("pcp://a/b"))));
        assert_eq!(envelope.data.unwrap().get(), r#"{"k": 1}"#);
        assert_eq!(envelope.sender, None);
    }

    #[test]
    fn null_data_is_present() {
        let text = format!(r#"{{"id":"{ID}","message_type":"x","data":null}}"#);
        assert_eq!(decode(&text).unwrap().data.unwrap().get(), "null");
    }

    #[test]
    fn refuses_what_the_reference_refuses() {
        let cases = [
            ("", DecodeError::Syntax),
            ("[]", DecodeError::Syntax),
            (r#"["1-1-1-1-1","x"]"#, DecodeError::Syntax),
            (r#" ["1-1-1-1-1","x","pcp://a/b","pcp://a/b","1-1-1-1-1",{}]"#, DecodeError::Syntax),
            (r#"{"message_type":"x"}"#, DecodeError::Syntax),
            (r#"{"id":"1-1-1-1-1","message_type":"x","expires":"now"}"#, DecodeError::Syntax),
            (r#"{"id":"1-1-1-1-1","message_type":"x","target":null}"#, DecodeError::Syntax),
            (r#"{"id":"1-1-1-1-1","message_type":"x","target":"a"}"#, DecodeError::Uri),
            (r#"{"id":"1-1-1-1-1","message_type":"x","sender":"pcp://a"}"#, DecodeError::Uri),
            (r#"{"id":"1","message_type":"x"}"#, DecodeError::Id),
            (r#"{"id":"1-1-1-1-1","message_type":"x","in_reply_to":"7"}"#, DecodeError::Id),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text).unwrap_err(), expected, "{text}");
        }
        assert!(decode(r#"{"id":"1-1-1-1-1","message_type":"x"}"#).is_ok());
        assert!(decode(r#"{"id":"F93DF7FA-5168-4F8D-A7B5-180D46019213","message_type":"x"}"#).is_ok());
    }

    #[test]
    fn uuids_are_five_groups_of_digits_of_at_most_the_usual_lengths() {
        for good in [ID, "1-1-1-1-1", "F93DF7FA-5168-4f8d-A7B5-180D46019213"] {
            assert!(is_uuid(good), "{good}");
        }
        for bad in [
            "",
            "-",
            "1",
            "1-1-1-1",
            "1-1-1-1-",
            "-1-1-1-1",
            "1--1-1-1",
            "1-1-1-1-1-1",
            "1-1-1-1-1-",
            "123456789-1-1-1-1",
            "1-12345-1-1-1",
            "1-1-1-1-1234567890123",
            "g-1-1-1-1",
            "1-1-1-1-\u{e9}",
            " 1-1-1-1-1",
        ] {
            assert!(!is_uuid(bad), "{bad}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let outgoing = Outgoing {
            id: ID,
            message_type: "x",
            target: Some("pcp://a/b"),
            sender: None,
            in_reply_to: Some(ID),
            data: Some("text"),
        };
        let bytes = outgoing.encode();
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.in_reply_to.as_deref(), Some(ID));
        assert_eq!(envelope.data_as::<String>().unwrap(), "text");
    }
}
