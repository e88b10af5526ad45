//! The house rules that a machine can check: sizes, openings, banned words, floors, purity, documents. A failure names the
//! file and line and says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Floors from the map in `src/lib.rs`. A module may use lower floors and its own.
const FLOORS: &[(&str, u32)] = &[
    ("cli", 6),
    ("api", 5),
    ("capacity", 5),
    ("orchestrator", 4),
    ("agent", 4),
    ("broker", 3),
    ("reactor", 2),
    ("tls", 2),
    ("websocket", 2),
    ("https", 2),
    ("link", 1),
    ("pcp", 1),
    ("pxp", 1),
    ("puppet_lang", 1),
    ("ca", 1),
    ("config", 0),
    ("limits", 0),
    ("clock", 0),
    ("observe", 0),
    ("backlog", 0),
    ("durable", 0),
    ("percent", 0),
    ("random", 0),
    ("sha256", 0),
    ("succession", 0),
    ("tunnel", 0),
];

/// Modules that would be allowed by their floors and yet must not know each other: `cli` puts them together.
const STRANGERS: &[(&str, &[&str])] = &[
    ("orchestrator", &["agent", "broker", "reactor"]),
    ("agent", &["orchestrator", "broker", "reactor"]),
    ("broker", &["reactor", "tls", "websocket", "https", "ca"]),
    ("reactor", &["https", "pcp", "pxp", "ca"]),
    ("tls", &["reactor", "websocket", "https", "pcp", "pxp", "ca"]),
    ("websocket", &["reactor", "tls", "https", "pcp", "pxp", "ca"]),
    ("https", &["reactor", "websocket", "link", "pcp", "pxp", "ca"]),
    ("link", &["pcp", "pxp", "ca"]),
    ("pcp", &["link", "pxp", "ca"]),
    ("pxp", &["link", "pcp", "ca"]),
    ("ca", &["link", "pcp", "pxp"]),
    ("puppet_lang", &["link", "pcp", "pxp", "ca"]),
];

/// No socket, no clock, no thread, no randomness of their own.
const PURE: &[&str] = &["pcp", "pxp", "link", "broker", "puppet_lang"];

const IMPURE: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "thread::spawn",
    "WallTime::now",
    "Clock::start",
    "random::seed()",
    "random::secret",
    "new_v4",
    "rand::",
];

/// Marks of unfinished work and of what is forbidden. Split so that this file passes its own test.
fn banned() -> Vec<(String, &'static str)> {
    let join = |parts: [&str; 2]| parts.concat();
    vec![
        (join(["TO", "DO"]), "do it now, or open an issue"),
        (join(["FIX", "ME"]), "do it now, or open an issue"),
        (join(["XX", "X"]), "say what is meant"),
        (join(["todo", "!("]), "write the code"),
        (join(["unimplemented", "!("]), "write the code"),
        (join(["dbg", "!("]), "use tracing"),
        (join(["unsafe ", "{"]), "unsafe code is forbidden"),
        (join(["unsafe ", "fn"]), "unsafe code is forbidden"),
        (join(["unsafe ", "impl"]), "unsafe code is forbidden"),
    ]
}

