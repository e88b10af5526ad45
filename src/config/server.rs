//! The settings of `podium server`, from Puppet Enterprise's sections `global`, `webserver`, `pcp-broker` and
//! `orchestrator`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::duration::Bare;
use super::listener::{address, certificates};
use super::pcp_broker::{self, Role, size};
use super::reader::{Reader, WithoutEffect};
use super::settings::{CodeSource, LogSettings, OrchestratorSettings, ServerSettings, WebhookSettings};
use super::{Loaded, Problems, access, database, hocon, schedules, services, web_routes};
use crate::limits;

const DATA_DIR: &str = "/var/lib/podium";
const CODE_DIR: &str = "/etc/puppetlabs/code";
const DAY: Duration = Duration::from_secs(86_400);

const WITHOUT_EFFECT: &[WithoutEffect<'static>] = &[
    ("global.logging-config", "use global.log.level and global.log.file"),
    ("global.hostname", "the name of the certificate is used"),
    ("webserver.orchestrator.client-auth", "the API accepts a client certificate and does not require one"),
    ("webserver.*.default-server", "each listener has one purpose"),
    ("webserver.pcp-broker.access-log-config", "use webserver.pcp-broker.access-log"),
    (
        "webserver.orchestrator.access-log-config",
        "requests of users are in the log at level info, all others at level debug",
    ),
    ("webserver.*.max-threads", "size the broker with pcp-broker.workers"),
    ("webserver.*.acceptor-threads", "size the broker with pcp-broker.workers"),
    ("webserver.*.selector-threads", "size the broker with pcp-broker.workers"),
    ("webserver.*.idle-timeout-milliseconds", "use pcp-broker.idle-timeout"),
    ("webserver.*.ssl-protocols", "TLS 1.2 and 1.3 are offered"),
    ("webserver.*.cipher-suites", "the suites of TLS 1.3 and the AEAD suites of TLS 1.2 are offered"),
    ("web-router-service", "only the paths of the broker and of its status and metrics can be set"),
    ("analytics", "nothing is reported"),
    ("metrics", "see docs/watch.md"),
    ("inventory", "only connections through the broker are known"),
    ("status", "the status endpoints are always on"),
    ("pcp-broker.controller-uris", "this server's own orchestrator is the only one; podium broker links to others"),
    (
        "pcp-broker.controller-allowlist",
        "this server's own orchestrator is the only one; podium broker links to others",
    ),
    (
        "pcp-broker.controller-whitelist",
        "this server's own orchestrator is the only one; podium broker links to others",
    ),
    (
        "pcp-broker.controller-disconnection-graceperiod",
        "this server's own orchestrator is the only one; podium broker links to others",
    ),
    ("orchestrator.job-prune-days-threshold", "jobs are kept"),
    ("orchestrator.pcp-timeout", "a node that is not connected when its turn has come is errored at once"),
    ("orchestrator.default-plan-timeout", "there are no plans"),
    ("orchestrator.app-management", "there are no applications"),
];

/// Reads all `*.conf` of a directory and of its `conf.d`.
pub fn load_server(dir: &Path) -> Result<Loaded<ServerSettings>, Problems> {
    let mut problems = Vec::new();
    let Some(tree) = hocon::load(dir, &mut problems) else { return Err(Problems(problems)) };
    let mut reader = Reader::new(&tree);
    let certificates = certificates(&mut reader, &["global.certs", "webserver.pcp-broker", "webserver.orchestrator"]);
    let log =
        LogSettings { level: reader.log_level("global.log.level"), file: reader.log_file("global.log.file", None) };
    let listen = address(&mut reader, "webserver.pcp-broker", 8142);
    let api_listen = address(&mut reader, "webserver.orchestrator", 8143);
    if listen == api_listen && listen.port() != 0 {
        reader.fail("webserver.orchestrator.ssl-port", format!("{listen} is the broker's address; give another port"));
    }
    let (mounts, _) = web_routes::mounts(&mut reader);
    let broker = pcp_broker::settings(&mut reader, "webserver.pcp-broker", listen, mounts, Role::Appliance);
    let orchestrator = orchestrator(&mut reader);
    let (problems, warnings) = reader.finish(WITHOUT_EFFECT);
    match certificates {
        Some(certificates) if problems.is_empty() => {
            Ok(Loaded { settings: ServerSettings { certificates, log, broker, api_listen, orchestrator }, warnings })
        }
        _ => Err(Problems(problems)),
    }
}

