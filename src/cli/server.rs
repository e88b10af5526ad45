//! `podium server`: puts broker, orchestrator and API together in one process. The orchestrator's link to the broker is
//! a pair of bounded queues here; to a broker elsewhere it would be a websocket, and it could not tell.

mod backup;
mod health;
mod inspect;
mod local_link;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use signal_hook::iterator::Signals;
use tracing::info;

use super::activation::Inherited;
use super::certificates::{Tls, Wanted};
use super::check::{self, Configuration};
use super::host::{self, BrokerHost};
use super::service::{self, Failure};
use super::supervise::{self, Hooks};
use crate::api;
use crate::broker::controllers::{Controller, Way};
use crate::config::settings::ServerSettings;
use crate::config::{Loaded, load_server, restart};
use crate::observe::audit_log::AuditLog;
use crate::observe::metrics::Label;
use crate::observe::status::Service;
use crate::orchestrator::sources::service::Identity;
use crate::orchestrator::{BrokerLink, Orchestrator};
use crate::reactor::Listen;
use local_link::{ToBroker, to_orchestrator};

/// Time for requests to the API that are under way when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory with the configuration files
    #[arg(long, default_value = "/etc/puppetlabs/podium", global = true)]
    config: PathBuf,
    /// Check the configuration and the files it names, and exit
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else can be done with what a server keeps.
#[derive(Debug, Subcommand)]
enum Command {
    /// Copies what the server keeps to a new directory, while it runs or not
    Backup(backup::BackupArguments),
    /// Makes the data directory what it was at a backup; the server must not run
    Restore(backup::RestoreArguments),
    /// Checks whether what the server keeps is whole, while it runs or not
    CheckDatabase,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        Some(Command::Backup(wanted)) => return backup::run_backup(&arguments.config, wanted),
        Some(Command::Restore(wanted)) => return backup::run_restore(&arguments.config, wanted),
        Some(Command::CheckDatabase) => return inspect::run(&arguments.config),
        None => {}
    }
    let loaded = load_server(&arguments.config);
    match loaded {
        Ok(Loaded { settings, warnings }) if arguments.check => {
            let ServerSettings { certificates, log, broker, api_listen, orchestrator } = &settings;
            let appliance = Some((*api_listen, orchestrator));
            check::run(&Configuration { certificates, log, broker, appliance }, &warnings)
        }
        loaded => service::run(
            "server",
            loaded,
            |settings| &settings.log,
            |settings, signals| serve(settings, &arguments.config, signals),
        ),
    }
}

/// Runs until a signal says stop.
fn serve(settings: &ServerSettings, config: &Path, signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates, Wanted::of(&settings.broker)).map_err(Failure::Configuration)?;
    let inherited = Inherited::take().map_err(Failure::Configuration)?;
    Appliance::start(settings, tls, inherited).map_err(Failure::Work)?.serve(settings, config, signals)
}

/// Everything that runs.
struct Appliance {
    tls: Tls,
    host: BrokerHost,
    orchestrator: Orchestrator,
    api: api::Server,
    audit: Arc<AuditLog>,
}

impl Appliance {
    fn start(settings: &ServerSettings, tls: Tls, inherited: Inherited) -> Result<Self, String> {
        if let Some(own) = settings.orchestrator.brokers.iter().find(|name| name.eq_ignore_ascii_case(&tls.name)) {
            return Err(format!(
                "orchestrator.brokers: {own} is this server itself, whose broker needs no link; remove it"
            ));
        }
        let pcp = inherited.pcp.unwrap_or(settings.broker.listen.into());
        let api = inherited.api.unwrap_or(settings.api_listen.into());
        let (port, from_broker) = to_orchestrator();
        let uri = format!("pcp://{}/orchestrator", tls.name);
        let controller = Arc::new(Controller {
            uri: uri.as_str().into(),
            way: Way::Port(Box::new(port)),
            allowlist: host::allowlist(&settings.broker.controllers),
        });
        let host = BrokerHost::start(&settings.broker, &tls, pcp, vec![controller.clone()])?;
        let link = BrokerLink {
            broker_uri: format!("pcp://{}/server", tls.name),
            to_broker: Box::new(ToBroker::new(host.mailboxes(), controller)),
            from_broker,
        };
        let identity = Identity { name: tls.name.clone(), tls: tls.client.clone() };
        let orchestrator = Orchestrator::start(&settings.orchestrator, &identity, vec![link])
            .map_err(|refusal| format!("the orchestrator cannot start: {}", refusal.message))?;
        let dropped = host.metrics.access_log_dropped.get_or_create(&Label { label: "audit" }).clone();
        let audit_log = settings.orchestrator.access.audit_log.as_deref();
        let audit = Arc::new(AuditLog::open(audit_log, dropped).map_err(|error| format!("the audit log: {error}"))?);
        let api = start_api(api, settings, &tls, &host, &orchestrator, audit.clone())?;
        Ok(Self { tls, host, orchestrator, api, audit })
    }

    /// Runs until a signal says stop.
    fn serve(self, settings: &ServerSettings, config: &Path, signals: Signals) -> Result<(), Failure> {
        let Self { tls, host, orchestrator, api, audit } = self;
        info!(name = tls.name, "the server is up");
        let hooks = Hooks {
            is_alive: &|| orchestrator.is_dispatching(),
            must_end: &|| {
                orchestrator.fenced().map(|why| format!("another server has taken the place of this one: {why}"))
            },
            read_again: &|| {
                audit.reopen();
                orchestrator.rbac().allowlist().reload();
                host.reload(load_server(config), |now| restart::server(settings, now), |now| (&now.log, &now.broker))
            },
            distrusted: &|| api.close_links(),
        };
        supervise::until_stopped(signals, &settings.broker, &host, &tls, &hooks).map_err(Failure::Work)?;
        // Clients first, so that nothing new is acknowledged; the orchestrator last, so that what agents still say is kept.
        host.shut();
        api.stop(STOP_GRACE);
        host.stop(settings.broker.drain_timeout);
        orchestrator.stop();
        info!("stopped");
        Ok(())
    }
}

fn start_api(
    listen: Listen,
    settings: &ServerSettings,
    tls: &Tls,
    host: &BrokerHost,
    orchestrator: &Orchestrator,
    audit: Arc<AuditLog>,
) -> Result<api::Server, String> {
    let broker_service = host.watch.service(&host.broker);
    let metrics = host.metrics.clone();
    let (probed, counted) = (orchestrator.clone(), orchestrator.clone());
    let orchestrator_service =
        Service { name: "orchestrator-service", probe: Arc::new(move |_| health::of_orchestrator(&probed)) };
    let address = listen.address().map_err(|error| format!("the API's socket: {error}"))?;
    let setup = api::Setup {
        listen,
        tls: tls.api.clone(),
        backend: Arc::new(orchestrator.clone()),
        public_url: format!("https://{}:{}", tls.name, address.port()),
        services: vec![orchestrator_service, broker_service],
        audit,
        counts: metrics.clone(),
        metrics: Arc::new(move || {
            health::count(&counted, &metrics);
            metrics.render()
        }),
        brokers: settings.orchestrator.brokers.clone(),
    };
    api::Server::start(&setup).map_err(|error| format!("{address}: the API cannot listen: {error}"))
}
