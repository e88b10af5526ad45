//! The host that plays the fleet: whether it can, and what it is.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::LoadError;
use super::plan::Plan;

/// Descriptors that a process needs besides its connections: polls, wakers, standard streams, files.
const DESCRIPTORS_BESIDE: u64 = 64;

/// What the results say of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Model of the processors.
    pub processor: String,
    /// How many it has for us.
    pub processors: usize,
    /// Bytes of memory.
    pub memory: u64,
}

impl Host {
    /// This one.
    pub fn look() -> Self {
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let find = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = find("/proc/meminfo", "MemTotal");
        Self {
            name: text(system.nodename()),
            kernel: format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine())),
            processor: find("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024,
        }
    }
}

/// Whether this host has enough descriptors and ports for a plan; takes all the descriptors there are.
pub fn prepare(plan: &Plan) -> Result<(), LoadError> {
    let most = raise_descriptors();
    let share = u64::from(plan.connections.div_ceil(plan.processes)) + u64::from(plan.slow_count());
    if let Some(most) = most {
        enough_descriptors(share, most, u64::from(plan.connections))?;
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    enough_ports(u64::from(plan.connections), plan.sources.len().max(1) as u64, &range)
}

fn raise_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

fn enough_descriptors(share: u64, most: u64, all: u64) -> Result<(), LoadError> {
    let wanted = share + DESCRIPTORS_BESIDE;
    if wanted <= most {
        return Ok(());
    }
    let each = most.saturating_sub(DESCRIPTORS_BESIDE).max(1);
    Err(LoadError::Usage(format!(
        "{share} connections of one process need {wanted} open files, and it may have {most}: give --processes {}, or raise \
         the limit (ulimit -n {wanted})",
        all.div_ceil(each)
    )))
}

/// A connection needs a port of its source address that no other one to the same broker has.
fn enough_ports(connections: u64, sources: u64, range: &str) -> Result<(), LoadError> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u64>().ok());
    let (Some(Some(first)), Some(Some(last))) = (ends.next(), ends.next()) else { return Ok(()) };
    let each = (last + 1).saturating_sub(first).max(1);
    if connections <= each * sources {
        return Ok(());
    }
    Err(LoadError::Usage(format!(
        "{connections} connections need as many local ports, and {sources} source address has {each} of them \
         (net.ipv4.ip_local_port_range): give {} with --from, such as --from 127.0.0.1/24 for a broker on this host",
        connections.div_ceil(each)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_say_how_many_processes_it_takes() {
        assert!(enough_descriptors(19_936, 20_000, 19_936).is_ok());
        let text = enough_descriptors(50_000, 20_000, 50_000).unwrap_err().to_string();
        assert!(text.contains("need 50064 open files, and it may have 20000: give --processes 3"), "{text}");
    }

    #[test]
    fn too_few_ports_ask_for_addresses() {
        assert!(enough_ports(28_232, 1, "32768\t60999\n").is_ok() && enough_ports(1, 1, "").is_ok());
        let text = enough_ports(60_000, 1, "32768\t60999\n").unwrap_err().to_string();
        assert!(text.contains("has 28232 of them") && text.contains("give 3 with --from"), "{text}");
        assert!(enough_ports(60_000, 3, "32768\t60999\n").is_ok());
    }

    #[test]
    fn the_host_has_a_name_and_memory() {
        let host = Host::look();
        assert!(host.kernel.starts_with("Linux ") && host.memory > 1 << 20 && host.processors > 0);
    }
}
