//! The shapes of scheduled jobs, figures of use, and the order of a Puppet run.

use serde_json::json;

use super::{Named, anything, boolean, list, named_link, number, object, of, open, or_null, text, time};

/// All of them.
pub(super) fn all() -> [Named; 9] {
    let calendar = object([("zone", text()), ("at", text()), ("?days", list(text()))]);
    let interval = object([("units", json!({"const": "seconds"})), ("value", number())]);
    let timing = object([
        ("?start_time", json!({"type": ["string", "null"], "format": "date-time"})),
        ("?interval", json!({"anyOf": [interval, {"type": "null"}]})),
        ("?calendar", json!({"anyOf": [calendar, {"type": "null"}]})),
    ]);
    let job = object([("?id", text()), ("name", text()), ("?submission_error", of("Problem"))]);
    let schedule = object([
        ("id", text()),
        ("name", text()),
        ("enabled", boolean()),
        ("environment", text()),
        ("type", text()),
        ("description", text()),
        ("owner", of("Subject")),
        ("input", open()),
        ("schedule", of("Timing")),
        ("next_run", or_null(object([("time", time())]))),
        ("last_run", or_null(object([("time", time()), ("job", job)]))),
        ("userdata", open()),
    ]);
    let schedules = object([("items", list(of("Schedule"))), ("?pagination", anything())]);
    let day = object([
        ("date", text()),
        ("total_nodes", number()),
        ("nodes_with_agent", number()),
        ("nodes_without_agent", number()),
        ("?corrective_agent_changes", number()),
        ("?intentional_agent_changes", number()),
        ("?nodes_affected_by_task_runs", number()),
        ("?nodes_affected_by_plan_runs", number()),
    ]);
    let dates = object([("start_date", text()), ("end_date", text())]);
    let order = object([
        ("environment", object([("name", text())])),
        ("scope", of("Scope")),
        ("concurrency", or_null(number())),
        ("node_count", number()),
        ("levels", list(list(text()))),
    ]);
    [
        ("Timing", timing),
        ("Schedule", schedule),
        ("Schedules", schedules),
        ("ScheduleCommand", open()),
        ("ScheduleAccepted", object([("scheduled_job", named_link())])),
        ("EarlierSchedules", object([("items", list(open()))])),
        ("UsageDay", day),
        ("Usage", object([("items", list(of("UsageDay"))), ("pagination", dates)])),
        ("RunOrder", order),
    ]
}
