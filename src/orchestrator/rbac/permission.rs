//! What a user may be allowed to do, in the words of Puppet Enterprise's RBAC API v1 (`object_type`, `action`,
//! `instance`), and the pure question whether some grants are enough. Nothing is matched by a part of a name: an instance
//! is the one that was named, or `*` for all of them.

use serde::{Deserialize, Serialize};

use crate::orchestrator::model::Scope;

/// The instance that stands for all of them.
pub const EVERY: &str = "*";

/// What the instances of an action are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// There is only [`EVERY`].
    None,
    /// Each has a name, and there is [`EVERY`].
    Named,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = ($object:literal, $action:literal, $instances:ident, $display:literal),)+) => {
        /// Something that can be allowed: an action on a type of object.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[$doc])* $variant,)+ }

        impl Action {
            /// All of them, those of a type side by side.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The type of the objects.
            pub const fn object_type(self) -> &'static str {
                match self { $(Self::$variant => $object,)+ }
            }

            /// What is done to them.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $action,)+ }
            }

            /// What can be named.
            pub const fn instances(self) -> Instances {
                match self { $(Self::$variant => Instances::$instances,)+ }
            }

            /// What people call it.
            pub const fn display_name(self) -> &'static str {
                match self { $(Self::$variant => $display,)+ }
            }
        }
    };
}

actions! {
    /// Jobs, tasks and the inventory may be seen, jobs stopped.
    OrchestratorView = ("orchestrator", "view", None, "Start, stop and view jobs"),
    /// Puppet may be run.
    PuppetAgentRun = ("puppet_agent", "run", None, "Run Puppet on agent nodes"),
    /// A task may be run; the instance is its name, or the number of a task target.
    TasksRun = ("tasks", "run", Named, "Run tasks"),
    /// A plan may be run; the instance is its name.
    PlansRun = ("plans", "run", Named, "Run plans"),
    /// A scope may be a query.
    NodesViewData = ("nodes", "view_data", None, "View node data"),
    /// A node group may be seen and be a scope; the instance is its UUID.
    NodeGroupsView = ("node_groups", "view", Named, "View node groups"),
    /// Node groups may be made, changed and removed; the instance is the UUID of the parent.
    NodeGroupsModifyChildren = ("node_groups", "modify_children", Named, "Create, edit and delete child groups"),
    /// Somebody else's scheduled jobs may be removed; the instance is the user's UUID.
    ScheduledJobsDelete = ("scheduled_jobs", "delete", Named, "Delete another user's scheduled jobs"),
    /// Servers may be named that are told of events; nothing of Puppet Enterprise.
    WebhooksManage = ("webhooks", "manage", None, "Manage webhooks"),
    /// Users may be made.
    UsersCreate = ("users", "create", None, "Create users"),
    /// A user's name and address may be changed; the instance is the UUID.
    UsersEdit = ("users", "edit", Named, "Edit users"),
    /// A user may be revoked and reinstated, and tokens revoked; the instance is the UUID.
    UsersDisable = ("users", "disable", Named, "Revoke users and their tokens"),
    /// A user's password may be reset; the instance is the UUID.
    UsersResetPassword = ("users", "reset_password", Named, "Reset the passwords of users"),
    /// A user may be removed; the instance is the UUID.
    UsersDelete = ("users", "delete", Named, "Delete users"),
    /// Roles may be made.
    UserRolesCreate = ("user_roles", "create", None, "Create roles"),
    /// What a role allows may be changed; the instance is its number.
    UserRolesEdit = ("user_roles", "edit", Named, "Edit roles"),
    /// Users may be given a role and lose it; the instance is its number.
    UserRolesEditMembers = ("user_roles", "edit_members", Named, "Edit the members of roles"),
    /// A role may be removed; the instance is its number.
    UserRolesDelete = ("user_roles", "delete", Named, "Delete roles"),
}

impl Action {
    /// The action with these names.
    pub fn from_names(object_type: &str, name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.object_type() == object_type && action.name() == name)
    }
}

