//! Puppet data types and task metadata from modules, and parameters of callers.

use podium::limits::TYPE_DEPTH_MAX;
use podium::orchestrator::tasks::metadata::TaskMetadata;
use podium::orchestrator::tasks::parameters::check;
use podium::puppet_lang::parse;
use serde_json::{Map, Value, json};

use super::cases;
use super::mutator::{any_json, mutate, mutate_json, noise};
use podium::random::Random;

const TYPES: [&str; 6] = [
    "Optional[Variant[String[1, 10], Integer[-5, default], Enum['a', 'b', true]]]",
    "Struct[{name => String, Optional['age'] => Integer[0], 'tags' => Array[Pattern[/^[a-z]+$/, /x{2,3}/], 0, 3]}]",
    "Hash[String[1], Variant[Data, Sensitive[Tuple[Integer, Float[0.5, 1.0], Boolean[true], 2, 7]]], 1, 2]",
    "Variant[My::Alias, Undef, NotUndef[Any], Collection[1, 2], Timestamp, TargetSpec]",
    "Regexp[/a\\/b/]",
    "Array[Array[Array[Array[Array[Array[Optional[Array[Optional[Scalar]]]]]]]]]",
];

const WORDS: [&[u8]; 20] = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"=>",
    b"'",
    b"\"",
    b"/",
    b"default",
    b"Optional[",
    b"Variant[",
    b"My::Alias",
    b"-",
    b"9999999999999999999",
    b"1e400",
    b"(((((((((",
    b"\\",
    b"{1000}{1000}",
    b"Array[Array[Array[Array[Array[Array[Array[Array[",
];

/// One alias is sound, one means itself, one is no alias.
fn resolve(name: &str) -> Option<String> {
    match name {
        "My::Alias" => Some("type My::Alias = Variant[String, Array[My::Other]]".to_owned()),
        "My::Other" => Some("type My::Other = Optional[My::Other]".to_owned()),
        "TargetSpec" => Some("class x {".to_owned()),
        _ => None,
    }
}

fn type_text(random: &mut Random) -> String {
    let bytes = match random.index(20) {
        0 => noise(random),
        1 => b"Optional[".repeat(TYPE_DEPTH_MAX * (1 + random.index(100))),
        _ => {
            let sound = random.pick(&TYPES);
            mutate(random, sound.as_bytes(), &WORDS)
        }
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A type that was understood judges any value, and both ways of asking agree.
#[test]
fn types() {
    cases(1_500, |random| match parse(&type_text(random), &resolve) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(data_type) => {
            for _ in 0..5 {
                let value = any_json(random, 3);
                assert_eq!(
                    data_type.accepts_json(&value),
                    data_type.problem_json(&value).is_none(),
                    "{data_type:?} {value}"
                );
            }
        }
    });
}

#[test]
fn metadata_and_parameters() {
    let sound = json!({
        "description": "x", "supports_noop": true, "input_method": "both", "private": false,
        "parameters": {"name": {"type": TYPES[0], "default": null}, "key": {"type": "Sensitive[String]", "sensitive": true}},
        "implementations": [{"name": "a.sh", "requirements": ["shell"], "input_method": "stdin", "files": ["m/lib/"]}],
        "files": ["m/files/x"], "features": ["y"], "extensions": {"z": 1}
    });
    cases(1_500, |random| {
        let mut metadata = sound.clone();
        for _ in 0..random.index(4) {
            mutate_json(random, &mut metadata);
        }
        let Value::Object(metadata) = metadata else { return };
        let metadata = match TaskMetadata::read(&metadata) {
            Ok(metadata) => metadata,
            Err(error) => return assert!(!error.is_empty()),
        };
        let _ = metadata.for_agent();
        let mut given = Map::new();
        for name in ["name", "key", "other"] {
            if random.percent(50) {
                given.insert(name.to_owned(), any_json(random, 2));
            }
        }
        let secret = "s3cr3t-of-the-caller";
        if random.percent(50) {
            given.insert("key".to_owned(), json!(secret));
        }
        let is_secret =
            metadata.parameters.iter().flatten().any(|(name, parameter)| name == "key" && parameter.sensitive);
        match check(&metadata, &given, &resolve) {
            Ok(checked) => assert!(!is_secret || !json!(checked.shown).to_string().contains(secret)),
            Err(problems) => assert!(!is_secret || !problems.concat().contains(secret), "{problems:?}"),
        }
    });
}
