//! What an environment's modules define: functions, plans and type aliases, each file read once, and evaluations in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::eval::{Control, Evaluator, Failure, Host, Progress, Scope};
use super::source::{Diagnostic, Source};
use super::syntax::ast::{Definition, File, Lambda};
use super::syntax::{parse_file, problems};
use super::types::{Aliases, Type, TypeError};
use super::value::Value;

/// What a file may define.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Definitions {
    /// A function, in `functions/`.
    Function,
    /// A plan, in `plans/`.
    Plan,
    /// A type alias, in `types/`.
    Type,
}

/// Gives the files of modules.
pub trait Loader: Send + Sync {
    /// The file that should define `name`, `module::name`; its path comes first. `None` if no module has it.
    fn load(&self, kind: Definitions, name: &str) -> Option<(String, String)>;
}

impl<F: Fn(Definitions, &str) -> Option<(String, String)> + Send + Sync> Loader for F {
    fn load(&self, kind: Definitions, name: &str) -> Option<(String, String)> {
        self(kind, name)
    }
}

/// The modules of an environment as they were when each was first asked for. Many evaluations share one.
pub struct Environment {
    loader: Box<dyn Loader>,
    lambdas: Mutex<Lambdas>,
    aliases: Mutex<Aliases>,
}

/// What was read, or why it could not be; `None` if there is none.
type Lambdas = BTreeMap<(Definitions, String), Result<Option<Arc<Lambda>>, String>>;

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// A parameter of a plan, for lists and checks.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterInfo {
    /// Its name.
    pub name: String,
    /// Its type as text.
    pub data_type: String,
    /// Its default as it is written, if it has one.
    pub default: Option<String>,
}

/// Code that has been parsed and checked.
#[derive(Debug, Clone)]
pub struct Program(Arc<File>);

impl Program {
    /// Parses code; what it calls may not be there, see [`Environment::problems`].
    pub fn read(source: &Arc<Source>) -> Result<Self, Diagnostic> {
        parse_file(source).map(|file| Self(Arc::new(file)))
    }

    pub(super) fn of(file: File) -> Self {
        Self(Arc::new(file))
    }

    /// The name of the plan that it defines.
    pub fn plan(&self) -> Option<&str> {
        self.defined_plan().map(|(name, _)| &**name)
    }

    /// The parameters of the plan that it defines.
    pub fn parameters(&self) -> Vec<ParameterInfo> {
        let info = |one: &super::syntax::ast::Parameter| ParameterInfo {
            name: one.name.to_string(),
            data_type: one.type_text.as_deref().unwrap_or("Any").to_owned(),
            default: one.default_text.as_deref().map(str::to_owned),
        };
        self.defined_plan().map(|(_, plan)| plan.parameters.iter().map(info).collect()).unwrap_or_default()
    }

