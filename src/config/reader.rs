//! Takes typed values out of a tree. Every getter notes the key as known and its problem, if there is one, and goes on,
//! so that one start shows everything that is wrong; what nobody asked for at the end is unknown.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hocon::HoconValue;

use super::duration::{self, Bare};
use super::hocon::Tree;
use super::problem::Problem;
use super::settings::LogLevel;

/// A key that the reference has and that does nothing here, with what applies instead.
pub type WithoutEffect<'k> = (&'k str, &'static str);

/// One pass over a tree.
pub struct Reader<'t> {
    tree: &'t Tree,
    known: Vec<String>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'t> Reader<'t> {
    /// Starts with nothing known.
    pub fn new(tree: &'t Tree) -> Self {
        Self { tree, known: Vec::new(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// Ends the pass: reports what was never asked for and returns problems and warnings.
    pub fn finish(mut self, without_effect: &[WithoutEffect<'_>]) -> (Vec<Problem>, Vec<Problem>) {
        for leaf in self.unasked() {
            match without_effect.iter().find(|(key, _)| within(&leaf, key)) {
                Some((_, instead)) => {
                    self.warn(&leaf, format!("has no effect in this version; {instead}"));
                }
                None => self.unknown(&leaf),
            }
        }
        (self.problems, self.warnings)
    }

    /// The same for files that were written for several services: what does not apply is named in one warning. Only in
    /// `own` sections is an unknown key an error, and where a section looks like a misspelt one of these; the other
    /// sections, and those below `others`, belong to other services.
    pub fn finish_among_others(
        mut self,
        without_effect: &[WithoutEffect<'_>],
        own: &[&str],
        others: &[String],
    ) -> (Vec<Problem>, Vec<Problem>) {
        let (mut idle, mut foreign) = (Vec::new(), BTreeSet::new());
        for leaf in self.unasked() {
            let section = leaf.split('.').next().unwrap_or_default();
            let resembles = |own: &&str| distance(section, own) <= 2;
            if let Some((_, instead)) = without_effect.iter().find(|(key, _)| within(&leaf, key)) {
                idle.push(format!("{leaf} ({instead})"));
            } else if let Some(other) = others.iter().find(|other| within(&leaf, other)) {
                foreign.insert(other.clone());
            } else if own.contains(&section) || own.iter().any(resembles) {
                self.unknown(&leaf);
            } else {
                foreign.insert(section.to_owned());
            }
        }
        let mut parts = Vec::new();
        if !idle.is_empty() {
            parts.push(format!("keys without effect here: {}", idle.join(", ")));
        }
        if !foreign.is_empty() {
            let foreign: Vec<String> = foreign.into_iter().collect();
            parts.push(format!("sections of other services, which are not read: {}", foreign.join(", ")));
        }
        if !parts.is_empty() {
            self.warnings.push(Problem { file: self.tree.dir.clone(), key: String::new(), message: parts.join("; ") });
        }
        (self.problems, self.warnings)
    }

    /// The keys that nobody has asked for.
    fn unasked(&self) -> Vec<String> {
        let mut leaves = self.tree.leaves();
        leaves.retain(|leaf| !self.known.contains(leaf) && !self.tree.get(leaf).is_some_and(is_empty_object));
        leaves
    }

    fn unknown(&mut self, leaf: &str) {
        let nearest = nearest(leaf, self.known.iter().map(String::as_str));
        let advice = nearest.map_or("remove it".to_owned(), |key| format!("did you mean {key}?"));
        self.fail(leaf, format!("unknown key; {advice}"));
    }

    /// Reports a problem with a key.
    pub fn fail(&mut self, key: &str, message: impl Into<String>) {
        let file = self.tree.file_of(key).to_owned();
        self.problems.push(Problem { file, key: key.to_owned(), message: message.into() });
    }

    /// Reports something that works and is probably not what was meant.
    pub fn warn(&mut self, key: &str, message: impl Into<String>) {
        let file = self.tree.file_of(key).to_owned();
        self.warnings.push(Problem { file, key: key.to_owned(), message: message.into() });
    }

    /// Whether the key is set.
    pub fn has(&mut self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The names in a section that stand for sections themselves.
    pub fn subsections(&self, key: &str) -> Vec<String> {
        let section = self.tree.get(key).and_then(HoconValue::as_object);
        let names = section.into_iter().flatten().filter(|(_, value)| value.as_object().is_some());
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Whether the key is a section.
    pub fn has_section(&mut self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.as_object().is_some())
    }

    /// A string; numbers and booleans count as their text, as in HOCON.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            HoconValue::Scalar(scalar) => Some(scalar.raw.clone()),
            other => self.wrong_type(key, "a string", other),
        }
    }

    /// A list of strings.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let items = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        });
        if items.is_none() {
            return self.wrong_type(key, "an array of strings", value);
        }
        items
    }

    /// A whole number within a range.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let Some(number) = value.as_i64() else { return self.wrong_type(key, "an integer", value) };
        match u64::try_from(number).ok().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                self.fail(key, format!("{number} is out of range; give {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let text = self.text(key)?;
        match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                self.fail(key, format!("must be true or false, found \"{other}\""));
                None
            }
        }
    }

    /// A duration within a range, as a number or with a unit.
    pub fn duration(&mut self, key: &str, bare: Bare, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text(key)?;
        let Some(value) = duration::parse(&text, bare) else {
            let unit = match bare {
                Bare::Milliseconds => "milliseconds",
                Bare::Seconds => "seconds",
            };
            self.fail(key, format!("\"{text}\" is not a duration; give {unit} or a number with s, m, h or d"));
            return None;
        };
        if !range.contains(&value) {
            let (least, most) = (duration::show(*range.start()), duration::show(*range.end()));
            self.fail(key, format!("{} is out of range; give {least} to {most}", duration::show(value)));
            return None;
        }
        Some(value)
    }

    /// A path; `~` is the home directory and relative paths start at the configuration directory.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.text(key).filter(|text| !text.is_empty())?;
        if let Some(below_home) = text.strip_prefix("~/") {
            let Some(home) = std::env::home_dir() else {
                self.fail(key, format!("\"{text}\": no home directory is known; write the whole path"));
                return None;
            };
            return Some(home.join(below_home));
        }
        Some(self.tree.dir.join(text))
    }

    /// A file that must be there and readable.
    pub fn file(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.path(key)?;
        match std::fs::File::open(&path) {
            Ok(_) if path.is_file() => return Some(path),
            Ok(_) => self.fail(key, format!("'{}' is not a file; give a PEM file", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.fail(key, format!("file '{}' not found; check the path", path.display()));
            }
            Err(error) => {
                let path = path.display();
                self.fail(key, format!("file '{path}' not readable ({error}); check owner and mode"));
            }
        }
        None
    }

    /// A file that must be given, there and readable.
    pub fn required_file(&mut self, key: &str) -> Option<PathBuf> {
        if self.text(key).is_none_or(|text| text.is_empty()) {
            self.fail(key, "value must be defined; give the path of a PEM file");
            return None;
        }
        self.file(key)
    }

    /// A directory that may still have to be made: nothing else may be in its place.
    pub fn directory_to_make(&mut self, key: &str, default: PathBuf) -> PathBuf {
        let path = self.path(key).unwrap_or(default);
        self.refuse_non_directory(key, &path);
        path
    }

    /// The file of the log: `-` is standard error. Its directory may still have to be made.
    pub fn log_file(&mut self, key: &str, default: Option<PathBuf>) -> Option<PathBuf> {
        match self.text(key).as_deref() {
            Some("-") => None,
            Some("syslog" | "eventlog") => {
                self.fail(
                    key,
                    "is not supported; give a file, or - for standard error, which systemd takes to its journal",
                );
                None
            }
            Some(_) => {
                let path = self.path(key)?;
                if let Some(dir) = path.parent() {
                    self.refuse_non_directory(key, dir);
                }
                if path.is_dir() {
                    self.fail(key, format!("'{}' is a directory; give a file", path.display()));
                }
                Some(path)
            }
            None => default,
        }
    }

    /// The severity below which nothing is written. The reference's `fatal` and `none` have nothing below error here.
    pub fn log_level(&mut self, key: &str) -> LogLevel {
        let Some(text) = self.text(key) else { return LogLevel::Info };
        match text.to_lowercase().as_str() {
            "error" => LogLevel::Error,
            "warn" | "warning" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            "fatal" | "none" => {
                self.warn(key, format!("{text} is taken as error, the highest level of this version"));
                LogLevel::Error
            }
            _ => {
                self.fail(key, format!("invalid log level: '{text}'; give error, warn, info, debug or trace"));
                LogLevel::Info
            }
        }
    }

    /// Bytes of the largest message: `cap` if not set, and capped with a warning at what its receivers take.
    pub fn message_bytes(&mut self, key: &str, cap: usize) -> usize {
        let Some(bytes) = self.integer(key, 1024..=64 * 1024 * 1024) else { return cap };
        match usize::try_from(bytes).ok().filter(|bytes| *bytes <= cap) {
            Some(bytes) => bytes,
            None => {
                self.warn(key, format!("{bytes} is taken as {cap}: deployed agents close on anything larger"));
                cap
            }
        }
    }

    /// The value as it is.
    pub fn value(&mut self, key: &str) -> Option<&'t HoconValue> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        self.tree.get(key)
    }

    fn wrong_type<T>(&mut self, key: &str, expected: &str, found: &HoconValue) -> Option<T> {
        let found = shown(found);
        self.fail(key, format!("must be {expected}, found {found}"));
        None
    }

    fn refuse_non_directory(&mut self, key: &str, path: &Path) {
        if path.exists() && !path.is_dir() {
            self.fail(key, format!("'{}' is not a directory; move what is there or give another path", path.display()));
        }
    }
}

/// The known key that a misspelt one most likely means.
pub fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .map(|known| {
            let whole = distance(unknown, known);
            // The right name in the wrong section is the other common slip.
            (if last(unknown) == last(known) { whole.min(2) } else { whole }, known)
        })
        .filter(|(distance, known)| *distance <= 2 + known.len() / 10)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// A value in words, for a message.
pub fn shown(value: &HoconValue) -> String {
    match value {
        HoconValue::Object(_) => "an object".to_owned(),
        HoconValue::Array(_) => "an array".to_owned(),
        HoconValue::Scalar(scalar) => format!("\"{}\"", scalar.raw),
        _ => "something unresolved".to_owned(),
    }
}

fn is_empty_object(value: &HoconValue) -> bool {
    value.as_object().is_some_and(|object| object.is_empty())
}

/// Whether a leaf is the key or below it; `*` stands for one name.
fn within(leaf: &str, key: &str) -> bool {
    let mut names = leaf.split('.');
    key.split('.').all(|part| names.next().is_some_and(|name| part == "*" || part == name))
}

/// Levenshtein's distance: insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, byte_b) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte_a != byte_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("ssl-cert", "ssl-cert"), 0);
        assert_eq!(distance("ssl-crt", "ssl-cert"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn wildcards_stand_for_one_name() {
        assert!(within("webserver.orchestrator.client-auth", "webserver.*.client-auth"));
        assert!(within("authorization.rules", "authorization"));
        assert!(!within("webserver.client-auth", "webserver.*.client-auth"));
    }
}
