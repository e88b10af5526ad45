//! Fields: which there are in each entity, and paths into facts and certificate data (PuppetDB's dot notation:
//! `facts.os.family`, `facts.processors.models[0]`, `trusted.extensions."1.3.6.1.4.1.34380.1.2.1"`,
//! `facts.mountpoints.match("^/srv").size`).

use super::pattern::Pattern;
use super::tree::{Budget, Entity, shortened};
use crate::clock::WallTime;

/// A field of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// Name in the node's certificate.
    Certname,
    /// Whether the node is connected. PuppetDB has no such field.
    Connected,
    /// PCP URI of the broker that the node is connected to. PuppetDB has no such field.
    Broker,
    /// When the facts were stored: `timestamp` of the inventory, `facts_timestamp` of nodes.
    FactsTime,
    /// `deactivated` and `expired`: no node here ever is.
    Retired(Retirement),
    /// A fact's name.
    Name,
    /// A fact's value.
    Value,
    /// Facts of the inventory.
    Facts(Vec<Step>),
    /// Data of the inventory that is in the certificate.
    Trusted(Vec<Step>),
}

/// In which way PuppetDB leaves nodes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// By command.
    Deactivated,
    /// By silence.
    Expired,
}

/// A step into a structured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// To the value with this key.
    Key(String),
    /// To the item at this index, from 0.
    Index(usize),
    /// To all values whose keys match.
    Match(Pattern),
}

/// Fields that PuppetDB's nodes have and ours have not.
const PUPPETDB_FIELDS: [&str; 16] = [
    "cached_catalog_status",
    "catalog_environment",
    "catalog_timestamp",
    "environment",
    "facts_environment",
    "latest_report?",
    "latest_report_corrective_change",
    "latest_report_hash",
    "latest_report_job_id",
    "latest_report_noop",
    "latest_report_noop_pending",
    "latest_report_status",
    "node_state",
    "producer_timestamp",
    "report_environment",
    "report_timestamp",
];

/// A time as queries write it.
pub fn time(text: &str) -> Option<WallTime> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(WallTime::from_millis(timestamp.as_millisecond()))
}

impl Field {
    /// Whether it is a point in time.
    pub const fn is_time(&self) -> bool {
        matches!(self, Self::FactsTime)
    }

    /// The field of an entity that a path names.
    pub fn named(entity: Entity, path: &RawPath, budget: &mut Budget) -> Result<Self, String> {
        let steps = |budget: &mut Budget| path.steps.iter().map(|step| step.compiled(budget)).collect::<Result<_, _>>();
        let field = match (entity, path.first.as_str()) {
            (_, "certname") => Self::Certname,
            (Entity::Nodes | Entity::Inventory, "connected") => Self::Connected,
            (Entity::Nodes | Entity::Inventory, "broker") => Self::Broker,
            (Entity::Nodes, "facts_timestamp") | (Entity::Inventory, "timestamp") => Self::FactsTime,
            (Entity::Nodes, "deactivated") => Self::Retired(Retirement::Deactivated),
            (Entity::Nodes, "expired") => Self::Retired(Retirement::Expired),
            (Entity::Inventory, "facts") => return Ok(Self::Facts(steps(budget)?)),
            (Entity::Inventory, "trusted") => return Ok(Self::Trusted(steps(budget)?)),
            (Entity::Facts, "name") => Self::Name,
            (Entity::Facts, "value") => Self::Value,
            (Entity::Nodes, first @ ("facts" | "trusted")) => {
                return Err(format!("nodes have no field `{first}`; ask with `inventory[certname] {{ {first}... }}`"));
            }
            (_, first) if PUPPETDB_FIELDS.contains(&first) => {
                return Err(format!("the field `{first}` needs PuppetDB, which this server has not been given"));
            }
            (_, first) => {
                let (name, known) = (entity.name(), known(entity));
                return Err(format!("{name} have no field `{}`; there are {known}", shortened(first)));
            }
        };
        if path.steps.is_empty() {
            return Ok(field);
        }
        Err(format!("`{}` has no parts to go into with a dot; only facts and trusted have", path.first))
    }

    /// A fact by its name, as the AST form has it: `["fact", "kernel"]`.
    pub fn fact(name: &str) -> Self {
        Self::Facts(vec![Step::Key(name.to_owned())])
    }
}

const fn known(entity: Entity) -> &'static str {
    match entity {
        Entity::Nodes => "certname, connected, broker, facts_timestamp, deactivated and expired",
        Entity::Inventory => "certname, connected, broker, timestamp, facts and trusted",
        Entity::Facts => "certname, name and value",
    }
}

/// A word or a path as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPath {
    /// Before the first dot.
    pub first: String,
    /// The rest.
    pub steps: Vec<RawStep>,
}

/// A step as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawStep {
    /// `.key` or `."key"`
    Key(String),
    /// `[0]`
    Index(usize),
    /// `.match("...")`
    Match(String),
}

impl RawStep {
    fn compiled(&self, budget: &mut Budget) -> Result<Step, String> {
        Ok(match self {
            Self::Key(key) => Step::Key(key.clone()),
            Self::Index(index) => Step::Index(*index),
            Self::Match(text) => Step::Match(budget.pattern(text)?),
        })
    }
}

