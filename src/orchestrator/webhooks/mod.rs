//! Webhooks: events are posted to servers that an administrator has named, each kind that was asked for, in order, at least
//! once. Every webhook has a thread and a place in the row of events of its own, so that one whose server is down holds up
//! neither the others nor the jobs; the store is the queue. LIFECYCLE.md walks through one.

mod delivery;
mod destination;
mod signature;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use rustls::ClientConfig;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bell::Bell;
use super::model::{EventType, JobEvent, Refusal, RefusalKind, Subject};
use super::store::webhooks::WebhooksChange;
use super::store::{Change, Store, StoreError};
use super::vault::Vault;
use crate::clock::WallTime;
use crate::config::settings::WebhookSettings;
use crate::limits::{WEBHOOK_DESCRIPTION_BYTES_MAX, WEBHOOK_SECRET_BYTES_MAX, WEBHOOKS_MAX};
use crate::random;
use crate::sha256::hexadecimal;
use crate::tls::material::anonymous_client_config;
use delivery::{Courier, Outcome};
use destination::Destination;

/// The shortest secret that is taken: one can be tried out without anybody noticing.
const SECRET_BYTES_MIN: usize = 16;

/// Where systems keep the CAs that they trust.
const SYSTEM_CAS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is kept of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// UUID.
    pub id: String,
    /// Where to.
    pub url: String,
    /// What it is told of.
    pub kinds: Vec<EventType>,
    /// For people.
    pub description: String,
    /// Login of who added it.
    pub owner: String,
    /// When.
    pub created: WallTime,
    /// Signs deliveries; sealed.
    pub secret: Vec<u8>,
    /// How it goes.
    pub standing: Standing,
}

/// How it goes with a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it gets anything.
    pub state: HookState,
    /// The number of the first event that it has not been told of.
    pub next_event: i64,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<WallTime>,
    /// Why the last attempt that failed did.
    pub last_error: Option<String>,
    /// The last success.
    pub delivered: Option<WallTime>,
}

/// Whether a webhook gets anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    /// It does, or is tried again.
    Active,
    /// It has failed for too long and is tried no more.
    Dead,
}

impl HookState {
    /// The word in the store and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Dead => "dead",
        }
    }

    /// The state with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Dead].into_iter().find(|state| state.word() == word)
    }
}

/// A webhook that is asked for.
#[derive(Debug, Clone, Default)]
pub struct WebhookCommand {
    /// Where to: `https` only.
    pub url: String,
    /// What it is to be told of; empty is the end of jobs.
    pub kinds: Vec<EventType>,
    /// For people.
    pub description: String,
    /// Signs deliveries; one is made if there is none.
    pub secret: Option<String>,
}

/// What became of a delivery for a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// Whether the server has taken it.
    pub delivered: bool,
    /// For people.
    pub message: String,
}

/// Numbers since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Deliveries that were taken.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
}

/// All webhooks.
pub struct Webhooks {
    shared: Arc<Parts>,
    workers: Mutex<HashMap<String, Worker>>,
    /// Held by whoever tries one out.
    testing: Mutex<()>,
}

/// What every webhook's thread needs.
struct Parts {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    bell: Arc<Bell>,
    settings: WebhookSettings,
    counts: Counts,
    /// All that are there, with the state of those whose last attempt failed.
    unwell: Mutex<HashMap<String, Option<HookState>>>,
}

/// A webhook's thread.
struct Worker {
    thread: JoinHandle<()>,
    /// A word tries again at once; dropped, it ends the thread.
    wake: Sender<()>,
}

impl Webhooks {
    /// Goes on with those that are stored.
    pub fn start(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        bell: Arc<Bell>,
        settings: WebhookSettings,
    ) -> Result<Self, StoreError> {
        let shared =
            Arc::new(Parts { store, vault, bell, settings, counts: Counts::default(), unwell: Mutex::default() });
        let webhooks = Self { shared, workers: Mutex::default(), testing: Mutex::default() };
        let stored = webhooks.shared.store.webhooks()?;
        let mut workers = webhooks.workers();
        for hook in stored {
            if hook.standing.state == HookState::Dead {
                webhooks.shared.unwell().insert(hook.id, Some(HookState::Dead));
                continue;
            }
            if let Err(refusal) = webhooks.work(&mut workers, hook) {
                tracing::error!(%refusal, "a webhook's thread cannot be started");
            }
        }
        drop(workers);
        Ok(webhooks)
    }

