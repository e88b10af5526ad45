//! Between v1 and v2, as pcp-broker translates on every hop: inside a broker everything is v2.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::envelope::{Envelope, Outgoing, Text, is_uuid};
use super::{SERVER_URI, message_type, v1};

/// What all messages of brokers say: it is ignored, and must be there.
const EXPIRES: &str = "1970-01-01T00:00:00.000Z";

/// A v1 message in v2's terms. Of several targets only the first is kept: the caller has refused such a message, or will.
pub fn from_v1(message: v1::Message<'_>) -> Envelope<'_> {
    let v1::Message { envelope, data } = message;
    let mut translated = Envelope {
        id: envelope.id,
        message_type: envelope.message_type,
        target: Some(envelope.targets.first),
        sender: Some(envelope.sender),
        in_reply_to: envelope.in_reply_to,
        data: data.filter(|data| !matches!(data.get(), "null" | "false")),
    };
    if translated.message_type == message_type::ERROR_MESSAGE {
        let error = translated.data.and_then(|data| serde_json::from_str::<ErrorData<'_>>(data.get()).ok());
        let (culprit, description) = error.map_or((None, None), |error| (error.id, error.description));
        // An id that is no UUID cannot be said in v2.
        translated.in_reply_to = culprit.map(|Text(id)| id).filter(|id| is_uuid(id));
        translated.data = description;
    }
    translated
}

/// What v1's error messages hold.
#[derive(Deserialize)]
struct ErrorData<'a> {
    #[serde(default, borrow)]
    id: Option<Text<'a>>,
    #[serde(default, borrow)]
    description: Option<&'a RawValue>,
}

/// Appends a client's message in v1's form. Unlike brokers, clients say when their messages expire, and leave out data
/// that there is not.
pub fn to_v1_of_client<T: Serialize>(message: &Outgoing<'_, T>, expires: &str, out: &mut Vec<u8>) {
    let envelope = V1Envelope {
        id: message.id,
        message_type: message.message_type,
        sender: message.sender.unwrap_or(SERVER_URI),
        targets: message.target,
        expires,
        in_reply_to: None,
    };
    write(message, &envelope, message.data.is_some(), out);
}

/// Appends a broker's message in v1's form.
pub fn to_v1<T: Serialize>(message: &Outgoing<'_, T>, out: &mut Vec<u8>) {
    let is_response = message.message_type == message_type::INVENTORY_RESPONSE;
    let envelope = V1Envelope {
        id: message.id,
        message_type: message.message_type,
        sender: message.sender.unwrap_or(SERVER_URI),
        targets: message.target,
        expires: EXPIRES,
        in_reply_to: message.in_reply_to.filter(|_| is_response),
    };
    write(message, &envelope, true, out);
}

fn write<T: Serialize>(message: &Outgoing<'_, T>, envelope: &V1Envelope<'_>, has_data: bool, out: &mut Vec<u8>) {
    out.push(v1::VERSION);
    v1::write_chunk(out, v1::chunk::ENVELOPE, |out| write_json(out, envelope));
    if !has_data {
        return;
    }
    v1::write_chunk(out, v1::chunk::DATA, |out| {
        if message.message_type == message_type::ERROR_MESSAGE {
            write_json(out, &V1Error { description: message.data.as_ref(), id: message.in_reply_to });
        } else {
            write_json(out, &message.data);
        }
    });
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("messages have string keys only");
}

/// The keys in pcp-broker's order.
#[derive(Serialize)]
struct V1Envelope<'a> {
    id: &'a str,
    message_type: &'a str,
    sender: &'a str,
    #[serde(serialize_with = "as_list")]
    targets: Option<&'a str>,
    expires: &'a str,
    #[serde(rename = "in-reply-to", skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<&'a str>,
}

#[derive(Serialize)]
struct V1Error<'a, T> {
    description: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

