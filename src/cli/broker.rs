//! `podium broker`: the broker alone, on a compile node, for orchestrators elsewhere.

use std::path::PathBuf;
use std::process::ExitCode;

use signal_hook::iterator::Signals;
use tracing::info;

use super::activation::Inherited;
use super::certificates::Tls;
use super::host::{BrokerHost, check_certificates};
use super::service::{self, Failure};
use super::supervise;
use crate::config::settings::BrokerNodeSettings;
use crate::config::{Loaded, load_broker};

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
fn serve(settings: &BrokerNodeSettings, signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates).map_err(Failure::Configuration)?;
    let inherited = Inherited::take().map_err(Failure::Configuration)?;
    let listen = inherited.pcp_only().unwrap_or(settings.broker.listen.into());
    let host = BrokerHost::start(&settings.broker, &tls, listen, Vec::new()).map_err(Failure::Work)?;
    info!(name = tls.name, "the broker is up");
    supervise::until_stopped(signals, &settings.broker, &host, &tls, || true).map_err(Failure::Work)?;
    host.stop(settings.broker.drain_timeout);
    info!("stopped");
    Ok(())
}
