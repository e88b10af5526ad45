//! Roles: named sets of permissions, and those that are there from the start.

use super::permission::{Action, EVERY, Grant};

/// Number of the role that may do everything, as Puppet Enterprise has it.
pub const ADMINISTRATORS: i64 = 1;

/// A role as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Its number.
    pub id: i64,
    /// Its name; no two have the same.
    pub display_name: String,
    /// For people; may be empty.
    pub description: String,
    /// What its members may do.
    pub permissions: Vec<Grant>,
}

/// The roles of Puppet Enterprise that mean something here, with its numbers.
pub fn defaults() -> Vec<Role> {
    use Action::{NodeGroupsView, NodesViewData, OrchestratorView, PuppetAgentRun};
    let role = |id, name: &str, description: &str, actions: &[Action]| Role {
        id,
        display_name: name.to_owned(),
        description: description.to_owned(),
        permissions: actions.iter().map(|action| Grant::new(*action, EVERY)).collect(),
    };
    vec![
        role(ADMINISTRATORS, "Administrators", "May do everything", Action::ALL),
        role(
            2,
            "Operators",
            "Run Puppet, see and stop jobs",
            &[OrchestratorView, PuppetAgentRun, NodesViewData, NodeGroupsView],
        ),
        role(3, "Viewers", "See and stop jobs, see nodes", &[OrchestratorView, NodesViewData, NodeGroupsView]),
        role(4, "Code Deployers", "Deploy code; this server has no such service", &[]),
        role(5, "Project Deployers", "See and stop jobs", &[OrchestratorView]),
    ]
}
