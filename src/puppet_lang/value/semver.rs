//! Semantic versions and ranges of them (semver.org 2.0.0, and the ranges of npm that Puppet takes).

use std::cmp::Ordering;
use std::fmt;

/// A version.
#[derive(Debug, Clone)]
pub struct SemVer {
    numbers: [u64; 3],
    prerelease: Vec<String>,
    build: Vec<String>,
}

impl SemVer {
    /// Reads `major.minor.patch-prerelease+build`.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, prerelease) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let mut numbers = core.split('.').map(number);
        let version = Self {
            numbers: [numbers.next()??, numbers.next()??, numbers.next()??],
            prerelease: identifiers(prerelease, true)?,
            build: identifiers(build, false)?,
        };
        numbers.next().is_none().then_some(version)
    }

    /// From its parts.
    pub fn of(numbers: [u64; 3], prerelease: Option<&str>, build: Option<&str>) -> Option<Self> {
        Some(Self { numbers, prerelease: identifiers(prerelease, true)?, build: identifiers(build, false)? })
    }

    /// `major`, `minor`, `patch`.
    pub fn numbers(&self) -> [u64; 3] {
        self.numbers
    }

    fn stable(numbers: [u64; 3]) -> Self {
        Self { numbers, prerelease: vec![], build: vec![] }
    }

    /// Before every release with these numbers.
    fn lowest(numbers: [u64; 3]) -> Self {
        Self { numbers, prerelease: vec![String::new()], build: vec![] }
    }
}

fn number(text: &str) -> Option<u64> {
    let is_plain =
        text == "0" || (!text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|_| is_plain)
}

fn identifiers(text: Option<&str>, no_leading_zeros: bool) -> Option<Vec<String>> {
    let Some(text) = text else { return Some(vec![]) };
    let is_valid = |part: &&str| {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !(no_leading_zeros && is_number && part.len() > 1 && part.starts_with('0'))
    };
    text.split('.').map(|part| Some(part).filter(is_valid).map(str::to_owned)).collect()
}

impl fmt::Display for SemVer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease.join("."))?;
        }
        if self.build.is_empty() { Ok(()) } else { write!(f, "+{}", self.build.join(".")) }
    }
}

impl PartialEq for SemVer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SemVer {}

impl PartialOrd for SemVer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SemVer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let pairs = self.prerelease.iter().zip(&other.prerelease);
                let first = pairs.map(|(a, b)| identifier_order(a, b)).find(|order| order.is_ne());
                first.unwrap_or_else(|| self.prerelease.len().cmp(&other.prerelease.len()))
            }
        })
    }
}

