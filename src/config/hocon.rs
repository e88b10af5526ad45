//! Files to a tree. All `*.conf` of a directory and of its `conf.d` are merged before substitutions are resolved, so a
//! file may refer to another's keys. Unlike the reference's order-dependent merge, a key set in two files is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hocon::{Config, HoconError, HoconValue, ParseOptions, ResolveOptions};

use super::agent_flags::COMMAND_LINE;
use super::expansion;
use super::problem::Problem;

/// The merged content of the files, and which key came from which file.
pub struct Tree {
    /// Where the files are; relative paths in them start here.
    pub dir: PathBuf,
    root: HoconValue,
    /// By key, the names joined by dots.
    origins: BTreeMap<String, PathBuf>,
    fallback: PathBuf,
}

/// Reads a directory of files, or one file. Files that cannot be used are reported and left out.
pub fn load(path: &Path, problems: &mut Vec<Problem>) -> Option<Tree> {
    if path.is_file() {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return merge(dir, path, vec![path.to_owned()], problems);
    }
    let mut files = conf_files(path, problems)?;
    let conf_d = path.join("conf.d");
    if conf_d.is_dir() {
        files.extend(conf_files(&conf_d, problems)?);
    }
    if files.is_empty() {
        problems.push(whole_file(path, "holds no *.conf file; give the directory of the configuration with --config"));
        return None;
    }
    merge(path, path, files, problems)
}

impl Tree {
    /// One without anything, for a configuration that stands on the command line alone.
    pub fn empty(dir: &Path) -> Self {
        let root = HoconValue::Object(std::iter::empty::<(String, HoconValue)>().collect());
        Self { dir: dir.to_owned(), root, origins: BTreeMap::new(), fallback: COMMAND_LINE.into() }
    }

    /// Puts a value of the command line in place of whatever there is at the top level.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let plain = matches!(value, "true" | "false") || value.parse::<u64>().is_ok();
        let value = if plain { value.to_owned() } else { serde_json::Value::from(value).to_string() };
        let config = hocon::parse(&format!("\"{key}\": {value}")).map_err(|error| error.to_string())?;
        let value = value_of(&config, key).ok_or("it cannot be read")?;
        if let HoconValue::Object(object) = &mut self.root {
            object.insert(key.to_owned(), value);
        }
        self.origins.insert(key.to_owned(), COMMAND_LINE.into());
        Ok(())
    }

    /// Takes a key of the top level away.
    pub fn remove(&mut self, key: &str) {
        if let HoconValue::Object(object) = &mut self.root {
            object.retain(|name, _| name != key);
        }
    }

    /// The value at a dotted path, in which names that are quoted in the file may hold dots of their own; explicit nulls
    /// count as absent.
    pub fn get(&self, key: &str) -> Option<&HoconValue> {
        value_at(&self.root, key).filter(|value| !value.is_null())
    }

    /// The file that a key came from; for a missing key the file of the section it belongs to.
    pub fn file_of(&self, key: &str) -> &Path {
        let ends = key.match_indices('.').map(|(end, _)| end).chain([key.len()]);
        ends.rev().find_map(|end| self.origins.get(&key[..end])).map_or(&self.fallback, PathBuf::as_path)
    }

    /// All keys that hold something else than an object.
    pub fn leaves(&self) -> Vec<String> {
        let mut leaves = Vec::new();
        collect_leaves(&self.root, &mut Vec::new(), &mut |path| leaves.push(path.join(".")));
        leaves
    }
}

fn value_at<'v>(value: &'v HoconValue, key: &str) -> Option<&'v HoconValue> {
    let object = value.as_object()?;
    object
        .get(key)
        .or_else(|| key.match_indices('.').find_map(|(end, _)| value_at(object.get(&key[..end])?, &key[end + 1..])))
}

fn conf_files(dir: &Path, problems: &mut Vec<Problem>) -> Option<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(whole_file(dir, &format!("cannot be read: {error}; check --config and permissions")));
            return None;
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf") && path.is_file())
        .collect();
    files.sort();
    Some(files)
}

fn merge(dir: &Path, fallback: &Path, files: Vec<PathBuf>, problems: &mut Vec<Problem>) -> Option<Tree> {
    let before = problems.len();
    if let Err(problem) = expansion::check(&files) {
        problems.push(problem);
        return None;
    }
    let mut origins = BTreeMap::new();
    let mut merged: Option<Config> = None;
    for file in &files {
        let options = ParseOptions::defaults().with_resolve_substitutions(false);
        match hocon::parse_file_with_options(file, options) {
            Ok(config) => {
                record_origins(&config, file, &mut origins, problems);
                merged = Some(merged.map_or(config.clone(), |earlier| config.with_fallback(&earlier)));
            }
            Err(error) => problems.push(syntax(file, &error)),
        }
    }
    let resolved = match merged?.resolve(ResolveOptions::defaults()) {
        Ok(resolved) => resolved,
        Err(error) => {
            problems.push(unresolved(fallback, &files, &error));
            return None;
        }
    };
    if problems.len() > before {
        return None;
    }
    let root = HoconValue::Object(
        resolved.keys().iter().filter_map(|key| Some(((*key).to_owned(), value_of(&resolved, key)?))).collect(),
    );
    let fallback = if files.len() == 1 { &files[0] } else { fallback };
    Some(Tree { dir: dir.to_owned(), root, origins, fallback: fallback.to_owned() })
}

