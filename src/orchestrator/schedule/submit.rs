//! The orchestrator as schedules see it: whoever a job runs as is asked about again when it starts.

use std::sync::Arc;

use super::{Submission, Submit};
use crate::orchestrator::model::{JobId, Refusal, RefusalKind, Scope, Subject, Work};
use crate::orchestrator::rbac::permission::{Action, EVERY};
use crate::orchestrator::rbac::{API_USER, subject};
use crate::orchestrator::store::schedules::Firing;
use crate::orchestrator::{Inner, jobs};

/// Makes jobs of the orchestrator.
pub(in crate::orchestrator) struct Submitter(pub(in crate::orchestrator) Arc<Inner>);

impl Submitter {
    fn prepare(&self, subject: &Subject, submission: Submission) -> Result<jobs::Prepared, Refusal> {
        match submission {
            Submission::Task(command) => {
                self.0.rbac.permit_any(subject, Action::TasksRun)?;
                jobs::prepare_task(&self.0, subject, command)
            }
            Submission::Deploy(command) => {
                self.0.rbac.permit(subject, Action::PuppetAgentRun, EVERY)?;
                jobs::prepare_puppet(&self.0, subject, command)
            }
        }
    }
}

impl Submit for Submitter {
    fn is_ready(&self) -> bool {
        self.0.is_dispatching()
    }

    fn owner(&self, owner: &Subject) -> Result<Subject, Refusal> {
        let login = &owner.login;
        let refused = |why: &str| {
            let message = format!("The scheduled job runs as {login}, {why}: somebody else has to make it anew.");
            Refusal::new(RefusalKind::NotPermitted, message).with("login", login.as_str())
        };
        if login == API_USER {
            let listed = self.0.rbac.allowlist().subject(&owner.display_name);
            return listed.ok_or_else(|| refused("a certificate that is not in the allowlist any more"));
        }
        match self.0.store.user_by_id(&owner.id)? {
            None => Err(refused("a user that is not there any more")),
            Some(user) if user.is_revoked => Err(refused("a user that was revoked")),
            Some(user) => Ok(subject(user)),
        }
    }

    fn may_remove(&self, by: &Subject, owner: &Subject) -> Result<(), Refusal> {
        self.0.rbac.permit(by, Action::ScheduledJobsDelete, &owner.id)
    }

    fn permit_task(&self, subject: &Subject, task: &str, environment: &str) -> Result<(), Refusal> {
        let rbac = &self.0.rbac;
        rbac.permit_any(subject, Action::TasksRun)?;
        let task = jobs::find_task(&self.0, task, environment)?.detail.name;
        if rbac.runnable(subject)?.has(&task) {
            return Ok(());
        }
        let message = format!("You are not permitted to run the task {task} on any node.");
        Err(Refusal::new(RefusalKind::NotPermitted, message).with("task", task))
    }

    fn resolve(&self, subject: &Subject, scope: &Scope, environment: &str) -> Result<Vec<String>, Refusal> {
        self.0.rbac.permit_scope(subject, scope)?;
        self.0.targets.resolve(scope, environment)
    }

    fn check(&self, subject: &Subject, submission: Submission) -> Result<Vec<String>, Refusal> {
        let prepared = self.prepare(subject, submission)?;
        Ok(match prepared.spec.work {
            Work::Task(task) => task.sensitive,
            Work::Deploy(_) => Vec::new(),
        })
    }

    fn submit(&self, subject: &Subject, submission: Submission, firing: Firing) -> Result<JobId, Refusal> {
        self.0.disk.check()?;
        let prepared = self.prepare(subject, submission)?;
        jobs::create(&self.0, prepared, Some(firing))
    }
}
