//! A webhook's thread: it reads events from the store where it left off, posts those that were asked for, and writes down
//! how far it got. What was taken but not written down is posted again after a crash.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use serde_json::{Value, json};

use super::destination::{Destination, admits, admits_loopback};
use super::signature::sign;
use super::{HookState, Parts, Webhook, event_json};
use crate::clock::WallTime;
use crate::https::{Client, HttpError, Method, Request, StatusCode};
use crate::limits::{
    EVENTS_PART_MAX, EVENTS_POLL_INTERVAL, WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_CONNECT_TIMEOUT, WEBHOOK_EVENTS_MAX,
    WEBHOOK_GIVE_UP, WEBHOOK_RETRY_FIRST, WEBHOOK_RETRY_MAX, WEBHOOK_TIMEOUT,
};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::webhooks::WebhooksChange;
use crate::random::{self, Random};

/// Events that nobody has asked for are skipped in memory; after so many the place is written down.
const SKIPPED_MAX: i64 = 10_000;

/// Why a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of which kind.
    pub(super) verdict: Verdict,
    /// What happened, for administrators: it may name the path, which may be a secret.
    pub(super) message: String,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again later.
    Again,
    /// The server says that it will never take one.
    Gone,
}

/// A thread's ends of what its keeper has the others of.
pub(super) struct Ends {
    /// A word tries again at once; the thread ends when the other end is dropped.
    pub(super) woken: Receiver<()>,
    /// Set once nothing more is to be expected of the thread.
    pub(super) is_ending: Arc<AtomicBool>,
}

/// Starts the thread. It ends when its keeper drops it, when the webhook is given up, or when it is not this server any more
/// that delivers.
pub(super) fn spawn(parts: Arc<Parts>, hook: Webhook, ends: Ends) -> io::Result<JoinHandle<()>> {
    let worker = Worker {
        stored_next: hook.standing.next_event,
        courier: None,
        random: Random::seeded(random::seed()),
        parts,
        hook,
        ends,
    };
    thread::Builder::new().name("webhook".into()).spawn(move || worker.run())
}

struct Worker {
    parts: Arc<Parts>,
    hook: Webhook,
    /// The place that is written down.
    stored_next: i64,
    /// Made anew after each failure: CAs may have changed.
    courier: Option<Courier>,
    ends: Ends,
    random: Random,
}

/// What a step came to.
enum Step {
    /// There may be more to do.
    Done,
    /// There is nothing to do.
    Idle,
    /// It failed; to be tried again after a pause.
    Failed(Duration),
    /// It is given up, or another server delivers.
    Over,
}

impl Worker {
    fn run(mut self) {
        // Once the other end is dropped there is nothing to wait for.
        while self.ends.woken.try_recv() != Err(TryRecvError::Disconnected) {
            let rings = self.parts.bell.rings();
            let step = self.step().unwrap_or_else(|error| {
                tracing::warn!(webhook = self.hook.id, %error, "a webhook's events cannot be read");
                Step::Failed(WEBHOOK_RETRY_FIRST)
            });
            match step {
                Step::Done => {}
                Step::Idle => self.parts.bell.wait(rings, EVENTS_POLL_INTERVAL),
                Step::Failed(pause) => match self.ends.woken.recv_timeout(pause) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                Step::Over => return,
            }
        }
    }

    fn step(&mut self) -> Result<Step, StoreError> {
        let part = self.parts.store.events_from(None, self.hook.standing.next_event, EVENTS_PART_MAX)?;
        let Some(last) = part.last().map(|last| last.event.id) else { return Ok(Step::Idle) };
        let mut wanted = part.iter().filter(|found| self.hook.kinds.contains(&found.event.kind));
        let chosen: Vec<_> = wanted.by_ref().take(WEBHOOK_EVENTS_MAX).collect();
        // What was not chosen comes next time.
        let end = wanted.next().map_or(last + 1, |further| further.event.id);
        if chosen.is_empty() {
            self.hook.standing.next_event = end;
            if end - self.stored_next > SKIPPED_MAX {
                self.write_down();
            }
            return Ok(Step::Done);
        }
        // Right before it is sent: whoever was paused for long may have been replaced meanwhile.
        if !self.parts.store.leads()? {
            return Ok(self.over());
        }
        let events: Vec<Value> = chosen.into_iter().map(event_json).collect();
        let sent = self.send(&events);
        self.parts.count(sent.is_ok());
        let step = match sent {
            Ok(_) => {
                let standing = &mut self.hook.standing;
                standing.next_event = end;
                (standing.failures, standing.failing_since, standing.last_error) = (0, None, None);
                standing.delivered = Some(WallTime::now());
                self.parts.note(&self.hook.id, None);
                Step::Done
            }
            Err(outcome) => self.fail(outcome, WallTime::now()),
        };
        self.write_down();
        Ok(step)
    }

