//! One child process: in a process group of its own, fed from a thread so that it need not read, its output copied as
//! it comes, always waited for. Used by the wrapper and for blocking requests.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::confine::{self, Launcher};
use crate::limits::TASK_OUTPUT_BYTES_MAX;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Executed directly: its first line or format decides how.
    pub executable: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Added to the inherited environment.
    pub environment: &'a BTreeMap<String, String>,
    /// Its whole standard input.
    pub input: &'a str,
    /// What it is held to.
    pub launcher: Option<&'a Launcher>,
}

/// What the service manager tells the agent and nobody else: a task that took it for its own would speak for the agent.
const OF_THE_SERVICE: [&str; 9] = [
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
];

/// Exit code for what does not exist or may not be executed, as shells have it.
const NOT_EXECUTABLE: i32 = 127;

/// Stack of a thread that only moves bytes from one place to another.
const COPIER_STACK_BYTES: usize = 64 * 1024;

/// Runs `program` until it has ended and nobody holds its output any more, and returns its exit code: 0 to 255 as it
/// is, or the number of the signal that killed it. (pxp-agent reports 128 to 255 as negative numbers, because it reads
/// them through a signed byte. Nobody can want that, and orchestrators only tell 0 from the rest.)
///
/// A program that cannot be executed gives 127 or the error's number, with the reason on `stderr`.
pub fn run(program: &Program<'_>, stdout: &mut (impl Write + Send), stderr: &mut (impl Write + Send)) -> i32 {
    let mut child = match spawn(program) {
        Ok(child) => child,
        Err(error) => return not_run(program.executable, &error, stderr),
    };
    feed(&mut child, program.input);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (status, lost) = thread::scope(|scope| {
        let copy_err = || err.and_then(|from| copy(from, stderr));
        let err = thread::Builder::new().stack_size(COPIER_STACK_BYTES).spawn_scoped(scope, copy_err);
        let lost = out.and_then(|from| copy(from, stdout));
        // The output first: what the child leaves in the background may still write to it.
        let status = child.wait();
        let lost_err = err.map_or_else(|error| Some(error.to_string()), |err| err.join().unwrap_or_default());
        (status, lost.or(lost_err))
    });
    if let Some(lost) = lost {
        let _ = writeln!(stderr, "[output of the task is missing here or above: {lost}]");
    }
    exit_code(status)
}

/// Says why a program does not run, and returns the exit code for that.
pub(super) fn not_run(executable: &Path, error: &io::Error, stderr: &mut impl Write) -> i32 {
    // Who does not read it has the exit code.
    let _ = writeln!(stderr, "Executable '{}' failed to run: {error}", executable.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => NOT_EXECUTABLE,
        _ => error.raw_os_error().unwrap_or(NOT_EXECUTABLE),
    }
}

fn exit_code(status: io::Result<ExitStatus>) -> i32 {
    match status {
        Ok(status) => status.code().or(status.signal()).unwrap_or(NOT_EXECUTABLE),
        Err(error) => error.raw_os_error().unwrap_or(NOT_EXECUTABLE),
    }
}

fn spawn(program: &Program<'_>) -> io::Result<Child> {
    let mut command = match program.launcher {
        None => Command::new(program.executable),
        Some(Launcher { program: launcher, confinement }) => {
            let confinement = serde_json::to_string(confinement).expect("it has string keys only");
            let mut command = Command::new(launcher);
            command.arg0("podium").arg(confine::SUBCOMMAND).arg(confinement).arg(program.executable);
            command
        }
    };
    let stdin = if program.input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.args(program.arguments).process_group(0);
    for name in OF_THE_SERVICE {
        command.env_remove(name);
    }
    command.envs(program.environment);
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    stubbornly(|| command.spawn())
}

