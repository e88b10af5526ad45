//! A query's syntax tree, the same for PQL and for the AST form, with everything in it checked: fields exist, regular
//! expressions are compiled, numbers stand where numbers must.

use std::collections::HashSet;

use super::field::Field;
use super::pattern::Pattern;
use crate::limits::{QUERY_CONDITIONS_MAX, QUERY_DEPTH_MAX, QUERY_PATTERNS_MAX, QUERY_SUBQUERIES_MAX};
use crate::orchestrator::facts::Fact;

/// What a query's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// One row per node.
    Nodes,
    /// One row per node, with its facts and the data of its certificate.
    Inventory,
    /// One row per node and fact.
    Facts,
}

/// Entities of PuppetDB that only it can answer for.
const PUPPETDB_ENTITIES: [&str; 17] = [
    "aggregate_event_counts",
    "catalog_input_contents",
    "catalog_inputs",
    "catalogs",
    "edges",
    "environments",
    "event_counts",
    "events",
    "fact_contents",
    "fact_names",
    "fact_paths",
    "factsets",
    "package_inventory",
    "packages",
    "producers",
    "reports",
    "resources",
];

impl Entity {
    /// The entity with this name; the error says why there is none.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "nodes" => Ok(Self::Nodes),
            "inventory" => Ok(Self::Inventory),
            "facts" => Ok(Self::Facts),
            _ if PUPPETDB_ENTITIES.contains(&name) => Err(format!(
                "`{name}` needs PuppetDB, which this server has not been given; without it there are nodes, inventory \
                 and facts"
            )),
            _ => Err(format!("there is no entity `{}`; it must be nodes, inventory or facts", shortened(name))),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Inventory => "inventory",
            Self::Facts => "facts",
        }
    }
}

/// A whole query, or one within another.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What its rows are.
    pub entity: Entity,
    /// The columns asked for; none means all.
    pub columns: Vec<Field>,
    /// Which rows; none means all.
    pub filter: Option<Filter>,
    /// Their order; by certificate name where this says nothing.
    pub order: Vec<Order>,
    /// At most so many rows.
    pub limit: Option<u64>,
    /// After so many rows.
    pub offset: u64,
}

/// By which field rows are sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The field.
    pub field: Field,
    /// Largest first.
    pub descending: bool,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Those that pass all of these; there are at least two.
    All(Vec<Filter>),
    /// Those that pass one of these; there are at least two.
    Any(Vec<Filter>),
    /// Those that certainly do not pass.
    Not(Box<Filter>),
    /// `=`.
    Equals {
        /// The left side.
        field: Field,
        /// The right side.
        value: Literal,
    },
    /// `<` and its kind.
    Compares {
        /// The left side.
        field: Field,
        /// The operator.
        comparison: Comparison,
        /// The right side: a number, or a time if the field is one.
        value: Literal,
    },
    /// `~`.
    Matches {
        /// The left side.
        field: Field,
        /// The right side.
        pattern: Pattern,
    },
    /// `is null`, or `is not null`.
    IsNull {
        /// The left side.
        field: Field,
        /// False for `is not null`.
        null: bool,
    },
    /// `in [...]`.
    InList {
        /// The left side.
        field: Field,
        /// The right side.
        list: List,
    },
    /// `in` the columns of another query, as many as there are fields.
    InRows {
        /// The left side.
        fields: Vec<Field>,
        /// The right side.
        rows: Box<Query>,
    },
    /// Those of a node that has a row in another query.
    Related(Box<Query>),
}

/// An order of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The one with this sign.
    pub fn from_sign(sign: &str) -> Option<Self> {
        match sign {
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessOrEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    /// Its sign.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether two values that stand to each other like this pass.
    pub const fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A value in a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// In quotes.
    Text(String),
    /// Without a fraction.
    Integer(i64),
    /// With one, or too large for the other.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl Literal {
    /// The same as a fact.
    pub fn fact(&self) -> Fact {
        match self {
            Self::Text(text) => Fact::Text(text.as_str().into()),
            Self::Integer(number) => Fact::Integer(*number),
            Self::Float(number) => Fact::Float(*number),
            Self::Bool(value) => Fact::Bool(*value),
        }
    }
}

/// The right side of `in [...]`: names are looked up, however many they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List {
    /// The strings.
    pub texts: HashSet<String>,
    /// All others.
    pub others: Vec<Literal>,
}