/// A Rust file below the root of the repository.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn is_library(&self) -> bool {
        self.path.starts_with("src/")
    }

    /// The module on its floor: `broker` for `src/broker/route.rs`.
    fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split_once('/').map_or_else(|| below.trim_end_matches(".rs"), |(module, _)| module))
    }

    /// Lines with their numbers, up to the unit tests, which may use what they need.
    fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test_file = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let end = if is_test_file { 0 } else { self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len()) };
        numbered(&self.text[..end])
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn files_below(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn relative_files(dir: &str, extension: &str) -> Vec<String> {
    let mut files = Vec::new();
    files_below(&root().join(dir), extension, &mut files);
    let mut names: Vec<String> =
        files.iter().map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn sources() -> Vec<Source> {
    ["src", "tests", "benches"]
        .iter()
        .flat_map(|dir| relative_files(dir, "rs"))
        .map(|path| Source { text: read(&path), path })
        .collect()
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} untidy:\n{}", problems.len(), problems.join("\n"));
}

/// A line without what stands in strings, characters and a comment at its end; good enough for counting braces and
/// finding names.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut characters = line.chars().peekable();
    let mut in_string = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => {
                characters.next();
            }
            '"' => in_string = !in_string,
            _ if in_string => {}
            '/' if characters.peek() == Some(&'/') => break,
            '\'' => {
                // 'x' or '\x' is a character; 'a without an end is a lifetime.
                let rest: Vec<char> = characters.clone().take(3).collect();
                match rest.as_slice() {
                    ['\\', _, '\'', ..] => drop(characters.by_ref().take(3).collect::<Vec<_>>()),
                    [_, '\'', ..] => drop(characters.by_ref().take(2).collect::<Vec<_>>()),
                    _ => {}
                }
            }
            other => code.push(other),
        }
    }
    code
}

#[test]
fn files_open_with_what_they_are_and_are_not_long() {
    let mut problems = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            problems
                .push(format!("{}:1: begin with //! and one or two sentences: what it is, which spec", source.path));
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines; split it, {FILE_LINES_MAX} is the limit", source.path));
        }
    }
    assert_none(&problems);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut problems = Vec::new();
    for source in sources() {
        // Name, first line and indentation of the function that is open. rustfmt closes it at the same indentation.
        let mut open: Option<(String, usize, usize)> = None;
        for (number, line) in numbered(&source.text) {
            let indentation = line.len() - line.trim_start().len();
            match &open {
                None => open = function_name(line).map(|name| (name, number, indentation)),
                Some((name, first, indented)) => {
                    if indentation == *indented && line.trim_end() == format!("{}}}", " ".repeat(*indented)) {
                        let lines = number - first + 1;
                        if lines > FUNCTION_LINES_MAX {
                            problems.push(format!(
                                "{}:{first}: {name} has {lines} lines; split it, {FUNCTION_LINES_MAX} is the limit",
                                source.path
                            ));
                        }
                        open = None;
                    }
                }
            }
        }
    }
    assert_none(&problems);
}

/// The name of a function whose body begins on this line or below it.
fn function_name(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let start = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "const fn ", "pub const fn ", "async fn "]
        .iter()
        .find_map(|prefix| trimmed.strip_prefix(prefix))?;
    let one_line = trimmed.ends_with('}') || trimmed.ends_with(';');
    let name: String = start.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!one_line && !name.is_empty()).then_some(name)
}

