//! Puts an agent together from its settings: certificates, spool, cache, threads, application. What can fail fails
//! here, before anything is connected, with a text that says what to do.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use serde_json::Value;

use super::access::AccessLog;
use super::confine::{Confinement, Launcher};
use super::connect::{Agent, data_max};
use super::dialect::Dialect;
use super::execute::WrapperCommand;
use super::executor::{Post, Threads, Workshop};
use super::modules::apply::ApplySettings;
use super::modules::{self, external};
use super::registry::Registry;
use super::spool::Spool;
use super::task_cache::{Sources, TaskCache};
use crate::config::settings::{AgentSettings, PcpVersion};
use crate::pxp::puppet_run;
use crate::tls::identity::peer_name;
use crate::tls::material::Material;

/// Why there is no agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssemblyError(String);

impl fmt::Display for AssemblyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AssemblyError {}

/// Who the agent is, by its certificate.
pub struct Credentials {
    common_name: Box<str>,
    tls: Arc<ArcSwap<ClientConfig>>,
}

impl Credentials {
    /// Reads certificate, key, CAs and CRLs.
    pub fn load(settings: &AgentSettings) -> Result<Self, AssemblyError> {
        let (common_name, tls) = read(settings)?;
        Ok(Self { common_name, tls: Arc::new(ArcSwap::new(tls)) })
    }

    /// Reads the files again, for connections and downloads from then on.
    pub fn reload(&self, settings: &AgentSettings) -> Result<(), AssemblyError> {
        let (common_name, tls) = read(settings)?;
        if common_name != self.common_name {
            let text = format!("the certificate is now for {common_name}, not {}; restart the agent", self.common_name);
            return Err(AssemblyError(text));
        }
        self.tls.store(tls);
        Ok(())
    }

    /// The name in the certificate.
    pub fn name(&self) -> &str {
        &self.common_name
    }

    /// For the reactor; always the files as last read.
    pub fn tls(&self) -> Arc<ArcSwap<ClientConfig>> {
        self.tls.clone()
    }
}

fn read(settings: &AgentSettings) -> Result<(Box<str>, Arc<ClientConfig>), AssemblyError> {
    let material = Material::load(&settings.certificates).map_err(|error| AssemblyError(error.to_string()))?;
    let tls = material.resuming_client_config().map_err(|error| AssemblyError(error.to_string()))?;
    let name = peer_name(material.certificate()).map_err(|error| {
        let (path, label) = (settings.certificates.certificate.display(), error.label());
        AssemblyError(format!("{path}: {label}; an agent needs a certificate with one plain common name"))
    })?;
    Ok((name.common_name, tls))
}

/// An agent that is ready to be run by a reactor of one worker. `post` reaches its mailbox; `seed` is for pauses and
/// message ids.
pub fn assemble(
    settings: &AgentSettings,
    credentials: &Credentials,
    wrapper: WrapperCommand,
    post: Post,
    seed: u64,
) -> Result<Agent<Threads>, AssemblyError> {
    if settings.brokers.is_empty() {
        return Err(AssemblyError("no broker is configured; set broker-ws-uris".into()));
    }
    let data_max = data_max(settings.message_bytes_max);
    let spool =
        Spool::open(&settings.spool_dir, data_max).map_err(|error| unusable("spool", &settings.spool_dir, &error))?;
    let cache = TaskCache::open(Sources {
        directory: settings.cache_dir.clone(),
        primaries: settings.primaries.clone(),
        proxy: settings.primary_proxy.clone(),
        tls: credentials.tls(),
        connect_timeout: settings.download_connect_timeout,
        total_timeout: settings.download_timeout,
        pause: std::thread::sleep,
    })
    .map_err(|error| unusable("task cache", &settings.cache_dir, &error))?;
    let confinement = Confinement::of(&settings.tasks).map_err(AssemblyError)?;
    if let Some(confinement) = &confinement {
        confinement.open_to_tasks(&settings.cache_dir).map_err(AssemblyError)?;
    }
    let launcher = confinement.map(|confinement| Launcher { program: wrapper.program.clone(), confinement });
    let registry = Arc::new(registry(settings, &wrapper));
    let threads = Threads::start(Workshop {
        spool,
        cache,
        registry: registry.clone(),
        wrapper,
        launcher,
        post,
        data_max,
        spool_ttl: settings.spool_ttl,
        cache_ttl: settings.cache_ttl,
    })
    .map_err(|error| AssemblyError(format!("cannot start threads: {error}; raise the limit of processes")))?;
    let brokers = settings.brokers.clone();
    let dialect = match settings.pcp_version {
        PcpVersion::One { association_timeout, message_ttl } => Dialect::V1 { association_timeout, message_ttl },
        PcpVersion::Two => Dialect::V2,
    };
    let access = match settings.access_log.clone().map(|path| (path.clone(), AccessLog::open(path))) {
        None => None,
        Some((_, Ok(access))) => Some(access),
        Some((path, Err(error))) => {
            let path = path.display();
            return Err(AssemblyError(format!(
                "{path}: the access log cannot be written: {error}; check its directory"
            )));
        }
    };
    let agent = Agent::new(&credentials.common_name, brokers, registry, settings.message_bytes_max, threads, seed);
    Ok(agent.speaking(dialect).logging(access))
}

/// The names of the external modules, and what is wrong with modules that are not used.
pub fn external_modules(settings: &AgentSettings) -> (Vec<String>, Vec<String>) {
    let mut registry = Registry::new(Vec::new());
    let mut problems = external::load(&settings.modules_dir, &settings.modules_config_dir, &mut registry);
    problems.extend(puppet_configuration(settings).err());
    (registry.external(), problems)
}

