//! What lists show of a plan, read from its file and kept as long as the file stays the same.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::comments;
use super::files::{Language, PlanFile, read};
use crate::limits::{PLAN_OUTLINE_BYTES_MAX, PLAN_OUTLINES_KEPT};
use crate::orchestrator::sources::files::{Identity, open_regular};
use crate::puppet_lang::{Diagnostic, Program, Source, YamlParameter, YamlPlan};

/// Parameters and description of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// For people; empty if it has none.
    pub description: String,
    /// For other plans only.
    pub private: bool,
    /// In their order.
    pub parameters: Vec<Parameter>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type as it is written.
    pub data_type: String,
    /// Its default: the expression as it is written, or the value in YAML.
    pub default: Option<Value>,
    /// For people; empty if it has none.
    pub description: String,
}

/// An outline, or why there is none.
type Outlined = Result<Outline, Diagnostic>;

/// Outlines of files as they were when they were last looked at.
#[derive(Debug, Default)]
pub struct Outlines {
    known: Mutex<HashMap<PathBuf, Known>>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    /// Whom the file was taken for: modules are found by several names.
    plan: String,
    outlined: Arc<Outlined>,
}

impl Outlines {
    /// The outline of a plan's file as it is now.
    pub fn of(&self, plan: &str, file: &PlanFile) -> Arc<Outlined> {
        if let Ok((_, status)) = open_regular(&file.path) {
            let identity = Identity::of(&status);
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let found = known.get(&file.path).filter(|known| known.identity == identity && known.plan == plan);
            if let Some(found) = found {
                return found.outlined.clone();
            }
        }
        let (identity, read) = read(&file.path, &file.shown);
        let is_small = read.as_ref().map_or(true, |source| source.text.len() <= PLAN_OUTLINE_BYTES_MAX);
        let outlined = Arc::new(read.and_then(|source| match file.language {
            Language::Puppet => of_puppet(plan, &source),
            Language::Yaml => YamlPlan::read(plan, &source).map(|plan| of_yaml(&plan)),
        }));
        if let Some(identity) = identity.filter(|_| is_small) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= PLAN_OUTLINES_KEPT {
                known.clear();
            }
            known.insert(file.path.clone(), Known { identity, plan: plan.to_owned(), outlined: outlined.clone() });
        }
        outlined
    }
}

fn of_puppet(plan: &str, source: &Arc<Source>) -> Result<Outline, Diagnostic> {
    let program = Program::read(source)?;
    match program.plan() {
        Some(found) if found == plan => {}
        Some(found) => {
            let message = format!("this defines the plan `{found}`, but its path promises `{plan}`");
            return Err(source.diagnostic(0, message));
        }
        None => return Err(source.diagnostic(0, format!("expected the plan `{plan}`, found none"))),
    }
    let mut comment = comments::of_plan(&source.text);
    let parameters = program.parameters().into_iter().map(|parameter| Parameter {
        description: comment.parameters.remove(&parameter.name).unwrap_or_default(),
        name: parameter.name,
        data_type: parameter.data_type,
        default: parameter.default.map(|text| json!(text)),
    });
    let parameters = parameters.collect();
    Ok(Outline { description: comment.description, private: comment.private, parameters })
}

fn of_yaml(plan: &YamlPlan) -> Outline {
    let parameter = |parameter: &YamlParameter| Parameter {
        name: parameter.name.clone(),
        data_type: parameter.data_type.clone(),
        default: parameter.default.clone(),
        description: parameter.description.clone(),
    };
    Outline {
        description: plan.description.clone(),
        private: plan.private,
        parameters: plan.parameters.iter().map(parameter).collect(),
    }
}