fn as_list<S: Serializer>(target: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(usize::from(target.is_some())))?;
    if let Some(target) = target {
        list.serialize_element(target)?;
    }
    list.end()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "571b7a6c-3a62-4b5e-9d0c-2f6a3f2b1c11";
    const OTHER: &str = "1-1-1-1-1";

    /// The texts of the two chunks.
    fn chunks(message: &[u8]) -> (String, String) {
        let length = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap()) as usize;
        let data_at = 6 + length(2);
        assert_eq!((message[0], message[1], message[data_at]), (1, 1, 2));
        assert_eq!(message.len(), data_at + 5 + length(data_at + 1), "two chunks and nothing else");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&message[6..data_at]), text(&message[data_at + 5..]))
    }

    fn sent(kind: &str, data: Option<Value>, in_reply_to: Option<&str>, target: Option<&str>) -> (String, String) {
        let message_type = format!("http://puppetlabs.com/{kind}");
        let message = Outgoing { id: ID, message_type: &message_type, target, sender: None, in_reply_to, data };
        let mut out = Vec::new();
        to_v1(&message, &mut out);
        chunks(&out)
    }

    #[test]
    fn the_broker_s_own_messages_look_like_the_reference_s() {
        let (envelope, data) =
            sent("associate_response", Some(json!({"id": ID, "success": true})), Some(ID), Some("pcp://a/agent"));
        let expected = concat!(
            r#"{"id":"571b7a6c-3a62-4b5e-9d0c-2f6a3f2b1c11","message_type":"http://puppetlabs.com/associate_response","#,
            r#""sender":"pcp:///server","targets":["pcp://a/agent"],"expires":"1970-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(envelope, expected);
        assert_eq!(data, format!(r#"{{"id":"{ID}","success":true}}"#));
        let (envelope, data) = sent("inventory_response", Some(json!({"uris": []})), Some(OTHER), Some("pcp://a/c"));
        assert!(envelope.ends_with(r#"00.000Z","in-reply-to":"1-1-1-1-1"}"#), "{envelope}");
        assert_eq!(data, r#"{"uris":[]}"#);
        let (envelope, data) = sent("error_message", Some(json!("Not connected.")), Some(OTHER), None);
        assert!(envelope.contains(r#""sender":"pcp:///server","targets":[],"#), "{envelope}");
        assert_eq!(data, r#"{"description":"Not connected.","id":"1-1-1-1-1"}"#);
        assert_eq!(sent("error_message", Some(json!("x")), None, None).1, r#"{"description":"x"}"#);
        assert_eq!(sent("x", None, None, None).1, "null", "there is always a data chunk");
    }

    fn translated(kind: &str, data: &str) -> (Option<String>, Option<String>) {
        let envelope = json!({
            "id": ID, "message_type": format!("http://puppetlabs.com/{kind}"), "targets": ["pcp://b/agent"],
            "sender": "pcp://a/agent", "expires": "", "destination_report": true, "in-reply-to": OTHER,
        });
        let mut bytes = vec![1];
        v1::write_chunk(&mut bytes, 1, |out| write_json(out, &envelope));
        v1::write_chunk(&mut bytes, 2, |out| out.extend_from_slice(data.as_bytes()));
        let envelope = from_v1(v1::Message::decode(&bytes).unwrap());
        assert_eq!(envelope.target.as_deref(), Some("pcp://b/agent"));
        assert_eq!(envelope.sender.as_deref(), Some("pcp://a/agent"));
        (envelope.data.map(|data| data.get().to_owned()), envelope.in_reply_to.map(Cow::into_owned))
    }

    #[test]
    fn what_clients_say_is_put_into_v2_s_terms() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(translated("x", r#" {"a": 1e2} "#), (some(r#"{"a": 1e2}"#), some(OTHER)));
        for nothing in ["", "null", " false "] {
            assert_eq!(translated("x", nothing), (None, some(OTHER)));
        }
        assert_eq!(translated("x", "0"), (some("0"), some(OTHER)));
        let error = |data| translated("error_message", data);
        assert_eq!(error(r#"{"id":"2-2-2-2-2","description":"b\u0061d"}"#), (some(r#""b\u0061d""#), some("2-2-2-2-2")));
        assert_eq!(error(r#"{"description":"bad"}"#), (some(r#""bad""#), None));
        assert_eq!(error(r#"{"id":"no uuid","description":"bad"}"#), (some(r#""bad""#), None));
        for odd in ["", "null", "[]", "7", r#""bad""#, "{}", r#"{"id":7}"#] {
            assert_eq!(error(odd), (None, None), "{odd}");
        }
    }

    prop_compose! {
        fn uris()(name in "[^/]{0,20}", kind in "[^/]{1,10}") -> String {
            format!("pcp://{name}/{kind}")
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,5}", inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in ".{0,30}", target in uris(), sender in uris(), data in prop::option::of(values()), response: bool,
        ) {
            let kind = if response { message_type::INVENTORY_RESPONSE } else { &kind };
            let (target, in_reply_to) = (Some(&*target), Some(OTHER));
            let message = Outgoing { id: ID, message_type: kind, target, sender: Some(&sender), in_reply_to, data };
            let mut bytes = Vec::new();
            to_v1(&message, &mut bytes);
            let read = from_v1(v1::Message::decode(&bytes).unwrap());
            prop_assert_eq!(&*read.id, ID);
            prop_assert_eq!(&*read.message_type, kind);
            prop_assert_eq!(read.target.as_deref(), target);
            prop_assert_eq!(read.sender.as_deref(), Some(&*sender));
            prop_assert_eq!(read.in_reply_to.as_deref(), in_reply_to.filter(|_| response));
            let expected = message.data.filter(|data| !matches!(data, Value::Null | Value::Bool(false)));
            prop_assert_eq!(read.data.map(|data| serde_json::from_str(data.get()).unwrap()), expected);
        }

        #[test]
        fn errors_keep_their_text_and_culprit(text in ".{0,40}", culprit in prop::option::of(Just(OTHER))) {
            let message_type = message_type::ERROR_MESSAGE;
            let (target, sender) = (Some("pcp://a/agent"), None);
            let message =
                Outgoing { id: ID, message_type, target, sender, in_reply_to: culprit, data: Some(&text) };
            let mut bytes = Vec::new();
            to_v1(&message, &mut bytes);
            let read = from_v1(v1::Message::decode(&bytes).unwrap());
            prop_assert_eq!(read.in_reply_to.as_deref(), culprit);
            prop_assert_eq!(read.data_as::<String>().unwrap(), text);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = v1::Message::decode(&bytes).map(from_v1);
            let _ = v1::Message::decode(&[&[1][..], &bytes].concat()).map(from_v1);
        }
    }
}
