//! Parameters of a scheduled task (orchestrator API v1, `scheduled_jobs`): values, and queries and node groups that stand for
//! names of nodes and are asked for anew by each run. Whoever may not run the task asks nothing; the others each question
//! once, not many of them, and not for long.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Submit;
use crate::clock::Stopwatch;
use crate::limits::{SCHEDULE_NAMES_MAX, SCHEDULE_QUESTIONS_MAX, SCHEDULE_QUESTIONS_TIME_MAX};
use crate::orchestrator::model::schedule::ScheduledTask;
use crate::orchestrator::model::{Refusal, RefusalKind, Scope, Subject};

/// What is behind `{"value": ..., "type": ...}` of each parameter: the value itself, or the nodes that it stands for.
pub(super) fn values(
    submit: &dyn Submit,
    subject: &Subject,
    task: ScheduledTask,
    environment: &str,
) -> Result<Map<String, Value>, Refusal> {
    let ScheduledTask { task, params, .. } = task;
    let (mut values, mut questions) = (Map::new(), Vec::new());
    for (name, wrapped) in params {
        match parameter(wrapped) {
            Parameter::Value(value) => drop(values.insert(name, value)),
            Parameter::Nodes(scope) => questions.push((name, scope)),
        }
    }
    if questions.is_empty() {
        return Ok(values);
    }
    if questions.len() > SCHEDULE_QUESTIONS_MAX {
        let number = questions.len();
        let message = format!(
            "{number} parameters are queries or node groups; {SCHEDULE_QUESTIONS_MAX} is the most of one task."
        );
        return Err(Refusal::new(RefusalKind::ValidationError, message));
    }
    submit.permit_task(subject, &task, environment)?;
    let began = Stopwatch::start();
    let (mut answers, mut total) = (HashMap::<String, Value>::new(), 0);
    for (name, scope) in questions {
        let key = serde_json::to_string(&scope).expect("a scope has string keys only");
        let answer = match answers.get(&key) {
            Some(answer) => answer.clone(),
            None => {
                in_time(began.elapsed())?;
                let answer = Value::from(submit.resolve(subject, &scope, environment)?);
                answers.insert(key, answer.clone());
                answer
            }
        };
        total += answer.as_array().map_or(0, Vec::len);
        if total > SCHEDULE_NAMES_MAX {
            let message = format!(
                "The queries and node groups among the parameters come to more than {SCHEDULE_NAMES_MAX} names of nodes."
            );
            return Err(Refusal::new(RefusalKind::ValidationError, message).with("parameter", name));
        }
        values.insert(name, answer);
    }
    Ok(values)
}

enum Parameter {
    Value(Value),
    Nodes(Scope),
}

fn parameter(mut wrapped: Value) -> Parameter {
    let value = wrapped["value"].take();
    match wrapped["type"].as_str() {
        Some("query") => Parameter::Nodes(Scope::Query(value)),
        Some("node_group") => Parameter::Nodes(Scope::NodeGroup(value.as_str().unwrap_or_default().to_owned())),
        _ => Parameter::Value(value),
    }
}

fn in_time(elapsed: Duration) -> Result<(), Refusal> {
    if elapsed < SCHEDULE_QUESTIONS_TIME_MAX {
        return Ok(());
    }
    let seconds = SCHEDULE_QUESTIONS_TIME_MAX.as_secs();
    let message =
        format!("The queries and node groups among the parameters took more than {seconds} s; try again later.");
    Err(Refusal::new(RefusalKind::PuppetdbError, message).with("cause", "busy"))
}

#[cfg(test)]
mod tests;
