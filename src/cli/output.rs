//! What the operator's commands print: text for people, JSON for programs, failures with their exit code. A reader that
//! goes away (`| head`) ends the printing, not the program. Colours are for terminals (<https://no-color.org>).

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};
use serde_json::Value;

use crate::https::HttpError;

/// Exit code of work that failed.
pub const EXIT_FAILED: u8 = 1;

/// Exit code of wrong usage or configuration.
pub const EXIT_USAGE: u8 = 2;

/// Exit code of a command that asks the orchestrator: no answer from it.
pub const EXIT_UNREACHABLE: u8 = 3;

/// The same: there is no token, or not one that is good for this.
pub const EXIT_NOT_PERMITTED: u8 = 4;

/// The same: refused for another reason, such as a job or a task that is not known.
pub const EXIT_REFUSED: u8 = 5;

/// The same: the operator would not wait any longer. What a shell says of a process that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The exit codes, for the help of commands that ask the orchestrator.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    all is well; of a job: on every node
  1    the work failed, or could not be done, on at least one node
  2    wrong usage or configuration; nothing was asked of the server
  3    the server cannot be reached, or stayed away
  4    not logged in, or not permitted
  5    the server refused for another reason
  130  interrupted by Ctrl-C; a job that was started goes on";

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON value on standard output.
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set or the configuration says no.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Flags of commands that print what a server tells.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PrintFlags {
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// When to colour [default: auto; without WHEN: always]
    #[arg(
        long,
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "always",
        value_name = "WHEN"
    )]
    pub color: Option<ColorWhen>,
}

/// Why a command of the operator ends early.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage or configuration.
    Usage(String),
    /// There is no token.
    NotLoggedIn(String),
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
    /// The exit code of a command that knows no others than these two for it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NotLoggedIn(_) => EXIT_USAGE,
            Self::Unreachable(_) | Self::Refused { .. } | Self::Other(_) => EXIT_FAILED,
        }
    }

    /// The exit code of a command that asks the orchestrator: [`EXIT_CODES`].
    pub const fn precise_exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::NotLoggedIn(_) | Self::Refused { status: 401 | 403, .. } => EXIT_NOT_PERMITTED,
            Self::Unreachable(_) | Self::Refused { status: 502..=504, .. } => EXIT_UNREACHABLE,
            Self::Refused { .. } => EXIT_REFUSED,
            Self::Other(_) => EXIT_FAILED,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::NotLoggedIn(message) | Self::Other(message) => f.write_str(message),
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

/// The same for a command that asks the orchestrator, with the codes of [`EXIT_CODES`].
pub fn conclude(outcome: Result<u8, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            note(&format!("podium: {failure}"));
            ExitCode::from(failure.precise_exit_code())
        }
    }
}

/// A line for people on standard error.
pub fn note(line: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr(), "{}", without_control(line));
}

/// What a line tells at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All went well.
    Good,
    /// Something failed.
    Bad,
    /// Neither: skipped, stopped, still on its way.
    Neutral,
    /// A title.
    Strong,
}

impl Tone {
    /// That of a state of a node, a job or a plan's job.
    pub fn of_state(state: &str) -> Option<Self> {
        match state {
            "finished" | "success" => Some(Self::Good),
            "failed" | "errored" | "failure" => Some(Self::Bad),
            "skipped" | "stopping" | "stopped" => Some(Self::Neutral),
            _ => None,
        }
    }

    /// Parameter of "select graphic rendition" (ECMA-48 8.3.117): the terminal's own green, red, yellow; bold.
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Neutral => "33",
            Self::Strong => "1",
        }
    }
}

/// Standard output, or what stands for it in a test.
pub struct Output {
    sink: Box<dyn Write>,
    terminal: bool,
    colour: bool,
    gone: bool,
}

impl Output {
    /// The process's standard output, without colours.
    pub fn stdout() -> Self {
        Self { terminal: io::stdout().is_terminal(), ..Self::to(Box::new(io::stdout())) }
    }

    /// Any other sink.
    pub fn to(sink: Box<dyn Write>) -> Self {
        Self { sink, terminal: false, colour: false, gone: false }
    }

    /// Decides about colours: the flag counts most, then `NO_COLOR`, then the configuration.
    pub fn choose_colour(&mut self, flag: Option<ColorWhen>, configured: Option<bool>) {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        self.colour = match flag {
            Some(ColorWhen::Always) => true,
            Some(ColorWhen::Never) => false,
            Some(ColorWhen::Auto) | None => self.terminal && !dumb && !is_set("NO_COLOR") && configured.unwrap_or(true),
        };
    }

    /// How many characters fit into a line, if it is one of a terminal.
    pub fn width(&self) -> Option<u16> {
        let size = self.terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten()?;
        (size.ws_col > 0).then_some(size.ws_col)
    }

    /// Prints a line, or several. Control characters in it came from a node or a task: a terminal must not obey them.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.print(line.as_ref(), None);
    }

    /// The same, in colour if there are any.
    pub fn toned(&mut self, tone: impl Into<Option<Tone>>, line: impl AsRef<str>) {
        let tone = tone.into().filter(|_| self.colour);
        self.print(line.as_ref(), tone);
    }

    fn print(&mut self, line: &str, tone: Option<Tone>) {
        if self.gone {
            return;
        }
        let clean = if self.terminal { Cow::Owned(without_control(line)) } else { Cow::Borrowed(line) };
        let written = match tone {
            Some(tone) => writeln!(self.sink, "\x1b[{}m{clean}\x1b[0m", tone.code()),
            None => writeln!(self.sink, "{clean}"),
        };
        self.gone = written.and_then(|()| self.sink.flush()).is_err();
    }

    /// Prints a value, indented.
    pub fn json(&mut self, value: &Value) {
        self.line(format!("{value:#}"));
    }

    /// Prints a table whose last column is cut at the edge of a terminal; each row has a tone of its own.
    pub fn table(&mut self, header: &[&str], rows: Vec<(Option<Tone>, Vec<String>)>) {
        let (tones, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let lines = table_lines(header, rows, self.width());
        let mut lines = lines.iter();
        lines.next().into_iter().for_each(|line| self.toned(Tone::Strong, line));
        for (line, tone) in lines.zip(tones) {
            self.toned(tone, line);
        }
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
    table_lines(header, rows, None).join("\n")
}

fn table_lines(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, width: Option<u16>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        let mut row = Row::from(row);
        if width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        let last = header.len() - 1;
        for column in table.column_iter_mut().take(last) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
