//! What substitutions and includes would make of files, before anything is resolved: `aN: ${aN-1}${aN-1}` in 40 lines is
//! a terabyte (HOCON, "Substitutions" and "Include semantics"). An estimate from the tokens, of what is written and how
//! often it is referred to; what is wrong with the files otherwise is the parser's to say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hocon::{Token, TokenKind};

use super::problem::Problem;
use crate::limits::{
    CONFIG_BYTES_MAX, CONFIG_INCLUDE_DEPTH_MAX, CONFIG_RESOLVED_BYTES_MAX, CONFIG_SUBSTITUTION_DEPTH_MAX,
};

/// What a value costs at least besides its text.
const VALUE_BYTES: u64 = 16;

/// Names of a key, outermost first.
type KeyPath = Vec<String>;

/// Refuses files that would take too much memory.
pub fn check(files: &[PathBuf]) -> Result<(), Problem> {
    let mut draft = Draft::default();
    for file in files {
        draft.read(file, &KeyPath::new(), 0)?;
    }
    draft.measure()
}

/// All definitions of all files, in order.
#[derive(Default)]
struct Draft {
    definitions: Vec<Definition>,
    by_path: BTreeMap<KeyPath, Vec<usize>>,
    bytes: u64,
}

/// What is written behind one key, without what stands behind the keys inside of it.
struct Definition {
    path: KeyPath,
    bytes: u64,
    references: Vec<Reference>,
    cost: Cost,
}

struct Reference {
    to: KeyPath,
    file: PathBuf,
    line: usize,
}

#[derive(Clone, Copy)]
enum Cost {
    Unknown,
    InProgress,
    Known(u64),
}

/// Where the walk through the tokens is: inside of an object or an array that is the value of a key.
enum Frame {
    Object(KeyPath),
    Array,
}

impl Draft {
    fn read(&mut self, file: &Path, prefix: &KeyPath, depth: usize) -> Result<(), Problem> {
        let Ok(metadata) = std::fs::metadata(file) else { return Ok(()) };
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.bytes > CONFIG_BYTES_MAX {
            let message =
                format!("with the files before it, more than {CONFIG_BYTES_MAX} bytes; is it the right file?");
            return Err(whole_file(file, message));
        }
        if depth > CONFIG_INCLUDE_DEPTH_MAX {
            let message =
                format!("is included more than {CONFIG_INCLUDE_DEPTH_MAX} files deep; does it include itself?");
            return Err(whole_file(file, message));
        }
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut tokens = hocon::tokenize(&text).unwrap_or_default();
        // A value may begin on the line after its key.
        let mut awaits_value = false;
        tokens.retain(|token| {
            let is_gap = awaits_value && token.kind == TokenKind::Newline;
            awaits_value = is_gap || matches!(token.kind, TokenKind::Colon | TokenKind::Equals | TokenKind::PlusEquals);
            !is_gap
        });
        self.walk(file, &tokens, prefix, depth)
    }

    fn walk(&mut self, file: &Path, tokens: &[Token], prefix: &KeyPath, depth: usize) -> Result<(), Problem> {
        let mut frames = vec![Frame::Object(prefix.clone())];
        // The definition whose value is read, for each frame; before a key there is none.
        let mut open: Vec<Option<usize>> = vec![None];
        let (mut key, mut rest) = (KeyPath::new(), tokens.iter());
        while let Some(token) = rest.next() {
            let within = open.last().copied().flatten();
            let Some(frame) = frames.last() else { return Ok(()) };
            match (&token.kind, within, frame) {
                (TokenKind::RBrace | TokenKind::RBracket, ..) => {
                    // One too many ends nothing: what comes after it may still be read.
                    let depth = (frames.len() - 1).max(1);
                    frames.truncate(depth);
                    open.truncate(depth);
                    key.clear();
                }
                (TokenKind::Newline | TokenKind::Comma, _, Frame::Object(_)) => {
                    key.clear();
                    open.pop();
                    open.push(None);
                }
                (TokenKind::Unquoted, None, Frame::Object(path))
                    if key.is_empty() && token.value.trim() == "include" =>
                {
                    if let Some(name) = rest.next().into_iter().chain(rest.next()).find(|next| is_quoted(next)) {
                        self.include(file, &name.value, path, depth)?;
                    }
                }
                (TokenKind::Unquoted, None, _) => {
                    key.extend(token.value.trim().split('.').filter(|name| !name.is_empty()).map(str::to_owned));
                }
                (_, None, _) if is_quoted(token) => key.push(token.value.clone()),
                (TokenKind::LBrace, None, Frame::Object(_)) if key.is_empty() => {
                    // The braces around the whole file.
                    frames.push(Frame::Object(prefix.clone()));
                    open.push(None);
                }
                (
                    TokenKind::Colon | TokenKind::Equals | TokenKind::PlusEquals | TokenKind::LBrace,
                    None,
                    Frame::Object(path),
                ) => {
                    let path = [&path[..], &std::mem::take(&mut key)[..]].concat();
                    let number = self.define(path.clone());
                    open.pop();
                    open.push(Some(number));
                    if token.kind == TokenKind::PlusEquals {
                        self.refer(number, path.clone(), file, token.line);
                    }
                    if token.kind == TokenKind::LBrace {
                        frames.push(Frame::Object(path));
                        open.push(None);
                    }
                }
                (TokenKind::LBrace, Some(number), _) => {
                    frames.push(Frame::Object(self.definitions[number].path.clone()));
                    open.push(None);
                }
                (TokenKind::LBracket, within, _) => {
                    within.into_iter().for_each(|number| self.definitions[number].bytes += VALUE_BYTES);
                    frames.push(Frame::Array);
                    open.push(within);
                }
                (TokenKind::Substitution, Some(number), _) => self.substitute(number, token, prefix, file),
                (_, Some(number), _) => self.definitions[number].bytes += token.value.len() as u64 + VALUE_BYTES,
                _ => {}
            }
        }
        Ok(())
    }

