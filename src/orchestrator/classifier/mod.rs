//! The embedded node classifier: groups of nodes by rules, for sites without Puppet Enterprise's. Its API is that of PE's
//! node classifier (v1), so that clients for that one work with it; classes need not exist, because nothing here compiles.

mod classify;
mod error;
mod group;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use uuid::Uuid;

pub use classify::{Classification, Conflicts, Forest};
pub use error::GroupError;
pub use group::{Group, ROOT};
pub use rule::{Format, Rule, translated};

use super::facts::{Fact, Names, NodeFacts, Structure};
use super::query::NodeView;
use super::store::{Change, GroupsChange, Store, StoreError};
use super::targets::GroupRules;
use crate::clock::WallTime;
use crate::limits::{GROUP_LEVELS_MAX, GROUPS_MAX, RULES_PATTERNS_MAX};

/// The classifier. Groups are read from the store for each question: there are few, and another process may have changed
/// them.
pub struct Classifier {
    store: Arc<dyn Store>,
    /// Held by whoever changes groups.
    changing: Mutex<()>,
}

/// What came of setting a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Put {
    /// It is new, or was replaced.
    Created(Group),
    /// It was like this already.
    Unchanged(Group),
}

impl Classifier {
    /// Groups in `store`.
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { store, changing: Mutex::new(()) }
    }

    /// All groups as they are now.
    pub fn forest(&self) -> Result<Forest, StoreError> {
        Ok(Forest::new(self.store.groups()?.0))
    }

    /// One group.
    pub fn group(&self, id: &str) -> Result<Group, GroupError> {
        let id = checked(id)?;
        self.forest()?.group(&id).cloned().ok_or(GroupError::NotFound(id))
    }

    /// The rules of a group, its own and all that its nodes must pass.
    pub fn rules(&self, id: &str) -> Result<GroupRules, GroupError> {
        let id = checked(id)?;
        let forest = self.forest()?;
        let own = forest.group(&id).ok_or_else(|| GroupError::NotFound(id.clone()))?.rule.clone();
        Ok(GroupRules { own, whole: forest.whole_rule(&id) })
    }

    /// Adds a group.
    pub fn create(&self, body: &Value) -> Result<Group, GroupError> {
        let group = Group::created(&Uuid::new_v4().to_string(), body)?;
        let changing = self.change()?;
        changing.set(group)
    }

    /// Adds a group with this id, or puts it in the place of the one that has it.
    pub fn put(&self, id: &str, body: &Value) -> Result<Put, GroupError> {
        let id = checked(id)?;
        agrees(&id, body)?;
        let group = Group::created(&id, body)?;
        let changing = self.change()?;
        match changing.forest.group(&id) {
            Some(known) if known.says_what(&group) => Ok(Put::Unchanged(known.clone())),
            _ => Ok(Put::Created(changing.set(group)?)),
        }
    }

    /// Changes some of a group.
    pub fn update(&self, id: &str, delta: &Value) -> Result<Group, GroupError> {
        let id = checked(id)?;
        agrees(&id, delta)?;
        let changing = self.change()?;
        let known = changing.forest.group(&id).ok_or(GroupError::NotFound(id))?;
        let changed = known.changed(delta)?;
        if known.says_what(&changed) {
            return Ok(changed);
        }
        changing.set(changed)
    }

    /// Deletes a group that has none below it.
    pub fn delete(&self, id: &str) -> Result<(), GroupError> {
        let id = checked(id)?;
        let changing = self.change()?;
        let group = changing.forest.group(&id).ok_or_else(|| GroupError::NotFound(id.clone()))?.clone();
        if id == ROOT {
            return Err(GroupError::Root("cannot be deleted"));
        }
        let children = changing.forest.children(&id);
        if !children.is_empty() {
            return Err(GroupError::ChildrenPresent { group: Box::new(group), children });
        }
        changing.commit(None, Some(id))
    }

    /// What becomes of a node with this name and these properties, `{"fact": {...}, "trusted": {...}}`; of `trusted` the
    /// extensions count, the rest follows from the name.
    pub fn classify(&self, name: &str, body: &Value) -> Result<Classification, GroupError> {
        let expected = serde_json::json!({"fact": "an object", "trusted": "an object"});
        let property = |key: &str| match body.get(key) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => {
                let error = format!("the key {key} must be an object");
                Err(GroupError::Schema { submitted: body.clone(), schema: expected.clone(), error })
            }
        };
        let mut names = Names::default();
        let facts = Structure::new(&property("fact")?, &mut names);
        let extensions = property("trusted")?.remove("extensions").unwrap_or_default();
        let extensions = match extensions {
            Value::Null => Value::Object(Map::new()),
            given => given,
        };
        self.forest()?.classifying().classify(&NodeView {
            certname: name,
            connection: None,
            extensions: Some(&Fact::new(&extensions, &mut names)),
            facts: Some(&NodeFacts { facts, stored: WallTime::from_millis(0) }),
        })
    }

    fn change(&self) -> Result<Changing<'_>, GroupError> {
        let turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (groups, seen) = self.store.groups()?;
        Ok(Changing { forest: Forest::new(groups), seen, store: &*self.store, _turn: turn })
    }
}

