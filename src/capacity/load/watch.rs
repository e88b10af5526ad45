//! What the kernel says of a process, memory, CPU, descriptors, threads, and of the whole machine's time (proc(5)).

use std::fs;

use serde::{Deserialize, Serialize};

/// Ticks of `/proc/PID/stat` per second: 100 on every Linux, whatever the kernel's own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

/// One look at a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Which.
    pub pid: u32,
    /// Bytes of resident memory.
    pub resident: u64,
    /// The part of it that is its own.
    pub anonymous: u64,
    /// Seconds of CPU since its start, in user space.
    pub user: f64,
    /// The same in the kernel.
    pub system: f64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors; `None` if we may not look.
    pub descriptors: Option<u64>,
}

impl Look {
    /// Looks; `None` if there is no such process.
    pub fn at(pid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let (user, system) = cpu(&read("stat")?)?;
        let status = read("status")?;
        let value = |name: &str| field(&status, name);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|entries| entries.count() as u64);
        Some(Self {
            pid,
            resident: value("VmRSS")? * 1024,
            anonymous: value("RssAnon").unwrap_or_default() * 1024,
            user,
            system,
            threads: value("Threads").unwrap_or_default(),
            descriptors,
        })
    }

    /// Seconds of CPU since its start.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// What all processors have done since the machine's start, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// All of it.
    pub all: u64,
    /// Nothing.
    pub idle: u64,
    /// Stood still although there was work, because the host let others run: a guest's times are too long by that.
    pub stolen: u64,
}

impl Machine {
    /// Looks; `None` where the kernel does not tell.
    pub fn look() -> Option<Self> {
        machine(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The parts of the time since `earlier` in which it worked and in which it was stolen, in percent.
    pub fn since(&self, earlier: &Self) -> Option<(f64, f64)> {
        let passed = self.all.checked_sub(earlier.all).filter(|&passed| passed > 0)? as f64;
        let percent = |part: u64| 100.0 * part as f64 / passed;
        let (idle, stolen) = (self.idle.saturating_sub(earlier.idle), self.stolen.saturating_sub(earlier.stolen));
        Some((100.0 - percent(idle) - percent(stolen), percent(stolen)))
    }
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal. What follows is part of the first two.
fn machine(stat: &str) -> Option<Machine> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let fields: Vec<u64> = fields.map(|ticks| ticks.parse().ok()).collect::<Option<_>>()?;
    let [.., idle, waiting, _, _, stolen] = fields[..] else { return None };
    Some(Machine { all: fields.iter().sum(), idle: idle + waiting, stolen })
}

/// User and system time. The name, in parentheses, may hold anything.
fn cpu(stat: &str) -> Option<(f64, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(|ticks| ticks.parse::<f64>().ok());
    Some((fields.next()?? / TICKS_PER_SECOND, fields.next()?? / TICKS_PER_SECOND))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let look = Look::at(std::process::id()).unwrap();
        assert!(look.resident > 1_000_000 && look.threads >= 1 && look.descriptors.unwrap() >= 3);
        assert!(Look::at(u32::MAX).is_none());
    }

    #[test]
    fn a_machine_works_is_idle_or_has_its_time_stolen() {
        let before = machine("cpu  100 0 50 800 20 1 9 20 5 0\ncpu0 1 2\n").unwrap();
        assert_eq!(before, Machine { all: 1000, idle: 820, stolen: 20 });
        let after = Machine { all: 1200, idle: 860, stolen: 70 };
        assert_eq!(after.since(&before), Some((55.0, 25.0)));
        assert_eq!(before.since(&before), None);
        assert!(machine("cpu  1 2 3 4\n").is_none() && machine("intr 1").is_none() && Machine::look().is_some());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 99";
        assert_eq!(cpu(stat), Some((2.5, 0.5)));
        assert_eq!((cpu("7 (a) S 1"), cpu("")), (None, None));
        assert_eq!((field("VmRSS:\t  12 kB\n", "VmRSS"), field("VmRSSx: 1 kB", "VmRSS")), (Some(12), None));
    }
}
