//! `pxp-module-puppet run`: a Puppet run on demand. It is done by a process of this program under the wrapper, so that
//! it survives the agent as any other action does; see [`crate::agent::puppet`] (pxp-agent, modules/pxp-module-puppet).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agent::output::Output;
use crate::agent::registry::Entry;
use crate::agent::schema::Schema;
use crate::agent::work::{Prepared, Room, Step, Work};
use crate::pxp::puppet_run::{ACTION, MODULE};

/// The subcommand that does a run.
pub const SUBCOMMAND: &str = MODULE;

/// What the module demands of its configuration.
pub fn configuration_schema() -> Schema {
    let schema = json!({"type": "object", "properties": {"puppet_bin": {"type": "string"}}});
    Schema::parse(&schema).expect("this schema is one")
}

/// The action. `program` is this program, `configuration` the module's, if it has one.
pub fn entry(program: PathBuf, configuration: Option<Value>) -> Entry {
    let results = json!({
        "type": "object",
        "properties": {
            "time": {"type": "string"}, "transaction_uuid": {"type": "string"}, "environment": {"type": "string"},
            "status": {"type": "string"}, "metrics": {"type": "object"}, "exitcode": {"type": "number"},
            "version": {"type": "number"}, "error_type": {"type": "string"}, "error": {"type": "string"}
        },
        "required": ["time", "transaction_uuid", "environment", "status", "exitcode", "version"]
    });
    let output = Output::Document(Arc::new(Schema::parse(&results).expect("this schema is one")));
    let of_agent = Arc::new((program, configuration));
    Entry::work(MODULE, ACTION, output, move |params| {
        /// What the input must have; the rest is the module's own.
        #[derive(Deserialize)]
        struct Shape {
            #[serde(rename = "flags")]
            _flags: Vec<String>,
            #[serde(default, rename = "job")]
            _job: Option<String>,
            #[serde(default, rename = "env")]
            _env: Vec<Value>,
        }
        let _: Shape = super::read(params.clone())?;
        Some(Box::new(Run { params, of_agent: of_agent.clone() }))
    })
}

#[derive(Debug)]
struct Run {
    params: Map<String, Value>,
    of_agent: Arc<(PathBuf, Option<Value>)>,
}

impl Work for Run {
    fn subject(&self) -> String {
        "Puppet".into()
    }

    fn prepare(&self, _room: &Room<'_>) -> Result<Step, String> {
        let (program, configuration) = &*self.of_agent;
        let mut input = json!({"input": self.params});
        if let Some(configuration) = configuration {
            input["configuration"] = configuration.clone();
        }
        Ok(Step::Execute(Prepared {
            executable: program.clone(),
            arguments: vec![SUBCOMMAND.into()],
            environment: BTreeMap::new(),
            input: input.to_string(),
        }))
    }
}
