//! What a `task run` request means on this node: implementation, input method, extra files, and the input in its two
//! forms (pxp-agent, task module; puppet-specifications, tasks). Names that could leave their directory are refused,
//! which pxp-agent does not do. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::pxp::task::{Implementation, RunMetadata, TaskFile, TaskRun};

/// Features that every node with this agent has.
pub const OWN_FEATURES: [&str; 2] = ["puppet-agent", "shell"];

/// How a task gets its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputMethod {
    /// As one JSON object.
    Stdin,
    /// As variables `PT_<name>`.
    Environment,
    /// In both ways.
    Both,
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The file that is executed.
    pub executable: TaskFile,
    /// Its name without directories.
    pub basename: String,
    /// How it gets its input.
    pub method: InputMethod,
    /// Files that have to be beside it, with their places below the install directory.
    pub extras: Vec<(TaskFile, PathBuf)>,
    /// Place of the executable below the install directory, if there are extra files.
    pub place: PathBuf,
}

/// Reads the input of `task run`; `None` if it does not fit the schema.
pub fn read(params: Map<String, Value>) -> Option<TaskRun> {
    /// The old place of implementations, read as long as there is no metadata.
    #[derive(Deserialize)]
    struct OldStyle {
        #[serde(default)]
        implementations: Vec<Implementation>,
    }
    let params = Value::Object(params);
    let mut run = TaskRun::deserialize(&params).ok()?;
    if run.files.is_empty() {
        return None;
    }
    if run.metadata.is_none() {
        let implementations = OldStyle::deserialize(&params).ok()?.implementations;
        let (input_method, features) = (run.input_method.take(), std::mem::take(&mut run.features));
        run.metadata = Some(RunMetadata { input_method, implementations, features, files: Vec::new() });
    }
    Some(run)
}

/// Chooses implementation, input method and extra files. The error text is for the controller.
pub fn choose(run: &TaskRun) -> Result<Choice, String> {
    let no_metadata = RunMetadata::default();
    let metadata = run.metadata.as_ref().unwrap_or(&no_metadata);
    let implementation = select(metadata)?;
    let executable = match implementation {
        None => run.files.first().ok_or("the request names no files")?,
        Some(Implementation { name, .. }) => {
            find(run, name).ok_or_else(|| format!("'{name}' file requested by implementation not found"))?
        }
    };
    let basename = basename(&executable.filename)
        .ok_or_else(|| format!("'{}' cannot be the name of a task's file", executable.filename))?
        .to_owned();
    let method = implementation.and_then(|it| it.input_method.as_deref()).or(metadata.input_method.as_deref());
    let method = input_method(method, &basename)?;
    let extras = extras(run, metadata, implementation)?;
    let module = run.task.split(':').next().unwrap_or_default();
    let place = relative(&format!("{module}/tasks/{basename}"))
        .ok_or_else(|| format!("'{}' cannot be the name of a task", run.task))?;
    Ok(Choice { executable: executable.clone(), basename, method, extras, place })
}

fn select(metadata: &RunMetadata) -> Result<Option<&Implementation>, String> {
    let features: BTreeSet<&str> =
        OWN_FEATURES.into_iter().chain(metadata.features.iter().map(String::as_str)).collect();
    if metadata.implementations.is_empty() {
        return Ok(None);
    }
    let fits = |it: &&Implementation| it.requirements.iter().all(|feature| features.contains(feature.as_str()));
    metadata.implementations.iter().find(fits).map(Some).ok_or_else(|| {
        let features: Vec<&str> = features.iter().copied().collect();
        format!("no implementations match supported features: {}", features.join(", "))
    })
}

fn find<'a>(run: &'a TaskRun, name: &str) -> Option<&'a TaskFile> {
    run.files.iter().find(|file| file.filename == name)
}

