//! `podium broker`: the broker alone, on a compile node, for orchestrators elsewhere. `podium broker status` asks one that
//! runs.

mod status;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use signal_hook::iterator::Signals;
use tracing::{info, warn};

use super::activation::Inherited;
use super::certificates::{Tls, Wanted};
use super::check::{self, Configuration};
use super::host::BrokerHost;
use super::output::{Output, finish};
use super::service::{self, Failure};
use super::supervise::{self, Hooks};
use crate::config::settings::BrokerNodeSettings;
use crate::config::{Loaded, load_broker, restart};

/// Where pcp-broker's own configuration is.
const CONFIG: &str = "/etc/puppetlabs/pcp-broker";

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Directory with the configuration files
    #[arg(long, default_value = CONFIG)]
    config: PathBuf,
    /// Check the configuration and the files it names, and exit
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Asks a running broker how it is
    Status(status::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    if let Some(Command::Status(arguments)) = &arguments.command {
        return finish(status::run(arguments, &mut Output::stdout()));
    }
    match load_broker(&arguments.config) {
        Ok(Loaded { settings, warnings }) if arguments.check => {
            let BrokerNodeSettings { certificates, log, broker } = &settings;
            check::run(&Configuration { certificates, log, broker, appliance: None }, &warnings)
        }
        loaded => service::run(
            "broker",
            loaded,
            |settings| &settings.log,
            |settings, signals| serve(settings, &arguments.config, signals),
        ),
    }
}

/// Runs until a signal says stop.
fn serve(settings: &BrokerNodeSettings, config: &Path, signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates, Wanted::of(&settings.broker)).map_err(Failure::Configuration)?;
    let inherited = Inherited::take().map_err(Failure::Configuration)?;
    let listen = inherited.pcp_only().unwrap_or(settings.broker.listen.into());
    let host = BrokerHost::start(&settings.broker, &tls, listen, Vec::new()).map_err(Failure::Work)?;
    let controllers = settings.broker.controllers.uris.len();
    info!(name = tls.name, controllers, "the broker is up");
    if controllers == 0 {
        warn!("no pcp-broker.controller-uris: only privileged clients can give orders to agents");
    }
    let hooks = Hooks {
        is_alive: &|| true,
        must_end: &|| None,
        read_again: &|| {
            host.reload(load_broker(config), |now| restart::broker_node(settings, now), |now| (&now.log, &now.broker))
        },
        distrusted: &|| {},
    };
    supervise::until_stopped(signals, &settings.broker, &host, &tls, &hooks).map_err(Failure::Work)?;
    host.stop(settings.broker.drain_timeout);
    info!("stopped");
    Ok(())
}
