//! `podium quickstart`: everything on one machine: CA, server, three agents, one task. All it does goes through what a
//! user has: configuration files, `podium server`, `podium agent` and the operator's commands, which it shows.

mod processes;
mod site;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use processes::{CommandOutput, Interrupts, Processes};
use site::{Ports, Site};

/// A server that is not there by then will not come: it has little to do before it listens.
const SERVER_START: Duration = Duration::from_secs(30);
/// Agents connect within a second; their first retry is after two more.
const AGENTS_CONNECT: Duration = Duration::from_secs(60);
/// Between two looks at something that is not ready.
const POLL: Duration = Duration::from_millis(200);
/// Somebody else may take a port between its choice and its use.
const PORT_CHOICES: usize = 5;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep server and agents running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Take the task from this directory, which holds environments/production/modules, instead of a sample
    #[arg(long, value_name = "DIR", requires = "task")]
    codedir: Option<PathBuf>,
    /// Run this task of --codedir
    #[arg(long, value_name = "NAME", requires = "codedir")]
    task: Option<String>,
    /// Parameters of the task
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Start so many agents
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    agents: u16,
    /// Work in this empty or new directory and leave everything there; else a temporary one is used and removed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    match Quickstart::prepare(arguments).and_then(|mut quickstart| quickstart.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("podium quickstart: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What has been set up so far. The processes are dropped, and so stopped, before the site is, and so removed.
struct Quickstart<'a> {
    arguments: &'a Arguments,
    interrupts: Interrupts,
    processes: Processes,
    site: Site,
}

impl<'a> Quickstart<'a> {
    fn prepare(arguments: &'a Arguments) -> Result<Self, String> {
        let interrupts = Interrupts::catch()?;
        let site = Site::create(arguments.dir.as_deref(), arguments.codedir.as_deref())?;
        let processes = Processes::new(site.logs());
        Ok(Self { arguments, interrupts, processes, site })
    }

    fn run(&mut self) -> Result<(), String> {
        println!("Working in {}", self.site.dir().display());
        let outcome = self.start().and_then(|ports| {
            let outcome = self.run_task(ports);
            self.show_next_steps(ports);
            // A task that failed is a reason to look around, not to stop.
            if self.arguments.keep && !self.interrupts.interrupted() {
                println!("Server and agents keep running. Ctrl-C stops them.");
                self.interrupts.wait();
            }
            outcome
        });
        if outcome.is_err() && !self.interrupts.interrupted() {
            eprintln!("{}", self.processes.log_tails());
        }
        self.processes.stop();
        outcome
    }

    /// Starts everything and waits until it is connected.
    fn start(&mut self) -> Result<Ports, String> {
        let ports = self.start_server()?;
        println!("Server is up: broker on port {}, API on port {}", ports.broker, ports.api);
        self.log_in(ports)?;
        for number in 1..=self.arguments.agents {
            let name = format!("agent{number}.quickstart");
            let config = self.site.add_agent(&name, ports)?;
            self.processes.start(&name, &["agent", "--config", text(&config)?])?;
        }
        self.wait_for_agents(ports)?;
        Ok(ports)
    }

    fn start_server(&mut self) -> Result<Ports, String> {
        for _ in 0..PORT_CHOICES {
            let ports = Ports::choose()?;
            let config = self.site.configure_server(ports)?;
            self.processes.start("server", &["server", "--config", text(&config)?])?;
            let deadline = Instant::now() + SERVER_START;
            while self.processes.is_running("server") {
                if ports.api_answers() && self.site.admin_password().is_ok() {
                    return Ok(ports);
                }
                if Instant::now() > deadline {
                    return Err(format!("the server does not listen after {} s", SERVER_START.as_secs()));
                }
                self.interrupts.pause(POLL)?;
            }
            if !self.processes.log_contains("server", "in use") {
                return Err("the server ended at once".to_owned());
            }
        }
        Err(format!("{PORT_CHOICES} times somebody took a port that was free"))
    }

