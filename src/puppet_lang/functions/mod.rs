//! The functions of the language: one table with name, signatures and what each does, and the check of arguments against
//! the signatures. The functions themselves are in files by their subject.

mod collections;
mod control;
mod conversions;
mod data;
mod format;
mod iteration;
mod nested;
mod numbers;
mod objects;
mod results;
mod strings;
mod time;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

pub(super) use objects::of_object;

use super::eval::{Block, Evaluator, Outcome, Scope};
use super::types::{Signature, Type, parse};
use super::value::Value;

/// The arguments of a call.
pub(super) struct Arguments {
    pub values: Vec<Value>,
    pub block: Option<Block>,
    /// The scope of the call.
    pub scope: Rc<Scope>,
    pub at: u32,
}

/// A function of the table.
pub(super) struct Function {
    pub name: &'static str,
    /// What it takes, as arguments of `Callable`; any of them.
    signatures: &'static [&'static str],
    doc: &'static str,
    pub run: fn(&mut Evaluator<'_>, &mut Arguments) -> Outcome,
}

const TABLES: &[&[Function]] = &[
    iteration::TABLE,
    collections::TABLE,
    nested::TABLE,
    strings::TABLE,
    numbers::TABLE,
    conversions::TABLE,
    time::TABLE,
    data::TABLE,
    control::TABLE,
];

/// Functions that are not offered, and why.
pub const NOT_OFFERED: &[(&str, &str)] = &[
    ("include", "no catalog is compiled here; use `apply`"),
    ("require", "no catalog is compiled here; use `apply`"),
    ("contain", "no catalog is compiled here; use `apply`"),
    ("realize", "no catalog is compiled here; use `apply`"),
    ("tag", "no catalog is compiled here; use `apply`"),
    ("create_resources", "no catalog is compiled here; use `apply`"),
    ("defined", "no catalog is compiled here"),
    ("hiera", "it has been replaced by `lookup`"),
    ("hiera_array", "it has been replaced by `lookup`"),
    ("hiera_hash", "it has been replaced by `lookup`"),
    ("epp", "templates are not evaluated here"),
    ("inline_epp", "templates are not evaluated here"),
    ("template", "templates in Ruby are not evaluated here"),
    ("inline_template", "templates in Ruby are not evaluated here"),
    ("generate", "plans run no processes on the server"),
    ("file", "plans read no files of the server but with `file::read`"),
    ("binary_file", "plans read no files of the server but with `file::read`"),
    ("find_file", "plans read no files of the server but with `file::read`"),
    ("fqdn_rand", "a plan must come to the same values when it is replayed"),
    ("rand", "a plan must come to the same values when it is replayed"),
    ("scanf", "use `match` or `regsubst`"),
    ("annotate", "objects have no annotations here"),
    ("import", "files are found by their names"),
    ("prompt", "nobody sits in front of a server"),
    ("prompt::menu", "nobody sits in front of a server"),
    ("system::env", "plans do not see the server's environment variables"),
    ("write_file", "plans write no files of the server"),
    ("file::write", "plans write no files of the server"),
    ("dir::children", "plans read no directories of the server"),
    ("background", "use `parallelize`"),
    ("wait", "use `parallelize`"),
];

/// Why there is no function of a name.
pub(super) fn why_not(name: &str) -> &'static str {
    let known = NOT_OFFERED.iter().find(|(other, _)| *other == name).map(|(_, why)| *why);
    known.unwrap_or("it is not built in, and no module of the environment has it in the Puppet language")
}

