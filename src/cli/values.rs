//! What an operator types for nodes, queries and parameters: in place, in a file (`@FILE`) or on standard input (`-`, `@-`).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::output::Failure;
use crate::limits::CLIENT_INPUT_BYTES_MAX;

/// Reads what arguments name. Standard input can be read once.
#[derive(Debug, Default)]
pub(super) struct Input {
    stdin_taken_by: Option<&'static str>,
}

impl Input {
    /// Names of nodes, in the order given, each once.
    pub(super) fn nodes(&mut self, argument: &str) -> Result<Vec<String>, Failure> {
        let text = self.text("--nodes", argument)?;
        let mut names: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        for name in lines.flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
            if name.contains(char::is_whitespace) {
                return Err(Failure::Usage(format!("--nodes: {name:?} has a blank in it; separate names by commas")));
            }
            if seen.insert(name.to_owned()) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            return Err(Failure::Usage(format!("--nodes: there is no name in {argument:?}")));
        }
        Ok(names)
    }

    /// A query: a string of PQL, or the array of an abstract syntax tree, which is JSON and begins with a bracket.
    pub(super) fn query(&mut self, argument: &str) -> Result<Value, Failure> {
        let text = self.text("--query", argument)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(Failure::Usage(format!("--query: there is no query in {argument:?}")));
        }
        if !text.starts_with('[') {
            return Ok(Value::String(text.to_owned()));
        }
        serde_json::from_str(text)
            .map_err(|error| Failure::Usage(format!("--query begins with [ and is not valid JSON: {error}")))
    }

    /// Parameters from either of the two ways to give them.
    pub(super) fn parameters(&mut self, inline: &[String], json: Option<&str>) -> Result<Map<String, Value>, Failure> {
        let Some(json) = json else { return inline.iter().map(|text| parameter(text)).collect() };
        if let Some(first) = inline.first() {
            let name = first.split('=').next().unwrap_or_default();
            let text = format!("{name:?} and --params exclude each other; give all parameters one way");
            return Err(Failure::Usage(text));
        }
        self.object("--params", json)
    }

    /// A JSON object.
    pub(super) fn object(&mut self, flag: &'static str, argument: &str) -> Result<Map<String, Value>, Failure> {
        match serde_json::from_str(&self.text(flag, argument)?) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Failure::Usage(format!("{flag} must be a JSON object such as '{{\"name\": \"value\"}}'"))),
            Err(error) => Err(Failure::Usage(format!("{flag} is not valid JSON: {error}"))),
        }
    }

    fn text(&mut self, flag: &'static str, argument: &str) -> Result<String, Failure> {
        match argument.strip_prefix('@') {
            None if argument != "-" => Ok(argument.to_owned()),
            None | Some("-") => {
                if let Some(other) = self.stdin_taken_by.replace(flag) {
                    return Err(Failure::Usage(format!("{flag} and {other} cannot both be read from standard input")));
                }
                bounded(&format!("{flag}: standard input"), io::stdin())
            }
            Some(path) => {
                let what = format!("{flag}: the file {path:?}");
                let file = File::open(path).map_err(|error| unreadable(&what, &error))?;
                bounded(&what, file)
            }
        }
    }
}

fn bounded(what: &str, source: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = source.take(CLIENT_INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    let length = read.map_err(|error| unreadable(what, &error))?;
    if length as u64 > CLIENT_INPUT_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{what} has more than {CLIENT_INPUT_BYTES_MAX} bytes; no server takes that"
        )));
    }
    Ok(text)
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::Usage(format!("{what} cannot be read: {error}"))
}

fn parameter(text: &str) -> Result<(String, Value), Failure> {
    match text.split_once('=') {
        Some((name, text)) if !name.is_empty() => Ok((name.to_owned(), value(text))),
        // What is behind the sign may be a secret, and standard error may be a log.
        Some(_) => Err(Failure::Usage("a parameter has no name; write name=value".to_owned())),
        None => Err(Failure::Usage(format!("{text:?} is not a parameter; write name=value"))),
    }
}

