//! The bodies of `/scheduled_jobs/environment_jobs` and of the older `schedule_deploy` and `schedule_task`: from bytes to a
//! [`ScheduleSpec`]. What is done is read by the parsers of the commands that it will be.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::deploy::deploy_of;
use super::{missing, object, strings, take, take_bool, take_object, take_string, task_of};
use crate::api::problem::Problem;
use crate::clock::WallTime;
use crate::limits::{SCHEDULE_INTERVAL_MAX, SCHEDULE_INTERVAL_MIN};
use crate::orchestrator::model::schedule::{
    Calendar, Day, Repeat, Schedule, ScheduleEdit, ScheduleSpec, ScheduledTask, ScheduledWork, Timing, time_of_day,
};
use crate::orchestrator::model::{JobKind, Scope, Terms};

/// Reads `POST /scheduled_jobs/environment_jobs`.
pub(in crate::api) fn environment_job(body: &[u8]) -> Result<ScheduleSpec, Problem> {
    let mut object = object(body)?;
    let kind = kind(&take_string(&mut object, "type")?.ok_or_else(|| missing("type"))?)?;
    let input = take_object(&mut object, "input")?.ok_or_else(|| missing("input"))?;
    let environment = take_string(&mut object, "environment")?.ok_or_else(|| missing("environment"))?;
    let timing = take_object(&mut object, "schedule")?.ok_or_else(|| missing("schedule"))?;
    let (work, mut terms) = work(kind, input, &environment)?;
    terms.description = take_string(&mut object, "description")?.unwrap_or_default();
    terms.userdata = take_object(&mut object, "userdata")?.unwrap_or_default();
    Ok(ScheduleSpec { work, terms, timing: schedule(timing)? })
}

/// Reads `PUT /scheduled_jobs/environment_jobs/:id` for the schedule as it is.
pub(in crate::api) fn edit(body: &[u8], now: &Schedule) -> Result<ScheduleEdit, Problem> {
    let mut object = object(body)?;
    let own = now.spec.work.kind();
    match take_string(&mut object, "type")? {
        Some(other) if other != own.word() => {
            let message = format!("type cannot be changed from {}: make another scheduled job.", own.word());
            return Err(Problem::invalid(message).with("key", "type"));
        }
        _ => {}
    }
    let environment = take_string(&mut object, "environment")?;
    let input = take_object(&mut object, "input")?;
    let input = input.map(|input| work(own, input, environment.as_deref().unwrap_or(&now.spec.terms.environment)));
    if own == JobKind::Task && environment.as_deref() == Some("") {
        return Err(
            Problem::invalid("environment must not be empty: a task comes from one.").with("key", "environment")
        );
    }
    Ok(ScheduleEdit {
        input: input.transpose()?,
        environment,
        timing: take_object(&mut object, "schedule")?.map(schedule).transpose()?,
        description: take_string(&mut object, "description")?,
        userdata: take_object(&mut object, "userdata")?,
        enabled: take_bool(&mut object, "enabled")?,
    })
}

/// Reads `POST /command/schedule_deploy`.
pub(in crate::api) fn schedule_deploy(body: &[u8]) -> Result<ScheduleSpec, Problem> {
    let mut object = object(body)?;
    let timing = scheduled_time(&mut object)?;
    let command = deploy_of(object)?;
    Ok(ScheduleSpec { work: ScheduledWork::Deploy(command.options), terms: command.terms, timing })
}

/// Reads `POST /command/schedule_task`, whose parameters are not wrapped.
pub(in crate::api) fn schedule_task(body: &[u8]) -> Result<ScheduleSpec, Problem> {
    let mut object = object(body)?;
    let timing = scheduled_time(&mut object)?;
    let command = task_of(object)?;
    let params = command.params.into_iter().map(|(name, value)| (name, json!({"value": value}))).collect();
    let task = ScheduledTask { task: command.task, params, sensitive: Vec::new() };
    Ok(ScheduleSpec { work: ScheduledWork::Task(task), terms: command.terms, timing })
}