/// Executes a file although another thread may have been between fork and exec while it was still open for writing.
pub(super) fn stubbornly<T>(mut execute: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..100 {
        match execute() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
    execute()
}

/// Writes the input from a thread that nobody waits for: the child may end without having read it, and something it
/// left behind may keep the pipe open for ever.
fn feed(child: &mut Child, input: &str) {
    let Some(mut stdin) = child.stdin.take() else { return };
    let input = input.to_owned();
    let feeder = move || {
        // The child may close its end whenever it likes.
        let _ = stdin.write_all(input.as_bytes());
    };
    if let Err(error) = thread::Builder::new().stack_size(COPIER_STACK_BYTES).spawn(feeder) {
        tracing::warn!("no thread to feed a task's standard input: {error}");
    }
}

/// Copies until the end, or discards when no more can be kept, so that the child never blocks; tells what was lost.
fn copy(mut from: impl Read, to: &mut impl Write) -> Option<String> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut kept, mut lost) = (0, None);
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return lost,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Some(error.to_string()),
        };
        if lost.is_some() {
            continue;
        }
        kept += length;
        if kept > TASK_OUTPUT_BYTES_MAX {
            lost = Some(format!("the limit is {TASK_OUTPUT_BYTES_MAX} bytes"));
        } else if let Err(error) = to.write_all(&buffer[..length]) {
            lost = Some(error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn run_script(script: &str, input: &str, environment: &[(&str, &str)]) -> (i32, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        run_file(&path, input, environment)
    }

    fn run_file(path: &Path, input: &str, environment: &[(&str, &str)]) -> (i32, String, String) {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let program = Program { executable: path, arguments: &[], environment: &environment, input, launcher: None };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&program, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn feeds_and_copies() {
        let result = run_script("#!/bin/sh\ncat; echo $PT_a >&2; exit 3\n", "input", &[("PT_a", "b")]);
        assert_eq!(result, (3, "input".into(), "b\n".into()));
    }

    #[test]
    fn exit_codes_are_real_and_signals_are_numbers() {
        assert_eq!(run_script("#!/bin/sh\nexit 200\n", "", &[]).0, 200);
        assert_eq!(run_script("#!/bin/sh\nkill -9 $$\n", "", &[]).0, 9);
    }

    #[test]
    fn large_input_that_nobody_reads_does_no_harm() {
        let result = run_script("#!/bin/sh\necho done\n", &"x".repeat(1_000_000), &[]);
        assert_eq!(result, (0, "done\n".into(), String::new()));
    }

    #[test]
    fn what_cannot_be_executed_says_why() {
        let (code, _, err) = run_file(Path::new("/no/such/file"), "", &[]);
        assert_eq!(code, 127);
        assert!(err.starts_with("Executable '/no/such/file' failed to run: "), "{err}");
        assert_eq!(run_file(Path::new("/etc/passwd"), "", &[]).0, 127);
        assert_eq!(run_script("no shebang\n", "", &[]).0, 8);
        assert_eq!(run_script("#!/bin/sh\n", "", &[("PT_large", &"x".repeat(200_000))]).0, 7);
    }

    #[test]
    fn a_background_process_delays_the_end() {
        let (code, out, _) = run_script("#!/bin/sh\n(sleep 0.2; echo late) &\necho soon\nexit 1\n", "", &[]);
        assert_eq!((code, out.as_str()), (1, "soon\nlate\n"));
    }

    #[test]
    fn output_beyond_the_limit_is_not_kept_and_read_all_the_same() {
        let mut kept = io::sink();
        let endless = |length: usize| io::repeat(b'x').take(length as u64);
        assert_eq!(copy(endless(TASK_OUTPUT_BYTES_MAX), &mut kept), None);
        let mut from = endless(TASK_OUTPUT_BYTES_MAX + 1_000_000);
        assert_eq!(copy(&mut from, &mut kept), Some(format!("the limit is {TASK_OUTPUT_BYTES_MAX} bytes")));
        assert_eq!(from.limit(), 0);
    }

    #[test]
    fn output_that_cannot_be_kept_is_discarded() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(copy(&[b'x'; 1_000_000][..], &mut Full).is_some());
    }
}
