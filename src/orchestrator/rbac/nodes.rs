//! On which nodes somebody may run a task: the nodes asked for, without those that no permission reaches.

use std::collections::HashSet;

use super::Rbac;
use super::permission::{Action, Grant, Reach, permits, reach};
use crate::orchestrator::model::{Refusal, RefusalKind, Scope, Subject};
use crate::orchestrator::store::StoreError;

/// Resolves the limits of permissions to names of nodes.
pub trait NodeSets {
    /// The nodes of a scope, as of now.
    fn scope(&self, scope: &Scope) -> Result<Vec<String>, Refusal>;

    /// The nodes of a task target, if this task is one of its tasks; `None` if not, or if there is no such target.
    fn task_target(&self, number: i64, task: &str) -> Result<Option<Vec<String>>, Refusal>;
}

/// Which tasks and plans somebody may run at all.
pub struct Runnable {
    /// `None` if all may be.
    grants: Option<Vec<Grant>>,
}

impl Runnable {
    /// Whether there can be a node on which this task may be run.
    pub fn has(&self, task: &str) -> bool {
        self.grants.as_ref().is_none_or(|grants| match reach(grants, task) {
            Reach::Everywhere => true,
            Reach::Within { scopes, targets } => !scopes.is_empty() || !targets.is_empty(),
        })
    }

    /// Whether this plan may be run.
    pub fn has_plan(&self, plan: &str) -> bool {
        self.grants.as_ref().is_none_or(|grants| permits(grants, Action::PlansRun, plan))
    }
}

impl Rbac {
    /// Which tasks and plans a user may run.
    pub fn runnable(&self, subject: &Subject) -> Result<Runnable, StoreError> {
        let grants = if subject.is_superuser { None } else { Some(self.grants_of(subject)?) };
        Ok(Runnable { grants })
    }

    /// Whether it takes an answer from somewhere else to know on which nodes a user may run a task.
    pub fn is_limited_by_questions(&self, subject: &Subject, task: &str) -> Result<bool, StoreError> {
        if subject.is_superuser {
            return Ok(false);
        }
        Ok(match reach(&self.grants_of(subject)?, task) {
            Reach::Everywhere => false,
            Reach::Within { scopes, targets } => {
                !targets.is_empty() || scopes.iter().any(|scope| !matches!(scope, Scope::Nodes(_)))
            }
        })
    }

    /// Whether a user may say which nodes in this way.
    pub fn permit_scope(&self, subject: &Subject, scope: &Scope) -> Result<(), Refusal> {
        match scope {
            Scope::Nodes(_) => Ok(()),
            Scope::Query(_) => {
                let refused = |refusal: Refusal| Refusal { kind: RefusalKind::QueryError, ..refusal };
                self.permit(subject, Action::NodesViewData, super::permission::EVERY).map_err(refused)
            }
            Scope::NodeGroup(group) => self.permit(subject, Action::NodeGroupsView, group),
        }
    }

    /// Those of these nodes on which a user may run a task, in their order; a refusal if there are none.
    pub fn permitted_nodes(
        &self,
        subject: &Subject,
        task: &str,
        names: Vec<String>,
        sets: &dyn NodeSets,
    ) -> Result<Vec<String>, Refusal> {
        if subject.is_superuser {
            return Ok(names);
        }
        let grants = self.grants_of(subject)?;
        let (scopes, targets) = match reach(&grants, task) {
            Reach::Everywhere => return Ok(names),
            Reach::Within { scopes, targets } => (scopes, targets),
        };
        let mut allowed: HashSet<String> = HashSet::new();
        let mut unclear = None;
        let scopes = scopes.into_iter().map(|scope| sets.scope(scope).map(Some));
        for found in scopes.chain(targets.into_iter().map(|number| sets.task_target(number, task))) {
            match found {
                Ok(nodes) => allowed.extend(nodes.into_iter().flatten()),
                // A limit that nobody is in is no mistake.
                Err(refusal) if refusal.kind == RefusalKind::EmptyTarget => {}
                Err(refusal) => unclear = Some(refusal),
            }
        }
        let asked = names.len();
        let left: Vec<String> = names.into_iter().filter(|name| allowed.contains(name)).collect();
        match unclear {
            Some(refusal) if left.len() < asked => Err(Refusal {
                message: format!(
                    "On which nodes you may run {task} cannot be found out, because a limit of your permissions cannot be \
                     evaluated: {}",
                    refusal.message
                ),
                ..refusal
            }),
            _ if left.is_empty() => {
                let message = format!("You are not permitted to run the task {task} on any of these nodes.");
                Err(Refusal::new(RefusalKind::NotPermitted, message).with("task", task))
            }
            _ => Ok(left),
        }
    }
}