/// A change under way, and the groups that it is based on.
struct Changing<'c> {
    forest: Forest,
    seen: i64,
    store: &'c dyn Store,
    _turn: MutexGuard<'c, ()>,
}

impl Changing<'_> {
    /// Adds or replaces a group if it fits in with the others.
    fn set(&self, mut group: Group) -> Result<Group, GroupError> {
        let known = self.forest.group(&group.id);
        group.serial_number = known.map_or(1, |known| known.serial_number + 1);
        group.last_edited = WallTime::now().to_millis_string();
        self.check_place(&group)?;
        let twin =
            |other: &&Group| other.id != group.id && other.name == group.name && other.environment == group.environment;
        if let Some(twin) = self.forest.groups().find(twin) {
            return Err(GroupError::NotUnique(Box::new(twin.clone())));
        }
        if known.is_none() && self.forest.groups().count() >= GROUPS_MAX {
            return Err(GroupError::TooMany(format!("There are {GROUPS_MAX} groups, and there cannot be more")));
        }
        let others = self.forest.groups().filter(|other| other.id != group.id);
        let rules = others.chain([&group]).filter_map(|group| group.rule.as_ref());
        if rules.map(rule::patterns).sum::<usize>() > RULES_PATTERNS_MAX {
            let advice = "compare with `=` where that is enough, or join them with `|`";
            let what = format!("All rules together can have {RULES_PATTERNS_MAX} regular expressions: {advice}");
            return Err(GroupError::TooMany(what));
        }
        self.commit(Some(group.clone()), None)?;
        Ok(group)
    }

    /// Refuses a group whose parent is none, or below itself.
    fn check_place(&self, group: &Group) -> Result<(), GroupError> {
        if group.id == ROOT {
            return match () {
                () if group.parent != ROOT => Err(GroupError::Root("can have no other parent than itself")),
                () if group.rule != Group::root().rule => Err(GroupError::Root("has a rule that cannot be changed")),
                () => Ok(()),
            };
        }
        if group.parent != group.id && self.forest.group(&group.parent).is_none() {
            return Err(GroupError::MissingParent(Box::new(group.clone())));
        }
        let mut line = vec![group.clone()];
        while let Some(next) = self.forest.group(&line[line.len() - 1].parent).filter(|next| next.id != ROOT) {
            if next.id == group.id {
                return Err(GroupError::Cycle(line));
            }
            if line.len() == GROUP_LEVELS_MAX {
                return Err(GroupError::TooMany(format!("There are at most {GROUP_LEVELS_MAX} levels of groups")));
            }
            line.push(next.clone());
        }
        if group.parent == group.id { Err(GroupError::Cycle(line)) } else { Ok(()) }
    }

    fn commit(&self, set: Option<Group>, removed: Option<String>) -> Result<(), GroupError> {
        Ok(self.store.commit(vec![Change::Groups(GroupsChange { seen: self.seen, set, removed })])?)
    }
}

fn checked(id: &str) -> Result<String, GroupError> {
    group::uuid(id).ok_or_else(|| GroupError::MalformedUuid(id.to_owned()))
}

/// Refuses a body that has another id than the path.
fn agrees(id: &str, body: &Value) -> Result<(), GroupError> {
    match body.get("id").and_then(Value::as_str) {
        Some(submitted) if !submitted.eq_ignore_ascii_case(id) => {
            Err(GroupError::ConflictingIds { submitted: submitted.to_owned(), from_url: id.to_owned() })
        }
        _ => Ok(()),
    }
}
