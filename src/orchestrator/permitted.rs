//! What limits of permissions come to, for one command: each question is put once, there are not many of them, and all of
//! them together have a time.

use std::cell::RefCell;
use std::collections::HashMap;

use super::model::{Refusal, RefusalKind, Scope};
use super::rbac::nodes::NodeSets;
use super::store::TaskTargetStore;
use super::targets::Targets;
use crate::clock::Stopwatch;
use crate::limits::{PERMISSION_QUESTIONS_MAX, PERMISSION_QUESTIONS_TIME_MAX};

/// The limits as of now.
pub(super) struct Sets<'a, S: ?Sized> {
    targets: &'a Targets,
    store: &'a S,
    environment: &'a str,
    began: Stopwatch,
    /// By the scope, as JSON.
    answers: RefCell<HashMap<String, Result<Vec<String>, Refusal>>>,
}

impl<'a, S: TaskTargetStore + ?Sized> Sets<'a, S> {
    pub(super) fn new(targets: &'a Targets, store: &'a S, environment: &'a str) -> Self {
        Self { targets, store, environment, began: Stopwatch::start(), answers: RefCell::default() }
    }

    fn question(&self, scope: &Scope) -> Result<Vec<String>, Refusal> {
        let key = serde_json::to_string(scope).expect("a scope has string keys only");
        if let Some(answer) = self.answers.borrow().get(&key) {
            return answer.clone();
        }
        let answer = self.may_ask().and_then(|()| self.targets.resolve(scope, self.environment));
        self.answers.borrow_mut().insert(key, answer.clone());
        answer
    }

    fn may_ask(&self) -> Result<(), Refusal> {
        let answers = self.answers.borrow();
        // Whoever could not be asked once is not asked again.
        let is_gone = |refusal: &&Refusal| refusal.kind == RefusalKind::PuppetdbError;
        if let Some(refusal) = answers.values().filter_map(|answer| answer.as_ref().err()).find(is_gone) {
            return Err(refusal.clone());
        }
        if answers.len() >= PERMISSION_QUESTIONS_MAX {
            let message = format!(
                "your roles limit it to nodes by more than {PERMISSION_QUESTIONS_MAX} different queries and node groups; \
                 have them put together"
            );
            return Err(Refusal::new(RefusalKind::ValidationError, message));
        }
        if self.began.elapsed() >= PERMISSION_QUESTIONS_TIME_MAX {
            let message =
                format!("the answers took more than {} s; try again later", PERMISSION_QUESTIONS_TIME_MAX.as_secs());
            return Err(Refusal::new(RefusalKind::PuppetdbError, message).with("cause", "busy"));
        }
        Ok(())
    }

    /// A set that nobody is in is no mistake.
    fn may_be_empty(&self, scope: &Scope) -> Result<Vec<String>, Refusal> {
        match self.question(scope) {
            Err(refusal) if refusal.kind == RefusalKind::EmptyTarget => Ok(Vec::new()),
            answer => answer,
        }
    }
}

impl<S: TaskTargetStore + ?Sized> NodeSets for Sets<'_, S> {
    fn scope(&self, scope: &Scope) -> Result<Vec<String>, Refusal> {
        match scope {
            Scope::Nodes(_) => self.targets.resolve(scope, self.environment),
            Scope::Query(_) | Scope::NodeGroup(_) => self.question(scope),
        }
    }

    fn task_target(&self, number: i64, task: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(target) = self.store.task_target(number)? else { return Ok(None) };
        if !target.tasks.as_ref().is_none_or(|tasks| tasks.iter().any(|one| one == task)) {
            return Ok(None);
        }
        let mut nodes = target.nodes;
        for group in target.node_groups {
            nodes.extend(self.may_be_empty(&Scope::NodeGroup(group))?);
        }
        if !target.pql_query.is_empty() {
            nodes.extend(self.may_be_empty(&Scope::Query(target.pql_query.into()))?);
        }
        Ok(Some(nodes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, RwLock};

    use serde_json::{Value, json};

    use super::*;
    use crate::orchestrator::classifier::Classifier;
    use crate::orchestrator::inventory::Inventory;
    use crate::orchestrator::model::TaskTarget;
    use crate::orchestrator::store::sqlite::SqliteStore;
    use crate::orchestrator::store::{Change, Store};
    use crate::orchestrator::targets::{NodeGroups, NodeQuery};

    /// Plays PuppetDB: answers a query with its own text as the name of a node.
    #[derive(Default)]
    struct Played {
        asked: Mutex<Vec<Value>>,
    }

    impl NodeQuery for Played {
        fn certnames(&self, query: &Value) -> Result<Vec<String>, Refusal> {
            self.asked.lock().unwrap().push(query.clone());
            match query.as_str() {
                Some("down") => Err(Refusal::new(RefusalKind::PuppetdbError, "it is down")),
                Some("none") => Ok(Vec::new()),
                _ => Ok(vec![query.as_str().unwrap().to_owned()]),
            }
        }
    }

    struct Site {
        _dir: tempfile::TempDir,
        store: Arc<dyn Store>,
        played: Arc<Played>,
        targets: Targets,
    }

    fn site() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let played = Arc::new(Played::default());
        let groups = NodeGroups::Embedded(Arc::new(Classifier::new(store.clone())));
        let inventory = Arc::new(RwLock::new(Inventory::new(Vec::new())));
        let targets = Targets::new(inventory, store.clone(), groups, Some(played.clone()));
        Site { _dir: dir, store, played, targets }
    }

    fn query(text: &str) -> Scope {
        Scope::Query(json!(text))
    }

    #[test]
    fn a_question_is_put_once_whoever_puts_it() {
        let site = site();
        let target = TaskTarget {
            id: 7,
            display_name: "t".into(),
            tasks: None,
            nodes: vec!["web1".into()],
            node_groups: vec![],
            pql_query: "a".into(),
        };
        site.store.commit(vec![Change::TaskTargetCreated(target)]).unwrap();
        let sets = Sets::new(&site.targets, &*site.store, "production");
        for _ in 0..3 {
            assert_eq!(sets.scope(&query("a")).unwrap(), ["a"]);
            assert_eq!(sets.task_target(7, "package").unwrap().unwrap(), ["web1", "a"]);
            assert_eq!(sets.scope(&query("none")).unwrap_err().kind, RefusalKind::EmptyTarget);
            assert_eq!(sets.scope(&Scope::Nodes(vec!["x".into()])).unwrap(), ["x"]);
        }
        assert_eq!(*site.played.asked.lock().unwrap(), [json!("a"), json!("none")]);
    }

    #[test]
    fn there_are_not_many_of_them() {
        let site = site();
        let sets = Sets::new(&site.targets, &*site.store, "production");
        for number in 0..PERMISSION_QUESTIONS_MAX {
            sets.scope(&query(&format!("q{number}"))).unwrap();
        }
        let refusal = sets.scope(&query("one more")).unwrap_err();
        assert!(refusal.message.contains("have them put together"), "{refusal}");
        assert_eq!(sets.scope(&query("q0")).unwrap(), ["q0"]);
        assert_eq!(site.played.asked.lock().unwrap().len(), PERMISSION_QUESTIONS_MAX);
    }

    #[test]
    fn a_service_that_is_down_is_asked_once() {
        let site = site();
        let sets = Sets::new(&site.targets, &*site.store, "production");
        for text in ["down", "a", "b"] {
            assert_eq!(sets.scope(&query(text)).unwrap_err().message, "it is down");
        }
        assert_eq!(site.played.asked.lock().unwrap().len(), 1);
    }
}
