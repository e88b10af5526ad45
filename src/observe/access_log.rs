//! The access logs: one line per message (pcp-broker's PCP access log) and one per HTTP request on the broker's port
//! (Common Log Format), or the same as lines of JSON.
//!
//! ```text
//! [2026-03-01 10:15:30,120] AUTHORIZATION_SUCCESS 10.0.0.7:41522 web1 pcp://web1/agent http://puppetlabs.com/rpc_non_blocking_response 5381 pcp://ctl/orchestrator
//! 10.0.0.7 - web1 [01/Mar/2026:10:15:30 +0000] "GET /pcp2/agent HTTP/1.1" 101 0
//! ```

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use prometheus_client::metrics::counter::Counter;

use crate::clock::{Clock, Moment};
use crate::config::settings::{AccessFormat, AccessLevel, AccessLogSettings};
use crate::observe::field::{write_address, write_bare, write_ip, write_json, write_number};
use crate::observe::heap::Heap;
use crate::observe::lines::{Lines, Stamp};
use crate::observe::metrics::{Label, Metrics};
use crate::observe::output::OutputError;
use crate::observe::recorder::{Bell, Recorder};

/// Both logs of a broker, and the thread that writes them.
pub struct AccessLogs {
    /// One line per message.
    pub messages: Arc<AccessLog>,
    /// One line per HTTP request.
    pub requests: Arc<AccessLog>,
    // Behind the logs: it writes what is left of them.
    _recorder: Recorder,
}

impl AccessLogs {
    /// Both off. `clock` is that of the moments which the workers give; the thread also keeps the rates and the numbers
    /// of the process in `metrics` up to date.
    pub fn start(workers: usize, clock: Clock, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let bell = Bell::new();
        let log = |subject, label| {
            let dropped = metrics.access_log_dropped.get_or_create(&Label { label }).clone();
            Arc::new(AccessLog::new(subject, workers, clock, bell.clone(), dropped))
        };
        let messages = log(Subject::Messages, "messages");
        let requests = log(Subject::Requests, "requests");
        let written = [messages.clone(), requests.clone()];
        let flush = move || written.iter().for_each(|log| log.flush());
        let mut heap = Heap::default();
        let look = move |passed| {
            metrics.look(passed);
            heap.look(&metrics);
        };
        Ok(Self { messages, requests, _recorder: Recorder::start(bell, flush, look)? })
    }
}

/// What the broker made of a message, in the reference's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Processed, even if its target is not connected.
    Authorized,
    /// Forbidden by the policy.
    NotAuthorized,
    /// Sent in somebody else's name.
    NotAuthenticated,
    /// For more than one target.
    Multicast,
    /// No valid envelope.
    Undecodable,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Authorized => "AUTHORIZATION_SUCCESS",
            Self::NotAuthorized => "AUTHORIZATION_FAILURE",
            Self::NotAuthenticated => "AUTHENTICATION_FAILURE",
            Self::Multicast => "MULTICAST_UNSUPPORTED",
            Self::Undecodable => "DESERIALIZATION_ERROR",
        }
    }

    const fn level(self) -> AccessLevel {
        match self {
            Self::Authorized => AccessLevel::Info,
            _ => AccessLevel::Warn,
        }
    }
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct MessageEntry<'a> {
    /// What became of it.
    pub verdict: Verdict,
    /// The sender's address; `None` for an orchestrator in this process.
    pub remote: Option<SocketAddr>,
    /// The name in the sender's certificate.
    pub common_name: &'a str,
    /// Sender, message type, id and target, as the peer wrote them; `None` if they could not be read.
    pub envelope: Option<[&'a str; 4]>,
}

/// One HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct RequestEntry<'a> {
    /// The client's address.
    pub remote: SocketAddr,
    /// The name in its certificate, if it has one.
    pub common_name: Option<&'a str>,
    /// Method and path without the query, in which there may be secrets; `None` if they could not be read.
    pub request: Option<(&'a str, &'a str)>,
    /// Of the answer.
    pub status: u16,
    /// Of the answer's body.
    pub bytes: usize,
}

/// An access log: what is written, and where to. Off costs whoever calls it one look at `mode`.
pub struct AccessLog {
    subject: Subject,
    mode: AtomicU8,
    lines: Lines,
}

/// What the lines of a log are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Messages,
    Requests,
}

const OFF: u8 = 0;
const WARN: u8 = 1;
const INFO: u8 = 2;
const LEVEL: u8 = 3;
const JSON: u8 = 4;

impl AccessLog {
    /// Off, until it is configured.
    fn new(subject: Subject, workers: usize, clock: Clock, bell: Arc<Bell>, dropped: Counter) -> Self {
        Self { subject, mode: AtomicU8::new(OFF), lines: Lines::new(workers, clock, bell, dropped) }
    }