fn puppet_configuration(settings: &AgentSettings) -> Result<Option<Value>, String> {
    let path = settings.modules_config_dir.join(format!("{}.conf", puppet_run::MODULE));
    external::configuration(&path, Some(&modules::puppet::configuration_schema())).map_err(|error| {
        format!(
            "module {}: {error}; without it there are no Puppet runs: mend the file or remove it",
            puppet_run::MODULE
        )
    })
}

/// All actions. What is wrong with a module is told, and the agent does without it.
pub fn registry(settings: &AgentSettings, wrapper: &WrapperCommand) -> Registry {
    let mut work = modules::apply::entries(ApplySettings {
        certificates: settings.certificates.clone(),
        primaries: settings.primaries.clone(),
        proxy: settings.primary_proxy.as_ref().map(ToString::to_string),
        cache_dir: settings.cache_dir.clone(),
    });
    work.extend([modules::command::entry(), modules::file::entry(), modules::script::entry(), modules::task::entry()]);
    match puppet_configuration(settings) {
        Ok(configuration) => work.push(modules::puppet::entry(wrapper.program.clone(), configuration)),
        // As pxp-agent does: a Puppet of the wrong path would be worse than none.
        Err(error) => tracing::error!("{error}"),
    }
    let mut registry = Registry::new(work);
    for problem in external::load(&settings.modules_dir, &settings.modules_config_dir, &mut registry) {
        tracing::error!("{problem}");
    }
    registry
}

fn unusable(what: &str, directory: &std::path::Path, error: &std::io::Error) -> AssemblyError {
    let directory = directory.display();
    AssemblyError(format!("the {what} directory {directory} cannot be used: {error}; check its owner and mode"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::agent::registry::Found;
    use crate::config::settings::{BrokerUri, CertificatePaths, LogLevel, LogSettings, TaskSettings};

    fn settings(root: &Path) -> AgentSettings {
        let certificates = CertificatePaths {
            certificate: root.join("cert.pem"),
            key: root.join("key.pem"),
            ca: root.join("cert.pem"),
            crl: None,
        };
        AgentSettings {
            certificates,
            log: LogSettings { level: LogLevel::Info, file: None },
            brokers: vec![BrokerUri { host: "localhost".into(), port: 8142, path: "/pcp2/agent".into() }],
            broker_proxy: None,
            pcp_version: PcpVersion::Two,
            access_log: Some(root.join("access.log")),
            pidfile: None,
            daemonize: false,
            primary_proxy: None,
            primaries: Vec::new(),
            spool_dir: root.join("spool"),
            cache_dir: root.join("cache"),
            modules_dir: root.join("modules"),
            modules_config_dir: root.join("etc/modules"),
            connection_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(120),
            download_connect_timeout: Duration::from_secs(5),
            download_timeout: Duration::from_secs(5),
            spool_ttl: None,
            cache_ttl: None,
            message_bytes_max: 1000,
            tasks: TaskSettings::default(),
        }
    }

    fn certify(root: &Path, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        std::fs::write(root.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(root.join("key.pem"), key.serialize_pem()).unwrap();
    }

    #[test]
    fn an_agent_is_put_together_and_its_certificate_renewed() {
        let root = tempfile::tempdir().unwrap();
        let settings = settings(root.path());
        certify(root.path(), "node.example");
        let credentials = Credentials::load(&settings).unwrap();
        let post: Post = Arc::new(Err);
        assemble(&settings, &credentials, WrapperCommand::own(), post, 1).unwrap();
        assert!(root.path().join("spool").is_dir() && root.path().join("cache").is_dir());
        let before = credentials.tls().load_full();
        certify(root.path(), "node.example");
        credentials.reload(&settings).unwrap();
        assert!(!Arc::ptr_eq(&before, &credentials.tls().load_full()));
        certify(root.path(), "other.example");
        assert!(credentials.reload(&settings).unwrap_err().to_string().contains("restart the agent"));
    }

    #[test]
    fn puppet_with_a_broken_configuration_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let settings = settings(root.path());
        std::fs::create_dir_all(&settings.modules_config_dir).unwrap();
        let path = settings.modules_config_dir.join("pxp-module-puppet.conf");
        let module = || registry(&settings, &WrapperCommand::own());
        let problem = || external_modules(&settings).1.pop().unwrap();
        for (text, expected) in
            [("{puppet_bin", "it must be JSON"), (r#"{"puppet_bin": 1}"#, "its content"), ("", "JSON")]
        {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(module().find("pxp-module-puppet", "run"), Found::UnknownModule), "{text}");
            assert!(problem().contains(expected) && problem().contains("mend the file"), "{}", problem());
        }
        std::fs::write(&path, r#"{"puppet_bin": "/bin/true"}"#).unwrap();
        assert!(matches!(module().find("pxp-module-puppet", "run"), Found::Entry(_)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let mut settings = settings(root.path());
        assert!(Credentials::load(&settings).err().unwrap().to_string().contains("cert.pem"));
        certify(root.path(), "node.example");
        let credentials = Credentials::load(&settings).unwrap();
        settings.spool_dir = root.path().join("cert.pem/spool");
        let post: Post = Arc::new(Err);
        let error = assemble(&settings, &credentials, WrapperCommand::own(), post, 1).err().unwrap().to_string();
        assert!(error.contains("the spool directory"), "{error}");
    }
}
