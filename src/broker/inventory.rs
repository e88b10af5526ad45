//! `inventory_request` and what follows it (pcp-broker, 3.5 of its behaviour): a response at once, then at most one
//! update per tick and subscriber, or several if it would be too large for one, strictly after the response, with every
//! change in order and none repeated.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use tracing::{info, warn};

use super::answer::Reply;
use super::core::{BrokerCore, BrokerMail, Origin};
use super::directory::{Change, Directory, News, SubscriptionId};
use super::patterns::Patterns;
use super::said::Said;
use crate::limits;
use crate::link::{PeerId, Shell};
use crate::pcp::message::{InventoryChange, InventoryRequest, InventoryResponse, InventoryUpdate, error_text};
use crate::pcp::{Outgoing, message_type};

/// The subscriptions that were made through one worker.
#[derive(Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
}

struct Subscription {
    owner: Origin,
    /// The URI that updates are addressed to.
    target: Box<str>,
    request_id: Box<str>,
    patterns: Patterns,
    id: SubscriptionId,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn has_room_for(&self, patterns: &Patterns) -> bool {
        let bytes: usize = self.list.iter().map(|subscription| subscription.patterns.bytes()).sum();
        self.list.len() < limits::SUBSCRIPTIONS_MAX
            && bytes + patterns.bytes() <= limits::SUBSCRIPTION_PATTERN_BYTES_MAX
    }

    /// The clients among the subscribers.
    pub(super) fn clients(&self) -> HashSet<PeerId> {
        self.list
            .iter()
            .filter_map(|subscription| match subscription.owner {
                Origin::Peer(peer) => Some(peer),
                Origin::Controller(_) => None,
            })
            .collect()
    }

    /// Ends the owner's subscription, if it has one.
    pub(super) fn end(&mut self, directory: &Directory, owner: &Origin) {
        if let Some(index) = self.list.iter().position(|subscription| same(&subscription.owner, owner)) {
            directory.unsubscribe(self.list.swap_remove(index).id);
        }
    }
}

fn same(a: &Origin, b: &Origin) -> bool {
    match (a, b) {
        (Origin::Peer(a), Origin::Peer(b)) => a == b,
        (Origin::Controller(a), Origin::Controller(b)) => a.uri == b.uri,
        _ => false,
    }
}

