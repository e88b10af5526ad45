//! Lines as they end up in the files.

use std::path::{Path, PathBuf};

use super::*;
use crate::limits::{ACCESS_LOG_BUFFER_BYTES, ACCESS_LOG_LINE_BYTES_MAX};

/// Logs in a directory of their own.
struct Bench {
    dir: tempfile::TempDir,
    clock: Clock,
    metrics: Arc<Metrics>,
    logs: Option<AccessLogs>,
}

impl Bench {
    fn new(level: AccessLevel, format: AccessFormat) -> Self {
        let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new()));
        let logs = AccessLogs::start(2, clock, metrics.clone()).unwrap();
        let bench = Self { dir: tempfile::tempdir().unwrap(), clock, metrics, logs: Some(logs) };
        bench.configure(level, format);
        bench
    }

    fn configure(&self, level: AccessLevel, format: AccessFormat) {
        let settings = |name| AccessLogSettings { level, file: Some(self.file(name)), format };
        self.logs().messages.configure(&settings("messages")).unwrap();
        self.logs().requests.configure(&settings("requests")).unwrap();
    }

    fn logs(&self) -> &AccessLogs {
        self.logs.as_ref().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn say(&self, entry: &MessageEntry<'_>) {
        self.logs().messages.message(0, self.clock.now(), entry);
    }

    /// The end of the logs writes what is left.
    fn end(&mut self) -> (String, String) {
        self.logs = None;
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        (read(&self.file("messages")), read(&self.file("requests")))
    }
}

fn entry(verdict: Verdict) -> MessageEntry<'static> {
    MessageEntry {
        verdict,
        remote: Some("10.0.0.7:41522".parse().unwrap()),
        common_name: "web1",
        envelope: Some(["pcp://web1/agent", "http://puppetlabs.com/rpc_error_message", "538077bb", "pcp:///server"]),
    }
}

fn request(status: u16) -> RequestEntry<'static> {
    RequestEntry {
        remote: "10.0.0.7:41522".parse().unwrap(),
        common_name: Some("web1"),
        request: Some(("GET", "/pcp2/agent")),
        status,
        bytes: 0,
    }
}

/// A line's date, which is not always the same, and the rest.
fn dated(line: &str) -> (&str, &str) {
    let (before, rest) = line.split_once('[').unwrap();
    assert!(before.is_empty(), "{line}");
    rest.split_once("] ").unwrap()
}

#[test]
fn a_message_has_eight_fields() {
    let mut bench = Bench::new(AccessLevel::Info, AccessFormat::Text);
    bench.say(&entry(Verdict::Authorized));
    bench.say(&MessageEntry { envelope: None, ..entry(Verdict::Undecodable) });
    bench.say(&MessageEntry { remote: None, ..entry(Verdict::Multicast) });
    let (messages, _) = bench.end();
    let lines: Vec<_> = messages.lines().map(dated).collect();
    let fields = "pcp://web1/agent http://puppetlabs.com/rpc_error_message 538077bb pcp:///server";
    assert_eq!(lines[0].1, format!("AUTHORIZATION_SUCCESS 10.0.0.7:41522 web1 {fields}"));
    assert_eq!(lines[1].1, "DESERIALIZATION_ERROR 10.0.0.7:41522 web1 unknown unknown unknown unknown");
    assert_eq!(lines[2].1, format!("MULTICAST_UNSUPPORTED - web1 {fields}"));
    let pattern = regex::Regex::new(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}$").unwrap();
    for (date, rest) in lines {
        assert!(pattern.is_match(date), "{date}");
        assert_eq!(rest.split(' ').count(), 7);
    }
}

