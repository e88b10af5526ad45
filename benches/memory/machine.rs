//! What a recorded run must say of itself: hardware, kernel, commit and command; and the files that it is written to.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use podium::clock::WallTime;
use serde_json::{Value, json};

/// Where and when something is measured.
pub struct Machine {
    time: String,
    processor: String,
    cores: usize,
    memory: String,
    kernel: String,
    commit: String,
    command: String,
}

impl Machine {
    /// This machine, now, for a run of the benchmark.
    pub fn look(bench: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
        Self {
            time: WallTime::now().to_seconds_string(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: field(&read("/proc/meminfo"), "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit(),
            command: format!("cargo bench --bench {bench} -- {}", arguments.join(" ")),
        }
    }

    /// The day.
    pub fn date(&self) -> &str {
        &self.time[..10]
    }

    /// Writes what was measured as `NAME.md` and `NAME.json`.
    pub fn record(
        &self,
        dir: &Path,
        name: &str,
        title: &str,
        table: &str,
        explanation: &str,
        rows: &Value,
    ) -> io::Result<()> {
        let Self { time, processor, cores, memory, kernel, commit, command } = self;
        fs::create_dir_all(dir)?;
        let text = format!(
            "# {title}\n\n{time}, {cores} cores of {processor}, {memory}, Linux {kernel}, commit {commit}.\n\n```text\n{command}\n```\n\n\
             {table}\n{explanation}"
        );
        fs::write(dir.join(format!("{name}.md")), text)?;
        let all = json!({
            "time": time, "processor": processor, "cores": cores, "memory": memory, "kernel": kernel,
            "commit": commit, "command": command, "rows": rows,
        });
        fs::write(dir.join(format!("{name}.json")), format!("{all:#}\n"))
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{hash} and changes") } else { hash }
}
