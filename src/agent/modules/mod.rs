//! The modules of the agent, one file each: how the input of their actions is read and what is to be done for it
//! (pxp-agent, modules). They meet in the [`super::registry::Registry`].

pub mod apply;
pub mod command;
pub mod external;
pub mod file;
pub mod puppet;
pub mod script;
pub mod task;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads an input of which unknown keys are ignored, or refused if its type says so.
fn read<T: DeserializeOwned>(params: Map<String, Value>) -> Option<T> {
    serde_json::from_value(Value::Object(params)).ok()
}
