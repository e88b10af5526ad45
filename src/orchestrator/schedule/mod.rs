//! Scheduled jobs: who may make and change them, what is stored of them, and the thread that starts them (`driver`).
//!
//! A firing makes its job and moves the schedule on in one transaction, which fails unless the schedule is as it was when it
//! was read: neither a crash nor a second process starts the same slot twice, and what was edited or removed meanwhile is
//! not started as it was before. A slot that comes to nothing is written down as that (`RunOutcome::NotSubmitted`), and
//! the schedule goes on. One that cannot be dealt with now, because PuppetDB does not answer or the disk is full, is left for
//! some minutes: for a later attempt, or for another server that can.

mod driver;
mod parameters;
mod submit;
mod timing;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use serde_json::{Map, Value};

use super::model::schedule::{
    Schedule, ScheduleEdit, ScheduleId, ScheduleQuery, ScheduleSpec, ScheduledTask, ScheduledWork, Timing,
};
use super::model::{DeployCommand, JobId, Page, Refusal, RefusalKind, Scope, Subject, TaskCommand, Terms};
use super::store::schedules::{Added, EditedSchedule, Firing, Most, NewSchedule, ScheduleChange, StoredSchedule};
use super::store::{Change, Store, StoreError};
use super::vault::Vault;
use crate::clock::WallTime;
use crate::config::settings::ScheduleSettings;
use crate::limits::{SCHEDULES_MAX, SCHEDULES_PER_OWNER_MAX};
pub(super) use submit::Submitter;
use timing::{Slots, UnknownZone};

const MOST: Most = Most { all: SCHEDULES_MAX, of_owner: SCHEDULES_PER_OWNER_MAX };

/// A command that a schedule makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Submission {
    /// `command/task`.
    Task(TaskCommand),
    /// `command/deploy`.
    Deploy(DeployCommand),
}

/// The rest of the orchestrator as schedules need it.
pub trait Submit: Send + Sync {
    /// Whether anything would come of a job.
    fn is_ready(&self) -> bool;

    /// The owner of a schedule with what they may do now; refused if there is no such user any more.
    fn owner(&self, owner: &Subject) -> Result<Subject, Refusal>;

    /// Whether somebody may remove the schedules of a user.
    fn may_remove(&self, by: &Subject, owner: &Subject) -> Result<(), Refusal>;

    /// Whether there is a task, and somebody may run it anywhere.
    fn permit_task(&self, subject: &Subject, task: &str, environment: &str) -> Result<(), Refusal>;

    /// The nodes of a scope, if the subject may ask for them.
    fn resolve(&self, subject: &Subject, scope: &Scope, environment: &str) -> Result<Vec<String>, Refusal>;

    /// Checks everything that can be checked without a job. Names of the sensitive parameters that were given.
    fn check(&self, subject: &Subject, submission: Submission) -> Result<Vec<String>, Refusal>;

    /// Makes the job.
    fn submit(&self, subject: &Subject, submission: Submission, firing: Firing) -> Result<JobId, Refusal>;
}

/// All scheduled jobs.
pub struct Schedules {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    submit: Arc<dyn Submit>,
    settings: ScheduleSettings,
    /// What was due before counts as due from then on.
    begun: WallTime,
    is_stopping: AtomicBool,
    driver: Mutex<Option<Driver>>,
}

struct Driver {
    /// Something is due earlier than before. Dropped to stop it.
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Schedules {
    /// Without a thread that starts them.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, submit: Arc<dyn Submit>, settings: ScheduleSettings) -> Self {
        let (begun, is_stopping, driver) = (WallTime::now(), AtomicBool::new(false), Mutex::new(None));
        Self { store, vault, submit, settings, begun, is_stopping, driver }
    }

    /// Starts the thread that starts them.
    pub fn drive(self: &Arc<Self>) -> std::io::Result<()> {
        let driver = driver::spawn(Arc::downgrade(self))?;
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        Ok(())
    }

