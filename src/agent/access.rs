//! The agent's own access log (pxp-agent, `log-pcp-access`): one line per message that came. Messages are few, so the
//! file is opened for each line, and may be moved away at any time.
//!
//! ```text
//! [2026-03-01 10:15:30.120000] AUTHORIZATION_SUCCESS wss://broker:8142/pcp2/agent pcp://ctl/server http://puppetlabs.com/rpc_blocking_request 5381...
//! ```

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::files;
use super::metadata::timestamp;
use crate::clock::WallTime;
use crate::limits::ACCESS_LOG_FIELD_BYTES_MAX;
use crate::pcp::Envelope;

/// Where the lines go.
#[derive(Debug)]
pub struct AccessLog {
    path: PathBuf,
}

impl AccessLog {
    /// Opens the file once, to see whether that can be done.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        path.parent().map_or(Ok(()), files::create_directory)?;
        let log = Self { path };
        log.append("").map(|()| log)
    }

    /// A message that could be read, or `None` for one that could not.
    pub fn message(&self, broker: &str, envelope: Option<&Envelope<'_>>) {
        // Whatever a peer has put into a field ends neither line nor field, or makes them long.
        let field = |text: &str| -> String {
            let mut field = String::new();
            for it in text.chars() {
                if field.len() >= ACCESS_LOG_FIELD_BYTES_MAX {
                    field.push_str("...");
                    break;
                }
                field.push(if it.is_control() || it.is_whitespace() { '?' } else { it });
            }
            field
        };
        let (outcome, sender, kind, id) = match envelope {
            Some(envelope) => (
                "AUTHORIZATION_SUCCESS",
                field(envelope.sender.as_deref().unwrap_or("unknown")),
                field(&envelope.message_type),
                field(&envelope.id),
            ),
            None => ("DESERIALIZATION_ERROR", "unknown".into(), "unknown".into(), "unknown".into()),
        };
        let time = timestamp(WallTime::now()).replace('T', " ");
        let line = format!("[{}] {outcome} {broker} {sender} {kind} {id}\n", time.trim_end_matches('Z'));
        if let Err(error) = self.append(&line) {
            tracing::warn!("{}: a line of the access log is lost: {error}", self.path.display());
        }
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(files::FILE_MODE).open(&self.path)?;
        file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_per_message_whatever_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log/pcp-access.log");
        let log = AccessLog::open(path.clone()).unwrap();
        let id = "f93df7fa-5168-4f8d-a7b5-180d46019213";
        let message = json!({"id": id, "message_type": "x", "sender": "pcp://a b\n/c"}).to_string();
        log.message("wss://b:1/", Some(&Envelope::decode(message.as_bytes()).unwrap()));
        log.message("wss://b:1/", None);
        let long = json!({"id": id, "message_type": "y".repeat(600), "sender": "pcp://a/b"}).to_string();
        log.message("wss://b:1/", Some(&Envelope::decode(long.as_bytes()).unwrap()));
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        let read = format!("AUTHORIZATION_SUCCESS wss://b:1/ pcp://a?b?/c x {id}");
        let cut = format!("AUTHORIZATION_SUCCESS wss://b:1/ pcp://a/b {}... {id}", "y".repeat(512));
        assert_eq!(lines, [&read, "DESERIALIZATION_ERROR wss://b:1/ unknown unknown unknown", &cut]);
        assert_eq!(text.find(']'), Some("[2026-03-01 10:15:30.120000".len()));
    }
}
