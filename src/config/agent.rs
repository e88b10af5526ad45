//! The settings of `podium agent`, from pxp-agent's `pxp-agent.conf` (HOCON or JSON), with pxp-agent's key names,
//! defaults and, where it has one, texts of refusal.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::duration::Bare;
use super::reader::{Reader, WithoutEffect};
use super::settings::{AgentSettings, BrokerUri, CertificatePaths, LogSettings, PrimaryUri};
use super::uri::{broker_uri, https_uri};
use super::{Loaded, Problem, Problems, duration, hocon};
use crate::limits;

const FILE_NAME: &str = "pxp-agent.conf";
const DAY: Duration = Duration::from_secs(86_400);
/// The reference's download library waits this long for a connection if it is told 0.
const CONNECT_TIMEOUT_OF_ZERO: Duration = Duration::from_secs(300);
/// For the reference 0 means no limit; a download that takes a day will not end.
const DOWNLOAD_TIMEOUT_OF_ZERO: Duration = DAY;

const WITHOUT_EFFECT: &[WithoutEffect<'static>] = &[
    ("primary-uri", "use primary-uris"),
    ("master-uri", "use primary-uris"),
    ("allowed-keepalive-timeouts", "a connection that misses three pings is given up"),
    ("association-timeout", "PCP v2 has no association"),
    ("association-request-ttl", "PCP v2 has no association"),
    ("pcp-message-ttl", "PCP v2 messages do not expire"),
    ("syslog-facility", "log to - and let systemd take it to its journal"),
    ("log-pcp-access", "messages are in the log at level debug"),
    ("pcp-access-logfile", "messages are in the log at level debug"),
    ("broker-ws-proxy", "brokers are connected to directly"),
    ("master-proxy", "primaries are connected to directly"),
    ("foreground", "the agent stays in the foreground"),
    ("pidfile", "the agent stays in the foreground"),
];

/// Reads `pxp-agent.conf` of a directory, or the file given.
pub fn load_agent(dir: &Path) -> Result<Loaded<AgentSettings>, Problems> {
    let file = if dir.is_file() { dir.to_owned() } else { dir.join(FILE_NAME) };
    if !file.is_file() {
        let message = "file not found; give the directory of pxp-agent.conf with --config".to_owned();
        return Err(Problems(vec![Problem { file, key: String::new(), message }]));
    }
    let mut problems = Vec::new();
    let Some(tree) = hocon::load(&file, &mut problems) else { return Err(Problems(problems)) };
    let mut reader = Reader::new(&tree);
    let settings = agent(&mut reader, &Places::of_this_user());
    let (problems, warnings) = reader.finish(WITHOUT_EFFECT);
    match settings {
        Some(settings) if problems.is_empty() => Ok(Loaded { settings, warnings }),
        _ => Err(Problems(problems)),
    }
}

/// Where an agent keeps its files unless it is told: system-wide for root, else below the home directory.
struct Places {
    log: PathBuf,
    spool: PathBuf,
    cache: PathBuf,
    modules_config: PathBuf,
}

/// For every user.
const MODULES_DIR: &str = "/opt/puppetlabs/pxp-agent/modules";

impl Places {
    fn of_this_user() -> Self {
        let home = std::env::home_dir().filter(|_| !rustix::process::geteuid().is_root());
        match home {
            None => Self {
                log: "/var/log/puppetlabs/pxp-agent/pxp-agent.log".into(),
                spool: "/opt/puppetlabs/pxp-agent/spool".into(),
                cache: "/opt/puppetlabs/pxp-agent/tasks-cache".into(),
                modules_config: "/etc/puppetlabs/pxp-agent/modules".into(),
            },
            Some(home) => Self {
                log: home.join(".puppetlabs/var/log/pxp-agent.log"),
                spool: home.join(".puppetlabs/opt/pxp-agent/spool"),
                cache: home.join(".puppetlabs/opt/pxp-agent/tasks-cache"),
                modules_config: home.join(".puppetlabs/etc/pxp-agent/modules"),
            },
        }
    }
}