/// A top-level value; the name is quoted because the library would split it at dots.
fn value_of(config: &Config, key: &str) -> Option<HoconValue> {
    config.get(&format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))).cloned()
}

fn record_origins(config: &Config, file: &Path, origins: &mut BTreeMap<String, PathBuf>, problems: &mut Vec<Problem>) {
    for key in config.keys() {
        let Some(value) = value_of(config, key) else { continue };
        origins.entry(key.to_owned()).or_insert_with(|| file.to_owned());
        collect_leaves(&value, &mut vec![key.to_owned()], &mut |path| {
            // Sections get the first file that mentions them, for keys that are missing in them.
            for length in 1..path.len() {
                origins.entry(path[..length].join(".")).or_insert_with(|| file.to_owned());
            }
            let earlier = origins.insert(path.join("."), file.to_owned());
            if let Some(earlier) = earlier.filter(|earlier| earlier != file && path.len() > 1) {
                let message = format!("is also set in {}; keep one of the two", earlier.display());
                problems.push(Problem { file: file.to_owned(), key: path.join("."), message });
            }
        });
    }
}

fn collect_leaves(value: &HoconValue, path: &mut Vec<String>, visit: &mut impl FnMut(&[String])) {
    let Some(object) = value.as_object().filter(|object| !object.is_empty()) else {
        if !path.is_empty() {
            visit(path);
        }
        return;
    };
    for (name, value) in object {
        path.push(name.clone());
        collect_leaves(value, path, visit);
        path.pop();
    }
}

fn syntax(file: &Path, error: &HoconError) -> Problem {
    let message = match error {
        HoconError::Parse(error) => {
            format!("line {}, column {}: {}; correct the HOCON", error.line, error.col, error.message)
        }
        HoconError::Resolve(error) => format!("line {}, column {}: {}", error.line, error.col, error.message),
        HoconError::Io(error) => format!("cannot be read: {error}; check its permissions"),
        other => format!("{other}; the file must hold `key: value` pairs"),
    };
    whole_file(file, &message)
}

/// Substitutions are resolved after the merge; the file is found by its text.
fn unresolved(fallback: &Path, files: &[PathBuf], error: &HoconError) -> Problem {
    let HoconError::Resolve(error) = error else { return syntax(fallback, error) };
    let reference = format!("${{{}}}", error.path);
    let file = files
        .iter()
        .find(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains(&reference)))
        .map_or(fallback, PathBuf::as_path);
    let message =
        format!("line {}: {reference}: {}; define the key or the environment variable", error.line, error.message);
    whole_file(file, &message)
}

fn whole_file(file: &Path, message: &str) -> Problem {
    Problem { file: file.to_owned(), key: String::new(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_texts(texts: &[(&str, &str)]) -> (Option<Tree>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in texts {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut problems = Vec::new();
        let tree = load(dir.path(), &mut problems);
        let prefix = format!("{}/", dir.path().display());
        (tree, problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
    }

    fn file_name(tree: &Tree, key: &str) -> String {
        tree.file_of(key).file_name().unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn files_are_merged_before_substitution() {
        let (tree, problems) = load_texts(&[
            ("a.conf", "dirs { ssl: /etc/ssl }\nglobal.log.level: info"),
            ("conf.d/b.conf", "global { certs { ssl-cert: ${dirs.ssl}/cert.pem } }"),
            ("ignored.txt", "{{{"),
        ]);
        assert_eq!(problems, Vec::<String>::new());
        let tree = tree.unwrap();
        assert_eq!(tree.get("global.certs.ssl-cert").unwrap().as_str(), Some("/etc/ssl/cert.pem"));
        assert_eq!(tree.get("global.log.level").unwrap().as_str(), Some("info"));
        assert_eq!(file_name(&tree, "global.certs.ssl-cert"), "b.conf");
        assert_eq!(file_name(&tree, "global.log.level"), "a.conf");
        assert_eq!(file_name(&tree, "global.certs.ssl-key"), "b.conf", "a missing key belongs to its section's file");
        assert_eq!(tree.leaves(), ["dirs.ssl", "global.log.level", "global.certs.ssl-cert"]);
    }

    #[test]
    fn a_key_in_two_files_is_reported() {
        let (tree, problems) = load_texts(&[("a.conf", "x { y: 1 }"), ("b.conf", "x { y: 2 }")]);
        assert!(tree.is_none());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("b.conf: x.y: is also set in"), "{problems:?}");
    }

    #[test]
    fn syntax_errors_of_all_files_are_reported() {
        let (tree, problems) = load_texts(&[("a.conf", "x {"), ("b.conf", "ok: 1"), ("c.conf", "[1]")]);
        assert!(tree.is_none());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("a.conf: line "), "{problems:?}");
        assert!(problems[1].starts_with("c.conf: "), "{problems:?}");
    }

    #[test]
    fn an_unresolved_substitution_names_its_file() {
        let (_, problems) = load_texts(&[("a.conf", "x: 1"), ("b.conf", "y: ${podium.not.there}")]);
        assert!(problems[0].starts_with("b.conf: line 1: ${podium.not.there}"), "{problems:?}");
    }

    #[test]
    fn an_empty_directory_is_reported() {
        let (tree, problems) = load_texts(&[]);
        assert!(tree.is_none() && problems[0].contains("holds no *.conf file"), "{problems:?}");
    }
}
