//! `POST /command/plan_start`, `plan_task` and `plan_finish`, as Bolt and the orchestrator_client gem send them.

use serde_json::Value;

use super::{is_task_name, missing, object, strings, take, take_object, take_string, task_of, wrong_type};
use crate::api::parameters::plan_job_id;
use crate::api::problem::Problem;
use crate::orchestrator::model::{PlanCommand, PlanEnd, PlanJobId, TaskCommand};

/// Reads `plan_start`. Values of parameters that are called sensitive go no further than this.
pub(in crate::api) fn plan_start(body: &[u8]) -> Result<PlanCommand, Problem> {
    let mut object = object(body)?;
    let plan = take_string(&mut object, "plan_name")?.ok_or_else(|| missing("plan_name"))?;
    if !is_task_name(&plan) {
        return Err(Problem::invalid(format!("{plan:?} is not a valid plan name.")).with("plan_name", plan));
    }
    let sensitive = match take(&mut object, "sensitive") {
        Some(names) => strings("sensitive", names)?,
        None => Vec::new(),
    };
    let mut params = take_object(&mut object, "params")?.unwrap_or_default();
    params.retain(|name, _| !sensitive.contains(name));
    Ok(PlanCommand {
        plan,
        environment: take_string(&mut object, "environment")?.unwrap_or_else(|| "production".to_owned()),
        params,
        sensitive,
        description: take_string(&mut object, "description")?.unwrap_or_default(),
        userdata: take_object(&mut object, "userdata")?.unwrap_or_default(),
    })
}

/// Reads `plan_task`: a task, and the plan of which it is a step.
pub(in crate::api) fn plan_task(body: &[u8]) -> Result<TaskCommand, Problem> {
    let mut object = object(body)?;
    let plan_job = plan_job(take(&mut object, "plan_job"))?;
    Ok(TaskCommand { plan_job: Some(plan_job), ..task_of(object)? })
}

/// Reads `plan_finish`.
pub(in crate::api) fn plan_finish(body: &[u8]) -> Result<PlanEnd, Problem> {
    let mut object = object(body)?;
    let plan_job = plan_job(take(&mut object, "plan_job"))?;
    let is_success = match take_string(&mut object, "status")?.as_deref() {
        Some("success") => true,
        Some("failure") => false,
        Some(other) => {
            let message = format!("status must be success or failure, not {other:?}.");
            return Err(Problem::invalid(message).with("key", "status"));
        }
        None => return Err(missing("status")),
    };
    Ok(PlanEnd { plan_job, is_success, result: object.remove("result").unwrap_or_default() })
}

fn plan_job(value: Option<Value>) -> Result<PlanJobId, Problem> {
    match value {
        Some(Value::String(text)) => plan_job_id(&text),
        Some(Value::Number(number)) => plan_job_id(&number.to_string()),
        Some(other) => Err(wrong_type("plan_job", "a string", &other)),
        None => Err(missing("plan_job")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sensitive_values_are_dropped() {
        let body = json!({"plan_name": "a::b", "params": {"x": 1, "pw": "hunter2"}, "sensitive": ["pw", "other"]});
        let command = plan_start(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (json!(command.params), command.sensitive),
            (json!({"x": 1}), vec!["pw".to_owned(), "other".to_owned()])
        );
        assert_eq!((command.plan.as_str(), command.environment.as_str()), ("a::b", "production"));
    }

    #[test]
    fn errors_name_the_key() {
        let message = |result: Result<(), Problem>| result.unwrap_err().message().to_owned();
        let start = |body: Value| message(plan_start(body.to_string().as_bytes()).map(drop));
        let finish = |body: Value| message(plan_finish(body.to_string().as_bytes()).map(drop));
        let task = |body: Value| message(plan_task(body.to_string().as_bytes()).map(drop));
        assert_eq!(start(json!({})), "The required key plan_name is missing.");
        assert_eq!(start(json!({"plan_name": "A"})), "\"A\" is not a valid plan name.");
        assert_eq!(
            start(json!({"plan_name": "a", "sensitive": "pw"})),
            "sensitive must be an array of strings, not a string."
        );
        assert_eq!(finish(json!({"status": "success"})), "The required key plan_job is missing.");
        assert_eq!(finish(json!({"plan_job": "1"})), "The required key status is missing.");
        assert_eq!(finish(json!({"plan_job": "1", "status": "ok"})), "status must be success or failure, not \"ok\".");
        assert_eq!(task(json!({"plan_job": []})), "plan_job must be a string, not an array.");
        assert_eq!(task(json!({"plan_job": "7"})), "The required key task is missing.");
    }
}
