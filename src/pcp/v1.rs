//! The PCP v1 message: a version byte and chunks, an envelope in JSON and data, each with a descriptor and a length (PCP
//! 1.0, message.md). What is tolerated is what pcp-broker tolerates. Reading borrows from the message and leaves the data
//! as raw bytes.
//!
//! A chunk's meaning: the first must be an envelope by its descriptor. The data is the first chunk after it that is not
//! debug, whatever its descriptor says. pcp-broker goes by position alone, which is the same for every message that it
//! understands, and takes a debug chunk for the data where there is no data or where debug comes first; the specification
//! allows debug chunks anywhere after the envelope.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::PcpUri;
use super::envelope::{DecodeError, Text, is_uuid, present_str};

/// The first byte of every message.
pub const VERSION: u8 = 1;

/// Bytes of a chunk before its content: the descriptor and the length.
pub const CHUNK_HEADER_BYTES: usize = 5;

/// Chunk types, the low half of a descriptor; the high half is reserved and ignored.
pub mod chunk {
    /// The envelope.
    pub const ENVELOPE: u8 = 1;
    /// The data.
    pub const DATA: u8 = 2;
    /// Where the message has been; nobody writes or needs it any more.
    pub const DEBUG: u8 = 3;
}

/// A received message.
#[derive(Debug)]
pub struct Message<'a> {
    /// The envelope.
    pub envelope: Envelope<'a>,
    /// The data; `None` if it is absent or empty.
    pub data: Option<&'a RawValue>,
}

/// A received envelope. No other keys may occur.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<'a> {
    /// The message's UUID.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The full type, with its prefix.
    #[serde(borrow)]
    pub message_type: Cow<'a, str>,
    /// The receivers.
    #[serde(borrow)]
    pub targets: Targets<'a>,
    /// The sender.
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
    /// The id of the message that this one answers.
    #[serde(default, borrow, rename = "in-reply-to", deserialize_with = "present_str")]
    pub in_reply_to: Option<Cow<'a, str>>,
    /// Not looked at: clocks of hosts differ.
    #[serde(borrow, rename = "expires")]
    _expires: Text<'a>,
    /// Not looked at: nobody sends reports.
    #[serde(default, rename = "destination_report")]
    _destination_report: bool,
}

/// The targets of a message, at least one. Only one is ever used, so the others are counted and not kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Targets<'a> {
    /// The first.
    pub first: Cow<'a, str>,
    /// How many there are.
    pub count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Targets<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TargetsVisitor)
    }
}

struct TargetsVisitor;

impl<'de> Visitor<'de> for TargetsVisitor {
    type Value = Targets<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of PCP URIs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Some(Text(first)) = list.next_element()? else { return Err(A::Error::custom("no target")) };
        let mut count = 1;
        while let Some(Text(target)) = list.next_element()? {
            PcpUri::parse(&target).ok_or_else(|| A::Error::custom("a target is not a PCP URI"))?;
            count += 1;
        }
        Ok(Targets { first, count })
    }
}

impl<'a> Message<'a> {
    /// Reads one message.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&VERSION, mut rest)) = message.split_first() else { return Err(DecodeError::Version) };
        let first = next_chunk(&mut rest, message.len())?.ok_or(DecodeError::Chunks)?;
        if first.kind != chunk::ENVELOPE {
            return Err(DecodeError::Chunks);
        }
        let envelope = Envelope::decode(first.content)?;
        let mut data = None;
        // The reference reads three chunks and ignores what follows; here it also may be debug that comes first.
        let mut place = 1;
        while data.is_none() || place < 3 {
            let Some(chunk) = next_chunk(&mut rest, message.len())? else { break };
            if data.is_none() && chunk.kind != chunk::DEBUG {
                data = Some(chunk.content);
            }
            place += 1;
        }
        let data = match data {
            None | Some([]) => None,
            Some(bytes) => Some(serde_json::from_slice(bytes).map_err(|_| DecodeError::Data)?),
        };
        Ok(Self { envelope, data })
    }
}

impl<'a> Envelope<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        // serde would also take an array with the values in order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(DecodeError::Syntax);
        }
        let envelope: Self = serde_json::from_slice(bytes).map_err(|_| DecodeError::Syntax)?;
        if !is_uuid(&envelope.id) || !envelope.in_reply_to.as_deref().is_none_or(is_uuid) {
            return Err(DecodeError::Id);
        }
        for uri in [&envelope.targets.first, &envelope.sender] {
            PcpUri::parse(uri).ok_or(DecodeError::Uri)?;
        }
        Ok(envelope)
    }
}

