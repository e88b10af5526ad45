//! Attributes and functions of objects: `$result.ok`, `$results.error_set`, `$error.message`, `$target.name`.

use super::Arguments;
use super::results::of_result_set;
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::value::{Object, Value};

/// An attribute of an object, or what a function of its class says; `None` if it has none of the name.
pub fn of_object(evaluator: &mut Evaluator<'_>, object: &Object, name: &str, arguments: &Arguments) -> Option<Outcome> {
    let attribute = |name: &str| object.attributes.get_text(name).cloned();
    let found = match (&*object.class, name) {
        ("ResultSet", _) => return of_result_set(evaluator, object, name, arguments),
        ("Result" | "ApplyResult", "ok") => Value::Boolean(attribute("error").is_none_or(|error| !error.is_true())),
        ("Result" | "ApplyResult", "status") => {
            let has_failed = attribute("error").is_some_and(|error| error.is_true());
            if has_failed { "failure".into() } else { "success".into() }
        }
        ("Result" | "ApplyResult", "message") => under_value(object, "_output"),
        ("Result" | "ApplyResult", "sensitive") => under_value(object, "_sensitive"),
        ("Result" | "ApplyResult", "to_data") => Value::hash(object.attributes.iter().cloned()),
        ("Error", "message") => attribute("msg")?,
        ("Target", "uri" | "safe_name" | "host") => attribute(name).or_else(|| attribute("name"))?,
        (_, name) => attribute(name)?,
    };
    Some(Ok(found))
}

fn under_value(object: &Object, key: &str) -> Value {
    match object.attributes.get_text("value") {
        Some(Value::Hash(hash)) => hash.get_text(key).cloned().unwrap_or(Value::Undef),
        _ => Value::Undef,
    }
}