    fn log_in(&self, ports: Ports) -> Result<(), String> {
        let password = self.site.admin_password()?;
        self.client(&["access", "login", "admin"], ports, Some(&password))?.expect_success("logging in as admin")?;
        println!("Logged in as admin with the password of {}", self.site.admin_password_file().display());
        Ok(())
    }

    fn wait_for_agents(&mut self, ports: Ports) -> Result<(), String> {
        let wanted = usize::from(self.arguments.agents);
        let deadline = Instant::now() + AGENTS_CONNECT;
        let mut connected = 0;
        while Instant::now() < deadline {
            let output = self.client(&["inventory", "--format", "json"], ports, None)?;
            connected = connected_nodes(&output.expect_success("reading the inventory")?)?;
            if connected >= wanted {
                println!("{connected} agents are connected\n");
                return Ok(());
            }
            if let Some(name) = self.processes.first_ended() {
                return Err(format!("{name} has ended"));
            }
            self.interrupts.pause(POLL)?;
        }
        let seconds = AGENTS_CONNECT.as_secs();
        Err(format!("{connected} of {wanted} agents are connected after {seconds} s; their logs say why"))
    }

    /// The task's results go to the terminal just as they would for a user.
    fn run_task(&self, ports: Ports) -> Result<(), String> {
        let command = self.task_command();
        println!("$ {} {}", program(), command.join(" "));
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let flags = self.site.client_flags(ports)?;
        let arguments: Vec<&str> = command.into_iter().chain(flags.iter().map(String::as_str)).collect();
        match processes::show(&arguments, &self.interrupts)? {
            true => Ok(()),
            false => Err("the task did not succeed on all agents".to_owned()),
        }
    }

    fn task_command(&self) -> Vec<String> {
        let task = self.arguments.task.as_deref().unwrap_or(site::DEMO_TASK);
        let mut command = vec!["task".to_owned(), "run".to_owned(), task.to_owned()];
        command.extend(self.arguments.parameters.iter().cloned());
        command.push("--all".to_owned());
        command
    }

    fn client(&self, command: &[&str], ports: Ports, stdin: Option<&str>) -> Result<CommandOutput, String> {
        let flags = self.site.client_flags(ports)?;
        let arguments: Vec<&str> = command.iter().copied().chain(flags.iter().map(String::as_str)).collect();
        processes::capture(&arguments, stdin, &self.interrupts)
    }

    fn show_next_steps(&self, ports: Ports) {
        if !self.arguments.keep {
            println!("\nTo look around, start it again with --keep. It then prints commands to try.");
            return;
        }
        let Ok(variables) = self.site.client_variables(ports) else { return };
        let podium = program();
        println!("\nWhat to try next, in another terminal:\n");
        for (name, value) in variables {
            println!("  export {name}={value}");
        }
        println!("  {podium} inventory");
        println!("  {podium} {}", self.task_command().join(" "));
        if self.arguments.codedir.is_none() {
            println!("  {podium} task run {} detail=full --nodes agent1.quickstart", site::DEMO_TASK);
        }
        println!("  {podium} job list\n");
    }
}

/// How the user called us, so that the commands shown can be copied.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "podium".to_owned())
}

/// How many nodes of an inventory are connected.
fn connected_nodes(inventory: &str) -> Result<usize, String> {
    let value: serde_json::Value = serde_json::from_str(inventory)
        .map_err(|error| format!("podium inventory did not print JSON ({error}): {inventory}"))?;
    let items = value.get("items").unwrap_or(&value).as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter(|item| item["connected"] == true).count())
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8; work in another directory", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connected_nodes_are_counted() {
        let inventory = r#"{"items": [{"name": "a", "connected": true}, {"name": "b", "connected": false}]}"#;
        assert_eq!(connected_nodes(inventory), Ok(1));
        assert_eq!(connected_nodes(r#"[{"name": "a", "connected": true}]"#), Ok(1));
        assert_eq!(connected_nodes(r#"{"items": []}"#), Ok(0));
        assert!(connected_nodes("no JSON").is_err());
    }
}
