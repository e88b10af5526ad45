//! What came of a run: the shares put together, the verdict, and results.json, whose shape has a version.

use serde::Serialize;

use super::host::Host;
use super::ledger::{Counts, Latencies, Times};
use super::plan::{Plan, Scenario};
use super::recorder::{Mark, Sample};
use super::share::{CONNECT, Outcome, StepOutcome, outstanding};

/// Version of the shape of results.json; a number more for every change that a reader could notice.
pub const VERSION: u32 = 1;

/// Messages from which the CPU of one is worth telling.
const MESSAGES_MIN: u64 = 100;

/// Agents from which the growth of a process divided by their number means something: pages and start-up weigh more
/// than fewer of them.
const AGENTS_MIN: u64 = 500;

/// How much longer the 99th percentile may be because of agents that do not read.
const SLOWDOWN_MAX: f64 = 5.0;

/// A 99th percentile, in milliseconds, that nobody complains of.
const UNNOTICED_MILLIS: f64 = 100.0;

/// One question of the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

/// Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The average.
    pub mean: f64,
    /// Half of them take no longer.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Summary {
    fn of(times: &Times) -> Self {
        Self {
            count: times.count(),
            min: times.shortest(),
            mean: round(times.mean()),
            p50: times.percentile(50.0),
            p90: times.percentile(90.0),
            p99: times.percentile(99.0),
            p999: times.percentile(99.9),
            max: times.longest(),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A watched process during a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    /// Which.
    pub pid: u32,
    /// Seconds of CPU used.
    pub cpu_seconds: f64,
    /// Resident bytes at the begin.
    pub resident_before: u64,
    /// Resident bytes at the end.
    pub resident_after: u64,
    /// Descriptors at the end.
    pub descriptors: Option<u64>,
    /// Threads at the end.
    pub threads: u64,
}

/// A step, all shares together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepResult {
    /// Its name.
    pub name: String,
    /// When it began.
    pub begun: f64,
    /// How long it took for the slowest process.
    pub seconds: f64,
    /// What happened.
    pub counts: Counts,
    /// Agents connected at its end.
    pub connected: u64,
    /// The fewest connected during it.
    pub connected_least: u64,
    /// Times that were measured, by name.
    pub latencies: Vec<(String, Summary)>,
    /// Milliseconds of each fan-out, the slowest process's.
    pub rounds: Vec<f64>,
    /// What the watched processes used.
    pub processes: Vec<Usage>,
    /// Microseconds of their CPU per message that the broker passed on.
    pub cpu_micros_per_message: Option<f64>,
    /// Attempts that ended in a timeout or were turned away after a handshake, in percent of those that succeeded.
    pub wasted_percent: Option<f64>,
    /// How much of the fleet's machine's time was used, in percent.
    pub busy_percent: Option<f64>,
    /// How much of it the machine's host gave to others although there was work: latencies are longer by that.
    pub stolen_percent: Option<f64>,
}

/// Everything, as it stands in results.json.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// [`VERSION`].
    pub version: u32,
    /// Version of this program.
    pub podium: String,
    /// When the run began, UTC.
    pub begun: String,
    /// The command that repeats it.
    pub command: String,
    /// The machine that played the fleet.
    pub host: Host,
    /// What was to be done.
    pub plan: Plan,
    /// Whether all checks passed.
    pub passed: bool,
    /// The verdict.
    pub checks: Vec<Check>,
    /// Why it ended before its time.
    pub ended_early: Option<String>,
    /// Failed attempts to connect: kind, number, latest text.
    pub failures: Vec<(String, u64, String)>,
    /// Resident bytes of the fleet's processes per agent, certificates included.
    pub fleet_bytes_per_agent: u64,
    /// Growth of the watched processes' resident memory from before the first to after the last agent, per agent.
    pub broker_bytes_per_agent: Option<f64>,
    /// Step by step.
    pub steps: Vec<StepResult>,
    /// Second by second.
    pub samples: Vec<Sample>,
    /// All times in full: microseconds and how often they occurred.
    pub histograms: Latencies,
}

/// What is known before a run.
pub struct Heading {
    /// When it begins.
    pub begun: String,
    /// The command that repeats it.
    pub command: String,
    /// The machine.
    pub host: Host,
    /// What is to be done.
    pub plan: Plan,
}