#[test]
fn levels_leave_lines_out() {
    let verdicts = [
        (Verdict::Authorized, "AUTHORIZATION_SUCCESS"),
        (Verdict::NotAuthorized, "AUTHORIZATION_FAILURE"),
        (Verdict::NotAuthenticated, "AUTHENTICATION_FAILURE"),
    ];
    for (level, expected) in [(AccessLevel::Info, 3), (AccessLevel::Warn, 2), (AccessLevel::Off, 0)] {
        let mut bench = Bench::new(level, AccessFormat::Text);
        for (verdict, _) in verdicts {
            bench.say(&entry(verdict));
        }
        let (messages, _) = bench.end();
        let words: Vec<&str> = messages.lines().map(|line| dated(line).1.split(' ').next().unwrap()).collect();
        assert_eq!(words, verdicts[3 - expected..].iter().map(|(_, word)| *word).collect::<Vec<_>>());
    }
}

#[test]
fn a_request_is_a_line_of_the_common_log_format() {
    let mut bench = Bench::new(AccessLevel::Info, AccessFormat::Text);
    let log = |entry: &RequestEntry<'_>| bench.logs().requests.request(1, bench.clock.now(), entry);
    log(&request(101));
    log(&RequestEntry { common_name: None, request: None, bytes: 24, ..request(400) });
    log(&RequestEntry { remote: "[::1]:7".parse().unwrap(), request: Some(("GET", "/a\" 200 0\n")), ..request(404) });
    let (_, requests) = bench.end();
    let pattern = regex::Regex::new(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]").unwrap();
    let lines: Vec<_> = requests.lines().map(|line| pattern.replace(line, "[date]").into_owned()).collect();
    assert_eq!(
        lines,
        [
            "10.0.0.7 - web1 [date] \"GET /pcp2/agent HTTP/1.1\" 101 0",
            "10.0.0.7 - - [date] \"-\" 400 24",
            "::1 - web1 [date] \"GET /a\\\"\\u0020200\\u00200\\u000a HTTP/1.1\" 404 0",
        ]
    );
}

#[test]
fn nobody_forges_a_line_or_a_field() {
    let evil = "x pcp://root/agent\n[2026-03-01 10:15:30,120] AUTHORIZATION_SUCCESS\r\u{2028}\u{85}\u{0}\u{202e}\"\\";
    for format in [AccessFormat::Text, AccessFormat::Json] {
        let mut bench = Bench::new(AccessLevel::Info, format);
        bench.say(&MessageEntry { common_name: evil, envelope: Some([evil; 4]), ..entry(Verdict::Authorized) });
        let long = "y".repeat(1_000_000);
        bench.say(&MessageEntry { envelope: Some([&long; 4]), ..entry(Verdict::Authorized) });
        bench.say(&MessageEntry { envelope: Some([""; 4]), ..entry(Verdict::Authorized) });
        let (messages, _) = bench.end();
        assert_eq!(messages.lines().count(), 3, "{messages}");
        assert!(messages.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte)), "{messages:?}");
        for (line, (sender, is_whole)) in messages.lines().zip([(evil, true), (&*long, false), ("", true)]) {
            assert!(line.len() < ACCESS_LOG_LINE_BYTES_MAX);
            if format == AccessFormat::Text {
                assert_eq!(dated(line).1.split(' ').count(), 7, "{line}");
                continue;
            }
            let read: serde_json::Value = serde_json::from_str(line).unwrap();
            let (target, outcome) = (read["target"].as_str().unwrap(), &read["outcome"]);
            assert_eq!(outcome, "AUTHORIZATION_SUCCESS");
            assert!(if is_whole { target == sender } else { target.ends_with("...") }, "{line}");
        }
    }
}

