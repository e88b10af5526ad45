//! What types accept, and what is said of what they do not.

use serde_json::{Value, json};

use super::{Type, TypeError, parse};

fn alias(name: &str) -> Option<String> {
    Some(
        match name {
            "Lib::Port" => "# A port.\ntype Lib::Port = Integer[0, 65535]\n",
            "Lib::Name" => "type Lib::Name = Pattern[/\\A[a-z#]+\\Z/]",
            "Lib::Self" => "type Lib::Self = Array[Lib::Self]",
            "Lib::Bomb" => "type Lib::Bomb = Tuple[Lib::Bomb2, Lib::Bomb2, Lib::Bomb2, Lib::Bomb2]",
            "Lib::Bomb2" => "type Lib::Bomb2 = Tuple[Lib::Bomb, Lib::Bomb, Lib::Bomb, Lib::Bomb]",
            "Lib::Wrong" => "type Lib::Other = String",
            "Lib::Nothing" => "type Lib::Nothing = Variant[String, Optional[Lib::Nothing2]]",
            "Lib::Nothing2" => "type Lib::Nothing2 = Lib::Nothing",
            "Lib::Tree" => "type Lib::Tree = Hash[String, Variant[Integer, Lib::Tree]]",
            "Lib::Secret" => "type Lib::Secret = Sensitive[Lib::Secret]",
            "Lib::Twice" => "type Lib::Twice = Variant[Array[Lib::Twice], Array[Lib::Twice]]",
            name if name.starts_with("Lib::Many") => {
                let depth: usize = name["Lib::Many".len()..].parse().ok()?;
                let inner = if depth == 31 { "Integer".to_owned() } else { format!("Lib::Many{}", depth + 1) };
                return Some(format!("type {name} = Variant[{inner}, {inner}, {inner}, {inner}]"));
            }
            name if name.starts_with("Lib::Deep") => return deep(name, "Lib::Deep", 8),
            name if name.starts_with("Lib::Down") => return deep(name, "Lib::Down", 24),
            _ => return None,
        }
        .to_owned(),
    )
}

/// Aliases `<prefix>1` to `<prefix><last>`, each of which names the next after many levels, and the last one the first.
fn deep(name: &str, prefix: &str, last: usize) -> Option<String> {
    let number: usize = name[prefix.len()..].parse().ok()?;
    let inner = if number == last { format!("Array[{prefix}1]") } else { format!("{prefix}{}", number + 1) };
    Some(format!("type {name} = {}{inner}{}", "Optional[NotUndef[".repeat(14), "]]".repeat(14)))
}

fn problem(text: &str, value: &Value) -> Option<String> {
    parse(text, &alias).unwrap_or_else(|error| panic!("{text}: {error}")).problem_json(value)
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
        ("Integer", json!(u64::MAX), "expects an Integer value, got Float"),
        ("Float", json!(1), "expects a Float value, got Integer"),
        ("Enum['a', 'b']", json!("c"), "expects a match for Enum['a', 'b'], got 'c'"),
        ("Pattern[/^a$/]", json!("b"), "expects a match for Pattern[/^a$/], got 'b'"),
        ("Variant[String, Integer]", json!(true), "expects a value of type String or Integer, got Boolean"),
        ("Array[String]", json!("a"), "expects an Array[String] value, got String"),
        ("Array[String]", json!(null), "expects an Array[String] value, got Undef"),
        ("Hash", json!([1]), "expects a Hash value, got Tuple"),
        ("Tuple[String]", json!({}), "expects a Tuple[String] value, got Hash"),
        ("Struct[{a => Integer}]", json!(1), "expects a Struct[{'a' => Integer}] value, got Integer"),
        ("Optional[Array[Integer]]", json!("a"), "expects an Array[Integer] value, got String"),
        ("Variant[Array, Hash]", json!("a"), "expects a value of type Array or Hash, got String"),
        ("Array[String]", json!(["a", 1]), "index 1 expects a String value, got Integer"),
        ("Array[Any, 2]", json!([1]), "expects size to be at least 2, got 1"),
        ("Tuple[String]", json!(["a", "b"]), "expects size to be between 1 and 1, got 2"),
        ("Hash[String, Integer]", json!({"a": "b"}), "entry 'a' expects an Integer value, got String"),
        ("Hash[Integer, Integer]", json!({"a": 1}), "key of entry 'a' expects an Integer value, got String"),
        ("Struct[{a => String}]", json!({}), "expects a value for key 'a'"),
        ("Struct[{a => String}]", json!({"a": "x", "b": 1}), "unrecognized key 'b'"),
        ("Optional[Integer]", json!("a"), "expects an Integer value, got String"),
        ("Boolean", json!([1]), "expects a Boolean value, got Tuple"),
        ("NotUndef", json!(null), "expects a NotUndef value, got Undef"),
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
        "Lib::Nothing",
        "Array[String, 2, 1]",
        "Enum[1]",
        "Boolean[1]",
        "é",
    ] {
        assert!(matches!(parse(text, &alias), Err(TypeError::Syntax(_))), "{text}");
    }
    assert_eq!(parse("Stdlib::Port", &alias).unwrap_err(), TypeError::Unknown("Stdlib::Port".into()));
    let deep = format!("{}Any{}", "Array[".repeat(1000), "]".repeat(1000));
    let patterns = format!("Pattern[{}]", "/a/,".repeat(200));
    assert!(matches!(parse(&deep, &alias), Err(TypeError::Syntax(_))));
    let types = format!("Tuple[{}]", "String, ".repeat(5000));
    let deeper = format!("{}Any{}", "Array[".repeat(40), "]".repeat(40));
    for text in [patterns.as_str(), &types, &deeper, &"A".repeat(100_000)] {
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
fn aliases_may_contain_themselves() {
    assert_eq!(problem("Lib::Self", &json!([[], [[]]])), None);
    assert_eq!(problem("Lib::Tree", &json!({"a": {"b": 1}})), None);
    let found = problem("Lib::Tree", &json!({"a": {"b": "x"}})).unwrap();
    assert_eq!(found, "entry 'a' expects a value of type Integer or Lib::Tree, got Struct");
    let bomb = parse("Lib::Bomb", &alias).unwrap();
    assert!(bomb.is_same(&bomb) && !bomb.includes(&Type::Any) && !bomb.is_sensitive());
    assert!(parse("Lib::Tree", &alias).unwrap().includes(&parse("Hash[String, Lib::Tree]", &alias).unwrap()));
}

/// On a thread with the stack that servers give to theirs.
fn on_a_small_stack(test: fn()) {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(test).unwrap().join().unwrap();
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!([]), |inner, _| json!([inner]))
}

