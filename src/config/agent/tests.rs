//! Files and flags of agents, good and bad.

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
    load_agent(directory(text).path(), &Overrides::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> Vec<String> {
    let dir = directory(text);
    let prefix = format!("{}/{FILE_NAME}: ", dir.path().display());
    let problems = load_agent(dir.path(), &Overrides::default()).expect_err("problems");
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
            "loglevel": "warning", "logfile": "-", "max-message-size": 2048, "task-user": "web", "task-nice": -5,
            "task-umask": "0027", "task-cgroup": "/sys/fs/cgroup/tasks"}"#,
    );
    let loaded = load_agent(dir.path(), &Overrides::default()).unwrap_or_else(|problems| panic!("{problems}"));
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
    let tasks = TaskSettings {
        user: Some("web".into()),
        nice: Some(-5),
        umask: Some(0o027),
        cgroup: Some("/sys/fs/cgroup/tasks".into()),
    };
    assert_eq!(settings.tasks, tasks);
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
        primary-uris: [\"http://p\", \"https://p/path\"], pcp-version: 3, ping-interval: 5
        modules-dir: /nowhere, spool-dir-purge-ttl: 14, loglevel: zz, broker-ws-url: x, logfile: syslog",
    );
    let expected = [
        "pcp-version: must be either '1' or '2'",
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
    let loaded = load(&format!("{BASE} broker-ws-uri: \"wss://b\", primary-uri: x, syslog-facility: local5"));
    let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["primary-uri", "syslog-facility"]);
}

#[test]
fn a_missing_file_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    let problems = load_agent(dir.path(), &Overrides::default()).unwrap_err().to_string();
    assert!(problems.ends_with("pxp-agent.conf: file not found; give the directory of pxp-agent.conf with --config"));
}

#[test]
fn version_1_has_its_times_and_leaves_the_path_alone() {
    let settings = load(&format!("{BASE} broker-ws-uris: [\"wss://b/pcp\", \"wss://c\"], pcp-version: 1")).settings;
    let paths: Vec<&str> = settings.brokers.iter().map(|broker| broker.path.as_str()).collect();
    assert_eq!(paths, ["/pcp", "/"]);
    let (association_timeout, message_ttl) = (Duration::from_secs(15), Duration::from_secs(5));
    assert_eq!(settings.pcp_version, PcpVersion::One { association_timeout, message_ttl });
}

#[test]
fn proxies_access_log_and_process_id() {
    let text = "broker-ws-uri: \"wss://b\", broker-ws-proxy: \"http://p:3128/\", master-proxy: q, log-pcp-access: true
        pcp-access-logfile: a.log, foreground: false, pidfile: /run/x.pid";
    let settings = load(&format!("{BASE} {text}")).settings;
    assert_eq!(settings.broker_proxy, Some(ProxyUri { host: "p".into(), port: 3128 }));
    assert_eq!(settings.primary_proxy, Some(ProxyUri { host: "q".into(), port: 1080 }));
    assert!(settings.access_log.unwrap().ends_with("a.log"));
    assert!(settings.daemonize);
    assert_eq!(settings.pidfile, Some("/run/x.pid".into()));
    let found = problems(&format!(
        "{BASE} broker-ws-uri: \"wss://b\", broker-ws-proxy: \"https://p\", master-proxy: \"u:s@p\", foreground: maybe"
    ));
    let expected = ["foreground: must be true or false", "broker-ws-proxy: value", "master-proxy: a user name"];
    for (line, start) in found.iter().zip(expected) {
        assert!(line.starts_with(start), "{line} does not start with {start}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn the_command_line_wins_over_the_file_and_can_do_without() {
    let dir = directory(&format!("{BASE} broker-ws-uris: [\"wss://a\", \"wss://b\"], ping-interval: 60"));
    let mut overrides = Overrides::default();
    overrides.set("broker-ws-uri", Some("wss://c"));
    overrides.set("ping-interval", Some(30));
    overrides.set("loglevel", None::<String>);
    let settings = load_agent(dir.path(), &overrides).unwrap_or_else(|problems| panic!("{problems}")).settings;
    assert_eq!(settings.brokers, [BrokerUri { host: "c".into(), port: 443, path: "/agent".into() }]);
    assert_eq!(settings.ping_interval, Duration::from_secs(30));
    for (key, name) in [("ssl-cert", "c.pem"), ("ssl-key", "k.pem"), ("ssl-ca-cert", "ca.pem")] {
        overrides.set(key, Some(dir.path().join(name).display()));
    }
    load_agent(Path::new("/no/such/directory"), &overrides).unwrap_or_else(|problems| panic!("{problems}"));
    overrides.set("ping-interval", Some("x"));
    let problems = load_agent(dir.path(), &overrides).unwrap_err().to_string();
    assert!(problems.starts_with("command line: ping-interval: "), "{problems}");
}
