//! What is asked and answered at each path.

/// A method at a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// As in the table of `access`.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Param],
    /// The schema of the request's body.
    pub(super) body: Option<&'static str>,
    /// Status, and what the answer has in it: see [`super::content`].
    pub(super) answers: &'static [(u16, &'static str)],
}

/// A parameter of the query.
pub(super) struct Param {
    pub(super) name: &'static str,
    /// A type, or `enum:` and its words.
    pub(super) schema: &'static str,
}

const fn param(name: &'static str, schema: &'static str) -> Param {
    Param { name, schema }
}

/// Of a question.
const fn get(
    path: &'static str,
    summary: &'static str,
    query: &'static [Param],
    answers: &'static [(u16, &'static str)],
) -> Operation {
    Operation { method: "GET", path, summary, query, body: None, answers }
}

/// Of everything else.
const fn other(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    body: &'static str,
    answers: &'static [(u16, &'static str)],
) -> Operation {
    let body = if body.is_empty() { None } else { Some(body) };
    Operation { method, path, summary, query: &[], body, answers }
}

const ENVIRONMENT: &[Param] = &[param("environment", "string")];
const START: &[Param] = &[param("start", "integer")];
const LEVEL: &[Param] = &[param("level", "enum:critical|info|debug"), param("timeout", "integer")];
const JOBS: &[Param] = &[
    param("limit", "integer"),
    param("offset", "integer"),
    param("order_by", "enum:owner|timestamp|environment|name|state"),
    param("order", "enum:asc|desc"),
    param(
        "type",
        "enum:deploy|task|plan_task|plan_script|plan_upload|plan_command|plan_wait|plan_apply|plan_apply_prep",
    ),
    param("task", "string"),
    param("min_finish_timestamp", "time"),
    param("max_finish_timestamp", "time"),
];
const NODES: &[Param] = &[
    param("limit", "integer"),
    param("offset", "integer"),
    param("order_by", "enum:name|duration|state|start_timestamp|finish_timestamp"),
    param("order", "enum:asc|desc"),
    param("state", "enum:new|ready|running|stopping|stopped|finished|failed|errored|skipped"),
];
const PLAN_JOBS: &[Param] = &[
    param("limit", "integer"),
    param("offset", "integer"),
    param("order_by", "enum:owner|timestamp|environment|name|state"),
    param("order", "enum:asc|desc"),
    param("results", "enum:include|exclude"),
    param("min_finish_timestamp", "time"),
    param("max_finish_timestamp", "time"),
];
const SCHEDULES: &[Param] = &[
    param("limit", "integer"),
    param("offset", "integer"),
    param("order_by", "enum:next_run_time|environment|owner|name|type"),
    param("order", "enum:asc|desc"),
    param("type", "enum:deploy|task|plan"),
];
const USAGE: &[Param] =
    &[param("start_date", "string"), param("end_date", "string"), param("events", "enum:include|exclude")];
const REVOKE: &[Param] = &[
    param("revoke_tokens", "string"),
    param("revoke_tokens_by_usernames", "string"),
    param("revoke_tokens_by_labels", "string"),
    param("revoke_tokens_by_ids", "string"),
];

/// All of them, in groups.
pub(super) fn all() -> impl Iterator<Item = &'static Operation> {
    [ORCHESTRATOR, CLASSIFIER, RBAC, REST].into_iter().flatten()
}

/// The one at a path of the table.
pub(super) fn operation(method: &str, path: &str) -> Option<&'static Operation> {
    all().find(|operation| operation.method == method && operation.path == path)
}

