//! The thread that starts scheduled jobs. It sleeps until the next one is due, or until a schedule changes, and never long:
//! the wall clock may be set at any time.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use serde_json::{Value, json};

use super::timing::{Predecessor, Slots, Verdict, decide};
use super::{Driver, Schedules};
use crate::clock::WallTime;
use crate::limits::{SCHEDULE_LATE_MAX, SCHEDULE_RETRY, SCHEDULE_TICK, SCHEDULES_AT_ONCE};
use crate::orchestrator::model::schedule::ScheduleId;
use crate::orchestrator::model::{JobId, Refusal, RefusalKind};
use crate::orchestrator::store::schedules::{Firing, ScheduleChange, StoredSchedule};
use crate::orchestrator::store::{Change, StoreError};

/// Starts it. It ends with the schedules, too.
pub(super) fn spawn(schedules: Weak<Schedules>) -> std::io::Result<Driver> {
    let (wake, woken) = bounded(1);
    let thread = thread::Builder::new().name("schedules".into()).spawn(move || run(&schedules, &woken))?;
    Ok(Driver { wake, thread })
}

fn run(schedules: &Weak<Schedules>, woken: &Receiver<()>) {
    loop {
        let Some(schedules) = schedules.upgrade() else { return };
        let pass = schedules.pass(WallTime::now());
        let pause = match pass {
            Pass::Done => schedules.pause(WallTime::now()),
            Pass::Left => SCHEDULE_RETRY,
        };
        drop(schedules);
        if woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Whether everything that was due has been dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::orchestrator) enum Pass {
    /// It has.
    Done,
    /// Something is to be tried again.
    Left,
}

impl Schedules {
    /// Time until something is due, as far as that is known.
    fn pause(&self, now: WallTime) -> Duration {
        match self.store.next_due() {
            Ok(None) => SCHEDULE_TICK,
            Ok(Some(next)) => {
                let millis = next.as_millis().saturating_sub(now.as_millis()).max(0).unsigned_abs();
                Duration::from_millis(millis).min(SCHEDULE_TICK)
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot say when the next scheduled job is due; asked again");
                SCHEDULE_RETRY
            }
        }
    }

    /// Deals with everything that is due.
    pub(in crate::orchestrator) fn pass(&self, now: WallTime) -> Pass {
        let (mut pass, mut after) = (Pass::Done, None);
        loop {
            if !self.submit.is_ready() {
                return Pass::Left;
            }
            let due = match self.store.due_schedules(now, after) {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "the store cannot say which scheduled jobs are due; asked again");
                    return Pass::Left;
                }
            };
            let Some(last) = due.last() else { return pass };
            after = last.schedule.next_run.map(|next| (next, last.schedule.id));
            for some in due.chunks(SCHEDULES_AT_ONCE) {
                if self.is_stopping.load(Ordering::Relaxed) {
                    return Pass::Left;
                }
                let outcomes: Vec<Pass> = thread::scope(|scope| {
                    let threads: Vec<_> = some.iter().map(|stored| scope.spawn(|| self.come(stored, now))).collect();
                    // A panic has been reported by its own hook.
                    threads.into_iter().map(|thread| thread.join().unwrap_or(Pass::Left)).collect()
                });
                if outcomes.contains(&Pass::Left) {
                    pass = Pass::Left;
                }
            }
        }
    }

    /// The time of a schedule has come.
    fn come(&self, stored: &StoredSchedule, now: WallTime) -> Pass {
        let schedule = &stored.schedule;
        let Some(slot) = schedule.next_run else { return Pass::Done };
        let slots = match Slots::of(&schedule.spec.timing) {
            Ok(slots) => slots,
            Err(zone) => {
                let zone = zone.0;
                tracing::warn!(schedule = %schedule.id, zone, "the host's time zone database lacks a zone: the scheduled job waits for it");
                return Pass::Left;
            }
        };
        let predecessor = match self.predecessor(stored.last_job) {
            Ok(predecessor) => predecessor,
            Err(error) => return self.settled(schedule.id, Err(error)),
        };
        let (verdict, then) = decide(&slots, slot, now, predecessor, self.settings.missed);
        let firing = Firing { schedule: schedule.id, revision: stored.revision, slot, then };
        let error = match verdict {
            Verdict::Fire => match self.fire(stored, firing) {
                Ok(job) => {
                    tracing::info!(schedule = %schedule.id, %job, %slot, "a scheduled job has started");
                    return Pass::Done;
                }
                Err(refusal) if is_passing(refusal.kind) && self.has_time(slot, now) => {
                    return self.left(stored, &refusal);
                }
                Err(refusal) => Some(body(&refusal)),
            },
            Verdict::Overlaps => None,
            Verdict::Missed => Some(missed(slot)),
        };
        let why = error.as_ref().map(|error| error["msg"].as_str().unwrap_or_default().to_owned());
        let change = ScheduleChange::Passed { firing, at: now, error };
        let outcome = self.store.commit(vec![Change::Schedule(change)]);
        match (&outcome, why) {
            // Whoever has dealt with it has said what became of it.
            (Err(_), _) => {}
            (Ok(()), Some(why)) => {
                tracing::warn!(schedule = %schedule.id, %slot, why, "a scheduled job is not started")
            }
            (Ok(()), None) => {
                tracing::info!(schedule = %schedule.id, %slot, "a scheduled job is left out: the last one still runs");
            }
        }
        self.settled(schedule.id, outcome)
    }

    fn fire(&self, stored: &StoredSchedule, firing: Firing) -> Result<JobId, Refusal> {
        let schedule = &stored.schedule;
        let subject = self.submit.owner(&schedule.owner)?;
        let work = self.opened(schedule.spec.work.clone(), stored.payload.as_deref())?;
        let mut terms = schedule.spec.terms.clone();
        terms.schedule = Some(schedule.id);
        self.submit.submit(&subject, self.submission(&subject, work, terms)?, firing)
    }

    /// Whether a slot that cannot be dealt with now can be later. A server that has just started may be there before PuppetDB.
    fn has_time(&self, slot: WallTime, now: WallTime) -> bool {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let end = slot.max(self.begun).as_millis().saturating_add(millis(SCHEDULE_LATE_MAX));
        now.as_millis().saturating_add(millis(SCHEDULE_RETRY)) <= end
    }

    /// Leaves a slot as it is.
    fn left(&self, stored: &StoredSchedule, refusal: &Refusal) -> Pass {
        let schedule = &stored.schedule;
        let is_other =
            |now: StoredSchedule| now.revision != stored.revision || now.schedule.next_run != schedule.next_run;
        if self.store.schedule(schedule.id).is_ok_and(|found| found.is_none_or(is_other)) {
            // Somebody else has dealt with it: that was the refusal.
            return Pass::Done;
        }
        tracing::warn!(schedule = %schedule.id, why = refusal.message, "a scheduled job cannot be started now; tried again");
        Pass::Left
    }

    fn predecessor(&self, job: Option<JobId>) -> Result<Predecessor, StoreError> {
        let Some(job) = job else { return Ok(Predecessor::Ended) };
        // One that is removed has ended before.
        let runs = self.store.job(job)?.is_some_and(|job| !job.state.is_final());
        Ok(if runs { Predecessor::Runs } else { Predecessor::Ended })
    }

    fn settled(&self, id: ScheduleId, outcome: Result<(), StoreError>) -> Pass {
        match outcome {
            Ok(()) => Pass::Done,
            // Somebody else has dealt with it, or it is not to be any more.
            Err(StoreError::Conflict(_)) => Pass::Done,
            Err(error) => {
                tracing::warn!(schedule = %id, %error, "the store does not take what became of a scheduled job; tried again");
                Pass::Left
            }
        }
    }
}

/// Whether a refusal may be over soon, or be one at this server only. What the store refuses has no kind of its own.
const fn is_passing(kind: RefusalKind) -> bool {
    matches!(
        kind,
        RefusalKind::PuppetdbError
            | RefusalKind::PuppetserverError
            | RefusalKind::ClassifierError
            | RefusalKind::InsufficientStorage
            | RefusalKind::UnknownError
    )
}

/// A refusal as the API shows it.
fn body(refusal: &Refusal) -> Value {
    let mut body = json!({"kind": format!("puppetlabs.orchestrator/{}", refusal.kind.word()), "msg": refusal.message});
    if !refusal.details.is_empty() {
        body["details"] = Value::Object(refusal.details.clone());
    }
    body
}

fn missed(slot: WallTime) -> Value {
    let slot = slot.to_seconds_string();
    json!({
        "kind": "puppetlabs.orchestrator/missed",
        "msg": format!(
            "Nothing was started at {slot} or soon after, because the server was not there or could not; schedule-missed is \
             skip."
        ),
        "details": {"time": slot},
    })
}
