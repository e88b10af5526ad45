//! One process's part of a run: starts the workers, leads them through the steps and tells a companion how it goes. The
//! companion records it, or passes it on to the process that does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LoadError;
use super::controller::Controller;
use super::identity::Identities;
use super::ledger::{Counts, Latencies, Ledger};
use super::plan::{Plan, Scenario, Step, StormCause};
use super::slow::SlowReaders;
use super::swarm::{Agents, Mail, Worker};
use super::watch::Look;
use crate::clock::{Clock, Moment, Stopwatch};
use crate::limits::OUT_QUEUE_BYTES_MAX;
use crate::random::seed;
use crate::reactor::{ConnectionLimits, Mailboxes, Options, Reactor};

/// The step before all others.
pub const CONNECT: &str = "connect";

/// Between two looks at the counters.
const GLANCE: Duration = Duration::from_millis(50);

/// Time for late answers after a step.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Time for one fan-out.
const ROUND_WAIT: Duration = Duration::from_secs(120);

/// The same where agents leave, whose answers may be lost with them.
const CHURN_ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Time for those who left to be back after a step.
const RETURN_WAIT: Duration = Duration::from_secs(45);

/// Time for connections beyond what the rate says.
const RAMP_WAIT: Duration = Duration::from_secs(120);

/// Time in which memory settles before the scenario.
const SETTLE: Duration = Duration::from_secs(2);

/// Failed attempts without any success after which there is no point in going on.
const FAILURES_WITHOUT_SUCCESS: u64 = 20;

/// Certificates from which signing them takes long enough to be told.
const SIGNATURES_NOTICED: u32 = 2_000;

/// Goes along with a share.
pub trait Companion {
    /// How it stands; often.
    fn tick(&mut self, counts: &Counts);
    /// A step is about to begin; returns when it may.
    fn begin(&mut self, step: &str, counts: &Counts) -> Result<(), LoadError>;
    /// The last step is over, and the connections are still there.
    fn end(&mut self);
    /// Something that a person must know or do.
    fn notice(&mut self, text: &str);
}

/// What came of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// Its name.
    pub name: String,
    /// How long it took, until everybody was back or had answered.
    pub seconds: f64,
    /// What happened in it.
    pub counts: Counts,
    /// Times.
    pub latencies: Latencies,
    /// Milliseconds of each fan-out.
    pub rounds: Vec<f64>,
    /// Agents that were connected at its end.
    pub connected: u64,
    /// The fewest that were connected during it.
    pub connected_least: u64,
}

/// What came of a share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// All steps that were begun.
    pub steps: Vec<StepOutcome>,
    /// Failed attempts to connect: kind, number, latest text.
    pub failures: Vec<(String, u64, String)>,
    /// Why it ended before its time.
    pub ended_early: Option<String>,
    /// Our own resident memory before the first connection and with all of them, and that of the certificates.
    pub memory: (u64, u64, u64),
}

/// How waiting ended.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    Met,
    TimeOver,
}

struct Run<'a> {
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    mailboxes: Mailboxes<Mail>,
    clock: Clock,
    deadline: Moment,
    stop: &'a AtomicBool,
    companion: &'a mut dyn Companion,
    slow: SlowReaders,
    /// Fewest connected agents since the step's begin.
    least: u64,
}

/// Leads a share from its first connection to its last. What was measured until an interruption is a result too.
pub fn run(plan: &Plan, stop: &AtomicBool, companion: &mut dyn Companion) -> Result<Outcome, LoadError> {
    if plan.connections >= SIGNATURES_NOTICED {
        companion.notice(&format!("signing {} certificates ...", plan.connections));
    }
    let identities = Arc::new(Identities::make(plan)?);
    let ledger = Arc::new(Ledger::default());
    // The two have the same origin, to the microsecond.
    let (clock, watch) = (Clock::start(), Stopwatch::start());
    let plan = Arc::new(plan.clone());
    let reactor = start(&plan, &ledger, identities.clone(), clock, watch)?;
    let mut run = Run {
        mailboxes: reactor.mailboxes(),
        deadline: clock.now() + plan.deadline,
        slow: SlowReaders::default(),
        least: 0,
        plan,
        ledger,
        clock,
        stop,
        companion,
    };
    let mut outcome = Outcome::default();
    outcome.memory.2 = identities.bytes() as u64;
    let ended = run.lead(&identities, &mut outcome);
    run.companion.end();
    match ended {
        Ok(()) => {}
        Err(Ended::Early(why)) => outcome.ended_early = Some(why),
        Err(Ended::Failed(error)) => return Err(error),
    }
    let failures = run.ledger.problems().failures;
    outcome.failures = failures.into_iter().map(|(kind, (count, text))| (kind.to_owned(), count, text)).collect();
    run.tell_all(&Mail::Quiet);
    reactor.stop(Duration::ZERO);
    Ok(outcome)
}

