//! `podium capacity check`: this host against the plan, or a script that would make it ready.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::fleet::FleetArguments;
use crate::capacity::check::host::Host;
use crate::capacity::check::script::{is_ready, script};
use crate::capacity::check::{Finding, Role, Severity, Subject, check};
use crate::capacity::fleet::{self, Brokers};
use crate::capacity::plan::{Plan, plan};
use crate::cli::output::{EXIT_FAILED, Failure, Format, Output, finish, note, table};
use crate::clock::WallTime;
use crate::config::settings::{BrokerSettings, CertificatePaths};
use crate::config::{Problems, load_broker, load_server};

/// Agents of a host about which nothing is said.
const AGENTS: u64 = 1_000;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Agents, all together; pcp-broker.max-connections of the configuration, or 1000, if not given
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=fleet::AGENTS_MAX))]
    agents: Option<u64>,
    #[command(flatten)]
    fleet: FleetArguments,
    /// What runs on this host
    #[arg(long, value_enum, default_value = "server")]
    role: Role,
    /// Its configuration, for its certificates and its data directory; where it is by default, if not given
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Further PEM files with certificates or revocation lists
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// Agents on this host's own network segment; as many as its routes allow, if not given
    #[arg(long, value_name = "AGENTS", value_parser = clap::value_parser!(u64).range(0..=fleet::AGENTS_MAX))]
    same_segment: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Prints a script that makes the host ready, instead of the findings
    #[arg(long, conflicts_with = "format")]
    fix_script: bool,
    /// Where the host's / is
    #[arg(long, hide = true, default_value = "/")]
    root: PathBuf,
}

/// What the configuration says.
struct Configured {
    pem_files: Vec<PathBuf>,
    data_dir: PathBuf,
    connections_max: u64,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    finish(execute(arguments, &mut Output::stdout()))
}

fn execute(arguments: &Arguments, output: &mut Output) -> Result<u8, Failure> {
    if !arguments.root.is_dir() {
        return Err(Failure::Usage(format!("--root {}: not a directory", arguments.root.display())));
    }
    let host = Host::at(&arguments.root);
    let configured = configured(arguments, &host)?;
    let agents = arguments.agents.or(Some(configured.connections_max).filter(|most| *most > 0)).unwrap_or(AGENTS);
    // A host whose cores are not known is compared with one core; a finding says why.
    let cores = host.cores().unwrap_or(1);
    let plan = plan(&arguments.fleet.fleet(agents, cores, Brokers::Count(1))?);
    let subject = Subject {
        role: arguments.role,
        plan,
        same_segment: arguments.same_segment,
        pem_files: configured.pem_files.into_iter().chain(arguments.certificate.iter().cloned()).collect(),
        data_dir: configured.data_dir,
        now: WallTime::now(),
    };
    let findings = check(&host, &subject);
    if arguments.fix_script {
        output.line(script(&findings, subject.role).trim_end());
        note("nothing was changed: read the script, then run it as root");
    } else {
        match arguments.format {
            Format::Text => output.line(text(&findings, &subject)),
            Format::Json => output.json(&as_json(&findings, &subject)),
        }
    }
    Ok(if is_ready(&findings) { 0 } else { EXIT_FAILED })
}

/// The configuration that was given, or the one in its place, or none.
fn configured(arguments: &Arguments, host: &Host) -> Result<Configured, Failure> {
    let (place, data_dir) = match arguments.role {
        Role::Server => ("/etc/puppetlabs/podium", "/var/lib/podium"),
        Role::Broker => ("/etc/puppetlabs/pcp-broker", "/var/log/podium"),
    };
    let dir = match &arguments.config {
        Some(dir) => dir.clone(),
        None if host.exists(place) => host.path(place),
        None => return Ok(Configured { pem_files: Vec::new(), data_dir: data_dir.into(), connections_max: 0 }),
    };
    let usage = |problems: Problems| Failure::Usage(problems.to_string());
    Ok(match arguments.role {
        Role::Server => {
            let settings = load_server(&dir).map_err(usage)?.settings;
            let data_dir = settings.orchestrator.data_dir;
            from_settings(&settings.certificates, &settings.broker, &data_dir)
        }
        Role::Broker => {
            let settings = load_broker(&dir).map_err(usage)?.settings;
            let log = settings.broker.message_log.file.as_deref().and_then(Path::parent);
            from_settings(&settings.certificates, &settings.broker, log.unwrap_or(Path::new(data_dir)))
        }
    })
}

fn from_settings(paths: &CertificatePaths, broker: &BrokerSettings, data_dir: &Path) -> Configured {
    let files = [Some(&paths.certificate), Some(&paths.ca), paths.crl.as_ref()];
    Configured {
        pem_files: files.into_iter().flatten().cloned().collect(),
        data_dir: data_dir.to_owned(),
        connections_max: broker.connections_max as u64,
    }
}

/// For people: all findings in a table, then what to do about those that are not well.
fn text(findings: &[Finding], subject: &Subject) -> String {
    let rows = findings.iter().map(|finding| {
        [finding.severity.label(), &finding.key, &finding.value, &finding.wanted].map(str::to_owned).to_vec()
    });
    let mut text = format!("{}\n\n{}", heading(&subject.plan), table(&["", "WHAT", "HERE", "WANTED"], rows));
    for finding in findings.iter().filter(|finding| finding.severity >= Severity::Warn) {
        text.push_str(&format!("\n\n{}: {}\n  why: {}", finding.severity.label(), finding.key, finding.why));
        for step in &finding.fix {
            text.push_str(&format!("\n  fix: {}", step.text(subject.role)));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    text.push_str(&format!(
        "\n\n{} fail, {} warn, {} skipped, {} ok",
        count(Severity::Fail),
        count(Severity::Warn),
        count(Severity::Skip),
        count(Severity::Ok)
    ));
    if findings.iter().any(|finding| !finding.fix.is_empty()) {
        text.push_str("; --fix-script prints the commands");
    }
    text
}

fn heading(plan: &Plan) -> String {
    let spread = match plan.brokers {
        1 => String::new(),
        brokers => format!(", this host as one of {brokers} brokers"),
    };
    format!("{} agents{spread}, {} cores: {} agents here", plan.fleet.agents, plan.fleet.cores, plan.share)
}

/// For programs.
fn as_json(findings: &[Finding], subject: &Subject) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "key": finding.key,
            "severity": finding.severity.label(),
            "value": finding.value,
            "wanted": finding.wanted,
            "why": finding.why,
            "fix": finding.fix.iter().map(|step| step.text(subject.role)).collect::<Vec<_>>(),
        })
    };
    json!({
        "version": 1,
        "agents": subject.plan.fleet.agents,
        "brokers": subject.plan.brokers,
        "agents_here": subject.plan.share,
        "ready": is_ready(findings),
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}
