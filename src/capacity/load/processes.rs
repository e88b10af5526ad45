//! Several processes that play one fleet, for more agents than one process may have descriptors: this program starts
//! itself, gives each copy its share on standard input, one line of JSON, and lets all begin each step together. What
//! they count and time comes back on standard output, a line of JSON each.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::LoadError;
use super::ledger::Counts;
use super::plan::Plan;
use super::recorder::Recorder;
use super::share::{self, Companion, Outcome};
use crate::limits::LOAD_LINE_BYTES_MAX;

/// The subcommand that the copies run.
pub const SUBCOMMAND: [&str; 2] = ["capacity", "load-share"];

/// What a copy says.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Counts(Counts),
    Begin(String),
    End,
    Notice(String),
    Done(Box<Outcome>),
    Refused(String),
    Failed(String),
}

/// The copies.
struct Copies {
    children: Vec<(Child, ChildStdin)>,
    lines: Receiver<(usize, Option<Line>)>,
    counts: Vec<Counts>,
    outcomes: Vec<Option<Outcome>>,
}

/// Runs all shares of a plan; their outcomes, in order.
pub fn run(plan: &Plan, stop: &AtomicBool, recorder: &mut Recorder<'_>) -> Result<Vec<Outcome>, LoadError> {
    let mut copies = Copies::start(plan)?;
    for (child, _) in &copies.children {
        recorder.also(child.id());
    }
    let outcome = copies.lead(stop, recorder);
    copies.end();
    outcome
}

impl Copies {
    fn start(plan: &Plan) -> Result<Self, LoadError> {
        let (sender, lines) = bounded(1024);
        let mut copies = Self { children: Vec::new(), lines, counts: Vec::new(), outcomes: Vec::new() };
        for index in 0..plan.processes {
            let started = copies.start_one(index as usize, &plan.share(index), sender.clone());
            if let Err(error) = started {
                copies.end();
                return Err(LoadError::Failed(format!("process {} cannot be started: {error}", index + 1)));
            }
        }
        Ok(copies)
    }