impl Results {
    /// Puts the shares together.
    pub fn new(heading: Heading, shares: Vec<Outcome>, marks: &[Mark], samples: Vec<Sample>) -> Self {
        let Heading { begun, command, host, plan } = heading;
        let merged = merge(&shares);
        let mut histograms = Latencies::default();
        merged.iter().for_each(|step| histograms.merge(&step.latencies));
        let steps: Vec<StepResult> =
            merged.into_iter().enumerate().map(|(at, step)| step_result(step, at, marks)).collect();
        let ended_early = shares.iter().find_map(|share| share.ended_early.clone());
        let mut failures: Vec<(String, u64, String)> = Vec::new();
        for (kind, count, text) in shares.iter().flat_map(|share| &share.failures) {
            match failures.iter_mut().find(|known| known.0 == *kind) {
                Some(known) => known.1 += count,
                None => failures.push((kind.clone(), *count, text.clone())),
            }
        }
        let agents = steps.first().map_or(1, |step| step.connected).max(1);
        let fleet: u64 =
            shares.iter().map(|share| share.memory.1.saturating_sub(share.memory.0) + share.memory.2).sum();
        let checks = verdict(&plan, &steps, ended_early.as_deref());
        Self {
            version: VERSION,
            podium: env!("CARGO_PKG_VERSION").to_owned(),
            begun,
            command,
            host,
            passed: checks.iter().all(|check| check.passed),
            checks,
            ended_early,
            failures,
            fleet_bytes_per_agent: fleet / agents,
            broker_bytes_per_agent: growth(marks)
                .filter(|_| agents >= AGENTS_MIN)
                .map(|bytes| round(bytes / agents as f64)),
            plan,
            steps,
            samples,
            histograms,
        }
    }
}

/// The same steps of all shares, as one.
fn merge(shares: &[Outcome]) -> Vec<StepOutcome> {
    let mut merged: Vec<StepOutcome> = Vec::new();
    for share in shares {
        for (at, step) in share.steps.iter().enumerate() {
            let Some(sum) = merged.get_mut(at) else {
                merged.push(step.clone());
                continue;
            };
            sum.seconds = sum.seconds.max(step.seconds);
            let inventory = sum.counts.inventory.max(step.counts.inventory);
            sum.counts.add(&step.counts);
            sum.counts.inventory = inventory;
            sum.latencies.merge(&step.latencies);
            sum.connected += step.connected;
            sum.connected_least += step.connected_least;
            for (place, round) in step.rounds.iter().enumerate() {
                match sum.rounds.get_mut(place) {
                    Some(longest) => *longest = longest.max(*round),
                    None => sum.rounds.push(*round),
                }
            }
        }
    }
    merged
}

fn step_result(step: StepOutcome, at: usize, marks: &[Mark]) -> StepResult {
    let (before, after) = (marks.get(at), marks.get(at + 1));
    let begun = before.map_or(0.0, |mark| round(mark.sample.seconds));
    let processes: Vec<Usage> = before.zip(after).map(|(before, after)| usage(before, after)).unwrap_or_default();
    let counts = step.counts;
    // Each is a message that came to the broker from one client and went to another.
    let messages = counts.sent + counts.sent_to_slow + counts.provisional + counts.answered;
    let cpu: f64 = processes.iter().map(|usage| usage.cpu_seconds).sum();
    let cpu_micros_per_message =
        (messages >= MESSAGES_MIN && !processes.is_empty()).then(|| round(cpu * 1e6 / messages as f64));
    let wasted = (counts.timeouts + counts.turned_away) as f64;
    let wasted_percent = (counts.opened > 0).then(|| round(100.0 * wasted / counts.opened as f64));
    let machine = before.zip(after).and_then(|(before, after)| after.sample.machine?.since(&before.sample.machine?));
    let latencies = step.latencies.each().into_iter().filter(|(_, times)| times.count() > 0);
    StepResult {
        name: step.name,
        begun,
        seconds: round(step.seconds),
        connected: step.connected,
        connected_least: step.connected_least,
        latencies: latencies.map(|(name, times)| (name.to_owned(), Summary::of(times))).collect(),
        rounds: step.rounds.into_iter().map(round).collect(),
        processes,
        cpu_micros_per_message,
        wasted_percent,
        busy_percent: machine.map(|(busy, _)| round(busy)),
        stolen_percent: machine.map(|(_, stolen)| round(stolen)),
        counts,
    }
}

