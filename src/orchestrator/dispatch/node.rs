//! A node whose request was sent: its deadline, its status queries, its end.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::stop::{Ended, Stop};
use super::{Dispatcher, Now, Output, Send};
use crate::clock::Moment;
use crate::limits::{DISPATCH_STEP_BYTES_MAX, STATUS_PAUSE_MAX};
use crate::orchestrator::events::{Action, Ending};
use crate::orchestrator::inventory::LinkIndex;
use crate::orchestrator::store::{Change, NodeKey};
use crate::pcp::Outgoing;
use crate::pxp::request::{BlockingRequest, NonBlockingRequest};
use crate::pxp::status::StatusQuery;
use crate::pxp::{message_type, puppet_run};

/// What is known of a request's way to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It was sent, or was about to be when we stopped.
    Sent,
    /// It was sent a second time; there is no third.
    SentTwice,
    /// The agent has it.
    Acknowledged,
}

/// The status query that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// None.
    Idle,
    /// The one with this message id, which is also its transaction id.
    Asked(Uuid),
}

/// A node that runs.
pub(super) struct RunningNode {
    pub name: Arc<str>,
    pub transaction: Uuid,
    pub delivery: Delivery,
    /// The message id of the latest request; `None` if it was sent before a restart.
    pub request: Option<Uuid>,
    pub query: Query,
    /// Whether what runs is to be ended.
    pub ended: Ended,
    /// Since when the agent has not answered; `None` if it was not asked in vain.
    pub silent_since: Option<Moment>,
    /// From the latest query to the next.
    pause: Duration,
    poll_at: Moment,
    deadline: Option<Moment>,
}

impl RunningNode {
    fn alarm_at(&self) -> Moment {
        self.deadline.map_or(self.poll_at, |deadline| deadline.min(self.poll_at))
    }
}

impl Dispatcher {
    /// Enters a node among the running ones; `age` is how long ago its request was sent.
    pub(super) fn add_running(
        &mut self,
        now: Now,
        key: NodeKey,
        name: Arc<str>,
        transaction: Uuid,
        delivery: Delivery,
        age: Duration,
    ) {
        let job = &self.jobs[&key.job];
        let (timeout, is_forced) = (job.timeout.map(Duration::from_secs), job.stop == Some(Stop::ByForce));
        // Nodes that start together are not asked together: the first query comes after half to one and a half intervals.
        let interval = self.settings.status_interval;
        let phase = interval
            .mul_f64(f64::from(u16::from_be_bytes([transaction.as_bytes()[0], transaction.as_bytes()[1]])) / 65536.0);
        let node = RunningNode {
            name: name.clone(),
            transaction,
            delivery,
            request: None,
            query: Query::Idle,
            ended: if is_forced { Ended::Wanted } else { Ended::NotWanted },
            silent_since: None,
            pause: interval,
            poll_at: now.moment + interval / 2 + phase,
            deadline: timeout.map(|timeout| now.moment + timeout.saturating_sub(age)),
        };
        self.turns.occupy(key.job);
        self.alarms.insert((node.alarm_at(), key));
        self.by_name.entry(name).or_default().push(key);
        self.transactions.insert(transaction, key);
        self.running.insert(key, node);
    }

    /// Sends the node's request; the change that says so is committed before.
    pub(super) fn send_request(&mut self, key: NodeKey, link: LinkIndex, out: &mut Output) {
        let id = (self.new_id)();
        let node = self.running.get_mut(&key).expect("only running nodes are sent requests");
        let job = &self.jobs[&key.job];
        let Ok(params) = &job.params else { return };
        let module = match job.action {
            Action::Task(_) => "task",
            Action::Puppet => puppet_run::MODULE,
        };
        let request = NonBlockingRequest {
            transaction_id: node.transaction.to_string(),
            notify_outcome: true,
            module: module.to_owned(),
            action: "run".to_owned(),
            params: Some(params),
        };
        out.sends.push(message(link, id, &node.name, message_type::NON_BLOCKING_REQUEST, request));
        if let Some(old) = node.request.replace(id) {
            self.messages.remove(&old);
        }
        self.messages.insert(id, key);
    }

    fn send_query(&mut self, key: NodeKey, link: LinkIndex, out: &mut Output) {
        let id = (self.new_id)();
        let node = self.running.get_mut(&key).expect("only running nodes are asked");
        let request = BlockingRequest {
            transaction_id: id.to_string(),
            module: "status".to_owned(),
            action: "query".to_owned(),
            params: Some(StatusQuery { transaction_id: node.transaction.to_string() }),
        };
        out.sends.push(message(link, id, &node.name, message_type::BLOCKING_REQUEST, request));
        if let Query::Asked(old) = std::mem::replace(&mut node.query, Query::Asked(id)) {
            self.messages.remove(&old);
        }
        self.messages.insert(id, key);
    }

    /// Forgets the query that is under way.
    pub(super) fn settle_query(&mut self, key: NodeKey) {
        let node = self.running.get_mut(&key).expect("only running nodes have queries");
        if let Query::Asked(id) = std::mem::replace(&mut node.query, Query::Idle) {
            self.messages.remove(&id);
        }
    }

    /// Makes the node's next status query due now.
    pub(super) fn hasten(&mut self, at: Moment, key: NodeKey) {
        let node = self.running.get_mut(&key).expect("only running nodes are hastened");
        let old = node.alarm_at();
        // A query over the lost connection will not be answered, which is not the agent's silence.
        node.poll_at = at;
        let new = node.alarm_at();
        self.alarms.remove(&(old, key));
        self.alarms.insert((new, key));
        self.settle_query(key);
    }

