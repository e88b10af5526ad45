//! What the operator's commands print: text for people, JSON for programs, failures with their exit code. A reader that
//! goes away (`| head`) ends the printing, not the program.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use crate::https::HttpError;

/// Exit code of work that failed.
pub const EXIT_FAILED: u8 = 1;

/// Exit code of wrong usage or configuration.
pub const EXIT_USAGE: u8 = 2;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON value on standard output.
    Json,
}

/// Why a command of the operator ends early.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage or configuration.
    Usage(String),
    /// No answer from the server.
    Unreachable(HttpError),
    /// The server refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// `puppetlabs.orchestrator/unknown-job` and the like.
        kind: String,
        /// For people.
        message: String,
    },
    /// Anything else.
    Other(String),
}

impl Failure {
    /// The exit code that goes with it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Unreachable(_) | Self::Refused { .. } | Self::Other(_) => EXIT_FAILED,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Other(message) => f.write_str(message),
            Self::Unreachable(error) => error.fmt(f),
            Self::Refused { status: 401, message, .. } => {
                write!(f, "{message} (status 401); log in with: podium access login")
            }
            Self::Refused { status, kind, message } => write!(f, "{message} ({kind}, status {status})"),
        }
    }
}

/// Turns a command's outcome into the process's exit code, and tells on standard error what went wrong.
pub fn finish(outcome: Result<u8, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            note(&format!("podium: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A line for people on standard error.
pub fn note(line: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr(), "{}", without_control(line));
}

/// Standard output, or what stands for it in a test.
pub struct Output {
    sink: Box<dyn Write>,
    terminal: bool,
    gone: bool,
}

impl Output {
    /// The process's standard output.
    pub fn stdout() -> Self {
        Self { sink: Box::new(io::stdout()), terminal: io::stdout().is_terminal(), gone: false }
    }

    /// Any other sink.
    pub fn to(sink: Box<dyn Write>) -> Self {
        Self { sink, terminal: false, gone: false }
    }

    /// Prints a line, or several. Control characters in it came from a node or a task: a terminal must not obey them.
    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if self.gone {
            return;
        }
        let written = if self.terminal {
            writeln!(self.sink, "{}", without_control(line))
        } else {
            writeln!(self.sink, "{line}")
        };
        self.gone = written.and_then(|()| self.sink.flush()).is_err();
    }

    /// Prints a value, indented.
    pub fn json(&mut self, value: &Value) {
        self.line(format!("{value:#}"));
    }
}

fn without_control(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// What a terminal obeys, and what makes a text look like another: marks that turn the direction of writing.
fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() && c != '\n' && c != '\t'
}

/// A table without lines.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A node's result, indented by two: what the task printed, what went wrong, then the rest key by key.
pub fn render_result(result: &Value) -> Vec<String> {
    let Value::Object(result) = result else { return vec![format!("  {result}")] };
    let mut lines = Vec::new();
    if let Some(output) = result.get("_output") {
        lines.extend(block("STDOUT:", &plain(output)));
    }
    if let Some(error) = result.get("_error") {
        lines.extend(block("ERROR:", &error_text(error)));
    } else if let (Some(kind), Some(message)) = (result.get("kind"), result.get("msg")) {
        return block("ERROR:", &format!("{} ({})", plain(message), plain(kind)));
    }
    let rest = result.iter().filter(|(key, _)| !matches!(key.as_str(), "_output" | "_error"));
    lines.extend(rest.map(|(key, value)| format!("  {key} : {}", plain(value))));
    lines
}

fn error_text(error: &Value) -> String {
    let message = error.get("msg").map_or_else(|| error.to_string(), plain);
    match error.get("kind").and_then(Value::as_str) {
        Some(kind) => format!("{message} ({kind})"),
        None => message,
    }
}

fn block(title: &str, text: &str) -> Vec<String> {
    let title = format!("  {title}");
    std::iter::once(title).chain(text.trim_end().lines().map(|line| format!("    {line}"))).collect()
}

/// A string as it is, everything else as JSON.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A string of an object from the server, empty if it is not there.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `1 min, 5 sec`.
pub fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} sec"),
        (0, minutes, seconds) => format!("{minutes} min, {seconds} sec"),
        (hours, minutes, seconds) => format!("{hours} h, {minutes} min, {seconds} sec"),
    }
}

/// Parameters as `key : value` lines.
pub fn render_parameters(parameters: &Map<String, Value>) -> Vec<String> {
    parameters.iter().map(|(key, value)| format!("  {key} : {}", plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results() {
        let lines = |result: Value| render_result(&result).join("\n");
        assert_eq!(lines(json!({"_output": "RedHat\nx\n"})), "  STDOUT:\n    RedHat\n    x");
        assert_eq!(lines(json!({"enabled": true, "status": "running"})), "  enabled : true\n  status : running");
        let error = json!({"kind": "puppetlabs.tasks/task-error", "msg": "exit 1:\nno such file"});
        assert_eq!(
            lines(json!({"_output": "", "_error": error})),
            "  STDOUT:\n  ERROR:\n    exit 1:\n    no such file (puppetlabs.tasks/task-error)"
        );
        let lost = json!({"kind": "puppetlabs.orchestrator/execution-failure", "msg": "gone", "details": {}});
        assert_eq!(lines(lost), "  ERROR:\n    gone (puppetlabs.orchestrator/execution-failure)");
    }

    #[test]
    fn durations() {
        assert_eq!(duration(1), "1 sec");
        assert_eq!(duration(65), "1 min, 5 sec");
        assert_eq!(duration(3605), "1 h, 0 min, 5 sec");
    }

    #[test]
    fn tables_have_no_trailing_blanks() {
        let shown = table(&["NODE", "STATE"], [vec!["a".to_owned(), "connected".to_owned()]]);
        assert_eq!(shown, "NODE  STATE\na     connected");
    }

    #[test]
    fn a_reader_that_left_is_not_an_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::to(Box::new(Gone));
        output.line("a");
        output.line("b");
        assert!(output.gone);
    }

    #[test]
    fn terminals_get_no_control_characters() {
        assert_eq!(without_control("a\x1b[2Jb\n\tc"), "a\u{fffd}[2Jb\n\tc");
        assert_eq!(without_control("\u{9b}2J\u{202e}x\rä"), "\u{fffd}2J\u{fffd}x\u{fffd}ä");
    }
}