impl RawPath {
    /// A path that is the whole text.
    pub fn whole(text: &str) -> Result<Self, String> {
        match Self::scan(text) {
            Ok((path, length)) if length == text.len() => Ok(path),
            Ok((_, length)) => {
                Err(format!("`{}` is no field: unexpected `{}`", shortened(text), &first(&text[length..])))
            }
            Err((_, what)) => Err(format!("`{}` is no field: {what}", shortened(text))),
        }
    }

    /// The path at the beginning of `text` and its length in bytes, or where it is wrong and how.
    pub fn scan(text: &str) -> Result<(Self, usize), (usize, String)> {
        let mut at = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
        if text[at..].starts_with('?') {
            at += 1;
        }
        if at == 0 || text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err((0, "a field begins with a letter".to_owned()));
        }
        let mut path = Self { first: text[..at].to_owned(), steps: Vec::new() };
        loop {
            let rest = &text[at..];
            if let Some(after) = rest.strip_prefix('.') {
                let (step, length) = step(after).map_err(|what| (at + 1, what))?;
                path.steps.push(step);
                at += 1 + length;
            } else if let Some((index, length)) = index(rest).filter(|_| !path.steps.is_empty()) {
                path.steps.push(RawStep::Index(index));
                at += length;
            } else {
                return Ok((path, at));
            }
        }
    }
}

fn first(text: &str) -> String {
    text.chars().take(1).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows a dot, and its length.
fn step(text: &str) -> Result<(RawStep, usize), String> {
    if text.starts_with('"') {
        let (key, length) = quoted(text)?;
        return Ok((RawStep::Key(key), length));
    }
    if let Some(inner) = text.strip_prefix("match(") {
        let (pattern, length) = quoted(inner)?;
        if !inner[length..].starts_with(')') {
            return Err("`match(\"...\")` must end with `)`".to_owned());
        }
        return Ok((RawStep::Match(pattern), "match(".len() + length + 1));
    }
    let length = text.find(|c: char| !is_word(c) && !"-:?".contains(c)).unwrap_or(text.len());
    if length == 0 {
        return Err("a key must follow the dot; put one with other characters into quotes".to_owned());
    }
    Ok((RawStep::Key(text[..length].to_owned()), length))
}

fn index(text: &str) -> Option<(usize, usize)> {
    let digits = text.strip_prefix('[')?.split_once(']')?.0;
    let index = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((index, digits.len() + 2))
}

/// A string in double quotes at the beginning of `text`, and its length with them. Escapes are those of JSON.
pub fn quoted(text: &str) -> Result<(String, usize), String> {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    match strings.next() {
        Some(Ok(string)) => Ok((string, strings.byte_offset())),
        _ if !text.starts_with('"') => Err("a string in double quotes is expected".to_owned()),
        _ if !has_end(text) => Err("the string has no end; add a `\"`".to_owned()),
        _ => Err("the string has an escape or a character that JSON strings cannot have; write `\\\\` for a backslash"
            .to_owned()),
    }
}

fn has_end(text: &str) -> bool {
    let mut escaped = false;
    text.bytes().skip(1).any(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(entity: Entity, text: &str) -> Result<Field, String> {
        Field::named(entity, &RawPath::whole(text)?, &mut Budget::new())
    }

    #[test]
    fn paths_go_into_structures() {
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(named(Entity::Inventory, "facts.os.family"), Ok(Field::Facts(vec![key("os"), key("family")])));
        assert_eq!(
            named(Entity::Inventory, r#"trusted.extensions."1.3.6.1""#),
            Ok(Field::Trusted(vec![key("extensions"), key("1.3.6.1")]))
        );
        assert_eq!(
            named(Entity::Inventory, r#"facts.models[0].match("^a\\.").x-y"#),
            Ok(Field::Facts(vec![
                key("models"),
                Step::Index(0),
                Step::Match(Pattern::new(r"^a\.").unwrap()),
                key("x-y")
            ]))
        );
    }

    #[test]
    fn says_what_is_no_field() {
        let cases = [
            (Entity::Nodes, "facts.x", "nodes have no field `facts`; ask with `inventory[certname] { facts... }`"),
            (
                Entity::Nodes,
                "latest_report?",
                "the field `latest_report?` needs PuppetDB, which this server has not been given",
            ),
            (Entity::Facts, "family", "facts have no field `family`; there are certname, name and value"),
            (Entity::Nodes, "certname.x", "`certname` has no parts to go into with a dot; only facts and trusted have"),
            (Entity::Nodes, "1x", "`1x` is no field: a field begins with a letter"),
            (Entity::Inventory, "facts.a b", "`facts.a b` is no field: unexpected ` `"),
            (
                Entity::Inventory,
                "facts..b",
                "`facts..b` is no field: a key must follow the dot; put one with other characters into quotes",
            ),
            (Entity::Inventory, "facts.\"b", "`facts.\"b` is no field: the string has no end; add a `\"`"),
        ];
        for (entity, text, expected) in cases {
            assert_eq!(named(entity, text).unwrap_err(), expected);
        }
    }
}