/// Name, signatures and description of every function, in the order of the table.
pub fn documented() -> impl Iterator<Item = (&'static str, &'static [&'static str], &'static str)> {
    TABLES.iter().copied().flatten().map(|function| (function.name, function.signatures, function.doc))
}

struct Entry {
    function: &'static Function,
    signatures: Vec<Arc<Signature>>,
}

fn table() -> &'static HashMap<&'static str, Entry> {
    static TABLE: OnceLock<HashMap<&'static str, Entry>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let signature = |text: &&str| match parse(&format!("Callable[{text}]"), &|_| None) {
            Ok(Type::Callable(Some(signature))) => signature,
            // A test reads every signature of the table.
            _ => Arc::new(Signature { parameters: vec![], size: None, block: None, returns: None }),
        };
        let entry = |function: &'static Function| {
            (function.name, Entry { function, signatures: function.signatures.iter().map(signature).collect() })
        };
        TABLES.iter().copied().flatten().map(entry).collect()
    })
}

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    table().get(name).map(|entry| entry.function)
}

impl Function {
    /// What is wrong with the arguments.
    pub fn check(&self, arguments: &Arguments) -> Result<(), String> {
        let signatures = table().get(self.name).map(|entry| entry.signatures.as_slice()).unwrap_or_default();
        let mut problems = Vec::new();
        for signature in signatures {
            match problem(signature, arguments) {
                None => return Ok(()),
                Some(problem) => problems.push(problem),
            }
        }
        match (problems.as_slice(), signatures) {
            ([only], _) => Err(format!("`{}` {only}", self.name)),
            (_, signatures) => {
                let texts: Vec<_> = signatures
                    .iter()
                    .map(|one| Type::Callable(Some(one.clone())).to_string().replacen("Callable", "", 1))
                    .collect();
                let got: Vec<_> = arguments.values.iter().map(|one| Type::of(one).generalized().to_string()).collect();
                let block = arguments.block.as_ref().map(|_| ", and a block").unwrap_or_default();
                Err(format!("`{}` expects one of {}, got [{}]{block}", self.name, texts.join(" "), got.join(", ")))
            }
        }
    }
}

fn problem(signature: &Signature, arguments: &Arguments) -> Option<String> {
    let size = signature.arguments();
    if !size.holds(arguments.values.len()) {
        let expected = match (size.min, size.max) {
            (Some(min), Some(max)) if min == max => format!("{min} arguments"),
            (Some(min), Some(max)) => format!("between {min} and {max} arguments"),
            (min, _) => format!("at least {} arguments", min.unwrap_or(0)),
        };
        return Some(format!("expects {expected}, got {}", arguments.values.len()));
    }
    let positions = signature.parameters.iter().chain(signature.parameters.last().into_iter().cycle());
    let wrong = positions.zip(&arguments.values).enumerate().find_map(|(index, (one, value))| {
        one.problem(value).map(|problem| format!("argument {} {problem}", index + 1))
    });
    wrong.or_else(|| block_problem(signature.block.as_ref(), arguments.block.as_ref()))
}

fn block_problem(expected: Option<&Type>, block: Option<&Block>) -> Option<String> {
    match (expected, block) {
        (None, None) | (Some(Type::Optional(_)), None) => None,
        (None, Some(_)) => Some("takes no block".to_owned()),
        (Some(_), None) => Some("expects a block".to_owned()),
        (Some(Type::Optional(inner)), Some(_)) => block_problem(Some(inner), block),
        (Some(Type::Callable(Some(signature))), Some(block)) => {
            let size = signature.arguments();
            // Parameters that are typed or named are checked when the block is called.
            let takes = |count: i64| usize::try_from(count).is_ok_and(|count| block.takes(count));
            let (min, max) = (size.min.unwrap_or(0), size.max.unwrap_or(i64::MAX));
            let fits = takes(min) && (max == i64::MAX || takes(max));
            (!fits).then(|| format!("expects a block with {min} parameters"))
        }
        (Some(_), Some(_)) => None,
    }
}

impl Arguments {
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index)
    }

    /// An argument that the signature promises.
    pub fn value(&self, index: usize) -> Value {
        self.values.get(index).cloned().unwrap_or(Value::Undef)
    }

    pub fn text(&self, index: usize) -> &str {
        self.get(index).and_then(Value::as_text).unwrap_or_default()
    }

    pub fn integer(&self, index: usize) -> Option<i64> {
        match self.get(index) {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }
}
