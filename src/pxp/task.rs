//! `task run`: the parameters of the request (pxp-agent, task module) and the task metadata that rides in them
//! (puppet-specifications, tasks).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Input of `task run`. Unknown keys are ignored, as pxp-agent does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRun {
    /// `module::name`, or `module` for its `init` task.
    pub task: String,
    /// The task's parameters.
    pub input: Map<String, Value>,
    /// Everything that may be downloaded, at least one; without implementations the first is the executable.
    pub files: Vec<TaskFile>,
    /// If present, implementations, input method, features and extra files are read from here only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RunMetadata>,
    /// Read if `metadata` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_method: Option<String>,
    /// Read if `metadata` is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// A file of a task, where to get it and what it must hash to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskFile {
    /// `init.rb`, or a path below the install directory such as `demo/files/x` for extra files.
    pub filename: String,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
    /// Length of the content in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Path and query on whichever server has the file.
    pub uri: FileUri,
}

/// Path and query parameters of a file on a server; the agent adds scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUri {
    /// Sent as it is.
    pub path: String,
    /// Percent-encoded when sent.
    pub params: BTreeMap<String, String>,
}

/// The part of a task's metadata that an agent reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunMetadata {
    /// `stdin`, `environment`, `both` or `powershell`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_method: Option<String>,
    /// The first whose requirements the node has is run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implementations: Vec<Implementation>,
    /// Extra files; a name ending in `/` means every file below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Features of the node beyond those that the agent knows of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// One way to run a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Implementation {
    /// A `filename` among the task's files.
    pub name: String,
    /// Features that the node must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// Extra files of this implementation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Overrides the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_method: Option<String>,
}
