//! The settings of `podium agent`, from pxp-agent's `pxp-agent.conf` (HOCON or JSON), with pxp-agent's key names,
//! defaults and, where it has one, texts of refusal.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agent_flags::Overrides;
use super::duration::Bare;
use super::reader::{Reader, WithoutEffect};
use super::settings::{AgentSettings, BrokerUri, CertificatePaths, LogSettings, PcpVersion, PrimaryUri, TaskSettings};
use super::uri::{broker_uri, host_and_port, https_uri};
use super::{Loaded, Problem, Problems, duration, hocon};
use crate::limits;
use crate::tunnel::ProxyUri;

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
    ("association-request-ttl", "association-timeout is the time for an association"),
    ("syslog-facility", "log to - and let systemd take it to its journal"),
];

/// Reads `pxp-agent.conf` of a directory, or the file given, and puts what the command line says over it. Without a file
/// the command line must say everything.
pub fn load_agent(dir: &Path, overrides: &Overrides) -> Result<Loaded<AgentSettings>, Problems> {
    let file = if dir.is_dir() || dir.extension().is_none() { dir.join(FILE_NAME) } else { dir.to_owned() };
    let mut problems = Vec::new();
    let tree = match file.is_file() {
        true => hocon::load(&file, &mut problems),
        false if overrides.is_empty() => {
            let message = "file not found; give the directory of pxp-agent.conf with --config".to_owned();
            problems.push(Problem { file: file.clone(), key: String::new(), message });
            None
        }
        false => Some(hocon::Tree::empty(Path::new("."))),
    };
    let Some(mut tree) = tree else { return Err(Problems(problems)) };
    overrides.apply(&mut tree, &mut problems);
    let mut reader = Reader::new(&tree);
    let settings = agent(&mut reader, &Places::of_this_user());
    let (found, warnings) = reader.finish(WITHOUT_EFFECT);
    problems.extend(found);
    match settings {
        Some(settings) if problems.is_empty() => Ok(Loaded { settings, warnings }),
        _ => Err(Problems(problems)),
    }
}

/// Where an agent keeps its files unless it is told: system-wide for root, else below the home directory.
struct Places {
    log: PathBuf,
    access_log: PathBuf,
    pidfile: PathBuf,
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
                access_log: "/var/log/puppetlabs/pxp-agent/pcp-access.log".into(),
                pidfile: "/var/run/puppetlabs/pxp-agent.pid".into(),
                spool: "/opt/puppetlabs/pxp-agent/spool".into(),
                cache: "/opt/puppetlabs/pxp-agent/tasks-cache".into(),
                modules_config: "/etc/puppetlabs/pxp-agent/modules".into(),
            },
            Some(home) => Self {
                log: home.join(".puppetlabs/var/log/pxp-agent.log"),
                access_log: home.join(".puppetlabs/var/log/pcp-access.log"),
                pidfile: home.join(".puppetlabs/var/run/pxp-agent.pid"),
                spool: home.join(".puppetlabs/opt/pxp-agent/spool"),
                cache: home.join(".puppetlabs/opt/pxp-agent/tasks-cache"),
                modules_config: home.join(".puppetlabs/etc/pxp-agent/modules"),
            },
        }
    }
}

