//! PQL, the textual form of a query (PuppetDB query API v4, "Puppet query language"): `nodes[certname] { certname ~ "^web"
//! and inventory { facts.os.family = "RedHat" } order by certname limit 10 }`.

use super::QueryError;
use super::field::{Field, RawPath};
use super::lexer::{Lexer, Token};
use super::tree::{Budget, Comparison, Entity, Filter, List, Literal, Order, Query};
use crate::limits::QUERY_BYTES_MAX;

/// Reads a query.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("it has {} bytes and may have {QUERY_BYTES_MAX}: name nodes in `nodes`", text.len());
        return Err(QueryError::new(message));
    }
    let mut parser = Parser { lexer: Lexer::new(text), ahead: None, at: 0, budget: Budget::new() };
    parser.whole().map_err(|Wrong { at, what }| {
        let (line, column) = parser.lexer.position(at);
        QueryError::at_position(line, column, what)
    })
}

/// What is wrong, and at which byte.
struct Wrong {
    at: usize,
    what: String,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token, if it has been looked at.
    ahead: Option<(usize, Token)>,
    /// Where the last token began that was taken.
    at: usize,
    budget: Budget,
}

type Parsed<T> = Result<T, Wrong>;

/// Words that end a filter.
const MODIFIERS: [&str; 4] = ["limit", "offset", "order", "group"];