/// Why a run does not go on.
enum Ended {
    /// What there is counts.
    Early(String),
    /// Nothing does.
    Failed(LoadError),
}

fn start(
    plan: &Arc<Plan>,
    ledger: &Arc<Ledger>,
    identities: Arc<Identities>,
    clock: Clock,
    watch: Stopwatch,
) -> Result<Reactor<Mail>, LoadError> {
    let defaults = ConnectionLimits::default();
    let options = Options {
        outfitter: Some(identities),
        workers: plan.threads as usize + 1,
        ping_interval: Some(plan.ping_interval),
        limits: ConnectionLimits {
            handshake_timeout: plan.connect_timeout,
            idle_timeout: defaults.idle_timeout.max(plan.ping_interval * 3),
            dialled_queue_bytes_max: OUT_QUEUE_BYTES_MAX,
            ..defaults
        },
        clock,
        ..Options::new()
    };
    Reactor::start(options, |worker, _| match worker.checked_sub(1) {
        None => Worker::Controller(Controller::new(plan.clone(), ledger.clone(), watch, seed())),
        Some(place) => {
            let place = (u32::from(place), plan.threads);
            Worker::Agents(Agents::new(plan.clone(), ledger.clone(), place, seed()))
        }
    })
    .map_err(|error| LoadError::Failed(error.to_string()))
}

