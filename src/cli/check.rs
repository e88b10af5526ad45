//! `--check`: the configuration as it would hold, defaults filled in, and the resources that the host must have for it.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::certificates::{Tls, Wanted};
use super::host::{connection_limits, descriptors, workers};
use super::watch::bounds;
use crate::config::Problem;
use crate::config::authorization::ClientAccess;
use crate::config::settings::{
    AccessLevel, AccessLogSettings, BrokerSettings, CertificatePaths, ClientAuth, CodeSource, LogSettings,
    OrchestratorSettings, ServiceSettings, TlsSessions,
};
use crate::limits;

/// What is checked and shown.
pub(super) struct Configuration<'a> {
    /// Files of this host.
    pub(super) certificates: &'a CertificatePaths,
    /// The service's log.
    pub(super) log: &'a LogSettings,
    /// The broker.
    pub(super) broker: &'a BrokerSettings,
    /// In `podium server`: the API's address, and the orchestrator.
    pub(super) appliance: Option<(std::net::SocketAddr, &'a OrchestratorSettings)>,
}

/// Loads what the settings name and prints all of it; exit code 2 if a file is no good.
pub(super) fn run(configuration: &Configuration<'_>, warnings: &[Problem]) -> ExitCode {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let tls = match Tls::load(configuration.certificates, Wanted::of(configuration.broker)) {
        Ok(tls) => tls,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    for warning in tls.warnings() {
        eprintln!("warning: {warning}");
    }
    print!("{}", describe(configuration, &tls));
    ExitCode::SUCCESS
}

/// The lines, in sections.
fn describe(configuration: &Configuration<'_>, tls: &Tls) -> String {
    let mut text = Text::default();
    text.title("configuration");
    files(&mut text, configuration.certificates, tls);
    broker(&mut text, configuration.broker);
    if let Some((api, orchestrator)) = &configuration.appliance {
        text.line("API", api);
        text.line("data", orchestrator.data_dir.display());
        if let Some(database) = &orchestrator.database {
            text.line("jobs", &database.url);
        }
        match &orchestrator.code_source {
            CodeSource::Directory => text.line("code", orchestrator.code_dir.display()),
            CodeSource::PuppetServer(server) => text.line("code", format!("Puppet Server, {}", service(server))),
        }
        text.line("PuppetDB", orchestrator.puppetdb.as_ref().map_or("none".to_owned(), service));
        text.line("node groups", orchestrator.classifier.as_ref().map_or("here".to_owned(), service));
        let access = &orchestrator.access;
        let listed =
            access.certificate_allowlist.as_deref().map_or("nobody".to_owned(), |path| path.display().to_string());
        text.line("certificates as users", listed);
        text.line("audit log", place(access.audit_log.as_deref()));
        text.line("brokers that may link", list(orchestrator.brokers.iter()));
    }
    text.line("log", format!("{:?}, {}", configuration.log.level, place(configuration.log.file.as_deref())));
    budget(&mut text, configuration.broker);
    text.0
}

fn service(settings: &ServiceSettings) -> String {
    let ServiceSettings { host, port, connect_timeout, request_timeout } = settings;
    let (connect, request) = (connect_timeout.as_secs_f64(), request_timeout.as_secs_f64());
    format!("https://{host}:{port}, {connect} s to connect, {request} s for an answer")
}

fn files(text: &mut Text, paths: &CertificatePaths, tls: &Tls) {
    text.line("certificate", format!("{} ({})", paths.certificate.display(), tls.name));
    text.line("key", paths.key.display());
    text.line("CAs", paths.ca.display());
    let due = tls.next_update().map_or_else(String::new, |time| format!(", the next one is due {time}"));
    text.line("CRLs", paths.crl.as_ref().map_or("none".to_owned(), |path| format!("{}{due}", path.display())));
}