fn input_method(named: Option<&str>, basename: &str) -> Result<InputMethod, String> {
    let default = if basename.ends_with(".ps1") { "powershell" } else { "both" };
    match named.unwrap_or(default) {
        "stdin" => Ok(InputMethod::Stdin),
        "environment" => Ok(InputMethod::Environment),
        "both" => Ok(InputMethod::Both),
        "powershell" => Err("unsupported task input method: powershell (it exists on Windows only; give the task an \
                             implementation that requires the feature shell)"
            .into()),
        other => Err(format!("unsupported task input method: {other}")),
    }
}

fn extras(
    run: &TaskRun,
    metadata: &RunMetadata,
    implementation: Option<&Implementation>,
) -> Result<Vec<(TaskFile, PathBuf)>, String> {
    let mut chosen = BTreeMap::new();
    for wanted in metadata.files.iter().chain(implementation.iter().flat_map(|it| &it.files)) {
        let is_wanted = |file: &&TaskFile| match wanted.ends_with('/') {
            true => file.filename.starts_with(wanted.as_str()),
            false => file.filename == *wanted,
        };
        let mut matching = run.files.iter().filter(is_wanted).peekable();
        if matching.peek().is_none() && !wanted.ends_with('/') {
            return Err(format!("'{wanted}' file requested as additional task dependency not found"));
        }
        for file in matching {
            let place = relative(&file.filename)
                .ok_or_else(|| format!("'{}' would lie outside of the task's directory", file.filename))?;
            chosen.insert(place, file.clone());
        }
    }
    Ok(chosen.into_iter().map(|(place, file)| (file, place)).collect())
}

/// The last part of a path, if it can be the name of a file.
pub fn basename(filename: &str) -> Option<&str> {
    let basename = filename.rsplit('/').next().unwrap_or_default();
    relative(basename).map(|_| basename)
}

/// A path that stays below the directory it is joined to; `None` if `name` is not one.
fn relative(name: &str) -> Option<PathBuf> {
    let usable = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.contains('\0');
    name.split('/').all(usable).then(|| PathBuf::from(name))
}

/// The parameters with the metaparameters that the agent adds.
pub fn input(run: &TaskRun, install_dir: Option<&str>) -> Map<String, Value> {
    let mut input = run.input.clone();
    input.insert("_task".into(), run.task.clone().into());
    if let Some(install_dir) = install_dir {
        input.insert("_installdir".into(), install_dir.into());
    }
    input
}

