//! Expressions with the values that Puppet gives them. The values are recorded in `cases.txt`, and where Puppet is
//! installed the record is compared with it. `differences.txt` has the expressions that mean something else here.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::super::Value;
use super::evaluate;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/puppet_lang/tests")
}

/// Lines of two columns: the value, and the expression with `\N` for line breaks.
fn recorded(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(directory().join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("# "));
    lines
        .map(|line| {
            let (value, expression) = line.split_once('\t').unwrap_or_else(|| panic!("{name}: no tab in {line}"));
            (value.to_owned(), expression.replace("\\N", "\n"))
        })
        .collect()
}

/// One text per value, the same as that of `oracle.rb`.
fn canonical(value: &Value) -> String {
    let all = |items: &[Value]| items.iter().map(canonical).collect::<Vec<_>>().join(", ");
    match value {
        Value::Undef => "undef".to_owned(),
        Value::Float(value) => {
            let text = format!("{value:.12e}");
            let (mantissa, exponent) = text.split_once('e').unwrap();
            let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        Value::String(text) => serde_json::to_string(&**text).unwrap(),
        Value::Regexp(pattern) => format!("/{}/", pattern.text),
        Value::Array(items) => format!("[{}]", all(items)),
        Value::Hash(hash) => {
            let entry = |(key, value): &(Value, Value)| format!("{} => {}", canonical(key), canonical(value));
            format!("{{{}}}", hash.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Sensitive(inner) => format!("Sensitive({})", canonical(inner)),
        Value::Type(_) => format!("Type({value})"),
        Value::Timestamp(_) => format!("Timestamp({value})"),
        Value::Timespan(_) => format!("Timespan({value})"),
        Value::SemVer(_) => format!("Version({value})"),
        Value::SemVerRange(_) => format!("VersionRange({value})"),
        Value::Uri(_) => format!("URI({value})"),
        Value::Binary(_) => format!("Binary({value})"),
        other => other.to_string(),
    }
}

fn ours(expression: &str) -> String {
    evaluate(expression).map_or_else(|_| "error".to_owned(), |value| canonical(&value))
}

#[test]
fn expressions_mean_what_they_mean_to_puppet() {
    let cases = recorded("cases.txt");
    let wrong: Vec<_> = cases
        .iter()
        .map(|(value, expression)| (value, expression, ours(expression)))
        .filter(|(value, _, found)| *value != found)
        .map(|(value, expression, found)| format!("{expression}\n  is {found}\n  not {value}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 2000);
}

#[test]
fn the_listed_differences_are_differences() {
    for (value, expression) in recorded("differences.txt") {
        assert_ne!(ours(&expression), value, "{expression} is the same as in Puppet: move it to cases.txt");
    }
}

/// Puppet's values; `None` if it is not installed.
fn puppets(expressions: &[&str]) -> Option<Vec<String>> {
    let mut child = Command::new("ruby")
        .arg(directory().join("oracle.rb"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let input = serde_json::to_vec(expressions).unwrap();
    child.stdin.take()?.write_all(&input).ok()?;
    let output = child.wait_with_output().ok()?;
    let answers: Vec<Json> = serde_json::from_slice(&output.stdout).ok()?;
    let text = |answer: &Json| answer["value"].as_str().unwrap_or("error").to_owned();
    Some(answers.iter().map(text).collect())
}

#[test]
#[ignore = "takes a minute or two, and needs ruby with puppet 7: cargo test --lib puppet_lang -- --ignored --nocapture"]
fn the_record_is_what_the_installed_puppet_says() {
    let cases: Vec<_> = [recorded("cases.txt"), recorded("differences.txt")].concat();
    let expressions: Vec<&str> = cases.iter().map(|(_, expression)| expression.as_str()).collect();
    let Some(found) = puppets(&expressions) else {
        println!("no puppet is installed: nothing was compared");
        return;
    };
    let wrong: Vec<_> = cases.iter().zip(&found).filter(|((value, _), found)| value != *found).collect();
    println!("{} expressions compared with the installed puppet, {} differ from the record", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
