//! `podium agent`: dials a broker and runs what it is asked to. Puts the agent on a reactor with one worker.

mod check;
mod flags;
mod process;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGUSR2};
use signal_hook::iterator::Signals;

use self::flags::Flags;
use self::process::PidFile;
use super::service::{self, Failure};
use crate::agent::assemble::{Credentials, assemble};
use crate::agent::confine::Confinement;
use crate::agent::connect::Mail;
use crate::agent::execute::WrapperCommand;
use crate::agent::executor::Post;
use crate::config::load_agent;
use crate::config::settings::AgentSettings;
use crate::limits::CLOSE_TIMEOUT;
use crate::link::Dial;
use crate::observe::log;
use crate::random;
use crate::reactor::{ConnectionLimits, Mailboxes, Options, Outfitter, Reactor};
use crate::tunnel::ProxyUri;

/// Unanswered pings after which the broker is given up, as in pxp-agent.
const PINGS_MISSED_MAX: u32 = 3;

/// Exit code for settings that cannot be used, as pxp-agent has it; 2 is for what cannot even be read.
const INVALID: u8 = 3;

/// Exit code of a process that cannot leave its terminal, as pxp-agent has it.
const NOT_DAEMONIZED: u8 = 4;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Given by an agent that has left its terminal to the process that goes on
    #[arg(long, hide = true)]
    detached: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Runs the agent, as without a word
    #[command(hide = true)]
    Start,
    /// Explains the state of this node: certificates, brokers, file servers, directories, Puppet
    Check,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { flags, detached, action } = arguments;
    let loaded = match load_agent(&flags.config, &flags.overrides()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            let unreadable = problems.0.iter().any(|problem| problem.key.is_empty());
            return ExitCode::from(if unreadable { 2 } else { INVALID });
        }
    };
    if let Some(Action::Check) = action {
        return check::run(&loaded.settings, &loaded.warnings);
    }
    if *detached {
        process::leave_session();
    } else if loaded.settings.daemonize {
        return leave(flags, &loaded.settings);
    }
    service::run("agent", Ok(loaded), |settings| &settings.log, serve)
}

/// What the settings name must be there, and good for what it is named for.
fn judge(settings: &AgentSettings) -> Result<Credentials, String> {
    Confinement::of(&settings.tasks)?;
    Credentials::load(settings).map_err(|error| error.to_string())
}

/// Goes on without a terminal, after a look at what would fail there without anybody seeing it.
fn leave(flags: &Flags, settings: &AgentSettings) -> ExitCode {
    if let Err(error) = judge(settings) {
        eprintln!("{error}");
        return ExitCode::from(INVALID);
    }
    if let Some(pid) = settings.pidfile.as_deref().and_then(process::running) {
        eprintln!("Already running with PID={pid}");
        return ExitCode::FAILURE;
    }
    process::detach(&flags.config).unwrap_or_else(|error| {
        eprintln!("the agent cannot leave the foreground: {error}");
        ExitCode::from(NOT_DAEMONIZED)
    })
}

/// Runs until a signal says to stop. Tasks that run by then go on without us.
fn serve(settings: &AgentSettings, mut signals: Signals) -> Result<(), Failure> {
    let _pidfile = settings.pidfile.as_deref().map(PidFile::write).transpose().map_err(Failure::Work)?;
    for signal in [SIGQUIT, SIGUSR2] {
        signals.add_signal(signal).map_err(|error| Failure::Work(format!("signals cannot be handled: {error}")))?;
    }
    let credentials = judge(settings).map_err(|error| Failure::Exit(error, INVALID))?;
    let reactor = start(settings, &credentials).map_err(Failure::Work)?;
    for signal in signals.forever() {
        match signal {
            // The log looks whether its file was moved away; this makes it look now.
            SIGUSR2 => log::change(settings.log.level),
            SIGHUP => {
                log::change(settings.log.level);
                match credentials.reload(settings) {
                    Ok(()) => tracing::info!("certificates read again; new connections use them"),
                    Err(error) => tracing::error!("certificates stay as they were: {error}"),
                }
            }
            _ => {
                tracing::info!("signal {signal}: stopping; running tasks go on");
                break;
            }
        }
    }
    reactor.stop(CLOSE_TIMEOUT);
    Ok(())
}

/// Connects through the proxy of the settings.
struct Proxied(ProxyUri);

impl Outfitter for Proxied {
    fn tls(&self, _dial: &Dial) -> Option<Arc<ClientConfig>> {
        None
    }

    fn address(&self, _dial: &Dial) -> Option<SocketAddr> {
        None
    }

    fn source(&self, _dial: &Dial) -> Option<IpAddr> {
        None
    }

    fn proxy(&self, _dial: &Dial) -> Option<ProxyUri> {
        Some(self.0.clone())
    }
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
        outfitter: settings.broker_proxy.clone().map(|proxy| Arc::new(Proxied(proxy)) as Arc<dyn Outfitter>),
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