fn broker(text: &mut Text, settings: &BrokerSettings) {
    let certificate = match settings.client_auth {
        ClientAuth::Need => "a client certificate is needed",
        ClientAuth::Want => "without a client certificate status pages only",
    };
    text.line("listener", format!("{}, {certificate}", settings.listen));
    let sessions = match settings.tls_sessions {
        TlsSessions::Rustls => "rustls",
        TlsSessions::Compact => "compact",
    };
    text.line("TLS sessions", sessions);
    let mount = |path: &Option<String>| path.clone().unwrap_or_else(|| "not spoken".to_owned());
    text.line("PCP v1", mount(&settings.mounts.v1));
    text.line("PCP v2", mount(&settings.mounts.v2));
    text.line("status, metrics", format!("{}, {}", settings.mounts.status, settings.mounts.metrics));
    text.line("who may send what", access(&settings.access));
    for controller in &settings.controllers.uris {
        let address = &controller.address;
        let way = format!("wss://{}:{}{}", address.host, address.port, address.path);
        text.line("controller", format!("{way}, named pcp://{}/server", controller.authority));
    }
    if !settings.controllers.uris.is_empty() {
        text.line("controllers may send", list(super::host::allowlist(&settings.controllers).iter()));
        text.line("grace without controllers", seconds(settings.controllers.grace_period));
    }
    text.line("files are looked at every", seconds(settings.certificate_check_period));
    text.line("pause between closes", seconds(settings.expired_throttle));
    text.line("drain at the end", seconds(settings.drain_timeout));
    text.line("log of messages", access_log(&settings.message_log));
    text.line("log of requests", access_log(&settings.request_log));
}

fn access(access: &ClientAccess) -> String {
    match access {
        ClientAccess::BuiltIn { privileged } => {
            format!("the built-in policy, privileged clients: {}", list(privileged.iter()))
        }
        ClientAccess::Rules(rules) => {
            let about = rules.rules.iter().map(|rule| format!("{} \"{}\"", rule.sort_order, rule.name));
            format!("{} rules of authorization: {}", rules.rules.len(), list(about))
        }
    }
}

fn access_log(settings: &AccessLogSettings) -> String {
    match settings.level {
        AccessLevel::Off => "off".to_owned(),
        level => format!("{level:?}, {:?}, {}", settings.format, place(settings.file.as_deref())),
    }
}

/// What the limits come to.
fn budget(text: &mut Text, settings: &BrokerSettings) {
    let connections = connection_limits(settings);
    text.title("limits");
    let bounds = bounds(workers(settings.workers), &connections);
    for (name, value) in &bounds {
        text.line(name, value);
    }
    text.title("resources");
    let most = connections.connections_max;
    let wanted = most + limits::DESCRIPTORS_BESIDE_CONNECTIONS;
    let (limit, advice) = match descriptors() {
        Some(limit) if limit < wanted as u64 => (limit.to_string(), "; raise LimitNOFILE or lower max-connections"),
        Some(limit) => (limit.to_string(), ""),
        None => ("no limit".to_owned(), ""),
    };
    text.line("file descriptors", format!("{wanted} for {most} connections, {limit} here{advice}"));
    let each = match settings.tls_sessions {
        TlsSessions::Compact => limits::IDLE_CONNECTION_BYTES,
        TlsSessions::Rustls => limits::IDLE_CONNECTION_RUSTLS_BYTES,
    };
    let idle = most * each + limits::PROCESS_BYTES;
    text.line(
        "memory, all idle",
        format!("{} in the process, {} in the kernel", mebibytes(idle), mebibytes(most * limits::SOCKET_BYTES)),
    );
    let held: usize = bounds.iter().filter(|(name, _)| HELD.contains(name)).map(|(_, value)| value).sum();
    text.line("memory, at most", format!("{} more, if clients that mean no good fill every queue", mebibytes(held)));
}

/// The limits that are memory, summed over the workers.
const HELD: [&str; 5] = [
    "queued_bytes_max",
    "partial_bytes_max",
    "mailbox_bytes_max",
    "access_log_bytes_max",
    "controller_queue_bytes_max",
];

fn place(file: Option<&Path>) -> String {
    file.map_or("standard error".to_owned(), |file| file.display().to_string())
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Titles, and names with values in two columns.
#[derive(Default)]
struct Text(String);

impl Text {
    fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{gap}{title}\n"));
    }

    fn line(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("  {name:<27} {value}\n"));
    }
}
