//! JSON schemas of external modules, as far as modules use them (JSON Schema draft 4): types, properties, required and
//! additional ones, items, numbers of them, lengths, ranges, patterns, enumerations, combinations. A keyword that is an
//! assertion and is not understood is refused when the module is loaded, not ignored when it is used. PURE.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use crate::limits::SCHEMA_DEPTH_MAX;

/// A schema that can be checked against.
#[derive(Debug, Default)]
pub struct Schema {
    rules: Vec<Rule>,
}

#[derive(Debug)]
enum Rule {
    Types(Vec<Type>),
    Enumeration(Vec<Value>),
    Members(Members),
    Required(Vec<String>),
    Items(Box<Schema>),
    Count(Counted, Bound, u64),
    Range(Bound, f64),
    Pattern(Regex),
    All(Vec<Schema>),
    Any(Vec<Schema>),
    One(Vec<Schema>),
    Not(Box<Schema>),
    Nothing,
}

#[derive(Debug)]
struct Members {
    named: BTreeMap<String, Schema>,
    matching: Vec<(Regex, Schema)>,
    others: Option<Box<Schema>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    Array,
    Object,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Items,
    Characters,
    Members,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Least,
    Most,
}

/// Say nothing about what is valid.
const ANNOTATIONS: [&str; 9] =
    ["$schema", "$id", "id", "title", "description", "default", "examples", "format", "$comment"];

impl Schema {
    /// Reads a schema; the error names what is wrong.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        parse(schema, "", SCHEMA_DEPTH_MAX)
    }

    /// Checks a value; the error names the place and what was expected.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        self.rules.iter().try_for_each(|rule| rule.check(value))
    }

    fn fits(&self, value: &Value) -> bool {
        self.check(value).is_ok()
    }
}

fn parse(schema: &Value, place: &str, depth: usize) -> Result<Schema, String> {
    let at = |text: &str| if place.is_empty() { text.to_owned() } else { format!("{place}: {text}") };
    if depth == 0 {
        return Err(at(&format!("the schema is more than {SCHEMA_DEPTH_MAX} levels deep")));
    }
    let object = match schema {
        Value::Bool(true) => return Ok(Schema::default()),
        Value::Bool(false) => return Ok(Schema { rules: vec![Rule::Nothing] }),
        Value::Object(object) => object,
        _ => return Err(at("a schema must be an object")),
    };
    let inner = |schema: &Value, key: &str| parse(schema, &format!("{place}/{key}"), depth - 1);
    let mut rules = Vec::new();
    let members = ["properties", "patternProperties", "additionalProperties"];
    if members.iter().any(|key| object.contains_key(*key)) {
        rules.push(Rule::Members(parse_members(object, &inner).map_err(|error| at(&error))?));
    }
    for (key, value) in object {
        if members.contains(&key.as_str()) || ANNOTATIONS.contains(&key.as_str()) {
            continue;
        }
        // The error of an inner schema has its place already.
        rules.push(match combination(key, value, &inner)? {
            Some(rule) => rule,
            None => assertion(key, value).ok_or_else(|| at(&misunderstood(key)))?,
        });
    }
    Ok(Schema { rules })
}

fn misunderstood(key: &str) -> String {
    format!("the keyword \"{key}\" is not known to this agent, or its value is not what it must be")
}

type Inner<'a> = dyn Fn(&Value, &str) -> Result<Schema, String> + 'a;

/// A keyword whose value holds schemas. Each of them is read once, so that the effort does not grow with the depth.
fn combination(key: &str, value: &Value, inner: &Inner<'_>) -> Result<Option<Rule>, String> {
    let one = || inner(value, key).map(Box::new);
    let several = || {
        let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| misunderstood(key))?;
        list.iter().map(|schema| inner(schema, key)).collect::<Result<Vec<Schema>, String>>()
    };
    Ok(Some(match key {
        "items" => Rule::Items(one()?),
        "not" => Rule::Not(one()?),
        "allOf" => Rule::All(several()?),
        "anyOf" => Rule::Any(several()?),
        "oneOf" => Rule::One(several()?),
        _ => return Ok(None),
    }))
}

