//! The settings of `podium broker`, from pcp-broker's own files as they are: `webserver.conf`, `web-routes.conf`,
//! `pcp-broker.conf`, `authorization.conf`, `global.conf`, `metrics.conf`. On a compile node they may share their directory
//! with those of Puppet Server.

use std::path::Path;

use super::listener::{self, address, certificates};
use super::pcp_broker::{self, Role};
use super::reader::{Reader, WithoutEffect};
use super::settings::{BrokerNodeSettings, LogSettings};
use super::{Loaded, Problems, hocon, web_routes};

/// The sections that are ours, in which an unknown key is a mistake.
const OWN: &[&str] = &["global", "webserver", "web-router-service", "pcp-broker", "authorization"];

const WITHOUT_EFFECT: &[WithoutEffect<'static>] = &[
    ("global.logging-config", "use global.log.level and global.log.file"),
    ("global.hostname", "the name of the certificate is used"),
    ("global.certs", "the listener's own files are used"),
    ("metrics", "see /metrics"),
    ("web-router-service", "only the paths of the broker and of its status and metrics can be set"),
];

/// Of a listener.
const LISTENER_WITHOUT_EFFECT: &[WithoutEffect<'static>] = &[
    ("default-server", "there is one listener"),
    ("access-log-config", "use access-log of the listener"),
    ("host", "there is no plain HTTP"),
    ("port", "there is no plain HTTP"),
    ("ssl-protocols", "TLS 1.2 and 1.3 are offered"),
    ("cipher-suites", "the suites of TLS 1.3 and the AEAD suites of TLS 1.2 are offered"),
    ("max-threads", "use pcp-broker.workers"),
    ("acceptor-threads", "use pcp-broker.workers"),
    ("selector-threads", "use pcp-broker.workers"),
    ("ssl-acceptor-threads", "use pcp-broker.workers"),
    ("ssl-selector-threads", "use pcp-broker.workers"),
    ("so-linger-seconds", "connections end with a close frame"),
    ("idle-timeout-milliseconds", "use pcp-broker.idle-timeout"),
    ("queue-max-size", "see the limits that are printed at start"),
    ("request-header-max-size", "see the limits that are printed at start"),
    ("post-config-script", "there is no Jetty"),
    ("shutdown-timeout-seconds", "use pcp-broker.drain-timeout"),
    ("allow-renegotiation", "there is no renegotiation"),
];

