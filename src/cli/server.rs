//! `podium server`: puts broker, orchestrator and API together in one process. The orchestrator's link to the broker is
//! a pair of bounded queues here; to a broker elsewhere it would be a websocket, and it could not tell.

mod local_link;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use tracing::{error, info};

use super::host::{self, BrokerHost, Tls, check_certificates};
use super::service::{self, Failure};
use crate::api;
use crate::broker::controllers::{Controller, Way};
use crate::config::settings::ServerSettings;
use crate::config::{Loaded, load_server};
use crate::observe::status::{Service, ServiceHealth, ServiceState};
use crate::orchestrator::inventory::LinkedBroker;
use crate::orchestrator::{BrokerLink, Orchestrator};
use local_link::{ToBroker, to_orchestrator};

/// Time for connections and requests under way when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory with the configuration files
    #[arg(long, default_value = "/etc/puppetlabs/podium")]
    config: PathBuf,
    /// Check the configuration and the files it names, and exit
    #[arg(long)]
    check: bool,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let loaded = load_server(&arguments.config);
    match loaded {
        Ok(Loaded { settings, warnings }) if arguments.check => check_certificates(&settings.certificates, &warnings),
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
    let tls = Tls::load(&settings.certificates, settings.broker.client_auth).map_err(Failure::Configuration)?;
    Appliance::start(settings, tls).map_err(Failure::Work)?.serve(config, signals);
    Ok(())
}

/// Everything that runs.
struct Appliance {
    tls: Tls,
    host: BrokerHost,
    orchestrator: Orchestrator,
    api: api::Server,
}

impl Appliance {
    fn start(settings: &ServerSettings, tls: Tls) -> Result<Self, String> {
        if let Some(own) = settings.orchestrator.brokers.iter().find(|name| name.eq_ignore_ascii_case(&tls.name)) {
            return Err(format!(
                "orchestrator.brokers: {own} is this server itself, whose broker needs no link; remove it"
            ));
        }
        let (port, from_broker) = to_orchestrator();
        let uri = format!("pcp://{}/orchestrator", tls.name);
        let controller = Arc::new(Controller {
            uri: uri.as_str().into(),
            way: Way::Port(Box::new(port)),
            allowlist: host::allowlist(&settings.broker.controllers),
        });
        let host = BrokerHost::start(&settings.broker, &tls, vec![controller.clone()])?;
        let link = BrokerLink {
            broker_uri: format!("pcp://{}/server", tls.name),
            to_broker: Box::new(ToBroker::new(host.mailboxes(), controller)),
            from_broker,
        };
        let orchestrator = Orchestrator::start(&settings.orchestrator, vec![link])
            .map_err(|refusal| format!("the orchestrator cannot start: {}", refusal.message))?;
        let api = start_api(settings, &tls, &host, &orchestrator)?;
        Ok(Self { tls, host, orchestrator, api })
    }

    /// Runs until a signal says stop.
    fn serve(self, config: &Path, mut signals: Signals) {
        info!(name = self.tls.name, "the server is up");
        for signal in signals.forever() {
            if signal != SIGHUP {
                info!(signal, "stopping");
                break;
            }
            match self.tls.reload() {
                Ok(()) => info!("certificates, CAs and CRLs were read again"),
                Err(message) => error!("certificates stay as they were: {message}"),
            }
            self.host.reload(load_server(config), |settings| (&settings.log, &settings.broker));
        }
        // Clients first, so that nothing new is acknowledged; the orchestrator last, so that what agents still say is kept.
        self.host.broker.begin_stop();
        self.api.stop(STOP_GRACE);
        self.host.stop(STOP_GRACE);
        self.orchestrator.stop();
        info!("stopped");
    }
}

fn start_api(
    settings: &ServerSettings,
    tls: &Tls,
    host: &BrokerHost,
    orchestrator: &Orchestrator,
) -> Result<api::Server, String> {
    let broker_service = host.watch.service(&host.broker);
    let metrics = host.metrics.clone();
    let probed = orchestrator.clone();
    let orchestrator_service = Service {
        name: "orchestrator-service",
        probe: Arc::new(move |_| ServiceHealth {
            state: if probed.is_dispatching() { ServiceState::Running } else { ServiceState::Error },
            details: Map::from_iter([("brokers".to_owned(), probed.brokers().iter().map(broker_details).collect())]),
        }),
    };
    let setup = api::Setup {
        listen: settings.api_listen,
        tls: tls.api.clone(),
        backend: Arc::new(orchestrator.clone()),
        public_url: format!("https://{}:{}", tls.name, settings.api_listen.port()),
        services: vec![orchestrator_service, broker_service],
        counts: metrics.clone(),
        metrics: Arc::new(move || metrics.render()),
        brokers: settings.orchestrator.brokers.clone(),
    };
    api::Server::start(&setup).map_err(|error| format!("{}: the API cannot listen: {error}", settings.api_listen))
}

fn broker_details(broker: &LinkedBroker) -> Value {
    json!({"broker": *broker.uri, "since": broker.since.to_millis_string(), "connections": broker.nodes})
}
