//! The shapes of bodies (JSON Schema 2020-12). A key that begins with `?` may be absent; an object has no other keys than
//! are written here, unless it is said to be open.

mod classifier;
mod plans;
mod schedules;

use serde_json::{Map, Value, json};

use crate::orchestrator::model::{EventType, JobState, NodeState};

/// All of them by name.
pub(super) fn all() -> Value {
    let mut all = Map::new();
    let groups = shared().into_iter().chain(commands()).chain(jobs()).chain(nodes()).chain(plans::all()).chain(code());
    let rest = rest().into_iter().chain(schedules::all());
    for (name, schema) in groups.chain(rest) {
        let twice = all.insert(name.to_owned(), schema);
        debug_assert!(twice.is_none(), "{name}");
    }
    all.into()
}

type Named = (&'static str, Value);

fn kind(name: &str) -> Value {
    json!({"type": name})
}

fn text() -> Value {
    kind("string")
}

fn number() -> Value {
    kind("integer")
}

fn boolean() -> Value {
    kind("boolean")
}

/// Any object.
fn open() -> Value {
    kind("object")
}

fn anything() -> Value {
    json!({})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn url() -> Value {
    json!({"type": "string", "format": "uri"})
}

fn or_null(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

fn one_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

fn of(name: &str) -> Value {
    super::reference(name)
}

fn object<const N: usize>(keys: [(&str, Value); N]) -> Value {
    let required: Vec<&str> = keys.iter().map(|(key, _)| *key).filter(|key| !key.starts_with('?')).collect();
    let properties: Map<String, Value> =
        keys.iter().map(|(key, schema)| (key.trim_start_matches('?').to_owned(), schema.clone())).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// An object that may have other keys too.
fn opened(mut schema: Value) -> Value {
    schema.as_object_mut().and_then(|schema| schema.remove("additionalProperties"));
    schema
}

fn link() -> Value {
    object([("id", url())])
}

fn named_link() -> Value {
    object([("id", url()), ("name", text())])
}

fn items(name: &str) -> Value {
    object([("items", list(of(name)))])
}

fn shared() -> [Named; 6] {
    [
        ("Anything", anything()),
        ("Words", list(text())),
        ("Booleans", list(boolean())),
        ("Problem", object([("kind", text()), ("msg", text()), ("?details", anything())])),
        (
            "Subject",
            object([
                ("id", text()),
                ("login", text()),
                ("display_name", text()),
                ("email", text()),
                ("is_superuser", boolean()),
                ("is_remote", boolean()),
                ("is_revoked", boolean()),
                ("is_group", boolean()),
                ("last_login", or_null(text())),
                ("role_ids", list(number())),
            ]),
        ),
        (
            "Scope",
            object([
                ("?nodes", list(text())),
                ("?query", json!({"type": ["string", "array"]})),
                ("?node_group", text()),
            ]),
        ),
    ]
}

/// What commands that make jobs may say. Unknown keys are let through, and null is as good as absent.
fn terms() -> [Named; 6] {
    [
        ("scope", of("Scope")),
        ("?description", or_null(text())),
        ("?userdata", or_null(open())),
        ("?timeout", or_null(number())),
        ("?noop", or_null(boolean())),
        ("?concurrency", or_null(number())),
    ]
}

fn task_command() -> Value {
    let [scope, description, userdata, timeout, noop, concurrency] = terms();
    opened(object([
        ("task", text()),
        ("params", open()),
        ("?environment", or_null(text())),
        ("?plan_job", json!({"type": ["string", "integer", "null"]})),
        scope,
        description,
        userdata,
        timeout,
        noop,
        concurrency,
    ]))
}

fn deploy_command() -> Value {
    let [scope, description, userdata, timeout, noop, concurrency] = terms();
    let flag = || or_null(boolean());
    opened(object([
        ("environment", text()),
        ("?enforce_environment", flag()),
        ("?no_noop", flag()),
        ("?debug", flag()),
        ("?trace", flag()),
        ("?evaltrace", flag()),
        ("?use_cached_catalog", flag()),
        ("?usecacheonfailure", flag()),
        ("?tags", or_null(text())),
        ("?skip_tags", or_null(text())),
        ("?ordering", or_null(text())),
        ("?filetimeout", or_null(number())),
        ("?http_connect_timeout", or_null(number())),
        ("?http_keepalive_timeout", or_null(number())),
        ("?http_read_timeout", or_null(number())),
        scope,
        description,
        userdata,
        timeout,
        noop,
        concurrency,
    ]))
}

fn commands() -> [Named; 9] {
    let target = object([
        ("display_name", text()),
        ("?tasks", or_null(list(text()))),
        ("?all_tasks", or_null(boolean())),
        ("nodes", list(text())),
        ("node_groups", list(text())),
        ("?pql_query", or_null(text())),
    ]);
    let start = object([
        ("plan_name", text()),
        ("?params", or_null(open())),
        ("?sensitive", or_null(list(text()))),
        ("?environment", or_null(text())),
        ("?description", or_null(text())),
    ]);
    let number_or_text = || json!({"type": ["string", "integer"]});
    let finish =
        object([("plan_job", number_or_text()), ("?result", anything()), ("status", one_of(&["success", "failure"]))]);
    let stop = object([("job", number_or_text()), ("?force", or_null(boolean()))]);
    [
        ("TaskCommand", task_command()),
        ("DeployCommand", deploy_command()),
        ("StopCommand", opened(stop)),
        ("TaskTargetCommand", opened(target)),
        ("PlanStartCommand", opened(start)),
        ("PlanFinishCommand", opened(finish)),
        ("Accepted", object([("job", named_link())])),
        ("Named", object([("name", text())])),
        ("TaskTargetMade", object([("task_target", named_link())])),
    ]
}

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Value {
    one_of(&all.iter().map(|one| word(*one)).collect::<Vec<_>>())
}

fn jobs() -> [Named; 4] {
    let counts: Map<String, Value> = NodeState::ALL.iter().map(|state| (state.word().to_owned(), number())).collect();
    let counts = json!({"type": "object", "properties": counts, "additionalProperties": false});
    let stopped = object([("id", url()), ("name", text()), ("nodes", counts.clone())]);
    let job = object([
        ("id", url()),
        ("name", text()),
        ("state", words(JobState::ALL, JobState::word)),
        ("command", text()),
        ("type", text()),
        ("options", open()),
        ("owner", of("Subject")),
        ("description", text()),
        ("environment", object([("name", text())])),
        ("timestamp", time()),
        ("created_timestamp", time()),
        ("started_timestamp", or_null(time())),
        ("finished_timestamp", or_null(time())),
        ("duration", or_null(text())),
        ("node_count", number()),
        ("node_states", or_null(counts)),
        ("userdata", open()),
        ("nodes", link()),
        ("report", link()),
        ("events", link()),
        ("?status", list(of("JobStatus"))),
    ]);
    let pagination = object([
        ("total", number()),
        ("limit", number()),
        ("offset", number()),
        ("order_by", text()),
        ("order", text()),
        ("type", text()),
    ]);
    [
        ("Stopped", object([("job", stopped)])),
        ("Job", job),
        ("JobStatus", object([("state", text()), ("enter_time", time()), ("exit_time", or_null(time()))])),
        ("Jobs", object([("items", list(of("Job"))), ("pagination", pagination)])),
    ]
}

fn nodes() -> [Named; 7] {
    let states = || words(NodeState::ALL, NodeState::word);
    let node = object([
        ("name", text()),
        ("state", states()),
        ("transport", text()),
        ("start_timestamp", or_null(time())),
        ("finish_timestamp", or_null(time())),
        ("timestamp", time()),
        ("duration", or_null(kind("number"))),
        ("transaction_uuid", or_null(text())),
        ("latest-event-id", number()),
        ("details", open()),
        ("?result", anything()),
    ]);
    let row = object([
        ("node", text()),
        ("state", states()),
        ("timestamp", time()),
        ("start_timestamp", or_null(time())),
        ("finish_timestamp", or_null(time())),
        ("events", list(open())),
    ]);
    let event = object([
        ("id", text()),
        ("type", words(EventType::ALL, EventType::word)),
        ("timestamp", time()),
        ("details", open()),
        ("message", text()),
    ]);
    [
        ("Node", node),
        ("NextEvents", object([("id", url()), ("event", text())])),
        ("Nodes", object([("next-events", of("NextEvents")), ("items", list(of("Node")))])),
        ("ReportRow", row),
        ("Report", object([("items", list(of("ReportRow"))), ("report", list(of("ReportRow")))])),
        ("Event", event),
        ("Events", object([("next-events", of("NextEvents")), ("items", list(of("Event")))])),
    ]
}

fn environment_of_code() -> Value {
    object([("name", text()), ("code_id", or_null(text()))])
}

fn code() -> [Named; 15] {
    let listing = object([
        ("id", url()),
        ("name", text()),
        ("permitted", boolean()),
        ("private", boolean()),
        ("description", text()),
    ]);
    let uri = object([("path", text()), ("params", open())]);
    let file = object([("filename", text()), ("uri", uri), ("sha256", text()), ("size_bytes", or_null(number()))]);
    let task = object([
        ("id", url()),
        ("name", text()),
        ("permitted", boolean()),
        ("environment", environment_of_code()),
        ("metadata", open()),
        ("files", list(file)),
    ]);
    let environment = object([
        ("id", url()),
        ("name", text()),
        ("applications", link()),
        ("instances", link()),
        ("settings", open()),
    ]);
    let node = object([("name", text()), ("connected", boolean()), ("?broker", text()), ("?timestamp", time())]);
    let target = object([
        ("id", url()),
        ("name", text()),
        ("display_name", text()),
        ("?tasks", list(text())),
        ("all_tasks", boolean()),
        ("nodes", list(text())),
        ("node_groups", list(text())),
        ("?pql_query", text()),
    ]);
    [
        ("TaskListing", listing),
        ("Tasks", object([("environment", environment_of_code()), ("items", list(of("TaskListing")))])),
        ("Task", task),
        ("Environment", environment),
        ("Environments", items("Environment")),
        ("Applications", object([("items", list(open())), ("instances", link())])),
        ("Instances", object([("items", list(open()))])),
        ("InventoryNode", node),
        ("Inventory", items("InventoryNode")),
        ("InventoryQuestion", opened(object([("nodes", list(text()))]))),
        ("TaskTarget", target),
        ("TaskTargets", items("TaskTarget")),
        ("NoFile", object([("message", text()), ("issue_kind", text())])),
        ("Root", root()),
        ("NamedLink", named_link()),
    ]
}

fn root() -> Value {
    object([
        ("info", open()),
        ("status", of("NamedLink")),
        ("collections", list(of("NamedLink"))),
        ("commands", list(of("NamedLink"))),
    ])
}

fn rest() -> Vec<Named> {
    let service = |named: bool| {
        let name = if named { "service_name" } else { "?service_name" };
        object([
            (name, text()),
            ("service_version", text()),
            ("service_status_version", number()),
            ("detail_level", one_of(&["critical", "info", "debug"])),
            ("state", one_of(&["running", "starting", "stopping", "error", "unknown"])),
            ("status", open()),
            ("active_alerts", list(object([("severity", text()), ("message", text())]))),
        ])
    };
    let kinds = || words(EventType::ALL, EventType::word);
    let webhook = object([
        ("id", text()),
        ("url", url()),
        ("events", list(kinds())),
        ("description", text()),
        ("owner", text()),
        ("created_timestamp", time()),
        ("state", one_of(&["active", "failing", "dead"])),
        ("next_event", text()),
        ("delivered_timestamp", or_null(time())),
        ("failures", number()),
        ("failing_since", or_null(time())),
        ("last_error", or_null(text())),
    ]);
    let wish = object([
        ("url", url()),
        ("?events", or_null(list(kinds()))),
        ("?description", or_null(text())),
        ("?secret", or_null(text())),
    ]);
    let mut rest = vec![
        ("Service", service(true)),
        ("Services", json!({"type": "object", "additionalProperties": service(false)})),
        ("Webhook", webhook),
        ("Webhooks", items("Webhook")),
        ("WebhookCommand", opened(wish)),
        ("WebhookMade", object([("webhook", of("Webhook")), ("?secret", text())])),
        ("WebhookTested", object([("delivered", boolean()), ("message", text())])),
    ];
    rest.extend(rbac());
    rest.extend(classifier::all());
    rest
}

fn rbac() -> [Named; 10] {
    let optional = |schema: Value| or_null(schema);
    let wish = [
        ("?lifetime", json!({"type": ["string", "integer", "null"]})),
        ("?label", optional(text())),
        ("?description", optional(text())),
        ("?client", optional(text())),
    ];
    let [lifetime, label, description, client] = wish;
    let login = object([
        ("login", text()),
        ("password", text()),
        lifetime.clone(),
        label.clone(),
        description.clone(),
        client.clone(),
    ]);
    let role = object([
        ("id", number()),
        ("display_name", text()),
        ("description", text()),
        ("permissions", list(opened(object([("object_type", text()), ("action", text()), ("instance", text())])))),
        ("user_ids", list(text())),
        ("group_ids", list(text())),
    ]);
    let action =
        object([("name", text()), ("display_name", text()), ("description", text()), ("has_instances", boolean())]);
    let permission_type =
        object([("object_type", text()), ("display_name", text()), ("description", text()), ("actions", list(action))]);
    let open_user = || opened(object([("id", text()), ("login", text()), ("role_ids", list(number()))]));
    [
        ("Login", opened(login)),
        ("TokenWish", opened(object([lifetime, label, description, client]))),
        ("TokenQuestion", opened(object([("token", text()), ("?update_last_activity?", optional(boolean()))]))),
        ("Token", object([("token", text())])),
        ("TokenOwner", open_user()),
        ("User", open_user()),
        ("Users", list(of("User"))),
        ("Role", role),
        ("Roles", list(of("Role"))),
        ("PermissionTypes", list(permission_type)),
    ]
}
