//! Damaged and random code: nothing panics, nothing goes on without end, whatever the text.

use proptest::prelude::*;

use super::super::{Environment, Replay, Source, Value, parse};
use super::evaluate;

/// Pieces from which random code is put together; most of what they make is wrong, some of it is not.
const PIECES: &[&str] = &[
    "$x",
    "$a",
    "1",
    "-2",
    "2.5",
    "'s'",
    "\"a${",
    "}\"",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    "=>",
    "=",
    "==",
    "=~",
    "!~",
    "+",
    "-",
    "*",
    "/",
    "%",
    "<<",
    ">>",
    "<",
    ">",
    "!",
    "?",
    ":",
    ";",
    ".",
    "|$x|",
    "|$a, $b|",
    "|",
    "map",
    ".each",
    ".reduce(1)",
    "if",
    "else",
    "elsif",
    "unless",
    "case",
    "default",
    "undef",
    "true",
    "false",
    "in",
    "and",
    "or",
    "Integer",
    "Array",
    "Hash[",
    "Struct[{",
    "Optional",
    "Callable",
    "/a(b)/",
    "@(END)\n",
    "\n| END\n",
    "function f($x)",
    "type T =",
    "plan p()",
    "return",
    "next",
    "break()",
    "sprintf(",
    "regsubst(",
    "split(",
    "type(",
    "String(",
    "Integer(",
    "new(",
    "$x = ",
    " ",
    "\n",
    "#c\n",
    "/*",
    "*/",
    "\\",
    "\"",
    "'",
    "é",
    "\u{1F600}",
    "$",
    "@",
    "~",
    "08",
    "1e5",
    "0x1F",
    "9223372036854775807",
    "f(",
    "lest || {",
    "slice(2)",
    "step(3)",
    "Timespan(1)",
    "SemVer('1.0.0')",
    "strftime(",
    "dig(",
    "base64('encode', ",
];

const VALUES: &[&str] = &[
    "undef",
    "default",
    "true",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775807",
    "1.5",
    "1e308",
    "''",
    "'a'",
    "'é'",
    "'%s%d%5.2f'",
    "/(a)|b/",
    "[]",
    "[1, 'a', [undef]]",
    "{}",
    "{'a' => 1, 2 => []}",
    "Integer",
    "Integer[1, 3]",
    "Any",
    "Sensitive('x')",
    "Timespan(90)",
    "Timestamp(5)",
    "SemVer('1.0.0')",
    "SemVerRange('1.x')",
    "Binary('aGk=')",
    "URI('a')",
];

fn random_code() -> impl Strategy<Value = String> {
    prop::collection::vec(0..PIECES.len(), 0..25)
        .prop_map(|pieces| pieces.into_iter().map(|piece| PIECES[piece]).collect())
}

/// A case from the record with a byte changed, taken out or doubled.
fn damaged_code() -> impl Strategy<Value = String> {
    let cases: Vec<&'static str> =
        include_str!("cases.txt").lines().filter_map(|line| line.split_once('\t').map(|(_, case)| case)).collect();
    (0..cases.len(), any::<prop::sample::Index>(), 0..3_usize, 0..PIECES.len()).prop_map(
        move |(case, at, how, piece)| {
            let mut chars: Vec<char> = cases[case].chars().collect();
            if chars.is_empty() {
                return String::new();
            }
            let at = at.index(chars.len());
            match how {
                0 => drop(chars.remove(at)),
                1 => chars.insert(at, chars[at]),
                _ => drop(chars.splice(at..=at, PIECES[piece].chars())),
            }
            chars.into_iter().collect()
        },
    )
}

/// The text of what is found is read again without an error.
fn check(text: &str) {
    match evaluate(text) {
        Ok(Value::Type(data_type)) => drop(parse(&data_type.to_string(), &|_| None)),
        Ok(value) => drop(value.to_string()),
        Err(message) => assert!(!message.is_empty()),
    }
}

proptest! {
    #[test]
    fn any_text_is_code_or_an_error(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn random_code_is_bounded(text in random_code()) {
        check(&text);
    }

    #[test]
    fn damaged_code_is_bounded(text in damaged_code()) {
        check(&text);
    }

    #[test]
    fn any_function_takes_any_value_or_refuses_it(
        function in any::<prop::sample::Index>(),
        values in prop::collection::vec(0..VALUES.len(), 0..4),
        block in 0..4_usize,
    ) {
        let names: Vec<_> = super::super::documented().map(|(name, ..)| name).collect();
        let values: Vec<_> = values.into_iter().map(|value| VALUES[value]).collect();
        let block = ["", " |$a| { $a }", " |$a, $b| { $b }", " || { 1 }"][block];
        check(&format!("{}({}){block}", names[function.index(names.len())], values.join(", ")));
    }

    #[test]
    fn any_operator_takes_any_values_or_refuses_them(a in 0..VALUES.len(), b in 0..VALUES.len(), key in 0..VALUES.len()) {
        for operator in ["+", "-", "*", "/", "%", "<<", ">>", "==", "<", ">=", "=~", "in"] {
            check(&format!("{} {operator} {}", VALUES[a], VALUES[b]));
        }
        check(&format!("{}[{}]", VALUES[a], VALUES[b]));
        check(&format!("{}[{}, {}]", VALUES[a], VALUES[b], VALUES[key]));
    }
}

#[test]
fn a_program_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let environment = Environment::new(|_, _: &str| None);
    let program = environment.parse(&Source::new("a.pp", "1 + 1"), &|_| false).unwrap();
    shared(&environment);
    shared(&program);
    environment.run(&program, &[], &mut Replay::default());
}
