//! The API as an OpenAPI 3.1 document: made from the table of paths in `access`, what `operations` says of each, and the
//! shapes in `schemas`. `docs/openapi.json` is a copy; every answer in the tests is held against it.

mod operations;
mod schemas;

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::access::{Kind, Need, TABLE};
use super::problem::respond_text;
use super::routes::is_not_offered;
use operations::{Operation, Param, operation};

/// `GET /orchestrator/v1/openapi.json`, for everybody: it says nothing that is not published with the program.
pub(super) async fn show() -> Response<Body> {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string()).clone();
    respond_text(StatusCode::OK, "application/json; charset=utf-8", text)
}

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (methods, path, need, kind) in TABLE {
        for method in methods.split(',') {
            let shown = match operation(method, path) {
                Some(operation) => describe(operation, path, *need, *kind),
                None => not_offered(path, *need),
            };
            let method = if method == "*" { "get".to_owned() } else { method.to_ascii_lowercase() };
            let item = paths.entry(path.replace("{*", "{")).or_insert_with(|| json!({}));
            item[method] = shown;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Podium",
            "summary": "Orchestrator API v1 and what belongs to it, in the shapes of Puppet Enterprise's",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://{host}:{port}",
                     "variables": {"host": {"default": "localhost"}, "port": {"default": "8143"}}}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Authentication",
                          "description": "A token from POST /rbac-api/v1/auth/token"},
                "certificate": {"type": "mutualTLS", "description": "A certificate of the site's CA"},
            },
        },
    })
}

fn describe(operation: &Operation, path: &str, need: Need, kind: Kind) -> Value {
    let mut shown = json!({
        "summary": operation.summary,
        "responses": responses(operation),
        "security": security(need),
    });
    let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        json!({"name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": {"type": "string"}})
    });
    let parameters: Vec<Value> = in_path.chain(operation.query.iter().map(parameter)).collect();
    if !parameters.is_empty() {
        shown["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        let content = json!({"application/json": {"schema": reference(body)}});
        shown["requestBody"] = json!({"required": true, "content": content});
    }
    if let Some(needed) = needed(need) {
        shown["x-permission"] = needed.into();
    }
    if kind == Kind::Change {
        shown["x-audited"] = true.into();
    }
    shown
}

fn responses(operation: &Operation) -> Value {
    let mut responses: Map<String, Value> = Map::new();
    for (status, schema) in operation.answers {
        let phrase = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
        let mut response = json!({"description": phrase});
        if let Some((content_type, schema)) = content(schema) {
            response["content"] = json!({content_type: {"schema": schema}});
        }
        responses.insert(status.to_string(), response);
    }
    let problem = json!({"application/json": {"schema": reference("Problem")}});
    responses.insert("default".to_owned(), json!({"description": "Why not", "content": problem}));
    responses.into()
}

/// What an answer has in it: the name of a schema, or of another type; nothing if it is empty.
fn content(schema: &'static str) -> Option<(&'static str, Value)> {
    match schema {
        "" => None,
        "text" => Some(("text/plain", json!({"type": "string"}))),
        "events" => Some(("text/event-stream", json!({"type": "string"}))),
        "metrics" => Some(("application/openmetrics-text", json!({"type": "string"}))),
        "bytes" => Some(("application/octet-stream", json!({"type": "string", "format": "binary"}))),
        "document" => Some(("application/json", json!({"type": "object"}))),
        name => Some(("application/json", reference(name))),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn parameter(param: &Param) -> Value {
    let Param { name, schema } = param;
    let (kind, words) = schema.split_once(':').unwrap_or((schema, ""));
    let schema = match kind {
        "enum" => json!({"type": "string", "enum": words.split('|').collect::<Vec<_>>()}),
        "time" => json!({"type": "string", "format": "date-time"}),
        kind => json!({"type": kind}),
    };
    json!({"name": name, "in": "query", "schema": schema})
}

fn security(need: Need) -> Value {
    match need {
        Need::Nothing => json!([]),
        Need::Certificate => json!([{"certificate": []}]),
        Need::SomebodyOrCertificate => json!([{"token": []}, {"certificate": []}]),
        Need::Somebody | Need::Permission(_) | Need::SomePermission(_) => json!([{"token": []}]),
    }
}

fn needed(need: Need) -> Option<String> {
    match need {
        Need::Permission(action) => Some(format!("{}:{}:*", action.object_type(), action.name())),
        Need::SomePermission(action) => Some(format!("{}:{}", action.object_type(), action.name())),
        _ => None,
    }
}

fn not_offered(path: &str, need: Need) -> Value {
    debug_assert!(is_not_offered(path), "{path}");
    let problem = json!({"application/json": {"schema": reference("Problem")}});
    json!({
        "summary": "Not offered by this version",
        "responses": {"404": {"description": "Not Found", "content": problem}},
        "security": security(need),
        "deprecated": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that is answered and not described would be missing from the document.
    #[test]
    fn every_path_that_is_answered_is_described() {
        for (methods, path, ..) in TABLE {
            for method in methods.split(',') {
                assert!(
                    is_not_offered(path) || operation(method, path).is_some(),
                    "src/api/openapi/operations.rs says nothing of {method} {path}"
                );
            }
        }
        for described in operations::all() {
            let is_listed = |methods: &str| methods.split(',').any(|method| method == described.method);
            let listed = TABLE.iter().any(|line| line.1 == described.path && is_listed(line.0));
            assert!(listed, "{} {} is described and not answered", described.method, described.path);
            assert!(!is_not_offered(described.path), "{} is described and not offered", described.path);
        }
    }

    #[test]
    fn references_lead_somewhere_and_no_schema_is_there_for_nothing() {
        let document = document();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut rest = text.as_str();
        let mut used = std::collections::BTreeSet::new();
        while let Some((_, after)) = rest.split_once("#/components/schemas/") {
            let (name, after) = after.split_once('"').unwrap();
            assert!(schemas.contains_key(name), "there is no schema {name}");
            used.insert(name);
            rest = after;
        }
        let unused: Vec<_> = schemas.keys().filter(|name| !used.contains(name.as_str())).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    /// To write it anew: `PODIUM_WRITE_OPENAPI=1 cargo test --lib openapi`.
    #[test]
    fn the_copy_in_the_documentation_is_the_same() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let text = format!("{:#}\n", document());
        if std::env::var_os("PODIUM_WRITE_OPENAPI").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let copy = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(copy == text, "docs/openapi.json is not what the code says; write it anew (see this test)");
    }
}