#[rustfmt::skip]
const ORCHESTRATOR: &[Operation] = &[
    get("/orchestrator", "What there is", &[], &[(200, "Root")]),
    get("/orchestrator/v1", "What there is", &[], &[(200, "Root")]),
    get("/orchestrator/v1/", "What there is", &[], &[(200, "Root")]),
    get("/orchestrator/v1/openapi.json", "This document", &[], &[(200, "document")]),
    get("/orchestrator/v1/status", "How the services are", LEVEL, &[(200, "Services"), (503, "Services")]),
    other("POST", "/orchestrator/v1/command/task", "Runs a task", "TaskCommand", &[(202, "Accepted")]),
    other("POST", "/orchestrator/v1/command/deploy", "Runs Puppet", "DeployCommand", &[(202, "Accepted")]),
    other("POST", "/orchestrator/v1/command/deploy_plan", "In which order Puppet would run; nothing is run", "DeployCommand", &[(200, "RunOrder")]),
    other("POST", "/orchestrator/v1/command/schedule_deploy", "Schedules a run of Puppet", "ScheduleCommand", &[(202, "ScheduleAccepted")]),
    other("POST", "/orchestrator/v1/command/schedule_task", "Schedules a task", "ScheduleCommand", &[(202, "ScheduleAccepted")]),
    get("/orchestrator/v1/scheduled_jobs", "Scheduled jobs, as earlier versions list them", &[], &[(200, "EarlierSchedules")]),
    other("DELETE", "/orchestrator/v1/scheduled_jobs/{id}", "Ends a scheduled job", "", &[(204, "")]),
    get("/orchestrator/v1/scheduled_jobs/environment_jobs", "Scheduled jobs", SCHEDULES, &[(200, "Schedules")]),
    other("POST", "/orchestrator/v1/scheduled_jobs/environment_jobs", "Schedules a task or a run of Puppet", "ScheduleCommand", &[(200, "ScheduleAccepted")]),
    get("/orchestrator/v1/scheduled_jobs/environment_jobs/{id}", "A scheduled job", &[], &[(200, "Schedule")]),
    other("PUT", "/orchestrator/v1/scheduled_jobs/environment_jobs/{id}", "Changes or ends a scheduled job", "ScheduleCommand", &[(200, "ScheduleAccepted")]),
    get("/orchestrator/v1/usage", "Nodes of each day, and what was done on them", USAGE, &[(200, "Usage")]),
    other("POST", "/orchestrator/v1/command/stop", "Stops a job", "StopCommand", &[(202, "Stopped")]),
    other("POST", "/orchestrator/v1/command/task_target", "Names tasks and nodes for roles", "TaskTargetCommand", &[(200, "TaskTargetMade")]),
    other("POST", "/orchestrator/v1/command/plan_start", "Starts the job of a plan that runs elsewhere", "PlanStartCommand", &[(202, "Named")]),
    other("POST", "/orchestrator/v1/command/plan_task", "Runs a task for a plan", "TaskCommand", &[(202, "Accepted")]),
    other("POST", "/orchestrator/v1/command/plan_finish", "Ends the job of a plan", "PlanFinishCommand", &[(202, "Anything")]),
    get("/orchestrator/v1/jobs", "Jobs", JOBS, &[(200, "Jobs")]),
    get("/orchestrator/v1/jobs/{id}", "A job", &[], &[(200, "Job")]),
    get("/orchestrator/v1/jobs/{id}/nodes", "A job's nodes and their results", NODES, &[(200, "Nodes")]),
    get("/orchestrator/v1/jobs/{id}/report", "A job's nodes", &[], &[(200, "Report")]),
    get("/orchestrator/v1/jobs/{id}/events", "A job's events from a number on", START, &[(200, "Events")]),
    get("/orchestrator/v1/jobs/{id}/events/stream", "A job's events as they happen, as server-sent events", START, &[(200, "events"), (204, "")]),
    get("/orchestrator/v1/events/stream", "The events of all jobs as they happen, as server-sent events", START, &[(200, "events")]),
    get("/orchestrator/v1/plan_jobs", "Jobs of plans", PLAN_JOBS, &[(200, "PlanJobs")]),
    get("/orchestrator/v1/plan_jobs/{id}", "A job of a plan", &[], &[(200, "PlanJob")]),
    get("/orchestrator/v1/plan_jobs/{id}/events", "A plan's events from a number on", START, &[(200, "PlanEvents")]),
    get("/orchestrator/v1/plan_jobs/{id}/event/{event}", "A plan's event", &[], &[(200, "PlanEvent")]),
    get("/orchestrator/v1/tasks", "Tasks of an environment", ENVIRONMENT, &[(200, "Tasks")]),
    get("/orchestrator/v1/tasks/{module}/{task}", "A task", ENVIRONMENT, &[(200, "Task")]),
    get("/orchestrator/v1/plans", "Plans of an environment", ENVIRONMENT, &[(200, "Plans")]),
    get("/orchestrator/v1/plans/{module}/{plan}", "A plan", ENVIRONMENT, &[(200, "Plan")]),
    get("/orchestrator/v1/inventory", "All nodes, and whether they are connected", &[], &[(200, "Inventory")]),
    other("POST", "/orchestrator/v1/inventory", "Whether these nodes are connected", "InventoryQuestion", &[(200, "Inventory")]),
    get("/orchestrator/v1/inventory/{node}", "Whether a node is connected", &[], &[(200, "InventoryNode")]),
    get("/orchestrator/v1/scopes/task_targets", "Tasks and nodes for roles", &[], &[(200, "TaskTargets")]),
    get("/orchestrator/v1/scopes/task_targets/{id}", "Tasks and nodes for roles", &[], &[(200, "TaskTarget")]),
    get("/orchestrator/v1/environments", "Environments", &[], &[(200, "Environments")]),
    get("/orchestrator/v1/environments/{environment}", "An environment", &[], &[(200, "Environment")]),
    get("/orchestrator/v1/environments/{environment}/applications", "The graph of an environment as an application, if it has one", &[], &[(200, "Applications")]),
    get("/orchestrator/v1/environments/{environment}/instances", "Which nodes' Puppet runs come after which others'", &[], &[(200, "Instances")]),
];