#[test]
fn a_secret_of_itself_is_nothing() {
    on_a_small_stack(|| {
        let error = parse("Lib::Secret", &alias).unwrap_err();
        assert!(error.to_string().contains("the alias Lib::Secret stands for itself"), "{error}");
    });
}

#[test]
fn what_takes_too_many_steps_is_refused() {
    on_a_small_stack(|| {
        let many = parse("Lib::Many1", &alias).unwrap();
        assert!(many.accepts_json(&json!(1)));
        assert!(!many.accepts_undef() && !many.is_sensitive());
        let found = many.problem_json(&json!("x")).unwrap();
        assert!(found.starts_with("cannot be compared with Lib::Many1 within 4000000 steps"), "{found}");
        assert!(!many.accepts_json(&json!("x")));
        assert!(!many.includes(&Type::Any) && !parse("Integer", &alias).unwrap().includes(&many));
        let twice = parse("Lib::Twice", &alias).unwrap();
        assert_eq!(twice.problem_json(&nested(60)), None);
        let wrong = (0..60).fold(json!(1), |inner, _| json!([inner]));
        assert!(twice.problem_json(&wrong).unwrap().starts_with("cannot be compared with Lib::Twice"));
    });
}

#[test]
fn what_goes_too_deep_is_refused() {
    on_a_small_stack(|| {
        assert!(problem("Lib::Deep1", &nested(120)).unwrap().starts_with("cannot be compared with Lib::Deep1"));
        assert!(problem("Lib::Self", &nested(120)).unwrap().starts_with("cannot be compared with Lib::Self"));
        assert_eq!(problem("Lib::Self", &nested(64)), None);
        let error = parse("Lib::Down1", &alias).unwrap_err().to_string();
        assert!(error.contains("more than 256 levels deep"), "{error}");
        assert!(!parse("Lib::Deep1", &alias).unwrap().includes(&parse("Lib::Deep2", &alias).unwrap()));
    });
}

#[test]
fn types_lie_within_each_other() {
    let within = [
        ("Numeric", "Integer[1, 2]"),
        ("Array[Scalar]", "Tuple[Integer, Regexp]"),
        ("Hash[String, Integer]", "Struct[{a => Integer}]"),
        ("Pattern[/a/]", "Enum['a', 'ab']"),
        ("String", "Pattern[/a/]"),
        ("Optional[Integer]", "Undef"),
        ("Variant[Integer, String]", "Variant[String[1], Integer[0]]"),
        ("Data", "Hash[String, Array[Optional[Integer]]]"),
        ("Struct[{a => Integer, Optional[b] => String}]", "Struct[{a => Integer[1]}]"),
        ("Callable[Integer]", "Callable[Numeric]"),
        ("Callable[Integer]", "Callable[Integer, 0, 2]"),
        ("Iterable[Integer]", "Array[Integer]"),
        ("NotUndef", "Integer"),
        ("Result", "ApplyResult"),
        ("Error", "Error['a']"),
        ("TargetSpec", "Array[Target]"),
        ("Type[Numeric]", "Type[Float]"),
    ];
    for (wide, narrow) in within {
        let [wide, narrow] = [wide, narrow].map(|text| parse(text, &alias).unwrap_or_else(|e| panic!("{text}: {e}")));
        assert!(wide.includes(&narrow), "{wide} and {narrow}");
        assert!(!narrow.includes(&wide), "{narrow} and {wide}");
        assert!(wide.is_same(&wide) && Type::Any.includes(&wide));
    }
}

#[test]
fn what_is_printed_is_read_again() {
    for text in [
        "Struct[{'a' => Integer, Optional['b'] => String, NotUndef['c'] => Optional[Integer], 'd' => Optional[String]}]",
        "Callable[[String, Callable[1, 1]], Integer]",
        "Tuple[Integer, String, 1, 5]",
        "Enum['a', 'it\\'s', true]",
        "Pattern[/a\\/b/, /c/]",
        "Hash[String, Integer, 1]",
        "Array[0, 0]",
        "Timespan['0-00:00:01.0', '1-00:00:00.0']",
        "Float[default, 2.5]",
    ] {
        assert_eq!(parse(text, &alias).unwrap().to_string(), text);
    }
}

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
        proptest::prop_assert_eq!(parsed.accepts_json(&value), parsed.problem_json(&value).is_none(), "{}", text);
    }

    #[test]
    fn never_panics(text in "[A-Za-z\\[\\]{},=>'\"/#0-9 .:\\\\-]{0,60}") {
        drop(parse(&text, &alias));
    }
}
