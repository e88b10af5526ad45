//! The settings of `podium broker`, from pcp-broker's own sections `webserver` and `pcp-broker`.

use std::path::Path;

use super::listener::{address, certificates};
use super::pcp_broker::{self, Role};
use super::reader::{Reader, WithoutEffect};
use super::settings::{BrokerNodeSettings, LogSettings};
use super::{Loaded, Problems, hocon};

const WITHOUT_EFFECT: &[WithoutEffect] = &[
    ("global.logging-config", "use global.log.level and global.log.file"),
    ("global.hostname", "the name of the certificate is used"),
    ("webserver.client-auth", "the broker always requires a client certificate"),
    ("webserver.access-log-config", "connections are in the log"),
    ("web-router-service", "the paths are fixed"),
    ("authorization", "only controllers and pcp-broker.privileged-clients give orders; see docs/secure.md"),
    ("metrics", "see docs/watch.md"),
];

/// Reads all `*.conf` of a directory and of its `conf.d`.
pub fn load_broker(dir: &Path) -> Result<Loaded<BrokerNodeSettings>, Problems> {
    let mut problems = Vec::new();
    let Some(tree) = hocon::load(dir, &mut problems) else { return Err(Problems(problems)) };
    let mut reader = Reader::new(&tree);
    let certificates = certificates(&mut reader, &["webserver"]);
    let log =
        LogSettings { level: reader.log_level("global.log.level"), file: reader.log_file("global.log.file", None) };
    let listen = address(&mut reader, "webserver", 8142);
    let broker = pcp_broker::settings(&mut reader, listen, Role::CompileNode);
    let (problems, warnings) = reader.finish(WITHOUT_EFFECT);
    match certificates {
        Some(certificates) if problems.is_empty() => {
            Ok(Loaded { settings: BrokerNodeSettings { certificates, log, broker }, warnings })
        }
        _ => Err(Problems(problems)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::settings::{BrokerUri, ControllerUri};
    use crate::limits;

    const CERTIFICATES: &str = "webserver { ssl-cert: c.pem, ssl-key: k.pem, ssl-ca-cert: c.pem, ssl-crl-path: c.pem }";

    fn load(text: &str) -> Result<Loaded<BrokerNodeSettings>, Problems> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["c.pem", "k.pem"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::write(dir.path().join("broker.conf"), format!("{CERTIFICATES}\n{text}")).unwrap();
        load_broker(dir.path())
    }

    fn controller(authority: &str, host: &str, port: u16, path: &str) -> ControllerUri {
        let address = BrokerUri { host: host.to_owned(), port, path: path.to_owned() };
        ControllerUri { authority: authority.to_owned(), address }
    }

    #[test]
    fn controllers_keep_their_authority_as_written() {
        let loaded = load(
            "pcp-broker {
               controller-uris: [\"wss://Orch:8143/server\", \"wss://second\", \"wss://[::1]:1/a/\"]
               controller-allowlist: [x], controller-disconnection-graceperiod: \"2m\"
             }",
        );
        let controllers = loaded.unwrap().settings.broker.controllers;
        let expected = [
            controller("Orch:8143", "Orch", 8143, "/server/server"),
            controller("second", "second", 443, "/server"),
            controller("[::1]:1", "::1", 1, "/a/server"),
        ];
        assert_eq!(controllers.uris, expected);
        assert_eq!((controllers.allowlist, controllers.grace_period.as_secs()), (Some(vec!["x".to_owned()]), 120));
    }

    #[test]
    fn a_broker_may_stand_alone() {
        let Loaded { settings, warnings } = load("").unwrap();
        assert!(settings.broker.controllers.uris.is_empty() && warnings.is_empty(), "{warnings:?}");
        assert_eq!(settings.broker.controllers.grace_period, Duration::from_secs(90));
        assert_eq!(settings.broker.listen.port(), 8142);
    }

    #[test]
    fn wrong_controllers_are_told() {
        let many: Vec<String> = (0..=limits::CONTROLLERS_MAX).map(|number| format!("\"wss://c{number}\"")).collect();
        let many = format!("[{}]", many.join(", "));
        let cases = [
            ("[\"wss://a:1/x\", \"wss://a:1/y\"]", "names a:1 twice"),
            ("[\"https://a\"]", "must start with wss://"),
            ("[\"wss://a:0\"]", "must have a host and"),
            ("\"wss://a\"", "must be an array"),
            (&many, "has 17 entries; 16 is the most"),
        ];
        for (uris, text) in cases {
            let problems = load(&format!("pcp-broker.controller-uris: {uris}")).expect_err(uris).to_string();
            assert!(problems.contains("pcp-broker.controller-uris") && problems.contains(text), "{problems}");
        }
    }
}
