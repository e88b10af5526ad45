//! Rules of groups (node classifier API v1, "rule condition grammar"): `["and", ["=", ["fact", "os", "family"], "RedHat"],
//! ["not", ["~", "name", "^db"]]]`. All values are texts: a fact that is none is compared as it is written.

use serde_json::{Value, json};

use crate::limits::{RULE_CONDITIONS_MAX, RULE_DEPTH_MAX, RULES_PATTERNS_MAX};
use crate::orchestrator::query::{
    Cell, Comparison, Field, NodeView, Pattern, Row, Step, any_value, decided, shortened,
};

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// All of these; at least one.
    All(Vec<Rule>),
    /// One of these; at least one.
    Any(Vec<Rule>),
    /// Not this.
    Not(Box<Rule>),
    /// A property of the node passes.
    Test {
        /// Which property: the name, a fact or something of its certificate.
        field: Field,
        /// What is asked of it.
        test: Test,
    },
}

/// What is asked of a property.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It is this.
    Equals(String),
    /// This is found in it.
    Matches(Pattern),
    /// It is a number that stands like this to another.
    Compares(Comparison, String),
}

/// What a rule may still have.
struct Budget {
    depth: usize,
    conditions: usize,
    patterns: usize,
}

impl Rule {
    /// Reads a rule; the error says where it is wrong and how.
    pub fn parse(rule: &Value) -> Result<Self, String> {
        let mut budget =
            Budget { depth: RULE_DEPTH_MAX, conditions: RULE_CONDITIONS_MAX, patterns: RULES_PATTERNS_MAX };
        let mut path = Vec::new();
        parse(rule, &mut budget, &mut path).map_err(|what| {
            let path: String = path.iter().map(|index| format!("[{index}]")).collect();
            format!("rule{path}: {what}")
        })
    }

    /// Whether a node passes; `None` if too little is known of it.
    pub fn passes(&self, node: &NodeView<'_>) -> Option<bool> {
        match self {
            Self::All(rules) => decided(rules.iter().map(|rule| rule.passes(node)), false),
            Self::Any(rules) => decided(rules.iter().map(|rule| rule.passes(node)), true),
            Self::Not(rule) => rule.passes(node).map(|passes| !passes),
            Self::Test { field, test } => any_value(Row { node, fact: None }, field, &mut |cell| test.passes(cell)),
        }
    }
}

impl Test {
    fn passes(&self, cell: Cell<'_>) -> bool {
        let passes = cell.with_text(|text| match self {
            Self::Equals(value) => text == value,
            Self::Matches(pattern) => pattern.is_in(text),
            Self::Compares(comparison, value) => {
                let numbers = number(text).zip(number(value));
                numbers.and_then(|(a, b)| a.partial_cmp(&b)).is_some_and(|order| comparison.holds(order))
            }
        });
        passes.unwrap_or(false)
    }
}