impl List {
    /// Adds one.
    pub fn push(&mut self, literal: Literal) {
        match literal {
            Literal::Text(text) => self.texts.extend([text]),
            other => self.others.push(other),
        }
    }
}

/// What a query may still have.
#[derive(Debug)]
pub struct Budget {
    depth: usize,
    conditions: usize,
    subqueries: usize,
    patterns: usize,
}

impl Budget {
    /// That of a query of which nothing has been read.
    pub const fn new() -> Self {
        Self {
            depth: QUERY_DEPTH_MAX,
            conditions: QUERY_CONDITIONS_MAX,
            subqueries: QUERY_SUBQUERIES_MAX,
            patterns: QUERY_PATTERNS_MAX,
        }
    }

    /// A level down.
    pub fn enter(&mut self) -> Result<(), String> {
        take(&mut self.depth, "is nested", QUERY_DEPTH_MAX, "levels deep; write it flatter")
    }

    /// A level up.
    pub const fn leave(&mut self) {
        self.depth += 1;
    }

    /// One condition more.
    pub fn condition(&mut self) -> Result<(), String> {
        let advice = "conditions; give long lists of values with `in`";
        take(&mut self.conditions, "has", QUERY_CONDITIONS_MAX, advice)
    }

    /// One value more in a list of no strings.
    pub fn other_item(&mut self) -> Result<(), String> {
        self.condition()
    }

    /// One subquery more.
    pub fn subquery(&mut self) -> Result<(), String> {
        take(&mut self.subqueries, "has", QUERY_SUBQUERIES_MAX, "subqueries; put their conditions together")
    }

    /// One regular expression more.
    pub fn pattern(&mut self, text: &str) -> Result<Pattern, String> {
        take(&mut self.patterns, "has", QUERY_PATTERNS_MAX, "regular expressions; join them with `|`")?;
        Pattern::new(text)
    }
}

fn take(left: &mut usize, has: &str, max: usize, advice: &str) -> Result<(), String> {
    *left = left.checked_sub(1).ok_or_else(|| format!("the query {has} more than {max} {advice}"))?;
    Ok(())
}

impl Filter {
    /// A comparison, if the value can be compared with the field.
    pub fn compares(field: Field, comparison: Comparison, value: Literal) -> Result<Self, String> {
        let fits = match &value {
            Literal::Integer(_) | Literal::Float(_) => !field.is_time(),
            Literal::Text(text) => field.is_time() && super::field::time(text).is_some(),
            Literal::Bool(_) => false,
        };
        if fits {
            return Ok(Self::Compares { field, comparison, value });
        }
        let sign = comparison.sign();
        Err(if field.is_time() {
            format!("`{sign}` compares this field with a time such as \"2026-03-01T10:15:30Z\"")
        } else {
            format!("`{sign}` compares numbers: write one without quotes, or use `=` or `~` for texts")
        })
    }

    /// All of these; there is at least one.
    pub fn all(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 { parts.swap_remove(0) } else { Self::All(parts) }
    }

    /// One of these; there is at least one.
    pub fn any(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 { parts.swap_remove(0) } else { Self::Any(parts) }
    }

    /// Not.
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Query {
    /// Refuses a query that is to give nodes and has no certificate names in its rows.
    pub fn check_names_nodes(&self) -> Result<(), String> {
        if self.columns.is_empty() || self.columns.contains(&Field::Certname) {
            return Ok(());
        }
        let name = self.entity.name();
        Err(format!("the rows have no certname, so they name no nodes: write `{name}[certname] {{ ... }}`"))
    }

    /// Refuses a query on the right side of `in` that has not as many columns as there are fields on the left.
    pub fn check_columns(&self, fields: usize) -> Result<(), String> {
        if self.columns.len() == fields {
            return Ok(());
        }
        let name = self.entity.name();
        Err(format!(
            "the query after `in` has {} columns and must have {fields}: name them as in `{name}[certname] {{ ... }}`",
            self.columns.len()
        ))
    }
}

/// The beginning of a text from outside, for an error.
pub fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut start: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    start
}
