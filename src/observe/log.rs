//! The log: one line per event, in UTC, written by a thread of its own so that a slow disk never holds up a worker.
//!
//! ```text
//! 2026-03-01T10:15:30.120Z INFO  podium::broker::core connected uri=pcp://web1/agent remote=10.0.0.7:41522
//! ```
//!
//! Whatever a peer can put into a line is escaped: nobody can end a line and begin one of his own. A file that is moved
//! away is created again, so log rotation needs no signal.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::clock::WallTime;
use crate::config::settings::{LogLevel, LogSettings};
use crate::limits::LOG_TEXT_BYTES_MAX;
use crate::observe::output::{Output, OutputError};

/// Lines that wait for the disk; more are counted and dropped.
const LINES_WAITING_MAX: usize = 8192;

/// Bytes written with one system call.
const BATCH_BYTES: usize = 64 * 1024;

/// Keeps the log going; when it is dropped, what waits is written first.
#[derive(Debug)]
pub struct LogGuard {
    queue: Queue,
    writer: Option<JoinHandle<()>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // The writer ends when this arrives, or has ended by itself with its output gone.
        let _ = self.queue.lines.send(Item::End);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Sets the log of the process up. Call it once, and keep the guard to the end of `main`.
pub fn init(settings: &LogSettings) -> Result<LogGuard, OutputError> {
    let (subscriber, guard, level) = build(settings)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| OutputError {
        file: settings.file.clone(),
        message: "logging is set up already; call it once per process".to_owned(),
    })?;
    let control = Control { level, lines: guard.queue.lines.clone() };
    assert!(CONTROL.set(control).is_ok(), "there is one log, and one way to it");
    Ok(guard)
}

/// The way to the log of the process, which is one for all of it as the subscriber is.
static CONTROL: OnceLock<Control> = OnceLock::new();

struct Control {
    level: Level,
    lines: SyncSender<Item>,
}

/// What can be changed while the process runs.
type Level = reload::Handle<LevelFilter, Registry>;

/// Writes lines from this level on, and opens the file again with the next of them.
pub fn change(level: LogLevel) {
    let Some(control) = CONTROL.get() else { return };
    // It fails only if the subscriber is gone, and then there is no log.
    let _ = control.level.reload(filter(level));
    // A queue that is full, or a writer that is gone: a file that was moved away is found out all the same.
    let _ = control.lines.try_send(Item::Reopen);
}

fn build(settings: &LogSettings) -> Result<(impl Subscriber + Send + Sync + use<>, LogGuard, Level), OutputError> {
    let output = Output::open(settings.file.as_deref())?;
    let (lines, receiver) = sync_channel(LINES_WAITING_MAX);
    let queue = Queue { lines, dropped: Arc::new(AtomicU64::new(0)) };
    let dropped = queue.dropped.clone();
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&receiver, output, &dropped))
        .map_err(|error| OutputError {
            file: settings.file.clone(),
            message: format!("no thread for the log: {error}; raise the limit of processes"),
        })?;
    let (level, handle) = reload::Layer::new(filter(settings.level));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(Line).with_writer(queue.clone());
    let subscriber = tracing_subscriber::registry().with(level).with(lines);
    Ok((subscriber, LogGuard { queue, writer: Some(writer) }, handle))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// What the writer is sent.
#[derive(Debug)]
enum Item {
    Line(Box<[u8]>),
    Reopen,
    End,
}

/// The way to the writer.
#[derive(Debug, Clone)]
struct Queue {
    lines: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;

    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

/// Each call is a whole line: the subscriber formats into a buffer first.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(Item::Line(line.into())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what has come meanwhile in one batch. A batch that cannot be written (disk full) is lost: there is no better
/// place to say so, and the next one may succeed.
fn write_lines(lines: &Receiver<Item>, mut output: Output, dropped: &AtomicU64) {
    let mut batch = Vec::new();
    while let Ok(item) = lines.recv() {
        let mut ended = false;
        match item {
            Item::Line(line) => batch.extend_from_slice(&line),
            Item::Reopen => output.reopen(),
            Item::End => return,
        }
        while batch.len() < BATCH_BYTES && !ended {
            match lines.try_recv() {
                Ok(Item::Line(line)) => batch.extend_from_slice(&line),
                Ok(Item::Reopen) => output.reopen(),
                Ok(Item::End) => ended = true,
                Err(_) => break,
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line =
                format!("{} WARN  podium::log lines dropped, the disk is too slow count={lost}\n", WallTime::now());
            batch.extend_from_slice(line.as_bytes());
        }
        let _ = output.write(&batch);
        batch.clear();
        if ended {
            return;
        }
    }
}

/// The form of a line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write!(writer, "{} {:<5} {}", WallTime::now(), metadata.level().as_str(), metadata.target())?;
        let mut fields = Fields { message: String::new(), rest: String::new() };
        event.record(&mut fields);
        writeln!(writer, "{}{}", fields.message, fields.rest)
    }
}