/// One permission that a role gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Grant {
    /// What.
    pub action: Action,
    /// On what: a name or [`EVERY`].
    pub instance: String,
    /// On which nodes; `None` is all. Only [`Action::TasksRun`] has it.
    pub scope: Option<Scope>,
}

impl Grant {
    /// Without a limit to nodes.
    pub fn new(action: Action, instance: impl Into<String>) -> Self {
        Self { action, instance: instance.into(), scope: None }
    }

    fn names(&self, action: Action, instance: &str) -> bool {
        self.action == action && (self.instance == EVERY || self.instance == instance)
    }
}

/// As the API and the store write it.
#[derive(Serialize, Deserialize)]
struct Written {
    object_type: String,
    action: String,
    instance: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
}

impl From<Grant> for Written {
    fn from(grant: Grant) -> Self {
        let Grant { action, instance, scope } = grant;
        Self { object_type: action.object_type().to_owned(), action: action.name().to_owned(), instance, scope }
    }
}

impl TryFrom<Written> for Grant {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { object_type, action, instance, scope } = written;
        let Some(known) = Action::from_names(&object_type, &action) else {
            return Err(format!("there is no permission {object_type:?}:{action:?}; GET /rbac-api/v1/types names all"));
        };
        if instance.is_empty() {
            return Err(format!("the instance of {object_type}:{action} is empty; give a name or *"));
        }
        if known.instances() == Instances::None && instance != EVERY {
            return Err(format!("{object_type}:{action} has no instances; give * instead of {instance:?}"));
        }
        if scope.is_some() && (known != Action::TasksRun || task_target(&instance).is_some()) {
            return Err(format!("{object_type}:{action} on {instance:?} cannot be limited to nodes; leave scope out"));
        }
        Ok(Self { action: known, instance, scope })
    }
}

/// Whether somebody with these grants may do this, everywhere.
pub fn permits(grants: &[Grant], action: Action, instance: &str) -> bool {
    grants.iter().any(|grant| grant.scope.is_none() && grant.names(action, instance))
}

/// Whether somebody with these grants may do this to anything at all.
pub fn permits_any(grants: &[Grant], action: Action) -> bool {
    grants.iter().any(|grant| grant.action == action)
}

/// On which nodes a task may be run.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach<'a> {
    /// On all.
    Everywhere,
    /// On those of these scopes, and on those of these task targets if the task is one of theirs. None of both is nowhere.
    Within {
        /// Limits of grants.
        scopes: Vec<&'a Scope>,
        /// Numbers of task targets.
        targets: Vec<i64>,
    },
}

/// Where somebody with these grants may run a task.
pub fn reach<'a>(grants: &'a [Grant], task: &str) -> Reach<'a> {
    if permits(grants, Action::TasksRun, task) {
        return Reach::Everywhere;
    }
    let tasks = grants.iter().filter(|grant| grant.action == Action::TasksRun);
    let scopes = tasks.clone().filter(|grant| grant.names(Action::TasksRun, task));
    Reach::Within {
        scopes: scopes.filter_map(|grant| grant.scope.as_ref()).collect(),
        targets: tasks.filter_map(|grant| task_target(&grant.instance)).collect(),
    }
}