fn identifier_order(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// A range of versions: any of its parts.
#[derive(Debug, Clone)]
pub struct SemVerRange {
    text: String,
    parts: Vec<Vec<(Comparison, SemVer)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl SemVerRange {
    /// Reads `>=1.0.0 <2.0.0`, `1.x`, `~1.2`, `^1.2.3`, `1.0.0 - 2.0.0`, several with `||`.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split("||").map(|part| comparisons(part.trim())).collect::<Option<_>>()?;
        Some(Self { text: text.trim().to_owned(), parts })
    }

    /// Whether the version is in the range. One before a release is so only if the range names its release.
    pub fn includes(&self, version: &SemVer) -> bool {
        self.parts.iter().any(|part| {
            let is_within = part.iter().all(|(comparison, end)| match comparison {
                Comparison::Less => version < end,
                Comparison::LessOrEqual => version <= end,
                Comparison::Greater => version > end,
                Comparison::GreaterOrEqual => version >= end,
                Comparison::Equal => version == end,
            });
            let names_release = || {
                part.iter().any(|(_, end)| {
                    end.numbers == version.numbers && end.prerelease.first().is_some_and(|first| !first.is_empty())
                })
            };
            is_within && (version.prerelease.is_empty() || names_release())
        })
    }
}

impl PartialEq for SemVerRange {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl fmt::Display for SemVerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn comparisons(text: &str) -> Option<Vec<(Comparison, SemVer)>> {
    if let Some((from, to)) = text.split_once(" - ") {
        let mut ends = simple(Some(Comparison::GreaterOrEqual), from.trim())?;
        ends.extend(simple(Some(Comparison::LessOrEqual), to.trim())?);
        return Some(ends);
    }
    let mut all = Vec::new();
    let mut words = text.split_whitespace();
    if text.is_empty() {
        return simple(None, "*");
    }
    while let Some(word) = words.next() {
        let digits = word.trim_start_matches(['<', '>', '=', '~', '^']);
        let operator = &word[..word.len() - digits.len()];
        let digits = if digits.is_empty() { words.next()? } else { digits };
        all.extend(match operator {
            "" | "=" => simple(None, digits)?,
            "<" => simple(Some(Comparison::Less), digits)?,
            "<=" => simple(Some(Comparison::LessOrEqual), digits)?,
            ">" => simple(Some(Comparison::Greater), digits)?,
            ">=" => simple(Some(Comparison::GreaterOrEqual), digits)?,
            "~" | "~>" => up_to(digits, |partial| if partial.1 == 1 { 0 } else { 1 })?,
            "^" => up_to(digits, |(numbers, _)| numbers.iter().position(|n| *n > 0).unwrap_or(2))?,
            _ => return None,
        });
    }
    Some(all)
}

/// The numbers that are there, and how many.
fn partial(text: &str) -> Option<([u64; 3], usize)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = [0; 3];
    let mut count = 0;
    for part in text.split('.') {
        if matches!(part, "x" | "X" | "*") {
            break;
        }
        *numbers.get_mut(count)? = number(part)?;
        count += 1;
    }
    Some((numbers, count))
}

/// The first version after all that begin with the first `count` numbers.
fn after(numbers: [u64; 3], count: usize) -> Option<SemVer> {
    let mut next = [0; 3];
    next[..count].copy_from_slice(&numbers[..count]);
    next[count - 1] = next[count - 1].checked_add(1)?;
    Some(SemVer::lowest(next))
}

fn simple(comparison: Option<Comparison>, text: &str) -> Option<Vec<(Comparison, SemVer)>> {
    if let Some(version) = SemVer::parse(text) {
        return Some(vec![(comparison.unwrap_or(Comparison::Equal), version)]);
    }
    let (numbers, count) = partial(text)?;
    let first = SemVer::lowest(numbers);
    Some(match (comparison, count) {
        (None | Some(Comparison::GreaterOrEqual | Comparison::LessOrEqual), 0) => {
            vec![(Comparison::GreaterOrEqual, SemVer::stable([0; 3]))]
        }
        (None, 3) => vec![(Comparison::Equal, SemVer::stable(numbers))],
        (None, _) => vec![(Comparison::GreaterOrEqual, first), (Comparison::Less, after(numbers, count)?)],
        (Some(Comparison::Less), _) => vec![(Comparison::Less, first)],
        (Some(Comparison::Greater), 0) => vec![(Comparison::Less, SemVer::lowest([0; 3]))],
        (Some(Comparison::Greater), _) => vec![(Comparison::GreaterOrEqual, after(numbers, count)?)],
        (Some(Comparison::LessOrEqual), _) => vec![(Comparison::Less, after(numbers, count)?)],
        (Some(_), _) => vec![(Comparison::GreaterOrEqual, first)],
    })
}

/// From a version up to the next one in the place that `place` chooses.
fn up_to(text: &str, place: fn(([u64; 3], usize)) -> usize) -> Option<Vec<(Comparison, SemVer)>> {
    let (from, numbers, count) = match SemVer::parse(text) {
        Some(version) => {
            let numbers = version.numbers;
            (version, numbers, 3)
        }
        None => {
            let (numbers, count) = partial(text)?;
            (SemVer::stable(numbers), numbers, count)
        }
    };
    if count == 0 {
        return simple(None, "*");
    }
    Some(vec![(Comparison::GreaterOrEqual, from), (Comparison::Less, after(numbers, place((numbers, count)) + 1)?)])
}
