//! Groups as a tree, and what becomes of a node in it (node classifier API v1, "classification endpoint"): the groups whose
//! rules it passes, of those the lowest, what they inherit, and whether they agree.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::error::GroupError;
use super::group::Group;
use super::rule::Rule;
use crate::limits::GROUP_LEVELS_MAX;
use crate::orchestrator::query::NodeView;

/// All groups.
#[derive(Debug, Clone)]
pub struct Forest {
    groups: BTreeMap<String, Group>,
}

/// All groups with their rules read, for as many nodes as there are.
#[derive(Debug)]
pub struct Classifying<'f> {
    forest: &'f Forest,
    rules: BTreeMap<&'f str, Rule>,
}

/// What becomes of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Ids of the groups that it is in.
    pub groups: Vec<String>,
    /// The environment that it is to use.
    pub environment: String,
    /// Classes, and values of their parameters.
    pub classes: Map<String, Value>,
    /// Top-level variables.
    pub variables: Map<String, Value>,
}

/// Values by name with the group that defines each.
type Defined<'f> = BTreeMap<&'f str, (&'f Value, &'f Group)>;

/// What a lowest group gives a node.
struct Inherited<'f> {
    group: &'f Group,
    classes: BTreeMap<&'f str, Defined<'f>>,
    variables: Defined<'f>,
}

/// Values that groups do not agree on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conflicts {
    environment: Vec<Conflicting>,
    classes: BTreeMap<String, BTreeMap<String, Vec<Conflicting>>>,
    variables: BTreeMap<String, Vec<Conflicting>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Conflicting {
    value: Value,
    /// The group that the node is in.
    from: Group,
    /// It, or the group above it that has the value.
    defined_by: Group,
}

impl Forest {
    /// From stored groups; the group of all nodes is there in any case.
    pub fn new(groups: Vec<Group>) -> Self {
        let with_root = std::iter::once(Group::root()).chain(groups);
        Self { groups: with_root.map(|group| (group.id.clone(), group)).collect() }
    }

    /// All groups, by id.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// One group.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// The groups above a group, the nearest first.
    pub fn above<'f>(&'f self, group: &Group) -> Vec<&'f Group> {
        let mut above: Vec<&Group> = Vec::new();
        let mut id = group.id.as_str();
        let mut parent = group.parent.as_str();
        while parent != id && above.len() < GROUP_LEVELS_MAX {
            let Some(next) = self.group(parent) else { break };
            above.push(next);
            (id, parent) = (&next.id, &next.parent);
        }
        above
    }

    /// The groups right below a group.
    pub fn children(&self, id: &str) -> Vec<Group> {
        self.groups().filter(|group| group.parent == id && group.id != id).cloned().collect()
    }

    /// The rule that a node must pass to be in a group: its own and those of all groups above it. `None` if it has none of
    /// its own: then no node is in it.
    pub fn whole_rule(&self, id: &str) -> Option<Value> {
        let group = self.group(id).filter(|group| group.rule.is_some())?;
        let rules = std::iter::once(group).chain(self.above(group)).filter_map(|group| group.rule.clone());
        Some(std::iter::once(Value::from("and")).chain(rules).collect())
    }

    /// A group with what it inherits.
    pub fn with_inherited(&self, group: &Group) -> Group {
        let mut whole = group.clone();
        for above in self.above(group) {
            fill(&mut whole.variables, &above.variables, 1);
            fill(&mut whole.classes, &above.classes, 2);
            fill(&mut whole.config_data, &above.config_data, 2);
        }
        whole
    }

    /// Reads the rules.
    pub fn classifying(&self) -> Classifying<'_> {
        let rule = |group: &Group| group.rule.as_ref().and_then(|rule| Rule::parse(rule).ok());
        let rules = self.groups().filter_map(|group| Some((group.id.as_str(), rule(group)?))).collect();
        Classifying { forest: self, rules }
    }

    fn inherited<'f>(&'f self, group: &'f Group) -> Inherited<'f> {
        let mut inherited = Inherited { group, classes: BTreeMap::new(), variables: BTreeMap::new() };
        for definer in std::iter::once(group).chain(self.above(group)) {
            for (name, value) in &definer.variables {
                inherited.variables.entry(name).or_insert((value, definer));
            }
            for (class, parameters) in &definer.classes {
                let known = inherited.classes.entry(class).or_default();
                for (name, value) in parameters.as_object().into_iter().flatten() {
                    known.entry(name).or_insert((value, definer));
                }
            }
        }
        inherited
    }
}

