//! `podium capacity load`: plays a fleet of agents against a broker and measures both.

use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::ca::{self, Authority, KeyType};
use crate::capacity::load::host::{self, Host};
use crate::capacity::load::plan::{Keys, Plan, Protocol, Reconnect, RequestKind, Scenario, StormCause, TlsVersions};
use crate::capacity::load::recorder::{Display, Recorder, Sample};
use crate::capacity::load::results::{Heading, Results};
use crate::capacity::load::{LoadError, processes, report, share, sources};
use crate::cli::follow::interruption;
use crate::cli::output::{EXIT_FAILED, Failure, Output, finish, note};
use crate::clock::WallTime;

/// Time between lines of progress where there is no terminal.
const LINE_INTERVAL: f64 = 10.0;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to measure
    #[arg(value_enum, required_unless_present = "make_ca")]
    scenario: Option<Scenario>,
    /// Host and port of the broker; its certificate must be valid for the host
    #[arg(long, default_value = "localhost:8142", value_name = "HOST:PORT")]
    broker: String,
    /// Agents
    #[arg(short = 'n', long, default_value_t = 100)]
    connections: u32,
    /// A directory made by podium ca, whose key signs the agents' certificates
    #[arg(long, value_name = "DIR", conflicts_with_all = ["ca_cert", "ca_key"])]
    ca_dir: Option<PathBuf>,
    /// The CA's certificate, PEM; further CAs in the file are trusted too
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
    /// The CA's private key, PEM
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// Only makes a throw-away CA and a certificate for a broker on this host, and says how to use them
    #[arg(long, value_name = "DIR")]
    make_ca: Option<PathBuf>,
    /// The agents' key, which they share
    #[arg(long, value_enum, default_value_t = Keys::P256)]
    keys: Keys,
    /// TLS versions that the agents offer
    #[arg(long, value_enum, default_value_t = TlsVersions::Either)]
    tls: TlsVersions,
    /// What the agents speak
    #[arg(long, value_enum, default_value_t = Protocol::V2)]
    protocol: Protocol,
    /// What stands before the number in the agents' names
    #[arg(long, default_value = "node", value_name = "TEXT")]
    name_prefix: String,
    /// What stands after it
    #[arg(long, default_value = "", value_name = "TEXT")]
    name_suffix: String,
    /// Number of the first agent
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    first_number: u32,
    /// When agents that have lost their connection try again
    #[arg(long, value_enum, default_value_t = Reconnect::Legacy)]
    reconnect: Reconnect,
    /// What sets off the storm
    #[arg(long, value_enum, default_value_t = StormCause::Drop)]
    storm: StormCause,
    /// Certificate name of the controller; the broker must let it ask (pcp-broker.privileged-clients)
    #[arg(long, default_value = "load-controller", value_name = "NAME")]
    controller: String,
    /// Client type of the controller
    #[arg(long, default_value = "controller", value_name = "TYPE")]
    controller_type: String,
    /// Connects no controller
    #[arg(long)]
    without_controller: bool,
    /// Kind of the requests
    #[arg(long, value_enum, default_value_t = RequestKind::NonBlocking)]
    request: RequestKind,
    /// Requests per second, however slow the answers are; without it, --in-flight requests are under way all the time
    #[arg(long)]
    rate: Option<f64>,
    /// Requests under way where there is no --rate
    #[arg(long, default_value_t = 64)]
    in_flight: u32,
    /// Bytes in a request's parameters
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    request_bytes: usize,
    /// Bytes in a result
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    response_bytes: usize,
    /// Times that all agents are asked at once
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Agents that leave per second, in churn and mixed
    #[arg(long, default_value_t = 10.0)]
    churn: f64,
    /// Agents that do not read, in slow, besides the others
    #[arg(long, default_value_t = 10)]
    slow: u32,
    /// New connections per second at the start
    #[arg(long, default_value_t = 200.0)]
    ramp: f64,
    /// Length of the main part: 90, 90s, 5m, 2h
    #[arg(long, default_value = "60s", value_parser = time)]
    duration: Duration,
    /// Time for everything; the run ends with what there is by then
    #[arg(long, default_value = "30m", value_parser = time)]
    deadline: Duration,
    /// Time for a connection from its beginning to the upgrade
    #[arg(long, default_value = "5s", value_parser = time)]
    connect_timeout: Duration,
    /// Time between an agent's pings
    #[arg(long, default_value = "120s", value_parser = time)]
    ping_interval: Duration,
    /// Threads that play agents, per process
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Processes
    #[arg(long, default_value_t = 1)]
    processes: u32,
    /// Local addresses to connect from: 127.0.0.1/24 or a list
    #[arg(long, value_name = "ADDRESSES")]
    from: Option<String>,
    /// Processes of the broker on this host, whose memory and CPU are recorded
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    watch_pid: Vec<u32>,
    /// Directory for results.json and report.html
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.make_ca {
        Some(dir) => make_ca(dir, arguments.keys).map(|text| {
            Output::stdout().line(text);
            0
        }),
        None => measure(arguments),
    };
    finish(outcome)
}

