//! How many lines the log gets about one kind of thing that peers can cause at will: a flood of bad clients or messages
//! must not become a flood of lines. The counters in [`crate::observe::metrics`] count all of them. PURE.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::limits::FAILURE_LOG_LINES;

const WINDOW: Duration = Duration::from_secs(1);

/// How many lines were written under each label lately. Labels are words of the program, so their number is bounded.
#[derive(Debug, Default)]
pub struct Pace {
    windows: HashMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    start: Moment,
    lines: u32,
    suppressed: u64,
}

impl Pace {
    /// Whether a line may be written. Says first how many could not since the last one.
    pub fn allows(&mut self, now: Moment, label: &'static str) -> bool {
        let Some(suppressed) = self.admit(now, label) else { return false };
        if suppressed > 0 {
            tracing::info!(label, suppressed, "more of these were not logged");
        }
        true
    }

    /// The number of lines suppressed since the last one, if this one may be written.
    fn admit(&mut self, now: Moment, label: &'static str) -> Option<u64> {
        let window = self.windows.entry(label).or_insert(Window { start: now, lines: 0, suppressed: 0 });
        if now.since(window.start) >= WINDOW {
            window.start = now;
            window.lines = 0;
        }
        if window.lines >= FAILURE_LOG_LINES {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let mut pace = Pace::default();
        let at = Moment::from_millis;
        for _ in 0..FAILURE_LOG_LINES {
            assert_eq!(pace.admit(at(5), "not-tls"), Some(0));
        }
        for _ in 0..100 {
            assert_eq!(pace.admit(at(6), "not-tls"), None);
        }
        assert_eq!(pace.admit(at(6), "idle"), Some(0));
        assert_eq!(pace.admit(at(1005), "not-tls"), Some(100));
    }
}