/// How many regular expressions a rule has that was found to be one.
pub fn patterns(rule: &Value) -> usize {
    match rule.as_array().map_or(&[][..], Vec::as_slice) {
        [Value::String(operator), ..] if operator == "~" => 1,
        parts => parts.iter().map(patterns).sum(),
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn parse(rule: &Value, budget: &mut Budget, path: &mut Vec<usize>) -> Result<Rule, String> {
    let parts = rule.as_array().map_or(&[][..], Vec::as_slice);
    let [Value::String(operator), arguments @ ..] = parts else {
        return Err("a condition must be an array that begins with an operator".to_owned());
    };
    let left = |left: &mut usize, what: &str, max: usize| {
        *left = left.checked_sub(1).ok_or_else(|| format!("a rule has at most {max} {what}"))?;
        Ok::<(), String>(())
    };
    left(&mut budget.depth, "levels", RULE_DEPTH_MAX)?;
    let parsed = match (operator.as_str(), arguments) {
        ("and" | "or", [_, ..]) | ("not", [_]) => {
            let mut rules = Vec::with_capacity(arguments.len());
            for (argument, index) in arguments.iter().zip(1..) {
                path.push(index);
                rules.push(parse(argument, budget, path)?);
                path.pop();
            }
            match operator.as_str() {
                "and" => Rule::All(rules),
                "or" => Rule::Any(rules),
                _ => Rule::Not(Box::new(rules.remove(0))),
            }
        }
        ("and" | "or" | "not", _) => {
            return Err(format!(
                "`{operator}` has {} arguments; `not` takes one, the others at least one",
                arguments.len()
            ));
        }
        (operator, [property, Value::String(value)]) => {
            left(&mut budget.conditions, "conditions", RULE_CONDITIONS_MAX)?;
            let test = match (operator, Comparison::from_sign(operator)) {
                ("=", _) => Test::Equals(value.clone()),
                ("~", _) => {
                    left(&mut budget.patterns, "regular expressions", RULES_PATTERNS_MAX)?;
                    Test::Matches(Pattern::new(value)?)
                }
                (_, Some(comparison)) => Test::Compares(comparison, value.clone()),
                _ => {
                    let operators = "=, ~, <, <=, >, >=, and, or, not";
                    return Err(format!("there is no operator `{}`; there are {operators}", shortened(operator)));
                }
            };
            Rule::Test { field: field(property)?, test }
        }
        _ => return Err("a condition has the form [operator, property, text]; numbers are texts too".to_owned()),
    };
    budget.depth += 1;
    Ok(parsed)
}

fn field(property: &Value) -> Result<Field, String> {
    let parts: Option<Vec<&str>> = match property {
        Value::String(name) => Some(vec![name]),
        Value::Array(parts) => parts.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let steps = |keys: &[&str]| keys.iter().map(|key| Step::Key((*key).to_owned())).collect();
    match parts.as_deref() {
        Some(["name"]) => Ok(Field::Certname),
        Some(["fact", keys @ ..]) if !keys.is_empty() => Ok(Field::Facts(steps(keys))),
        Some(["trusted", keys @ ..]) if !keys.is_empty() => Ok(Field::Trusted(steps(keys))),
        _ => {
            let forms = "\"name\", [\"fact\", \"os\", \"family\"] or [\"trusted\", \"extensions\", \"pp_role\"]";
            Err(format!("a property must be {forms}"))
        }
    }
}

/// In which form PuppetDB is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Of the entity nodes, which knows nothing but names and unstructured facts.
    Nodes,
    /// Of the entity inventory.
    Inventory,
}

/// The condition by which PuppetDB finds the nodes that pass a rule; the error says why it cannot.
pub fn translated(rule: &Rule, format: Format) -> Result<Value, String> {
    let all = |operator: &str, rules: &[Rule]| {
        let mut parts = vec![Value::from(operator)];
        for rule in rules {
            parts.push(translated(rule, format)?);
        }
        Ok(Value::Array(parts))
    };
    match rule {
        Rule::All(rules) => all("and", rules),
        Rule::Any(rules) => all("or", rules),
        Rule::Not(rule) => Ok(json!(["not", translated(rule, format)?])),
        Rule::Test { field, test } => {
            let property = property(field, format)?;
            Ok(match test {
                Test::Equals(value) => equals(&property, value, field),
                Test::Matches(pattern) => json!(["~", property, pattern.as_str()]),
                Test::Compares(comparison, value) => {
                    let number = number(value).ok_or_else(|| format!("`{}` is no number", shortened(value)))?;
                    json!([comparison.sign(), property, number])
                }
            })
        }
    }
}

/// PuppetDB tells numbers and booleans from texts, a rule does not.
fn equals(property: &Value, value: &str, field: &Field) -> Value {
    let text = json!(["=", property, value]);
    let other: Option<Value> =
        serde_json::from_str(value).ok().filter(|other: &Value| other.is_boolean() || other.is_number());
    match other {
        Some(other) if *field != Field::Certname => json!(["or", text, ["=", property, other]]),
        _ => text,
    }
}

fn property(field: &Field, format: Format) -> Result<Value, String> {
    let (first, steps) = match field {
        Field::Facts(steps) => ("facts", steps),
        Field::Trusted(steps) => ("trusted", steps),
        _ => return Ok("certname".into()),
    };
    let keys: Vec<&str> =
        steps.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None }).collect();
    match (format, first, keys.as_slice()) {
        (Format::Nodes, "facts", [fact]) => Ok(json!(["fact", fact])),
        (Format::Nodes, ..) => {
            Err("PuppetDB's nodes cannot be asked for structured or trusted facts; ask for the format inventory"
                .to_owned())
        }
        (Format::Inventory, ..) => {
            let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let quoted = |key: &&str| if plain(key) { (*key).to_owned() } else { Value::from(*key).to_string() };
            let path: Vec<String> = std::iter::once(first.to_owned()).chain(keys.iter().map(quoted)).collect();
            Ok(path.join(".").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallTime;
    use crate::orchestrator::facts::{Fact, Names, NodeFacts, Structure};

    fn passes(rule: Value) -> Option<bool> {
        let mut names = Names::default();
        let facts = json!({"os": {"family": "RedHat", "cpus": [{"n": 4}]}, "memory": "7.5", "virtual": true});
        let facts = NodeFacts {
            facts: Structure::new(facts.as_object().unwrap(), &mut names),
            stored: WallTime::from_millis(0),
        };
        let extensions = Fact::new(&json!({"pp_role": "web"}), &mut names);
        let view = NodeView {
            certname: "web1.example.com",
            connection: None,
            extensions: Some(&extensions),
            facts: Some(&facts),
        };
        Rule::parse(&rule).unwrap().passes(&view)
    }

    #[test]
    fn rules_are_about_names_facts_and_certificates() {
        for (rule, expected) in [
            (json!(["=", "name", "web1.example.com"]), true),
            (json!(["~", "name", "^web"]), true),
            (json!(["~", "name", "^example"]), false),
            (json!(["=", ["fact", "os", "family"], "RedHat"]), true),
            (json!(["=", ["fact", "os", "family", "x"], "RedHat"]), false),
            (json!(["=", ["fact", "os", "cpus", "0", "n"], "4"]), true),
            (json!(["=", ["fact", "virtual"], "true"]), true),
            (json!([">=", ["fact", "memory"], "7"]), true),
            (json!(["<", ["fact", "memory"], "7.5"]), false),
            (json!(["<", ["fact", "os"], "7.5"]), false),
            (json!(["<", ["fact", "memory"], "much"]), false),
            (json!(["=", ["trusted", "extensions", "pp_role"], "web"]), true),
            (json!(["=", ["trusted", "certname"], "web1.example.com"]), true),
            (json!(["and", ["=", "name", "a"], ["~", "name", "."]]), false),
            (json!(["or", ["=", "name", "a"], ["not", ["=", ["fact", "absent"], "b"]]]), true),
        ] {
            assert_eq!(passes(rule.clone()), Some(expected), "{rule}");
        }
    }

    #[test]
    fn nothing_known_is_neither() {
        let view = NodeView { certname: "a", connection: None, extensions: None, facts: None };
        let passes = |rule: Value| Rule::parse(&rule).unwrap().passes(&view);
        assert_eq!(passes(json!(["not", ["=", ["fact", "x"], "y"]])), None);
        assert_eq!(passes(json!(["not", ["=", ["trusted", "extensions", "x"], "y"]])), None);
        assert_eq!(passes(json!(["or", ["=", ["fact", "x"], "y"], ["=", "name", "a"]])), Some(true));
    }

    #[test]
    fn says_where_a_rule_is_wrong() {
        let deep = (0..40).fold(json!(["=", "name", "a"]), |rule, _| json!(["not", rule]));
        for (rule, expected) in [
            (json!("x"), "rule: a condition must be an array that begins with an operator"),
            (json!(["and"]), "rule: `and` has 0 arguments; `not` takes one, the others at least one"),
            (
                json!(["and", ["=", "name", "a"], ["not", ["=", "name", 1]]]),
                "rule[2][1]: a condition has the form [operator, property, text]; numbers are texts too",
            ),
            (json!(["==", "name", "a"]), "rule: there is no operator `==`; there are =, ~, <, <=, >, >=, and, or, not"),
            (
                json!(["or", ["=", ["facts", "os"], "a"]]),
                "rule[1]: a property must be \"name\", [\"fact\", \"os\", \"family\"] or [\"trusted\", \"extensions\", \"pp_role\"]",
            ),
            (json!(["~", "name", "("]), "rule: the regular expression \"(\" cannot be used: unclosed group"),
        ] {
            assert_eq!(Rule::parse(&rule).unwrap_err(), expected, "{rule}");
        }
        assert!(Rule::parse(&deep).unwrap_err().ends_with("a rule has at most 32 levels"));
    }

    #[test]
    fn regular_expressions_are_counted() {
        assert_eq!(
            patterns(&json!(["or", ["~", "name", "a"], ["not", ["~", ["fact", "~"], "~"]], ["=", "name", "~"]])),
            2
        );
    }

    #[test]
    fn translates_for_puppetdb() {
        let rule = |rule: Value| Rule::parse(&rule).unwrap();
        let simple =
            rule(json!(["and", ["=", ["fact", "kernel"], "Linux"], [">", ["fact", "n"], "4"], ["~", "name", "^a"]]));
        assert_eq!(
            translated(&simple, Format::Nodes),
            Ok(json!(["and", ["=", ["fact", "kernel"], "Linux"], [">", ["fact", "n"], 4.0], ["~", "certname", "^a"]]))
        );
        let structured = rule(json!([
            "or",
            ["=", ["fact", "a", "b.c"], "true"],
            ["not", ["=", ["trusted", "extensions", "x"], "y"]]
        ]));
        assert!(translated(&structured, Format::Nodes).is_err());
        assert_eq!(
            translated(&structured, Format::Inventory),
            Ok(json!([
                "or",
                ["or", ["=", "facts.a.\"b.c\"", "true"], ["=", "facts.a.\"b.c\"", true]],
                ["not", ["=", "trusted.extensions.x", "y"]]
            ]))
        );
    }
}
