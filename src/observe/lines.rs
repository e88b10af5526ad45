//! The lines of an access log on their way to its file. Each worker formats into a buffer of its own, whose lock only
//! the writer ever wants too; the writer swaps the full buffer for an empty one and writes at leisure. Nothing is
//! allocated per line, no worker waits for the disk, and what does not fit is counted.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;

use crate::clock::{Clock, Moment, WallTime};
use crate::limits::{ACCESS_LOG_BUFFER_BYTES, ACCESS_LOG_LINE_BYTES_MAX};
use crate::observe::output::{Output, OutputError};
use crate::observe::recorder::{Bell, Ring};

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// `2026-03-01 10:15:30,120`
    Logback,
    /// `01/Mar/2026:10:15:30 +0000`
    CommonLog,
    /// `2026-03-01T10:15:30.120Z`
    Iso,
}

/// One access log.
pub(super) struct Lines {
    clock: Clock,
    bell: Arc<Bell>,
    buffers: Box<[Mutex<Buffer>]>,
    sink: Mutex<Sink>,
    directed: Mutex<Directed>,
    reopen: AtomicBool,
    /// Lines that were lost, for the metrics.
    dropped: Counter,
}

/// What a worker writes to.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    dropped: u64,
    /// The wall clock's milliseconds at the origin of the workers' clock.
    origin: i64,
    stamp: Option<(Stamp, i64)>,
    second: String,
}

/// What only the writer uses: it is held while the disk is waited for.
#[derive(Default)]
struct Sink {
    output: Option<Output>,
    spare: Vec<u8>,
}

/// What has been said last about where lines go.
#[derive(Default)]
struct Directed {
    /// The file, or standard error for `None`, if anything has been said.
    to: Option<Option<PathBuf>>,
    /// Opened, and not taken by the writer yet.
    next: Option<Output>,
}

impl Lines {
    pub(super) fn new(workers: usize, clock: Clock, bell: Arc<Bell>, dropped: Counter) -> Self {
        let buffers = (0..workers).map(|_| Mutex::default()).collect();
        Self {
            clock,
            bell,
            buffers,
            sink: Mutex::default(),
            directed: Mutex::default(),
            reopen: AtomicBool::new(false),
            dropped,
        }
    }

    /// Lines go to this file from the next batch on, or to standard error; what is wrong with it leaves everything as it
    /// was. A disk that does not answer the writer does not hold up whoever reads the configuration again.
    pub(super) fn direct(&self, file: Option<&Path>) -> Result<(), OutputError> {
        let mut directed = lock(&self.directed);
        if directed.to.as_ref().is_none_or(|to| to.as_deref() != file) {
            directed.next = Some(Output::open(file)?);
            directed.to = Some(file.map(Path::to_owned));
        }
        Ok(())
    }