struct Chunk<'a> {
    kind: u8,
    content: &'a [u8],
}

/// Takes the next chunk; `None` if what is left is no whole chunk, which the reference ignores unless the length that it
/// gives is beyond the whole message.
fn next_chunk<'a>(rest: &mut &'a [u8], message_length: usize) -> Result<Option<Chunk<'a>>, DecodeError> {
    let Some((&[descriptor, a, b, c, d], after)) = rest.split_first_chunk::<CHUNK_HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length >= message_length {
        return Err(DecodeError::Chunks);
    }
    let Some((content, after)) = after.split_at_checked(length) else { return Ok(None) };
    *rest = after;
    Ok(Some(Chunk { kind: descriptor & 0x0F, content }))
}

/// Appends a chunk whose content `write` appends.
pub(super) fn write_chunk(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - length_at - 4).expect("messages are limited far below 4 GiB");
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSOCIATE: &str = concat!(
        r#"{"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","message_type":"http://puppetlabs.com/associate_request","#,
        r#""targets":["pcp:///server"],"expires":"2030-01-01T00:00:15Z","sender":"pcp://a.example/agent"}"#
    );
    const PLAIN: &str = concat!(
        r#"{"id":"7e57d004-2b97-4e7a-b45f-5387367791cd","message_type":"x","targets":["pcp://b/agent"],"#,
        r#""sender":"pcp://a/c","expires":"1970-01-01T00:00:00.000Z"}"#
    );

    fn message(chunks: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for &(kind, content) in chunks {
            write_chunk(&mut bytes, kind, |out| out.extend_from_slice(content));
        }
        bytes
    }

    fn data_of(chunks: &[(u8, &[u8])]) -> Option<String> {
        let bytes = message(&[&[(1, PLAIN.as_bytes())], chunks].concat());
        Message::decode(&bytes).unwrap().data.map(|data| data.get().to_owned())
    }

    fn fails(envelope: &str) -> DecodeError {
        Message::decode(&message(&[(1, envelope.as_bytes())])).unwrap_err()
    }

    #[test]
    fn an_agent_associates() {
        let bytes = message(&[(1, ASSOCIATE.as_bytes())]);
        assert_eq!(bytes.len(), 202);
        assert_eq!(bytes[..6], [1, 1, 0, 0, 0, 0xC4]);
        let Message { envelope, data } = Message::decode(&bytes).unwrap();
        assert!(matches!(envelope.id, Cow::Borrowed("3f2504e0-4f89-41d3-9a0c-0305e82c3301")));
        assert_eq!(envelope.targets, Targets { first: "pcp:///server".into(), count: 1 });
        assert_eq!((&*envelope.sender, envelope.in_reply_to, data.is_none()), ("pcp://a.example/agent", None, true));
    }

    #[test]
    fn data_and_debug() {
        let bytes = message(&[(1, PLAIN.as_bytes()), (2, br#"{"k":1}"#), (3, br#"{"hops":[]}"#)]);
        assert_eq!((bytes.len(), &bytes[..6]), (184, &[1, 1, 0, 0, 0, 0x96][..]));
        assert_eq!(bytes[156..162], [2, 0, 0, 0, 7, b'{']);
        assert_eq!(Message::decode(&bytes).unwrap().data.unwrap().get(), r#"{"k":1}"#);
    }

    #[test]
    fn chunks_that_the_reference_takes() {
        assert_eq!(data_of(&[]), None);
        assert_eq!(data_of(&[(2, b"")]), None, "an empty chunk is none");
        assert_eq!(data_of(&[(2, b""), (3, b"")]), None);
        assert_eq!(data_of(&[(0xF2, b" 1 ")]).as_deref(), Some("1"), "flags are ignored");
        for kind in [0, 1, 4, 15] {
            assert_eq!(data_of(&[(kind, b"1"), (kind, b"{")]).as_deref(), Some("1"), "the second chunk is the data");
        }
        assert_eq!(data_of(&[(2, b"1"), (2, b"no json")]).as_deref(), Some("1"));
        assert_eq!(data_of(&[(2, b"1"), (3, b"x"), (3, b"y"), (2, b"2")]).as_deref(), Some("1"));
        assert_eq!(data_of(&[(3, b"no json")]), None, "debug is never data");
        assert_eq!(data_of(&[(3, b"x"), (3, b"y"), (2, b"1")]).as_deref(), Some("1"));
    }

    #[test]
    fn a_cut_end_is_dropped_and_a_false_length_is_not_believed() {
        let whole = message(&[(1, PLAIN.as_bytes()), (2, b"{}")]);
        let data_at = whole.len() - 7;
        for end in data_at..whole.len() {
            assert!(Message::decode(&whole[..end]).unwrap().data.is_none(), "cut at {end}");
        }
        for end in 0..data_at {
            assert!(Message::decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for extra in 0..5 {
            let bytes = [&whole[..], &[2; 5][..extra]].concat();
            assert_eq!(Message::decode(&bytes).unwrap().data.unwrap().get(), "{}");
        }
        let with_length = |length: u32| {
            let mut bytes = whole.clone();
            bytes[data_at + 1..data_at + 5].copy_from_slice(&length.to_be_bytes());
            bytes
        };
        let length = u32::try_from(whole.len()).unwrap();
        assert!(Message::decode(&with_length(length - 1)).unwrap().data.is_none());
        for length in [length, u32::MAX] {
            assert_eq!(Message::decode(&with_length(length)).unwrap_err(), DecodeError::Chunks);
        }
    }

    #[test]
    fn refuses_what_the_reference_refuses() {
        assert_eq!(Message::decode(b"").unwrap_err(), DecodeError::Version);
        assert_eq!(Message::decode(b"{}").unwrap_err(), DecodeError::Version);
        assert_eq!(Message::decode(&message(&[])).unwrap_err(), DecodeError::Chunks);
        assert_eq!(Message::decode(&message(&[(2, PLAIN.as_bytes())])).unwrap_err(), DecodeError::Chunks);
        let no_json = message(&[(1, PLAIN.as_bytes()), (2, b"{")]);
        assert_eq!(Message::decode(&no_json).unwrap_err(), DecodeError::Data);
        for (there, instead, expected) in [
            (r#""x""#, r#""x","extra":1"#, DecodeError::Syntax),
            (r#"["pcp://b/agent"]"#, "[]", DecodeError::Syntax),
            (r#"["pcp://b/agent"]"#, r#""pcp://b/agent""#, DecodeError::Syntax),
            (r#"["pcp://b/agent"]"#, r#"["pcp://b/agent","b"]"#, DecodeError::Syntax),
            (r#"["pcp://b/agent"]"#, r#"["b"]"#, DecodeError::Uri),
            (r#""sender":"pcp://a/c","#, "", DecodeError::Syntax),
            (r#""pcp://a/c""#, "null", DecodeError::Syntax),
            (r#""pcp://a/c""#, r#""a""#, DecodeError::Uri),
            (r#","expires":"1970-01-01T00:00:00.000Z""#, "", DecodeError::Syntax),
            ("7e57d004", "", DecodeError::Id),
            (r#""x""#, r#""x","in-reply-to":"1""#, DecodeError::Id),
            (r#""x""#, r#""x","in_reply_to":"1-1-1-1-1""#, DecodeError::Syntax),
            (r#""x""#, r#""x","destination_report":"yes""#, DecodeError::Syntax),
        ] {
            let changed = PLAIN.replacen(there, instead, 1);
            assert_ne!(changed, PLAIN, "{there}");
            assert_eq!(fails(&changed), expected, "{changed}");
        }
        for text in ["", "[]", "{", r#"["1-1-1-1-1","x",["pcp://a/b"],"pcp://a/b"]"#] {
            assert_eq!(fails(text), DecodeError::Syntax, "{text}");
        }
    }

    #[test]
    fn what_is_ignored() {
        let text = PLAIN
            .replace("1970-01-01T00:00:00.000Z", "whenever")
            .replace(r#""x""#, r#""x","destination_report":true,"in-reply-to":"1-1-1-1-1""#)
            .replace(r#"["pcp://b/agent"]"#, r#"["pcp://b/agent","pcp://*/agent"]"#);
        let bytes = message(&[(1, text.as_bytes())]);
        let envelope = Message::decode(&bytes).unwrap().envelope;
        assert_eq!(envelope.in_reply_to.as_deref(), Some("1-1-1-1-1"));
        assert_eq!(envelope.targets.count, 2);
    }
}
