//! Writes down how a run goes: once a second the counters and what the watched processes use, and the same at the
//! borders of steps.

use serde::Serialize;

use super::LoadError;
use super::ledger::Counts;
use super::share::Companion;
use super::watch::{Look, Machine};
use crate::clock::Stopwatch;
use crate::limits::LOAD_SAMPLES_MAX;

/// One second of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Since the start.
    pub seconds: f64,
    /// Counters.
    pub counts: Counts,
    /// The watched processes, in their order; those that are gone are missing.
    pub looks: Vec<Look>,
    /// Bytes of resident memory of the processes that play the fleet.
    pub own_resident: u64,
    /// The machine that plays the fleet.
    pub machine: Option<Machine>,
}

/// Where a step began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mark {
    /// Name of the step.
    pub step: String,
    /// How things stood.
    pub sample: Sample,
}

/// Shows a run while it goes on.
pub trait Display {
    /// A second is over, in this step.
    fn show(&mut self, step: &str, sample: &Sample);
    /// A line of its own.
    fn say(&mut self, text: &str);
}

/// What was written down.
pub struct Recorder<'a> {
    watch: Stopwatch,
    pids: Vec<u32>,
    own: Vec<u32>,
    display: &'a mut dyn Display,
    samples: Vec<Sample>,
    marks: Vec<Mark>,
    counts: Counts,
}

impl<'a> Recorder<'a> {
    /// Begins. `pids` are watched, `own` are the processes of the fleet.
    pub fn start(pids: &[u32], own: Vec<u32>, display: &'a mut dyn Display) -> Result<Self, LoadError> {
        if let Some(pid) = pids.iter().find(|pid| Look::at(**pid).is_none()) {
            return Err(LoadError::Usage(format!(
                "--watch-pid: there is no process {pid}, or it may not be looked at"
            )));
        }
        let pids = pids.to_vec();
        let (samples, marks, counts) = (Vec::new(), Vec::new(), Counts::default());
        Ok(Self { watch: Stopwatch::start(), pids, own, display, samples, marks, counts })
    }

    /// More processes play the fleet.
    pub fn also(&mut self, pid: u32) {
        self.own.push(pid);
    }

    fn look(&self, counts: &Counts) -> Sample {
        Sample {
            seconds: self.watch.elapsed().as_secs_f64(),
            counts: counts.clone(),
            looks: self.pids.iter().filter_map(|pid| Look::at(*pid)).collect(),
            own_resident: self.own.iter().filter_map(|pid| Look::at(*pid)).map(|look| look.resident).sum(),
            machine: Machine::look(),
        }
    }

    /// The last step is over: a sample per second, and a mark per step and for the end.
    pub fn finish(mut self) -> (Vec<Sample>, Vec<Mark>) {
        if self.marks.last().is_none_or(|mark| !mark.step.is_empty()) {
            self.end();
        }
        (self.samples, self.marks)
    }
}

impl Companion for Recorder<'_> {
    fn tick(&mut self, counts: &Counts) {
        self.counts.clone_from(counts);
        let due = self.samples.last().map_or(0.0, |last| last.seconds + 1.0);
        if self.watch.elapsed().as_secs_f64() < due || self.samples.len() >= LOAD_SAMPLES_MAX {
            return;
        }
        let sample = self.look(counts);
        let step = self.marks.last().map_or("", |mark| mark.step.as_str());
        self.display.show(step, &sample);
        self.samples.push(sample);
    }

    fn begin(&mut self, step: &str, counts: &Counts) -> Result<(), LoadError> {
        let sample = self.look(counts);
        self.marks.push(Mark { step: step.to_owned(), sample });
        self.display.say(&format!("{step} ..."));
        Ok(())
    }

    fn end(&mut self) {
        let sample = self.look(&self.counts);
        self.marks.push(Mark { step: String::new(), sample });
    }

    fn notice(&mut self, text: &str) {
        self.display.say(text);
    }
}
