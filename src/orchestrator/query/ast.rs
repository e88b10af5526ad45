//! The AST form of a query: JSON arrays in prefix notation (PuppetDB query API v4, "AST query language"):
//! `["from", "nodes", ["extract", ["certname"], ["~", "certname", "^web"]], ["limit", 10]]`.

use serde_json::Value;

use super::QueryError;
use super::field::{Field, RawPath};
use super::tree::{Budget, Comparison, Entity, Filter, List, Literal, Order, Query, shortened};
use crate::limits::QUERY_BYTES_MAX;

/// Reads a query.
pub fn parse(tree: &Value) -> Result<Query, QueryError> {
    let bytes = tree.to_string().len();
    if bytes > QUERY_BYTES_MAX {
        let message = format!("it has {bytes} bytes and may have {QUERY_BYTES_MAX}: name nodes in `nodes`");
        return Err(QueryError::new(message));
    }
    let mut reader = Reader { budget: Budget::new(), path: Vec::new() };
    reader.query(tree).map_err(|what| {
        let path: String = reader.path.iter().map(|index| format!("[{index}]")).collect();
        QueryError::in_tree(path, what)
    })
}

/// Reads a tree; where it is wrong is where `path` leads when an error comes out.
struct Reader {
    budget: Budget,
    path: Vec<usize>,
}

type Read<T> = Result<T, String>;

