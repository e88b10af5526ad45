//! What every request needs: one table of methods and paths. A path that is not in it is not there, whatever the router
//! knows, so that nothing is open because it was forgotten.

use super::access::Kind::{Change, Question};
use super::access::Need::{Certificate, Nothing, Permission, SomePermission, Somebody, SomebodyOrCertificate};
use crate::orchestrator::rbac::permission::Action;

/// Who is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Everybody.
    Nothing,
    /// Whoever has a certificate of our CA.
    Certificate,
    /// A user.
    Somebody,
    /// Either of them.
    SomebodyOrCertificate,
    /// A user who may do this to everything.
    Permission(Action),
    /// A user who may do this to something; the handler asks to what.
    SomePermission(Action),
}

/// Whether it is noted in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is not: nothing changes.
    Question,
    /// It is.
    Change,
}

/// A line of the table: methods (`*` is all), path, who, kind.
type Line = (&'static str, &'static str, Need, Kind);

/// Every path that there is; `{name}` is one part of a path, `{*name}` the rest.
#[rustfmt::skip]
pub(super) const TABLE: &[Line] = &[
    ("GET", "/orchestrator", Somebody, Question),
    ("GET", "/orchestrator/v1", Somebody, Question),
    ("GET", "/orchestrator/v1/", Somebody, Question),
    ("GET", "/orchestrator/v1/openapi.json", Nothing, Question),
    ("GET", "/orchestrator/v1/status", Somebody, Question),
    ("POST", "/orchestrator/v1/command/deploy", Permission(Action::PuppetAgentRun), Change),
    ("POST", "/orchestrator/v1/command/deploy_plan", Permission(Action::PuppetAgentRun), Question),
    ("POST", "/orchestrator/v1/command/stop", Permission(Action::OrchestratorView), Change),
    ("POST", "/orchestrator/v1/command/stop_plan", Permission(Action::OrchestratorView), Change),
    ("POST", "/orchestrator/v1/command/task", SomePermission(Action::TasksRun), Change),
    ("POST", "/orchestrator/v1/command/task_target", Permission(Action::TasksRun), Change),
    ("POST", "/orchestrator/v1/command/plan_run", SomePermission(Action::PlansRun), Change),
    ("POST", "/orchestrator/v1/command/environment_plan_run", SomePermission(Action::PlansRun), Change),
    ("POST", "/orchestrator/v1/command/schedule_deploy", Permission(Action::PuppetAgentRun), Change),
    ("POST", "/orchestrator/v1/command/schedule_task", SomePermission(Action::TasksRun), Change),
    ("POST", "/orchestrator/v1/command/schedule_plan", SomePermission(Action::PlansRun), Change),
    ("POST", "/orchestrator/v1/command/plan_start", SomePermission(Action::TasksRun), Change),
    ("POST", "/orchestrator/v1/command/plan_task", SomePermission(Action::TasksRun), Change),
    ("POST", "/orchestrator/v1/command/plan_finish", SomePermission(Action::TasksRun), Change),
    ("GET", "/orchestrator/v1/jobs", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/jobs/{id}", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/jobs/{id}/nodes", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/jobs/{id}/report", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/jobs/{id}/events", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/jobs/{id}/events/stream", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/events/stream", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/plan_jobs", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/plan_jobs/{id}", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/plan_jobs/{id}/events", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/plan_jobs/{id}/event/{event}", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/scheduled_jobs", Permission(Action::OrchestratorView), Question),
    // Whose it is, and whether it may be removed, is known to the handler only; the same goes for what it will run.
    ("DELETE", "/orchestrator/v1/scheduled_jobs/{id}", Somebody, Change),
    ("GET", "/orchestrator/v1/scheduled_jobs/environment_jobs", Permission(Action::OrchestratorView), Question),
    ("POST", "/orchestrator/v1/scheduled_jobs/environment_jobs", Somebody, Change),
    ("GET", "/orchestrator/v1/scheduled_jobs/environment_jobs/{id}", Permission(Action::OrchestratorView), Question),
    ("PUT", "/orchestrator/v1/scheduled_jobs/environment_jobs/{id}", Somebody, Change),
    ("GET", "/orchestrator/v1/plans", Somebody, Question),
    ("GET", "/orchestrator/v1/plans/{module}/{plan}", Somebody, Question),
    ("GET", "/orchestrator/v1/tasks", Somebody, Question),
    ("GET", "/orchestrator/v1/tasks/{module}/{task}", Somebody, Question),
    ("GET", "/orchestrator/v1/inventory", Permission(Action::OrchestratorView), Question),
    ("POST", "/orchestrator/v1/inventory", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/inventory/{node}", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/usage", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/scopes/task_targets", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/scopes/task_targets/{id}", Permission(Action::OrchestratorView), Question),
    ("GET", "/orchestrator/v1/environments", Somebody, Question),
    ("GET", "/orchestrator/v1/environments/{environment}", Somebody, Question),
    ("GET", "/orchestrator/v1/environments/{environment}/applications", Somebody, Question),
    // Names of nodes are in it, as in the inventory.
    ("GET", "/orchestrator/v1/environments/{environment}/instances", Permission(Action::OrchestratorView), Question),
    // A group shows the rules of those above it: whoever may see only some of them may name those in a scope.
    ("GET", "/classifier-api/v1/groups", Permission(Action::NodeGroupsView), Question),
    ("GET", "/classifier-api/v1/groups/{id}", Permission(Action::NodeGroupsView), Question),
    ("POST", "/classifier-api/v1/groups", Permission(Action::NodeGroupsModifyChildren), Change),
    ("POST,PUT,DELETE", "/classifier-api/v1/groups/{id}", Permission(Action::NodeGroupsModifyChildren), Change),
    ("GET", "/classifier-api/v1/groups/{id}/rules", Permission(Action::NodeGroupsView), Question),
    ("POST", "/classifier-api/v1/classified/nodes/{name}", Permission(Action::NodeGroupsView), Question),
    ("GET", "/classifier-api/v1/environments", SomePermission(Action::NodeGroupsView), Question),
    ("GET", "/classifier-api/v1/environments/{name}", SomePermission(Action::NodeGroupsView), Question),
    ("POST", "/classifier-api/v1/rules/translate", SomePermission(Action::NodeGroupsView), Question),
    ("POST", "/rbac-api/v1/auth/token", Nothing, Change),
    ("POST", "/rbac-api/v1/auth/reset", Nothing, Change),
    ("POST", "/rbac-api/v2/auth/token/authenticate", Nothing, Question),
    ("POST", "/rbac-api/v1/tokens", Somebody, Change),
    ("DELETE", "/rbac-api/v2/tokens", Somebody, Change),
    ("DELETE", "/rbac-api/v2/tokens/{token}", Somebody, Change),
    ("GET", "/rbac-api/v1/users", Somebody, Question),
    ("POST", "/rbac-api/v1/users", Permission(Action::UsersCreate), Change),
    ("GET", "/rbac-api/v1/users/current", Somebody, Question),
    ("PUT", "/rbac-api/v1/users/current/password", Somebody, Change),
    ("GET", "/rbac-api/v1/users/{id}", Somebody, Question),
    ("PUT", "/rbac-api/v1/users/{id}", Somebody, Change),
    ("DELETE", "/rbac-api/v1/users/{id}", SomePermission(Action::UsersDelete), Change),
    ("POST", "/rbac-api/v1/users/{id}/password/reset", SomePermission(Action::UsersResetPassword), Change),
    ("GET", "/rbac-api/v1/roles", Somebody, Question),
    ("POST", "/rbac-api/v1/roles", Permission(Action::UserRolesCreate), Change),
    ("GET", "/rbac-api/v1/roles/{id}", Somebody, Question),
    ("PUT", "/rbac-api/v1/roles/{id}", Somebody, Change),
    ("DELETE", "/rbac-api/v1/roles/{id}", SomePermission(Action::UserRolesDelete), Change),
    ("GET", "/rbac-api/v1/types", Somebody, Question),
    ("POST", "/rbac-api/v1/permitted", Somebody, Question),
    ("GET", "/rbac-api/v1/permitted/{type}/{action}", Somebody, Question),
    ("GET", "/rbac-api/v1/permitted/{type}/{action}/{user}", Somebody, Question),
    ("GET", "/podium/v1/webhooks", Permission(Action::WebhooksManage), Question),
    ("POST", "/podium/v1/webhooks", Permission(Action::WebhooksManage), Change),
    ("GET", "/podium/v1/webhooks/{id}", Permission(Action::WebhooksManage), Question),
    ("DELETE", "/podium/v1/webhooks/{id}", Permission(Action::WebhooksManage), Change),
    ("POST", "/podium/v1/webhooks/{id}/test", Permission(Action::WebhooksManage), Change),
    ("POST", "/podium/v1/webhooks/{id}/resume", Permission(Action::WebhooksManage), Change),
    ("GET", "/status/v1/services", Nothing, Question),
    ("GET", "/status/v1/services/{name}", Nothing, Question),
    ("GET", "/status/v1/simple", Nothing, Question),
    ("GET", "/status/v1/simple/{name}", Nothing, Question),
    ("GET", "/metrics", SomebodyOrCertificate, Question),
    // The handler wants a certificate that is named in the configuration.
    ("*", "/server", Nothing, Question),
    ("*", "/server/", Nothing, Question),
    ("*", "/server/{client_type}", Nothing, Question),
    ("GET", "/puppet/v3/file_content/{*mount_path}", Certificate, Question),
];

/// What the table says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listed {
    /// It is answered.
    As {
        /// Its path in the table.
        path: &'static str,
        /// Who is answered.
        need: Need,
        /// Whether it is noted.
        kind: Kind,
    },
    /// The path is there, with these methods.
    OtherMethods(String),
    /// Nothing.
    Nowhere {
        /// Who is told so.
        need: Need,
    },
}

