//! `podium broker`: the broker alone, on a compile node, for orchestrators elsewhere. `podium broker status` asks one that
//! runs.

mod status;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use tracing::{error, info};

use super::host::{BrokerHost, Tls, check_certificates};
use super::output::{Output, finish};
use super::service::{self, Failure};
use crate::config::settings::BrokerNodeSettings;
use crate::config::{Loaded, load_broker};

/// Time for connections when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

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
        Ok(Loaded { settings, warnings }) if arguments.check => check_certificates(&settings.certificates, &warnings),
        loaded => service::run(
            "broker",
            loaded,
            |settings| &settings.log,
            |settings, signals| serve(settings, &arguments.config, signals),
        ),
    }
}

/// Runs until a signal says stop.
fn serve(settings: &BrokerNodeSettings, config: &Path, mut signals: Signals) -> Result<(), Failure> {
    let tls = Tls::load(&settings.certificates, settings.broker.client_auth).map_err(Failure::Configuration)?;
    let running = BrokerHost::start(&settings.broker, &tls, Vec::new()).map_err(Failure::Work)?;
    info!(name = tls.name, "the broker is up");
    for signal in signals.forever() {
        if signal != SIGHUP {
            info!(signal, "stopping");
            break;
        }
        match tls.reload() {
            Ok(()) => info!("certificates, CAs and CRLs were read again"),
            Err(message) => error!("certificates stay as they were: {message}"),
        }
        running.reload(load_broker(config), |settings| (&settings.log, &settings.broker));
    }
    running.broker.begin_stop();
    running.stop(STOP_GRACE);
    info!("stopped");
    Ok(())
}