fn usage(before: &Mark, after: &Mark) -> Vec<Usage> {
    let pairs = after.sample.looks.iter().filter_map(|look| {
        let earlier = before.sample.looks.iter().find(|earlier| earlier.pid == look.pid)?;
        Some(Usage {
            pid: look.pid,
            cpu_seconds: round(look.cpu() - earlier.cpu()),
            resident_before: earlier.resident,
            resident_after: look.resident,
            descriptors: look.descriptors,
            threads: look.threads,
        })
    });
    pairs.collect()
}

/// Bytes by which the watched processes have grown while the agents connected.
fn growth(marks: &[Mark]) -> Option<f64> {
    let resident = |mark: &Mark| mark.sample.looks.iter().map(|look| look.resident).sum::<u64>() as f64;
    let (before, after) = (marks.first()?, marks.get(1)?);
    (before.step == CONNECT && !after.sample.looks.is_empty()).then(|| resident(after) - resident(before))
}

fn verdict(plan: &Plan, steps: &[StepResult], ended_early: Option<&str>) -> Vec<Check> {
    let all = u64::from(plan.connections);
    let check = |name: &str, passed: bool, detail: String| Check { name: name.to_owned(), passed, detail };
    let mut checks = Vec::new();
    let done = ended_early.map_or_else(|| "to its end".to_owned(), str::to_owned);
    checks.push(check("The run was complete", ended_early.is_none(), done));
    let first = steps.first().map_or(0, |step| step.connected);
    checks.push(check("All agents connected", first == all, format!("{first} of {all}")));
    let last = steps.last().map_or(0, |step| step.connected);
    checks.push(check("All agents are there at the end", last == all, format!("{last} of {all}")));
    let is_calm = |step: &&StepResult| !["storm", "churn", "comings and goings"].contains(&step.name.as_str());
    let lost: u64 = steps.iter().filter(is_calm).map(|step| step.counts.lost).sum();
    checks.push(check("No connection was lost without cause", lost == 0, format!("{lost} lost")));
    let asked: Vec<&StepResult> = steps.iter().filter(|step| step.counts.sent > 0).collect();
    if !asked.is_empty() || plan.scenario == Scenario::Request || plan.scenario == Scenario::Fanout {
        let calm = || asked.iter().copied().filter(|step| is_calm(step));
        let sent: u64 = calm().map(|step| step.counts.sent).sum();
        let missing: u64 = calm()
            .map(|step| {
                outstanding(&step.counts) + step.counts.unanswered + step.counts.rejected + step.counts.not_connected
            })
            .sum();
        let passed = missing == 0 && (sent > 0 || ended_early.is_some() || calm().next().is_none());
        checks.push(check("No answer is missing", passed, format!("{missing} of {sent} requests without a result")));
    }
    let odd: u64 = steps.iter().map(|step| step.counts.unexpected).sum();
    checks.push(check("Nothing was said that nobody expected", odd == 0, format!("{odd} messages")));
    if let [before, with] =
        steps.iter().filter(|step| plan.scenario == Scenario::Slow && step.name != CONNECT).collect::<Vec<_>>()[..]
    {
        let (before, with) = (answer_p99(before), answer_p99(with));
        let passed = with <= (before * SLOWDOWN_MAX).max(UNNOTICED_MILLIS);
        checks.push(check(
            "The others did not suffer",
            passed,
            format!("p99 {before} ms before, {with} ms with those that do not read"),
        ));
    }
    for storm in steps.iter().filter(|step| step.name == "storm") {
        let detail = format!("{} of {all} after {:.1} s", storm.connected, storm.seconds);
        checks.push(check("All came back after the storm", storm.connected == all, detail));
    }
    checks
}