/// One process's share of a run that another process leads.
pub(super) fn share() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Without it the process ends at once, and the leader says so.
        let _ = signal_hook::flag::register(signal, stop.clone());
    }
    if processes::serve(&stop) { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Usage(text) => Self::Usage(text),
            LoadError::Failed(text) => Self::Other(text),
        }
    }
}

fn measure(arguments: &Arguments) -> Result<u8, Failure> {
    let plan = plan(arguments)?;
    plan.check()?;
    host::prepare(&plan)?;
    if let Some(dir) = &arguments.output {
        std::fs::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
    }
    let heading = Heading {
        begun: WallTime::now().to_seconds_string(),
        command: command(std::env::args()),
        host: Host::look(),
        plan: plan.clone(),
    };
    let stop = interruption()?;
    let mut display = Screen::new();
    let own = if plan.processes == 1 { vec![std::process::id()] } else { Vec::new() };
    let mut recorder = Recorder::start(&plan.watch, own, &mut display)?;
    let shares = if plan.processes == 1 {
        vec![share::run(&plan, &stop, &mut recorder)?]
    } else {
        processes::run(&plan, &stop, &mut recorder)?
    };
    let (samples, marks) = recorder.finish();
    display.bar.finish_and_clear();
    let results = Results::new(heading, shares, &marks, samples);
    let mut output = Output::stdout();
    tell(&results, &mut output);
    if let Some(dir) = &arguments.output {
        write(dir, &results)?;
        output.line(format!("{0}/results.json and {0}/report.html are written.", dir.display()));
    }
    Ok(if results.passed { 0 } else { EXIT_FAILED })
}

fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let (host, port) = host_and_port(&arguments.broker)?;
    let mut addresses = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| Failure::Usage(format!("--broker: {host} cannot be resolved: {error}")))?
        .collect::<Vec<_>>();
    // Many brokers listen on IPv4 only, and localhost is both.
    addresses.sort_by_key(|address| !address.is_ipv4());
    let address = *addresses.first().ok_or_else(|| Failure::Usage(format!("--broker: {host} has no address")))?;
    let (ca_certificate, ca_key) = match (&arguments.ca_dir, &arguments.ca_cert, &arguments.ca_key) {
        (Some(dir), _, _) => (dir.join("ca/ca_crt.pem"), dir.join("ca/ca_key.pem")),
        (None, Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => {
            let text = "which CA signs the agents' certificates? give --ca-dir DIR (made by podium ca) or --ca-cert and \
                        --ca-key; to try it out: podium capacity load --make-ca DIR";
            return Err(Failure::Usage(text.to_owned()));
        }
    };
    let controller = (arguments.controller.clone(), arguments.controller_type.clone());
    let sources = arguments.from.as_deref().map(sources::parse).transpose()?.unwrap_or_default();
    Ok(Plan {
        scenario: arguments.scenario.unwrap_or(Scenario::Idle),
        host,
        port,
        address,
        connections: arguments.connections,
        first: arguments.first_number,
        name: (arguments.name_prefix.clone(), arguments.name_suffix.clone()),
        protocol: arguments.protocol,
        tls: arguments.tls,
        keys: arguments.keys,
        ca_certificate,
        ca_key,
        reconnect: arguments.reconnect,
        storm: arguments.storm,
        controller: (!arguments.without_controller).then_some(controller),
        request: arguments.request,
        rate: arguments.rate,
        in_flight: arguments.in_flight,
        request_bytes: arguments.request_bytes,
        response_bytes: arguments.response_bytes,
        rounds: arguments.rounds,
        churn: arguments.churn,
        slow: arguments.slow,
        ramp: arguments.ramp,
        duration: arguments.duration,
        deadline: arguments.deadline,
        connect_timeout: arguments.connect_timeout,
        ping_interval: arguments.ping_interval,
        threads: arguments.threads,
        processes: arguments.processes,
        sources,
        watch: arguments.watch_pid.clone(),
    })
}

fn host_and_port(text: &str) -> Result<(String, u16), Failure> {
    let refuse = || Failure::Usage(format!("--broker: {text:?} is no host and port, such as broker.example.com:8142"));
    let text = text.strip_prefix("wss://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(refuse)?;
    if host.is_empty() { Err(refuse()) } else { Ok((host.to_owned(), port)) }
}

/// Reads `90`, `90s`, `5m`, `2h`.
fn time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{unit:?} is no unit: s, m or h")),
    };
    let number: u64 = number.parse().map_err(|_| "give a number of seconds, or 5m, 2h".to_owned())?;
    let total = number.checked_mul(seconds).filter(|total| (1..=7 * 86_400).contains(total));
    total.map(Duration::from_secs).ok_or_else(|| "between 1s and seven days".to_owned())
}

