//! The check of a JSON value against a type, with messages in Puppet's words.

use serde_json::{Map, Value};

use super::{Size, Type};

impl Type {
    /// Whether `value` is of the type.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Undef => value.is_null(),
            Self::Data => true,
            Self::Scalar(_) => value.is_string() || value.is_number() || value.is_boolean(),
            Self::Numeric => value.is_number(),
            Self::Boolean(only) => value.as_bool().is_some_and(|value| only.is_none_or(|only| only == value)),
            Self::Integer(range) => value.as_i64().is_some_and(|value| range.contains(value)),
            Self::Float(range) => value.is_f64() && value.as_f64().is_some_and(|value| range.contains(value)),
            Self::String(size) => value.as_str().is_some_and(|text| size.contains(length(text.chars().count()))),
            Self::Enum(words, ignores_case) => value.as_str().is_some_and(|text| {
                words.iter().any(|word| word == text || (*ignores_case && word.to_lowercase() == text.to_lowercase()))
            }),
            Self::Pattern(patterns) => {
                value.as_str().is_some_and(|text| patterns.iter().any(|(_, pattern)| pattern.is_match(text)))
            }
            Self::Collection(size) => match value {
                Value::Array(items) => size.contains(length(items.len())),
                Value::Object(entries) => size.contains(length(entries.len())),
                _ => false,
            },
            Self::Optional(inner) => value.is_null() || inner.accepts(value),
            Self::NotUndef(inner) => !value.is_null() && inner.accepts(value),
            Self::Variant(types) => types.iter().any(|one| one.accepts(value)),
            Self::Sensitive(inner) => inner.accepts(value),
            // `problem` asks here about values of another kind, so those must not be sent back to it.
            Self::Array(..) | Self::Tuple(..) => value.is_array() && self.problem(value).is_none(),
            Self::Hash(..) | Self::Struct(_) => value.is_object() && self.problem(value).is_none(),
            Self::Impossible(_) => false,
        }
    }

    /// What keeps `value` from being of the type, to follow the name of what has the value; `None` if nothing does.
    pub fn problem(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Array(item, size), Value::Array(items)) => {
                size_problem(*size, items.len()).or_else(|| first_problem(items.iter().map(|value| (&**item, value))))
            }
            (Self::Tuple(types, size), Value::Array(items)) => tuple_problem(types, *size, items),
            (Self::Hash(key, item, size), Value::Object(entries)) => {
                size_problem(*size, entries.len()).or_else(|| hash_problem(key, item, entries))
            }
            (Self::Struct(members), Value::Object(entries)) => {
                let missing = members.iter().find(|member| !member.is_optional && !entries.contains_key(&member.key));
                if let Some(member) = missing {
                    return Some(format!("expects a value for key '{}'", member.key));
                }
                entries.iter().find_map(|(key, value)| match members.iter().find(|member| member.key == *key) {
                    Some(member) => member.value.problem(value).map(|problem| format!("entry '{key}' {problem}")),
                    None => Some(format!("unrecognized key '{key}'")),
                })
            }
            // Not by what is below: `accepts` asks here in turn, without end.
            (Self::Array(..) | Self::Hash(..) | Self::Tuple(..) | Self::Struct(_), _) => Some(mismatch(self, value)),
            // Asked once: asking first whether the inside accepts would double the work with every level.
            (Self::Optional(inner), _) => (!value.is_null()).then(|| inner.problem(value)).flatten(),
            (Self::NotUndef(inner) | Self::Sensitive(inner), _) if !value.is_null() => inner.problem(value),
            _ if self.accepts(value) => None,
            (Self::Enum(..) | Self::Pattern(_), Value::String(text)) => {
                Some(format!("expects a match for {self}, got '{text}'"))
            }
            (Self::Enum(..) | Self::Pattern(_), _) => {
                Some(format!("expects a match for {self}, got {}", type_name(value)))
            }
            (Self::Variant(types), _) => {
                let names: Vec<_> = types.iter().map(Type::to_string).collect();
                Some(format!("expects a value of type {}, got {}", one_of(&names), type_name(value)))
            }
            (Self::Impossible(name), _) => Some(format!("expects a value of type {name}, which JSON cannot express")),
            _ => Some(mismatch(self, value)),
        }
    }
}

