//! The shapes of plans, of their jobs and of what happened in them.

use serde_json::json;

use super::{
    Named, anything, boolean, environment_of_code, kind, link, list, number, object, of, one_of, open, opened, or_null,
    text, time, url,
};

/// All of them.
pub(super) fn all() -> [Named; 7] {
    let job = object([
        ("id", url()),
        ("name", text()),
        ("state", one_of(&["running", "success", "failure"])),
        ("options", open()),
        ("owner", of("Subject")),
        ("created_timestamp", time()),
        ("finished_timestamp", or_null(time())),
        ("duration", or_null(kind("number"))),
        ("events", link()),
        ("userdata", open()),
        ("?result", anything()),
        ("?timestamp", time()),
        ("?status", json!({"type": "object", "additionalProperties": list(of("JobStatus"))})),
    ]);
    let listing = object([
        ("id", url()),
        ("name", text()),
        ("permitted", boolean()),
        ("private", boolean()),
        ("description", text()),
        ("?problem", text()),
    ]);
    let problem = object([("msg", text()), ("file", text()), ("line", number()), ("column", number())]);
    let plan = object([
        ("id", url()),
        ("name", text()),
        ("environment", environment_of_code()),
        ("metadata", open()),
        ("permitted", boolean()),
        ("problems", list(problem)),
    ]);
    let pagination = opened(object([("total", number()), ("limit", number()), ("offset", number())]));
    let event = object([("id", text()), ("type", text()), ("timestamp", time()), ("details", open())]);
    [
        ("PlanListing", listing),
        ("Plans", object([("environment", environment_of_code()), ("items", list(of("PlanListing")))])),
        ("Plan", plan),
        ("PlanJob", job),
        ("PlanJobs", object([("items", list(of("PlanJob"))), ("pagination", pagination)])),
        ("PlanEvent", event),
        ("PlanEvents", object([("next-events", of("NextEvents")), ("items", list(of("PlanEvent")))])),
    ]
}