/// Numbers, booleans, arrays and objects as JSON writes them; all else is a string, `007`, `null` and `"x"` too, and
/// whole numbers that would lose digits.
fn value(text: &str) -> Value {
    let string = || Value::String(text.to_owned());
    if text.trim() != text {
        return string();
    }
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.is_f64() && !text.contains(['.', 'e', 'E']) => string(),
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_))) => value,
        Ok(Value::Null | Value::String(_)) | Err(_) => string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes(argument: &str) -> Result<Vec<String>, Failure> {
        Input::default().nodes(argument)
    }

    fn parameters(inline: &[String], json: Option<&str>) -> Result<Map<String, Value>, Failure> {
        Input::default().parameters(inline, json)
    }

    #[test]
    fn values_are_what_they_look_like() {
        let cases = [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("1.5", json!(1.5)),
            ("true", json!(true)),
            ("[1, \"a\"]", json!([1, "a"])),
            ("{\"a\": {}}", json!({"a": {}})),
            ("007", json!("007")),
            ("1.2.3", json!("1.2.3")),
            ("123456789012345678901234567890", json!("123456789012345678901234567890")),
            ("null", json!("null")),
            ("nan", json!("nan")),
            ("\"a\"", json!("\"a\"")),
            ("[a-z]+", json!("[a-z]+")),
            ("", json!("")),
            (" 5", json!(" 5")),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn parameters_come_one_way_or_the_other() {
        let inline = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let both = parameters(&inline(&["a=1", "b=x=y"]), None).unwrap();
        assert_eq!(Value::Object(both), json!({"a": 1, "b": "x=y"}));
        assert_eq!(Value::Object(parameters(&[], Some("{\"a\": \"1\"}")).unwrap()), json!({"a": "1"}));
        let bad = [
            (inline(&["a"]), None),
            (inline(&["=1"]), None),
            (inline(&["a=1"]), Some("{}")),
            (vec![], Some("[]")),
            (vec![], Some("{")),
            (vec![], Some("@/nosuch/file")),
        ];
        for texts in [&["pw=hunter2"][..], &["=hunter2"]] {
            let json = (texts[0] != "=hunter2").then_some("{}");
            let Err(Failure::Usage(message)) = parameters(&inline(texts), json) else { panic!("{texts:?}") };
            assert!(!message.contains("hunter2"), "{message}");
        }
        for (texts, json) in bad {
            assert!(matches!(parameters(&texts, json), Err(Failure::Usage(_))), "{texts:?} {json:?}");
        }
    }

    #[test]
    fn nodes_from_an_argument_or_a_file() {
        assert_eq!(nodes("b,a,b,").unwrap(), ["b", "a"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# web\nweb01\n\n web02 \nweb01,web03\n").unwrap();
        let argument = format!("@{}", file.path().display());
        assert_eq!(nodes(&argument).unwrap(), ["web01", "web02", "web03"]);
        for bad in ["", ",", "a b", "@/nosuch/file"] {
            assert!(matches!(nodes(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn queries_are_pql_or_a_syntax_tree() {
        let query = |text: &str| Input::default().query(text);
        assert_eq!(query(" nodes[certname] { } ").unwrap(), json!("nodes[certname] { }"));
        assert_eq!(query("[\"from\", \"nodes\"]").unwrap(), json!(["from", "nodes"]));
        for bad in ["", " ", "[\"from\"", "@/nosuch/file"] {
            assert!(matches!(query(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn standard_input_is_for_one() {
        let mut input = Input { stdin_taken_by: Some("--nodes") };
        let Err(Failure::Usage(message)) = input.object("--params", "@-") else { panic!() };
        assert_eq!(message, "--params and --nodes cannot both be read from standard input");
    }

    #[test]
    fn files_have_an_end() {
        let endless = bounded("--nodes: the file \"/dev/zero\"", io::repeat(b' '));
        let Err(Failure::Usage(message)) = endless else { panic!() };
        assert!(message.starts_with("--nodes: the file \"/dev/zero\" has more than "), "{message}");
    }
}
