//! Plans of an environment, from the modules of the code directory (Bolt, "Writing plans"): which there are, their
//! parameters and descriptions, and what is wrong with them.

mod comments;
mod files;
mod outline;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::model::{PlanListing, PlanShown, Refusal, RefusalKind};
use super::sources::code_dir::{Environment, full_name};
use crate::limits::PLAN_PROBLEMS_SHOWN;
use crate::puppet_lang::{self, Diagnostic, Program, Source, YamlPlan};
use files::{Language, Modules, PlanFile};
use outline::Outline;
pub use outline::Outlines;

/// Functions that plans act with.
const ACTING: &[&str] = &[
    "add_facts",
    "apply_prep",
    "ctrl::do_until",
    "ctrl::sleep",
    "download_file",
    "facts",
    "file::exists",
    "file::read",
    "get_target",
    "get_targets",
    "log::debug",
    "log::error",
    "log::fatal",
    "log::info",
    "log::trace",
    "log::warn",
    "lookup",
    "out::message",
    "out::verbose",
    "puppetdb_fact",
    "puppetdb_query",
    "run_command",
    "run_plan",
    "run_script",
    "run_task",
    "run_task_with",
    "set_var",
    "Timestamp",
    "upload_file",
    "vars",
    "wait_until_available",
];

/// The plans of an environment, sorted by name, private and broken ones included.
pub fn list(environment: &Environment, outlines: &Outlines) -> Vec<PlanListing> {
    let plans = files::plans(&environment.modules);
    let listing = |(name, file): (String, PlanFile)| {
        let (private, description, problem) = match &*outlines.of(&name, &file) {
            Ok(outline) => (outline.private, outline.description.clone(), None),
            Err(error) => (false, String::new(), Some(in_one_line(error))),
        };
        PlanListing { name, private, description, problem }
    };
    plans.into_iter().map(listing).collect()
}

/// One plan; `name` is `init` for the module's own. `unknown-plan` if there is none, `validation-error` with the place if it
/// cannot be parsed.
pub fn show(environment: &Environment, module: &str, name: &str, outlines: &Outlines) -> Result<PlanShown, Refusal> {
    let full = full_name(module, name);
    let file = files::plan(&environment.modules, &full).ok_or_else(|| {
        let message = match environment.modules.contains_key(module) {
            true => format!("Could not find plan '{full}' in environment {}", environment.name),
            false => format!("Could not find module '{module}' in environment {}", environment.name),
        };
        Refusal::new(RefusalKind::UnknownPlan, message).with("plan", full.as_str())
    })?;
    let outlined = outlines.of(&full, &file);
    let outline = outlined.as_ref().as_ref().map_err(|error| broken(&full, error))?;
    Ok(PlanShown { metadata: metadata(outline), problems: problems(environment, &full, &file), name: full })
}

/// What would keep the plan from running: functions that are not there.
fn problems(environment: &Environment, plan: &str, file: &PlanFile) -> Vec<Value> {
    let (_, Ok(source)) = files::read(&file.path, &file.shown) else { return vec![] };
    let program = match file.language {
        Language::Puppet => Program::read(&source),
        Language::Yaml => YamlPlan::read(plan, &source).map(|plan| plan.program),
    };
    let Ok(program) = program else { return vec![] };
    let language = puppet_lang::Environment::new(Modules::of(environment));
    let problems = language.problems(&program, &|name| ACTING.contains(&name));
    problems.iter().take(PLAN_PROBLEMS_SHOWN).map(place).collect()
}

fn metadata(outline: &Outline) -> Map<String, Value> {
    let mut metadata = Map::new();
    if !outline.description.is_empty() {
        metadata.insert("description".into(), json!(outline.description));
    }
    if outline.private {
        metadata.insert("private".into(), json!(true));
    }
    let parameters = outline.parameters.iter().map(|parameter| {
        let mut shown = json!({"type": parameter.data_type});
        if let Some(default) = &parameter.default {
            shown["default_value"] = default.clone();
        }
        if !parameter.description.is_empty() {
            shown["description"] = json!(parameter.description);
        }
        (parameter.name.clone(), shown)
    });
    metadata.insert("parameters".into(), Value::Object(parameters.collect()));
    metadata
}

fn broken(plan: &str, error: &Diagnostic) -> Refusal {
    let refusal = Refusal::new(RefusalKind::ValidationError, format!("Plan {plan} is broken: {error}"));
    let place = place(error);
    ["file", "line", "column"].into_iter().fold(refusal.with("plan", plan), |refusal, key| {
        let value = place[key].clone();
        refusal.with(key, value)
    })
}

fn place(error: &Diagnostic) -> Value {
    json!({"msg": error.message, "file": error.file, "line": error.line, "column": error.column})
}

fn in_one_line(error: &Diagnostic) -> String {
    let Diagnostic { message, file, line, column, .. } = error;
    format!("{file}:{line}:{column}: {message}")
}

/// An error about a file as a whole.
fn about(name: &str, message: String) -> Diagnostic {
    Source::new(name, "").diagnostic(0, message)
}

/// The text of a plan, or why there is none.
type Read = Result<Arc<Source>, Diagnostic>;