/// The variables of an input: strings as they are, all else as JSON.
pub fn environment(input: &Map<String, Value>) -> Result<BTreeMap<String, String>, String> {
    let variable = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if name.contains(['\0', '=']) || text.contains('\0') {
            let name = name.escape_default();
            return Err(format!("the parameter '{name}' cannot be an environment variable; use input method stdin"));
        }
        Ok((format!("PT_{name}"), text))
    };
    input.iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(name: &str) -> Value {
        json!({"filename": name, "sha256": "0".repeat(64), "uri": {"path": "/x", "params": {}}})
    }

    fn run(more: Value, files: &[&str]) -> TaskRun {
        let files: Vec<Value> = files.iter().map(|name| file(name)).collect();
        let mut params = json!({"task": "demo::hello", "input": {}, "files": files, "unknown": 1});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(params.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_first_file_runs_unless_an_implementation_is_named() {
        let choice = choose(&run(json!({}), &["a/init.sh", "init.rb"])).unwrap();
        assert_eq!((choice.basename.as_str(), choice.method), ("init.sh", InputMethod::Both));
        let implementations = json!([
            {"name": "a.ps1", "requirements": ["powershell"]},
            {"name": "a.rb", "requirements": ["puppet-agent", "ruby"], "input_method": "stdin"},
            {"name": "a.sh", "requirements": ["shell"], "input_method": "environment"}
        ]);
        let files = ["a.ps1", "a.rb", "a.sh"];
        let old = choose(&run(json!({"implementations": implementations}), &files)).unwrap();
        assert_eq!((old.basename.as_str(), old.method), ("a.sh", InputMethod::Environment));
        let metadata = json!({"implementations": implementations, "features": ["ruby"], "input_method": "both"});
        // What stands beside the metadata is not read.
        let new = choose(&run(json!({"metadata": metadata, "features": [], "input_method": "x"}), &files)).unwrap();
        assert_eq!((new.basename.as_str(), new.method), ("a.rb", InputMethod::Stdin));
    }

    #[test]
    fn refusals_have_the_texts_of_the_reference() {
        let implementations = |list: Value| json!({"metadata": {"implementations": list, "features": ["b"]}});
        let cases = [
            (
                implementations(json!([{"name": "a", "requirements": ["c"]}])),
                "no implementations match supported features: b, puppet-agent, shell",
            ),
            (implementations(json!([{"name": "c"}])), "'c' file requested by implementation not found"),
            (json!({"input_method": "telepathy"}), "unsupported task input method: telepathy"),
            (json!({"metadata": {"files": ["d"]}}), "'d' file requested as additional task dependency not found"),
        ];
        for (more, expected) in cases {
            assert_eq!(choose(&run(more, &["a"])).unwrap_err(), expected);
        }
        assert!(choose(&run(json!({}), &["a.ps1"])).unwrap_err().starts_with("unsupported task input method: power"));
    }

    #[test]
    fn extra_files_are_those_named_and_those_below_named_directories() {
        let more = json!({"metadata": {
            "files": ["demo/files/", "lib/x.rb", "empty/"],
            "implementations": [{"name": "a.sh", "files": ["lib/x.rb", "lib/y.rb"]}]
        }});
        let files = ["a.sh", "demo/files/1", "demo/files/2/3", "lib/x.rb", "lib/y.rb", "lib/z.rb"];
        let choice = choose(&run(more, &files)).unwrap();
        let places: Vec<_> = choice.extras.iter().map(|(_, place)| place.to_str().unwrap()).collect();
        assert_eq!(places, ["demo/files/1", "demo/files/2/3", "lib/x.rb", "lib/y.rb"]);
        assert_eq!(choice.place, PathBuf::from("demo/tasks/a.sh"));
    }

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for name in ["../x", "/etc/passwd", "a/../../x", "a//b", "a/./b", "a\0b"] {
            let more = json!({"metadata": {"files": [name]}});
            assert!(choose(&run(more, &["a.sh", name])).unwrap_err().contains("outside"), "{name:?}");
        }
        for name in ["..", "a/", "", "x/.."] {
            assert!(choose(&run(json!({}), &[name])).unwrap_err().contains("cannot be the name"), "{name:?}");
        }
        for task in ["..", "", "a/../b::c"] {
            assert!(choose(&run(json!({"task": task}), &["a"])).is_err(), "{task:?}");
        }
    }

    #[test]
    fn parameters_become_variables() {
        let run = run(json!({"input": {"s": "a b", "n": 1, "z": null, "l": [1, "x"], "o": {"k": true}}}), &["a"]);
        let variables = environment(&input(&run, Some("/i"))).unwrap();
        let expected = [
            ("PT__installdir", "/i"),
            ("PT__task", "demo::hello"),
            ("PT_l", r#"[1,"x"]"#),
            ("PT_n", "1"),
            ("PT_o", r#"{"k":true}"#),
            ("PT_s", "a b"),
            ("PT_z", "null"),
        ];
        assert_eq!(variables, expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
        let hostile = serde_json::json!({"a": "x\0y"});
        assert!(environment(hostile.as_object().unwrap()).unwrap_err().contains("'a'"));
    }

    #[test]
    fn params_must_fit_the_schema() {
        for bad in
            [json!({}), json!({"task": "t", "input": {}, "files": []}), json!({"task": "t", "files": [file("a")]})]
        {
            assert_eq!(read(bad.as_object().unwrap().clone()), None);
        }
        let bad_method = json!({"task": "t", "input": {}, "files": [file("a")], "metadata": {"input_method": 1}});
        assert_eq!(read(bad_method.as_object().unwrap().clone()), None);
    }
}