fn agent(reader: &mut Reader<'_>, places: &Places) -> Option<AgentSettings> {
    pcp_version(reader);
    let certificate = reader.required_file("ssl-cert");
    let key = reader.required_file("ssl-key");
    let ca = reader.required_file("ssl-ca-cert");
    let crl = reader.file("ssl-crl");
    let log =
        LogSettings { level: reader.log_level("loglevel"), file: reader.log_file("logfile", Some(places.log.clone())) };
    let brokers = brokers(reader);
    let primaries = primaries(reader);
    let seconds = |least: u64| Duration::from_secs(least)..=DAY;
    let connection_timeout = reader.duration("connection-timeout", Bare::Seconds, seconds(1));
    let ping_interval = reader.duration("ping-interval", Bare::Seconds, seconds(6));
    let connect = reader.duration("task-download-connect-timeout", Bare::Seconds, seconds(0));
    let download = reader.duration("task-download-timeout", Bare::Seconds, seconds(0));
    Some(AgentSettings {
        log,
        brokers,
        primaries,
        spool_dir: reader.directory_to_make("spool-dir", places.spool.clone()),
        cache_dir: reader.directory_to_make("task-cache-dir", places.cache.clone()),
        modules_dir: modules_dir(reader),
        modules_config_dir: reader.directory_to_make("modules-config-dir", places.modules_config.clone()),
        connection_timeout: connection_timeout.unwrap_or(Duration::from_secs(5)),
        ping_interval: ping_interval.unwrap_or(Duration::from_secs(120)),
        download_connect_timeout: unless_zero(connect, Duration::from_secs(120), CONNECT_TIMEOUT_OF_ZERO),
        download_timeout: unless_zero(download, Duration::from_secs(1800), DOWNLOAD_TIMEOUT_OF_ZERO),
        spool_ttl: purge_ttl(reader, "spool-dir-purge-ttl"),
        cache_ttl: purge_ttl(reader, "task-cache-dir-purge-ttl"),
        message_bytes_max: reader.message_bytes("max-message-size", limits::AGENT_RECEIVE_BYTES_MAX),
        certificates: CertificatePaths { certificate: certificate?, key: key?, ca: ca?, crl },
    })
}

/// The reference's default is 1. An agent that does not say which one it wants gets the one there is.
fn pcp_version(reader: &mut Reader<'_>) {
    match reader.text("pcp-version").as_deref() {
        None | Some("2") => {}
        Some("1") => {
            let message = "PCP v1 is not spoken by this version; set it to \"2\" and let the broker URIs end in /pcp2/";
            reader.fail("pcp-version", message);
        }
        Some(_) => reader.fail("pcp-version", "must be either '1' or '2'; this version speaks \"2\""),
    }
}

fn brokers(reader: &mut Reader<'_>) -> Vec<BrokerUri> {
    let one = reader.text("broker-ws-uri").filter(|uri| !uri.is_empty());
    let several = reader.texts("broker-ws-uris");
    let (key, uris) = match (one, several) {
        (Some(_), Some(_)) => {
            let message = "broker-ws-uri and broker-ws-uris cannot both be defined in the config file; keep one";
            reader.fail("broker-ws-uri", message);
            return Vec::new();
        }
        (Some(uri), None) => ("broker-ws-uri", vec![uri]),
        (None, Some(uris)) if !uris.is_empty() => ("broker-ws-uris", uris),
        // Reported as of the wrong type already.
        (None, None) if reader.has("broker-ws-uris") => return Vec::new(),
        (None, _) => {
            let message = "broker-ws-uri or broker-ws-uris must be defined; give wss://<broker>:8142/pcp2/";
            reader.fail("broker-ws-uris", message);
            return Vec::new();
        }
    };
    uris.iter().filter_map(|uri| broker_uri(reader, key, uri, "agent")).collect()
}