    /// Stops that thread. What it is about to start is started.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Driver { wake, thread }) = driver {
            drop(wake);
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }

    fn wake(&self) {
        if let Some(driver) = &*self.driver.lock().unwrap_or_else(PoisonError::into_inner) {
            // One that waits to be seen is enough.
            let _ = driver.wake.try_send(());
        }
    }

    /// Whether the API of earlier versions is there, too.
    pub fn has_v1_api(&self) -> bool {
        self.settings.v1_api
    }

    /// Makes a schedule that runs as `by`. What it returns is committed.
    pub fn add(&self, by: &Subject, spec: ScheduleSpec) -> Result<ScheduleId, Refusal> {
        let now = WallTime::now();
        let next_run = first_run(&spec.timing, now)?;
        let (spec, payload) = self.checked(by, spec)?;
        let kind = spec.work.kind();
        let new = NewSchedule { spec, owner: by.clone(), payload, next_run };
        let full = |whose: &str, most: u32| {
            let message = format!("{whose} {most} scheduled jobs already: disable some before you make others.");
            Err(Refusal::new(RefusalKind::ValidationError, message))
        };
        let id = match self.store.add_schedule(new, MOST)? {
            Added::As(id) => id,
            Added::Full => return full("There are", MOST.all),
            Added::FullOfOwner => return full("You have", MOST.of_owner),
        };
        tracing::info!(schedule = %id, kind = kind.word(), first = %next_run, by = by.login, "accepted a scheduled job");
        self.wake();
        Ok(id)
    }

    /// One.
    pub fn get(&self, id: ScheduleId) -> Result<Schedule, Refusal> {
        self.stored(id).map(|stored| stored.schedule)
    }

    /// A slice of all.
    pub fn list(&self, query: &ScheduleQuery) -> Result<Page<Schedule>, Refusal> {
        Ok(self.store.schedules(query)?)
    }

    fn stored(&self, id: ScheduleId) -> Result<StoredSchedule, Refusal> {
        self.store.schedule(id)?.ok_or_else(|| {
            Refusal::new(RefusalKind::UnknownJob, format!("Unknown scheduled job {id}")).with("job", id.to_string())
        })
    }

    /// Changes a schedule; what was changed counts from the next run on.
    pub fn edit(&self, by: &Subject, id: ScheduleId, edit: ScheduleEdit) -> Result<(), Refusal> {
        let now = WallTime::now();
        let stored = self.stored(id)?;
        self.check_editor(by, &stored.schedule, &edit)?;
        if !stored.schedule.is_enabled {
            let message = format!("Scheduled job {id} is disabled and cannot be changed: make another one.");
            return Err(Refusal::new(RefusalKind::DisabledScheduledJob, message).with("job", id.to_string()));
        }
        let edited = if edit.enabled == Some(false) {
            let spec = stored.schedule.spec;
            let (is_enabled, payload, next_run) = (false, None, None);
            EditedSchedule { id, revision: stored.revision, is_enabled, spec, payload, next_run, at: now, most: MOST }
        } else {
            self.edited(stored, edit, now)?
        };
        let (is_enabled, next) = (edited.is_enabled, edited.next_run);
        let change = ScheduleChange::Edited(Box::new(edited));
        self.store.commit(vec![Change::Schedule(change)]).map_err(|error| match error {
            StoreError::Conflict(message) => Refusal::new(RefusalKind::ValidationError, message),
            error => error.into(),
        })?;
        let next = next.map(WallTime::to_seconds_string);
        tracing::info!(schedule = %id, is_enabled, ?next, by = by.login, "changed a scheduled job");
        self.wake();
        Ok(())
    }

    /// What runs as somebody is said by nobody else, except by those who may do everything anyway.
    fn check_editor(&self, by: &Subject, schedule: &Schedule, edit: &ScheduleEdit) -> Result<(), Refusal> {
        if by.id == schedule.owner.id || by.is_superuser {
            return Ok(());
        }
        let id = schedule.id;
        if edit.is_removal() {
            return self
                .submit
                .may_remove(by, &schedule.owner)
                .map_err(|refusal| Refusal { message: format!("Not authorized to delete job {id}"), ..refusal });
        }
        let message = format!("Scheduled job {id} is somebody else's: only its owner may change what runs as them");
        Err(Refusal::new(RefusalKind::NotPermitted, message))
    }

    fn edited(&self, stored: StoredSchedule, edit: ScheduleEdit, now: WallTime) -> Result<EditedSchedule, Refusal> {
        let StoredSchedule { schedule, revision, payload, .. } = stored;
        let Schedule { id, mut spec, owner, next_run, .. } = schedule;
        let next_run = match &edit.timing {
            None => next_run,
            // A client that sends back what it has read means no other start.
            Some(timing) if timing.start == spec.timing.start => Some(run_after(timing, now)?),
            Some(timing) => Some(first_run(timing, now)?),
        };
        let is_command_changed = edit.input.is_some() || edit.environment.is_some();
        let mut sealed = payload;
        if edit.input.is_none() && next_run.is_some() && needs_input(&spec.work, sealed.as_deref()) {
            let message = "The values of the sensitive parameters went with the last run: give input again, whole.";
            return Err(Refusal::new(RefusalKind::ValidationError, message).with("key", "input"));
        }
        if edit.input.is_none() && is_command_changed {
            spec.work = self.opened(spec.work, sealed.as_deref())?;
        }
        spec.timing = edit.timing.unwrap_or(spec.timing);
        if let Some((work, terms)) = edit.input {
            spec.work = work;
            let Terms { environment, description, userdata, .. } = spec.terms;
            spec.terms = Terms { environment, description, userdata, ..terms };
        }
        spec.terms.environment = edit.environment.unwrap_or(spec.terms.environment);
        spec.terms.description = edit.description.unwrap_or(spec.terms.description);
        spec.terms.userdata = edit.userdata.unwrap_or(spec.terms.userdata);
        if is_command_changed {
            (spec, sealed) = self.checked(&self.submit.owner(&owner)?, spec)?;
        }
        let payload = sealed.filter(|_| next_run.is_some());
        Ok(EditedSchedule { id, revision, is_enabled: true, spec, payload, next_run, at: now, most: MOST })
    }

    /// The schedule as it is stored, once everything that can be checked has been.
    fn checked(&self, subject: &Subject, spec: ScheduleSpec) -> Result<(ScheduleSpec, Option<Vec<u8>>), Refusal> {
        let submission = self.submission(subject, spec.work.clone(), spec.terms.clone())?;
        let sensitive = self.submit.check(subject, submission)?;
        let ScheduleSpec { work, terms, timing } = spec;
        let (work, payload) = match work {
            ScheduledWork::Task(task) if !sensitive.is_empty() => {
                let payload = self.vault.seal(Value::Object(task.params.clone()).to_string().as_bytes());
                let mut params = task.params;
                params.retain(|name, _| !sensitive.contains(name));
                (ScheduledWork::Task(ScheduledTask { params, sensitive, task: task.task }), Some(payload))
            }
            work => (work, None),
        };
        Ok((ScheduleSpec { work, terms, timing }, payload))
    }

    /// The work with all parameters.
    fn opened(&self, work: ScheduledWork, payload: Option<&[u8]>) -> Result<ScheduledWork, Refusal> {
        let (ScheduledWork::Task(task), Some(payload)) = (&work, payload) else { return Ok(work) };
        let unreadable = |error: String| Refusal::new(RefusalKind::UnknownError, error);
        let plain = self.vault.unseal(payload).map_err(unreadable)?;
        let params: Map<String, Value> =
            serde_json::from_slice(&plain).map_err(|error| unreadable(format!("stored parameters: {error}")))?;
        Ok(ScheduledWork::Task(ScheduledTask { task: task.task.clone(), params, sensitive: Vec::new() }))
    }

    /// The command that a schedule with all its parameters makes now.
    fn submission(&self, subject: &Subject, work: ScheduledWork, terms: Terms) -> Result<Submission, Refusal> {
        let work = match work {
            ScheduledWork::Deploy(options) if terms.environment.is_empty() && options.enforce_environment => {
                let message =
                    "environment is empty, which leaves it to the nodes: then enforce_environment must be false.";
                return Err(Refusal::new(RefusalKind::ValidationError, message).with("key", "enforce_environment"));
            }
            ScheduledWork::Deploy(options) => return Ok(Submission::Deploy(DeployCommand { options, terms })),
            ScheduledWork::Task(task) => task,
        };
        let task = work.task.clone();
        let params = parameters::values(&*self.submit, subject, work, &terms.environment)?;
        Ok(Submission::Task(TaskCommand { task, params, plan_job: None, terms }))
    }
}

