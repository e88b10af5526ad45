//! `podium broker`: the broker alone, on a compile node, for orchestrators elsewhere.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use super::host::{BrokerHost, Tls, check_certificates};
use super::service::{self, Failure};
use crate::config::settings::BrokerNodeSettings;
use crate::config::{Loaded, load_broker};

/// Time for connections when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory with the configuration files
    #[arg(long, default_value = "/etc/puppetlabs/pcp-broker")]
    config: PathBuf,
    /// Check the configuration and the files it names, and exit
    #[arg(long)]
    check: bool,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    match load_broker(&arguments.config) {
        Ok(Loaded { settings, warnings }) if arguments.check => check_certificates(&settings.certificates, &warnings),
        loaded => service::run("broker", loaded, |settings| &settings.log, serve),
    }
}

/// Runs until a signal says stop.
fn serve(settings: &BrokerNodeSettings, mut signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates).map_err(Failure::Configuration)?;
    let host = BrokerHost::start(&settings.broker, &tls, Vec::new()).map_err(Failure::Work)?;
    let controllers = settings.broker.controllers.uris.len();
    info!(name = tls.name, controllers, "the broker is up");
    if controllers == 0 {
        warn!("no pcp-broker.controller-uris: only privileged clients can give orders to agents");
    }
    for signal in signals.forever() {
        if signal != SIGHUP {
            info!(signal, "stopping");
            break;
        }
        match tls.reload() {
            Ok(()) => info!("certificates, CAs and CRLs were read again"),
            Err(message) => error!("certificates stay as they were: {message}"),
        }
    }
    host.broker.begin_stop();
    host.stop(STOP_GRACE);
    info!("stopped");
    Ok(())
}
