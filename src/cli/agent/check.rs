//! `podium agent check`: the state of this node in one page: certificate, brokers, file servers, directories, modules,
//! Puppet, last contact. What is wrong is marked and says what to do; nothing is changed.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::process::running;
use crate::agent::assemble::{Credentials, external_modules};
use crate::agent::confine::Confinement;
use crate::agent::files;
use crate::agent::puppet::run::state as puppet_state;
use crate::agent::spool;
use crate::config::Problem;
use crate::config::settings::{AgentSettings, BrokerUri, PrimaryUri};
use crate::https::{Client, Method, Request};
use crate::limits::HTTP_EXCERPT_BYTES_MAX;
use crate::tunnel::ProxyUri;

/// Time for each server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the page; exit code 1 if anything on it is wrong.
pub fn run(settings: &AgentSettings, warnings: &[Problem]) -> ExitCode {
    let mut page = Page::default();
    for warning in warnings {
        page.bad("configuration", warning);
    }
    match Credentials::load(settings) {
        Ok(credentials) => {
            page.good(
                "certificate",
                format!("{} ({})", settings.certificates.certificate.display(), credentials.name()),
            );
            match &settings.certificates.crl {
                Some(crl) => page.good("CRLs", crl.display()),
                None => page.good("CRLs", "none: revoked brokers are not told, and apply does not work"),
            }
            servers(&mut page, settings, &credentials.tls().load_full());
        }
        Err(error) => page.bad("certificate", error),
    }
    directory(&mut page, "spool", &settings.spool_dir);
    transactions(&mut page, &settings.spool_dir);
    directory(&mut page, "task cache", &settings.cache_dir);
    let (modules, problems) = external_modules(settings);
    page.good("external modules", if modules.is_empty() { "none".to_owned() } else { modules.join(", ") });
    problems.iter().for_each(|problem| page.bad("external modules", problem));
    tasks(&mut page, settings);
    puppet(&mut page, settings);
    if let Some(path) = &settings.pidfile {
        page.good("process", running(path).map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}")));
    }
    match spool::last_contact(&settings.spool_dir) {
        Some(text) => page.good("last contact", text.trim()),
        None => page.good("last contact", "none on record"),
    }
    print!("{}", page.text);
    if page.is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Lines with a mark.
#[derive(Default)]
struct Page {
    text: String,
    is_bad: bool,
}

impl Page {
    fn good(&mut self, name: &str, value: impl Display) {
        self.line("ok ", name, &value);
    }

    fn bad(&mut self, name: &str, value: impl Display) {
        self.is_bad = true;
        self.line("BAD", name, &value);
    }

    fn line(&mut self, mark: &str, name: &str, value: &dyn Display) {
        self.text += &format!("{mark}  {name:<18} {value}\n");
    }
}

fn servers(page: &mut Page, settings: &AgentSettings, tls: &Arc<ClientConfig>) {
    for BrokerUri { host, port, path } in &settings.brokers {
        let name = format!("wss://{host}:{port}{path}");
        reach(page, "broker", &name, (tls, settings.broker_proxy.as_ref()), (host, *port));
    }
    if settings.primaries.is_empty() {
        page.bad("file servers", "none: tasks that are not cached cannot be got; set primary-uris");
    }
    for PrimaryUri { host, port } in &settings.primaries {
        let name = format!("https://{host}:{port}");
        reach(page, "file server", &name, (tls, settings.primary_proxy.as_ref()), (host, *port));
    }
}

/// Whether a server answers us, whatever it says: then name, port and both certificates are right.
fn reach(
    page: &mut Page,
    what: &str,
    name: &str,
    (tls, proxy): (&Arc<ClientConfig>, Option<&ProxyUri>),
    (host, port): (&str, u16),
) {
    let headers = &[("accept", "*/*")];
    let request = Request { method: Method::GET, host, port, path_and_query: "/", headers, body: Vec::new() };
    let answer = Client::new(tls.clone(), PATIENCE, PATIENCE)
        .and_then(|client| client.through(proxy.cloned()).request(&request, 64 * HTTP_EXCERPT_BYTES_MAX));
    let through = proxy.map_or_else(String::new, |proxy| format!(" through {proxy}"));
    match answer {
        Ok(_) => page.good(what, format!("{name}{through}: reached, certificates accepted")),
        Err(error) => page.bad(what, format!("{name}{through}: {error}")),
    }
}

fn directory(page: &mut Page, what: &str, path: &Path) {
    let shown = path.display();
    if !path.exists() {
        return page.good(what, format!("{shown}: not there yet, the agent makes it"));
    }
    if let Err(error) = files::check_private(path) {
        return page.bad(what, format!("{shown}: {error}"));
    }
    match rustix::fs::statvfs(path) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024);
            let entries = fs::read_dir(path).map_or(0, Iterator::count);
            let line = format!("{shown}: {entries} entries, {free} MiB free");
            if free < 64 { page.bad(what, format!("{line}; make room")) } else { page.good(what, line) }
        }
        Err(error) => page.bad(what, format!("{shown}: {error}")),
    }
}

fn transactions(page: &mut Page, spool_dir: &Path) {
    let counts = spool::counts(spool_dir);
    let line = format!("{} ended, {} running", counts.ended, counts.running);
    match counts.unreadable {
        0 => page.good("transactions", line),
        unreadable => {
            page.bad(
                "transactions",
                format!("{line}, {unreadable} without readable metadata; remove their directories"),
            );
        }
    }
}

fn tasks(page: &mut Page, settings: &AgentSettings) {
    match Confinement::of(&settings.tasks) {
        Ok(None) => page.good("tasks", "run as the agent's user"),
        Ok(Some(confinement)) => {
            let Confinement { user, nice, umask, cgroup } = confinement;
            let mut words =
                vec![user.map_or("run as the agent's user".to_owned(), |user| format!("run as {}", user.name))];
            words.extend(nice.map(|nice| format!("nice {nice}")));
            words.extend(umask.map(|umask| format!("umask {umask:04o}")));
            words.extend(cgroup.map(|cgroup| format!("in {}", cgroup.display())));
            page.good("tasks", words.join(", "));
        }
        Err(error) => page.bad("tasks", error),
    }
}

fn puppet(page: &mut Page, settings: &AgentSettings) {
    let state = puppet_state(&settings.modules_config_dir);
    if let Err(error) = files::check_program(&state.puppet)
        && error.kind() != io::ErrorKind::NotFound
    {
        return page.bad("Puppet", format!("{} is not run: {error}", state.puppet.display()));
    }
    let version = Command::new(&state.puppet).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let shown = state.puppet.display();
    match version {
        Ok(output) if output.status.success() => {
            page.good("Puppet", format!("{shown}, {}", String::from_utf8_lossy(&output.stdout).trim()));
        }
        _ => return page.bad("Puppet", format!("{shown} cannot be run; install it, or set puppet_bin")),
    }
    if state.is_disabled {
        page.bad("Puppet", "it is disabled; puppet agent --enable ends that");
    }
    if state.is_running {
        page.good("Puppet", "a run is under way");
    }
    page.good("last Puppet run", state.last_run.unwrap_or_else(|| "none on record".to_owned()));
}