fn assertion(key: &str, value: &Value) -> Option<Rule> {
    let count = |counted, bound| value.as_u64().map(|number| Rule::Count(counted, bound, number));
    Some(match key {
        "type" => Rule::Types(match value {
            Value::Array(names) => names.iter().map(type_of_name).collect::<Option<_>>()?,
            name => vec![type_of_name(name)?],
        }),
        "enum" => Rule::Enumeration(value.as_array()?.clone()),
        "const" => Rule::Enumeration(vec![value.clone()]),
        "required" => Rule::Required(
            value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        ),
        "minItems" => count(Counted::Items, Bound::Least)?,
        "maxItems" => count(Counted::Items, Bound::Most)?,
        "minLength" => count(Counted::Characters, Bound::Least)?,
        "maxLength" => count(Counted::Characters, Bound::Most)?,
        "minProperties" => count(Counted::Members, Bound::Least)?,
        "maxProperties" => count(Counted::Members, Bound::Most)?,
        "minimum" => Rule::Range(Bound::Least, value.as_f64()?),
        "maximum" => Rule::Range(Bound::Most, value.as_f64()?),
        "pattern" => Rule::Pattern(Regex::new(value.as_str()?).ok()?),
        _ => return None,
    })
}

fn parse_members(object: &Map<String, Value>, inner: &Inner<'_>) -> Result<Members, String> {
    let empty = Map::new();
    let section = |key: &str| match object.get(key) {
        None => Ok(&empty),
        Some(value) => value.as_object().ok_or_else(|| misunderstood(key)),
    };
    let mut members = Members { named: BTreeMap::new(), matching: Vec::new(), others: None };
    for (name, schema) in section("properties")? {
        members.named.insert(name.clone(), inner(schema, name)?);
    }
    for (pattern, schema) in section("patternProperties")? {
        let regex = Regex::new(pattern).map_err(|_| format!("\"{pattern}\" is not a pattern"))?;
        members.matching.push((regex, inner(schema, pattern)?));
    }
    if let Some(schema) = object.get("additionalProperties") {
        members.others = Some(Box::new(inner(schema, "additionalProperties")?));
    }
    Ok(members)
}

fn type_of_name(name: &Value) -> Option<Type> {
    Some(match name.as_str()? {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "string" => Type::Text,
        "array" => Type::Array,
        "object" => Type::Object,
        _ => return None,
    })
}

impl Type {
    fn fits(self, value: &Value) -> bool {
        match value {
            Value::Null => self == Self::Null,
            Value::Bool(_) => self == Self::Boolean,
            Value::Number(number) => self == Self::Number || (self == Self::Integer && !number.is_f64()),
            Value::String(_) => self == Self::Text,
            Value::Array(_) => self == Self::Array,
            Value::Object(_) => self == Self::Object,
        }
    }
}

impl Rule {
    fn check(&self, value: &Value) -> Result<(), String> {
        let demand = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        match (self, value) {
            (Self::Types(types), _) => demand(types.iter().any(|it| it.fits(value)), "is of the wrong type"),
            (Self::Enumeration(values), _) => demand(values.contains(value), "is none of the permitted values"),
            (Self::Members(members), Value::Object(object)) => members.check(object),
            (Self::Required(names), Value::Object(object)) => {
                match names.iter().find(|name| !object.contains_key(*name)) {
                    Some(name) => Err(format!("has no '{name}'")),
                    None => Ok(()),
                }
            }
            (Self::Items(schema), Value::Array(items)) => {
                let checked = |(index, item)| schema.check(item).map_err(|error| format!("[{index}] {error}"));
                items.iter().enumerate().try_for_each(checked)
            }
            (Self::Count(counted, bound, limit), _) => match counted.count(value) {
                Some(count) => demand(bound.holds(&count, limit), "has too few or too many parts"),
                None => Ok(()),
            },
            (Self::Range(bound, limit), Value::Number(number)) => {
                demand(number.as_f64().is_some_and(|number| bound.holds(&number, limit)), "is out of range")
            }
            (Self::Pattern(regex), Value::String(text)) => demand(regex.is_match(text), "does not match its pattern"),
            (Self::All(schemas), _) => schemas.iter().try_for_each(|schema| schema.check(value)),
            (Self::Any(schemas), _) => demand(schemas.iter().any(|it| it.fits(value)), "fits no alternative"),
            (Self::One(schemas), _) => {
                demand(schemas.iter().filter(|it| it.fits(value)).count() == 1, "does not fit one alternative")
            }
            (Self::Not(schema), _) => demand(!schema.fits(value), "is what it must not be"),
            (Self::Nothing, _) => Err("is not permitted".into()),
            // The others speak of one type only.
            _ => Ok(()),
        }
    }
}