/// `master-uris` is the name before 2021. Scheme and port are filled in.
fn primaries(reader: &mut Reader<'_>) -> Vec<PrimaryUri> {
    let old = reader.texts("master-uris");
    let (key, uris) = match reader.texts("primary-uris") {
        Some(uris) => ("primary-uris", uris),
        None => ("master-uris", old.unwrap_or_default()),
    };
    uris.iter().filter_map(|uri| primary_uri(reader, key, uri)).collect()
}

fn primary_uri(reader: &mut Reader<'_>, key: &str, uri: &str) -> Option<PrimaryUri> {
    let (host, port) = https_uri(reader, key, uri, 8140)?;
    Some(PrimaryUri { host, port })
}

/// One that is named must be there.
fn modules_dir(reader: &mut Reader<'_>) -> PathBuf {
    let dir = reader.directory_to_make("modules-dir", MODULES_DIR.into());
    if reader.has("modules-dir") && !dir.exists() {
        reader.fail(
            "modules-dir",
            format!("the modules-dir '{}' does not exist; make it or leave it out", dir.display()),
        );
    }
    dir
}

/// `<int>[dhm]`; 0 of anything is never.
fn purge_ttl(reader: &mut Reader<'_>, key: &str) -> Option<Duration> {
    let text = reader.text(key).unwrap_or_else(|| "14d".to_owned());
    let ttl = text.ends_with(['d', 'h', 'm']).then(|| duration::parse(&text, Bare::Seconds)).flatten();
    if ttl.is_none() {
        reader.fail(key, format!("invalid {key}: invalid duration string: {text}; give a number and d, h or m"));
    }
    ttl.filter(|ttl| !ttl.is_zero())
}

