//! From a scope to nodes: queries go to PuppetDB if there is one and are answered from what this server knows otherwise;
//! so do the rules of node groups.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};

use super::classifier::{Classification, Classifier, Format, GroupError, Rule, translated};
use super::facts::{FactsCache, KnownNodes};
use super::inventory::Inventory;
use super::model::{InventoryEntry, Refusal, RefusalKind, Scope};
use super::query::{NodeView, Query};
use super::scope;
use super::store::Store;

/// Answers queries instead of this server: PuppetDB.
pub trait NodeQuery: Send + Sync {
    /// The `certname`s in the rows of a query, which is PQL (a string) or in the AST form (an array).
    fn certnames(&self, query: &Value) -> Result<Vec<String>, Refusal>;
}

/// A node classifier elsewhere.
pub trait ExternalGroups: Send + Sync {
    /// The rules of the group with this id, `GET /classifier-api/v1/groups/<id>/rules`; `None` if there is no such group.
    fn rules(&self, id: &str) -> Result<Option<GroupRules>, Refusal>;
}

/// The rules by which nodes are in a group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRules {
    /// `rule`: the group's own; a group without one has no nodes.
    pub own: Option<Value>,
    /// `rule_with_inherited`: its own and those of the groups above it.
    pub whole: Option<Value>,
}

/// Where node groups are.
pub enum NodeGroups {
    /// Here.
    Embedded(Arc<Classifier>),
    /// Elsewhere.
    External(Arc<dyn ExternalGroups>),
}

/// Finds the nodes of scopes.
pub struct Targets {
    inventory: Arc<RwLock<Inventory>>,
    store: Arc<dyn Store>,
    facts: FactsCache,
    groups: NodeGroups,
    puppetdb: Option<Arc<dyn NodeQuery>>,
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").field("puppetdb", &self.puppetdb.is_some()).finish_non_exhaustive()
    }
}

impl Targets {
    /// Among the nodes of the inventory, with what the store knows of them, unless there is a PuppetDB.
    pub fn new(
        inventory: Arc<RwLock<Inventory>>,
        store: Arc<dyn Store>,
        groups: NodeGroups,
        puppetdb: Option<Arc<dyn NodeQuery>>,
    ) -> Self {
        Self { inventory, store, facts: FactsCache::default(), groups, puppetdb }
    }

    /// The nodes of a scope, each once. Names that are given need not be known.
    pub fn resolve(&self, scope: &Scope, environment: &str) -> Result<Vec<String>, Refusal> {
        match scope {
            Scope::Nodes(names) => scope::checked(names, scope.kind(), environment),
            Scope::Query(query) => scope::checked(&self.query(query)?, scope.kind(), environment),
            Scope::NodeGroup(id) => scope::checked(&self.group(id)?, scope.kind(), environment),
        }
    }

    /// What becomes of nodes in the embedded classifier, in the order asked; `None` if groups are elsewhere.
    pub fn classified(&self, names: &[String]) -> Result<Option<Vec<Result<Classification, GroupError>>>, Refusal> {
        let NodeGroups::Embedded(classifier) = &self.groups else { return Ok(None) };
        let forest = classifier.forest()?;
        let (classifying, seen) = (forest.classifying(), self.seen()?);
        Ok(Some(names.iter().map(|name| classifying.classify(&seen.view(name))).collect()))
    }

    fn query(&self, query: &Value) -> Result<Vec<String>, Refusal> {
        match &self.puppetdb {
            Some(puppetdb) => puppetdb.certnames(query),
            None => {
                let query = Query::parse(query)?;
                self.with_nodes(|nodes| Ok(query.certnames(nodes)?))
            }
        }
    }

    fn group(&self, id: &str) -> Result<Vec<String>, Refusal> {
        let refuse = |message: String| Refusal::new(RefusalKind::ValidationError, message).with("node_group", id);
        let rules = match &self.groups {
            NodeGroups::External(groups) => groups.rules(id)?,
            NodeGroups::Embedded(classifier) => match classifier.rules(id) {
                Ok(rules) => Some(rules),
                Err(GroupError::Store(error)) => return Err(error.into()),
                Err(_) => None,
            },
        };
        let rules = rules.ok_or_else(|| refuse(format!("There is no node group {id:?}; give the id of one.")))?;
        let (Some(_), Some(whole)) = (rules.own, rules.whole) else {
            let advice = "rules of the groups above it do not count: give it rules, or name the nodes in `nodes`";
            return Err(refuse(format!("The node group {id} has no rules of its own, so it has no nodes; {advice}.")));
        };
        let rule = Rule::parse(&whole)
            .map_err(|error| refuse(format!("The rules of the node group {id} cannot be evaluated: {error}.")))?;
        let Some(puppetdb) = &self.puppetdb else {
            return self.with_nodes(|nodes| {
                let in_group = nodes.iter().filter(|node| rule.passes(node) == Some(true));
                Ok(in_group.map(|node| node.certname.to_owned()).collect())
            });
        };
        let filter = translated(&rule, Format::Inventory)
            .map_err(|error| refuse(format!("PuppetDB cannot be asked for the node group {id}: {error}.")))?;
        puppetdb.certnames(&json!(["from", "inventory", ["extract", ["certname"], filter]]))
    }

    /// Looks at all nodes of the inventory, sorted by name.
    fn with_nodes<T>(&self, look: impl FnOnce(&[NodeView<'_>]) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let seen = self.seen()?;
        let nodes: Vec<NodeView<'_>> =
            seen.entries.iter().map(|entry| seen.view_of(&entry.name, Some(entry))).collect();
        look(&nodes)
    }

    fn seen(&self) -> Result<Seen, Refusal> {
        let entries = self.inventory.read().unwrap_or_else(PoisonError::into_inner).entries();
        Ok(Seen { entries, known: self.facts.current(&*self.store)? })
    }
}

/// What is known at one time. Nothing is locked while it is looked at.
struct Seen {
    /// Sorted by name.
    entries: Vec<InventoryEntry>,
    known: Arc<KnownNodes>,
}

impl Seen {
    fn view<'s>(&'s self, name: &'s str) -> NodeView<'s> {
        let found = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok();
        self.view_of(name, found.map(|index| &self.entries[index]))
    }

    fn view_of<'s>(&'s self, name: &'s str, entry: Option<&'s InventoryEntry>) -> NodeView<'s> {
        let known = self.known.get(name);
        NodeView {
            certname: name,
            connection: entry.and_then(|entry| entry.connection.as_ref()),
            extensions: known.and_then(|known| known.extensions.as_ref()),
            facts: known.and_then(|known| known.facts.as_ref()),
        }
    }
}