/// The message first, then `key=value` in the order of the call.
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let line = if field.name() == "message" { &mut self.message } else { &mut self.rest };
        line.push(' ');
        if field.name() != "message" {
            line.push_str(field.name());
            line.push('=');
        }
        // A value that is too long, or whose own Display fails, leaves its beginning.
        let _ = Escaped(line).write_fmt(value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Only a value with spaces needs quotes to be told from the next key.
        if field.name() == "message" || !value.is_empty() && !value.contains([' ', '"', '=']) {
            self.add(field, format_args!("{value}"));
        } else {
            self.add(field, format_args!("{value:?}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

/// Writes control characters as escapes, and fails at [`LOG_TEXT_BYTES_MAX`], so that a value as long as the largest
/// message is not even formatted: thousands of lines may wait for the disk.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() >= LOG_TEXT_BYTES_MAX {
                self.0.push_str("...");
                return Err(fmt::Error);
            }
            // The line and paragraph separators are not control characters and yet end lines for some readers.
            if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::*;

    fn logged(level: LogLevel, work: impl FnOnce(&Path)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("logs/podium.log");
        let (subscriber, guard, _level) = build(&LogSettings { level, file: Some(file.clone()) }).unwrap();
        tracing::subscriber::with_default(subscriber, || work(&file));
        drop(guard);
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn one_line_per_event_with_time_level_target_and_fields() {
        let text = logged(LogLevel::Info, |_| {
            tracing::info!(target: "podium::broker", uri = "pcp://web1/agent", count = 3, "connection {}", "opened");
            tracing::debug!("not written");
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == "2026-03-01T10:15:30.120Z".len(), "{text}");
        assert_eq!(rest, "INFO  podium::broker connection opened uri=pcp://web1/agent count=3\n");
    }

    #[test]
    fn peers_cannot_forge_lines() {
        let evil = "x\n2026-03-01T10:15:30.120Z ERROR podium forged\u{1b}[31m\u{2028}\u{85}";
        let text = logged(LogLevel::Info, |_| {
            tracing::warn!(evil, shown = %evil, debugged = ?evil, "{evil}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(|c: char| c.is_control()), "{text:?}");
        assert_eq!(text.matches("\\n").count(), 4, "{text}");
    }

    #[test]
    fn peers_cannot_write_long_lines() {
        let long = "\u{7}x".repeat(1_000_000);
        let text = logged(LogLevel::Info, |_| {
            tracing::warn!(long, shown = %long.escape_debug(), "{long}");
        });
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 3 * LOG_TEXT_BYTES_MAX, "{}", text.len());
        assert!(text.contains("... long="), "the fields follow a message that is cut");
    }

    #[test]
    fn the_file_is_private_and_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("podium.log");
        for _ in 0..2 {
            let (subscriber, guard, _level) =
                build(&LogSettings { level: LogLevel::Info, file: Some(file.clone()) }).unwrap();
            tracing::subscriber::with_default(subscriber, || tracing::info!("start"));
            drop(guard);
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777 & !0o640, 0);
    }

    #[test]
    fn the_level_can_be_changed_at_run_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("podium.log");
        let (subscriber, guard, level) =
            build(&LogSettings { level: LogLevel::Warn, file: Some(file.clone()) }).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for (step, now) in [LogLevel::Debug, LogLevel::Error, LogLevel::Info].into_iter().enumerate() {
                tracing::info!(step, "before");
                level.reload(filter(now)).unwrap();
                tracing::debug!(step, "after");
            }
            tracing::info!("last");
        });
        drop(guard);
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("tests ").unwrap().1).collect();
        assert_eq!(lines, ["after step=0", "before step=1", "last"]);
    }

    #[test]
    fn lost_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podium.log");
        let (lines, receiver) = sync_channel(1);
        let mut queue = Queue { lines, dropped: Arc::new(AtomicU64::new(0)) };
        queue.write_all(b"kept\n").unwrap();
        queue.write_all(b"lost\n").unwrap();
        let dropped = queue.dropped.clone();
        drop(queue);
        write_lines(&receiver, Output::open(Some(&path)).unwrap(), &dropped);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("kept\n") && text.ends_with("count=1\n"), "{text}");
    }
}