    fn start_one(&mut self, index: usize, share: &Plan, sender: Sender<(usize, Option<Line>)>) -> std::io::Result<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("it has no standard input or output"));
        };
        let sent = writeln!(stdin, "{}", serde_json::to_string(share)?);
        self.children.push((child, stdin));
        self.counts.push(Counts::default());
        self.outcomes.push(None);
        std::thread::Builder::new().name(format!("podium-share-{index}")).spawn(move || {
            let mut reader = BufReader::new(stdout);
            loop {
                let mut text = String::new();
                let read = reader.by_ref().take(LOAD_LINE_BYTES_MAX).read_line(&mut text);
                let line = read.ok().filter(|bytes| *bytes > 0).and_then(|_| serde_json::from_str(&text).ok());
                let is_last = line.is_none();
                // Nobody listens any more when the run is over.
                if sender.send((index, line)).is_err() || is_last {
                    return;
                }
            }
        })?;
        sent
    }

    fn lead(&mut self, stop: &AtomicBool, recorder: &mut Recorder<'_>) -> Result<Vec<Outcome>, LoadError> {
        let mut waiting: Vec<usize> = Vec::new();
        let (mut is_told, mut ending) = (false, 0);
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok((index, Some(Line::Counts(counts)))) => self.counts[index] = counts,
                Ok((index, Some(Line::Begin(step)))) => {
                    waiting.push(index);
                    if waiting.len() == self.outcomes.iter().filter(|outcome| outcome.is_none()).count() {
                        recorder.begin(&step, &self.sum())?;
                        self.let_go(&waiting);
                        waiting.clear();
                    }
                }
                Ok((_, Some(Line::End))) => {
                    ending += 1;
                    // When the first has disconnected its agents, memory and descriptors are not those of the run.
                    if ending == 1 {
                        recorder.end();
                    }
                }
                Ok((0, Some(Line::Notice(text)))) => recorder.notice(&text),
                Ok((_, Some(Line::Notice(_)))) => {}
                Ok((index, Some(Line::Done(outcome)))) => {
                    self.outcomes[index] = Some(*outcome);
                    if self.outcomes.iter().all(Option::is_some) {
                        return Ok(self.outcomes.iter_mut().filter_map(Option::take).collect());
                    }
                    // It ended before its time, and the others would wait for it for ever.
                    self.let_go(&waiting);
                    waiting.clear();
                }
                Ok((_, Some(Line::Refused(text)))) => return Err(LoadError::Usage(text)),
                Ok((_, Some(Line::Failed(text)))) => return Err(LoadError::Failed(text)),
                Ok((index, None)) if self.outcomes[index].is_none() => {
                    let text = format!("process {} of the fleet ended without a result", index + 1);
                    return Err(LoadError::Failed(text));
                }
                Ok((_, None)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(LoadError::Failed("the processes of the fleet are gone".to_owned()));
                }
            }
            if stop.load(Ordering::Relaxed) && !is_told {
                is_told = true;
                self.signal(Signal::INT);
                self.let_go(&waiting);
                waiting.clear();
            }
            recorder.tick(&self.sum());
        }
    }

    /// All counters together.
    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.counts.iter().for_each(|counts| sum.add(counts));
        // Each controller knows everybody.
        sum.inventory = self.counts.iter().map(|counts| counts.inventory).max().unwrap_or(0);
        sum
    }

    fn let_go(&mut self, waiting: &[usize]) {
        for index in waiting {
            // One that is gone is noticed by the end of its output.
            let _ = self.children[*index].1.write_all(b"go\n");
        }
    }

    fn signal(&self, signal: Signal) {
        for (child, _) in &self.children {
            // It may have ended.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    fn end(&mut self) {
        for (mut child, stdin) in self.children.drain(..) {
            drop(stdin);
            if !matches!(child.try_wait(), Ok(Some(_))) {
                // Both fail only for a process that has ended.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Passes everything on to the process that records.
struct Reporter<'a> {
    stop: &'a AtomicBool,
}

impl Reporter<'_> {
    fn say(&self, line: &Line) {
        let mut out = std::io::stdout().lock();
        let text = serde_json::to_string(line).expect("its keys are strings");
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Companion for Reporter<'_> {
    fn tick(&mut self, counts: &Counts) {
        self.say(&Line::Counts(counts.clone()));
    }

    fn begin(&mut self, step: &str, counts: &Counts) -> Result<(), LoadError> {
        self.say(&Line::Counts(counts.clone()));
        self.say(&Line::Begin(step.to_owned()));
        let mut answer = String::new();
        match std::io::stdin().lock().take(16).read_line(&mut answer) {
            Ok(3) => Ok(()),
            _ => Err(LoadError::Failed("the process that leads the run is gone".to_owned())),
        }
    }

    fn end(&mut self) {
        self.say(&Line::End);
    }

    fn notice(&mut self, text: &str) {
        self.say(&Line::Notice(text.to_owned()));
    }
}

/// What a copy does. False if it could not.
pub fn serve(stop: &AtomicBool) -> bool {
    let mut reporter = Reporter { stop };
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LOAD_LINE_BYTES_MAX).read_line(&mut text);
    let plan = read.map_err(|error| error.to_string()).and_then(|_| {
        serde_json::from_str::<Plan>(&text).map_err(|error| format!("this is no share of a run: {error}"))
    });
    let outcome = plan.map_err(LoadError::Usage).and_then(|plan| {
        plan.check()?;
        super::host::prepare(&plan)?;
        share::run(&plan, stop, &mut reporter)
    });
    let line = match outcome {
        Ok(outcome) => Line::Done(Box::new(outcome)),
        Err(LoadError::Usage(text)) => Line::Refused(text),
        Err(LoadError::Failed(text)) => Line::Failed(text),
    };
    reporter.say(&line);
    matches!(line, Line::Done(_))
}
