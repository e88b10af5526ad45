//! The command-line flags of pxp-agent: one for each key of its file, which they override.

use std::path::Path;

use super::hocon::Tree;
use super::problem::Problem;

/// Keys with a value, given on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(Vec<(&'static str, String)>);

impl Overrides {
    /// A key's value, as text.
    pub fn set(&mut self, key: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.push((key, value.to_string()));
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them over what the files say.
    pub(super) fn apply(&self, tree: &mut Tree, problems: &mut Vec<Problem>) {
        for (key, value) in &self.0 {
            // One broker on the command line stands in place of the list in the file.
            if *key == "broker-ws-uri" {
                tree.remove("broker-ws-uris");
            }
            if let Err(error) = tree.set(key, value) {
                let message = format!("{error}; give another value on the command line");
                problems.push(Problem { file: Path::new(COMMAND_LINE).to_owned(), key: (*key).to_owned(), message });
            }
        }
    }
}

/// Stands in problems in place of a file.
pub(super) const COMMAND_LINE: &str = "command line";