fn orchestrator(reader: &mut Reader<'_>) -> OrchestratorSettings {
    let year = 365 * DAY;
    let data_dir = reader.directory_to_make("orchestrator.data-dir", DATA_DIR.into());
    let services::Services { code_source, puppetdb, classifier } = services::services(reader);
    let code_dir = code_dir(reader, &code_source);
    let task_concurrency = size(reader.integer("orchestrator.task-concurrency", 1..=100_000), 250);
    let deploy_concurrency = size(reader.integer("orchestrator.global-concurrent-compiles", 1..=100_000), 8);
    let allowed = reader.integer("orchestrator.allowed-pcp-status-requests", 1..=1_000_000);
    let status_interval =
        reader.duration("orchestrator.status-interval", Bare::Seconds, Duration::from_millis(10)..=DAY);
    let task_timeout = reader.duration("orchestrator.default-task-node-timeout", Bare::Seconds, Duration::ZERO..=year);
    let prune_days = reader.integer("orchestrator.job-prune-days", 0..=36_500);
    let prune_days = prune_days.and_then(|days| u32::try_from(days).ok()).unwrap_or(30);
    let disk_reserve = reader.integer("orchestrator.disk-reserve", 0..=i64::MAX as u64);
    let deploy_timeout =
        reader.duration("orchestrator.default-deploy-node-timeout", Bare::Seconds, Duration::ZERO..=year);
    OrchestratorSettings {
        access: access::settings(reader, &data_dir),
        database: database::database(reader),
        data_dir,
        code_dir,
        task_concurrency,
        deploy_concurrency,
        allowed_status_requests: allowed.and_then(|allowed| u32::try_from(allowed).ok()).unwrap_or(35),
        status_interval: status_interval.unwrap_or(Duration::from_secs(12)),
        default_task_timeout: task_timeout.filter(|timeout| !timeout.is_zero()),
        default_deploy_timeout: deploy_timeout.filter(|timeout| !timeout.is_zero()),
        brokers: brokers(reader),
        keep_jobs: (prune_days > 0).then(|| prune_days * DAY),
        graph_dir: graph_dir(reader),
        disk_reserve: disk_reserve.unwrap_or(limits::DISK_RESERVE_BYTES),
        webhooks: WebhookSettings {
            ca: reader.file("orchestrator.webhook-ca"),
            loopback: reader.boolean("orchestrator.webhook-loopback").unwrap_or(false),
        },
        code_source,
        puppetdb,
        classifier,
        schedules: schedules::settings(reader),
    }
}

/// Names compared whole: whoever stands here is believed to say who is connected.
fn brokers(reader: &mut Reader<'_>) -> Vec<String> {
    let key = "orchestrator.brokers";
    let names = reader.texts(key).unwrap_or_default();
    if names.len() > limits::BROKERS_MAX {
        reader.fail(key, format!("has {} names; {} is the most", names.len(), limits::BROKERS_MAX));
    }
    for (index, name) in names.iter().enumerate() {
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if name.is_empty() || !is_name {
            let shown = name.escape_debug();
            reader.fail(key, format!("\"{shown}\" is not a certificate name; give it whole, as compile1.example.com"));
        } else if names[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
            reader.fail(key, format!("\"{name}\" is there twice; remove one"));
        }
    }
    names
}

fn graph_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let key = "orchestrator.graph-dir";
    let path = reader.path(key)?;
    if !path.is_dir() {
        let path = path.display();
        reader.fail(key, format!("'{path}' is not a directory; give the directory that holds <environment>.json"));
    }
    Some(path)
}

