//! Connections with one name that take each other's place: two hosts with the same certificate would do so several times
//! a second for ever.

use crate::clock::Moment;
use crate::limits::{SUPERSEDE_PAUSE, SUPERSEDE_WINDOW, SUPERSEDED_QUICKLY_MAX};

/// When a connection has taken its name, and how hurriedly.
#[derive(Debug, Clone, Copy)]
pub struct Succession {
    since: Moment,
    /// How many before it, without a pause, were superseded soon after they came.
    hurried: u8,
}

impl Succession {
    /// A connection takes the place of the former one, if there is one.
    pub fn after(former: Option<&Self>, now: Moment) -> Self {
        let hurried = match former {
            Some(former) if now.since(former.since) < SUPERSEDE_WINDOW => former.hurried.saturating_add(1),
            _ => 0,
        };
        Self { since: now, hurried }
    }

    /// Whether the name has been taken so often that its holder is left alone for a while.
    pub fn is_contested(&self, now: Moment) -> bool {
        self.hurried >= SUPERSEDED_QUICKLY_MAX && now.since(self.since) < SUPERSEDE_PAUSE
    }
}