/// Looks a request up.
pub(super) fn look_up(method: &str, path: &str) -> Listed {
    let method = if method == "HEAD" { "GET" } else { method };
    // Where a name and a placeholder both fit, the router takes the name; so does whoever asks for most of it by name.
    let most = TABLE.iter().filter(|line| fits(line.1, path)).map(|line| names(line.1)).max();
    let mut found = TABLE.iter().filter(|line| fits(line.1, path) && Some(names(line.1)) == most);
    if most.is_none() {
        return Listed::Nowhere { need: need_of(path) };
    }
    let has_method = |listed: &str| listed == method || listed == "*";
    match found.clone().find(|line| line.0.split(',').any(has_method)) {
        Some((_, path, need, kind)) => Listed::As { path, need: *need, kind: *kind },
        None => {
            let mut methods: Vec<&str> = found.by_ref().flat_map(|line| line.0.split(',')).collect();
            if let Some(get) = methods.iter().position(|method| *method == "GET") {
                methods.insert(get + 1, "HEAD");
            }
            Listed::OtherMethods(methods.join(","))
        }
    }
}

/// Who is told that a path, or a method of a path, is not there.
pub(super) fn need_of(path: &str) -> Need {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match path {
        "/rbac-api/v1/auth/token" | "/rbac-api/v1/auth/reset" | "/rbac-api/v2/auth/token/authenticate" => Nothing,
        _ if ["/orchestrator", "/rbac-api", "/classifier-api", "/podium"].into_iter().any(below) => Somebody,
        _ if below("/puppet") => Certificate,
        _ => Nothing,
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (mut parts, mut asked) = (template.split('/'), path.split('/'));
    loop {
        match (parts.next(), asked.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part.starts_with("{*") => return !given.is_empty() || asked.next().is_some(),
            (Some(part), Some(given)) if part.starts_with('{') && !given.is_empty() => {}
            (Some(part), Some(given)) if part == given => {}
            _ => return false,
        }
    }
}

fn names(template: &str) -> usize {
    template.split('/').filter(|part| !part.starts_with('{')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(method: &str, asked: &str) -> Option<&'static str> {
        match look_up(method, asked) {
            Listed::As { path, .. } => Some(path),
            _ => None,
        }
    }

    #[test]
    fn paths_are_matched_whole() {
        assert_eq!(path("GET", "/orchestrator/v1/jobs/7"), Some("/orchestrator/v1/jobs/{id}"));
        assert_eq!(path("HEAD", "/orchestrator/v1/jobs"), Some("/orchestrator/v1/jobs"));
        assert_eq!(path("GET", "/rbac-api/v1/users/current"), Some("/rbac-api/v1/users/current"));
        assert_eq!(path("GET", "/rbac-api/v1/users/currently"), Some("/rbac-api/v1/users/{id}"));
        let files = "/puppet/v3/file_content/{*mount_path}";
        assert_eq!(path("GET", "/puppet/v3/file_content/tasks/demo/a%20b"), Some(files));
        for nothing in ["/orchestrator/v1/jobs/", "/orchestrator/v1/jobs/7/", "/orchestrator/v1/job", "/", "", "/x"] {
            assert_eq!(path("GET", nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_not_listed_is_told_to_users_only() {
        assert_eq!(look_up("GET", "/orchestrator/v1/nosuch"), Listed::Nowhere { need: Somebody });
        assert_eq!(look_up("GET", "/orchestratorx"), Listed::Nowhere { need: Nothing });
        assert_eq!(look_up("GET", "/puppet/v3/catalog/x"), Listed::Nowhere { need: Certificate });
        assert_eq!(look_up("PUT", "/orchestrator/v1/inventory"), Listed::OtherMethods("GET,HEAD,POST".into()));
        // The name wins, even if only the placeholder has the method.
        assert_eq!(look_up("DELETE", "/rbac-api/v1/users/current"), Listed::OtherMethods("GET,HEAD".into()));
    }

    /// Routes are in one file and what they need in this one.
    #[test]
    fn every_route_is_listed() {
        let text = include_str!("routes.rs");
        let mut routes = 0;
        for line in text.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
            let (path, handlers) = line.split_once("\", ").expect("a route is on one line");
            let words = [("get(", "GET"), ("post(", "POST"), ("put(", "PUT"), ("delete(", "DELETE"), ("any(", "*")];
            let methods: Vec<_> = words.iter().filter(|(word, _)| handlers.contains(word)).collect();
            assert!(!methods.is_empty(), "{line}: no method is found");
            for (_, method) in methods {
                let listed =
                    TABLE.iter().any(|line| line.1 == path && line.0.split(',').any(|listed| listed == *method));
                assert!(listed, "src/api/access.rs says nothing of {method} {path}; add what it needs");
            }
            routes += 1;
        }
        assert!(routes > 20, "the routes are not found any more");
    }

    #[test]
    fn no_line_is_there_twice() {
        let mut seen = std::collections::HashSet::new();
        for (methods, path, _, _) in TABLE {
            for method in methods.split(',') {
                assert!(seen.insert((method, path)), "{method} {path}");
            }
        }
    }
}