impl Run<'_> {
    fn lead(&mut self, identities: &Identities, outcome: &mut Outcome) -> Result<(), Ended> {
        let own = || Look::at(std::process::id()).map_or(0, |look| look.resident);
        outcome.memory.0 = own();
        let connected = self.step(CONNECT, outcome, Self::connect);
        outcome.memory.1 = own();
        connected?;
        for (name, step) in self.plan.steps() {
            self.step(name, outcome, |run| match step {
                Step::Hold { traffic, churn, slow, time } => {
                    if slow {
                        run.bring_slow(identities)?;
                    }
                    run.tell(0, Mail::Ask(traffic));
                    let workers = run.plan.threads;
                    run.tell_agents(&Mail::Churn(churn / f64::from(workers)));
                    run.wait(time, |_| false)?;
                    run.tell(0, Mail::Ask(None));
                    run.tell_agents(&Mail::Churn(0.0));
                    run.settle(churn > 0.0)
                }
                Step::Fanout => run.fanout(),
                Step::Storm(cause) => run.storm(cause),
            })?;
        }
        Ok(())
    }

    /// One step from the companion's leave to its outcome, which is kept even if it is cut short.
    fn step(
        &mut self,
        name: &str,
        outcome: &mut Outcome,
        work: impl FnOnce(&mut Self) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        let before = self.ledger.counters.read();
        self.companion.begin(name, &before).map_err(Ended::Failed)?;
        self.least = before.connected;
        let watch = Stopwatch::start();
        let ended = work(self);
        let seconds = watch.elapsed().as_secs_f64();
        let now = self.ledger.counters.read();
        self.companion.tick(&now);
        outcome.steps.push(StepOutcome {
            name: name.to_owned(),
            seconds,
            counts: now.since(&before),
            latencies: std::mem::take(&mut *self.ledger.times()),
            rounds: std::mem::take(&mut *self.ledger.rounds()),
            connected: now.connected,
            connected_least: self.least,
        });
        ended
    }

    fn connect(&mut self) -> Result<(), Ended> {
        let all = u64::from(self.plan.connections);
        let spread = Duration::from_secs_f64(f64::from(self.plan.connections) / self.plan.ramp);
        let controllers = u64::from(self.plan.controller.is_some());
        if controllers > 0 {
            self.tell(0, Mail::Control);
        }
        self.tell_agents(&Mail::Connect(spread));
        let is_there = |counts: &Counts| counts.connected >= all && counts.controllers >= controllers;
        if self.wait(spread + RAMP_WAIT, is_there)? == Waited::TimeOver {
            return Err(Ended::Early("not all agents could connect".to_owned()));
        }
        if controllers > 0 && self.plan.processes == 1 {
            // The broker tells of newcomers in batches.
            self.wait(SETTLE * 5, |counts| counts.inventory >= all)?;
        }
        self.wait(SETTLE, |_| false).map(drop)
    }

    fn bring_slow(&mut self, identities: &Identities) -> Result<(), Ended> {
        if self.slow.count() == 0 && self.plan.scenario == Scenario::Slow {
            self.slow = SlowReaders::connect(&self.plan, identities).map_err(Ended::Failed)?;
            let names = (0..self.plan.slow_count()).map(|index| self.plan.slow_name(index)).collect();
            self.tell(0, Mail::Slow(names));
        }
        Ok(())
    }

    /// Waits for late answers, and for those who have left.
    fn settle(&mut self, with_return: bool) -> Result<(), Ended> {
        let patience = if with_return { CHURN_ANSWER_WAIT } else { ANSWER_WAIT };
        self.wait(patience, |counts| outstanding(counts) == 0)?;
        self.tell(0, Mail::Forget);
        if with_return {
            let all = u64::from(self.plan.connections);
            self.wait(RETURN_WAIT, |counts| counts.connected >= all)?;
        }
        self.wait(ANSWER_WAIT, |counts| outstanding(counts) == 0).map(drop)
    }

    fn fanout(&mut self) -> Result<(), Ended> {
        let before = self.ledger.counters.read().rounds;
        self.tell(0, Mail::AskAll);
        self.wait(ROUND_WAIT, |counts| counts.rounds > before)?;
        self.tell(0, Mail::Forget);
        self.wait(ANSWER_WAIT, |counts| outstanding(counts) == 0).map(drop)
    }

    fn storm(&mut self, cause: StormCause) -> Result<(), Ended> {
        let all = u64::from(self.plan.connections);
        let before = self.ledger.counters.read();
        match cause {
            StormCause::Drop => self.tell_agents(&Mail::Drop),
            StormCause::Restart => {
                self.companion.notice("Restart the broker now; the run goes on when the agents are gone.")
            }
        }
        let patience = self.plan.deadline;
        let gone = |counts: &Counts| counts.left + counts.lost >= before.left + before.lost + all / 2;
        self.wait(patience, gone)?;
        self.wait(patience, |counts| counts.connected >= all).map(drop)
    }

    /// Waits until `condition` holds or the time is over.
    fn wait(&mut self, time: Duration, condition: impl Fn(&Counts) -> bool) -> Result<Waited, Ended> {
        let until = self.clock.now() + time;
        loop {
            let counts = self.ledger.counters.read();
            self.least = self.least.min(counts.connected);
            if condition(&counts) {
                return Ok(Waited::Met);
            }
            let now = self.clock.now();
            if now >= until {
                return Ok(Waited::TimeOver);
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Ended::Early("interrupted".to_owned()));
            }
            if now >= self.deadline {
                return Err(Ended::Early(format!("the deadline of {} s is over", self.plan.deadline.as_secs())));
            }
            self.give_up_in_vain(&counts, now)?;
            self.companion.tick(&counts);
            std::thread::sleep(GLANCE.min(until.since(now)));
        }
    }

    fn give_up_in_vain(&self, counts: &Counts, now: Moment) -> Result<(), Ended> {
        let failures = counts.refused + counts.failed + counts.turned_away;
        let few = FAILURES_WITHOUT_SUCCESS.min(2 * u64::from(self.plan.connections));
        let patience = Moment::default() + self.plan.connect_timeout * 3;
        let in_vain = counts.opened == 0 && (failures >= few || (counts.timeouts > 0 && now >= patience));
        let problems = self.ledger.problems();
        if let Some(error) = problems.fatal {
            return Err(Ended::Failed(error));
        }
        if in_vain {
            let worst = problems.failures.into_values().max_by_key(|(count, _)| *count);
            let text = worst.map(|(_, text)| text).unwrap_or_default();
            return Err(Ended::Failed(LoadError::Failed(format!("no agent can connect: {text}"))));
        }
        Ok(())
    }

    fn tell(&self, worker: u16, mail: Mail) {
        // A mailbox has room for thousands, and a worker that is gone has panicked, which is seen elsewhere.
        let _ = self.mailboxes.send(worker, mail);
    }

    fn tell_agents(&self, mail: &Mail) {
        (1..self.mailboxes.workers()).for_each(|worker| self.tell(worker, mail.clone()));
    }

    fn tell_all(&self, mail: &Mail) {
        (0..self.mailboxes.workers()).for_each(|worker| self.tell(worker, mail.clone()));
    }
}

/// Requests whose end is not known.
pub fn outstanding(counts: &Counts) -> u64 {
    let over = counts.answered + counts.not_connected + counts.rejected + counts.unanswered;
    counts.sent.saturating_sub(over)
}
