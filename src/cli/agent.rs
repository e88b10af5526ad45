//! `podium agent`: dials a broker and runs what it is asked to. Puts the agent on a reactor with one worker.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use super::service::{self, Failure};
use crate::agent::assemble::{Credentials, assemble};
use crate::agent::connect::Mail;
use crate::agent::execute::WrapperCommand;
use crate::agent::executor::Post;
use crate::config::load_agent;
use crate::config::settings::AgentSettings;
use crate::limits::CLOSE_TIMEOUT;
use crate::random;
use crate::reactor::{ConnectionLimits, Mailboxes, Options, Reactor};

/// Unanswered pings after which the broker is given up, as in pxp-agent.
const PINGS_MISSED_MAX: u32 = 3;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory with pxp-agent.conf
    #[arg(long, default_value = "/etc/puppetlabs/pxp-agent")]
    config: PathBuf,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    service::run("agent", load_agent(&arguments.config), |settings| &settings.log, serve)
}

/// Runs until a signal says to stop. Tasks that run by then go on without us.
fn serve(settings: &AgentSettings, mut signals: Signals) -> Result<(), Failure> {
    let credentials = Credentials::load(settings).map_err(|error| Failure::Configuration(error.to_string()))?;
    let reactor = start(settings, &credentials).map_err(Failure::Work)?;
    for signal in signals.forever() {
        if signal != SIGHUP {
            tracing::info!("signal {signal}: stopping; running tasks go on");
            break;
        }
        match credentials.reload(settings) {
            Ok(()) => tracing::info!("certificates read again; new connections use them"),
            Err(error) => tracing::error!("certificates stay as they were: {error}"),
        }
    }
    reactor.stop(CLOSE_TIMEOUT);
    Ok(())
}

fn start(settings: &AgentSettings, credentials: &Credentials) -> Result<Reactor<Mail>, String> {
    // The threads exist before the mailbox does, but have nothing to say before they are asked.
    let mailboxes: Arc<OnceLock<Mailboxes<Mail>>> = Arc::default();
    let mailbox = mailboxes.clone();
    let post: Post = Arc::new(move |mail| match mailbox.get() {
        Some(mailboxes) => mailboxes.send(0, mail),
        None => Err(mail),
    });
    let seed = random::seed();
    let agent =
        assemble(settings, credentials, WrapperCommand::own(), post, seed).map_err(|error| error.to_string())?;
    let mut agent = Some(agent);
    let options = Options {
        client_tls: Some(credentials.tls()),
        ping_interval: Some(settings.ping_interval),
        limits: ConnectionLimits {
            handshake_timeout: settings.connection_timeout,
            idle_timeout: settings.ping_interval * PINGS_MISSED_MAX,
            ..ConnectionLimits::default()
        },
        ..Options::new()
    };
    let reactor = Reactor::start(options, |_, all| {
        // Whoever else sets it would set the same.
        let _ = mailboxes.set(all.clone());
        agent.take().expect("there is one worker")
    })
    .map_err(|error| error.to_string())?;
    reactor.mailboxes().send(0, Mail::Start).map_err(|_| "the worker ended as soon as it was started")?;
    Ok(reactor)
}