fn answer_p99(step: &StepResult) -> f64 {
    step.latencies.iter().find(|(name, _)| name == "answer").map_or(0.0, |(_, times)| times.p99)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::capacity::load::plan::tests::plan;
    use crate::capacity::load::watch::{Look, Machine};

    fn step(name: &str, counts: Counts) -> StepOutcome {
        let mut latencies = Latencies::default();
        (1..=counts.answered).for_each(|n| latencies.answer.record(Duration::from_micros(n * 10)));
        StepOutcome {
            name: name.to_owned(),
            seconds: 2.0,
            counts,
            latencies,
            rounds: Vec::new(),
            connected: 5,
            connected_least: 4,
        }
    }

    fn mark(step: &str, seconds: f64) -> Mark {
        let look =
            Look { pid: 9, resident: (seconds * 1e6) as u64, user: seconds / 2.0, threads: 4, ..Look::default() };
        let machine = Machine { all: (seconds * 200.0) as u64, idle: 0, stolen: (seconds * 30.0) as u64 };
        let sample = Sample { seconds, looks: vec![look], machine: Some(machine), ..Sample::default() };
        Mark { step: step.to_owned(), sample }
    }

    /// A run of two processes with ten agents whose requests take 0.01 to 1 ms.
    pub(in crate::capacity::load) fn results(change: impl FnOnce(&mut Vec<Outcome>)) -> Results {
        let asked = Counts { sent: 100, provisional: 100, answered: 100, opened: 0, ..Counts::default() };
        let opened = Counts { opened: 5, timeouts: 1, dials: 6, ..Counts::default() };
        let share = Outcome {
            steps: vec![step(CONNECT, opened), step("requests", asked)],
            failures: vec![("timeout".to_owned(), 1, "<b>late & gone</b>".to_owned())],
            ended_early: None,
            memory: (1000, 3000, 500),
        };
        let mut shares = vec![share.clone(), share];
        change(&mut shares);
        let marks = [mark(CONNECT, 1.0), mark("requests", 2.0), mark("", 4.0)];
        let samples = (0..5).map(|n| {
            let mark = mark("", f64::from(n));
            Sample { counts: Counts { connected: 2 * n as u64, ..Counts::default() }, ..mark.sample }
        });
        let heading = Heading {
            begun: "2026-03-01T10:15:30Z".to_owned(),
            command: "podium capacity load --name '<x>'".to_owned(),
            host: Host {
                name: "lab".to_owned(),
                kernel: "Linux 6".to_owned(),
                processor: "CPU".to_owned(),
                processors: 2,
                memory: 1 << 30,
            },
            plan: plan(),
        };
        Results { podium: "0.0.0".to_owned(), ..Results::new(heading, shares, &marks, samples.collect()) }
    }

    #[test]
    fn shares_become_one_result() {
        let results = results(|_| {});
        assert!(results.passed, "{:?}", results.checks);
        let step = &results.steps[1];
        assert_eq!((step.counts.sent, step.connected, step.seconds), (200, 10, 2.0));
        // One second of CPU for 600 messages.
        assert_eq!(step.cpu_micros_per_message, Some(1666.667));
        assert_eq!(results.steps[0].wasted_percent, Some(20.0));
        assert_eq!((step.busy_percent, step.stolen_percent), (Some(85.0), Some(15.0)));
        assert_eq!((results.fleet_bytes_per_agent, results.broker_bytes_per_agent), (500, None), "too few to tell");
        assert_eq!(results.failures, [("timeout".to_owned(), 2, "<b>late & gone</b>".to_owned())]);
        assert_eq!(results.histograms.answer.count(), 200);
        let (name, answer) = &step.latencies[0];
        assert_eq!((name.as_str(), answer.count, answer.max >= 1.0), ("answer", 200, true));
    }

    #[test]
    fn what_is_missing_fails() {
        let failing = |change: fn(&mut Vec<Outcome>)| {
            let results = results(change);
            assert!(!results.passed);
            let failed = results.checks.into_iter().filter(|check| !check.passed);
            failed.map(|check| format!("{}: {}", check.name, check.detail)).collect::<Vec<_>>()
        };
        let answer = failing(|shares| shares[1].steps[1].counts.answered = 99);
        assert_eq!(answer, ["No answer is missing: 1 of 200 requests without a result"]);
        let gone = failing(|shares| shares[0].steps[1].connected = 4);
        assert_eq!(gone, ["All agents are there at the end: 9 of 10"]);
        let lost = failing(|shares| shares[0].steps[1].counts.lost = 1);
        assert_eq!(lost, ["No connection was lost without cause: 1 lost"]);
        let early = failing(|shares| shares[0].ended_early = Some("interrupted".to_owned()));
        assert_eq!(early, ["The run was complete: interrupted"]);
    }

    #[test]
    fn the_shape_of_results_json() {
        let value = serde_json::to_value(results(|_| {})).unwrap();
        assert_eq!((&value["version"], &value["steps"][1]["counts"]["answered"]), (&1.into(), &200.into()));
        assert_eq!(value["plan"]["scenario"], "request");
        assert_eq!(value["histograms"]["connect"], serde_json::json!([]));
    }
}