/// Plans are refused as `plan_run` is.
fn kind(word: &str) -> Result<JobKind, Problem> {
    match word {
        "deploy" => Ok(JobKind::Deploy),
        "task" => Ok(JobKind::Task),
        "plan" => {
            let message = "This server does not run plans yet, so it does not offer scheduled jobs of type plan.";
            Err(Problem::new(StatusCode::NOT_FOUND, "puppetlabs.orchestrator/not-offered", message).with("type", word))
        }
        other => {
            let message = format!("type must be deploy, task or plan, not {other:?}.");
            Err(Problem::invalid(message).with("key", "type"))
        }
    }
}

/// The `input` as the command that it will be; errors name its keys.
fn work(kind: JobKind, mut input: Map<String, Value>, environment: &str) -> Result<(ScheduledWork, Terms), Problem> {
    input.insert("environment".to_owned(), environment.into());
    input.remove("description");
    input.remove("userdata");
    if kind == JobKind::Deploy {
        let command = deploy_of(input)?;
        return Ok((ScheduledWork::Deploy(command.options), command.terms));
    }
    let name = take(&mut input, "name").ok_or_else(|| missing("input.name"))?;
    let params = take_object(&mut input, "parameters")?.unwrap_or_default();
    params.iter().try_for_each(|(name, value)| check_wrapped(name, value))?;
    match take_string(&mut input, "transport")?.as_deref() {
        None | Some("pxp" | "pcp") => {}
        Some(other) => {
            let message = format!("transport must be pxp, not {other:?}: other transports are not offered.");
            return Err(Problem::invalid(message).with("key", "transport"));
        }
    }
    input.insert("task".to_owned(), name);
    input.insert("params".to_owned(), Value::Object(params));
    let command = task_of(input)?;
    let task = ScheduledTask { task: command.task, params: command.params, sensitive: Vec::new() };
    Ok((ScheduledWork::Task(task), command.terms))
}

fn check_wrapped(name: &str, wrapped: &Value) -> Result<(), Problem> {
    let is_right = match wrapped {
        Value::Object(keys) => match keys.get("type") {
            None | Some(Value::Null) => keys.contains_key("value"),
            Some(Value::String(kind)) if kind == "node_group" => keys.get("value").is_some_and(Value::is_string),
            Some(Value::String(kind)) if kind == "query" => {
                matches!(keys.get("value"), Some(Value::String(_) | Value::Array(_)))
            }
            Some(_) => false,
        },
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    let rule =
        "{\"value\": ...}, and if the value stands for nodes {\"value\": ..., \"type\": \"query\"} or \"node_group\"";
    Err(Problem::invalid(format!("The parameter {name} must be given as {rule}.")).with("parameter", name))
}

/// `schedule`: when, and how often.
fn schedule(mut object: Map<String, Value>) -> Result<Timing, Problem> {
    let start =
        take_string(&mut object, "start_time")?.map(|text| instant("schedule.start_time", &text)).transpose()?;
    let interval = take_object(&mut object, "interval")?.map(interval).transpose()?;
    let calendar = take_object(&mut object, "calendar")?.map(calendar).transpose()?;
    let repeat = match (interval, calendar) {
        (Some(_), Some(_)) => {
            let message = "schedule has interval and calendar; give one of them, or none for a single run.";
            return Err(Problem::invalid(message).with("key", "schedule"));
        }
        (interval, calendar) => interval.or(calendar).unwrap_or(Repeat::Once),
    };
    let start = match (start, &repeat) {
        (Some(start), _) => start,
        // The calendar says enough.
        (None, Repeat::Calendar(_)) => WallTime::from_millis(WallTime::now().as_millis().saturating_add(1000)),
        (None, _) => return Err(missing("schedule.start_time")),
    };
    Ok(Timing { start, repeat })
}

/// `scheduled_time` and `schedule_options` of the older commands.
fn scheduled_time(object: &mut Map<String, Value>) -> Result<Timing, Problem> {
    let start = take_string(object, "scheduled_time")?.ok_or_else(|| missing("scheduled_time"))?;
    let mut options = take_object(object, "schedule_options")?.unwrap_or_default();
    let repeat = take_object(&mut options, "interval")?.map(interval).transpose()?.unwrap_or(Repeat::Once);
    Ok(Timing { start: instant("scheduled_time", &start)?, repeat })
}

/// A time with its offset is an instant, whatever the offset is. Whole seconds, as all times of schedules are shown.
fn instant(key: &str, text: &str) -> Result<WallTime, Problem> {
    match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => Ok(WallTime::from_millis(timestamp.as_second().saturating_mul(1000))),
        Err(_) => {
            let rule = "a time with its offset, such as 2026-03-02T01:00:00Z or 2026-03-02T02:00:00+01:00";
            Err(Problem::invalid(format!("{key} must be {rule}, not {text:?}.")).with("key", key))
        }
    }
}