    /// From now on. What is wrong with the file leaves everything as it was.
    pub fn configure(&self, settings: &AccessLogSettings) -> Result<(), OutputError> {
        let level = match settings.level {
            AccessLevel::Off => OFF,
            AccessLevel::Warn => WARN,
            AccessLevel::Info => INFO,
        };
        if level != OFF {
            self.lines.direct(settings.file.as_deref())?;
        }
        let format = if settings.format == AccessFormat::Json { JSON } else { 0 };
        self.mode.store(level | format, Ordering::Relaxed);
        Ok(())
    }

    /// The file is opened again with the next lines.
    pub fn reopen(&self) {
        self.lines.reopen();
    }

    fn flush(&self) {
        let is_json = self.mode.load(Ordering::Relaxed) & JSON != 0;
        self.lines.flush(|out, time, lost| {
            // Writing to a vector does not fail.
            let _ = match self.subject {
                _ if is_json => writeln!(out, "{{\"time\":\"{time}\",\"outcome\":\"LINES_DROPPED\",\"count\":{lost}}}"),
                Subject::Messages => {
                    let (stamp, millis) = (time.to_logback_string(), time.as_millis().rem_euclid(1000));
                    writeln!(out, "[{stamp},{millis:03}] LINES_DROPPED - - - - - {lost}")
                }
                Subject::Requests => {
                    writeln!(out, "- - - [{}] \"LINES_DROPPED\" 0 {lost}", time.to_common_log_string())
                }
            };
        });
    }

    /// One message that came to `worker` at this moment of the log's clock.
    pub fn message(&self, worker: u16, at: Moment, entry: &MessageEntry<'_>) {
        let mode = self.mode.load(Ordering::Relaxed);
        let wanted = match entry.verdict.level() {
            AccessLevel::Info => INFO,
            AccessLevel::Warn | AccessLevel::Off => WARN,
        };
        if mode & LEVEL < wanted {
            return;
        }
        if mode & JSON == 0 {
            self.lines.add(worker, at, Stamp::Logback, |out, time| {
                out.push(b'[');
                time.write(out);
                message_text(entry, out);
            });
        } else {
            self.lines.add(worker, at, Stamp::Iso, |out, time| {
                out.extend_from_slice(b"{\"time\":\"");
                time.write(out);
                message_json(entry, out);
            });
        }
    }

    /// One request that came to `worker` at this moment of the log's clock.
    pub fn request(&self, worker: u16, at: Moment, entry: &RequestEntry<'_>) {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode & LEVEL == OFF {
            return;
        }
        if mode & JSON == 0 {
            self.lines.add(worker, at, Stamp::CommonLog, |out, time| {
                write_ip(entry.remote.ip(), out);
                out.extend_from_slice(b" - ");
                write_bare(entry.common_name.unwrap_or("-"), out);
                out.extend_from_slice(b" [");
                time.write(out);
                request_text(entry, out);
            });
        } else {
            self.lines.add(worker, at, Stamp::Iso, |out, time| {
                out.extend_from_slice(b"{\"time\":\"");
                time.write(out);
                request_json(entry, out);
            });
        }
    }
}

fn message_text(entry: &MessageEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"] ");
    out.extend_from_slice(entry.verdict.word().as_bytes());
    out.push(b' ');
    match entry.remote {
        Some(remote) => write_address(remote, out),
        None => out.push(b'-'),
    }
    out.push(b' ');
    write_bare(entry.common_name, out);
    for field in entry.envelope.unwrap_or(["unknown"; 4]) {
        out.push(b' ');
        write_bare(field, out);
    }
    out.push(b'\n');
}

fn message_json(entry: &MessageEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"outcome\":\"");
    out.extend_from_slice(entry.verdict.word().as_bytes());
    out.push(b'"');
    if let Some(remote) = entry.remote {
        out.extend_from_slice(b",\"remote\":\"");
        write_address(remote, out);
        out.push(b'"');
    }
    write_pair("common_name", entry.common_name, out);
    if let Some([sender, message_type, id, target]) = entry.envelope {
        write_pair("sender", sender, out);
        write_pair("message_type", message_type, out);
        write_pair("id", id, out);
        write_pair("target", target, out);
    }
    out.extend_from_slice(b"}\n");
}

fn request_text(entry: &RequestEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"] \"");
    match entry.request {
        Some((method, path)) => {
            write_bare(method, out);
            out.push(b' ');
            write_bare(path, out);
            out.extend_from_slice(b" HTTP/1.1");
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    write_number(u32::from(entry.status), out);
    out.push(b' ');
    write_number(u32::try_from(entry.bytes).unwrap_or(u32::MAX), out);
    out.push(b'\n');
}

fn request_json(entry: &RequestEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"remote\":\"");
    write_address(entry.remote, out);
    out.push(b'"');
    if let Some(name) = entry.common_name {
        write_pair("common_name", name, out);
    }
    if let Some((method, path)) = entry.request {
        write_pair("method", method, out);
        write_pair("path", path, out);
    }
    out.extend_from_slice(b",\"status\":");
    write_number(u32::from(entry.status), out);
    out.extend_from_slice(b",\"bytes\":");
    write_number(u32::try_from(entry.bytes).unwrap_or(u32::MAX), out);
    out.extend_from_slice(b"}\n");
}

fn write_pair(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    write_json(value, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
