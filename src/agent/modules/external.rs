//! External modules: programs in the modules directory that describe themselves as JSON (`<module> metadata`) and run an
//! action with a JSON object on standard input, printing their results as JSON (pxp-agent, modules). They run under the
//! wrapper like everything else, so they print their results in every case and are never asked to write them to files.
//!
//! What is wrong with one of them is told at the start, and the agent does without it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agent::files;
use crate::agent::output::Output;
use crate::agent::registry::{Entry, Registry};
use crate::agent::schema::Schema;
use crate::agent::work::{Prepared, Room, Step, Work};
use crate::limits::{MODULE_METADATA_BYTES_MAX, MODULE_METADATA_TIMEOUT};

/// Time between looks at a module that prints its metadata.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Adds every module of a directory that is fit for it; tells of each one that is not, and why.
pub fn load(modules: &Path, configurations: &Path, registry: &mut Registry) -> Vec<String> {
    let entries = match fs::read_dir(modules) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("the modules-dir {} cannot be read: {error}", modules.display())],
    };
    if let Err(error) = files::check_private(modules) {
        return vec![format!("the modules-dir {} is not used: {error}", modules.display())];
    }
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok()?.path().canonicalize().ok()).collect();
    paths.retain(|path| path.is_file() && path.extension().is_none());
    paths.sort();
    paths.dedup();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let added = registry.vacant(&name).and_then(|()| {
            let actions = describe(&name, &path, configurations)?;
            tracing::info!("module {name}: {} actions from {}", actions.len(), path.display());
            registry.add(actions);
            Ok(())
        });
        if let Err(error) = added {
            problems.push(format!("module {name}: {error}"));
        }
    }
    problems
}

/// What a module prints about itself. The schema is closed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    #[serde(rename = "description")]
    _description: String,
    #[serde(default)]
    configuration: Option<Value>,
    actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    name: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    input: Value,
    results: Value,
}

fn describe(module: &str, path: &Path, configurations: &Path) -> Result<Vec<Entry>, String> {
    files::check_program(path).map_err(|error| format!("{} is not used: {error}", path.display()))?;
    let text = ask(path, MODULE_METADATA_TIMEOUT)?;
    let description: Value =
        serde_json::from_str(&text).map_err(|error| format!("metadata is not in a valid JSON format: {error}"))?;
    let description: Description =
        serde_json::from_value(description).map_err(|error| format!("metadata validation failure: {error}"))?;
    let parse = |schema: &Value, what: &str| {
        Schema::parse(schema).map_err(|error| format!("metadata validation failure: {what}: {error}"))
    };
    let schema = description.configuration.map(|schema| parse(&schema, "configuration")).transpose()?;
    let configuration = configuration(&configurations.join(format!("{module}.conf")), schema.as_ref())?;
    let program = Arc::new(Program { path: path.to_owned(), configuration });
    let entry = |action: Action| {
        let input = parse(&action.input, &format!("input of {}", action.name))?;
        let results = parse(&action.results, &format!("results of {}", action.name))?;
        let (program, name) = (program.clone(), action.name.clone());
        let read = move |params: Map<String, Value>| {
            let params = Value::Object(params);
            input.check(&params).ok()?;
            let work: Box<dyn Work> = Box::new(Call { program: program.clone(), action: name.clone(), params });
            Some(work)
        };
        Ok(Entry::work(module, &action.name, Output::Document(Arc::new(results)), read))
    };
    description.actions.into_iter().map(entry).collect()
}

/// The configuration of a module, if it has a file; `schema` is what the module demands of it. It may name what is executed,
/// so it is trusted no further than a program.
pub fn configuration(path: &Path, schema: Option<&Schema>) -> Result<Option<Value>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("Failed to configure {}; {error}", path.display());
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => file.take(MODULE_METADATA_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(&error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    files::check_program(path).map_err(|error| failed(&error))?;
    let configuration = serde_json::from_str(&text).map_err(|error| failed(&format!("it must be JSON: {error}")))?;
    if let Some(schema) = schema {
        schema.check(&configuration).map_err(|error| failed(&format!("its content {error}")))?;
    }
    Ok(Some(configuration))
}

/// Has a module print its metadata within `patience`. Whatever it prints as an error is a failure.
fn ask(path: &Path, patience: Duration) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("failed to load external module metadata: {error}");
    let mut command = Command::new(path);
    command.arg("metadata").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let end = Instant::now() + patience;
    while child.try_wait().map_err(|error| failed(&error))?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(&format!("it did not end within {} s", patience.as_secs())));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    // Something that it has left behind may hold its output for ever; the thread that reads it is left behind as well.
    let text = |bytes: Receiver<Vec<u8>>| {
        let bytes = bytes.recv_timeout(end.saturating_duration_since(Instant::now()));
        bytes.map(String::from_utf8).map_err(|_| {
            failed(&format!("it ended, but something that it started held its output for {} s", patience.as_secs()))
        })
    };
    match text(err)? {
        Ok(err) if err.is_empty() => text(out)?.map_err(|_| failed(&"it is not UTF-8")),
        Ok(err) => Err(failed(&err.trim())),
        Err(_) => Err(failed(&"it printed an error that is not UTF-8")),
    }
}