fn interval(mut object: Map<String, Value>) -> Result<Repeat, Problem> {
    match take_string(&mut object, "units")?.as_deref() {
        Some("seconds") => {}
        None => return Err(missing("interval.units")),
        Some(other) => {
            let message = format!("interval.units must be seconds, not {other:?}.");
            return Err(Problem::invalid(message).with("key", "interval.units"));
        }
    }
    let value = take(&mut object, "value").ok_or_else(|| missing("interval.value"))?;
    let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    match seconds.filter(|seconds| (SCHEDULE_INTERVAL_MIN..=SCHEDULE_INTERVAL_MAX).contains(seconds)) {
        Some(seconds) => Ok(Repeat::Every(seconds)),
        None => {
            let (least, most) = (SCHEDULE_INTERVAL_MIN, SCHEDULE_INTERVAL_MAX);
            let message = format!("interval.value must be an integer of seconds from {least} to {most}, not {value}.");
            Err(Problem::invalid(message).with("key", "interval.value"))
        }
    }
}

/// `{"zone": "Europe/Zurich", "at": "02:30", "days": ["mon", ...]}`; all days if they are left out.
fn calendar(mut object: Map<String, Value>) -> Result<Repeat, Problem> {
    let zone = take_string(&mut object, "zone")?.ok_or_else(|| missing("calendar.zone"))?;
    let at = take_string(&mut object, "at")?.ok_or_else(|| missing("calendar.at"))?;
    let Some((hour, minute)) = time_of_day(&at) else {
        let message = format!("calendar.at must be a time of day from 00:00 to 23:59, not {at:?}.");
        return Err(Problem::invalid(message).with("key", "calendar.at"));
    };
    let given = match take(&mut object, "days") {
        None => Day::ALL.to_vec(),
        Some(days) => strings("calendar.days", days)?.iter().map(|word| day(word)).collect::<Result<_, _>>()?,
    };
    let days: Vec<Day> = Day::ALL.iter().copied().filter(|day| given.contains(day)).collect();
    if days.is_empty() {
        return Err(Problem::invalid("calendar.days must name a day, or be left out.").with("key", "calendar.days"));
    }
    Ok(Repeat::Calendar(Calendar { zone, hour, minute, days }))
}

fn day(word: &str) -> Result<Day, Problem> {
    Day::from_word(word).ok_or_else(|| {
        let known: Vec<&str> = Day::ALL.iter().map(|day| day.word()).collect();
        let message = format!("calendar.days has {word:?}; the days are {}.", known.join(", "));
        Problem::invalid(message).with("key", "calendar.days")
    })
}

/// The scope whose services a schedule needs to be checked.
pub(in crate::api) fn asked<'a>(work: &'a ScheduledWork, terms: &'a Terms) -> &'a Scope {
    static NODES: Scope = Scope::Query(Value::Null);
    let stands_for_nodes = |wrapped: &Value| wrapped["type"].is_string();
    match work {
        ScheduledWork::Task(task) if task.params.values().any(stands_for_nodes) => &NODES,
        _ => &terms.scope,
    }
}

#[cfg(test)]
mod tests;