/// The number of a task target, if the instance is one: no task's name begins with a digit.
fn task_target(instance: &str) -> Option<i64> {
    let is_number = !instance.is_empty() && instance.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| instance.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn action() -> impl Strategy<Value = Action> {
        proptest::sample::select(Action::ALL)
    }

    fn instance() -> impl Strategy<Value = String> {
        prop_oneof![Just(EVERY.to_owned()), "[a-c]{1,2}(::[a-c]{1,2})?", "[0-9]{1,2}"]
    }

    fn grants() -> impl Strategy<Value = Vec<Grant>> {
        let scope = proptest::option::of(Just(Scope::Nodes(vec!["web1".into()])));
        let grant =
            (action(), instance(), scope).prop_map(|(action, instance, scope)| Grant { action, instance, scope });
        proptest::collection::vec(grant, 0..6)
    }

    proptest! {
        #[test]
        fn only_the_very_words_or_the_star_are_enough(grants in grants(), action in action(), instance in instance()) {
            let same = |grant: &Grant| {
                grant.scope.is_none() && grant.action == action && (grant.instance == instance || grant.instance == "*")
            };
            prop_assert_eq!(permits(&grants, action, &instance), grants.iter().any(same));
        }

        #[test]
        fn a_grant_more_never_takes_anything_away(
            mut grants in grants(), more in grants(), action in action(), instance in instance()
        ) {
            let before = permits(&grants, action, &instance);
            grants.extend(more);
            prop_assert!(!before || permits(&grants, action, &instance));
        }

        #[test]
        fn the_star_is_asked_for_by_the_star_only(name in "[a-z]{1,5}", action in action()) {
            prop_assert!(!permits(&[Grant::new(action, name)], action, EVERY));
        }

        #[test]
        fn no_part_of_a_name_is_enough(name in "[a-z]{1,4}(::[a-z]{1,4})?", more in "[a-z:*0-9]{1,3}") {
            let grants = [Grant::new(Action::TasksRun, name.clone())];
            for other in [format!("{name}{more}"), format!("{more}{name}")] {
                prop_assert!(!permits(&grants, Action::TasksRun, &other));
                prop_assert_eq!(reach(&grants, &other), Reach::Within { scopes: vec![], targets: vec![] });
            }
        }

        #[test]
        fn who_reaches_everything_is_permitted(grants in grants(), task in "[a-c]{1,2}(::[a-c]{1,2})?") {
            prop_assert_eq!(reach(&grants, &task) == Reach::Everywhere, permits(&grants, Action::TasksRun, &task));
        }
    }

    #[test]
    fn limits_to_nodes_are_gathered() {
        let web = Scope::Nodes(vec!["web1".into()]);
        let limited = |instance: &str| Grant { scope: Some(web.clone()), ..Grant::new(Action::TasksRun, instance) };
        let grants =
            [limited("package"), limited("*"), Grant::new(Action::TasksRun, "7"), Grant::new(Action::PlansRun, "8")];
        assert_eq!(reach(&grants, "package"), Reach::Within { scopes: vec![&web, &web], targets: vec![7] });
        assert_eq!(reach(&grants, "service"), Reach::Within { scopes: vec![&web], targets: vec![7] });
        assert_eq!(reach(&[Grant::new(Action::TasksRun, "service")], "service"), Reach::Everywhere);
        assert!(permits_any(&grants, Action::TasksRun) && !permits(&grants, Action::TasksRun, "package"));
    }

    #[test]
    fn written_and_read_again() {
        let grant = Grant { scope: Some(Scope::Query(json!("nodes {}"))), ..Grant::new(Action::TasksRun, "package") };
        let written = serde_json::to_value(&grant).unwrap();
        let expected =
            json!({"object_type": "tasks", "action": "run", "instance": "package", "scope": {"query": "nodes {}"}});
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_value::<Grant>(written).unwrap(), grant);
        let refused = |written: Value| serde_json::from_value::<Grant>(written).unwrap_err().to_string();
        let cases = [
            (json!({"object_type": "tasks", "action": "walk", "instance": "*"}), "there is no permission"),
            (json!({"object_type": "tasks", "action": "run", "instance": ""}), "is empty"),
            (json!({"object_type": "puppet_agent", "action": "run", "instance": "web1"}), "has no instances"),
            (
                json!({"object_type": "plans", "action": "run", "instance": "x", "scope": {"nodes": []}}),
                "cannot be limited",
            ),
            (json!({"object_type": "tasks", "action": "run", "instance": "7", "scope": {"nodes": []}}), "cannot be"),
        ];
        for (written, reason) in cases {
            assert!(refused(written.clone()).contains(reason), "{written}");
        }
    }

    #[test]
    fn no_two_actions_have_one_name() {
        for action in Action::ALL {
            assert_eq!(Action::from_names(action.object_type(), action.name()), Some(*action));
        }
    }
}
