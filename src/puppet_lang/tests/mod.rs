//! Tests of the language as a whole.

mod cases;
mod fuzz;
mod replay;
mod table;

use super::{Definitions, Environment, Progress, Replay, Source, Value};

/// An environment with a few files.
fn environment() -> Environment {
    Environment::new(|kind: Definitions, name: &str| {
        let text = match (kind, name) {
            (Definitions::Function, "demo::twice") => "function demo::twice(Integer $x) >> Integer { $x * 2 }",
            (Definitions::Function, "demo::wrong") => "function demo::other() { 1 }",
            (Definitions::Function, "demo::broken") => "function demo::broken( { 1 }",
            (Definitions::Type, "Demo::Port") => "type Demo::Port = Integer[1, 65535]",
            _ => return None,
        };
        Some((format!("{name}.pp"), text.to_owned()))
    })
}

/// What a text evaluates to, or what is wrong with it.
fn evaluate(text: &str) -> Result<Value, String> {
    let environment = environment();
    let program = environment
        .parse(&Source::new("test.pp", text), &|_| false)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    match environment.run(&program, &[], &mut Replay::default()) {
        Progress::Finished(value) => Ok(value),
        Progress::Failed(failure) => Err(failure.to_string()),
        Progress::Waiting => Err("waits".to_owned()),
    }
}