fn unless_zero(value: Option<Duration>, default: Duration, of_zero: Duration) -> Duration {
    match value {
        None => default,
        Some(Duration::ZERO) => of_zero,
        Some(value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::LogLevel;

    const BASE: &str = r#"ssl-cert: c.pem, ssl-key: k.pem, ssl-ca-cert: ca.pem, "#;

    fn directory(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["c.pem", "k.pem", "ca.pem", "crl.pem"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
        dir
    }

    fn load(text: &str) -> Loaded<AgentSettings> {
        load_agent(directory(text).path()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn problems(text: &str) -> Vec<String> {
        let dir = directory(text);
        let prefix = format!("{}/{FILE_NAME}: ", dir.path().display());
        let problems = load_agent(dir.path()).expect_err("problems");
        problems.to_string().lines().map(|line| line.replace(&prefix, "")).collect()
    }

    #[test]
    fn json_with_everything() {
        let dir = directory(
            r#"{"ssl-cert": "c.pem", "ssl-key": "k.pem", "ssl-ca-cert": "ca.pem", "ssl-crl": "crl.pem",
                "broker-ws-uris": ["wss://b1.example.com:8142/pcp2/", "wss://[::1]:8142/pcp2"],
                "primary-uris": ["https://p1.example.com", "p2.example.com:8143"], "master-uris": ["ignored"],
                "pcp-version": "2", "connection-timeout": 7, "ping-interval": 60,
                "task-download-connect-timeout": 0, "task-download-timeout": 0, "spool-dir": "spool",
                "task-cache-dir": "/tmp/cache", "spool-dir-purge-ttl": "0d", "task-cache-dir-purge-ttl": "2h",
                "loglevel": "warning", "logfile": "-", "max-message-size": 2048}"#,
        );
        let loaded = load_agent(dir.path()).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, []);
        let settings = loaded.settings;
        let broker = |host: &str| BrokerUri { host: host.to_owned(), port: 8142, path: "/pcp2/agent".to_owned() };
        assert_eq!(settings.brokers, [broker("b1.example.com"), broker("::1")]);
        assert_eq!(
            settings.primaries,
            [
                PrimaryUri { host: "p1.example.com".to_owned(), port: 8140 },
                PrimaryUri { host: "p2.example.com".to_owned(), port: 8143 }
            ]
        );
        assert_eq!(settings.log, LogSettings { level: LogLevel::Warn, file: None });
        assert_eq!(settings.spool_dir, dir.path().join("spool"));
        assert_eq!(settings.cache_dir, Path::new("/tmp/cache"));
        assert_eq!((settings.spool_ttl, settings.cache_ttl), (None, Some(Duration::from_secs(7200))));
        assert_eq!(settings.connection_timeout, Duration::from_secs(7));
        assert_eq!(settings.download_connect_timeout, CONNECT_TIMEOUT_OF_ZERO);
        assert_eq!(settings.download_timeout, DOWNLOAD_TIMEOUT_OF_ZERO);
        assert_eq!(settings.message_bytes_max, 2048);
    }

    #[test]
    fn defaults_are_the_reference_s() {
        let settings = load(&format!("{BASE} broker-ws-uri: \"wss://b\"")).settings;
        assert_eq!(settings.brokers, [BrokerUri { host: "b".into(), port: 443, path: "/agent".into() }]);
        assert_eq!(settings.ping_interval, Duration::from_secs(120));
        assert_eq!(settings.connection_timeout, Duration::from_secs(5));
        assert_eq!(settings.download_timeout, Duration::from_secs(1800));
        assert_eq!(settings.spool_ttl, Some(14 * DAY));
        assert!(settings.spool_dir.ends_with("pxp-agent/spool"));
        assert!(settings.log.file.unwrap().ends_with("pxp-agent.log"));
    }

    #[test]
    fn every_problem_with_the_reference_s_words() {
        let found = problems(
            "ssl-cert: none.pem, ssl-key: k.pem, broker-ws-uris: [\"https://b\", \"wss://b:0/\"]
            primary-uris: [\"http://p\", \"https://p/path\"], pcp-version: 1, ping-interval: 5
            modules-dir: /nowhere, spool-dir-purge-ttl: 14, loglevel: zz, broker-ws-url: x, logfile: syslog",
        );
        let expected = [
            "pcp-version: PCP v1 is not spoken by this version",
            "ssl-cert: file '",
            "ssl-ca-cert: value must be defined",
            "loglevel: invalid log level: 'zz'",
            "logfile: is not supported",
            "broker-ws-uris: value \"https://b\" must start with wss://",
            "broker-ws-uris: value \"wss://b:0/\" must have a host",
            "primary-uris: value \"http://p\" must start with https://",
            "primary-uris: value \"https://p/path\" has a path",
            "ping-interval: 5s is out of range; give 6s to 1d",
            "modules-dir: the modules-dir '/nowhere' does not exist",
            "spool-dir-purge-ttl: invalid spool-dir-purge-ttl: invalid duration string: 14",
            "broker-ws-url: unknown key; did you mean broker-ws-uri?",
        ];
        for (line, start) in found.iter().zip(expected) {
            assert!(line.starts_with(start), "{line} does not start with {start}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn brokers_must_be_given_once() {
        let found = problems(BASE);
        assert!(found[0].contains("broker-ws-uri or broker-ws-uris must be defined"), "{found:?}");
        let found = problems(&format!("{BASE} broker-ws-uri: \"wss://a\", broker-ws-uris: [\"wss://b\"]"));
        assert!(found[0].contains("cannot both be defined in the config file"), "{found:?}");
        let found = problems(&format!("{BASE} broker-ws-uris: \"wss://a\""));
        assert_eq!(found, ["broker-ws-uris: must be an array of strings, found \"wss://a\""]);
    }

    #[test]
    fn keys_without_effect_are_warnings() {
        let loaded = load(&format!("{BASE} broker-ws-uri: \"wss://b\", foreground: true, log-pcp-access: true"));
        let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, ["foreground", "log-pcp-access"]);
    }

    #[test]
    fn a_missing_file_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let problems = load_agent(dir.path()).unwrap_err().to_string();
        assert!(
            problems.ends_with("pxp-agent.conf: file not found; give the directory of pxp-agent.conf with --config")
        );
    }
}
