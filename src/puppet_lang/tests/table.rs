//! The table of functions: every signature is one, every function has a case, and docs/language.md says what it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use super::super::{NOT_OFFERED, documented, parse};

#[test]
fn every_signature_can_be_read() {
    let mut names = BTreeSet::new();
    for (name, signatures, doc) in documented() {
        assert!(names.insert(name), "{name} is in the table twice");
        assert!(doc.ends_with('.') && !signatures.is_empty(), "{name}");
        for signature in signatures {
            let parsed = parse(&format!("Callable[{signature}]"), &|_| None);
            assert!(parsed.is_ok(), "{name}: {signature}: {parsed:?}");
        }
        assert!(!NOT_OFFERED.iter().any(|(other, _)| *other == name), "{name} is offered");
    }
}

#[test]
fn every_function_has_a_case() {
    let cases = [include_str!("cases.txt"), include_str!("replay.rs"), include_str!("differences.txt")].concat();
    let is_called = |name: &str| cases.contains(&format!("{name}(")) || cases.contains(&format!(".{name}"));
    let missing: Vec<_> = documented().map(|(name, ..)| name).filter(|name| !is_called(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn document() -> String {
    let mut text = include_str!("language.md").to_owned();
    text.push_str("\n## Functions\n\n| function | takes | what it does |\n|---|---|---|\n");
    for (name, signatures, doc) in documented() {
        let takes: Vec<_> = signatures.iter().map(|one| format!("`{}`", one.replace('|', "\\|"))).collect();
        text.push_str(&format!("| `{name}` | {} | {doc} |\n", takes.join(" or ")));
    }
    text.push_str("\n## Functions that are not offered\n\n| function | why |\n|---|---|\n");
    for (name, why) in NOT_OFFERED {
        text.push_str(&format!("| `{name}` | {why} |\n"));
    }
    text.push_str("\n## Where a value differs from Puppet's\n\n| expression | in Puppet |\n|---|---|\n");
    for line in include_str!("differences.txt").lines() {
        match line.strip_prefix("# ") {
            Some(reason) => text.push_str(&format!("| *{reason}* | |\n")),
            None => {
                let (value, expression) = line.split_once('\t').unwrap_or_default();
                let cell = |text: &str| text.replace('|', "\\|").replace("\\N", " ");
                text.push_str(&format!("| `{}` | `{}` |\n", cell(expression), cell(value)));
            }
        }
    }
    text
}

/// With `UPDATE_LANGUAGE_DOCUMENT=1` in the environment the document is written instead.
#[test]
fn the_document_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md");
    if env::var_os("UPDATE_LANGUAGE_DOCUMENT").is_some() {
        fs::write(&path, document()).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == document(),
        "docs/language.md: run this test with UPDATE_LANGUAGE_DOCUMENT=1 and look at the difference"
    );
}
