//! The main thread of a broker between start and stop: signals, files that change, and what systemd wants to know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use tracing::{error, info};

use super::certificates::Tls;
use super::host::BrokerHost;
use super::notify::Notifier;
use crate::broker::sweep::Review;
use crate::config::settings::BrokerSettings;
use crate::reactor::Pulse;

/// Pause before a worker whose mailbox was full is told again.
const RETRY: Duration = Duration::from_millis(100);

/// What may be added to the time of the drain: the API's requests, the last frames, the store.
const BESIDE_DRAIN: Duration = Duration::from_secs(15);

/// How often it is asked whether the process has to end.
const END_CHECK: Duration = Duration::from_secs(1);

/// What else there is in the process.
pub(super) struct Hooks<'a> {
    /// Whether everything besides the workers is as it should be.
    pub(super) is_alive: &'a dyn Fn() -> bool,
    /// Why the process has to end, if it has to.
    pub(super) must_end: &'a dyn Fn() -> Option<String>,
    /// Reads the configuration again; says whether the policy is a new one.
    pub(super) read_again: &'a dyn Fn() -> bool,
    /// Certificates that were good are not any more.
    pub(super) distrusted: &'a dyn Fn(),
}

/// Runs until a signal says stop. A second one ends the process at once.
pub(super) fn until_stopped(
    signals: Signals,
    settings: &BrokerSettings,
    host: &BrokerHost,
    tls: &Tls,
    hooks: &Hooks<'_>,
) -> Result<(), String> {
    let signals = listen(signals).map_err(|error| format!("no thread for signals: {error}"))?;
    let notifier = Notifier::from_environment();
    let mut supervisor = Supervisor {
        settings,
        host,
        tls,
        hooks,
        next_look: Instant::now() + settings.certificate_check_period,
        next_beat: notifier.watchdog().map(|interval| Instant::now() + interval),
        pulse: host.pulse(),
        untold: Vec::new(),
        notifier,
    };
    tls.warn();
    supervisor.publish_next_update();
    supervisor.notifier.ready(&supervisor.status());
    loop {
        match signals.recv_timeout(supervisor.next().saturating_duration_since(Instant::now())) {
            Ok(SIGHUP) => supervisor.reload(),
            Ok(signal) => {
                info!(signal, "stopping");
                supervisor.notifier.stopping(settings.drain_timeout + BESIDE_DRAIN);
                return Ok(());
            }
            Err(RecvTimeoutError::Timeout) => {
                supervisor.due();
                if let Some(why) = (hooks.must_end)() {
                    return Err(why);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the thread for signals has ended".to_owned()),
        }
    }
}

/// Signals one after the other. The second that says stop does not wait for anybody.
fn listen(mut signals: Signals) -> std::io::Result<Receiver<i32>> {
    let (sender, receiver) = bounded(2);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if stopping && signal != SIGHUP {
                eprintln!("podium: a second signal: ending without goodbyes");
                std::process::exit(1);
            }
            stopping |= signal != SIGHUP;
            // A reload that finds another waiting would change nothing, and must not take the place of the stop.
            if signal != SIGHUP || sender.is_empty() {
                let _ = sender.try_send(signal);
            }
        }
    })?;
    Ok(receiver)
}

/// What the main thread knows. (`watch` is what operators see.)
struct Supervisor<'a> {
    settings: &'a BrokerSettings,
    host: &'a BrokerHost,
    tls: &'a Tls,
    hooks: &'a Hooks<'a>,
    notifier: Notifier,
    pulse: Pulse,
    next_look: Instant,
    next_beat: Option<Instant>,
    /// Workers that have not taken the latest review yet.
    untold: Vec<(u16, Arc<Review>)>,
}

impl Supervisor<'_> {
    /// When there is something to do without a signal.
    fn next(&self) -> Instant {
        let next = self.next_beat.map_or(self.next_look, |beat| beat.min(self.next_look));
        let next = next.min(Instant::now() + END_CHECK);
        if self.untold.is_empty() { next } else { next.min(Instant::now() + RETRY) }
    }

    fn due(&mut self) {
        self.tell();
        let now = Instant::now();
        if self.next_look <= now {
            self.next_look = now + self.settings.certificate_check_period;
            if self.tls.has_changed() {
                info!("a file of certificates, CAs or CRLs has changed");
                self.read_certificates(false);
            }
            self.notifier.status(&self.status());
        }
        if self.next_beat.is_some_and(|beat| beat <= now) {
            self.next_beat = self.notifier.watchdog().map(|interval| now + interval);
            match self.pulse.beat() {
                Err(worker) => error!(worker, "a worker does not turn; the watchdog is not told that all is well"),
                Ok(()) if !(self.hooks.is_alive)() => {
                    error!("the dispatcher has ended; the watchdog is not told that all is well");
                }
                Ok(()) => self.notifier.alive(&self.status()),
            }
        }
    }

    /// As a signal has asked for.
    fn reload(&mut self) {
        self.notifier.reloading();
        let is_new_policy = (self.hooks.read_again)();
        self.read_certificates(is_new_policy);
        self.notifier.ready(&self.status());
    }

    fn read_certificates(&mut self, is_new_policy: bool) {
        let throttle = self.settings.expired_throttle;
        let review = match self.tls.reload(throttle) {
            Ok(review) => {
                info!("certificates, CAs and CRLs were read again");
                self.publish_next_update();
                review
            }
            Err(message) => {
                error!("certificates stay as they were: {message}");
                None
            }
        };
        if review.is_some() {
            (self.hooks.distrusted)();
        }
        let review = if is_new_policy { Some(self.tls.review_of_policy(review, throttle)) } else { review };
        if let Some(review) = review {
            let workers = self.host.mailboxes().workers();
            self.untold = to_tell(workers, &review, &self.untold);
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.untold.retain(|(worker, review)| !self.host.review(*worker, review.clone()));
    }

    fn publish_next_update(&self) {
        let seconds = self.tls.next_update().map_or(0, |time| time.as_millis() / 1000);
        self.host.metrics.crl_next_update.set(seconds);
    }

    fn status(&self) -> String {
        format!("{} connections", self.host.broker.directory.len())
    }
}

/// What each worker is to be told: the review, and with it the former one if the worker does not know that yet.
fn to_tell(workers: u16, review: &Arc<Review>, untold: &[(u16, Arc<Review>)]) -> Vec<(u16, Arc<Review>)> {
    let for_worker = |worker| match untold.iter().find(|(other, _)| *other == worker) {
        Some((_, former)) => review.with_what_is_left_of(former),
        None => review.clone(),
    };
    (0..workers).map(|worker| (worker, for_worker(worker))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::sweep::Certificates;

    #[test]
    fn a_review_that_a_worker_has_not_heard_of_is_not_forgotten() {
        let distrusted = Review { certificates: Certificates::Distrusted(Arc::new([])), ..Review::nothing() };
        let next = Arc::new(Review { policy_changed: true, ..Review::nothing() });
        let told = to_tell(2, &next, &[(1, Arc::new(distrusted.clone()))]);
        assert_eq!(told, [(0, next), (1, Arc::new(Review { policy_changed: true, ..distrusted }))]);
    }
}
