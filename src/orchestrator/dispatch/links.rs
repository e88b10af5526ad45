//! The links to brokers: which there are, and how far each is with its subscription to the broker's inventory. Links come
//! and go; the place of one that is gone is used again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::node::RunningNode;
use super::{Dispatcher, Grace, Now, Output, Send};
use crate::clock::Moment;
use crate::limits::{BROKER_RETURN_GRACE, INVENTORY_ANSWER_TIMEOUT, INVENTORY_REFRESH, START_GRACE};
use crate::orchestrator::inventory::LinkIndex;
use crate::orchestrator::store::NodeKey;
use crate::pcp::message::InventoryRequest;
use crate::pcp::{Envelope, Outgoing, SERVER_URI, message_type};

/// One place for a link.
#[derive(Debug)]
pub(super) struct Link {
    broker: Arc<str>,
    subscription: Subscription,
}

/// A subscription to a broker's inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    /// To be asked at once.
    Wanted,
    /// Asked; asked again if there is no answer until then.
    Asked(Moment),
    /// Answered; asked again then, in case an update was lost.
    Answered(Moment),
    /// The same broker has a newer link. What is still on its way here counts, except for the inventory.
    Left,
    /// The link is gone, and its place is free.
    Free,
}

impl Subscription {
    const fn is_current(self) -> bool {
        matches!(self, Self::Wanted | Self::Asked(_) | Self::Answered(_))
    }
}

/// Where a new link has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// The broker had none.
    New(LinkIndex),
    /// It takes the place of the broker's older one, which is at another from now on until it is lost.
    Replacing {
        /// Of the new link.
        link: LinkIndex,
        /// Of the older one.
        older: LinkIndex,
    },
}

impl Dispatcher {
    /// A link to a broker is up. If the broker had one that nobody knows to be dead, its nodes stay connected, and those
    /// that run are asked over the new one: what was on its way over the older may be lost.
    pub fn attach(&mut self, now: Now, broker: &str) -> Attached {
        let is_older = |link: &Link| link.subscription.is_current() && *link.broker == *broker;
        let older = self.links.iter().position(is_older);
        let free = self.links.iter().position(|link| link.subscription == Subscription::Free);
        let place = free.unwrap_or(self.links.len());
        let broker: Arc<str> = broker.into();
        let mut inventory = self.inventory.write().unwrap_or_else(PoisonError::into_inner);
        let (subscription, attached) = match older {
            Some(link) => {
                inventory.relink(link, now.wall);
                (Subscription::Left, Attached::Replacing { link, older: place })
            }
            None => {
                inventory.link(place, &broker, now.wall);
                (Subscription::Wanted, Attached::New(place))
            }
        };
        drop(inventory);
        let taken = Link { broker, subscription };
        match self.links.get_mut(place) {
            Some(free) => *free = taken,
            None => self.links.push(taken),
        }
        if let Some(link) = older {
            self.links[link].subscription = Subscription::Wanted;
            self.running_over(link).into_iter().for_each(|key| self.hasten(now.moment, key));
        }
        attached
    }

    fn running_over(&self, link: LinkIndex) -> Vec<NodeKey> {
        let is_there = |(key, node): (&NodeKey, &RunningNode)| (self.link_of(&node.name) == Some(link)).then_some(*key);
        self.running.iter().filter_map(is_there).collect()
    }

    /// A link is gone; its nodes are unreachable unless another one reports them.
    pub fn lose_link(&mut self, now: Now, link: LinkIndex, out: &mut Output) {
        let was = std::mem::replace(&mut self.links[link].subscription, Subscription::Free);
        if was.is_current() {
            // What was asked over it will not be answered, and not because of the agents.
            self.running_over(link).into_iter().for_each(|key| self.settle_query(key));
            let moved = self.inventory.write().unwrap_or_else(PoisonError::into_inner).lose(link);
            self.arrived(now, moved, out);
            // One that is running is not prolonged, so that no broker can hold nodes for ever.
            if matches!(self.grace, Grace::Over) {
                self.grace = Grace::Until(now.moment + BROKER_RETURN_GRACE, HashMap::new());
            }
        }
    }

    /// Agents and brokers of another server come here from now on: nodes that are not connected are waited for.
    pub fn wait_for_arrivals(&mut self, now: Now) {
        if matches!(self.grace, Grace::Over) {
            self.grace = Grace::Until(now.moment + START_GRACE, HashMap::new());
        }
    }

    pub(super) fn subscribe_where_due(&mut self, now: Now, out: &mut Output) {
        for link in 0..self.links.len() {
            match self.links[link].subscription {
                Subscription::Wanted => {}
                Subscription::Asked(due) | Subscription::Answered(due) if due <= now.moment => {}
                _ => continue,
            }
            let id = (self.new_id)().to_string();
            let outgoing = Outgoing {
                id: &id,
                message_type: message_type::INVENTORY_REQUEST,
                target: Some(SERVER_URI),
                sender: None,
                in_reply_to: None,
                data: Some(InventoryRequest { query: vec!["pcp://*/agent".into()], subscribe: true }),
            };
            out.sends.push(Send { link, message: outgoing.encode() });
            self.links[link].subscription = Subscription::Asked(now.moment + INVENTORY_ANSWER_TIMEOUT);
        }
    }

    /// When the next subscription is due.
    pub(super) fn subscriptions_due(&self) -> Option<Moment> {
        let due = self.links.iter().filter_map(|link| match link.subscription {
            Subscription::Wanted => Some(Moment::default()),
            Subscription::Asked(due) | Subscription::Answered(due) => Some(due),
            Subscription::Left | Subscription::Free => None,
        });
        due.min()
    }

    /// A broker's whole inventory has come.
    pub(super) fn answered(&mut self, now: Now, link: LinkIndex) {
        self.links[link].subscription = Subscription::Answered(now.moment + INVENTORY_REFRESH);
    }

    /// Whether the link is the newest of its broker: an older one knows less of the broker's inventory.
    pub(super) fn is_current(&self, link: LinkIndex) -> bool {
        self.links[link].subscription.is_current()
    }

    /// Whether a message comes from the broker itself.
    pub(super) fn is_broker(&self, link: LinkIndex, envelope: &Envelope<'_>) -> bool {
        let sender = envelope.sender.as_deref();
        sender.is_none_or(|sender| sender == SERVER_URI || *sender == *self.links[link].broker)
    }
}