impl BrokerCore {
    /// Answers an inventory request. A request with `subscribe` replaces an earlier subscription, one without ends it.
    pub(super) fn inventory_request(&mut self, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) {
        let request: InventoryRequest<'_> = match said.envelope.data_as() {
            Ok(request) => request,
            Err(error) => {
                let text = format!("Error handling message: the data of inventory_request is not valid: {error}");
                return self.reply_error(&said.origin, Some(&said.envelope.id), &text, shell);
            }
        };
        let patterns = Patterns::new(request.query.iter().map(|text| &**text));
        self.subscriptions.end(&self.broker.directory, &said.origin);
        if request.subscribe && !self.subscriptions.has_room_for(&patterns) {
            let text = "Too many subscriptions: ask without `subscribe`, or use fewer clients that subscribe.";
            return self.reply_error(&said.origin, Some(&said.envelope.id), text, shell);
        }
        if request.subscribe {
            let (uris, id) = self.broker.directory.subscribe(&patterns);
            let subscription = Subscription {
                owner: said.origin.clone(),
                target: said.from.into(),
                request_id: said.envelope.id.as_ref().into(),
                patterns,
                id,
            };
            if self.inventory_response(&said.origin, said.from, &said.envelope.id, &uris, shell) {
                self.subscriptions.list.push(subscription);
                self.arm_tick(shell);
            } else {
                // Without its response a subscriber could make nothing of updates.
                self.broker.directory.unsubscribe(id);
            }
        } else {
            let uris = self.broker.directory.matching(&patterns);
            self.inventory_response(&said.origin, said.from, &said.envelope.id, &uris, shell);
        }
    }

    /// Ends the subscriptions of clients that may not ask for the inventory any more, and tells them. Without this they
    /// would be told who is connected for as long as they stay.
    pub(super) fn review_subscriptions(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        let policy = self.broker.policy.load_full();
        let (kept, ended): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.subscriptions.list).into_iter().partition(|subscription| {
                let Origin::Peer(peer) = subscription.owner else { return true };
                self.sessions.get(peer).is_none_or(|session| session.is_privileged(&policy))
            });
        self.subscriptions.list = kept;
        for Subscription { owner, target, request_id, id, .. } in ended {
            self.broker.directory.unsubscribe(id);
            info!(uri = %target, "subscription to the inventory ended after a review");
            self.reply_error(&owner, Some(&request_id), error_text::NOT_AUTHORIZED, shell);
        }
    }

    /// Sends each subscriber what happened since the last time. What cannot be sent stays for the next tick.
    pub(super) fn tell_subscribers(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        let list = std::mem::take(&mut self.subscriptions.list);
        for subscription in &list {
            self.tell(subscription, shell);
        }
        self.subscriptions.list = list;
    }

    fn tell(&mut self, subscription: &Subscription, shell: &mut dyn Shell<BrokerMail>) {
        loop {
            let broker = &self.broker;
            match broker.directory.news(subscription.id, &subscription.patterns, broker.update_bytes_max) {
                News::Behind => return self.resynchronise(subscription, shell),
                News::Changes(batch) => {
                    if !batch.changes.is_empty() && !self.send_update(subscription, &batch.changes, shell) {
                        return;
                    }
                    self.broker.directory.advance(subscription.id, batch.end);
                    if !batch.more {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the update could be sent.
    fn send_update(&mut self, to: &Subscription, changes: &[Change], shell: &mut dyn Shell<BrokerMail>) -> bool {
        let changes = changes
            .iter()
            .map(|change| InventoryChange {
                client: Cow::Borrowed(&change.uri),
                change: if change.came { 1 } else { -1 },
            })
            .collect();
        let update = Outgoing {
            id: &self.random.uuid(),
            message_type: message_type::INVENTORY_UPDATE,
            target: Some(&to.target),
            sender: None,
            in_reply_to: None,
            data: Some(InventoryUpdate { changes }),
        };
        self.reply(&to.owner, &update, shell) == Reply::Sent
    }

    /// A subscriber that fell behind the log gets a whole new response, which replaces what it knew.
    fn resynchronise(&mut self, subscription: &Subscription, shell: &mut dyn Shell<BrokerMail>) {
        warn!(uri = %subscription.target, "inventory subscriber fell behind and is sent the whole inventory");
        let uris = self.broker.directory.resume(subscription.id, &subscription.patterns);
        let Subscription { owner, target, request_id, .. } = subscription;
        if !self.inventory_response(owner, target, request_id, &uris, shell) {
            // Next time it is behind again and gets another one.
            self.broker.directory.unsubscribe(subscription.id);
        }
    }

    /// Whether the response could be sent.
    fn inventory_response(
        &mut self,
        to: &Origin,
        target: &str,
        in_reply_to: &str,
        uris: &[Arc<str>],
        shell: &mut dyn Shell<BrokerMail>,
    ) -> bool {
        let response = Outgoing {
            id: &self.random.uuid(),
            message_type: message_type::INVENTORY_RESPONSE,
            target: Some(target),
            sender: None,
            in_reply_to: Some(in_reply_to),
            data: Some(InventoryResponse { uris: uris.iter().map(|uri| Cow::Borrowed(&**uri)).collect() }),
        };
        match self.reply(to, &response, shell) {
            Reply::Sent => true,
            Reply::Refused => false,
            Reply::TooLarge => {
                let text = "Error handling message: the inventory response is too large for an agent; ask for less.";
                self.reply_error(to, Some(in_reply_to), text, shell);
                false
            }
        }
    }
}