fn mismatch(expected: &Type, value: &Value) -> String {
    let name = expected.to_string();
    format!("expects {} {name} value, got {}", article(&name), got(expected, value))
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn size_problem(size: Size, count: usize) -> Option<String> {
    if size.contains(length(count)) {
        return None;
    }
    Some(match (size.min, size.max) {
        (Some(min), None) => format!("expects size to be at least {min}, got {count}"),
        (None, Some(max)) => format!("expects size to be at most {max}, got {count}"),
        (min, max) => {
            format!("expects size to be between {} and {}, got {count}", min.unwrap_or(0), max.unwrap_or(i64::MAX))
        }
    })
}

fn first_problem<'a>(pairs: impl Iterator<Item = (&'a Type, &'a Value)>) -> Option<String> {
    pairs
        .enumerate()
        .find_map(|(index, (one, value))| one.problem(value).map(|problem| format!("index {index} {problem}")))
}

fn tuple_problem(types: &[Type], size: Option<Size>, items: &[Value]) -> Option<String> {
    let exact = Some(length(types.len()));
    let size = size.unwrap_or(Size { min: exact, max: exact });
    size_problem(size, items.len()).or_else(|| {
        // The last type stands for all further positions.
        let types = types.iter().chain(types.last().into_iter().cycle().take(items.len()));
        first_problem(types.zip(items))
    })
}

fn hash_problem(key: &Type, item: &Type, entries: &Map<String, Value>) -> Option<String> {
    entries.iter().find_map(|(name, value)| {
        let of_key =
            key.problem(&Value::String(name.clone())).map(|problem| format!("key of entry '{name}' {problem}"));
        of_key.or_else(|| item.problem(value).map(|problem| format!("entry '{name}' {problem}")))
    })
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first, second] => format!("{first} or {second}"),
        [first @ .., last] => format!("{}, or {last}", first.join(", ")),
    }
}

/// The type of the value, with the value where the expected type has a range that it misses.
fn got(expected: &Type, value: &Value) -> String {
    match (expected, value) {
        (Type::Integer(_), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            format!("Integer[{number}, {number}]")
        }
        (Type::Float(_), Value::Number(number)) if number.is_f64() => format!("Float[{number}, {number}]"),
        _ => type_name(value).to_owned(),
    }
}