#[test]
fn nothing_is_left_undone() {
    let banned = banned();
    let mut problems = Vec::new();
    for source in sources() {
        for (number, line) in numbered(&source.text) {
            for (word, advice) in &banned {
                // A benchmark's counting allocator cannot be written without it.
                let excepted = word.starts_with("unsafe") && !source.is_library();
                if line.contains(word.as_str()) && !excepted {
                    problems.push(format!("{}:{number}: {word}: {advice}", source.path));
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn modules_use_lower_floors_only() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| source.is_library()) {
        let module = source.module().unwrap_or_default();
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let Some(floor) = floors.get(module) else {
            problems.push(format!("{}: {module} has no floor; add it to src/lib.rs and to tests/tidy.rs", source.path));
            continue;
        };
        for (number, line) in source.production_lines() {
            for used in modules_used(&code_of(line)) {
                let higher = floors.get(used.as_str()).is_some_and(|used_floor| used_floor > floor);
                if higher || are_strangers(module, &used) {
                    let path = &source.path;
                    problems
                        .push(format!("{path}:{number}: {module} must not use {used}; see the floors in src/lib.rs"));
                }
            }
        }
    }
    assert_none(&problems);
}

/// The map at the top of `src/lib.rs` and the one of this test name the same modules, and all that there are.
#[test]
fn the_map_names_every_module() {
    let library = read("src/lib.rs");
    let (map, code) = library.split_once("# Walks").expect("src/lib.rs has the map first, then the walks");
    let words: Vec<&str> = map.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let modules: Vec<&str> = code.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let problems: Vec<String> = modules
        .iter()
        .filter(|module| !words.contains(module) || !FLOORS.iter().any(|(name, _)| name == *module))
        .map(|module| format!("src/lib.rs: {module} is not on the map; say there and in tests/tidy.rs where it stands"))
        .collect();
    assert!(modules.len() > 10, "the modules of src/lib.rs are not found any more");
    assert_none(&problems);
}

fn are_strangers(module: &str, used: &str) -> bool {
    STRANGERS.iter().any(|(name, strangers)| *name == module && strangers.contains(&used))
}

/// The `x` of every `crate::x`, and of `crate::{x, y::z}` on one line.
fn modules_used(code: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split(',').map(name).collect(),
            None => vec![name(rest)],
        })
        .collect()
}

#[test]
fn pure_floors_have_no_socket_clock_thread_or_randomness() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some(module) = source.module().filter(|module| PURE.contains(module)) else { continue };
        for (number, line) in source.production_lines() {
            let code = code_of(line);
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                let path = &source.path;
                problems.push(format!("{path}:{number}: {word}: {module} is pure; take it as an argument"));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_document_is_linked_from_the_readme() {
    let readme = read("README.md");
    let documents = relative_files("docs", "md");
    let links = documents.iter().map(String::as_str).chain(["tuning/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]);
    let problems: Vec<String> = links
        .filter(|name| !readme.contains(&format!("]({name})")))
        .map(|name| format!("README.md: no link to {name}; say there what it answers"))
        .collect();
    assert_none(&problems);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut problems = Vec::new();
    let documents = relative_files("docs", "md");
    let others = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tuning/README.md"].map(str::to_owned);
    for name in documents.iter().chain(&others) {
        let dir = root().join(name).parent().unwrap().to_owned();
        for (number, line) in numbered(&read(name)) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or_default();
                if !target.contains("://") && !path.is_empty() && !dir.join(path).exists() {
                    problems.push(format!("{name}:{number}: {target} does not exist; correct the link"));
                }
            }
        }
    }
    assert_none(&problems);
}

/// Functions and types that a LIFECYCLE.md names in backquotes.
#[test]
fn lifecycles_name_what_exists() {
    let sources = sources();
    let words: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.is_library())
        .flat_map(|source| source.text.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect();
    let mut problems = Vec::new();
    for name in relative_files("src", "md") {
        for (number, line) in numbered(&read(&name)) {
            let is_path =
                |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
            for path in line.split('`').skip(1).step_by(2).filter(is_path) {
                for word in path.split("::").filter(|word| !words.contains(word)) {
                    problems.push(format!("{name}:{number}: there is no {word} ({path}); say what it is called now"));
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_dependency_has_its_reason() {
    let reasons = read("docs/dependencies.md");
    let mut section = String::new();
    let mut problems = Vec::new();
    for (number, line) in numbered(&read("Cargo.toml")) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if section.ends_with("dependencies") {
            let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value)) else { continue };
            let package = value.split("package = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(name);
            if !name.starts_with('#') && !reasons.contains(&format!("| {package} |")) {
                problems.push(format!(
                    "Cargo.toml:{number}: {package} has no row in docs/dependencies.md; give its reason"
                ));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn braces_and_names_in_strings_do_not_count() {
    assert_eq!(code_of(r#"let a = "crate::x {"; // crate::y"#), "let a = ; ");
    assert_eq!(code_of(r"match c { '{' => 1, '\'' => 2 }"), "match c {  => 1,  => 2 }");
    assert_eq!(code_of("fn f<'a>(x: &'a str) {"), "fn f<a>(x: &a str) {");
    assert_eq!(modules_used("use crate::{pcp, pxp::task};"), ["pcp", "pxp"]);
    assert_eq!(modules_used("crate::link::Event, crate::tls"), ["link", "tls"]);
    assert_eq!(function_name("    pub const fn label(self) -> &'static str {").as_deref(), Some("label"));
    assert_eq!(function_name("fn run(&self) -> bool;"), None);
}