#[rustfmt::skip]
const CLASSIFIER: &[Operation] = &[
    get("/classifier-api/v1/groups", "Node groups", &[param("inherited", "boolean")], &[(200, "Groups")]),
    other("POST", "/classifier-api/v1/groups", "Makes a node group", "Anything", &[(303, "")]),
    get("/classifier-api/v1/groups/{id}", "A node group", &[], &[(200, "Group")]),
    other("PUT", "/classifier-api/v1/groups/{id}", "Makes a node group with this id, or replaces it", "Anything", &[(200, "Group"), (201, "Group")]),
    other("POST", "/classifier-api/v1/groups/{id}", "Changes a node group", "Anything", &[(200, "Group")]),
    other("DELETE", "/classifier-api/v1/groups/{id}", "Removes a node group", "", &[(204, "")]),
    get("/classifier-api/v1/groups/{id}/rules", "A node group's rules", &[], &[(200, "GroupRules")]),
    other("POST", "/classifier-api/v1/classified/nodes/{name}", "The groups, environment and classes of a node", "Anything", &[(200, "Classified")]),
    get("/classifier-api/v1/environments", "Environments", &[], &[(200, "ClassifierEnvironments")]),
    get("/classifier-api/v1/environments/{name}", "An environment", &[], &[(200, "ClassifierEnvironment")]),
    Operation {
        method: "POST", path: "/classifier-api/v1/rules/translate", summary: "A rule as a query",
        query: &[param("format", "enum:nodes|inventory")], body: Some("Anything"), answers: &[(200, "Anything")],
    },
];

