//! The parser of expressions and statements: operators by their binding power, everything else by its first token.
//! Definitions, parameters and blocks are in `definitions`.

use std::sync::Arc;

use super::ast::{Call, Callee, CatalogBlock, Expr, File, Kind, Operator};
use super::lexer::tokens;
use super::token::{Token, TokenKind};
use crate::limits::PUPPET_NESTING_MAX;
use crate::puppet_lang::source::{Diagnostic, Source};

pub(super) type Parsed<T> = Result<T, (u32, String)>;

/// How strongly `=` binds, and `?`, and what stands before an operand.
pub(super) const ASSIGNMENT: u8 = 1;
const SELECTOR: u8 = 5;
const MINUS: u8 = 13;
const SPLAT: u8 = 14;
const NOT: u8 = 15;

/// Functions that need no parentheses when a statement begins with them.
const STATEMENT_CALLS: [&str; 15] = [
    "require", "realize", "include", "contain", "tag", "debug", "info", "notice", "warning", "err", "fail", "import",
    "break", "next", "return",
];

/// Parses a file.
pub fn parse_file(source: &Arc<Source>) -> Result<File, Diagnostic> {
    let parsed = Parser::new(source).and_then(|mut parser| parser.file());
    parsed.map_err(|(at, message)| source.diagnostic(at, message))
}

/// Parses one expression and nothing behind it.
pub fn parse_expression(source: &Arc<Source>) -> Result<Expr, Diagnostic> {
    let parsed = Parser::new(source).and_then(|mut parser| {
        let expression = parser.expression(0)?;
        parser.end()?;
        Ok(expression)
    });
    parsed.map_err(|(at, message)| source.diagnostic(at, message))
}

/// Parses expressions that follow each other; an error has its byte.
pub fn parse_statements(source: &Arc<Source>) -> Result<Expr, (u32, String)> {
    Parser::new(source)?.statements(None)
}