impl Classifying<'_> {
    /// What becomes of a node. Rules that cannot be decided because too little is known of it are not passed.
    pub fn classify(&self, node: &NodeView<'_>) -> Result<Classification, GroupError> {
        let passed = |(id, rule): (&&str, &Rule)| (rule.passes(node) == Some(true)).then(|| (*id).to_owned());
        let passed: HashSet<String> = self.rules.iter().filter_map(passed).collect();
        let matching: Vec<(&Group, Vec<&Group>)> = self
            .forest
            .groups()
            .filter(|group| passed.contains(&group.id))
            .map(|group| (group, self.forest.above(group)))
            .filter(|(_, above)| above.iter().all(|above| above.rule.is_none() || passed.contains(&above.id)))
            .collect();
        let is_above = |group: &Group| matching.iter().any(|(_, above)| above.iter().any(|above| above.id == group.id));
        let lowest = matching.iter().filter(|(group, _)| !is_above(group));
        let lowest: Vec<Inherited<'_>> = lowest.map(|(group, _)| self.forest.inherited(group)).collect();
        let merged = merged(&lowest).map_err(|conflicts| GroupError::Conflict(Box::new(conflicts)))?;
        let groups = matching.iter().map(|(group, _)| group.id.clone()).collect();
        let (environment, classes, variables) = merged;
        Ok(Classification { groups, environment, classes, variables })
    }
}

/// Puts in what is not there.
fn fill(values: &mut Map<String, Value>, more: &Map<String, Value>, depth: usize) {
    for (key, value) in more {
        match (values.get_mut(key), value) {
            (None, value) => drop(values.insert(key.clone(), value.clone())),
            (Some(Value::Object(inner)), Value::Object(more)) if depth > 1 => fill(inner, more, depth - 1),
            _ => {}
        }
    }
}

type Merged = (String, Map<String, Value>, Map<String, Value>);

fn merged(lowest: &[Inherited<'_>]) -> Result<Merged, Conflicts> {
    let mut conflicts = Conflicts::default();
    let trumping: Vec<&Inherited<'_>> = lowest.iter().filter(|inherited| inherited.group.environment_trumps).collect();
    let deciding: Vec<&Inherited<'_>> = if trumping.is_empty() { lowest.iter().collect() } else { trumping };
    let environment = deciding.first().map_or("production", |inherited| &inherited.group.environment).to_owned();
    if deciding.iter().any(|inherited| inherited.group.environment != environment) {
        let conflicting = |inherited: &&Inherited<'_>| Conflicting {
            value: inherited.group.environment.as_str().into(),
            from: inherited.group.clone(),
            defined_by: inherited.group.clone(),
        };
        conflicts.environment = deciding.iter().map(conflicting).collect();
    }
    let all = || lowest.iter().map(|inherited| (inherited.group, &inherited.variables));
    let variables = agreed(all(), &mut conflicts.variables);
    let mut classes = Map::new();
    for class in lowest.iter().flat_map(|inherited| inherited.classes.keys()) {
        let mut differ = BTreeMap::new();
        let of_class = lowest.iter().filter_map(|inherited| Some((inherited.group, inherited.classes.get(class)?)));
        classes.insert((*class).to_owned(), agreed(of_class, &mut differ).into());
        if !differ.is_empty() {
            conflicts.classes.insert((*class).to_owned(), differ);
        }
    }
    if conflicts == Conflicts::default() { Ok((environment, classes, variables)) } else { Err(conflicts) }
}