    fn defined_plan(&self) -> Option<(&Arc<str>, &Arc<Lambda>)> {
        self.0.definitions.iter().find_map(|one| match one {
            Definition::Plan(name, lambda) => Some((name, lambda)),
            _ => None,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is complete whenever the lock is free.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Environment {
    /// One whose files come from `loader`.
    pub fn new(loader: impl Loader + 'static) -> Self {
        Self { loader: Box::new(loader), lambdas: Mutex::default(), aliases: Mutex::new(Aliases::new()) }
    }

    /// Parses code, and makes sure that all it calls is there: `acts` says which functions the host has.
    pub fn parse(&self, source: &Arc<Source>, acts: &dyn Fn(&str) -> bool) -> Result<Program, Vec<Diagnostic>> {
        let program = Program::read(source).map_err(|error| vec![error])?;
        let problems = self.problems(&program, acts);
        if problems.is_empty() { Ok(program) } else { Err(problems) }
    }

    /// What can be known to be wrong before a program runs.
    pub fn problems(&self, program: &Program, acts: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
        let file = &program.0;
        let is_known = |name: &str| acts(name) || matches!(self.function(name), Ok(Some(_)) | Err(_));
        let defined: Vec<_> = file.definitions.iter().map(Definition::name).collect();
        problems(file, &|name| defined.contains(&name) || is_known(name))
    }

    /// Evaluates the plan that a program defines.
    pub fn run_plan(&self, program: &Program, parameters: &[(String, Value)], host: &mut dyn Host) -> Progress {
        let Some((name, lambda)) = program.defined_plan() else {
            let message = format!("{} defines no plan", program.0.source.name);
            return Progress::Failed(Box::new(Failure::new("podium/no-plan", message)));
        };
        let mut evaluator = Evaluator::new(self, host, program.0.source.clone());
        let outcome = evaluator.run_plan(name, lambda, parameters);
        ended(&evaluator, outcome)
    }

    /// Evaluates a program's statements, with variables.
    pub fn run(&self, program: &Program, variables: &[(String, Value)], host: &mut dyn Host) -> Progress {
        let scope = Scope::below(None);
        for (name, value) in variables {
            if let Err(message) = scope.set(&name.as_str().into(), value.clone()) {
                return Progress::Failed(Box::new(Failure::new("podium/variables", message)));
            }
        }
        let mut evaluator = Evaluator::new(self, host, program.0.source.clone());
        let outcome = self
            .define_all(&program.0)
            .map_err(|message| Control::Failed(Box::new(Failure::new("puppetlabs.tasks/evaluation-error", message))));
        let outcome = outcome.and_then(|()| evaluator.eval(&program.0.body, &scope));
        let outcome = match outcome {
            Err(Control::Return(_) | Control::Next(_)) => {
                evaluator.fail(0, "`return` and `next` belong into a function, a plan or a block")
            }
            other => other,
        };
        ended(&evaluator, outcome)
    }

    /// What a text defines beside its statements.
    fn define_all(&self, file: &File) -> Result<(), String> {
        for definition in &file.definitions {
            match definition {
                Definition::Alias(name, body) => {
                    let files = |name: &str| self.loader.load(Definitions::Type, name);
                    lock(&self.aliases).define(name, body, &files).map_err(|error| error.to_string())?;
                }
                Definition::Function(name, lambda) => {
                    let key = (Definitions::Function, name.to_string());
                    lock(&self.lambdas).insert(key, Ok(Some(lambda.clone())));
                }
                Definition::Plan(name, lambda) => {
                    let key = (Definitions::Plan, name.to_string());
                    lock(&self.lambdas).insert(key, Ok(Some(lambda.clone())));
                }
            }
        }
        Ok(())
    }

    /// The type of a name with arguments.
    pub fn data_type(&self, name: &str, arguments: &[Value]) -> Result<Type, TypeError> {
        let files = |name: &str| self.loader.load(Definitions::Type, name);
        lock(&self.aliases).named(name, arguments, &files)
    }

    pub(super) fn function(&self, name: &str) -> Result<Option<Arc<Lambda>>, String> {
        self.lambda(Definitions::Function, name)
    }

    fn lambda(&self, kind: Definitions, name: &str) -> Result<Option<Arc<Lambda>>, String> {
        let key = (kind, name.to_owned());
        if let Some(found) = lock(&self.lambdas).get(&key) {
            return found.clone();
        }
        let read = self.loader.load(kind, name).map(|(path, text)| read(kind, name, &Source::new(path, text)));
        let read = read.transpose();
        // Names of what does not exist are not kept: there are as many of them as anyone likes.
        if !matches!(read, Ok(None)) {
            lock(&self.lambdas).insert(key, read.clone());
        }
        read
    }
}

fn read(kind: Definitions, name: &str, source: &Arc<Source>) -> Result<Arc<Lambda>, String> {
    let file = parse_file(source).map_err(|error| error.to_string())?;
    let found = file.definitions.into_iter().find_map(|one| match one {
        Definition::Function(found, lambda) if kind == Definitions::Function && *found == *name => Some(lambda),
        Definition::Plan(found, lambda) if kind == Definitions::Plan && *found == *name => Some(lambda),
        _ => None,
    });
    found.ok_or_else(|| format!("{} does not define `{name}`, which its path promises", source.name))
}

fn ended(evaluator: &Evaluator<'_>, outcome: Result<Value, Control>) -> Progress {
    match outcome {
        Ok(value) | Err(Control::Next(value) | Control::Return(value)) => Progress::Finished(value),
        Err(Control::Failed(failure)) => Progress::Failed(failure),
        Err(Control::Break(at)) => {
            let message = "`break` is in no block of an iteration";
            let mut failure = Failure::new("puppetlabs.tasks/evaluation-error", message);
            failure.place = Some(evaluator.source.diagnostic(at, message));
            Progress::Failed(Box::new(failure))
        }
        Err(Control::Waiting) => Progress::Waiting,
    }
}
