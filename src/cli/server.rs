//! `podium server`: puts broker, orchestrator and API together in one process. The orchestrator's link to the broker is
//! a pair of bounded queues here; to a broker elsewhere it would be a websocket, and it could not tell.

mod local_link;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use signal_hook::iterator::Signals;
use tracing::info;

use super::activation::Inherited;
use super::certificates::Tls;
use super::host::{self, BrokerHost, check_certificates};
use super::service::{self, Failure};
use super::supervise;
use crate::api::{self, Service, ServiceHealth, ServiceState};
use crate::broker::Broker;
use crate::broker::controllers::Controller;
use crate::config::settings::{BrokerSettings, ServerSettings};
use crate::config::{Loaded, load_server};
use crate::observe::metrics::Metrics;
use crate::orchestrator::{BrokerLink, Orchestrator};
use crate::reactor::Listen;
use local_link::{ToBroker, ToOrchestrator};

/// Time for requests to the API that are under way when the process stops.
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
        loaded => service::run("server", loaded, |settings| &settings.log, serve),
    }
}

/// Runs until a signal says stop.
fn serve(settings: &ServerSettings, signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates).map_err(Failure::Configuration)?;
    let inherited = Inherited::take().map_err(Failure::Configuration)?;
    Appliance::start(settings, tls, inherited).map_err(Failure::Work)?.serve(&settings.broker, signals)
}

/// Everything that runs.
struct Appliance {
    tls: Tls,
    host: BrokerHost,
    orchestrator: Orchestrator,
    api: api::Server,
}

impl Appliance {
    fn start(settings: &ServerSettings, tls: Tls, inherited: Inherited) -> Result<Self, String> {
        let pcp = inherited.pcp.unwrap_or(settings.broker.listen.into());
        let api = inherited.api.unwrap_or(settings.api_listen.into());
        let (port, from_broker) = ToOrchestrator::new();
        let uri = format!("pcp://{}/orchestrator", tls.name);
        let controller = Arc::new(Controller {
            uri: uri.as_str().into(),
            port: Box::new(port),
            allowlist: host::allowlist(&settings.broker.controllers),
        });
        let host = BrokerHost::start(&settings.broker, &tls, pcp, vec![controller.clone()])?;
        let link = BrokerLink {
            broker_uri: format!("pcp://{}/server", tls.name),
            to_broker: Box::new(ToBroker::new(host.mailboxes(), controller)),
            from_broker,
        };
        let orchestrator = Orchestrator::start(&settings.orchestrator, &uri, vec![link])
            .map_err(|refusal| format!("the orchestrator cannot start: {}", refusal.message))?;
        let api = start_api(api, &tls, &host.broker, &orchestrator, host.metrics.clone())?;
        Ok(Self { tls, host, orchestrator, api })
    }

    /// Runs until a signal says stop.
    fn serve(self, settings: &BrokerSettings, signals: Signals) -> Result<(), Failure> {
        let Self { tls, host, orchestrator, api } = self;
        info!(name = tls.name, "the server is up");
        supervise::until_stopped(signals, settings, &host, &tls, || orchestrator.is_dispatching())
            .map_err(Failure::Work)?;
        // Clients first, so that nothing new is acknowledged; the orchestrator last, so that what agents still say is kept.
        host.shut();
        api.stop(STOP_GRACE);
        host.stop(settings.drain_timeout);
        orchestrator.stop();
        info!("stopped");
        Ok(())
    }
}

fn start_api(
    listen: Listen,
    tls: &Tls,
    broker: &Arc<Broker>,
    orchestrator: &Orchestrator,
    metrics: Arc<Metrics>,
) -> Result<api::Server, String> {
    let probed = broker.clone();
    let broker_service = Service {
        name: "broker-service",
        probe: Arc::new(move || {
            let state = if probed.is_stopping() { ServiceState::Stopping } else { ServiceState::Running };
            let mut details = Map::new();
            details.insert("connections".to_owned(), json!(probed.directory.len()));
            ServiceHealth { state, details }
        }),
    };
    let probed = orchestrator.clone();
    let orchestrator_service = Service {
        name: "orchestrator-service",
        probe: Arc::new(move || ServiceHealth {
            state: if probed.is_dispatching() { ServiceState::Running } else { ServiceState::Error },
            details: Map::new(),
        }),
    };
    let address = listen.address().map_err(|error| format!("the API's socket: {error}"))?;
    let setup = api::Setup {
        listen,
        tls: tls.api.clone(),
        backend: Arc::new(orchestrator.clone()),
        public_url: format!("https://{}:{}", tls.name, address.port()),
        services: vec![orchestrator_service, broker_service],
        metrics: Arc::new(move || metrics.render()),
    };
    api::Server::start(&setup).map_err(|error| format!("{address}: the API cannot listen: {error}"))
}
