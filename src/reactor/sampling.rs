//! How long the application takes for what it is given: every start and end of a connection, and one in
//! [`TIMED_MESSAGES`] messages, each for two looks at the clock.

use crate::clock::Stopwatch;
use crate::limits::TIMED_MESSAGES;
use crate::link::{Application, CloseReason, Event, PeerId};
use crate::reactor::core::Core;

/// Chooses one in [`TIMED_MESSAGES`].
#[derive(Debug, Default)]
pub(super) struct Sampling(u32);

impl Sampling {
    /// A stopwatch if this one is to be timed.
    pub(super) fn next(&mut self) -> Option<Stopwatch> {
        let is_due = self.0 == 0;
        self.0 = if is_due { TIMED_MESSAGES - 1 } else { self.0 - 1 };
        is_due.then(Stopwatch::start)
    }
}

/// Gives a message to the application.
pub(super) fn hand_over<A: Application>(application: &mut A, core: &mut Core<A::Mail>, message: Event<'_, A::Mail>) {
    let begun = core.received.next();
    application.handle(core.now, message, core);
    if let Some(begun) = begun {
        core.common.options.metrics.on_message.measured(begun.elapsed());
    }
}

/// Tells the application of the end of a connection.
pub(super) fn take_back<A: Application>(
    application: &mut A,
    core: &mut Core<A::Mail>,
    peer: PeerId,
    reason: CloseReason,
) {
    let begun = Stopwatch::start();
    application.handle(core.now, Event::Closed { peer, reason }, core);
    let timer = &core.common.options.metrics.on_close;
    timer.count(1);
    timer.measured(begun.elapsed());
}