    /// The next batch opens the file again.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// Adds a line of `worker`: `format` is given the buffer and the time.
    pub(super) fn add(&self, worker: u16, at: Moment, stamp: Stamp, format: impl FnOnce(&mut Vec<u8>, Time<'_>)) {
        let Some(buffer) = self.buffers.get(usize::from(worker)) else { return };
        let mut buffer = lock(buffer);
        let Buffer { bytes, dropped, origin, stamp: stamped, second } = &mut *buffer;
        let before = bytes.len();
        if before + ACCESS_LOG_LINE_BYTES_MAX > ACCESS_LOG_BUFFER_BYTES {
            *dropped += 1;
            return;
        }
        if bytes.capacity() < ACCESS_LOG_BUFFER_BYTES {
            bytes.reserve_exact(ACCESS_LOG_BUFFER_BYTES - before);
        }
        if before == 0 {
            // The wall clock is looked at once per batch; within it the lines have the time of their turn of the loop.
            *origin = WallTime::now().as_millis() - self.clock.now().as_millis() as i64;
        }
        let millis = *origin + at.as_millis() as i64;
        let (at_second, fraction) = (millis.div_euclid(1000), millis.rem_euclid(1000) as u16);
        if *stamped != Some((stamp, at_second)) {
            *stamped = Some((stamp, at_second));
            *second = stamp.second(WallTime::from_millis(millis));
        }
        format(bytes, Time { stamp, second, fraction });
        debug_assert!(bytes.len() - before <= ACCESS_LOG_LINE_BYTES_MAX, "a line is bounded");
        let half = ACCESS_LOG_BUFFER_BYTES / 2;
        let ring = match bytes.len() {
            length if before < half && length >= half => Ring::Now,
            _ if before == 0 => Ring::Soon,
            _ => return,
        };
        drop(buffer);
        self.bell.ring(ring);
    }

    /// Writes what has come; only the writer calls it. What was lost is said by `lost_line`, in the log itself; what
    /// cannot be written is lost as well.
    pub(super) fn flush(&self, lost_line: impl Fn(&mut Vec<u8>, WallTime, u64)) {
        let mut sink = lock(&self.sink);
        if let Some(next) = lock(&self.directed).next.take() {
            sink.output = Some(next);
        }
        let Sink { output: Some(output), spare } = &mut *sink else { return };
        if self.reopen.swap(false, Ordering::Relaxed) {
            output.reopen();
        }
        for buffer in &self.buffers {
            let mut held = lock(buffer);
            if held.bytes.is_empty() && held.dropped == 0 {
                continue;
            }
            std::mem::swap(&mut held.bytes, spare);
            let lost = std::mem::take(&mut held.dropped);
            drop(held);
            if lost > 0 {
                self.dropped.inc_by(lost);
                lost_line(spare, WallTime::now(), lost);
            }
            if output.write(spare).is_err() {
                let lines = memchr::memchr_iter(b'\n', spare).count() as u64;
                lock(buffer).dropped += lines;
            }
            spare.clear();
            // The next worker's buffer gets this one, so it must be as large.
            spare.reserve_exact(ACCESS_LOG_BUFFER_BYTES);
        }
    }
}

/// The time of a line.
pub(super) struct Time<'a> {
    stamp: Stamp,
    second: &'a str,
    fraction: u16,
}

impl Stamp {
    fn second(self, time: WallTime) -> String {
        match self {
            Self::Logback => time.to_logback_string(),
            Self::CommonLog => time.to_common_log_string(),
            // The last character is the zone, which comes after the milliseconds.
            Self::Iso => time.to_seconds_string().trim_end_matches('Z').to_owned(),
        }
    }
}

impl Time<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.second.as_bytes());
        let digit = |divisor: u16| b'0' + (self.fraction / divisor % 10) as u8;
        let millis = [digit(100), digit(10), digit(1)];
        match self.stamp {
            Stamp::Logback => out.push(b','),
            Stamp::Iso => out.push(b'.'),
            Stamp::CommonLog => return,
        }
        out.extend_from_slice(&millis);
        if self.stamp == Stamp::Iso {
            out.push(b'Z');
        }
    }
}

/// A worker that panics has written a whole line or nothing, and the process is about to end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_waits_for_a_disk_that_the_writer_waits_for() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["one", "one", "two"].map(|name| dir.path().join(name));
        let lines = Lines::new(1, Clock::start(), Bell::new(), Counter::default());
        let (done, heard) = channel();
        std::thread::scope(|scope| {
            let _writing = lock(&lines.sink);
            scope.spawn(|| {
                files.iter().for_each(|file| lines.direct(Some(file)).unwrap());
                lines.reopen();
                lines.add(0, Moment::default(), Stamp::Iso, |out, _| out.extend_from_slice(b"line\n"));
                done.send(()).unwrap();
            });
            heard.recv_timeout(Duration::from_secs(20)).expect("it waits for the writer");
        });
        lines.flush(|_, _, _| {});
        let written = files.map(|file| std::fs::read_to_string(file).unwrap());
        assert_eq!(written, ["", "", "line\n"]);
    }
}