#[rustfmt::skip]
const RBAC: &[Operation] = &[
    other("POST", "/rbac-api/v1/auth/token", "A token for a login and a password", "Login", &[(200, "Token")]),
    other("POST", "/rbac-api/v1/auth/reset", "Takes an offer of a new password", "Anything", &[(200, "")]),
    other("POST", "/rbac-api/v2/auth/token/authenticate", "Whose token it is", "TokenQuestion", &[(200, "TokenOwner")]),
    other("POST", "/rbac-api/v1/tokens", "Another token", "TokenWish", &[(200, "Token")]),
    Operation {
        method: "DELETE", path: "/rbac-api/v2/tokens", summary: "Revokes tokens",
        query: REVOKE, body: None, answers: &[(204, "")],
    },
    other("DELETE", "/rbac-api/v2/tokens/{token}", "Revokes a token", "", &[(204, "")]),
    get("/rbac-api/v1/users", "Users", &[param("id", "string")], &[(200, "Users")]),
    other("POST", "/rbac-api/v1/users", "Adds a user", "Anything", &[(303, ""), (201, "User")]),
    get("/rbac-api/v1/users/current", "Who asks", &[], &[(200, "Subject")]),
    other("PUT", "/rbac-api/v1/users/current/password", "Changes the password of who asks", "Anything", &[(204, "")]),
    get("/rbac-api/v1/users/{id}", "A user", &[], &[(200, "User")]),
    other("PUT", "/rbac-api/v1/users/{id}", "Changes a user", "Anything", &[(200, "User")]),
    other("DELETE", "/rbac-api/v1/users/{id}", "Removes a user", "", &[(204, "")]),
    other("POST", "/rbac-api/v1/users/{id}/password/reset", "Offers a new password", "", &[(201, "text")]),
    get("/rbac-api/v1/roles", "Roles", &[param("id", "string")], &[(200, "Roles")]),
    other("POST", "/rbac-api/v1/roles", "Adds a role", "Anything", &[(303, ""), (201, "Role")]),
    get("/rbac-api/v1/roles/{id}", "A role", &[], &[(200, "Role")]),
    other("PUT", "/rbac-api/v1/roles/{id}", "Changes a role", "Anything", &[(200, "Role")]),
    other("DELETE", "/rbac-api/v1/roles/{id}", "Removes a role", "", &[(204, "")]),
    get("/rbac-api/v1/types", "What can be allowed", &[], &[(200, "PermissionTypes")]),
    other("POST", "/rbac-api/v1/permitted", "Whether a user may do these things", "Anything", &[(200, "Booleans")]),
    get("/rbac-api/v1/permitted/{type}/{action}", "To what one may do this", &[], &[(200, "Words")]),
    get("/rbac-api/v1/permitted/{type}/{action}/{user}", "To what a user may do this", &[], &[(200, "Words")]),
];

#[rustfmt::skip]
const REST: &[Operation] = &[
    get("/podium/v1/webhooks", "Who is told of events", &[], &[(200, "Webhooks")]),
    other("POST", "/podium/v1/webhooks", "Names a server that is told of events", "WebhookCommand", &[(201, "WebhookMade")]),
    get("/podium/v1/webhooks/{id}", "A webhook", &[], &[(200, "Webhook")]),
    other("DELETE", "/podium/v1/webhooks/{id}", "Removes a webhook", "", &[(204, "")]),
    other("POST", "/podium/v1/webhooks/{id}/test", "Tries a webhook out", "", &[(200, "WebhookTested")]),
    other("POST", "/podium/v1/webhooks/{id}/resume", "Tries a webhook that has failed again", "", &[(200, "Webhook")]),
    get("/status/v1/services", "How the services are", LEVEL, &[(200, "Services"), (503, "Services")]),
    get("/status/v1/services/{name}", "How a service is", LEVEL, &[(200, "Service"), (503, "Service")]),
    get("/status/v1/simple", "How the services are, in a word", &[], &[(200, "text"), (503, "text")]),
    get("/status/v1/simple/{name}", "How a service is, in a word", &[], &[(200, "text"), (503, "text"), (404, "text")]),
    get("/metrics", "Metrics", &[], &[(200, "metrics")]),
    other("*", "/server", "Links of brokers (a websocket)", "", &[(101, "")]),
    other("*", "/server/", "Links of brokers (a websocket)", "", &[(101, "")]),
    other("*", "/server/{client_type}", "Links of brokers (a websocket)", "", &[(101, "")]),
    get("/puppet/v3/file_content/{*mount_path}", "A file for agents", ENVIRONMENT, &[(200, "bytes"), (400, "text"), (403, "text"), (404, "NoFile")]),
];