/// Reads all `*.conf` of a directory and of its `conf.d`.
pub fn load_broker(dir: &Path) -> Result<Loaded<BrokerNodeSettings>, Problems> {
    let mut problems = Vec::new();
    let Some(tree) = hocon::load(dir, &mut problems) else { return Err(Problems(problems)) };
    let mut reader = Reader::new(&tree);
    let (mounts, routed) = web_routes::mounts(&mut reader);
    let section = listener::section(&mut reader, routed.as_deref());
    let has_own_files = reader.has(&format!("{section}.ssl-cert")) || reader.has(&format!("{section}.ssl-key"));
    let certificates = certificates(&mut reader, &[if has_own_files { &section } else { "global.certs" }]);
    let log =
        LogSettings { level: reader.log_level("global.log.level"), file: reader.log_file("global.log.file", None) };
    let listen = address(&mut reader, &section, 8142);
    let broker = pcp_broker::settings(&mut reader, &section, listen, mounts, Role::CompileNode);
    let idle: Vec<(String, &'static str)> =
        LISTENER_WITHOUT_EFFECT.iter().map(|(key, instead)| (format!("{section}.{key}"), *instead)).collect();
    let idle = idle.iter().map(|(key, instead)| (key.as_str(), *instead)).chain(WITHOUT_EFFECT.iter().copied());
    let servers = reader.subsections("webserver").into_iter().map(|name| format!("webserver.{name}"));
    let others: Vec<String> = servers.filter(|other| *other != section).collect();
    let (problems, warnings) = reader.finish_among_others(&idle.collect::<Vec<_>>(), OWN, &others);
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

    /// A directory with these files, and certificate files of no content.
    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cert.pem", "key.pem", "ca.pem", "crl.pem"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join("conf.d").join(name), text).unwrap();
        }
        dir
    }

    fn load(files: &[(&str, &str)]) -> Result<Loaded<BrokerNodeSettings>, Vec<String>> {
        let dir = directory(files);
        let prefix = format!("{}/", dir.path().display());
        load_broker(dir.path())
            .map_err(|problems| problems.to_string().replace(&prefix, "").lines().map(str::to_owned).collect())
    }

    const FILES: &str = "ssl-cert: cert.pem, ssl-key: key.pem, ssl-ca-cert: ca.pem, ssl-crl-path: crl.pem";

    #[test]
    fn a_container_s_files() {
        let webserver = format!(
            "webserver: {{ default-server: true, ssl-host: 127.0.0.1, ssl-port: 8140, client-auth: \"want\", {FILES}
               access-log-config: \"/config/request-logging.xml\", ssl-protocols: [TLSv1, \"TLSv1.1\", \"TLSv1.2\"] }}"
        );
        let loaded = load(&[
            ("webserver.conf", &webserver),
            ("global.conf", "global: { logging-config: /config/logback.xml, certs: { ssl-cert: other.pem } }"),
            (
                "metrics.conf",
                "metrics: { server-id: localhost, registries: { default: { reporters: { jmx: { enabled: true } } } } }",
            ),
            (
                "pcp-broker.conf",
                "pcp-broker: { controller-uris: [ \"wss://orch.example.com:8143/server\" ]
                  controller-allowlist: [ \"http://puppetlabs.com/inventory_request\" ]
                  controller-disconnection-graceperiod: \"45s\", max-connections: 10000, idle-timeout: 360000
                  crl-check-period: 60000, expired-conn-throttle: 30 }",
            ),
        ])
        .unwrap();
        let broker = loaded.settings.broker;
        assert_eq!(broker.listen, "127.0.0.1:8140".parse().unwrap());
        let orchestrator = controller("orch.example.com:8143", "orch.example.com", 8143, "/server/server");
        assert_eq!(broker.controllers.uris, [orchestrator]);
        assert_eq!(broker.controllers.allowlist.unwrap(), ["http://puppetlabs.com/inventory_request"]);
        assert_eq!(broker.controllers.grace_period, Duration::from_secs(45));
        assert_eq!((broker.connections_max, broker.expired_throttle), (10_000, Duration::from_millis(30)));
        let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
        for key in
            ["global.logging-config", "webserver.access-log-config", "metrics.server-id", "global.certs.ssl-cert"]
        {
            assert!(warning.message.contains(key), "{key} in {warning}");
        }
    }

    #[test]
    fn a_compile_node_s_directory() {
        let webserver = format!(
            "webserver: {{ puppet-server: {{ ssl-port: 8140, {FILES}, max-threads: 50 }}
                           pcp-broker: {{ ssl-port: 8142, client-auth: want, {FILES} }} }}"
        );
        let loaded = load(&[
            ("webserver.conf", &webserver),
            (
                "web-routes.conf",
                "web-router-service: { \"puppetlabs.pcp.broker.service/broker-service\": {
                   v1: { route: \"/pcp\", server: \"pcp-broker\" }, v2: { route: \"/pcp2\", server: \"pcp-broker\" } } }",
            ),
            ("puppetserver.conf", "jruby-puppet: { max-active-instances: 4 }, profiler: { enabled: false }"),
        ])
        .unwrap();
        assert_eq!(loaded.settings.broker.listen.port(), 8142);
        let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
        assert!(
            warning.message.ends_with("which are not read: jruby-puppet, profiler, webserver.puppet-server"),
            "{warning}"
        );
    }

    #[test]
    fn mistakes_in_our_own_sections_are_errors() {
        let problems = load(&[
            (
                "webserver.conf",
                &format!("webserver: {{ one: {{ ssl-port: 1, {FILES} }}, two: {{ ssl-port: 2, {FILES} }} }}"),
            ),
            ("pcp-broker.conf", "pcp-broker: { max-conections: 3 }, pcp-brokr: { idle-timeout: 1 }"),
            ("global.conf", "global.log.level: loud"),
        ])
        .unwrap_err();
        let expected = [
            "webserver: has the servers one, two; say in web-router-service which",
            "pcp-broker.max-conections: unknown key; did you mean pcp-broker.max-connections?",
            "pcp-brokr.idle-timeout: unknown key; did you mean pcp-broker.idle-timeout?",
            "global.log.level: invalid log level",
        ];
        for text in expected {
            assert!(problems.iter().any(|line| line.contains(text)), "no {text} in {problems:#?}");
        }
    }

    /// With a listener and this text.
    fn alone(text: &str) -> Result<Loaded<BrokerNodeSettings>, Vec<String>> {
        load(&[("webserver.conf", &format!("webserver: {{ {FILES} }}")), ("pcp-broker.conf", text)])
    }

    fn controller(authority: &str, host: &str, port: u16, path: &str) -> ControllerUri {
        let address = BrokerUri { host: host.to_owned(), port, path: path.to_owned() };
        ControllerUri { authority: authority.to_owned(), address }
    }

    #[test]
    fn controllers_keep_their_authority_as_written() {
        let loaded = alone(
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
        let Loaded { settings, warnings } = alone("").unwrap();
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
            let problems = alone(&format!("pcp-broker.controller-uris: {uris}")).expect_err(uris).join("\n");
            assert!(problems.contains("pcp-broker.controller-uris") && problems.contains(text), "{problems}");
        }
    }
}
