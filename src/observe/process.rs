//! What the system says of our process: memory, threads, file descriptors (proc(5)). Looked at now and then by one
//! thread; everybody else reads the last numbers.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::process::{Resource, getrlimit};

/// The last numbers.
pub struct Process {
    /// Bytes of resident memory.
    pub resident: Gauge,
    /// The most that it has ever been.
    pub resident_peak: Gauge,
    /// Bytes of it that are the process's own and not mapped from files.
    pub anonymous: Gauge,
    /// Threads.
    pub threads: Gauge,
    /// Open file descriptors.
    pub descriptors: Gauge,
    /// The most that the process may open; 0 if there is no limit.
    pub descriptors_max: Gauge,
}

impl Process {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let bytes = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            gauge
        };
        let number = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            resident: bytes(registry, "resident", "Resident memory"),
            resident_peak: bytes(registry, "resident_peak", "The most resident memory so far"),
            anonymous: bytes(registry, "anonymous", "Resident memory that is not mapped from files"),
            threads: number(registry, "threads", "Threads"),
            descriptors: number(registry, "descriptors", "Open file descriptors"),
            descriptors_max: number(registry, "descriptors_max", "File descriptors that may be open; 0 is no limit"),
        }
    }

    /// Brings the numbers up to date. What the system does not tell stays as it is.
    pub fn look(&self) {
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            self.read_status(&status);
        }
        if let Some(count) = descriptors() {
            self.descriptors.set(count);
        }
        let limit = getrlimit(Resource::Nofile).current;
        self.descriptors_max.set(limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(0));
    }

    fn read_status(&self, status: &str) {
        for line in status.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let (gauge, unit) = match name {
                "VmRSS" => (&self.resident, 1024),
                "VmHWM" => (&self.resident_peak, 1024),
                "RssAnon" => (&self.anonymous, 1024),
                "Threads" => (&self.threads, 1),
                _ => continue,
            };
            if let Some(number) = value.split_whitespace().next().and_then(|number| number.parse::<i64>().ok()) {
                gauge.set(number * unit);
            }
        }
    }
}

/// Linux 6.2 and later say the number of descriptors as the size of their directory; before that it is 0 and they must
/// be counted.
fn descriptors() -> Option<i64> {
    let directory = "/proc/self/fd";
    match std::fs::metadata(directory).ok()?.len() {
        // The directory is read through one of them.
        0 => Some(std::fs::read_dir(directory).ok()?.count() as i64 - 1),
        count => i64::try_from(count).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        let process = Process::new(&mut Registry::default());
        process.look();
        let resident = process.resident.get();
        assert!(resident > 1_000_000 && process.resident_peak.get() >= resident, "{resident}");
        assert!(process.anonymous.get() > 0 && process.threads.get() >= 1);
        assert!(process.descriptors.get() >= 3 && process.descriptors_max.get() >= process.descriptors.get());
    }

    #[test]
    fn nonsense_changes_nothing() {
        let process = Process::new(&mut Registry::default());
        process.read_status("VmRSS: 7 kB\nThreads: many\nVmHWM\n\u{0}:\n");
        assert_eq!((process.resident.get(), process.threads.get(), process.resident_peak.get()), (7168, 0, 0));
    }
}