#[test]
fn json_lines_name_their_fields() {
    let mut bench = Bench::new(AccessLevel::Info, AccessFormat::Json);
    bench.say(&entry(Verdict::Authorized));
    bench.say(&MessageEntry { remote: None, envelope: None, ..entry(Verdict::Undecodable) });
    bench.logs().requests.request(1, bench.clock.now(), &request(101));
    let (messages, requests) = bench.end();
    let read = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        let time = value["time"].take();
        assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
        value.to_string()
    };
    let messages: Vec<_> = messages.lines().map(read).collect();
    assert_eq!(
        messages[0],
        serde_json::json!({
            "time": null, "outcome": "AUTHORIZATION_SUCCESS", "remote": "10.0.0.7:41522", "common_name": "web1",
            "sender": "pcp://web1/agent", "message_type": "http://puppetlabs.com/rpc_error_message", "id": "538077bb",
            "target": "pcp:///server",
        })
        .to_string()
    );
    assert_eq!(messages[1], r#"{"common_name":"web1","outcome":"DESERIALIZATION_ERROR","time":null}"#);
    assert_eq!(
        read(requests.trim_end()),
        serde_json::json!({
            "time": null, "remote": "10.0.0.7:41522", "common_name": "web1", "method": "GET", "path": "/pcp2/agent",
            "status": 101, "bytes": 0,
        })
        .to_string()
    );
}

/// A log whose thread is not there: nothing is written before the test says so.
fn without_thread(dir: &Path) -> (AccessLog, Counter) {
    let dropped = Counter::default();
    let log = AccessLog::new(Subject::Messages, 1, Clock::start(), Bell::new(), dropped.clone());
    let settings =
        AccessLogSettings { level: AccessLevel::Info, file: Some(dir.join("log")), format: AccessFormat::Text };
    log.configure(&settings).unwrap();
    (log, dropped)
}

#[test]
fn lines_that_do_not_fit_are_counted_in_the_log_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (log, dropped) = without_thread(dir.path());
    const SAID: usize = 20_000;
    for _ in 0..SAID {
        log.message(0, Moment::default(), &entry(Verdict::Authorized));
    }
    log.flush();
    log.message(0, Moment::default(), &entry(Verdict::NotAuthorized));
    log.flush();
    let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| dated(line).1).collect();
    let lost = dropped.get() as usize;
    let kept = lines.iter().filter(|line| line.starts_with("AUTHORIZATION_SUCCESS ")).count();
    assert!(lost > 0 && text.len() <= ACCESS_LOG_BUFFER_BYTES + 500, "{lost} of {}", text.len());
    assert_eq!(kept + lost, SAID);
    assert_eq!(lines[kept], format!("LINES_DROPPED - - - - - {lost}"));
    assert!(lines[kept + 1].starts_with("AUTHORIZATION_FAILURE "), "{}", lines[kept + 1]);
}

#[test]
fn what_the_disk_does_not_take_is_counted() {
    let (log, dropped) = without_thread(tempfile::tempdir().unwrap().path());
    log.reopen();
    for _ in 0..3 {
        log.message(0, Moment::default(), &entry(Verdict::Authorized));
    }
    log.flush();
    log.flush();
    assert_eq!(dropped.get(), 3);
}

#[test]
fn files_are_opened_again_and_changed_at_run_time() {
    let mut bench = Bench::new(AccessLevel::Info, AccessFormat::Text);
    bench.say(&entry(Verdict::Authorized));
    bench.logs().messages.flush();
    std::fs::rename(bench.file("messages"), bench.file("messages.1")).unwrap();
    bench.logs().messages.reopen();
    bench.configure(AccessLevel::Warn, AccessFormat::Json);
    bench.say(&entry(Verdict::Authorized));
    bench.say(&entry(Verdict::NotAuthorized));
    let (messages, _) = bench.end();
    let moved = std::fs::read_to_string(bench.file("messages.1")).unwrap();
    assert!(dated(&moved).1.starts_with("AUTHORIZATION_SUCCESS") && moved.lines().count() == 1, "{moved}");
    assert!(messages.starts_with("{\"time\"") && messages.lines().count() == 1, "{messages}");
    assert_eq!(bench.metrics.access_log_dropped.get_or_create(&Label { label: "messages" }).get(), 0);
    let wrong = AccessLogSettings {
        level: AccessLevel::Info,
        file: Some(bench.dir.path().to_owned()),
        format: AccessFormat::Text,
    };
    let log = AccessLogs::start(1, bench.clock, bench.metrics.clone()).unwrap();
    assert!(log.messages.configure(&wrong).unwrap_err().to_string().contains("cannot be opened"));
}