impl Parser<'_> {
    fn whole(&mut self) -> Parsed<Query> {
        let query = self.query()?;
        match self.take()? {
            Token::End => Ok(query),
            other => self.fail(format!("nothing may follow the query's last `}}`, and there is {}", other.shown())),
        }
    }

    fn query(&mut self) -> Parsed<Query> {
        let Token::Path(name) = self.take()? else {
            return self.fail("a query begins with nodes, inventory or facts, as in `nodes[certname] { }`".to_owned());
        };
        self.query_of(&name)
    }

    /// A query behind its first word, which has just been taken.
    fn query_of(&mut self, name: &RawPath) -> Parsed<Query> {
        let entity = Entity::named(&name.first).or_else(|what| self.fail(what))?;
        let mut query = Query { entity, columns: vec![], filter: None, order: vec![], limit: None, offset: 0 };
        if self.take_if("[")? {
            query.columns = self.columns(entity)?;
        }
        self.expect("{")?;
        self.down()?;
        if !self.is_modifier_or_end()? {
            query.filter = Some(self.any(entity)?);
        }
        self.modifiers(&mut query)?;
        self.budget.leave();
        Ok(query)
    }

    /// Columns up to their closing bracket.
    fn columns(&mut self, entity: Entity) -> Parsed<Vec<Field>> {
        let mut columns = Vec::new();
        if self.take_if("]")? {
            return Ok(columns);
        }
        loop {
            columns.push(self.field(entity)?);
            match self.take()? {
                Token::Sign(",") => {}
                Token::Sign("]") => return Ok(columns),
                other => return self.fail(format!("expected `,` or `]` after a column, found {}", other.shown())),
            }
        }
    }

    fn field(&mut self, entity: Entity) -> Parsed<Field> {
        match self.take()? {
            Token::Path(_) if *self.peek()? == Token::Sign("(") => {
                self.fail("functions need PuppetDB; name columns, such as certname".to_owned())
            }
            Token::Path(path) => self.resolved(entity, &path),
            other => self.fail(format!("expected a field, found {}", other.shown())),
        }
    }

    fn resolved(&mut self, entity: Entity, path: &RawPath) -> Parsed<Field> {
        Field::named(entity, path, &mut self.budget).or_else(|what| self.fail(what))
    }

    fn any(&mut self, entity: Entity) -> Parsed<Filter> {
        let mut parts = vec![self.all(entity)?];
        while self.take_if_word("or")? {
            parts.push(self.all(entity)?);
        }
        Ok(Filter::any(parts))
    }

    fn all(&mut self, entity: Entity) -> Parsed<Filter> {
        let mut parts = vec![self.one(entity)?];
        while self.take_if_word("and")? {
            parts.push(self.one(entity)?);
        }
        Ok(Filter::all(parts))
    }

    fn one(&mut self, entity: Entity) -> Parsed<Filter> {
        match self.take()? {
            Token::Sign("!") => {
                self.down()?;
                let inner = self.one(entity)?;
                self.budget.leave();
                Ok(inner.negated())
            }
            Token::Sign("(") => {
                self.down()?;
                let inner = self.any(entity)?;
                self.expect(")")?;
                self.budget.leave();
                Ok(inner)
            }
            Token::Sign("[") => {
                let fields = self.columns(entity)?;
                if !self.take_if_word("in")? {
                    return self.fail("a list of fields must be followed by `in` and a query".to_owned());
                }
                self.in_rows(fields)
            }
            Token::Path(path) => self.condition(entity, &path),
            other => self.fail(format!("expected a condition such as `certname = \"a\"`, found {}", other.shown())),
        }
    }

    /// A condition whose first word has just been taken.
    fn condition(&mut self, entity: Entity, path: &RawPath) -> Parsed<Filter> {
        self.budget.condition().or_else(|what| self.fail(what))?;
        if matches!(self.peek()?, Token::Sign("{" | "[")) {
            if path.first == "not" {
                return self.fail("`not` is written `!` in PQL".to_owned());
            }
            self.budget.subquery().or_else(|what| self.fail(what))?;
            return Ok(Filter::Related(Box::new(self.query_of(path)?)));
        }
        if path.first == "not" && path.steps.is_empty() {
            return self.fail("`not` is written `!` in PQL".to_owned());
        }
        let field = self.resolved(entity, path)?;
        let operator = self.take()?;
        match operator {
            Token::Sign("=") => Ok(Filter::Equals { field, value: self.literal()? }),
            Token::Sign("!=") => Ok(Filter::Equals { field, value: self.literal()? }.negated()),
            Token::Sign("~") => self.matches(field),
            Token::Sign("!~") => Ok(self.matches(field)?.negated()),
            Token::Sign("~>") => self.fail("`~>` needs PuppetDB; go into facts with `.match(\"...\")`".to_owned()),
            Token::Sign("==") => self.fail("`==` is written `=` in PQL".to_owned()),
            Token::Sign(sign) => match Comparison::from_sign(sign) {
                Some(comparison) => {
                    let value = self.literal()?;
                    Filter::compares(field, comparison, value).or_else(|what| self.fail(what))
                }
                None => self.no_operator(&operator),
            },
            Token::Path(ref word) if word.steps.is_empty() && word.first == "in" => self.within(field),
            Token::Path(ref word) if word.steps.is_empty() && word.first == "is" => {
                let null = !self.take_if_word("not")?;
                match self.take()?.word() {
                    Some("null") => Ok(Filter::IsNull { field, null }),
                    _ => self.fail("`is` must be followed by `null` or `not null`".to_owned()),
                }
            }
            _ => self.no_operator(&operator),
        }
    }

    fn no_operator(&self, found: &Token) -> Parsed<Filter> {
        let operators = "=, !=, <, <=, >, >=, ~, !~, in, is null";
        self.fail(format!("expected an operator ({operators}), found {}", found.shown()))
    }

    fn matches(&mut self, field: Field) -> Parsed<Filter> {
        let Token::Literal(Literal::Text(text)) = self.take()? else {
            return self.fail("`~` must be followed by a regular expression in quotes".to_owned());
        };
        let pattern = self.budget.pattern(&text).or_else(|what| self.fail(what))?;
        Ok(Filter::Matches { field, pattern })
    }

    /// The right side of `in`.
    fn within(&mut self, field: Field) -> Parsed<Filter> {
        if !self.take_if("[")? {
            return self.in_rows(vec![field]);
        }
        let mut list = List::default();
        if self.take_if("]")? {
            return Ok(Filter::InList { field, list });
        }
        loop {
            let literal = self.literal()?;
            if !matches!(literal, Literal::Text(_)) {
                self.budget.other_item().or_else(|what| self.fail(what))?;
            }
            list.push(literal);
            match self.take()? {
                Token::Sign(",") => {}
                Token::Sign("]") => return Ok(Filter::InList { field, list }),
                other => return self.fail(format!("expected `,` or `]` in the list, found {}", other.shown())),
            }
        }
    }

    fn in_rows(&mut self, fields: Vec<Field>) -> Parsed<Filter> {
        self.budget.subquery().or_else(|what| self.fail(what))?;
        let Token::Path(name) = self.take()? else {
            return self.fail("`in` must be followed by a list such as `[\"a\", \"b\"]` or by a query".to_owned());
        };
        let at = self.at;
        let rows = self.query_of(&name)?;
        rows.check_columns(fields.len()).map_err(|what| Wrong { at, what })?;
        Ok(Filter::InRows { fields, rows: Box::new(rows) })
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let token = self.take()?;
        match token.word() {
            Some("true") => return Ok(Literal::Bool(true)),
            Some("false") => return Ok(Literal::Bool(false)),
            Some("null") => return self.fail("null is found with `is null`".to_owned()),
            _ => {}
        }
        match token {
            Token::Literal(literal) => Ok(literal),
            Token::Path(word) => {
                self.fail(format!("expected a value; put the text {0} into quotes: \"{0}\"", word.first))
            }
            other => self.fail(format!("expected a value, found {}", other.shown())),
        }
    }

    /// Modifiers up to the closing brace.
    fn modifiers(&mut self, query: &mut Query) -> Parsed<()> {
        let mut seen = Vec::new();
        loop {
            let token = self.take()?;
            let word = match &token {
                Token::Sign("}") => return Ok(()),
                Token::Sign("&&") => return self.fail("`&&` is written `and` in PQL".to_owned()),
                Token::Sign("||") => return self.fail("`||` is written `or` in PQL".to_owned()),
                other => other.word().and_then(|word| MODIFIERS.into_iter().find(|known| *known == word)),
            };
            let Some(word) = word else {
                let expected = "expected `and`, `or`, `limit`, `offset`, `order by` or `}`";
                return self.fail(format!("{expected}, found {}", token.shown()));
            };
            if seen.contains(&word) {
                return self.fail(format!("`{word}` may be given once"));
            }
            seen.push(word);
            match word {
                "limit" => query.limit = Some(self.count(word)?),
                "offset" => query.offset = self.count(word)?,
                "order" => query.order = self.order(query.entity)?,
                _ => return self.fail("`group by` needs PuppetDB; nodes are named once in any case".to_owned()),
            }
        }
    }

    fn count(&mut self, word: &str) -> Parsed<u64> {
        match self.take()? {
            Token::Literal(Literal::Integer(number)) if number >= 0 => Ok(number.unsigned_abs()),
            other => self.fail(format!("`{word}` must be followed by a whole number, not by {}", other.shown())),
        }
    }

    fn order(&mut self, entity: Entity) -> Parsed<Vec<Order>> {
        if !self.take_if_word("by")? {
            return self.fail("`order` must be followed by `by`".to_owned());
        }
        let mut order = Vec::new();
        loop {
            self.budget.condition().or_else(|what| self.fail(what))?;
            let field = self.field(entity)?;
            let descending = self.take_if_word("desc")?;
            if !descending {
                self.take_if_word("asc")?;
            }
            order.push(Order { field, descending });
            if !self.take_if(",")? {
                return Ok(order);
            }
        }
    }

    fn is_modifier_or_end(&mut self) -> Parsed<bool> {
        let token = self.peek()?;
        Ok(*token == Token::Sign("}") || token.word().is_some_and(|word| MODIFIERS.contains(&word)))
    }

    fn down(&mut self) -> Parsed<()> {
        self.budget.enter().or_else(|what| self.fail(what))
    }

    fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        match self.take()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => self.fail(format!("expected `{sign}`, found {}", other.shown())),
        }
    }

    fn take_if(&mut self, sign: &'static str) -> Parsed<bool> {
        let is_there = *self.peek()? == Token::Sign(sign);
        if is_there {
            self.take()?;
        }
        Ok(is_there)
    }

    fn take_if_word(&mut self, word: &str) -> Parsed<bool> {
        let is_there = self.peek()?.word() == Some(word);
        if is_there {
            self.take()?;
        }
        Ok(is_there)
    }

    fn peek(&mut self) -> Parsed<&Token> {
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.lexer.next().map_err(|(at, what)| Wrong { at, what })?,
        };
        Ok(&self.ahead.insert(ahead).1)
    }

    fn take(&mut self) -> Parsed<Token> {
        self.peek()?;
        let (at, token) = self.ahead.take().unwrap_or((self.at, Token::End));
        self.at = at;
        Ok(token)
    }

    /// Something is wrong with the token that was taken last.
    fn fail<T>(&self, what: String) -> Parsed<T> {
        Err(Wrong { at: self.at, what })
    }
}