fn code_dir(reader: &mut Reader<'_>, source: &CodeSource) -> PathBuf {
    let key = "orchestrator.code-dir";
    let given = reader.path(key);
    let path = given.clone().unwrap_or_else(|| CODE_DIR.into());
    match source {
        CodeSource::Directory if path.is_dir() => {}
        CodeSource::Directory => {
            let path = path.display();
            let message = format!("'{path}' is not a directory; give the directory that holds environments/");
            if given.is_some() {
                reader.fail(key, message);
            } else {
                reader.warn(key, message);
            }
        }
        CodeSource::PuppetServer(_) if given.is_some() => {
            reader.warn(key, "has no effect; orchestrator.code-source is puppet-server");
        }
        CodeSource::PuppetServer(_) => {}
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::authorization::ClientAccess;
    use crate::config::settings::{
        AccessFormat, AccessLevel, AccessLogSettings, AccessSettings, BrokerSettings, CertificatePaths, ClientAuth,
        ControllerSettings, LogLevel, MissedRuns, MountSettings, ScheduleSettings, TlsSessions,
    };

    const CERTIFICATES: &str =
        "global.certs { ssl-cert: c.pem, ssl-key: k.pem, ssl-ca-cert: ca.pem, ssl-crl-path: crl.pem }\n";

    /// A directory with certificate files (of no content: the configuration does not look into them) and one file.
    fn directory(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["c.pem", "k.pem", "ca.pem", "crl.pem", "allowlist"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("code")).unwrap();
        std::fs::write(dir.path().join("server.conf"), text).unwrap();
        dir
    }

    fn problems(text: &str) -> Vec<String> {
        let dir = directory(text);
        let prefix = format!("{}/", dir.path().display());
        let problems = load_server(dir.path()).expect_err("problems");
        problems.to_string().replace(&prefix, "").lines().map(str::to_owned).collect()
    }

    fn orchestrator_set(dir: &Path) -> OrchestratorSettings {
        OrchestratorSettings {
            data_dir: dir.join("data"),
            database: None,
            code_dir: dir.join("code"),
            task_concurrency: 7,
            deploy_concurrency: 3,
            allowed_status_requests: 5,
            status_interval: Duration::from_secs(2),
            default_task_timeout: Some(Duration::from_secs(600)),
            default_deploy_timeout: Some(Duration::from_secs(3600)),
            access: access(dir),
            brokers: vec!["compile1.example.com".to_owned(), "Compile-2".to_owned()],
            keep_jobs: Some(7 * DAY),
            graph_dir: Some(dir.join("code")),
            disk_reserve: 1_000_000,
            webhooks: WebhookSettings { ca: Some(dir.join("ca.pem")), loopback: true },
            code_source: CodeSource::Directory,
            puppetdb: None,
            classifier: None,
            schedules: ScheduleSettings { missed: MissedRuns::Skip, v1_api: true, usage_days: 7 },
        }
    }

    /// What [`everything_set`] says of who gets in.
    fn access(dir: &Path) -> AccessSettings {
        AccessSettings {
            token_lifetime: Duration::from_secs(4 * 3600),
            token_lifetime_max: 365 * DAY,
            failed_logins_max: 3,
            lockout: None,
            certificate_allowlist: Some(dir.join("allowlist")),
            audit_log: Some(dir.join("logs/audit.log")),
        }
    }

    #[test]
    fn everything_set() {
        let dir = directory(&format!(
            "{CERTIFICATES}
            global.log {{ level: debug, file: logs/server.log }}
            webserver {{
              pcp-broker {{ ssl-host: 127.0.0.1, ssl-port: 0, client-auth: want, access-log.file: \"-\" }}
              orchestrator {{ ssl-host: \"::1\", ssl-port: 0 }}
            }}
            pcp-broker {{ workers: 3, max-connections: 50000, max-message-size: 1048576, idle-timeout: 400000,
                         privileged-clients: [ctl.example.com]
                         access-log {{ level: warn, file: logs/access.log, format: json }} }}
            orchestrator {{
              data-dir: data, code-dir: code, task-concurrency: 7, allowed-pcp-status-requests: 5
              status-interval: 2s, default-task-node-timeout: 600, global-concurrent-compiles: 3
              default-deploy-node-timeout: 1h, token-lifetime: 4h, token-lifetime-max: 1y
              job-prune-days: 7, graph-dir: code, disk-reserve: 1000000, webhook-ca: ca.pem, webhook-loopback: true
              schedule-missed: skip, scheduled-jobs-v1-api: true, usage-days: 7
              brokers: [compile1.example.com, Compile-2], failed-attempts-lockout: 3, lockout-minutes: 0
              certificate-allowlist: allowlist, audit-log.file: logs/audit.log
            }}"
        ));
        let loaded = load_server(dir.path()).unwrap();
        assert_eq!(loaded.warnings, []);
        let at = |name: &str| dir.path().join(name);
        let expected = ServerSettings {
            certificates: CertificatePaths {
                certificate: at("c.pem"),
                key: at("k.pem"),
                ca: at("ca.pem"),
                crl: Some(at("crl.pem")),
            },
            log: LogSettings { level: LogLevel::Debug, file: Some(at("logs/server.log")) },
            broker: BrokerSettings {
                listen: "127.0.0.1:0".parse().unwrap(),
                mounts: MountSettings::default(),
                workers: 3,
                client_auth: ClientAuth::Want,
                tls_sessions: TlsSessions::default(),
                message_log: AccessLogSettings {
                    level: AccessLevel::Warn,
                    file: Some(at("logs/access.log")),
                    format: AccessFormat::Json,
                },
                request_log: AccessLogSettings { level: AccessLevel::Info, file: None, format: AccessFormat::Text },
                connections_max: 50_000,
                message_bytes_max: 1_048_576,
                idle_timeout: Duration::from_secs(400),
                access: ClientAccess::BuiltIn { privileged: vec!["ctl.example.com".to_owned()] },
                controllers: ControllerSettings {
                    uris: Vec::new(),
                    allowlist: None,
                    grace_period: limits::CONTROLLER_GRACE_PERIOD,
                },
                certificate_check_period: limits::CERTIFICATE_CHECK_PERIOD,
                expired_throttle: limits::EXPIRED_THROTTLE,
                drain_timeout: limits::DRAIN_TIMEOUT,
            },
            api_listen: "[::1]:0".parse().unwrap(),
            orchestrator: orchestrator_set(dir.path()),
        };
        assert_eq!(loaded.settings, expected);
    }

    #[test]
    fn defaults() {
        let dir = directory(&format!("{CERTIFICATES} orchestrator.code-dir: code"));
        let loaded = load_server(dir.path()).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.settings.broker.listen, "0.0.0.0:8142".parse().unwrap());
        assert_eq!(loaded.settings.api_listen, "0.0.0.0:8143".parse().unwrap());
        assert_eq!(loaded.settings.broker.idle_timeout, Duration::from_secs(360));
        assert_eq!(loaded.settings.broker.message_bytes_max, limits::MESSAGE_BYTES_MAX);
        assert_eq!(loaded.settings.orchestrator.task_concurrency, 250);
        assert_eq!(loaded.settings.orchestrator.deploy_concurrency, 8);
        assert_eq!(loaded.settings.orchestrator.default_task_timeout, None);
        assert!(loaded.settings.orchestrator.brokers.is_empty(), "nobody may link unless named");
        let access = loaded.settings.orchestrator.access;
        assert_eq!((access.failed_logins_max, access.certificate_allowlist), (10, None));
        assert_eq!(access.lockout, Some(Duration::from_secs(900)));
        assert_eq!(access.audit_log, Some("/var/lib/podium/audit.log".into()));
        assert_eq!(loaded.settings.log, LogSettings { level: LogLevel::Info, file: None });
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let found = problems(
            "global.certs { ssl-cert: c.pem, ssl-key: missing.pem }
            pcp-broker { worker: 2, idle-timeout: soon, max-connections: lots, max-message-size: 10
                         access-log { level: all, format: xml } }
            webserver.pcp-broker.client-auth: none
            webserver.orchestrator { ssl-port: 70000, ssl-host: orch.invalid }
            orchestrator { code-dir: nowhere, task-concurrency: [1], token-lifetime: 2y, token-lifetime-max: 1y }
            idle-timeout: 5",
        );
        let expected = [
            "missing.pem' not found; check the path",
            "server.conf: global.certs.ssl-ca-cert: value must be defined; give the path of a PEM file",
            "server.conf: webserver.orchestrator.ssl-host: \"orch.invalid\" is no IP address",
            "server.conf: webserver.orchestrator.ssl-port: 70000 is out of range; give 0 to 65535",
            "server.conf: pcp-broker.idle-timeout: \"soon\" is not a duration",
            "server.conf: webserver.pcp-broker.client-auth: \"none\" is not possible; give need, or want",
            "server.conf: pcp-broker.access-log.level: invalid level: 'all'; give info",
            "server.conf: pcp-broker.access-log.format: 'xml' is no format; give text or json",
            "server.conf: pcp-broker.max-connections: must be an integer, found \"lots\"",
            "server.conf: pcp-broker.max-message-size: 10 is out of range; give 1024 to 67108864",
            "is not a directory; give the directory that holds environments/",
            "server.conf: orchestrator.task-concurrency: must be an integer, found an array",
            "server.conf: orchestrator.token-lifetime: is longer than orchestrator.token-lifetime-max",
            "server.conf: pcp-broker.worker: unknown key; did you mean pcp-broker.workers?",
            "server.conf: idle-timeout: unknown key; did you mean pcp-broker.idle-timeout?",
        ];
        for text in expected {
            assert!(found.iter().any(|line| line.contains(text)), "no \"{text}\" in {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn keys_without_effect_are_warnings() {
        let dir = directory(&format!(
            "{CERTIFICATES} orchestrator.code-dir: code
            webserver {{ pcp-broker.ssl-cert: c.pem, orchestrator.client-auth: want }}
            pcp-broker {{ controller-uris: [], max-message-size: 67108864 }}"
        ));
        let warnings = load_server(dir.path()).unwrap().warnings;
        let keys: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, ["webserver.orchestrator.client-auth", "pcp-broker.controller-uris"]);
        assert!(warnings[0].message.starts_with("has no effect in this version; "), "{}", warnings[0]);
    }

    #[test]
    fn listeners_cannot_have_different_certificates() {
        let found =
            problems(&format!("{CERTIFICATES} orchestrator.code-dir: code, webserver.orchestrator.ssl-cert: k.pem"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("webserver.orchestrator.ssl-cert: differs from global.certs.ssl-cert"), "{found:#?}");
    }

    #[test]
    fn brokers_are_certificate_names() {
        let found =
            |brokers: &str| problems(&format!("{CERTIFICATES} orchestrator {{ code-dir: code, brokers: {brokers} }}"));
        let expected = [
            ("[\"wss://compile1:8142\"]", "\"wss://compile1:8142\" is not a certificate name; give it whole"),
            ("[\"*.example.com\"]", "\"*.example.com\" is not a certificate name; give it whole"),
            ("[\"\"]", "\"\" is not a certificate name; give it whole"),
            ("[a, b, A]", "\"A\" is there twice; remove one"),
            ("a", "must be an array of strings, found \"a\""),
            ("[1]", "must be an array of strings"),
        ];
        for (brokers, text) in expected {
            let found = found(brokers);
            assert!(found.len() == 1 && found[0].contains(&format!("orchestrator.brokers: {text}")), "{found:#?}");
        }
        let many: Vec<String> = (0..=limits::BROKERS_MAX).map(|number| format!("c{number}")).collect();
        assert!(found(&format!("[{}]", many.join(", ")))[0].contains("has 65 names; 64 is the most"));
    }
}
