//! The files that prepare a host: sysctl.d, limits.d, systemd drop-ins and a script for the network card, made from a
//! plan. Those of `tuning/1k`, `10k` and `50k` come from here; a test makes them again and compares.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::fleet::{Brokers, Fleet};
use super::plan::Plan;
use super::settings::{Applies, settings};

/// A fleet whose files come with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The directory below `tuning/`.
    pub name: &'static str,
    /// Agents of one broker.
    pub agents: u64,
    /// Cores of its host.
    pub cores: u64,
}

/// All of them.
pub const SIZES: [Size; 3] = [
    Size { name: "1k", agents: 1_000, cores: 2 },
    Size { name: "10k", agents: 10_000, cores: 4 },
    Size { name: "50k", agents: 50_000, cores: 8 },
];

impl Size {
    /// All agents on one broker.
    pub fn fleet(self) -> Fleet {
        Fleet { brokers: Brokers::Count(1), ..Fleet::of(self.agents, self.cores) }
    }
}

/// Threads that a unit may have at least: so many cost nothing as long as they are not there.
const TASKS_MIN: u64 = 512;

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuningFile {
    /// Below the directory.
    pub path: &'static str,
    /// Its content.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

/// The files for each broker's host of a plan.
pub fn files(plan: &Plan) -> Vec<TuningFile> {
    let file = |path, text| TuningFile { path, text, executable: false };
    vec![
        file("sysctl.d/60-podium.conf", sysctl(plan)),
        file("limits.d/podium.conf", limits_conf(plan)),
        file("systemd/podium-server.service.d/50-capacity.conf", drop_in(plan)),
        file("systemd/podium-broker.service.d/50-capacity.conf", drop_in(plan)),
        TuningFile { path: "nic.sh", text: nic(plan), executable: true },
    ]
}

/// Writes them; says where.
pub fn write(plan: &Plan, dir: &Path) -> Result<Vec<PathBuf>, String> {
    files(plan).iter().map(|file| write_one(dir, file)).collect()
}

fn write_one(dir: &Path, file: &TuningFile) -> Result<PathBuf, String> {
    let path = dir.join(file.path);
    let fail =
        |error: std::io::Error| format!("{}: cannot be written: {error}; give another directory", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    fs::write(&path, &file.text).map_err(fail)?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(fail)?;
    Ok(path)
}

fn heading(plan: &Plan) -> String {
    let fleet = &plan.fleet;
    format!(
        "# For {} agents on one broker with {} cores. Made by podium capacity plan --write-tuning; what each key is for, and\n\
         # its formula, is in tuning/README.md.\n",
        plan.share, fleet.cores
    )
}

fn sysctl(plan: &Plan) -> String {
    let mut text = heading(plan);
    for setting in settings(plan, plan.share) {
        let Some(value) = setting.written else { continue };
        // Not every kernel has these; their absence must not stop the rest.
        let optional = setting.applies == Applies::Tracked || setting.key.contains(".ipv6.");
        let mark = if optional { "-" } else { "" };
        text.push_str(&format!("{mark}{} = {value}\n", setting.key));
    }
    text
}

fn limits_conf(plan: &Plan) -> String {
    let limit = plan.budget.descriptor_limit;
    let heading = heading(plan);
    format!(
        "{heading}# Only for a broker that is not started by systemd.\npodium soft nofile {limit}\npodium hard nofile {limit}\n"
    )
}

/// What a unit must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitLimits {
    /// `LimitNOFILE`.
    pub descriptors: u64,
    /// `TasksMax`.
    pub tasks: u64,
    /// `MemoryMax`, in bytes: whole MiB.
    pub memory_bytes: u64,
}

/// For each broker of a plan.
pub fn unit_limits(plan: &Plan) -> UnitLimits {
    let mebibyte = 1024 * 1024;
    UnitLimits {
        descriptors: plan.budget.descriptor_limit,
        tasks: plan.budget.threads.next_power_of_two().max(TASKS_MIN),
        memory_bytes: plan.budget.memory_bound_bytes.div_ceil(mebibyte) * mebibyte,
    }
}

fn drop_in(plan: &Plan) -> String {
    let UnitLimits { descriptors, tasks, memory_bytes } = unit_limits(plan);
    let heading = heading(plan);
    format!(
        "{heading}[Service]\n\
         LimitNOFILE={descriptors}\n\
         TasksMax={tasks}\n\
         # What the limits of the program add up to; more is a mistake of the program and must not take the host with it.\n\
         MemoryMax={}M\n\
         # Keys of TLS sessions are in memory: not on a disk, and not in a core dump.\n\
         MemorySwapMax=0\n\
         LimitCORE=0\n",
        memory_bytes / (1024 * 1024)
    )
}

fn nic(plan: &Plan) -> String {
    NIC.replace("@HEADING@\n", &heading(plan)).replace("@FLOWS@", &plan.share.next_power_of_two().to_string())
}

/// Prints what it would do with `-n`; what the card cannot do is left as it is.
const NIC: &str = include_str!("tuning/nic.sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::plan::plan;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning")
    }

    #[test]
    fn the_files_of_the_repository_are_those_of_the_model() {
        for size in SIZES {
            for file in files(&plan(&size.fleet())) {
                let path = root().join(size.name).join(file.path);
                let found = fs::read_to_string(&path).unwrap_or_default();
                let again = format!(
                    "cargo run -- capacity plan --agents {} --cores {} --brokers 1 --write-tuning tuning/{}",
                    size.agents, size.cores, size.name
                );
                assert!(found == file.text, "{} is not what the model makes; write it again: {again}", path.display());
                let executable = fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0;
                assert_eq!(executable, file.executable, "{}", path.display());
            }
        }
    }

    /// A row for every key, with the value of every size, the default and the formula.
    #[test]
    fn the_readme_has_every_key() {
        let readme = fs::read_to_string(root().join("README.md")).unwrap();
        let plans = SIZES.map(|size| plan(&size.fleet()));
        let of_sizes = plans.each_ref().map(|plan| settings(plan, plan.share));
        for (index, setting) in of_sizes[0].iter().enumerate() {
            let row = readme.lines().find(|line| line.starts_with(&format!("| `{}`", setting.key)));
            let row = row.unwrap_or_else(|| panic!("tuning/README.md has no row for {}", setting.key));
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let values = of_sizes.each_ref().map(|settings| settings[index].written);
            let shown = values.map(|value| value.map_or("unchanged".to_owned(), |value| value.to_string()));
            let shown = if shown[0] == shown[1] && shown[1] == shown[2] { shown[0].clone() } else { shown.join(", ") };
            let wanted = ["", &format!("`{}`", setting.key), setting.default, &shown, &setting.formula];
            assert_eq!(cells[..5], wanted, "{}", setting.key);
            assert_eq!(cells[5..7], [setting.symptom, setting.source], "{}", setting.key);
        }
    }

    #[test]
    fn unit_limits_have_room() {
        let plan = plan(&SIZES[2].fleet());
        let limits = unit_limits(&plan);
        assert!(limits.descriptors > plan.budget.descriptors && limits.tasks >= plan.budget.threads);
        assert!(
            limits.memory_bytes >= plan.budget.memory_bound_bytes && limits.memory_bytes.is_multiple_of(1024 * 1024)
        );
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write(&plan(&SIZES[0].fleet()), &file).unwrap_err();
        assert!(error.contains("cannot be written") && error.contains("give another directory"), "{error}");
    }
}