    /// In an included file a path is meant below where the file is included, or from the top.
    fn substitute(&mut self, from: usize, token: &Token, prefix: &KeyPath, file: &Path) {
        let Some(subst) = &token.subst else { return };
        let to: KeyPath = subst.segments.iter().map(|segment| segment.text.clone()).collect();
        if !prefix.is_empty() {
            self.refer(from, [&prefix[..], &to[..]].concat(), file, token.line);
        }
        self.refer(from, to, file, token.line);
    }

    fn include(&mut self, file: &Path, name: &str, prefix: &KeyPath, depth: usize) -> Result<(), Problem> {
        let beside = file.parent().unwrap_or(Path::new("")).join(name);
        let with = |extension: &str| PathBuf::from(format!("{}.{extension}", beside.display()));
        [beside.clone(), with("conf"), with("json"), with("properties")]
            .iter()
            .filter(|path| path.is_file())
            .try_for_each(|path| self.read(path, prefix, depth + 1))
    }

    fn define(&mut self, path: KeyPath) -> usize {
        let number = self.definitions.len();
        self.by_path.entry(path.clone()).or_default().push(number);
        self.definitions.push(Definition { path, bytes: VALUE_BYTES, references: Vec::new(), cost: Cost::Unknown });
        number
    }

    fn refer(&mut self, from: usize, to: KeyPath, file: &Path, line: usize) {
        self.definitions[from].references.push(Reference { to, file: file.to_owned(), line });
    }

    fn measure(&mut self) -> Result<(), Problem> {
        let mut total = 0;
        for number in 0..self.definitions.len() {
            self.cost(number, &mut total, 0)?;
        }
        Ok(())
    }

    /// Bytes of a definition with what it refers to. Each is added to the total once, which also bounds the work.
    fn cost(&mut self, number: usize, total: &mut u64, depth: usize) -> Result<u64, Problem> {
        match self.definitions[number].cost {
            Cost::Known(cost) => return Ok(cost),
            // Around a circle the parser goes once, or says that there is one.
            Cost::InProgress => return Ok(0),
            Cost::Unknown => {}
        }
        self.definitions[number].cost = Cost::InProgress;
        let references = std::mem::take(&mut self.definitions[number].references);
        let mut cost = self.definitions[number].bytes;
        for reference in &references {
            if depth >= CONFIG_SUBSTITUTION_DEPTH_MAX {
                let what =
                    format!("substitutions go more than {CONFIG_SUBSTITUTION_DEPTH_MAX} deep; shorten the chain");
                return Err(reference.problem(&what));
            }
            for target in self.targets(number, &reference.to) {
                cost = cost.saturating_add(self.cost(target, total, depth + 1)?);
                if total.saturating_add(cost) > CONFIG_RESOLVED_BYTES_MAX {
                    let what = format!("makes the configuration larger than {CONFIG_RESOLVED_BYTES_MAX} bytes");
                    return Err(reference.problem(&format!("{what}; refer to less, or less often")));
                }
            }
        }
        *total = total.saturating_add(cost);
        self.definitions[number].cost = Cost::Known(cost);
        Ok(cost)
    }

