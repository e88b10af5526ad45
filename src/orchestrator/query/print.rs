//! Tests only: a query written down in both of its forms.

use serde_json::{Value, json};

use super::field::{Field, Retirement, Step};
use super::tree::{Filter, List, Literal, Order, Query};

/// As PQL.
pub fn pql(query: &Query) -> String {
    let mut text = query.entity.name().to_owned();
    if !query.columns.is_empty() {
        text +=
            &format!("[{}]", query.columns.iter().map(|column| field(query, column)).collect::<Vec<_>>().join(", "));
    }
    text += " { ";
    if let Some(filter) = &query.filter {
        text += &condition(query, filter, false);
    }
    if !query.order.is_empty() {
        let order = |Order { field: by, descending }: &Order| {
            format!("{}{}", field(query, by), if *descending { " desc" } else { "" })
        };
        text += &format!(" order by {}", query.order.iter().map(order).collect::<Vec<_>>().join(", "));
    }
    if let Some(limit) = query.limit {
        text += &format!(" limit {limit}");
    }
    if query.offset > 0 {
        text += &format!(" offset {}", query.offset);
    }
    text + " }"
}

/// In the AST form.
pub fn ast(query: &Query) -> Value {
    let mut parts = vec![json!("from"), json!(query.entity.name())];
    parts.extend(body(query));
    Value::Array(parts)
}

fn body(query: &Query) -> Vec<Value> {
    let columns: Vec<Value> = query.columns.iter().map(|column| field(query, column).into()).collect();
    let filter = query.filter.as_ref().map(|filter| tree(query, filter));
    let mut parts = Vec::new();
    match (columns.is_empty(), filter) {
        (true, None) => {}
        (true, Some(filter)) => parts.push(filter),
        (false, None) => parts.push(json!(["extract", columns])),
        (false, Some(filter)) => parts.push(json!(["extract", columns, filter])),
    }
    if !query.order.is_empty() {
        let direction = |order: &Order| if order.descending { "desc" } else { "asc" };
        let order = query.order.iter().map(|order| json!([field(query, &order.field), direction(order)]));
        parts.push(json!(["order_by", order.collect::<Vec<_>>()]));
    }
    if let Some(limit) = query.limit {
        parts.push(json!(["limit", limit]));
    }
    if query.offset > 0 {
        parts.push(json!(["offset", query.offset]));
    }
    parts
}

fn field(query: &Query, field: &Field) -> String {
    let path = |first: &str, steps: &[Step]| {
        let step = |step: &Step| match step {
            Step::Key(key) => format!(".{}", json!(key)),
            Step::Index(index) => format!("[{index}]"),
            Step::Match(pattern) => format!(".match({})", json!(pattern.as_str())),
        };
        format!("{first}{}", steps.iter().map(step).collect::<String>())
    };
    let is_nodes = query.entity == super::tree::Entity::Nodes;
    match field {
        Field::Certname => "certname".to_owned(),
        Field::Connected => "connected".to_owned(),
        Field::Broker => "broker".to_owned(),
        Field::FactsTime => if is_nodes { "facts_timestamp" } else { "timestamp" }.to_owned(),
        Field::Retired(Retirement::Deactivated) => "deactivated".to_owned(),
        Field::Retired(Retirement::Expired) => "expired".to_owned(),
        Field::Name => "name".to_owned(),
        Field::Value => "value".to_owned(),
        Field::Facts(steps) => path("facts", steps),
        Field::Trusted(steps) => path("trusted", steps),
    }
}

fn value(literal: &Literal) -> Value {
    match literal {
        Literal::Text(text) => json!(text),
        Literal::Integer(number) => json!(number),
        Literal::Float(number) => json!(number),
        Literal::Bool(value) => json!(value),
    }
}

fn items(list: &List) -> Vec<Value> {
    let mut texts: Vec<&String> = list.texts.iter().collect();
    texts.sort();
    texts.into_iter().map(|text| json!(text)).chain(list.others.iter().map(value)).collect()
}

fn condition(query: &Query, filter: &Filter, in_parentheses: bool) -> String {
    let join = |filters: &[Filter], word: &str| {
        let parts: Vec<String> = filters.iter().map(|filter| condition(query, filter, true)).collect();
        let joined = parts.join(&format!(" {word} "));
        if in_parentheses { format!("({joined})") } else { joined }
    };
    match filter {
        Filter::All(filters) => join(filters, "and"),
        Filter::Any(filters) => join(filters, "or"),
        Filter::Not(inner) => format!("! {}", condition(query, inner, true)),
        Filter::Equals { field: of, value: is } => format!("{} = {}", field(query, of), value(is)),
        Filter::Compares { field: of, comparison, value: is } => {
            format!("{} {} {}", field(query, of), comparison.sign(), value(is))
        }
        Filter::Matches { field: of, pattern } => format!("{} ~ {}", field(query, of), json!(pattern.as_str())),
        Filter::IsNull { field: of, null } => {
            format!("{} is {}null", field(query, of), if *null { "" } else { "not " })
        }
        Filter::InList { field: of, list } => format!("{} in {}", field(query, of), Value::Array(items(list))),
        Filter::InRows { fields, rows } => {
            let fields: Vec<String> = fields.iter().map(|of| field(query, of)).collect();
            format!("[{}] in {}", fields.join(","), pql(rows))
        }
        Filter::Related(other) => pql(other),
    }
}

fn tree(query: &Query, filter: &Filter) -> Value {
    let all = |word: &str, filters: &[Filter]| {
        Value::Array(std::iter::once(json!(word)).chain(filters.iter().map(|filter| tree(query, filter))).collect())
    };
    match filter {
        Filter::All(filters) => all("and", filters),
        Filter::Any(filters) => all("or", filters),
        Filter::Not(inner) => json!(["not", tree(query, inner)]),
        Filter::Equals { field: of, value: is } => json!(["=", field(query, of), value(is)]),
        Filter::Compares { field: of, comparison, value: is } => {
            json!([comparison.sign(), field(query, of), value(is)])
        }
        Filter::Matches { field: of, pattern } => json!(["~", field(query, of), pattern.as_str()]),
        Filter::IsNull { field: of, null } => json!(["null?", field(query, of), *null]),
        Filter::InList { field: of, list } => json!(["in", field(query, of), ["array", items(list)]]),
        Filter::InRows { fields, rows } => {
            json!(["in", fields.iter().map(|of| field(query, of)).collect::<Vec<_>>(), ast(rows)])
        }
        Filter::Related(other) => {
            let mut parts = vec![json!("subquery"), json!(other.entity.name())];
            parts.extend(body(other));
            Value::Array(parts)
        }
    }
}