fn collect(from: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // Half of a description is no description.
            let _ = from.take(MODULE_METADATA_BYTES_MAX).read_to_end(&mut bytes);
        }
        // Nobody may be waiting any more.
        let _ = sender.send(bytes);
    });
    receiver
}

#[derive(Debug)]
struct Program {
    path: PathBuf,
    configuration: Option<Value>,
}

#[derive(Debug)]
struct Call {
    program: Arc<Program>,
    action: String,
    params: Value,
}

impl Work for Call {
    fn subject(&self) -> String {
        format!("{} {}", self.program.path.display(), self.action)
    }

    fn prepare(&self, _room: &Room<'_>) -> Result<Step, String> {
        let path = &self.program.path;
        files::check_program(path).map_err(|error| format!("{} is not run: {error}", path.display()))?;
        let mut input = json!({"input": self.params});
        if let Some(configuration) = &self.program.configuration {
            input["configuration"] = configuration.clone();
        }
        Ok(Step::Execute(Prepared {
            executable: self.program.path.clone(),
            arguments: vec![self.action.clone()],
            environment: BTreeMap::new(),
            input: input.to_string(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::agent::registry::Found;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir(place.0.path().join("modules")).unwrap();
            place
        }

        fn module(&self, name: &str, script: &str) {
            let path = self.0.path().join("modules").join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn load(&self) -> (Registry, Vec<String>) {
            let mut registry = Registry::new(Vec::new());
            let problems = load(&self.0.path().join("modules"), self.0.path(), &mut registry);
            (registry, problems)
        }
    }

    fn described(more: &str) -> String {
        let action = r#"{"name":"run","input":{"type":"object","required":["x"]},"results":{"type":"object"}}"#;
        format!(r#"echo '{{"description":"d"{more},"actions":[{action}]}}'"#)
    }

    #[test]
    fn a_module_is_found_and_its_input_checked() {
        let place = Place::new();
        place.module("good", &described(""));
        place.module("ignored.rb", "exit 1");
        let (registry, problems) = place.load();
        assert_eq!(problems, Vec::<String>::new());
        assert!(matches!(registry.find("ignored", "run"), Found::UnknownModule));
        let Found::Entry(entry) = registry.find("good", "run") else { panic!() };
        let crate::agent::registry::Handling::Work { read, .. } = &entry.handling else { panic!() };
        assert!(read(Map::new()).is_none());
        assert!(read([("x".to_owned(), Value::Null)].into_iter().collect()).is_some());
    }

    #[test]
    fn what_a_module_leaves_behind_does_not_hold_up_the_agent() {
        let place = Place::new();
        // It reads from a pipe that stays open until the test has ended.
        let fifo = place.0.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let held = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        place.module("parent", &format!("cat {} &\n{}", fifo.display(), described("")));
        let error = ask(&place.0.path().join("modules/parent"), Duration::from_secs(1)).unwrap_err();
        assert!(error.contains("something that it started held its output for 1 s"), "{error}");
        drop(held);
    }

    #[test]
    fn what_is_wrong_with_a_module_is_told() {
        let place = Place::new();
        place.module("a_json", "echo '{'");
        place.module("b_keys", "echo '{}'");
        place.module("c_stderr", &format!("echo why >&2; {}", described("")));
        place.module("d_schema", &described(r#","configuration":{"type":"strin"}"#));
        place.module("e_config", &described(r#","configuration":{"required":["y"]}"#));
        place.module("echo", &described(""));
        place.module("f_group", &described(""));
        let path = place.0.path().join("modules/f_group");
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(place.0.path().join("e_config.conf"), "{}").unwrap();
        let (registry, problems) = place.load();
        let expected = [
            "module a_json: metadata is not in a valid JSON format: ",
            "module b_keys: metadata validation failure: missing field",
            "module c_stderr: failed to load external module metadata: why",
            "module d_schema: metadata validation failure: configuration: the keyword \"type\"",
            "module e_config: Failed to configure ",
            "module echo: Ignoring attempt to re-register module: echo",
            "module f_group: ",
        ];
        for (problem, start) in problems.iter().zip(expected) {
            assert!(problem.starts_with(start), "{problem} does not start with {start}");
        }
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        assert!(matches!(registry.find("e_config", "run"), Found::UnknownModule));
        fs::write(place.0.path().join("e_config.conf"), r#"{"y":1}"#).unwrap();
        assert!(matches!(place.load().0.find("e_config", "run"), Found::Entry(_)));
        fs::set_permissions(place.0.path().join("e_config.conf"), fs::Permissions::from_mode(0o666)).unwrap();
        let (registry, problems) = place.load();
        assert!(matches!(registry.find("e_config", "run"), Found::UnknownModule));
        assert!(problems.iter().any(|it| it.contains("e_config.conf is not safe: others may write")), "{problems:#?}");
    }

    #[test]
    fn a_link_leads_only_to_where_nobody_else_can_write() {
        let place = Place::new();
        let outside = place.0.path().join("outside");
        fs::create_dir(&outside).unwrap();
        place.module("linked", &described(""));
        fs::rename(place.0.path().join("modules/linked"), outside.join("linked")).unwrap();
        std::os::unix::fs::symlink(outside.join("linked"), place.0.path().join("modules/linked")).unwrap();
        assert_eq!(place.load().1, Vec::<String>::new());
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
        let problems = place.load().1;
        assert!(problems[0].contains("outside is not safe: others may write"), "{problems:#?}");
    }
}
