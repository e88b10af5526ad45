//! Configuration files, damaged: settings or a list of what is wrong, never a panic.

use podium::config::{load_agent, load_server};

use super::cases;
use super::mutator::mutate;

const SERVER: &str = r#"
global { certs { ssl-cert: c.pem, ssl-key: ${dir}/k.pem, ssl-ca-cert: ca.pem, ssl-crl-path: crl.pem }, log { level: info } }
dir = "."
webserver { pcp-broker { ssl-host: 127.0.0.1, ssl-port: 0 }, orchestrator { ssl-host: "::1", ssl-port: 8143 } }
pcp-broker { workers: 3, max-connections: 50000, max-message-size: 1048576, idle-timeout: 6m, privileged-clients: [a, b] }
orchestrator { data-dir: data, code-dir: code, task-concurrency: 7, status-interval: 2s, token-lifetime: 4h }
"#;

const AGENT: &str = r#"{"broker-ws-uris": ["wss://broker.example.com:8142/pcp2/"], "primary-uris": ["https://p:8140"],
"pcp-version": "2", "ssl-cert": "c.pem", "ssl-key": "k.pem", "ssl-ca-cert": "ca.pem", "spool-dir": "s", "loglevel": "info"}"#;

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
        std::fs::write(directory.path().join(name), "").unwrap();
    }
    std::fs::create_dir(directory.path().join("code")).unwrap();
    let file = directory.path().join("podium.conf");
    cases(300, |random| {
        let sound = if random.percent(50) { SERVER } else { AGENT };
        std::fs::write(&file, mutate(random, sound.as_bytes(), &WORDS)).unwrap();
        if let Err(problems) = load_server(directory.path()) {
            assert!(!problems.to_string().is_empty());
        }
        if let Err(problems) = load_agent(directory.path()) {
            assert!(!problems.to_string().is_empty());
        }
    });
}