/// Whether the values of its sensitive parameters are gone.
fn needs_input(work: &ScheduledWork, payload: Option<&[u8]>) -> bool {
    matches!(work, ScheduledWork::Task(task) if !task.sensitive.is_empty()) && payload.is_none()
}

fn slots(timing: &Timing) -> Result<Slots, Refusal> {
    Slots::of(timing).map_err(|UnknownZone(zone)| {
        let message = format!("{zone:?} is no time zone that this server knows; give one such as Europe/Zurich.");
        Refusal::new(RefusalKind::ValidationError, message).with("key", "schedule.calendar.zone")
    })
}

/// The first run of a schedule that begins in the future.
fn first_run(timing: &Timing, now: WallTime) -> Result<WallTime, Refusal> {
    let start = timing.start;
    if start < now {
        return Err(over(start));
    }
    slots(timing)?.first().ok_or_else(|| over(start))
}

/// The next run of one that has begun.
fn run_after(timing: &Timing, now: WallTime) -> Result<WallTime, Refusal> {
    slots(timing)?.after(now).ok_or_else(|| over(timing.start))
}

fn over(start: WallTime) -> Refusal {
    let start = start.to_seconds_string();
    let message = format!("The start time {start} is over, or nothing comes after it: give one in the future.");
    Refusal::new(RefusalKind::InvalidTime, message).with("start_time", start)
}