pub(super) struct Parser<'a> {
    pub source: &'a Arc<Source>,
    pub tokens: Vec<Token>,
    pub next: usize,
    pub depth: usize,
    /// Of the highest tree of an expression that was read since this was 0.
    pub height: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a Arc<Source>) -> Parsed<Self> {
        Ok(Self { source, tokens: tokens(&source.text)?, next: 0, depth: 0, height: 0 })
    }

    pub fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    pub fn second(&self) -> &Token {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)]
    }

    pub fn at(&self) -> u32 {
        self.peek().at
    }

    pub fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    pub fn skip(&mut self) {
        self.next += 1;
    }

    pub fn is(&self, mark: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Mark(found) if *found == mark)
    }

    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Name(found) if found == word)
    }

    pub fn accept(&mut self, mark: &str) -> bool {
        let is_found = self.is(mark);
        self.next += usize::from(is_found);
        is_found
    }

    pub fn expect(&mut self, mark: &str, purpose: &str) -> Parsed<()> {
        if self.accept(mark) { Ok(()) } else { self.unexpected(&format!("`{mark}` {purpose}")) }
    }

    /// For a bracket, which is shown where it was opened if its end is missing.
    pub fn close(&mut self, mark: &str, opened: u32) -> Parsed<()> {
        if self.accept(mark) {
            return Ok(());
        }
        match self.peek().kind {
            TokenKind::End => Err((opened, format!("expected `{mark}` to close what begins here, found the end"))),
            _ => self.unexpected(&format!("`{mark}` or `,`")),
        }
    }

    pub fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        Err((self.at(), format!("expected {expected}, found {}", self.peek().kind.describe())))
    }

    pub fn not_offered<T>(&self, at: u32, what: &str) -> Parsed<T> {
        Err((at, format!("{what}: not offered, because no catalog is compiled here")))
    }

    pub fn end(&mut self) -> Parsed<()> {
        match self.peek().kind {
            TokenKind::End => Ok(()),
            _ => self.unexpected("an operator or the end"),
        }
    }

    /// Expressions up to `closing`, or to the end.
    pub fn statements(&mut self, closing: Option<&str>) -> Parsed<Expr> {
        let at = self.at();
        let mut statements = Vec::new();
        loop {
            while self.accept(";") {}
            let is_end = match closing {
                Some(mark) => self.is(mark) || self.peek().kind == TokenKind::End,
                None => self.peek().kind == TokenKind::End,
            };
            if is_end {
                break;
            }
            statements.push(self.statement()?);
        }
        let kind = match statements.len() {
            0 => Kind::Nop,
            1 => return Ok(statements.remove(0)),
            _ => Kind::Block(statements),
        };
        Ok(Expr { at, kind })
    }

    pub fn statement(&mut self) -> Parsed<Expr> {
        let at = self.at();
        if let TokenKind::Name(name) = &self.peek().kind
            && STATEMENT_CALLS.contains(&name.as_str())
            && self.begins_argument(self.second())
        {
            let name = Arc::from(name.as_str());
            self.skip();
            let mut arguments = vec![self.expression(ASSIGNMENT)?];
            while self.accept(",") {
                arguments.push(self.expression(ASSIGNMENT)?);
            }
            let call = Call { callee: Callee::Name(name), arguments, block: None, is_chained: false };
            return Ok(Expr { at, kind: Kind::Call(Box::new(call)) });
        }
        let expression = self.expression(0)?;
        match &expression.kind {
            Kind::Name(name) if self.is("{") => {
                return self.not_offered(at, &format!("a resource of the type `{name}`"));
            }
            Kind::TypeName(name) if self.is("{") => return self.not_offered(at, &format!("defaults of `{name}`")),
            _ => {}
        }
        if let (Kind::Name(name), true) = (&expression.kind, self.begins_argument(self.peek())) {
            return Err((self.at(), format!("expected parentheses around the arguments of `{name}`")));
        }
        Ok(expression)
    }

    fn begins_argument(&self, token: &Token) -> bool {
        match &token.kind {
            TokenKind::Name(name) => !matches!(name.as_str(), "in" | "and" | "or" | "else" | "elsif"),
            TokenKind::Mark(mark) => *mark == "!" || (*mark == "[" && token.is_spaced),
            TokenKind::End => false,
            _ => true,
        }
    }

    /// An expression whose operators bind at least as strongly as `least`.
    pub fn expression(&mut self, least: u8) -> Parsed<Expr> {
        self.depth += 1;
        let height_beside = std::mem::take(&mut self.height);
        self.check_height(self.depth)?;
        let mut left = self.operand()?;
        let mut height = self.height + 1;
        loop {
            let at = self.at();
            height = height.max(self.height) + usize::from(self.height > 0);
            self.check_height(height)?;
            self.height = 0;
            let mark = match &self.peek().kind {
                TokenKind::Mark(mark) => *mark,
                TokenKind::Name(name) if name == "in" => "in",
                TokenKind::Name(name) if name == "and" => "and",
                TokenKind::Name(name) if name == "or" => "or",
                _ => break,
            };
            if let Some((operator, power)) = Operator::of(mark) {
                if power < least {
                    break;
                }
                self.skip();
                let right = self.expression(power + 1)?;
                left = Expr { at, kind: Kind::Binary(operator, Box::new((left, right))) };
            } else if mark == "?" && SELECTOR >= least {
                left = self.selector(left)?;
            } else if mark == "=" && ASSIGNMENT >= least {
                self.skip();
                let right = self.expression(ASSIGNMENT)?;
                left = Expr { at, kind: Kind::Assign(Box::new((left, right))) };
            } else {
                self.refuse_catalog_operators(mark)?;
                break;
            }
        }
        self.depth -= 1;
        self.height = height.max(height_beside);
        Ok(left)
    }

    pub fn check_height(&self, height: usize) -> Parsed<()> {
        if height <= PUPPET_NESTING_MAX {
            return Ok(());
        }
        Err((
            self.at(),
            format!("this is nested, or goes on, for more than {PUPPET_NESTING_MAX} levels; write it in steps"),
        ))
    }

    fn refuse_catalog_operators(&self, mark: &str) -> Parsed<()> {
        match mark {
            "->" | "~>" | "<-" | "<~" => self.not_offered(self.at(), &format!("the order of resources (`{mark}`)")),
            "<|" | "<<|" => self.not_offered(self.at(), "a collector of resources"),
            "+=" | "-=" => Err((self.at(), format!("`{mark}` does not exist any more; give the result another name"))),
            _ => Ok(()),
        }
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let (power, wrap): (u8, fn(Box<Expr>) -> Kind) = match &self.peek().kind {
            TokenKind::Mark("!") => (NOT, Kind::Not),
            TokenKind::Mark("-") => (MINUS, Kind::Minus),
            TokenKind::Mark("*") => (SPLAT, Kind::Splat),
            _ => {
                let first = self.primary()?;
                return self.chain(first);
            }
        };
        self.skip();
        let inner = self.expression(power)?;
        let kind = match inner.kind {
            // The smallest integer has no positive counterpart, so signs belong to numbers.
            Kind::Integer(value) if power == MINUS => Kind::Integer(-value),
            Kind::Float(value) if power == MINUS => Kind::Float(-value),
            kind => wrap(Box::new(Expr { at: inner.at, kind })),
        };
        Ok(Expr { at, kind })
    }

    /// What follows an operand directly: `[keys]`, `.function`, the arguments of a type.
    fn chain(&mut self, mut left: Expr) -> Parsed<Expr> {
        loop {
            let at = self.at();
            self.height += usize::from(self.is("[") || self.is("."));
            self.check_height(self.height)?;
            if self.is("[") && !self.peek().is_spaced {
                self.skip();
                let keys = self.list("]", at)?;
                if keys.is_empty() {
                    return Err((at, "expected a key or an index between the brackets".to_owned()));
                }
                left = Expr { at: left.at, kind: Kind::Access(Box::new(left), keys) };
            } else if self.accept(".") {
                left = self.chained_call(left)?;
            } else if self.is("(") && is_type(&left) {
                self.skip();
                let at = left.at;
                let arguments = self.list(")", at)?;
                let block = self.block()?;
                let call = Call { callee: Callee::Type(left), arguments, block, is_chained: false };
                left = Expr { at, kind: Kind::Call(Box::new(call)) };
            } else {
                return Ok(left);
            }
        }
    }

    fn chained_call(&mut self, receiver: Expr) -> Parsed<Expr> {
        let at = self.at();
        let TokenKind::Name(name) = self.peek().kind.clone() else {
            return self.unexpected("the name of a function after `.`");
        };
        self.skip();
        let mut arguments = vec![receiver];
        if self.is("(") {
            let opened = self.at();
            self.skip();
            arguments.extend(self.list(")", opened)?);
        }
        let block = self.block()?;
        let call = Call { callee: Callee::Name(name.into()), arguments, block, is_chained: true };
        Ok(Expr { at, kind: Kind::Call(Box::new(call)) })
    }

    /// Expressions up to a closing bracket. Those with `=>` that follow each other are one hash.
    fn list(&mut self, closing: &str, opened: u32) -> Parsed<Vec<Expr>> {
        let mut items: Vec<Expr> = Vec::new();
        let mut last_is_bare = false;
        while !self.accept(closing) {
            let item = self.expression(ASSIGNMENT)?;
            if self.accept("=>") {
                let value = self.expression(ASSIGNMENT)?;
                match items.last_mut() {
                    Some(Expr { kind: Kind::Hash(entries), .. }) if last_is_bare => entries.push((item, value)),
                    _ => items.push(Expr { at: item.at, kind: Kind::Hash(vec![(item, value)]) }),
                }
                last_is_bare = true;
            } else {
                items.push(item);
                last_is_bare = false;
            }
            if !self.accept(",") {
                self.close(closing, opened)?;
                break;
            }
        }
        Ok(items)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.take();
        let at = token.at;
        let kind = match token.kind {
            TokenKind::Name(name) => return self.word(&name, at),
            TokenKind::TypeName(name) => Kind::TypeName(name.into()),
            TokenKind::Variable(name) => Kind::Variable(name.into()),
            TokenKind::Integer(value) => Kind::Integer(value),
            TokenKind::Float(value) => Kind::Float(value),
            TokenKind::Text(text) => Kind::Text(text.into()),
            TokenKind::Interpolated(parts) => Kind::Interpolated(self.parts(parts)?),
            TokenKind::Regex(text) => Kind::Regex(text.into()),
            TokenKind::Mark("(") => {
                let inner = self.expression(0)?;
                self.close(")", at)?;
                Kind::Parentheses(Box::new(inner))
            }
            TokenKind::Mark("[") => Kind::Array(self.array(at)?),
            TokenKind::Mark("{") => Kind::Hash(self.hash(at)?),
            TokenKind::Mark("@" | "@@") => return self.not_offered(at, "virtual and exported resources"),
            found => return Err((at, format!("expected a value, found {}", found.describe()))),
        };
        Ok(Expr { at, kind })
    }

    /// An array's items; each `a => b` is a hash of its own.
    fn array(&mut self, opened: u32) -> Parsed<Vec<Expr>> {
        let items = self.list("]", opened)?;
        let split = |item: Expr| match item {
            Expr { at, kind: Kind::Hash(entries) } if self.source.text.as_bytes().get(at as usize) != Some(&b'{') => {
                entries.into_iter().map(|entry| Expr { at, kind: Kind::Hash(vec![entry]) }).collect()
            }
            other => vec![other],
        };
        Ok(items.into_iter().flat_map(split).collect())
    }

    pub fn hash(&mut self, opened: u32) -> Parsed<Vec<(Expr, Expr)>> {
        let mut entries = Vec::new();
        while !self.accept("}") {
            let key = self.expression(ASSIGNMENT)?;
            if let Kind::Text(text) | Kind::Name(text) = &key.kind {
                let is_same =
                    |(other, _): &(Expr, Expr)| matches!(&other.kind, Kind::Text(o) | Kind::Name(o) if o == text);
                if entries.iter().any(is_same) {
                    return Err((key.at, format!("the key `{text}` is there twice")));
                }
            }
            self.expect("=>", "after the key of a hash")?;
            entries.push((key, self.expression(ASSIGNMENT)?));
            if !self.accept(",") {
                self.close("}", opened)?;
                break;
            }
        }
        Ok(entries)
    }

    fn word(&mut self, name: &str, at: u32) -> Parsed<Expr> {
        let kind = match name {
            "undef" => Kind::Undef,
            "default" => Kind::Default,
            "true" => Kind::Boolean(true),
            "false" => Kind::Boolean(false),
            "if" | "unless" => self.branches(name == "unless")?,
            "case" => self.case(at)?,
            "and" | "or" | "in" | "else" | "elsif" => return Err((at, format!("expected a value, found `{name}`"))),
            "class" | "define" | "node" | "site" | "application" if !self.is("(") => {
                return self.not_offered(at, &format!("the definition of a {name}"));
            }
            "function" => return Err((at, "a function is defined at the top of a file, not within code".to_owned())),
            _ if self.is("(") => self.call(name, at)?,
            _ if name.contains('-') => Kind::Text(name.into()),
            _ => Kind::Name(name.trim_start_matches("::").into()),
        };
        Ok(Expr { at, kind })
    }

    fn call(&mut self, name: &str, at: u32) -> Parsed<Kind> {
        self.skip();
        let arguments = self.list(")", at)?;
        if name == "apply" && self.is("{") {
            let code = self.raw_block()?;
            return Ok(Kind::Catalog(Box::new(CatalogBlock { arguments, code })));
        }
        let name: Arc<str> = name.trim_start_matches("::").into();
        let block = self.block()?;
        Ok(Kind::Call(Box::new(Call { callee: Callee::Name(name), arguments, block, is_chained: false })))
    }

    /// The text between braces, whatever it is.
    fn raw_block(&mut self) -> Parsed<Arc<str>> {
        let opened = self.take();
        let mut braces = 1_usize;
        loop {
            let token = self.take();
            match token.kind {
                TokenKind::Mark("{") => braces += 1,
                TokenKind::Mark("}") if braces == 1 => {
                    return Ok(self.source.text[opened.end as usize..token.at as usize].into());
                }
                TokenKind::Mark("}") => braces -= 1,
                TokenKind::End => return Err((opened.at, "the block that begins here has no `}`".to_owned())),
                _ => {}
            }
        }
    }
}

fn is_type(expression: &Expr) -> bool {
    match &expression.kind {
        Kind::TypeName(_) => true,
        Kind::Access(inner, _) => is_type(inner),
        _ => false,
    }
}
