//! Query parameters and identifiers, parsed with an error that names the parameter, its value and what is allowed.

use axum::extract::Query;
use axum::http::Uri;

use super::problem::Problem;
use crate::clock::WallTime;
use crate::orchestrator::model::{JobId, PlanJobId};

/// The query parameters of a request. Of a repeated one the last counts.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads them from the request's URI.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| Problem::invalid(format!("The query string cannot be read: {error}.")))
    }

    /// All of them, as they came.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The parameter's text, if it was given and is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    /// A whole number of at most `max`.
    pub(super) fn number(&self, name: &str, max: u32) -> Result<Option<u32>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(bad(name, text, &format!("it must be an integer from 0 to {max}"))),
        }
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        parse: fn(&str) -> Option<T>,
        all: impl Iterator<Item = &'static str>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(bad(name, text, &format!("it must be one of {}", all.collect::<Vec<_>>().join(", ")))),
        }
    }

    /// `order`: whether the largest comes first.
    pub(super) fn descending(&self) -> Result<bool, Problem> {
        let parse = |text: &str| match text {
            "asc" => Some(false),
            "desc" => Some(true),
            _ => None,
        };
        Ok(self.word("order", parse, ["asc", "desc"].into_iter())?.unwrap_or(false))
    }

    /// A point in time in UTC, with or without the final `Z`.
    pub(super) fn time(&self, name: &str) -> Result<Option<WallTime>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let with_zone = text.parse::<jiff::Timestamp>();
        let timestamp = with_zone.or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>());
        match timestamp {
            Ok(timestamp) => Ok(Some(WallTime::from_millis(timestamp.as_millisecond()))),
            Err(_) => Err(bad(name, text, "it must be a time in UTC such as 2026-03-01T10:15:30Z")),
        }
    }

    /// `environment`, `production` if not given.
    pub(super) fn environment(&self) -> String {
        self.text("environment").unwrap_or("production").to_owned()
    }

    /// `start` of a list of events; the first if not given.
    pub(super) fn start(&self) -> Result<i64, Problem> {
        let Some(text) = self.text("start") else { return Ok(0) };
        text.parse().map_err(|_| bad("start", text, "it must be the integer id of an event"))
    }
}

/// The number of a job in a path.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map(JobId).map_err(|_| bad("id", text, "the id of a job is an integer"))
}

/// The number of a plan job in a path or a command.
pub(super) fn plan_job_id(text: &str) -> Result<PlanJobId, Problem> {
    text.parse().map(PlanJobId).map_err(|_| bad("id", text, "the id of a plan job is an integer"))
}

/// The number of an event in a path.
pub(super) fn event_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| bad("event-id", text, "the id of an event is an integer"))
}

fn bad(name: &str, value: &str, rule: &str) -> Problem {
    Problem::invalid(format!("Invalid value {value:?} for {name}: {rule}.")).with("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn the_last_of_a_repeated_parameter_counts_and_an_empty_one_is_absent() {
        let parameters = parameters("a=1&a=2%20x&b=");
        assert_eq!(parameters.text("a"), Some("2 x"));
        assert_eq!(parameters.text("b"), None);
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(parameters("limit=20").number("limit", 100).unwrap(), Some(20));
        for bad in ["-1", "101", "x", "1.5"] {
            let problem = parameters(&format!("limit={bad}")).number("limit", 100).unwrap_err();
            assert!(problem.message().contains(&format!("{bad:?} for limit")), "{}", problem.message());
        }
    }

    #[test]
    fn times_are_utc() {
        let expected = Some(WallTime::from_millis(1_772_360_130_000));
        assert_eq!(parameters("t=2026-03-01T10:15:30Z").time("t").unwrap(), expected);
        assert_eq!(parameters("t=2026-03-01T10:15:30").time("t").unwrap(), expected);
        assert_eq!(parameters("t=2026-03-01T11:15:30%2B01:00").time("t").unwrap(), expected);
        assert!(parameters("t=yesterday").time("t").is_err());
    }
}
