//! The operator's client on a terminal (pty(7)): it asks who we are if it has no token, colours, and keeps within the edge.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use super::fake::{Fake, LOGIN, TOKEN, ok};

/// For everything that a terminal is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Our end of a terminal, and what was shown on it.
struct Terminal {
    ours: File,
    chunks: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Of so many columns; the other end is for the client.
    fn new(columns: u16) -> (Self, File) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let ours = File::from(ours);
        let (sender, chunks) = channel();
        let mut reader = ours.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // At the end Linux says that the other end is gone.
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        (Self { ours, chunks, shown: Vec::new() }, theirs.into())
    }

    /// Reads on until this is shown.
    fn wait_for(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert!(self.read(), "the client ended without {text:?} in {:?}", self.text());
        }
    }

    /// Types a line once nothing that is typed is shown: what comes earlier is thrown away.
    fn type_hidden(&mut self, line: &str) {
        let begun = Instant::now();
        while tcgetattr(&self.ours).unwrap().local_modes.contains(LocalModes::ECHO) {
            assert!(begun.elapsed() < PATIENCE, "the password would be shown");
            std::thread::yield_now();
        }
        self.ours.write_all(line.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Whether there was something to read before the end.
    fn read(&mut self) -> bool {
        match self.chunks.recv_timeout(PATIENCE) {
            Ok(chunk) => {
                self.shown.extend(chunk);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more is shown after {:?}", self.text()),
        }
    }
}

#[test]
fn who_has_no_token_is_asked_and_then_served_in_colour_within_the_edge() {
    let node = json!({"name": "web01.example.com", "connected": true, "broker": "pcp://broker.example.com/server",
                      "timestamp": "2026-03-01T10:15:30.120Z"});
    let fake = Fake::start(vec![
        (LOGIN, vec![ok(json!({"token": TOKEN}))]),
        ("GET inventory", vec![ok(json!({"items": [node]}))]),
    ]);
    std::fs::remove_file(fake.path("token")).unwrap();
    let (mut terminal, theirs) = Terminal::new(70);
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = fake.command(&["inventory"]);
    let mut child = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    // Ours and those that the command would keep for another start.
    drop((command, theirs));
    terminal.wait_for("Username: ");
    terminal.ours.write_all(b"ada\n").unwrap();
    terminal.wait_for("Password: ");
    terminal.type_hidden("correct horse\n");
    while terminal.read() {}
    let shown = terminal.text();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown}");
    assert_eq!(std::fs::read_to_string(fake.path("token")).unwrap().trim(), TOKEN);
    let body: serde_json::Value = serde_json::from_str(&fake.body(LOGIN)).unwrap();
    assert_eq!((&body["login"], &body["password"]), (&json!("ada"), &json!("correct horse")));
    assert!(!shown.contains("correct horse"), "{shown}");
    let table = shown.split_once("\x1b[1mNODE").expect("a coloured title").1;
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("web01.example.com  connected  2026-03-01T10:15:30.120Z  pcp:"), "{row:?}");
    assert!(row.ends_with('…') && row.chars().count() <= 70, "{row:?}");
}
