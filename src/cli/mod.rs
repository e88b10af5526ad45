//! The command line: one file per subcommand. A subcommand parses its arguments, calls the library and turns the outcome
//! into an exit code: 0 all well, 1 the work failed, 2 wrong usage or configuration.

pub mod access;
mod activation;
pub mod agent;
pub mod app;
pub mod broker;
pub mod ca;
pub mod capacity;
mod catalogue;
mod certificates;
mod check;
pub mod client;
pub mod client_settings;
mod command;
pub mod completions;
pub mod execution_launcher;
pub mod execution_wrapper;
pub mod follow;
mod host;
pub mod inventory;
pub mod job;
mod launch;
mod listing;
pub mod man;
mod notify;
pub mod output;
pub mod plan;
mod progress;
pub mod puppet_module;
pub mod quickstart;
mod results;
pub mod schedule;
pub mod server;
mod service;
mod supervise;
pub mod task;
mod values;
mod watch;
pub mod webhook;

#[cfg(test)]
mod testing;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Runs tasks on Puppet and OpenVox nodes over connections that the nodes open themselves.
#[derive(Debug, Parser)]
#[command(name = "podium", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The appliance: broker, orchestrator and API in one process
    Server(server::Arguments),
    /// The broker alone, on a compile node
    Broker(broker::Arguments),
    /// The agent: dials a broker and runs what it is asked to
    Agent(Box<agent::Arguments>),
    /// Runs and shows tasks
    Task(task::Arguments),
    /// Runs Puppet, shows and stops jobs
    Job(job::Arguments),
    /// Schedules tasks and Puppet runs, shows what is scheduled
    Schedule(schedule::Arguments),
    /// Runs plans, shows plans and their jobs
    Plan(plan::Arguments),
    /// Shows in which order the nodes of an environment depend on each other
    App(app::Arguments),
    /// Shows which nodes are connected
    Inventory(inventory::Arguments),
    /// Shows and changes who is told of events
    Webhook(webhook::Arguments),
    /// Logs in and out
    Access(access::Arguments),
    /// A certificate authority for labs and tests
    Ca(ca::Arguments),
    /// How much a fleet needs, and whether this host has it
    Capacity(capacity::Arguments),
    /// Everything on one machine: CA, server, three agents, one task
    Quickstart(quickstart::Arguments),
    /// Prints what a shell needs to complete our commands
    Completions(completions::Arguments),
    /// Writes our manual pages
    Man(man::Arguments),
    /// Runs Puppet once for the agent
    #[command(hide = true)]
    PxpModulePuppet(puppet_module::Arguments),
}

/// Parses the process's arguments and runs the subcommand. What the agent starts for every task does without the parser,
/// which would be most of what such a process does.
pub fn run() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(name) if name == execution_wrapper::NAME => {
            allow_huge_pages(true);
            execution_wrapper::run()
        }
        Some(name) if name == execution_launcher::NAME => {
            allow_huge_pages(true);
            execution_launcher::run(arguments)
        }
        _ => run_parsed(),
    }
}

fn run_parsed() -> ExitCode {
    allow_huge_pages(false);
    let command = CommandLine::parse().command;
    if !matches!(command, Command::Server(_) | Command::Broker(_) | Command::Agent(_)) {
        allow_huge_pages(true);
    }
    match command {
        Command::Server(arguments) => server::run(&arguments),
        Command::Broker(arguments) => broker::run(&arguments),
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Task(arguments) => task::run(&arguments),
        Command::Job(arguments) => job::run(&arguments),
        Command::Schedule(arguments) => schedule::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::App(arguments) => app::run(&arguments),
        Command::Inventory(arguments) => inventory::run(&arguments),
        Command::Webhook(arguments) => webhook::run(&arguments),
        Command::Access(arguments) => access::run(&arguments),
        Command::Ca(arguments) => ca::run(&arguments),
        Command::Capacity(arguments) => capacity::run(&arguments),
        Command::Quickstart(arguments) => quickstart::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, CommandLine::command()),
        Command::Man(arguments) => man::run(&arguments, CommandLine::command()),
        Command::PxpModulePuppet(arguments) => puppet_module::run(&arguments),
    }
}

/// `podium access login` with these flags, for a command that has found no token. It says itself what went wrong.
fn log_in(flags: &client_settings::ConnectionFlags) {
    let login = ["podium", "access", "login"].map(OsString::from).into_iter().chain(flags.as_arguments());
    if let Ok(CommandLine { command: Command::Access(arguments) }) = CommandLine::try_parse_from(login) {
        access::run(&arguments);
    }
}

/// Long-lived processes do without huge pages: the allocator asks for them, and each of its arenas would then keep whole
/// pages of 2 MB resident for a few kilobytes in use (measured: an idle agent 33 MB instead of 13). The setting is
/// inherited, so everything else, the wrapper around a task above all, gets the system's own way back.
fn allow_huge_pages(allow: bool) {
    // A kernel without huge pages has no such setting, and needs none.
    let _ = rustix::thread::disable_transparent_huge_pages(!allow);
}
