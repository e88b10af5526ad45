//! From a query and nodes to the names of those that it chooses. Pure: what it says depends on its arguments alone, and
//! it ends after a number of comparisons that is known beforehand.

use std::cell::Cell as Counter;
use std::cmp::Ordering;
use std::collections::HashSet;

use super::QueryError;
use super::field::Field;
use super::rows::{Cell, Row, any_value, compare_numbers};
use super::tree::{Entity, Filter, Literal, Order, Query};
use crate::limits::{QUERY_SORTED_ROWS_MAX, QUERY_STEPS_MAX};
use crate::orchestrator::facts::{Fact, NodeFacts};
use crate::orchestrator::model::NodeConnection;

/// What is known of a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    /// Name in its certificate.
    pub certname: &'a str,
    /// Where it is connected, if it is.
    pub connection: Option<&'a NodeConnection>,
    /// Extensions in its certificate by their short names, if this server has seen it: a structure.
    pub extensions: Option<&'a Fact>,
    /// Its facts, if they have ever been stored.
    pub facts: Option<&'a NodeFacts>,
}

/// Bytes searched by a regular expression that count like one comparison.
const BYTES_PER_STEP: usize = 64;

impl Query {
    /// The names of the nodes that are chosen from `nodes`, which are sorted by name; each once, in the order of the rows.
    pub fn certnames(&self, nodes: &[NodeView<'_>]) -> Result<Vec<String>, QueryError> {
        self.certnames_within(nodes, QUERY_STEPS_MAX)
    }

    /// The same at the cost of so many comparisons.
    pub(super) fn certnames_within(&self, nodes: &[NodeView<'_>], steps: u64) -> Result<Vec<String>, QueryError> {
        let evaluation = Evaluation { nodes, steps_left: Counter::new(steps) };
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        evaluation.rows(self, &mut |row| {
            if seen.insert(row.node.certname) {
                names.push(row.node.certname.to_owned());
            }
        })?;
        Ok(names)
    }
}

struct Evaluation<'n> {
    nodes: &'n [NodeView<'n>],
    steps_left: Counter<u64>,
}

