//! `GET /usage`: how many nodes there were on each day, and what was done on them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::problem::Problem;
use super::render::schedules as render;
use super::shared::{Shared, answer};
use crate::clock::WallTime;
use crate::orchestrator::usage::day_of;

/// `GET /usage`. Without dates, all days that are kept.
pub(super) async fn usage(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let parameters = Parameters::of(&uri)?;
        let events = |word: &str| match word {
            "include" => Some(true),
            "exclude" => Some(false),
            _ => None,
        };
        let with_events = parameters.word("events", events, ["include", "exclude"].into_iter())?.unwrap_or(true);
        let last = day(&parameters, "end_date")?.unwrap_or_else(|| day_of(WallTime::now()));
        let first = day(&parameters, "start_date")?;
        if first.is_some_and(|first| first > last) {
            return Err(Problem::invalid("end_date must not be before start_date.").with("parameter", "end_date"));
        }
        let days = shared.backend.usage(first.unwrap_or(0), last)?;
        let items: Vec<Value> = days.iter().map(|day| render::usage(day, with_events)).collect();
        let first = first.or(days.first().map(|day| day.day)).unwrap_or(last);
        let pagination = json!({"start_date": render::date(first), "end_date": render::date(last)});
        Ok(json!({"items": items, "pagination": pagination}))
    })
    .await
}

/// The day of a parameter, counted from 1970-01-01.
fn day(parameters: &Parameters, name: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = parameters.text(name) else { return Ok(None) };
    let midnight = format!("{text}T00:00:00Z").parse::<jiff::Timestamp>();
    match midnight {
        Ok(midnight) if text.len() == 10 => Ok(Some(midnight.as_second().div_euclid(86_400))),
        _ => {
            let message = format!("Invalid value {text:?} for {name}: it must be a date such as 2026-03-01.");
            Err(Problem::invalid(message).with("parameter", name))
        }
    }
}
