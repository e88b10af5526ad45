//! Does one request's work: the preparation, then the process: under the wrapper for non-blocking requests, directly
//! for blocking ones (pxp-agent, bolt modules).

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::child::{self, Program};
use super::confine::Launcher;
use super::executor::Workshop;
use super::files;
use super::metadata::Ending;
use super::passwd::User;
use super::registry::Hold;
use super::requests::RunOrder;
use super::spool::{NO_OUTPUT, Spool};
use super::stop::STOPPED_BEFORE;
use super::transaction::{Label, TransactionId};
use super::work::{Prepared, Room, Step};
use super::wrapper::Job;

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

/// Does the work of a non-blocking request, what is executed under the wrapper. All that it leaves is in the spool.
pub fn run_detached(workshop: &Workshop, id: &TransactionId, label: &Label<'_>, order: &RunOrder) -> Ending {
    let Workshop { spool, cache, wrapper, .. } = workshop;
    let (launcher, task_user) = hold(workshop, order);
    let directory = spool.directory(id);
    let is_stopped = || spool.is_refused(id);
    // The user of tasks cannot read the spool, where the results of all tasks are.
    let of_user = task_user.map(|_| Removed(cache.temporary("temp_task_")));
    let of_agent = directory.join(files::random_name("temp_task_"));
    let install_dir = of_user.as_ref().map_or(&of_agent, |directory| &directory.0);
    let room = Room { cache, install_dir, task_user, is_stopped: &is_stopped };
    let prepared = match order.work.prepare(&room) {
        Ok(Step::Execute(prepared)) => prepared,
        Ok(Step::Done(results)) => {
            return match spool.write_results(id, &results) {
                Ok(()) => Ending::Valid(results.into()),
                Err(error) => Ending::Invalid(label.failed(&format!("its results cannot be kept: {error}"))),
            };
        }
        Err(error) => return Ending::Invalid(label.failed(&error)),
    };
    let Prepared { executable, arguments, environment, input } = prepared;
    let job = Job {
        executable,
        arguments,
        environment,
        input,
        launcher: launcher.cloned(),
        stdout: directory.join("stdout"),
        stderr: directory.join("stderr"),
        exitcode: directory.join("exitcode"),
    };
    if let Err(error) = supervise(spool, wrapper, id, &job) {
        return Ending::Invalid(label.failed(&format!("the execution wrapper cannot be run: {error}")));
    }
    spool.collect(id, label, order.output()).unwrap_or_else(|| Ending::Undetermined(NO_OUTPUT.into()))
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

/// What the order's processes are held to, and whose rights they have by that.
fn hold<'a>(workshop: &'a Workshop, order: &RunOrder) -> (Option<&'a Launcher>, Option<&'a User>) {
    match order.entry.hold {
        Hold::OfAgent => (None, None),
        Hold::OfTasks => {
            let launcher = workshop.launcher.as_ref();
            (launcher, launcher.and_then(|launcher| launcher.confinement.user.as_ref()))
        }
    }
}

/// Does the work of a blocking request, without a trace in the spool; the results fit into a message.
pub fn run_directly(workshop: &Workshop, label: &Label<'_>, order: &RunOrder) -> Ending {
    let &Workshop { ref cache, data_max, .. } = workshop;
    let (launcher, task_user) = hold(workshop, order);
    let install_dir = Removed(cache.temporary("temp_task_"));
    let room = Room { cache, install_dir: &install_dir.0, task_user, is_stopped: &|| false };
    let prepared = match order.work.prepare(&room) {
        Ok(Step::Execute(prepared)) => prepared,
        Ok(Step::Done(results)) => return Ending::Valid(results.into()),
        Err(error) => return Ending::Invalid(label.failed(&error)),
    };
    let Prepared { executable, arguments, environment, input } = &prepared;
    let (mut stdout, mut stderr) = (Bounded::new(data_max), Bounded::new(data_max));
    let program = Program { executable, arguments, environment, input, launcher };
    let exitcode = child::run(&program, &mut stdout, &mut stderr);
    let size = stdout.size + stderr.size;
    if size > data_max as u64 {
        return Ending::TooLarge(size);
    }
    let stderr = String::from_utf8_lossy(&stderr.bytes).into_owned();
    let stderr = (!stderr.is_empty()).then_some(stderr);
    order.output().ending(label, i64::from(exitcode), stdout.bytes, stderr)
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