/// A filter whose subqueries have been answered.
enum Test<'q> {
    All(Vec<Test<'q>>),
    Any(Vec<Test<'q>>),
    Not(Box<Test<'q>>),
    /// What needs nothing but the row.
    Plain(&'q Filter),
    /// Keys of the rows.
    InRows(&'q [Field], HashSet<String>),
    /// Names of nodes.
    Related(HashSet<&'q str>),
}

impl<'n> Evaluation<'n> {
    /// Hands over the rows of a query, after its limit and offset.
    fn rows(&self, query: &Query, take: &mut dyn FnMut(Row<'n>)) -> Result<(), QueryError> {
        let test = query.filter.as_ref().map(|filter| self.prepared(filter)).transpose()?;
        let first = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let most = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let passing = self.all_rows(query.entity).take_while(|_| self.steps_left.get() > 0).filter(|row| {
            let passes = test.as_ref().is_none_or(|test| self.passes(test, *row) == Some(true));
            self.count(1);
            passes
        });
        if query.order.is_empty() {
            passing.skip(first).take(most).for_each(take);
        } else {
            let keyed = |row| (query.order.iter().map(|order| sort_key(row, &order.field)).collect::<Vec<_>>(), row);
            let mut sorted: Vec<_> = passing.take(QUERY_SORTED_ROWS_MAX + 1).map(keyed).collect();
            if sorted.len() > QUERY_SORTED_ROWS_MAX {
                let advice = "choose fewer, or leave out `order by`";
                return Err(QueryError::new(format!(
                    "more than {QUERY_SORTED_ROWS_MAX} rows are to be sorted; {advice}"
                )));
            }
            sorted.sort_by(|(a, _), (b, _)| compare_keys(&query.order, a, b));
            sorted.into_iter().skip(first).take(most).for_each(|(_, row)| take(row));
        }
        if self.steps_left.get() == 0 {
            let message = "it takes too many comparisons over all nodes; ask with fewer conditions, ask the entity \
                           inventory instead of facts, or let PuppetDB answer";
            return Err(QueryError::new(message));
        }
        Ok(())
    }

    fn all_rows(&self, entity: Entity) -> Box<dyn Iterator<Item = Row<'n>> + 'n> {
        let nodes = self.nodes.iter();
        match entity {
            Entity::Nodes | Entity::Inventory => Box::new(nodes.map(|node| Row { node, fact: None })),
            Entity::Facts => Box::new(nodes.flat_map(|node| {
                let facts = node.facts.into_iter().flat_map(|facts| facts.facts.iter());
                facts.map(move |fact| Row { node, fact: Some(fact) })
            })),
        }
    }

    fn count(&self, steps: usize) {
        self.steps_left.set(self.steps_left.get().saturating_sub(steps as u64));
    }

    /// Answers the subqueries.
    fn prepared<'q>(&self, filter: &'q Filter) -> Result<Test<'q>, QueryError>
    where
        'n: 'q,
    {
        let all = |filters: &'q [Filter]| filters.iter().map(|filter| self.prepared(filter)).collect::<Result<_, _>>();
        Ok(match filter {
            Filter::All(filters) => Test::All(all(filters)?),
            Filter::Any(filters) => Test::Any(all(filters)?),
            Filter::Not(filter) => Test::Not(Box::new(self.prepared(filter)?)),
            Filter::InRows { fields, rows } => {
                let mut keys = HashSet::new();
                self.rows(rows, &mut |row| keys.extend(key(row, &rows.columns)))?;
                Test::InRows(fields, keys)
            }
            Filter::Related(query) => {
                let mut names = HashSet::new();
                self.rows(query, &mut |row| names.extend([row.node.certname]))?;
                Test::Related(names)
            }
            plain => Test::Plain(plain),
        })
    }

    /// Whether a row passes; `None` if that cannot be known.
    fn passes(&self, test: &Test<'_>, row: Row<'_>) -> Option<bool> {
        match test {
            Test::All(tests) => decided(tests.iter().map(|test| self.passes(test, row)), false),
            Test::Any(tests) => decided(tests.iter().map(|test| self.passes(test, row)), true),
            Test::Not(test) => self.passes(test, row).map(|passes| !passes),
            Test::Plain(filter) => self.passes_plain(filter, row),
            Test::InRows(fields, keys) => {
                self.count(1);
                key(row, fields).map(|key| keys.contains(&key))
            }
            Test::Related(names) => {
                self.count(1);
                Some(names.contains(row.node.certname))
            }
        }
    }

    fn passes_plain(&self, filter: &Filter, row: Row<'_>) -> Option<bool> {
        self.count(1);
        match filter {
            Filter::Equals { field, value } => any_value(row, field, &mut |cell| cell.equals(value)),
            Filter::Compares { field, comparison, value } => {
                any_value(row, field, &mut |cell| cell.compares(*comparison, value))
            }
            Filter::Matches { field, pattern } => any_value(row, field, &mut |cell| {
                let found = cell.with_text(|text| {
                    self.count(text.len() / BYTES_PER_STEP);
                    pattern.is_in(text)
                });
                found.unwrap_or(false)
            }),
            Filter::IsNull { field, null } => {
                // Behind a `match` there is something as soon as one value is.
                let something = any_value(row, field, &mut |cell| !matches!(cell, Cell::Null))?;
                Some(something != *null)
            }
            Filter::InList { field, list } => {
                self.count(list.others.len());
                any_value(row, field, &mut |cell| is_listed(cell, list))
            }
            Filter::All(_) | Filter::Any(_) | Filter::Not(_) | Filter::InRows { .. } | Filter::Related(_) => None,
        }
    }
}

fn is_listed(cell: Cell<'_>, list: &super::tree::List) -> bool {
    let is_text = |text: &str| list.texts.contains(text);
    let is_other = || list.others.iter().any(|value| cell.equals(value));
    match cell {
        Cell::Text(text) => is_text(text),
        Cell::Fact(Fact::Text(text)) => is_text(text),
        Cell::Fact(Fact::Array(items)) => items.iter().any(|item| is_listed(Cell::Fact(item), list)),
        Cell::Time(_) => list.texts.iter().any(|text| cell.equals(&Literal::Text(text.clone()))),
        Cell::Null | Cell::Bool(_) | Cell::Fact(_) => is_other(),
    }
}

/// Three-valued: the first part that is `decisive` decides; otherwise one that is not known leaves it open.
pub fn decided(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut open = false;
    for part in parts {
        match part {
            Some(part) if part == decisive => return Some(decisive),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!decisive)
}

/// A text that rows have in common if and only if all of these fields are the same; `None` if one is null or unknown,
/// which is like nothing else.
fn key(row: Row<'_>, fields: &[Field]) -> Option<String> {
    let mut key = String::new();
    for field in fields {
        let mut is_known = false;
        any_value(row, field, &mut |cell| {
            is_known = !matches!(cell, Cell::Null);
            cell.write_key(&mut key);
            true
        })?;
        if !is_known {
            return None;
        }
    }
    Some(key)
}

fn compare_keys(order: &[Order], a: &[SortKey], b: &[SortKey]) -> Ordering {
    let mut differ = order.iter().zip(a.iter().zip(b)).map(|(order, (a, b))| {
        let ordering = a.compare(b);
        if order.descending { ordering.reverse() } else { ordering }
    });
    differ.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

/// What a row is sorted by: numbers before texts, nothing last.
enum SortKey {
    Number(Fact),
    Text(String),
    Nothing,
}

fn sort_key(row: Row<'_>, field: &Field) -> SortKey {
    let mut key = SortKey::Nothing;
    any_value(row, field, &mut |cell| {
        key = match cell {
            Cell::Fact(number @ (Fact::Integer(_) | Fact::Float(_))) => SortKey::Number(number.clone()),
            Cell::Time(time) => SortKey::Number(Fact::Integer(time.as_millis())),
            cell => cell.with_text(str::to_owned).map_or(SortKey::Nothing, SortKey::Text),
        };
        true
    });
    key
}

impl SortKey {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => compare_numbers(a, b).unwrap_or(Ordering::Equal),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Nothing => 2,
        }
    }
}