fn agent(reader: &mut Reader<'_>, places: &Places) -> Option<AgentSettings> {
    let pcp_version = pcp_version(reader);
    let certificate = reader.required_file("ssl-cert");
    let key = reader.required_file("ssl-key");
    let ca = reader.required_file("ssl-ca-cert");
    let crl = reader.file("ssl-crl");
    let log =
        LogSettings { level: reader.log_level("loglevel"), file: reader.log_file("logfile", Some(places.log.clone())) };
    let brokers = brokers(reader, pcp_version);
    let daemonize = reader.boolean("foreground") == Some(false);
    let pidfile = reader.path("pidfile").or_else(|| daemonize.then(|| places.pidfile.clone()));
    let access_log = reader.path("pcp-access-logfile").unwrap_or_else(|| places.access_log.clone());
    let access_log = (reader.boolean("log-pcp-access") == Some(true)).then_some(access_log);
    let primaries = primaries(reader);
    let seconds = |least: u64| Duration::from_secs(least)..=DAY;
    let connection_timeout = reader.duration("connection-timeout", Bare::Seconds, seconds(1));
    let ping_interval = reader.duration("ping-interval", Bare::Seconds, seconds(6));
    let connect = reader.duration("task-download-connect-timeout", Bare::Seconds, seconds(0));
    let download = reader.duration("task-download-timeout", Bare::Seconds, seconds(0));
    Some(AgentSettings {
        log,
        brokers,
        broker_proxy: proxy(reader, "broker-ws-proxy"),
        pcp_version,
        access_log,
        pidfile,
        daemonize,
        primary_proxy: proxy(reader, "master-proxy"),
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
        tasks: tasks(reader),
        certificates: CertificatePaths { certificate: certificate?, key: key?, ca: ca?, crl },
    })
}

/// The reference's default is 1. An agent that does not say which one it wants gets the better one.
fn pcp_version(reader: &mut Reader<'_>) -> PcpVersion {
    let seconds = Duration::from_secs(1)..=DAY;
    let association = reader.duration("association-timeout", Bare::Seconds, seconds.clone());
    let ttl = reader.duration("pcp-message-ttl", Bare::Seconds, seconds);
    match reader.text("pcp-version").as_deref() {
        None | Some("2") => PcpVersion::Two,
        Some("1") => PcpVersion::One {
            association_timeout: association.unwrap_or(Duration::from_secs(15)),
            message_ttl: ttl.unwrap_or(Duration::from_secs(5)),
        },
        Some(_) => {
            reader.fail("pcp-version", "must be either '1' or '2'");
            PcpVersion::Two
        }
    }
}

/// What pxp-agent does not have.
fn tasks(reader: &mut Reader<'_>) -> TaskSettings {
    let nice = reader.text("task-nice").and_then(|text| {
        let nice = text.parse().ok().filter(|nice| (-20..=19).contains(nice));
        if nice.is_none() {
            reader.fail("task-nice", format!("must be a whole number from -20 to 19, found \"{text}\""));
        }
        nice
    });
    let umask = reader.text("task-umask").and_then(|text| {
        let umask = u32::from_str_radix(&text, 8).ok().filter(|umask| *umask <= 0o777);
        if umask.is_none() {
            reader.fail("task-umask", format!("must be octal digits as in \"0027\", found \"{text}\""));
        }
        umask
    });
    TaskSettings { user: reader.text("task-user"), nice, umask, cgroup: reader.path("task-cgroup") }
}

/// `[http://]host:port`; empty is none.
fn proxy(reader: &mut Reader<'_>, key: &str) -> Option<ProxyUri> {
    let uri = reader.text(key).filter(|uri| !uri.is_empty())?;
    let rest = match uri.split_once("://") {
        None => uri.as_str(),
        Some(("http", rest)) => rest,
        Some(_) => {
            reader.fail(key, format!("value \"{uri}\" must start with http://: proxies are spoken to without TLS"));
            return None;
        }
    };
    if rest.contains('@') {
        reader.fail(key, "a user name for a proxy is not supported; have the proxy admit this host by its address");
        return None;
    }
    let (host, port) = host_and_port(reader, key, &uri, rest.trim_end_matches('/'), 1080)?;
    Some(ProxyUri { host, port })
}

fn brokers(reader: &mut Reader<'_>, version: PcpVersion) -> Vec<BrokerUri> {
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
    // With v1 the path is used as it is: the broker takes a client without a type for an agent.
    let client_type = if version == PcpVersion::Two { "agent" } else { "" };
    uris.iter().filter_map(|uri| broker_uri(reader, key, uri, client_type)).collect()
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
mod tests;
