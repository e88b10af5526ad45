//! Links from brokers on compile nodes. Such a broker dials us (pcp-broker's `controller-uris`), asks for a WebSocket at
//! `/server` and below, and is from then on what the broker of this process is: it says which agents are connected, takes
//! requests for them and brings their answers, as PCP v2 in text messages.
//!
//! `admission` decides who gets the 101, `conversation` speaks WebSocket, and this file joins a conversation to the
//! orchestrator by two bounded queues and knows which links are up.

mod admission;
mod conversation;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::backend::Backend;
use crate::backlog::{Backlog, Queue};
use crate::clock::Clock;
use crate::limits::{
    BROKER_LINK_INBOX_MAX, BROKER_LINK_QUEUE_BYTES_MAX, BROKER_LINK_QUEUE_MAX, BROKER_LINKS_INBOX_BYTES_MAX,
    BROKER_LINKS_MAX, HANDSHAKE_TIMEOUT,
};
use crate::link::Port;
use crate::observe::metrics::{Metrics, count};
use crate::observe::pace::Pace;
use crate::orchestrator::{BrokerLink, NotAttached};
use crate::succession::Succession;
use crate::websocket::violation::code;
pub(super) use admission::{Handover, accept};
use conversation::{Control, Conversation, Farewell};

const SUPERSEDED: Farewell = Farewell { code: code::GOING_AWAY, reason: "a newer link of this broker is up" };
const STOPPING: Farewell = Farewell { code: code::GOING_AWAY, reason: "the server stops" };
const RELOADED: Farewell = Farewell { code: code::GOING_AWAY, reason: "certificates were read again" };
const BUSY: Farewell = Farewell { code: code::TRY_AGAIN, reason: "the orchestrator is overloaded" };

/// Who may link, and which links are up.
pub(super) struct BrokerLinks {
    names: Vec<String>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    /// Bytes of messages that the orchestrator has not read, over all links.
    unread: Backlog,
    /// Bytes of incomplete messages over all links.
    partial: conversation::Partial,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest link of each name, in lower case; names are those of the configuration, so there are few.
    up: HashMap<String, Up>,
    /// Links that there have ever been.
    made: u64,
    pace: Pace,
}

struct Up {
    number: u64,
    control: Arc<Control>,
    succession: Succession,
}

impl BrokerLinks {
    /// No link is up, and these certificate names may link.
    pub(super) fn new(names: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            names,
            metrics,
            places: Arc::new(Semaphore::new(BROKER_LINKS_MAX)),
            unread: Backlog::new(BROKER_LINKS_INBOX_BYTES_MAX),
            partial: conversation::Partial::default(),
            clock: Clock::start(),
            state: Mutex::default(),
        }
    }

    /// Asks every link to close. The brokers come back by themselves, if their certificates still let them.
    pub(super) fn close_all(&self) {
        self.state().up.values().for_each(|up| up.control.close(RELOADED));
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|named| named.eq_ignore_ascii_case(name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a link the newest of its name and closes the older one, once the orchestrator has taken it: the orchestrator
    /// must see links of one name in the same order, and there is never none.
    fn enter(
        &self,
        name: &str,
        control: &Arc<Control>,
        attach: impl FnOnce() -> Result<(), NotAttached>,
    ) -> Result<u64, NotAttached> {
        let mut state = self.state();
        attach()?;
        state.made += 1;
        let number = state.made;
        let older = state.up.remove(&name.to_ascii_lowercase());
        let succession = Succession::after(older.as_ref().map(|older| &older.succession), self.clock.now());
        if let Some(older) = older {
            older.control.close(SUPERSEDED);
        }
        state.up.insert(name.to_ascii_lowercase(), Up { number, control: control.clone(), succession });
        self.metrics.broker_links.inc();
        Ok(number)
    }

    /// Whether two brokers seem to have the same certificate: they would take the link from each other for ever.
    fn is_contended(&self, name: &str) -> bool {
        let now = self.clock.now();
        self.state().up.get(&name.to_ascii_lowercase()).is_some_and(|up| up.succession.is_contested(now))
    }

    fn leave(&self, name: &str, number: u64) {
        let (mut state, name) = (self.state(), name.to_ascii_lowercase());
        if state.up.get(&name).is_some_and(|newest| newest.number == number) {
            state.up.remove(&name);
        }
        self.metrics.broker_links.dec();
    }
}

/// A broker that has been answered 101.
pub(super) struct Admitted {
    upgrade: OnUpgrade,
    broker: Arc<str>,
    remote: SocketAddr,
    place: OwnedSemaphorePermit,
}

/// The orchestrator's way to the broker.
struct ToBroker {
    messages: mpsc::Sender<Bytes>,
    backlog: Backlog,
    /// Given back when the dispatcher has let go of the link.
    _place: OwnedSemaphorePermit,
}

impl Port for ToBroker {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        let counted = self.backlog.accept(message.clone())?.into_bytes();
        self.messages.try_send(counted).map_err(|_| message)
    }
}

/// Serves a link until it ends. The socket stays open a little longer, so that the peer can read why. `is_current` says
/// whether a handshake of now would be by the same certificates as this link's was.
pub(super) async fn serve(
    admitted: Admitted,
    links: &BrokerLinks,
    backend: &dyn Backend,
    mut stopping: watch::Receiver<bool>,
    is_current: impl Fn() -> bool,
) {
    let Admitted { upgrade, broker, remote, place } = admitted;
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, upgrade).await {
        Ok(Ok(stream)) => TokioIo::new(stream),
        Ok(Err(error)) => return tracing::warn!(%broker, %remote, %error, "a broker's link was not upgraded"),
        Err(_) => return tracing::warn!(%broker, %remote, "a broker's link was not upgraded in time"),
    };
    let (inbox, from_broker) = Queue::bounded(BROKER_LINK_INBOX_MAX, links.unread.clone());
    let (messages, outbox) = mpsc::channel(BROKER_LINK_QUEUE_MAX);
    let backlog = Backlog::new(BROKER_LINK_QUEUE_BYTES_MAX);
    let to_broker = Box::new(ToBroker { messages, backlog, _place: place });
    let control = Arc::new(Control::default());
    let link = BrokerLink { broker_uri: format!("pcp://{broker}/server"), to_broker, from_broker };
    let entered = links.enter(&broker, &control, || backend.attach(link));
    match entered {
        Ok(_) => tracing::info!(%broker, %remote, "a broker has linked"),
        Err(NotAttached::Busy) => control.close(BUSY),
        Err(NotAttached::Stopped) => control.close(STOPPING),
    }
    // Only now: from here on it is among those that are asked to close.
    if !is_current() {
        control.close(RELOADED);
    }
    let conversation =
        Conversation { inbox, outbox, control: &control, metrics: &links.metrics, partial: &links.partial };
    let ending = {
        let mut talk = pin!(conversation.hold(stream));
        let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
        let mut is_stopping = false;
        std::future::poll_fn(|context| {
            if !is_stopping && stop.as_mut().poll(context).is_ready() {
                is_stopping = true;
                control.close(STOPPING);
            }
            talk.as_mut().poll(context)
        })
        .await
    };
    if let Ok(number) = entered {
        links.leave(&broker, number);
    }
    count(&links.metrics.broker_links_closed, ending.label());
    tracing::info!(%broker, %remote, reason = ending.label(), detail = %ending, "a broker's link has ended");
}
