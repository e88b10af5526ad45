//! `podium capacity plan`: the figures of a fleet as a table or as JSON, and the files of `tuning/` for it.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::fleet::FleetArguments;
use crate::capacity::fleet::{self, Brokers};
use crate::capacity::model::{self, Constant};
use crate::capacity::plan::{Line, Plan, Unit, plan};
use crate::capacity::tuning;
use crate::cli::output::{Failure, Format, Output, finish, note, table};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Agents, all together
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=fleet::AGENTS_MAX))]
    agents: u64,
    #[command(flatten)]
    fleet: FleetArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Writes sysctl.d, limits.d, systemd drop-ins and nic.sh for each broker's host there
    #[arg(long, value_name = "DIR")]
    write_tuning: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    finish(execute(arguments, &mut Output::stdout()).map(|()| 0))
}

fn execute(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let plan = plan(&arguments.fleet.fleet(arguments.agents, cores, Brokers::Auto)?);
    match arguments.format {
        Format::Text => output.line(text(&plan)),
        Format::Json => output.json(&as_json(&plan)),
    }
    if let Some(dir) = &arguments.write_tuning {
        let written = tuning::write(&plan, dir).map_err(Failure::Other)?;
        note(&format!("wrote {} files below {}; look at them before you install them", written.len(), dir.display()));
    }
    Ok(())
}

/// For people: the fleet, a table per section, the sources by number.
fn text(plan: &Plan) -> String {
    let fleet = &plan.fleet;
    let mut text = format!(
        "{} agents, TLS {}, {} keys, tls-session {}, {} messages/s of {} bytes, {} cores per broker",
        fleet.agents, fleet.tls, fleet.keys, fleet.session, fleet.rate, fleet.message_bytes, fleet.cores
    );
    let mut sources: Vec<Constant> = Vec::new();
    let sections = plan.lines.chunk_by(|a, b| a.section == b.section);
    for lines in sections {
        let rows = lines.iter().map(|line| {
            let references = line.constants.iter().map(|constant| reference(&mut sources, constant));
            let references: Vec<String> = references.map(|number| number.to_string()).collect();
            let basis = format!("{} {}", line.basis().label(), references.join(","));
            vec![line.name.to_owned(), shown(line), basis.trim_end().to_owned(), line.formula.clone()]
        });
        let title = lines[0].section.label().to_uppercase();
        text.push_str(&format!("\n\n{}", table(&[&title, "", "BASIS", "FORMULA"], rows)));
    }
    text.push_str("\n\nSOURCES\n");
    for (index, constant) in sources.iter().enumerate() {
        text.push_str(&format!(
            "{:>3}  {} ({}): {}\n",
            index + 1,
            constant.value,
            constant.basis.label(),
            constant.source
        ));
    }
    text.push_str(&format!("\n{}", statement()));
    text
}

/// What the reader must know of all these figures.
fn statement() -> String {
    format!(
        "This is a model fitted to measured runs, not a promise. Measured on {}, unless the source says otherwise. \
         \"estimated\" is not measured. A line is as good as the worst figure in it. Measure your own: \
         podium capacity load.",
        model::HARDWARE
    )
}

/// The number of a source, which it gets when it is needed first.
fn reference(sources: &mut Vec<Constant>, constant: &Constant) -> usize {
    let known = sources.iter().position(|known| known == constant);
    known.unwrap_or_else(|| {
        sources.push(*constant);
        sources.len() - 1
    }) + 1
}

fn shown(line: &Line) -> String {
    let Some(value) = line.value else { return "not within an hour".to_owned() };
    match line.unit {
        Unit::Bytes => bytes(value),
        Unit::BytesPerDay => format!("{}/day", bytes(value)),
        Unit::Count => format!("{value:.0}"),
        Unit::Seconds => format!("{value:.0} s"),
        Unit::CoreSeconds => format!("{value:.0} core s"),
        Unit::Permille => format!("{:.1} %", value / 10.0),
        Unit::PerSecond => format!("{value:.0}/s"),
    }
}

/// `412 MB`, in powers of a thousand.
pub(super) fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1_000.0 && unit + 1 < units.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let digits = if unit == 0 || scaled >= 100.0 { 0 } else { 1 };
    format!("{scaled:.digits$} {}", units[unit])
}

/// For programs.
pub(super) fn as_json(plan: &Plan) -> Value {
    let fleet = &plan.fleet;
    let constant = |constant: &Constant| json!({"value": constant.value, "basis": constant.basis.label(), "source": constant.source});
    let line = |line: &Line| {
        json!({
            "section": line.section.label(),
            "key": line.key,
            "name": line.name,
            "value": line.value,
            "unit": line.unit.label(),
            "formula": line.formula,
            "basis": line.basis().label(),
            "constants": line.constants.iter().map(constant).collect::<Vec<_>>(),
        })
    };
    json!({
        "version": 1,
        "fleet": {
            "agents": fleet.agents,
            "tls": fleet.tls.to_string(),
            "keys": fleet.keys.to_string(),
            "tls_session": fleet.session.to_string(),
            "messages_per_second": fleet.rate,
            "message_bytes": fleet.message_bytes,
            "cores": fleet.cores,
            "reconnect_seconds": fleet.reconnect_seconds,
            "jobs_per_day": fleet.jobs_per_day,
            "nodes_per_job": fleet.nodes_per_job,
            "result_bytes": fleet.result_bytes,
            "log_days": fleet.log_days,
            "job_days": fleet.job_days,
        },
        "brokers": plan.brokers,
        "agents_per_broker": plan.share,
        "model": {"hardware": model::HARDWARE, "statement": statement()},
        "lines": plan.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::fleet::Fleet;

    #[test]
    fn bytes_have_three_digits() {
        let shown: Vec<String> = [0.0, 999.0, 1_000.0, 20_480.0, 412e6, 1.5e9, 2e30].map(bytes).to_vec();
        assert_eq!(shown[..6], ["0 B", "999 B", "1.0 kB", "20.5 kB", "412 MB", "1.5 GB"]);
        assert!(shown[6].ends_with(" EB"), "{shown:?}");
    }

    #[test]
    fn the_table_says_what_it_is() {
        let shown = text(&plan(&Fleet::of(10_000, 4)));
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn every_line_is_in_the_json() {
        let plan = plan(&Fleet::of(10_000, 4));
        let json = as_json(&plan);
        assert_eq!(json["lines"].as_array().unwrap().len(), plan.lines.len());
        assert_eq!(json["lines"][0]["key"], "brokers");
        assert_eq!((&json["version"], &json["fleet"]["keys"]), (&json!(1), &json!("rsa4096")));
    }
}
