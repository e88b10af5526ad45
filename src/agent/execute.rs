//! Runs one task: files from the cache, the install directory for extra files, then the process: under the wrapper for
//! non-blocking requests, directly for blocking ones (pxp-agent, task module).

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::child::{self, Program};
use super::files;
use super::metadata::Ending;
use super::spool::{NO_OUTPUT, Spool};
use super::stop::STOPPED_BEFORE;
use super::task::{self, Choice, InputMethod};
use super::task_cache::TaskCache;
use super::transaction::{Label, TransactionId};
use super::wrapper::Job;
use crate::pxp::response::ProcessResults;
use crate::pxp::task::TaskRun;

/// How to start the execution wrapper; the transaction id is added as the last argument.
#[derive(Debug, Clone)]
pub struct WrapperCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl WrapperCommand {
    /// This very program, even if its file has been replaced by an upgrade.
    pub fn own() -> Self {
        Self { program: "/proc/self/exe".into(), arguments: vec!["execution-wrapper".into()] }
    }
}

/// A task that is ready to be run.
struct Prepared {
    executable: PathBuf,
    input: String,
    environment: BTreeMap<String, String>,
}

/// Runs a task under the wrapper and waits for it. All that it leaves is in the spool.
pub fn run_detached(
    spool: &Spool,
    cache: &TaskCache,
    wrapper: &WrapperCommand,
    id: &TransactionId,
    label: &Label<'_>,
    run: &TaskRun,
) -> Ending {
    let directory = spool.directory(id);
    let install_dir = directory.join(files::random_name("temp_task_"));
    let prepared = match prepare(cache, run, &install_dir) {
        Ok(prepared) => prepared,
        Err(error) => return Ending::Invalid(label.failed(&error)),
    };
    let job = Job {
        executable: prepared.executable,
        arguments: Vec::new(),
        environment: prepared.environment,
        input: prepared.input,
        stdout: directory.join("stdout"),
        stderr: directory.join("stderr"),
        exitcode: directory.join("exitcode"),
    };
    if let Err(error) = supervise(spool, wrapper, id, &job) {
        return Ending::Invalid(label.failed(&format!("the execution wrapper cannot be run: {error}")));
    }
    spool.collect(id, label).unwrap_or_else(|| Ending::Undetermined(NO_OUTPUT.into()))
}

/// Starts the wrapper and waits for it, whatever becomes of its job.
fn supervise(spool: &Spool, wrapper: &WrapperCommand, id: &TransactionId, job: &Job) -> io::Result<()> {
    let mut command = Command::new(&wrapper.program);
    command.arg0("podium").args(&wrapper.arguments).arg(id.as_str());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut stdin = process.stdin.take();
    // The wrapper does nothing before it has its job, so the task never runs without its process being on record.
    let recorded = spool.write_pid(id, process.id()).and_then(|()| match spool.is_refused(id) {
        true => Err(io::Error::other(STOPPED_BEFORE)),
        false => Ok(()),
    });
    if let (Ok(()), Some(stdin)) = (&recorded, &mut stdin) {
        let job = serde_json::to_vec(job).expect("jobs have string keys only");
        // If the wrapper has died, its exit code is missing, which says enough.
        let _ = stdin.write_all(&job);
    }
    drop(stdin);
    let waited = process.wait();
    recorded.and(waited).map(|_| ())
}

/// Runs a task without a trace in the spool; the results have at most `max` bytes.
pub fn run_directly(cache: &TaskCache, label: &Label<'_>, run: &TaskRun, max: usize) -> Ending {
    let install_dir = Removed(cache.temporary("temp_task_"));
    let prepared = match prepare(cache, run, &install_dir.0) {
        Ok(prepared) => prepared,
        Err(error) => return Ending::Invalid(label.failed(&error)),
    };
    let Prepared { executable, input, environment } = &prepared;
    let (mut stdout, mut stderr) = (Bounded::new(max), Bounded::new(max));
    let program = Program { executable, arguments: &[], environment, input };
    let exitcode = child::run(&program, &mut stdout, &mut stderr);
    let size = stdout.size + stderr.size;
    if size > max as u64 {
        return Ending::TooLarge(size);
    }
    let stderr = String::from_utf8_lossy(&stderr.bytes).into_owned();
    match String::from_utf8(stdout.bytes) {
        Ok(stdout) => {
            let present = |text: String| (!text.is_empty()).then_some(text);
            let exitcode = i64::from(exitcode);
            Ending::Valid(ProcessResults { exitcode, stdout: present(stdout), stderr: present(stderr) })
        }
        Err(_) => Ending::Invalid(label.invalid_utf8()),
    }
}

fn prepare(cache: &TaskCache, run: &TaskRun, install_dir: &Path) -> Result<Prepared, String> {
    let choice = task::choose(run)?;
    let cached = cache.get(&choice.executable, &choice.basename)?;
    let (executable, input) = if choice.extras.is_empty() {
        (cached, task::input(run, None))
    } else {
        let executable = install(cache, &choice, &cached, install_dir)?;
        (executable, task::input(run, Some(&install_dir.to_string_lossy())))
    };
    let environment = match choice.method {
        InputMethod::Stdin => BTreeMap::new(),
        InputMethod::Environment | InputMethod::Both => task::environment(&input)?,
    };
    let input = match choice.method {
        InputMethod::Environment => String::new(),
        InputMethod::Stdin | InputMethod::Both => serde_json::Value::Object(input).to_string(),
    };
    Ok(Prepared { executable, input, environment })
}

/// Copies the extra files and the executable below the install directory; returns the executable's place.
fn install(cache: &TaskCache, choice: &Choice, cached: &Path, install_dir: &Path) -> Result<PathBuf, String> {
    for (file, place) in &choice.extras {
        let basename = file.filename.rsplit('/').next().unwrap_or_default();
        copy(&cache.get(file, basename)?, &install_dir.join(place))?;
    }
    let executable = install_dir.join(&choice.place);
    copy(cached, &executable)?;
    Ok(executable)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = files::create_directory(to.parent().unwrap_or(Path::new("/")))
        .and_then(|()| fs::copy(from, to))
        .and_then(|_| fs::set_permissions(to, Permissions::from_mode(files::DIRECTORY_MODE)));
    copied.map_err(|error| format!("{} cannot be put in place: {error}", to.display()))
}

/// A directory that goes when it is no longer needed, if it ever came.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{} cannot be removed: {error}", self.0.display());
            }
            _ => {}
        }
    }
}

/// Keeps so many bytes and counts the rest.
struct Bounded {
    bytes: Vec<u8>,
    size: u64,
    max: usize,
}

impl Bounded {
    fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), size: 0, max }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