    fn send(&mut self, events: &[Value]) -> Result<StatusCode, Outcome> {
        let mut courier = match self.courier.take() {
            Some(courier) => courier,
            None => Courier::new(&self.parts, &self.hook)?,
        };
        let status = courier.send(events)?;
        self.courier = Some(courier);
        Ok(status)
    }

    fn fail(&mut self, outcome: Outcome, now: WallTime) -> Step {
        let Webhook { id, standing, .. } = &mut self.hook;
        standing.failures = standing.failures.saturating_add(1);
        let since = *standing.failing_since.get_or_insert(now);
        standing.last_error = Some(outcome.message);
        self.parts.note(id, Some(HookState::Active));
        if outcome.verdict == Verdict::Gone || is_over(since, now) {
            standing.state = HookState::Dead;
            self.parts.note(id, Some(HookState::Dead));
            tracing::error!(webhook = %id, failures = standing.failures, "a webhook is given up; podium webhook list says why");
            return self.over();
        }
        if standing.failures == 1 {
            tracing::warn!(webhook = %id, "a webhook fails and is tried again; podium webhook list says why");
        }
        Step::Failed(pause(standing.failures, &mut self.random))
    }

    /// Before it is written down, so that whoever reads that does not count on this thread.
    fn over(&self) -> Step {
        self.ends.is_ending.store(true, Ordering::Release);
        Step::Over
    }

    fn write_down(&mut self) {
        let Webhook { id, standing, .. } = &self.hook;
        match self.parts.commit(WebhooksChange::Stands(id.clone(), standing.clone())) {
            Ok(()) => self.stored_next = standing.next_event,
            // At worst the same is posted again after a restart.
            Err(error) => tracing::warn!(webhook = %id, %error, "how far a webhook got cannot be stored"),
        }
    }
}

fn is_over(since: WallTime, now: WallTime) -> bool {
    u128::try_from(now.as_millis() - since.as_millis()).is_ok_and(|millis| millis >= WEBHOOK_GIVE_UP.as_millis())
}

/// Doubles with each failure up to a most; the second half of it is random, so that many do not come at once.
fn pause(failures: u32, random: &mut Random) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = WEBHOOK_RETRY_FIRST.saturating_mul(doubled).min(WEBHOOK_RETRY_MAX);
    random.between(most / 2, most)
}

/// Posts to one webhook.
pub(super) struct Courier {
    client: Client,
    destination: Destination,
    id: String,
    secret: Vec<u8>,
}

impl Courier {
    /// With the CAs of now.
    pub(super) fn new(parts: &Parts, hook: &Webhook) -> Result<Self, Outcome> {
        let again = |message: String| Outcome { verdict: Verdict::Again, message };
        let is_admitted = if parts.settings.loopback { admits_loopback } else { admits };
        let destination =
            Destination::parse(&hook.url, parts.settings.loopback).map_err(|refusal| again(refusal.message))?;
        let secret = parts.vault.unseal_secret(&hook.id, &hook.secret).map_err(again)?;
        let tls = parts.tls().map_err(|refusal| again(refusal.message))?;
        let client =
            Client::new(tls, WEBHOOK_CONNECT_TIMEOUT, WEBHOOK_TIMEOUT).map_err(|error| again(error.message))?;
        Ok(Self { client: client.reaching(is_admitted), destination, id: hook.id.clone(), secret })
    }

    /// Posts some events at once. What may have arrived already is posted again, so nothing speaks against a second attempt
    /// on a connection that turns out to be gone.
    pub(super) fn send(&mut self, events: &[Value]) -> Result<StatusCode, Outcome> {
        let body = json!({"webhook": self.id, "events": events}).to_string().into_bytes();
        let signature = sign(&self.secret, WallTime::now(), &body);
        let headers = [
            ("Content-Type", "application/json"),
            ("User-Agent", concat!("podium/", env!("CARGO_PKG_VERSION"))),
            ("Podium-Webhook", &*self.id),
            ("Podium-Signature", &*signature),
        ];
        let Destination { host, port, path_and_query } = &self.destination;
        let request = Request { method: Method::POST, host, port: *port, path_and_query, headers: &headers, body };
        judge(self.client.ask(&request, WEBHOOK_ANSWER_BYTES_MAX).map(|response| response.status))
    }
}

fn judge(answer: Result<StatusCode, HttpError>) -> Result<StatusCode, Outcome> {
    let again = |message: String| Err(Outcome { verdict: Verdict::Again, message });
    match answer {
        Ok(status) if status.is_success() => Ok(status),
        Ok(StatusCode::GONE) => {
            let message = "the server answered with status 410: it takes no more".to_owned();
            Err(Outcome { verdict: Verdict::Gone, message })
        }
        Ok(status) if status.is_redirection() => again(format!(
            "the server answered with status {status}: redirects are not followed; give the URL that it leads to"
        )),
        Ok(status) => again(format!("the server answered with status {status}")),
        Err(error) => again(error.message),
    }
}

#[cfg(test)]
mod tests;
