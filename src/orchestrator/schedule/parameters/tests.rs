//! Who may not run a task asks nothing, and those who may ask little.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::orchestrator::model::JobId;
use crate::orchestrator::schedule::Submission;
use crate::orchestrator::store::schedules::Firing;

/// Notes the questions; a query for a number has so many nodes.
struct Asked {
    may_run: bool,
    questions: Mutex<Vec<String>>,
}

impl Submit for Asked {
    fn is_ready(&self) -> bool {
        true
    }

    fn owner(&self, owner: &Subject) -> Result<Subject, Refusal> {
        Ok(owner.clone())
    }

    fn may_remove(&self, _by: &Subject, _owner: &Subject) -> Result<(), Refusal> {
        Ok(())
    }

    fn permit_task(&self, _subject: &Subject, _task: &str, _environment: &str) -> Result<(), Refusal> {
        if self.may_run { Ok(()) } else { Err(Refusal::new(RefusalKind::NotPermitted, "no")) }
    }

    fn resolve(&self, _subject: &Subject, scope: &Scope, _environment: &str) -> Result<Vec<String>, Refusal> {
        let asked = serde_json::to_string(scope).unwrap();
        let nodes = match scope {
            Scope::Query(query) => query.as_u64().unwrap_or(1),
            Scope::NodeGroup(_) | Scope::Nodes(_) => 1,
        };
        self.questions.lock().unwrap().push(asked);
        Ok((0..nodes).map(|node| format!("n{node}")).collect())
    }

    fn check(&self, _subject: &Subject, _submission: Submission) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    fn submit(&self, _subject: &Subject, _submission: Submission, _firing: Firing) -> Result<JobId, Refusal> {
        Ok(JobId(1))
    }
}

/// What becomes of parameters, and how many questions were asked for them.
fn asked(may_run: bool, params: Value) -> (Result<Map<String, Value>, Refusal>, usize) {
    let submit = Asked { may_run, questions: Mutex::default() };
    let params = params.as_object().cloned().unwrap();
    let task = ScheduledTask { task: "demo".into(), params, sensitive: vec![] };
    let values = values(&submit, &Subject::default(), task, "production");
    let asked = submit.questions.into_inner().unwrap().len();
    (values, asked)
}

fn kind(outcome: (Result<Map<String, Value>, Refusal>, usize)) -> (RefusalKind, usize) {
    (outcome.0.unwrap_err().kind, outcome.1)
}

fn queries(number: usize, query: impl Fn(usize) -> Value) -> Value {
    let one = |number| (format!("p{number}"), json!({"type": "query", "value": query(number)}));
    Value::Object((0..number).map(one).collect())
}

#[test]
fn whoever_may_not_run_the_task_asks_nothing() {
    let params = json!({"a": {"value": 1, "type": "query"}, "b": {"value": 1}});
    assert_eq!(kind(asked(false, params)), (RefusalKind::NotPermitted, 0));
}

#[test]
fn each_question_is_put_once() {
    let mut params = queries(SCHEDULE_QUESTIONS_MAX - 1, |_| json!(2));
    params["group"] = json!({"type": "node_group", "value": "2"});
    params["plain"] = json!({"value": {"type": "query"}});
    let (values, asked) = asked(true, params);
    let values = values.unwrap();
    assert_eq!((asked, values.len()), (2, SCHEDULE_QUESTIONS_MAX + 1));
    assert_eq!(
        (&values["p0"], &values["p30"], &values["group"]),
        (&json!(["n0", "n1"]), &values["p0"], &json!(["n0"]))
    );
    assert_eq!(values["plain"], json!({"type": "query"}));
}

#[test]
fn there_are_not_many_of_them() {
    let params = queries(SCHEDULE_QUESTIONS_MAX + 1, |number| json!(format!("q{number}")));
    assert_eq!(kind(asked(true, params)), (RefusalKind::ValidationError, 0));
}

#[test]
fn names_are_counted_in_every_parameter_and_time_ends() {
    let half = SCHEDULE_NAMES_MAX / 2 + 1;
    assert_eq!(kind(asked(true, queries(3, |_| json!(half)))), (RefusalKind::ValidationError, 1));
    assert_eq!(in_time(SCHEDULE_QUESTIONS_TIME_MAX - Duration::from_millis(1)), Ok(()));
    assert_eq!(in_time(SCHEDULE_QUESTIONS_TIME_MAX).unwrap_err().kind, RefusalKind::PuppetdbError);
}