impl Counted {
    fn count(self, value: &Value) -> Option<u64> {
        let count = match (self, value) {
            (Self::Items, Value::Array(items)) => items.len(),
            (Self::Characters, Value::String(text)) => text.chars().count(),
            (Self::Members, Value::Object(object)) => object.len(),
            _ => return None,
        };
        Some(count as u64)
    }
}

impl Bound {
    fn holds<N: PartialOrd>(self, number: &N, limit: &N) -> bool {
        match self {
            Self::Least => number >= limit,
            Self::Most => number <= limit,
        }
    }
}

impl Members {
    fn check(&self, object: &Map<String, Value>) -> Result<(), String> {
        for (name, value) in object {
            let at = |error: String| format!("'{name}' {error}");
            let named = self.named.get(name).into_iter();
            let mut schemas = named
                .chain(self.matching.iter().filter(|(regex, _)| regex.is_match(name)).map(|(_, it)| it))
                .peekable();
            if schemas.peek().is_none()
                && let Some(others) = &self.others
            {
                others.check(value).map_err(at)?;
            }
            for schema in schemas {
                schema.check(value).map_err(at)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn checks(schema: Value, good: &[Value], bad: &[Value]) {
        let parsed = Schema::parse(&schema).unwrap();
        for value in good {
            assert_eq!(parsed.check(value), Ok(()), "{value} against {schema}");
        }
        for value in bad {
            assert!(parsed.check(value).is_err(), "{value} against {schema}");
        }
    }

    #[test]
    fn values_fit_or_do_not() {
        checks(json!({"type": ["string", "null"]}), &[json!("a"), json!(null)], &[json!(1), json!([])]);
        checks(json!({"type": "integer", "minimum": 1, "maximum": 3}), &[json!(1), json!(3)], &[json!(0), json!(1.5)]);
        checks(json!({"enum": ["a", 1]}), &[json!("a"), json!(1)], &[json!("b")]);
        checks(json!({"type": "string", "pattern": "^a", "maxLength": 2}), &[json!("ab")], &[json!("b"), json!("abc")]);
        checks(
            json!({"items": {"type": "string"}, "minItems": 1}),
            &[json!(["a"]), json!(1)],
            &[json!([]), json!([1])],
        );
        checks(json!({"oneOf": [{"type": "string"}, {"maxLength": 1}]}), &[json!("ab"), json!(1)], &[json!("a")]);
        checks(json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), &[json!("ab")], &[json!(1)]);
        checks(json!({"allOf": [{"type": "string"}], "not": {"enum": ["x"]}}), &[json!("a")], &[json!("x"), json!(1)]);
        checks(json!({}), &[json!(null), json!({"a": 1})], &[]);
    }

    #[test]
    fn members_are_named_matching_or_others() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}},
            "patternProperties": {"^n_": {"type": "number"}}, "additionalProperties": false});
        checks(schema, &[json!({"a": "", "n_1": 2.5})], &[json!({}), json!({"a": 1}), json!({"a": "", "b": 1})]);
        checks(json!({"additionalProperties": {"type": "string"}}), &[json!({"x": ""})], &[json!({"x": 1})]);
        let schema = Schema::parse(&json!({"properties": {"a": {"items": {"type": "string"}}}})).unwrap();
        assert_eq!(schema.check(&json!({"a": ["", 1]})).unwrap_err(), "'a' [1] is of the wrong type");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (schema, expected) in [
            (json!("x"), "a schema must be an object"),
            (json!({"$ref": "#/x"}), "\"$ref\" is not known"),
            (json!({"properties": {"a": {"type": "strin"}}}), "/a: the keyword \"type\""),
            (json!({"anyOf": [{"pattern": "("}]}), "/anyOf: the keyword \"pattern\""),
        ] {
            let error = Schema::parse(&schema).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({"not": deep});
        }
        assert!(Schema::parse(&deep).unwrap_err().contains("levels deep"));
    }
}
