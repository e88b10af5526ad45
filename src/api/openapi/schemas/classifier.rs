//! The shapes of the classifier's bodies.

use serde_json::json;

use super::{Named, boolean, list, number, object, of, open, opened, text};

/// All of them.
pub(super) fn all() -> [Named; 6] {
    let group = object([
        ("id", text()),
        ("name", text()),
        ("?description", text()),
        ("environment", text()),
        ("environment_trumps", boolean()),
        ("parent", text()),
        ("rule", json!({"type": ["array", "null"]})),
        ("classes", open()),
        ("config_data", open()),
        ("variables", open()),
        ("last_edited", text()),
        ("serial_number", number()),
        ("?inherited", open()),
    ]);
    let environment = || object([("name", text()), ("sync_succeeded", boolean())]);
    [
        ("Group", opened(group)),
        ("Groups", list(of("Group"))),
        ("GroupRules", open()),
        ("Classified", open()),
        ("ClassifierEnvironment", environment()),
        ("ClassifierEnvironments", list(of("ClassifierEnvironment"))),
    ]
}