    /// Adds one. It is told of what happens from now on. Also its secret, if it was made here: nobody is shown it again.
    pub fn add(&self, subject: &Subject, command: WebhookCommand) -> Result<(Webhook, Option<String>), Refusal> {
        let refuse = |message: String| Err(Refusal::new(RefusalKind::ValidationError, message));
        let destination = Destination::parse(&command.url, self.shared.settings.loopback)?;
        if command.description.len() > WEBHOOK_DESCRIPTION_BYTES_MAX {
            return refuse(format!("description has more than {WEBHOOK_DESCRIPTION_BYTES_MAX} bytes."));
        }
        if let Some(given) = &command.secret
            && !(SECRET_BYTES_MIN..=WEBHOOK_SECRET_BYTES_MAX).contains(&given.len())
        {
            return refuse(format!("secret must have {SECRET_BYTES_MIN} to {WEBHOOK_SECRET_BYTES_MAX} bytes."));
        }
        self.shared.tls()?;
        let made = command.secret.is_none().then(|| hexadecimal(&random::secret::<32>()));
        let secret = command.secret.as_ref().or(made.as_ref()).expect("it was given or made");
        let mut kinds = command.kinds;
        if kinds.is_empty() {
            kinds = vec![EventType::JobFinished, EventType::JobAborted];
        }
        kinds.sort_unstable();
        kinds.dedup();
        let mut workers = self.workers();
        if self.shared.store.webhooks()?.len() >= WEBHOOKS_MAX {
            return refuse(format!("There are {WEBHOOKS_MAX} webhooks, and there cannot be more: remove one."));
        }
        let id = Uuid::new_v4().to_string();
        let standing = Standing::new(self.shared.store.last_event()? + 1);
        let hook = Webhook {
            secret: self.shared.vault.seal_secret(&id, secret.as_bytes()),
            id,
            url: command.url,
            kinds,
            description: command.description,
            owner: subject.login.clone(),
            created: WallTime::now(),
            standing,
        };
        self.shared.commit(WebhooksChange::Added(hook.clone()))?;
        tracing::info!(webhook = hook.id, host = destination.host, by = subject.login, "added a webhook");
        self.work(&mut workers, hook.clone())?;
        Ok((hook, made))
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Result<Vec<Webhook>, Refusal> {
        Ok(self.shared.store.webhooks()?)
    }

    /// One.
    pub fn one(&self, id: &str) -> Result<Webhook, Refusal> {
        let unknown = || {
            Refusal::new(RefusalKind::UnknownWebhook, format!("Unknown webhook {id}")).with("webhook", id.to_owned())
        };
        self.all()?.into_iter().find(|hook| hook.id == id).ok_or_else(unknown)
    }

    /// Removes one. A delivery that is under way may still arrive.
    pub fn remove(&self, subject: &Subject, id: &str) -> Result<(), Refusal> {
        let mut workers = self.workers();
        let hook = self.one(id)?;
        self.shared.commit(WebhooksChange::Removed(hook.id))?;
        drop(workers.remove(id));
        self.shared.unwell().remove(id);
        self.shared.bell.ring();
        tracing::info!(webhook = id, by = subject.login, "removed a webhook");
        Ok(())
    }

    /// Tries again at once, also one that was given up.
    pub fn resume(&self, subject: &Subject, id: &str) -> Result<Webhook, Refusal> {
        let mut workers = self.workers();
        let mut hook = self.one(id)?;
        if let Some(worker) = workers.get(id).filter(|worker| !worker.thread.is_finished()) {
            // Nothing is lost if it has been woken already.
            let _ = worker.wake.try_send(());
            return Ok(hook);
        }
        hook.standing = Standing { delivered: hook.standing.delivered, ..Standing::new(hook.standing.next_event) };
        self.shared.commit(WebhooksChange::Stands(hook.id.clone(), hook.standing.clone()))?;
        tracing::info!(webhook = id, by = subject.login, "a webhook is tried again");
        self.work(&mut workers, hook.clone())?;
        Ok(hook)
    }

    /// Sends a delivery of its own, which changes nothing.
    pub fn test(&self, id: &str) -> Result<Tested, Refusal> {
        let hook = self.one(id)?;
        let Ok(_turn) = self.testing.try_lock() else {
            let message = "Another webhook is being tried out: try again.";
            return Err(Refusal::new(RefusalKind::ValidationError, message));
        };
        let outcome = Courier::new(&self.shared, &hook).and_then(|mut courier| courier.send(&test_events()));
        Ok(match outcome {
            Ok(status) => Tested { delivered: true, message: format!("The server answered with status {status}.") },
            Err(Outcome { message, .. }) => Tested { delivered: false, message },
        })
    }

    /// Numbers since the start.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// How many are in this state and have failed the last time.
    pub fn unwell(&self, state: HookState) -> usize {
        self.shared.unwell().values().filter(|unwell| **unwell == Some(state)).count()
    }

    /// Ends the threads, after the deliveries that are under way.
    pub fn stop(&self) {
        let workers: Vec<Worker> = self.workers().drain().map(|(_, worker)| worker).collect();
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        self.shared.bell.ring();
        for thread in threads {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }

    fn work(&self, workers: &mut HashMap<String, Worker>, hook: Webhook) -> Result<(), Refusal> {
        let (wake, woken) = bounded(1);
        let (id, parts) = (hook.id.clone(), self.shared.clone());
        parts.unwell().insert(id.clone(), None);
        let thread = delivery::spawn(parts, hook, woken).map_err(|error| {
            Refusal::new(RefusalKind::UnknownError, format!("the webhook's thread cannot be started: {error}"))
        })?;
        workers.insert(id, Worker { thread, wake });
        Ok(())
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<String, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// All is well so far.
    const fn new(next_event: i64) -> Self {
        Self {
            state: HookState::Active,
            next_event,
            failures: 0,
            failing_since: None,
            last_error: None,
            delivered: None,
        }
    }
}

impl Parts {
    fn commit(&self, change: WebhooksChange) -> Result<(), StoreError> {
        self.store.commit(vec![Change::Webhooks(change)])
    }

    fn unwell(&self) -> MutexGuard<'_, HashMap<String, Option<HookState>>> {
        self.unwell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that one has failed, and whether it was given up, or that it has not. Nothing of one that was removed while a
    /// delivery was under way.
    fn note(&self, id: &str, unwell: Option<HookState>) {
        if let Some(noted) = self.unwell().get_mut(id) {
            *noted = unwell;
        }
    }

    fn count(&self, is_delivered: bool) {
        let counter = if is_delivered { &self.counts.delivered } else { &self.counts.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whom deliveries trust.
    fn tls(&self) -> Result<Arc<ClientConfig>, Refusal> {
        let system = || SYSTEM_CAS.iter().map(PathBuf::from).find(|path| path.exists());
        let refuse = |message: String| Refusal::new(RefusalKind::UnknownError, message);
        let ca = self.settings.ca.clone().or_else(system).ok_or_else(|| {
            refuse("This system has no file of CAs that it trusts: name one as orchestrator.webhook-ca.".to_owned())
        })?;
        anonymous_client_config(&ca).map_err(|error| refuse(format!("orchestrator.webhook-ca: {error}")))
    }
}

/// An event as streams and webhooks show it.
pub fn event_json(shown: &JobEvent) -> Value {
    let JobEvent { job, event } = shown;
    json!({
        "id": event.id.to_string(),
        "type": event.kind.word(),
        "timestamp": event.timestamp.to_seconds_string(),
        "details": event.details,
        "message": event.message,
        "job": job.to_string(),
    })
}

fn test_events() -> Vec<Value> {
    let message = "This is what a webhook of this server looks like; nothing has happened.";
    let timestamp = WallTime::now().to_seconds_string();
    let event =
        json!({"id": "0", "type": "test", "timestamp": timestamp, "details": {}, "message": message, "job": null});
    vec![event]
}
