//! Configuration files, damaged: settings or a list of what is wrong, never a panic.

use std::fs;

use podium::config::{Overrides, load_agent, load_server};

use super::target::{Target, Verdict};

const WORDS: [&[u8]; 18] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\"\"\"",
    b"${",
    b"${?x}",
    b"${webserver}",
    b"=",
    b"+=",
    b"\n",
    b"#",
    b"include \"x\"",
    b"99999999999999999999",
    b"-1",
    b"null",
    b"\xFF",
];

/// What both loaders refuse, they explain.
#[test]
fn files() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["c.pem", "k.pem", "ca.pem", "crl.pem"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    fs::create_dir(directory.path().join("code")).unwrap();
    let file = directory.path().join("podium.conf");
    Target { name: "hocon", words: &WORDS, cases: 300 }.run(|_, input| {
        fs::write(&file, input).unwrap();
        let server = load_server(directory.path()).map(drop);
        let agent = load_agent(directory.path(), &Overrides::default()).map(drop);
        for problems in [&server, &agent].into_iter().filter_map(|loaded| loaded.as_ref().err()) {
            assert!(!problems.to_string().is_empty());
        }
        if server.is_ok() || agent.is_ok() { Verdict::Sound } else { Verdict::Refused }
    });
}
