//! Answers are held against the OpenAPI document: a validator for as much of JSON Schema as the document uses.

use std::sync::LazyLock;

use serde_json::Value;

use crate::api::access::{Listed, look_up};
use crate::api::openapi;

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::document);

/// What the document says of a request, if it says anything.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let Listed::As { path, .. } = look_up(method, path) else { return None };
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    DOCUMENT["paths"][path.replace("{*", "{")].get(method)
}

/// Panics if the document does not know a body that was taken.
pub(super) fn check_question(method: &str, path: &str, status: u16, body: &[u8]) {
    let Some(operation) = operation(method, path).filter(|_| status < 300) else { return };
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if let (false, Ok(body)) = (schema.is_null(), serde_json::from_slice(body))
        && let Err(why) = check(schema, &body, "")
    {
        panic!("{method} {path}: {body}\nwas taken and is not what the document says: {why}");
    }
}

/// Panics if the document does not know such an answer.
pub(super) fn check_answer(method: &str, path: &str, status: u16, content_type: &str, text: &str) {
    let Some(operation) = operation(method, path).filter(|_| status != 401 && status != 405) else { return };
    let place = format!("{method} {path}: {status} {content_type} {text}");
    let known = &operation["responses"][status.to_string()];
    let response = match known.is_null() {
        true if status < 400 => panic!("{place}: the document knows no such status"),
        true => &operation["responses"]["default"],
        false => known,
    };
    let Some(content) = response["content"].as_object() else {
        return assert!(text.is_empty(), "{place}: the document says that it is empty");
    };
    let plain = content_type.split(';').next().unwrap_or_default();
    let schema = content.get(plain).unwrap_or_else(|| panic!("{place}: the document knows no such content type"));
    if plain == "application/json" {
        let body = serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
        if let Err(why) = check(&schema["schema"], &body, "") {
            panic!("{place}\nis not what the document says: {why}");
        }
    }
}

/// Whether a value is what a schema says; the error says where it is not.
fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = DOCUMENT.pointer(&reference[1..]).ok_or_else(|| format!("{at}: {reference} leads nowhere"))?;
        return check(schema, value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Null => vec![],
        Value::String(one) => vec![one],
        several => several.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
    };
    if !types.is_empty() && !types.iter().any(|kind| is_a(kind, value)) {
        return Err(format!("{at}: {value} is not a {types:?}"));
    }
    if let (Some(words), false) = (schema["enum"].as_array(), value.is_null())
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is not one of {words:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{at}/{index}"))?;
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for key in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(key.as_str().unwrap()) {
            return Err(format!("{at}: {key} is missing"));
        }
    }
    for (key, value) in object {
        let at = format!("{at}/{key}");
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(schema), _) => check(schema, value, &at)?,
            (None, Value::Bool(false)) => return Err(format!("{at} should not be there")),
            (None, further) => check(further, value, &at)?,
        }
    }
    Ok(())
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is not a type"),
    }
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let problem = serde_json::json!({"$ref": "#/components/schemas/Problem"});
    let check = |value: Value| check(&problem, &value, "");
    assert_eq!(check(serde_json::json!({"kind": "k", "msg": "m", "details": {"a": 1}})), Ok(()));
    for (bad, why) in [
        (serde_json::json!({"kind": "k"}), "\"msg\" is missing"),
        (serde_json::json!({"kind": 1, "msg": "m"}), "/kind: 1 is not a"),
        (serde_json::json!({"kind": "k", "msg": "m", "more": 1}), "/more should not be there"),
        (serde_json::json!([]), ": [] is not a"),
    ] {
        assert!(check(bad).unwrap_err().contains(why), "{why}");
    }
    let event = serde_json::json!({"$ref": "#/components/schemas/Event"});
    let value = serde_json::json!({"id": "1", "type": "x", "timestamp": "", "details": {}, "message": ""});
    assert!(super::schema::check(&event, &value, "").unwrap_err().contains("/type: \"x\" is not one of"));
}