/// The values of groups that agree; those that do not go into `conflicts`.
fn agreed<'f, 'd>(
    groups: impl Iterator<Item = (&'d Group, &'d Defined<'f>)> + Clone,
    conflicts: &mut BTreeMap<String, Vec<Conflicting>>,
) -> Map<String, Value>
where
    'f: 'd,
{
    let mut agreed = Map::new();
    for (_, defined) in groups.clone() {
        for (name, (value, _)) in defined {
            if agreed.get(*name).is_some_and(|known| known != *value) {
                let conflicting = groups.clone().filter_map(|(from, defined)| {
                    let (value, defined_by) = defined.get(name)?;
                    Some(Conflicting { value: (*value).clone(), from: from.clone(), defined_by: (*defined_by).clone() })
                });
                conflicts.insert((*name).to_owned(), conflicting.collect());
            }
            agreed.insert((*name).to_owned(), (*value).clone());
        }
    }
    agreed
}

impl Conflicts {
    /// As the API shows them.
    pub fn details(&self) -> Value {
        let shown = |values: &Vec<Conflicting>| -> Value {
            let one = |conflicting: &Conflicting| {
                let Conflicting { value, from, defined_by } = conflicting;
                json!({"value": value, "from": from, "defined_by": defined_by})
            };
            values.iter().map(one).collect()
        };
        let all = |values: &BTreeMap<String, Vec<Conflicting>>| -> Value {
            values.iter().map(|(name, values)| (name.clone(), shown(values))).collect::<Map<_, _>>().into()
        };
        let mut details = Map::new();
        if !self.environment.is_empty() {
            details.insert("environment".to_owned(), shown(&self.environment));
        }
        if !self.classes.is_empty() {
            let classes: Map<_, _> = self.classes.iter().map(|(class, values)| (class.clone(), all(values))).collect();
            details.insert("classes".to_owned(), classes.into());
        }
        if !self.variables.is_empty() {
            details.insert("variables".to_owned(), all(&self.variables));
        }
        details.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::ROOT;
    use super::*;

    fn id(number: u8) -> String {
        format!("11111111-0000-4000-8000-0000000000{number:02}")
    }

    fn group(number: u8, parent: &str, rule: Value, more: Value) -> Group {
        let mut body = json!({"name": format!("g{number}"), "parent": parent, "rule": rule, "classes": {}});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        Group::created(&id(number), &body).unwrap()
    }

    fn classify(forest: &Forest, name: &str) -> Result<Classification, GroupError> {
        forest.classifying().classify(&NodeView { certname: name, connection: None, extensions: None, facts: None })
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn lower_groups_win_and_rules_above_count() {
        let forest = Forest::new(vec![
            group(
                1,
                ROOT,
                json!(["~", "name", "^web"]),
                json!({"classes": {"a": {"x": 1, "y": 1}}, "variables": {"v": 1}}),
            ),
            group(
                2,
                &id(1),
                json!(["~", "name", "2$"]),
                json!({"classes": {"a": {"x": 2}, "b": {}}, "environment": "dev"}),
            ),
            group(3, ROOT, json!(null), json!({})),
            group(4, &id(3), json!(["=", "name", "db"]), json!({})),
        ]);
        let web1 = classify(&forest, "web1").unwrap();
        assert_eq!((web1.groups, web1.environment.as_str()), (vec![ROOT.to_owned(), id(1)], "production"));
        let web2 = classify(&forest, "web2").unwrap();
        assert_eq!(web2.groups, [ROOT.to_owned(), id(1), id(2)]);
        assert_eq!(web2.environment, "dev");
        assert_eq!(web2.classes, object(json!({"a": {"x": 2, "y": 1}, "b": {}})));
        assert_eq!(web2.variables, object(json!({"v": 1})));
        assert_eq!(classify(&forest, "x2").unwrap().groups, [ROOT], "it does not pass the rule above");
        assert_eq!(classify(&forest, "db").unwrap().groups, [ROOT.to_owned(), id(4)], "no rule above is none to pass");
        assert_eq!(forest.whole_rule(&id(3)), None);
        let whole = json!(["and", ["~", "name", "2$"], ["~", "name", "^web"], ["and", ["~", "name", ".*"]]]);
        assert_eq!(forest.whole_rule(&id(2)), Some(whole));
        assert_eq!(forest.with_inherited(forest.group(&id(2)).unwrap()).classes, web2.classes);
    }

    #[test]
    fn disagreement_is_a_conflict_unless_one_trumps() {
        let everybody = || json!(["~", "name", "."]);
        let first = group(
            1,
            ROOT,
            everybody(),
            json!({"environment": "one", "classes": {"a": {"x": 1}}, "variables": {"v": 1}}),
        );
        let second = group(
            2,
            ROOT,
            everybody(),
            json!({"environment": "two", "classes": {"a": {"x": 2}}, "variables": {"v": 1}}),
        );
        let forest = Forest::new(vec![first.clone(), second.clone()]);
        let error = classify(&forest, "n").unwrap_err();
        assert_eq!((error.kind(), error.status()), ("classification-conflict", 500));
        let both = |a: Value, b: Value| json!([{"value": a, "from": first, "defined_by": first}, {"value": b, "from": second, "defined_by": second}]);
        let expected =
            json!({"environment": both("one".into(), "two".into()), "classes": {"a": {"x": both(1.into(), 2.into())}}});
        assert_eq!(error.details(), expected);
        let second = second.changed(&json!({"environment_trumps": true, "classes": {"a": null}})).unwrap();
        let classified = classify(&Forest::new(vec![first, second]), "n").unwrap();
        assert_eq!((classified.environment.as_str(), classified.classes), ("two", object(json!({"a": {"x": 1}}))));
    }
}
