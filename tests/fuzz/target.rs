//! What is fuzzed, from a corpus: every file below `tests/fuzz/corpus/<name>/` is an input of its own and the beginning
//! of others. Adding a target is a directory with a few files and a test of ten lines:
//!
//! ```text
//! #[test]
//! fn chunks() {
//!     let words: [&[u8]; 2] = [b"\x01\x00\x00\x00\x01", b"\xFF\xFF\xFF\xFF"];
//!     Target { name: "chunks", words: &words, cases: 3_000 }.run(|_, input| match Chunks::decode(input) {
//!         Ok(chunks) => { assert!(chunks.len() <= input.len()); Verdict::Sound }
//!         Err(_) => Verdict::Refused,
//!     });
//! }
//! ```
//!
//! By default each target is given its corpus and then a fixed number of damaged inputs, the same in every run;
//! `FUZZ_CASES` and `FUZZ_SEED` change that. `FUZZ_SECONDS=600 cargo test --release fuzz::texts::envelopes -- --nocapture`
//! goes on for so long, from a new seed, and prints how many executions that were. With `FUZZ_FOUND=<file>`, the input
//! that panics or does not come to an end is written there: it belongs into the corpus, under a name that says what it
//! does.

use std::cell::RefCell;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use podium::random::{Random, seed};

use super::mutator::{mutate, noise};
use super::number;

/// Damaged inputs that are kept because they are still good, so that damage adds up.
const POOL_MAX: usize = 512;

/// Longest input that is kept.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// Executions between two looks at the clock.
const STRETCH: u64 = 64;

/// How long one input may take before it counts as one that never ends. Only looked at with `FUZZ_SECONDS`.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of an input that has not panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was understood.
    Sound,
    /// It was refused.
    Refused,
}

/// One thing that reads foreign bytes.
pub struct Target {
    /// Its directory in the corpus.
    pub name: &'static str,
    /// What random damage would hardly ever hit.
    pub words: &'static [&'static [u8]],
    /// Damaged inputs in an ordinary run.
    pub cases: u64,
}

impl Target {
    /// Gives `check` the corpus and what comes of it. It panics if something does not hold; its random numbers depend
    /// on the input alone, so that a file of the corpus says everything.
    pub fn run(&self, check: impl Fn(&mut Random, &[u8]) -> Verdict) {
        let corpus = self.corpus();
        let present = Present::new(self.name);
        let mut pool = Vec::new();
        for (path, input) in &corpus {
            if present.execute(&path.display().to_string(), input, &check) == Verdict::Sound {
                pool.push(input.clone());
            }
        }
        let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
        let seconds = number("FUZZ_SECONDS");
        let first = number("FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { seed() } else { 1 });
        let origin = format!("{} from seed {first}", self.name);
        let mut random = Random::seeded(first);
        let mut once = || {
            let input = self.damaged(&mut random, &corpus, &pool);
            let verdict = present.execute(&origin, &input, &check);
            if verdict == Verdict::Sound && input.len() <= KEPT_BYTES_MAX {
                if pool.len() < POOL_MAX {
                    pool.push(input);
                } else {
                    let at = random.index(POOL_MAX);
                    pool[at] = input;
                }
            }
            verdict
        };
        let Some(seconds) = seconds else {
            for _ in 0..number("FUZZ_CASES").unwrap_or(self.cases) {
                once();
            }
            return;
        };
        let watch = Watch::start(present.watched.clone());
        let (begin, mut sound) = (Instant::now(), 0u64);
        while begin.elapsed() < Duration::from_secs(seconds) {
            sound += (0..STRETCH).filter(|_| once() == Verdict::Sound).count() as u64;
        }
        watch.stop();
        let executions = present.watched.executions.load(Ordering::Relaxed);
        println!("{}: {executions} executions in {seconds} s, {sound} of them sound; {origin}", self.name);
    }

    fn damaged(&self, random: &mut Random, corpus: &[Vec<u8>], pool: &[Vec<u8>]) -> Vec<u8> {
        if random.percent(2) {
            return noise(random);
        }
        let from = if pool.is_empty() || random.percent(50) { corpus } else { pool };
        let beginning = random.pick(from);
        let mut input = mutate(random, beginning, self.words);
        // The beginning of one and the end of another.
        if random.percent(10) {
            let other = random.pick(corpus);
            input.truncate(random.index(input.len() + 1));
            input.extend_from_slice(&other[random.index(other.len() + 1)..]);
        }
        input
    }

    /// All files, in the order of their names.
    fn corpus(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(self.name);
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(paths.len() >= 10, "{}: {} files are too few to start from", directory.display(), paths.len());
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

/// The input that is being looked at, for whoever must save it.
struct Present {
    watched: Arc<Watched>,
    origin: RefCell<String>,
}

struct Watched {
    target: &'static str,
    executions: AtomicU64,
    input: Mutex<Vec<u8>>,
}

impl Present {
    fn new(target: &'static str) -> Self {
        let watched = Watched { target, executions: AtomicU64::new(0), input: Mutex::new(Vec::new()) };
        Self { watched: Arc::new(watched), origin: RefCell::new(String::new()) }
    }

    fn execute(&self, origin: &str, input: &[u8], check: &impl Fn(&mut Random, &[u8]) -> Verdict) -> Verdict {
        let mut origin_kept = self.origin.borrow_mut();
        if *origin_kept != origin {
            origin.clone_into(&mut origin_kept);
        }
        drop(origin_kept);
        self.watched.note(input);
        let mut hasher = DefaultHasher::new();
        hasher.write(input);
        check(&mut Random::seeded(hasher.finish()), input)
    }
}

impl Watched {
    fn note(&self, input: &[u8]) {
        let mut kept = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.extend_from_slice(input);
        self.executions.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the input where the environment says, or at least to the terminal.
    fn save(&self, what: &str) {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{}: {what} this input of {} bytes:\n{}", self.target, input.len(), input.escape_ascii());
        if let Ok(path) = std::env::var("FUZZ_FOUND") {
            fs::write(&path, &*input).unwrap();
            println!("it is in {path}: put it into tests/fuzz/corpus/{}/", self.target);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.origin.borrow());
            self.watched.save("a panic with");
        }
    }
}

/// Ends the process if an input does not come to an end.
struct Watch {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn start(watched: Arc<Watched>) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut last = None;
            while stopped.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let now = watched.executions.load(Ordering::Relaxed);
                if last.replace(now) == Some(now) {
                    watched.save("no end of");
                    std::process::exit(1);
                }
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}