    /// The definitions that a reference may stand for: of the path, below it and above it. To its own path it means what
    /// was there before.
    fn targets(&self, from: usize, to: &KeyPath) -> Vec<usize> {
        let own = &self.definitions[from].path;
        let before = if own.starts_with(to) || to.starts_with(own) { from } else { usize::MAX };
        let above = (0..to.len()).filter_map(|length| self.by_path.get(&to[..length]));
        let below = self.by_path.range(to.clone()..).take_while(|(path, _)| path.starts_with(to));
        let mut targets = Vec::new();
        for numbers in above.chain(below.map(|(_, numbers)| numbers)) {
            let mut numbers = numbers.iter().rev().copied().filter(|&number| number < before);
            // A value takes the place of the one before it, which it has counted if it refers to it.
            targets.extend(numbers.next());
            if before == usize::MAX {
                targets.extend(numbers);
            }
        }
        targets
    }
}

impl Reference {
    fn problem(&self, what: &str) -> Problem {
        whole_file(&self.file, format!("line {}: ${{{}}}: {what}", self.line, self.to.join(".")))
    }
}

fn is_quoted(token: &Token) -> bool {
    matches!(token.kind, TokenKind::QuotedString | TokenKind::TripleQuotedString)
}

fn whole_file(file: &Path, message: String) -> Problem {
    Problem { file: file.to_owned(), key: String::new(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(texts: &[(&str, &str)]) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in texts {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let prefix = format!("{}/", dir.path().display());
        check(&[dir.path().join(texts[0].0)]).map_err(|problem| problem.to_string().replace(&prefix, ""))
    }

    fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
        (1..=count).map(line).collect()
    }

    #[test]
    fn what_grows_with_each_line_is_refused() {
        let doubling = lines(40, |n| format!("a{n}: ${{a{}}}${{a{}}}\n", n - 1, n - 1));
        let told = checked(&[("a.conf", &format!("a0: x\n{doubling}"))]).unwrap_err();
        assert!(told.starts_with("a.conf: line ") && told.contains("makes the configuration larger than"), "{told}");
        let lists = lines(40, |n| format!("b.a{n} = [${{b.a{}}}, {{ c: ${{b.a{}}} }}]\n", n - 1, n - 1));
        assert!(checked(&[("a.conf", &format!("b.a0: x\n{lists}"))]).is_err());
        let own = "a: ${a} [${a}]\n".repeat(40);
        assert!(checked(&[("a.conf", &format!("a: [1]\n{own}"))]).is_err());
        let below = format!("a: [1]\n{}", own.replace("a:", "a:\n\n"));
        assert!(checked(&[("a.conf", &below)]).is_err());
        let own = "a: ${a} [${a}]\n";
        let odd = format!("a: [1]\n{}}}}}]\n{}", own.repeat(12), own.repeat(20));
        assert!(checked(&[("a.conf", &odd)]).is_err(), "braces that nothing opened end nothing");
        let included = [("a.conf", "include \"b\""), ("b.conf", &*format!("a0: x\n{doubling}"))];
        assert!(checked(&included).unwrap_err().starts_with("b.conf: line "));
    }

    #[test]
    fn long_chains_and_circles_of_files_are_refused() {
        let chain = lines(1_000, |n| format!("a{n}: ${{a{}}}\n", n + 1));
        let told = checked(&[("a.conf", &chain)]).unwrap_err();
        assert!(told.contains("substitutions go more than") && told.contains("line 33"), "{told}");
        let told = checked(&[("a.conf", "include \"a.conf\"\ninclude \"a.conf\"")]).unwrap_err();
        assert!(told.contains("does it include itself?"), "{told}");
        let told = checked(&[("a.conf", &"#".repeat(CONFIG_BYTES_MAX as usize + 1))]).unwrap_err();
        assert!(told.contains("is it the right file?"), "{told}");
    }

    #[test]
    fn what_people_write_is_taken() {
        let many = lines(500, |n| format!("k{n}: ${{dirs.ssl}}\"/{n}.pem\"\n"));
        let appended = lines(100, |n| format!("args += {n}\npath: ${{?path}} /{n}\n"));
        let sections = "base { a: 1, b { c: 2 } }\nx: ${base} { b.c: 3 }\ny: ${x}\nz: ${y.b.c}${base.b.c}\n";
        let circle = "p: ${q}\nq: ${p}\n";
        let text = format!("dirs {{ ssl: /etc/ssl }}\n{many}{appended}{sections}{circle}");
        assert_eq!(checked(&[("a.conf", &text)]), Ok(()));
        assert_eq!(checked(&[("a.conf", "{ a: [1, 2 ] ] } } x ${ [ {")]), Ok(()), "the parser says what is wrong");
    }
}