fn make_ca(dir: &Path, keys: Keys) -> Result<String, Failure> {
    let keys = if keys == Keys::P256 { KeyType::P256 } else { KeyType::Rsa4096 };
    let failed = |error: ca::CaError| Failure::Other(error.to_string());
    let authority = Authority::create(dir, "Throw-away CA of a load test", keys).map_err(failed)?;
    let issued = authority.issue("localhost", &ca::local_alt_names()).map_err(failed)?;
    Ok(format!(
        "Made a CA for tests. Give the broker\n  ssl-cert:    {}\n  ssl-key:     {}\n  ssl-ca-cert: {}\nand \
         pcp-broker.privileged-clients: [load-controller], then:\n  podium capacity load idle --ca-dir {} -n 100",
        issued.certificate.display(),
        issued.key.display(),
        issued.ca.display(),
        dir.display()
    ))
}

/// The command line as a shell takes it.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quote = |text: String| match text.is_empty() || !text.chars().all(is_plain) {
        true => format!("'{}'", text.replace('\'', "'\\''")),
        false => text,
    };
    let words: Vec<String> = std::iter::once("podium".to_owned()).chain(arguments.skip(1).map(quote)).collect();
    words.join(" ")
}

fn tell(results: &Results, output: &mut Output) {
    for step in &results.steps {
        output.line(format!("{}: {:.1} s, {} connected", step.name, step.seconds, step.connected));
        for (name, times) in &step.latencies {
            output.line(format!(
                "  {name:12} {:8}  p50 {:9.3} ms  p99 {:9.3} ms  p99.9 {:9.3} ms  most {:9.3} ms",
                times.count, times.p50, times.p99, times.p999, times.max
            ));
        }
        for usage in &step.processes {
            let (before, after) = (usage.resident_before / 1024, usage.resident_after / 1024);
            let (pid, cpu) = (usage.pid, usage.cpu_seconds);
            output.line(format!("  process {pid}: {cpu:.2} s CPU, {before} to {after} KiB resident"));
        }
        if let Some(cpu) = step.cpu_micros_per_message {
            output.line(format!("  {cpu} µs of the broker's CPU per message"));
        }
        if let Some((busy, stolen)) = step.busy_percent.zip(step.stolen_percent) {
            output.line(format!("  this machine's processors: {busy:.0} % busy, {stolen:.0} % stolen by its host"));
        }
    }
    if let Some(bytes) = results.broker_bytes_per_agent {
        output.line(format!("The broker has grown by {bytes:.0} bytes per agent."));
    }
    output.line(format!("The fleet itself takes {} bytes per agent.", results.fleet_bytes_per_agent));
    for (kind, count, text) in &results.failures {
        output.line(format!("{count} attempts failed ({kind}): {text}"));
    }
    for check in &results.checks {
        let word = if check.passed { "ok     " } else { "FAILED " };
        output.line(format!("{word}{}: {}", check.name, check.detail));
    }
}

fn write(dir: &Path, results: &Results) -> Result<(), Failure> {
    let json = serde_json::to_string(results).map_err(|error| Failure::Other(error.to_string()))?;
    for (name, text) in [("results.json", json), ("report.html", report::render(results))] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("--output: {} cannot be written: {error}", path.display()))
}

/// A line that changes on a terminal, and lines now and then elsewhere.
struct Screen {
    bar: ProgressBar,
    last: f64,
}

impl Screen {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { bar, last: -LINE_INTERVAL }
    }
}

impl Display for Screen {
    fn show(&mut self, step: &str, sample: &Sample) {
        let counts = &sample.counts;
        let resident: u64 = sample.looks.iter().map(|look| look.resident).sum();
        let mut text = format!("{:4.0} s  {step}: {} connected", sample.seconds, counts.connected);
        if counts.sent > 0 {
            text += &format!(", {} requests, {} results", counts.sent, counts.answered);
        }
        if resident > 0 {
            text += &format!(", broker {} MiB", resident >> 20);
        }
        if !self.bar.is_hidden() {
            self.bar.set_message(text);
            self.bar.tick();
        } else if sample.seconds >= self.last + LINE_INTERVAL {
            self.last = sample.seconds;
            note(&text);
        }
    }

    fn say(&mut self, text: &str) {
        self.bar.suspend(|| note(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(["90", "90s", "2m", "1h"].map(|text| time(text).unwrap().as_secs()), [90, 90, 120, 3600]);
        for text in ["", "s", "1d", "0", "8000000", "-1", "1.5s", "99999999999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_and_ports() {
        let read = |text| host_and_port(text).unwrap();
        assert_eq!(read("a.example:8142"), ("a.example".to_owned(), 8142));
        assert_eq!(read("wss://a.example:1/"), ("a.example".to_owned(), 1));
        assert_eq!(read("[::1]:8142"), ("::1".to_owned(), 8142));
        for text in ["a", ":1", "a:0", "a:x", "a:70000", ""] {
            assert!(host_and_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_can_be_given_to_a_shell() {
        let words = ["/x/podium", "capacity", "load", "--name-suffix", "", "--output", "it's here"];
        let shown = command(words.into_iter().map(str::to_owned));
        assert_eq!(shown, r"podium capacity load --name-suffix '' --output 'it'\''s here'");
    }
}