    /// The node's deadline or its next status query is due.
    pub(super) fn alarm(&mut self, now: Now, key: NodeKey, out: &mut Output) {
        let node = self.running.get_mut(&key).expect("only running nodes have alarms");
        self.alarms.remove(&(node.alarm_at(), key));
        if node.deadline.is_some_and(|deadline| deadline <= now.moment) {
            let seconds = self.jobs[&key.job].timeout.unwrap_or_default();
            if let Some(link) = self.link_of(&self.running[&key].name) {
                self.send_end(key, link, out);
            }
            let reason = format!(
                "what was started did not end within its timeout of {seconds} s; an agent of Podium has been told to end \
                 it, on others it may still be running"
            );
            return self.give_up(now, key, &reason, out);
        }
        let (name, was_asked) = (node.name.clone(), node.query != Query::Idle);
        let link = self.link_of(&name);
        if (was_asked || link.is_none()) && self.is_silent(now, key) {
            return self.give_up_silent(now, key, out);
        }
        self.wait(now, key, was_asked && link.is_some());
        if let Some(link) = link
            && !self.tell_to_end(key, link, out)
        {
            self.send_query(key, link, out);
        }
    }

    /// Arms the alarm for the next query. An answer may be as large as a result and still be on its way, in front of all
    /// that the agent has to say: whoever asks again too soon only makes that longer.
    fn wait(&mut self, now: Now, key: NodeKey, is_unanswered: bool) {
        let (interval, patience) = (self.settings.status_interval, self.patience());
        let node = self.running.get_mut(&key).expect("only running nodes wait");
        let silence = now.moment.since(*node.silent_since.get_or_insert(now.moment));
        let longest = STATUS_PAUSE_MAX.min(patience.saturating_sub(silence)).max(interval);
        node.pause = if is_unanswered { (node.pause * 2).min(longest) } else { interval };
        node.poll_at = now.moment + node.pause;
        self.alarms.insert((node.alarm_at(), key));
    }

    /// How long an agent may be silent.
    fn patience(&self) -> Duration {
        self.settings.status_interval.saturating_mul(self.settings.allowed_status_requests)
    }

    /// Whether the agent has been silent for too long.
    pub(super) fn is_silent(&self, now: Now, key: NodeKey) -> bool {
        self.running[&key].silent_since.is_some_and(|since| now.moment.since(since) >= self.patience())
    }

    /// Ends a node whose agent has been silent for too long.
    pub(super) fn give_up_silent(&mut self, now: Now, key: NodeKey, out: &mut Output) {
        let node = &self.running[&key];
        let seconds = node.silent_since.map_or(0, |since| now.moment.since(since).as_secs());
        let whereabouts = match self.link_of(&node.name) {
            Some(_) => {
                "although the agent is connected: it may be blocked, or its answer cannot be sent (look into its log)"
            }
            None => "because the agent is not connected",
        };
        let reason = format!(
            "timed out: status requests got no answer for {seconds} s {whereabouts}; whether the task ran is not known"
        );
        self.give_up(now, key, &reason, out);
    }

    /// The agent has never seen the request: once, it is sent again.
    pub(super) fn resend(&mut self, key: NodeKey, out: &mut Output) {
        let node = self.running.get_mut(&key).expect("only running nodes are sent requests");
        debug_assert_eq!(node.delivery, Delivery::Sent, "a request is sent at most twice");
        let name = node.name.clone();
        // Without a link, or with too much to send already, the next query asks again, and the answer leads here again.
        let Some(link) = self.link_of(&name).filter(|_| out.bytes() < DISPATCH_STEP_BYTES_MAX) else { return };
        self.running.get_mut(&key).expect("looked up above").delivery = Delivery::SentTwice;
        out.changes.push(Change::NodeResent(key));
        self.send_request(key, link, out);
    }

    /// Ends a running node as errored.
    pub(super) fn give_up(&mut self, now: Now, key: NodeKey, reason: &str, out: &mut Output) {
        let ending = Ending::errored(&self.jobs[&key.job].action, &self.running[&key].name, reason);
        self.end(now, key, ending, out);
    }

    /// Ends a running node; from here on nothing that arrives for its transaction means anything.
    pub(super) fn end(&mut self, now: Now, key: NodeKey, ending: Ending, out: &mut Output) {
        let node = self.running.remove(&key).expect("a node ends once");
        self.alarms.remove(&(node.alarm_at(), key));
        self.transactions.remove(&node.transaction);
        if let Some(id) = node.request {
            self.messages.remove(&id);
        }
        if let Query::Asked(id) = node.query {
            self.messages.remove(&id);
        }
        if let Ended::Asked(id) = node.ended {
            self.messages.remove(&id);
        }
        if let Some(keys) = self.by_name.get_mut(&node.name) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_name.remove(&node.name);
            }
        }
        self.turns.release(key.job);
        self.record_end(now, key, &node.name, ending, out);
    }
}

/// Without a sender: the broker puts in the URI by which it knows us, and refuses any other.
pub(super) fn message(link: LinkIndex, id: Uuid, name: &str, message_type: &str, data: impl Serialize) -> Send {
    let target = format!("pcp://{name}/agent");
    let id = id.to_string();
    let outgoing =
        Outgoing { id: &id, message_type, target: Some(&target), sender: None, in_reply_to: None, data: Some(data) };
    Send { link, message: outgoing.encode() }
}