impl Reader {
    /// Reads the item at `index` of an array; the path says so as long as that takes, or for good if it fails.
    fn item<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.path.push(index);
        self.budget.enter()?;
        let done = read(self)?;
        self.budget.leave();
        self.path.pop();
        Ok(done)
    }

    fn query(&mut self, tree: &Value) -> Read<Query> {
        let (operator, arguments) = operation(tree)?;
        if operator != "from" {
            let begins = "a query begins with `from`, as in [\"from\", \"nodes\", [\"=\", \"certname\", \"a\"]]";
            return Err(format!("{begins}, not with `{}`", shortened(operator)));
        }
        let name = arguments.first().and_then(Value::as_str);
        let name = name.ok_or_else(|| "`from` must be followed by nodes, inventory or facts".to_owned())?;
        let entity = self.item(1, |_| Entity::named(name))?;
        self.query_of(entity, &arguments[1..], 2)
    }

    /// The rest of a query, which begins at `first` of its array: a filter perhaps within `extract`, then modifiers.
    fn query_of(&mut self, entity: Entity, parts: &[Value], first: usize) -> Read<Query> {
        let mut query = Query { entity, columns: vec![], filter: None, order: vec![], limit: None, offset: 0 };
        for (part, index) in parts.iter().zip(first..) {
            self.item(index, |reader| reader.part(&mut query, part, index == first))?;
        }
        Ok(query)
    }

    fn part(&mut self, query: &mut Query, part: &Value, is_first: bool) -> Read<()> {
        let (operator, arguments) = operation(part)?;
        match (operator, arguments) {
            ("limit", [count]) => query.limit = Some(whole_number(operator, count)?),
            ("offset", [count]) => query.offset = whole_number(operator, count)?,
            ("order_by", [Value::Array(fields)]) => query.order = self.order(query.entity, fields)?,
            ("limit" | "offset" | "order_by", _) => {
                return Err(format!("`{operator}` takes one argument: a whole number, or for order_by an array"));
            }
            ("group_by", _) => return Err("`group_by` needs PuppetDB; nodes are named once in any case".to_owned()),
            ("extract", [columns, rest @ ..]) if is_first => {
                query.columns = self.item(1, |reader| reader.columns(query.entity, columns))?;
                match rest {
                    [] => {}
                    [filter] => query.filter = Some(self.item(2, |reader| reader.filter(query.entity, filter))?),
                    _ => return Err("`extract` takes columns and a filter; `group_by` needs PuppetDB".to_owned()),
                }
            }
            _ if is_first => query.filter = Some(self.filter(query.entity, part)?),
            _ => {
                let expected = "only limit, offset and order_by may follow the filter";
                return Err(format!("{expected}, not `{}`; join conditions with `and`", shortened(operator)));
            }
        }
        Ok(())
    }

    /// One column, or an array of them.
    fn columns(&mut self, entity: Entity, columns: &Value) -> Read<Vec<Field>> {
        match columns {
            Value::Array(columns) if columns.first().and_then(Value::as_str) != Some("function") => {
                let mut read = Vec::with_capacity(columns.len());
                for (index, column) in columns.iter().enumerate() {
                    read.push(self.item(index, |reader| reader.field(entity, column))?);
                }
                Ok(read)
            }
            column => Ok(vec![self.field(entity, column)?]),
        }
    }

    fn field(&mut self, entity: Entity, field: &Value) -> Read<Field> {
        let parts: Option<Vec<&str>> = field.as_array().and_then(|parts| parts.iter().map(Value::as_str).collect());
        match (field, parts.as_deref()) {
            (Value::String(path), _) => Field::named(entity, &RawPath::whole(path)?, &mut self.budget),
            (_, Some(["fact", name])) if entity != Entity::Facts => Ok(Field::fact(name)),
            (_, Some(["function", ..])) => Err("functions need PuppetDB; name columns, such as certname".to_owned()),
            _ => Err("a field must be a string such as \"certname\" or \"facts.os.family\"".to_owned()),
        }
    }

    fn order(&mut self, entity: Entity, fields: &[Value]) -> Read<Vec<Order>> {
        let mut order = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            self.budget.condition()?;
            order.push(self.item(index, |reader| {
                let (field, direction) = match field {
                    Value::Array(pair) if pair.len() == 2 => (&pair[0], pair[1].as_str()),
                    field => (field, Some("asc")),
                };
                let descending = match direction {
                    Some("asc") => false,
                    Some("desc") => true,
                    _ => return Err("rows are sorted \"asc\" or \"desc\"".to_owned()),
                };
                Ok(Order { field: reader.field(entity, field)?, descending })
            })?);
        }
        Ok(order)
    }

    fn filter(&mut self, entity: Entity, tree: &Value) -> Read<Filter> {
        let (operator, arguments) = operation(tree)?;
        match (operator, arguments) {
            ("and", [_, ..]) => Ok(Filter::all(self.filters(entity, arguments)?)),
            ("or", [_, ..]) => Ok(Filter::any(self.filters(entity, arguments)?)),
            ("not", [inner]) => Ok(self.item(1, |reader| reader.filter(entity, inner))?.negated()),
            ("and" | "or" | "not", _) => {
                Err(format!("`{operator}` has {} arguments; `not` takes one, the others at least one", arguments.len()))
            }
            ("subquery", [Value::String(name), rest @ ..]) if rest.len() <= 1 => {
                self.subquery()?;
                let other = self.item(1, |_| Entity::named(name))?;
                Ok(Filter::Related(Box::new(self.query_of(other, rest, 2)?)))
            }
            (_, [left, right]) => self.condition(entity, operator, left, right),
            _ => Err(format!(
                "`{}` has {} arguments; a condition has the form [operator, field, value]",
                shortened(operator),
                arguments.len()
            )),
        }
    }

    fn filters(&mut self, entity: Entity, parts: &[Value]) -> Read<Vec<Filter>> {
        let mut filters = Vec::with_capacity(parts.len());
        for (part, index) in parts.iter().zip(1..) {
            filters.push(self.item(index, |reader| reader.filter(entity, part))?);
        }
        Ok(filters)
    }

    fn subquery(&mut self) -> Read<()> {
        self.budget.condition()?;
        self.budget.subquery()
    }

    fn condition(&mut self, entity: Entity, operator: &str, left: &Value, right: &Value) -> Read<Filter> {
        if operator == "in" {
            return self.within(entity, left, right);
        }
        self.budget.condition()?;
        let is_active = left.as_array().is_some_and(|left| left[..] == [Value::from("node"), Value::from("active")]);
        if let (true, "=", Value::Bool(active)) = (is_active, operator, right) {
            // All nodes are.
            return Ok(Filter::IsNull { field: Field::Retired(super::field::Retirement::Deactivated), null: *active });
        }
        let known = ["=", "~", "null?", "<", "<=", ">", ">="];
        if !known.contains(&operator) {
            let operators = "=, <, <=, >, >=, ~, null?, in, and, or, not, subquery";
            return Err(match operator {
                "~>" => "`~>` needs PuppetDB; go into facts with `.match(\"...\")`".to_owned(),
                "!=" | "!~" => "there is no such operator in this form; put the other one into `not`".to_owned(),
                other => format!("there is no operator `{}`; there are {operators}", shortened(other)),
            });
        }
        let field = self.item(1, |reader| reader.field(entity, left))?;
        self.item(2, |reader| match (operator, right) {
            ("null?", Value::Bool(null)) => Ok(Filter::IsNull { field, null: *null }),
            ("null?", _) => Err("`null?` must be followed by a field and true or false".to_owned()),
            ("~", Value::String(text)) => Ok(Filter::Matches { field, pattern: reader.budget.pattern(text)? }),
            ("~", _) => Err("`~` must be followed by a field and a regular expression".to_owned()),
            ("=", value) => Ok(Filter::Equals { field, value: literal(value)? }),
            (sign, value) => match Comparison::from_sign(sign) {
                Some(comparison) => Filter::compares(field, comparison, literal(value)?),
                None => Err(format!("there is no operator `{sign}`")),
            },
        })
    }

    fn within(&mut self, entity: Entity, left: &Value, right: &Value) -> Read<Filter> {
        let is_fact = matches!(left, Value::Array(parts) if parts.first().and_then(Value::as_str) == Some("fact"));
        let fields =
            self.item(
                1,
                |reader| {
                    if is_fact { Ok(vec![reader.field(entity, left)?]) } else { reader.columns(entity, left) }
                },
            )?;
        let (operator, arguments) = self.item(2, |_| operation(right))?;
        match (operator, arguments) {
            ("array", [Value::Array(items)]) => {
                self.budget.condition()?;
                let [field] = <[Field; 1]>::try_from(fields)
                    .map_err(|_| "the items of an array are compared with one field".to_owned())?;
                let mut list = List::default();
                for (index, item) in items.iter().enumerate() {
                    if !item.is_string() {
                        self.budget.other_item()?;
                    }
                    list.push(self.item(2, |reader| reader.item(1, |reader| reader.item(index, |_| literal(item))))?);
                }
                Ok(Filter::InList { field, list })
            }
            ("from" | "extract", _) => {
                self.subquery()?;
                let rows = self.item(2, |reader| reader.rows(right))?;
                rows.check_columns(fields.len())?;
                Ok(Filter::InRows { fields, rows: Box::new(rows) })
            }
            _ => Err("`in` takes a field and [\"array\", [...]], [\"from\", ...] or [\"extract\", ...]".to_owned()),
        }
    }

    /// The query after `in`: in the newer form with `from`, or in the older one,
    /// `["extract", columns, ["select_facts", filter]]`.
    fn rows(&mut self, tree: &Value) -> Read<Query> {
        let (operator, arguments) = operation(tree)?;
        let ("extract", [columns, select]) = (operator, arguments) else { return self.query(tree) };
        let (name, filter) = self.item(2, |_| operation(select))?;
        let name = name.strip_prefix("select_").ok_or_else(|| {
            "`extract` after `in` takes columns and a query such as [\"select_facts\", [\"=\", \"name\", \"kernel\"]]"
                .to_owned()
        })?;
        let name = name.replace('-', "_");
        let mut query = self.item(2, |reader| {
            let entity = reader.item(0, |_| Entity::named(&name))?;
            if filter.len() > 1 {
                return Err(format!("`select_{name}` takes one filter"));
            }
            reader.query_of(entity, filter, 1)
        })?;
        query.columns = self.item(1, |reader| reader.columns(query.entity, columns))?;
        Ok(query)
    }
}

/// The operator and the arguments of an array.
fn operation(tree: &Value) -> Read<(&str, &[Value])> {
    let parts = tree.as_array().map_or(&[][..], Vec::as_slice);
    match parts {
        [Value::String(operator), arguments @ ..] => Ok((operator, arguments)),
        _ => Err("an array that begins with an operator is expected, such as [\"=\", \"certname\", \"a\"]".to_owned()),
    }
}

fn whole_number(operator: &str, value: &Value) -> Read<u64> {
    value.as_u64().ok_or_else(|| format!("`{operator}` must be followed by a whole number"))
}

fn literal(value: &Value) -> Read<Literal> {
    match value {
        Value::String(text) => Ok(Literal::Text(text.clone())),
        Value::Bool(value) => Ok(Literal::Bool(*value)),
        Value::Number(number) => Ok(match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Literal::Integer(integer),
            (None, float) => Literal::Float(float.unwrap_or(f64::MAX)),
        }),
        Value::Null => Err("null is found with [\"null?\", field, true]".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a value must be a string, a number or a boolean".to_owned()),
    }
}