/// The type that Puppet infers.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "Undef",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(items) if items.is_empty() => "Array",
        Value::Array(_) => "Tuple",
        Value::Object(entries) if entries.is_empty() => "Hash",
        Value::Object(_) => "Struct",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Type, TypeError, parse};
    use super::*;

    fn alias(name: &str) -> Option<String> {
        Some(
            match name {
                "Lib::Port" => "# A port.\ntype Lib::Port = Integer[0, 65535]\n",
                "Lib::Name" => "type Lib::Name = Pattern[/\\A[a-z#]+\\Z/]",
                "Lib::Self" => "type Lib::Self = Array[Lib::Self]",
                "Lib::Bomb" => "type Lib::Bomb = Tuple[Lib::Bomb2, Lib::Bomb2, Lib::Bomb2, Lib::Bomb2]",
                "Lib::Bomb2" => "type Lib::Bomb2 = Tuple[Lib::Bomb, Lib::Bomb, Lib::Bomb, Lib::Bomb]",
                "Lib::Wrong" => "type Lib::Other = String",
                _ => return None,
            }
            .to_owned(),
        )
    }

    fn problem(text: &str, value: &Value) -> Option<String> {
        parse(text, &alias).unwrap_or_else(|error| panic!("{text}: {error}")).problem(value)
    }

    #[test]
    fn accepts_what_puppet_accepts() {
        let cases = [
            ("Any", json!(null)),
            ("String[1]", json!("é")),
            ("String[0, default]", json!("")),
            ("String['x']", json!("x")),
            ("Enum[install, 'status']", json!("install")),
            ("Enum['A', true]", json!("a")),
            ("Pattern[/^a/, /\\Ab\\h+\\Z/]", json!("bf0\n")),
            ("Pattern[/x\\/y/]", json!("x/y")),
            ("Pattern[/\\A\\/([^\\n\\/\\0]+\\/*)*\\z/]", json!("/a/b")),
            ("Pattern[/\\A[a-z]+={,2}[{,]\\z/]", json!("abc=={")),
            ("Integer[default, 5]", json!(-9)),
            ("Float[0, 1.5]", json!(0.5)),
            ("Numeric", json!(1)),
            ("Boolean[true]", json!(true)),
            ("Array", json!([1, "a"])),
            ("Array[String, 1, 2]", json!(["a"])),
            ("Array[Optional[Integer]]", json!([null, 1])),
            ("Hash[String, Data]", json!({"a": [null]})),
            ("Tuple[String, Integer, 1, 3]", json!(["a", 1, 2])),
            ("Struct[{'a' => String, Optional[b] => Integer, c => Optional[String]}]", json!({"a": "x"})),
            ("Struct[{ NotUndef['a'] => Any, }]", json!({"a": null})),
            ("Variant[Integer, Enum['all']]", json!("all")),
            ("Optional[Sensitive[String[1]]]", json!("secret")),
            ("TargetSpec", json!(["a", "b"])),
            ("Lib::Port", json!(8140)),
            ("Optional[Array[::Lib::Name]]", json!(["a#b"])),
            ("ScalarData", json!(1.5)),
            ("Collection[1]", json!({"a": 1})),
        ];
        for (text, value) in cases {
            assert_eq!(problem(text, &value), None, "{text} and {value}");
        }
    }

    #[test]
    fn refuses_in_puppets_words() {
        let cases = [
            ("String", json!(1), "expects a String value, got Integer"),
            ("String[1]", json!(""), "expects a String[1] value, got String"),
            ("String", json!(null), "expects a String value, got Undef"),
            ("Integer", json!("1"), "expects an Integer value, got String"),
            ("Integer[1, 10]", json!(11), "expects an Integer[1, 10] value, got Integer[11, 11]"),
            (
                "Integer",
                json!(u64::MAX),
                "expects an Integer value, got Integer[18446744073709551615, 18446744073709551615]",
            ),
            ("Float", json!(1), "expects a Float value, got Integer"),
            ("Enum['a', 'b']", json!("c"), "expects a match for Enum['a', 'b'], got 'c'"),
            ("Pattern[/^a$/]", json!("b"), "expects a match for Pattern[/^a$/], got 'b'"),
            ("Variant[String, Integer]", json!(true), "expects a value of type String or Integer, got Boolean"),
            ("Array[String]", json!("a"), "expects an Array[String] value, got String"),
            ("Array[String]", json!(null), "expects an Array[String] value, got Undef"),
            ("Hash", json!([1]), "expects a Hash[Any, Any] value, got Tuple"),
            ("Tuple[String]", json!({}), "expects a Tuple[String] value, got Hash"),
            ("Struct[{a => Integer}]", json!(1), "expects a Struct[{'a' => Integer}] value, got Integer"),
            ("Optional[Array[Integer]]", json!("a"), "expects an Array[Integer] value, got String"),
            ("Variant[Array, Hash]", json!("a"), "expects a value of type Array[Any] or Hash[Any, Any], got String"),
            ("Array[String]", json!(["a", 1]), "index 1 expects a String value, got Integer"),
            ("Array[Any, 2]", json!([1]), "expects size to be at least 2, got 1"),
            ("Tuple[String]", json!(["a", "b"]), "expects size to be between 1 and 1, got 2"),
            ("Hash[String, Integer]", json!({"a": "b"}), "entry 'a' expects an Integer value, got String"),
            ("Hash[Integer, Integer]", json!({"a": 1}), "key of entry 'a' expects an Integer value, got String"),
            ("Struct[{a => String}]", json!({}), "expects a value for key 'a'"),
            ("Struct[{a => String}]", json!({"a": "x", "b": 1}), "unrecognized key 'b'"),
            ("Optional[Integer]", json!("a"), "expects an Integer value, got String"),
            ("Boolean", json!([1]), "expects a Boolean value, got Tuple"),
            ("NotUndef", json!(null), "expects a NotUndef[Any] value, got Undef"),
            ("Timestamp", json!("now"), "expects a value of type Timestamp, which JSON cannot express"),
        ];
        for (text, value, expected) in cases {
            assert_eq!(problem(text, &value).as_deref(), Some(expected), "{text} and {value}");
        }
    }

    #[test]
    fn containers_refuse_what_is_none() {
        let containers = ["Array[String]", "Tuple[String]", "Hash[String, Integer]", "Struct[{a => String}]"];
        for text in containers {
            for value in [json!("a"), json!(1), json!(true)] {
                let found = problem(text, &value).unwrap_or_default();
                assert!(found.starts_with("expects a"), "{text} and {value}: {found}");
                assert_eq!(problem(&format!("Optional[{text}]"), &value), Some(found));
                assert!(problem(&format!("Variant[{text}]"), &value).is_some());
            }
        }
    }

    #[test]
    fn refuses_what_is_no_type() {
        for text in [
            "",
            "string",
            "String[",
            "String]",
            "String[1",
            "Array[String Integer]",
            "Enum[",
            "Struct[{a}]",
            "Hash[String]",
            "Integer[a]",
            "Pattern[/(?=x)/]",
            "Pattern[/a",
            "Integer[-0x-8000000000000000]",
            "Enum['a",
            "$x",
            "Lib::Wrong",
            "Boolean[1]",
            "é",
        ] {
            assert!(matches!(parse(text, &alias), Err(TypeError::Syntax(_))), "{text}");
        }
        assert_eq!(parse("Stdlib::Port", &alias).unwrap_err(), TypeError::Unknown("Stdlib::Port".into()));
        let deep = format!("{}Any{}", "Array[".repeat(1000), "]".repeat(1000));
        let patterns = format!("Pattern[{}]", "/a/,".repeat(200));
        for text in [deep.as_str(), &patterns, "Lib::Self", "Lib::Bomb", &"A".repeat(100_000)] {
            assert!(matches!(parse(text, &alias), Err(TypeError::TooLarge(_))), "{}", &text[..9]);
        }
    }

    const TYPES: [&str; 20] = [
        "Any",
        "Undef",
        "Data",
        "Scalar",
        "Numeric",
        "Boolean",
        "Integer[1]",
        "Float",
        "String[1]",
        "Enum[a]",
        "Pattern[/a/]",
        "Collection",
        "Array[String]",
        "Hash[String, Integer]",
        "Tuple[String, Integer]",
        "Struct[{a => Integer}]",
        "Optional[Array]",
        "Variant[Array[String], Hash]",
        "Sensitive[Tuple[Integer]]",
        "NotUndef",
    ];

    const VALUES: [&str; 12] =
        ["null", "true", "0", "7", "1.5", "\"\"", "\"a\"", "[]", "[\"a\"]", "[\"a\", 1]", "{}", "{\"a\": 1}"];

    #[test]
    fn knows_secrets() {
        let is_sensitive = |text: &str| -> bool { parse(text, &alias).map(|one: Type| one.is_sensitive()).unwrap() };
        assert!(is_sensitive("Optional[Sensitive[String]]"));
        assert!(is_sensitive("Array[Tuple[String, Struct[{a => Hash[String, Sensitive]}]]]"));
        assert!(!is_sensitive("Optional[Array[Struct[{a => String}]]]"));
    }

    proptest::proptest! {
        #[test]
        fn every_value_is_accepted_or_has_a_problem(ty in 0..TYPES.len(), value in 0..VALUES.len(), wrap in 0..4_usize) {
            let text = ["$", "Optional[$]", "Array[$]", "NotUndef[Sensitive[$]]"][wrap].replace('$', TYPES[ty]);
            let value: Value = serde_json::from_str(VALUES[value]).unwrap();
            let parsed = parse(&text, &alias).unwrap();
            proptest::prop_assert_eq!(parsed.accepts(&value), parsed.problem(&value).is_none(), "{}", text);
        }

        #[test]
        fn never_panics(text in "[A-Za-z\\[\\]{},=>'\"/#0-9 .:\\\\-]{0,60}") {
            drop(parse(&text, &alias));
        }
    }
}
