//! A Puppet run on demand (pxp-agent, modules/pxp-module-puppet): reads what is asked from standard input, runs
//! `puppet agent` once, or twice if another run was in the way, and prints what the last run report says.
//!
//! * [`flags`] are the words that may be given to Puppet.
//! * [`run`] is the order of events.
//! * [`report`] reads the report, of which a few lines of many thousands matter.

pub mod flags;
pub mod report;
pub mod run;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use report::Report;

/// Why a run was not a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request was not understood, or holds a word that is not permitted.
    InvalidJson,
    /// There is no Puppet.
    NoPuppetBin,
    /// The run has left no report.
    NoLastRunReport,
    /// The report cannot be read.
    InvalidLastRunReport,
    /// `puppet agent --disable` is in effect.
    AgentDisabled,
    /// Another run did not end in time.
    AgentLocked,
    /// Puppet could not be executed.
    AgentFailedToStart,
    /// Puppet says that it failed.
    AgentExitNonZero,
}

/// What is printed: every member is there in pxp-agent's own order of keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    time: String,
    transaction_uuid: String,
    environment: String,
    status: String,
    metrics: Map<String, Value>,
    exitcode: i64,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<ErrorType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The exit code of a Puppet that has not run.
const NOT_RUN: i64 = -1;

impl Outcome {
    fn of(report: Report, exitcode: i64) -> Self {
        let number = |value: f64| {
            let whole = value.fract() == 0.0 && value.abs() < 1e15;
            if whole { Value::from(value as i64) } else { Number::from_f64(value).map_or(Value::Null, Value::Number) }
        };
        Self {
            time: report.time,
            transaction_uuid: report.transaction_uuid,
            environment: report.environment,
            status: report.status,
            metrics: report.metrics.into_iter().map(|(name, value)| (name, number(value))).collect(),
            exitcode,
            version: 1,
            error_type: None,
            error: None,
        }
    }

    fn failed(error_type: ErrorType, error: impl Into<String>, exitcode: i64) -> Box<Self> {
        Self::of(Report::unknown(), exitcode).with_error(error_type, error)
    }

    fn with_error(self, error_type: ErrorType, error: impl Into<String>) -> Box<Self> {
        Box::new(Self { error_type: Some(error_type), error: Some(error.into()), ..self })
    }

    /// The exit code of the module itself.
    pub fn module_exit_code(&self) -> u8 {
        u8::from(self.error.is_some())
    }
}
