//! Schedules of the fake: a real store, and of the rest only what makes them be refused.

use super::*;
use crate::config::settings::{MissedRuns, ScheduleSettings};
use crate::orchestrator::schedule::{Schedules, Submission, Submit};
use crate::orchestrator::store::schedules::Firing;
use crate::orchestrator::vault::Vault;

/// Without a thread that starts them.
pub(super) fn schedules(dir: &std::path::Path, store: &Arc<dyn Store>) -> Schedules {
    let vault = Arc::new(Vault::open(dir).unwrap());
    let settings = ScheduleSettings { missed: MissedRuns::RunOnce, v1_api: true, usage_days: 30 };
    Schedules::new(store.clone(), vault, Arc::new(Rest), settings)
}

/// The parameter `token` of tasks is sensitive.
struct Rest;

impl Submit for Rest {
    fn is_ready(&self) -> bool {
        false
    }

    fn owner(&self, owner: &Subject) -> Result<Subject, Refusal> {
        Ok(owner.clone())
    }

    fn may_remove(&self, _by: &Subject, _owner: &Subject) -> Result<(), Refusal> {
        Err(Refusal::new(RefusalKind::NotPermitted, "no"))
    }

    fn permit_task(&self, _subject: &Subject, _task: &str, _environment: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn resolve(&self, _subject: &Subject, _scope: &Scope, _environment: &str) -> Result<Vec<String>, Refusal> {
        Ok(vec!["web01.example.com".into()])
    }

    fn check(&self, _subject: &Subject, submission: Submission) -> Result<Vec<String>, Refusal> {
        let terms = match &submission {
            Submission::Task(command) => command.terms.clone(),
            Submission::Deploy(command) => command.terms.clone(),
        };
        check_environment(&terms.environment)?;
        match (&terms.scope, submission) {
            (Scope::Nodes(names), _) if names.is_empty() => {
                let refusal = Refusal::new(RefusalKind::EmptyTarget, "The scope contains no nodes.");
                Err(refusal.with("environment", "production").with("target", "nodes"))
            }
            (Scope::Nodes(_), Submission::Task(command)) => {
                Ok(command.params.keys().filter(|name| *name == "token").cloned().collect())
            }
            (Scope::Nodes(_), Submission::Deploy(_)) => Ok(Vec::new()),
            _ => Err(Refusal::new(RefusalKind::PuppetdbError, "PuppetDB does not answer")),
        }
    }

    fn submit(&self, _subject: &Subject, _submission: Submission, _firing: Firing) -> Result<JobId, Refusal> {
        Err(Refusal::new(RefusalKind::UnknownError, "nothing is started"))
    }
}
