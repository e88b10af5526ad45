//! What arrives from brokers and, through them, from agents. Nothing here trusts a message further than its sender's
//! URI, which the broker has checked: an agent speaks for its own transactions only, and only a broker for the inventory.

use std::str::FromStr;
use std::sync::PoisonError;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::node::{Delivery, Query};
use super::stop::Ended;
use super::{Dispatcher, Now, Output};
use crate::orchestrator::events::{self, Action, Ending};
use crate::orchestrator::inventory::{Arrivals, LinkIndex};
use crate::orchestrator::puppet_run;
use crate::orchestrator::store::{Change, NodeKey};
use crate::pcp::message::{InventoryResponse, InventoryUpdate, error_text};
use crate::pcp::{Envelope, PcpUri};
use crate::pxp::puppet_run::RunResults;
use crate::pxp::response::{ProcessResults, ProvisionalResponse, Response, RpcError};
use crate::pxp::status::{StatusResults, TransactionStatus};

/// What the agent says of a transaction that it has never seen, or has forgotten.
const NEVER_SEEN: &str = "found no results directory";

/// What became of a message; the variant is the word for counters and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It changed something, or confirmed something.
    Used,
    /// It is about a transaction or message that has ended: late and duplicate answers are normal.
    Stale,
    /// It cannot be read.
    Malformed,
    /// Its sender may not say this.
    Forged,
    /// A message type that an orchestrator has no use for.
    Unexpected,
}

/// Data that cannot be read is an error.
type Handled = serde_json::Result<Received>;

impl Dispatcher {
    /// Takes a message from a broker.
    pub fn receive(&mut self, now: Now, link: LinkIndex, message: &[u8], out: &mut Output) -> Received {
        let Ok(envelope) = Envelope::decode(message) else { return Received::Malformed };
        let handled = match envelope.message_type.strip_prefix(crate::pcp::TYPE_PREFIX).unwrap_or_default() {
            "inventory_response" => self.inventory_response(now, link, &envelope, out),
            "inventory_update" => self.inventory_update(now, link, &envelope, out),
            "rpc_provisional_response" => self.provisional(&envelope, out),
            "rpc_non_blocking_response" => self.outcome(now, &envelope, out),
            "rpc_blocking_response" => self.status(now, &envelope, out),
            "rpc_error_message" => self.rpc_error(now, &envelope, out),
            "error_message" => self.error_message(now, link, &envelope, out),
            _ => Ok(Received::Unexpected),
        };
        handled.unwrap_or(Received::Malformed)
    }

    fn inventory_response(&mut self, now: Now, link: LinkIndex, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        if !self.is_broker(link, envelope) {
            return Ok(Received::Forged);
        }
        if !self.is_current(link) {
            return Ok(Received::Stale);
        }
        let response: InventoryResponse<'_> = envelope.data_as()?;
        self.answered(now, link);
        let uris = response.uris.iter().map(AsRef::as_ref);
        let arrivals = self.inventory.write().unwrap_or_else(PoisonError::into_inner).replace(link, uris, now.wall);
        self.arrived(now, arrivals, out);
        Ok(Received::Used)
    }

    fn inventory_update(&mut self, now: Now, link: LinkIndex, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        if !self.is_broker(link, envelope) {
            return Ok(Received::Forged);
        }
        if !self.is_current(link) {
            return Ok(Received::Stale);
        }
        let update: InventoryUpdate<'_> = envelope.data_as()?;
        let mut arrivals = Arrivals::default();
        let mut inventory = self.inventory.write().unwrap_or_else(PoisonError::into_inner);
        for change in &update.changes {
            inventory.change(link, &change.client, change.change, now.wall, &mut arrivals);
        }
        drop(inventory);
        self.arrived(now, arrivals, out);
        Ok(Received::Used)
    }

    /// Nodes have connected: what waits for them goes on, and what runs on them may have ended without our knowing.
    pub(super) fn arrived(&mut self, now: Now, arrivals: Arrivals, out: &mut Output) {
        for name in &arrivals.connected {
            self.release_held(name);
            for key in self.by_name.get(name.as_str()).cloned().unwrap_or_default() {
                // Its answer to the query under way may be what ended the connection, being too large, and would end this
                // one as well: then there is no hurry, and the silence counts.
                if self.running[&key].query == Query::Idle {
                    self.hasten(now.moment, key);
                }
            }
        }
        if !arrivals.new.is_empty() {
            out.changes.push(Change::NodesSeen(arrivals.new));
        }
    }

    fn provisional(&mut self, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        let response: ProvisionalResponse = envelope.data_as()?;
        let key = match self.running_of(&response.transaction_id, envelope) {
            Ok(key) => key,
            Err(received) => return Ok(received),
        };
        self.acknowledge(key, out);
        Ok(Received::Used)
    }

    /// The agent has the request: it is never sent again, and silence is counted anew.
    fn acknowledge(&mut self, key: NodeKey, out: &mut Output) {
        let node = self.running.get_mut(&key).expect("only running nodes are acknowledged");
        node.silent_since = None;
        if node.delivery != Delivery::Acknowledged {
            node.delivery = Delivery::Acknowledged;
            out.changes.push(Change::NodeAcknowledged(key));
        }
    }

    fn outcome(&mut self, now: Now, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        let response: Response<Box<RawValue>> = envelope.data_as()?;
        let key = match self.running_of(&response.transaction_id, envelope) {
            Ok(key) => key,
            Err(received) => return Ok(received),
        };
        let results = response.results.get();
        if self.jobs[&key.job].action == Action::Puppet {
            self.puppet_ran(now, key, results, out);
            return Ok(Received::Used);
        }
        match serde_json::from_str::<ProcessResults>(results) {
            Ok(results) => self.ran(now, key, &results, out),
            Err(error) => {
                let reason = format!("the agent's answer is not the result of a process: {error}");
                self.give_up(now, key, &reason, out);
            }
        }
        Ok(Received::Used)
    }

    fn ran(&mut self, now: Now, key: NodeKey, results: &ProcessResults, out: &mut Output) {
        let ending = Ending::ran(&self.jobs[&key.job].action, &self.running[&key].name, results);
        self.end_by_agent(now, key, ending, out);
    }

    /// `results` is the JSON that the agent's Puppet module has written.
    fn puppet_ran(&mut self, now: Now, key: NodeKey, results: &str, out: &mut Output) {
        let name = &self.running[&key].name;
        let ending = match serde_json::from_str::<RunResults>(results) {
            Ok(results) => puppet_run::ending(name, self.jobs[&key.job].noop, &results),
            Err(error) => {
                let reason = format!("the agent's answer is not the result of a Puppet run: {error}");
                Ending::errored(&Action::Puppet, name, &reason)
            }
        };
        self.end_by_agent(now, key, ending, out);
    }

    fn status(&mut self, now: Now, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        let response: Response<StatusResults> = envelope.data_as()?;
        let key = match self.running_of(&response.results.transaction_id, envelope) {
            Ok(key) => key,
            Err(received) => return Ok(received),
        };
        let node = &self.running[&key];
        let is_current = matches!(node.query, Query::Asked(id) if id.to_string() == response.transaction_id);
        let is_ending = node.is_stop(&response.transaction_id);
        let StatusResults { status, exitcode, stdout, stderr, .. } = response.results;
        // An end is an end whichever query it answers; anything else may have been overtaken by a second request.
        match status {
            TransactionStatus::Success | TransactionStatus::Failure => {
                self.ended_by_status(
                    now,
                    key,
                    &ProcessResults { exitcode: exitcode.unwrap_or(0), stdout, stderr },
                    status,
                    out,
                );
            }
            _ if !is_current => return Ok(Received::Stale),
            TransactionStatus::Running => {
                if is_ending {
                    self.will_end(key);
                }
                self.settle_query(key);
                self.acknowledge(key, out);
            }
            TransactionStatus::Unknown => {
                self.settle_query(key);
                self.running.get_mut(&key).expect("looked up above").silent_since = None;
                self.unknown(now, key, stdout.as_deref(), out);
            }
        }
        Ok(Received::Used)
    }

    fn ended_by_status(
        &mut self,
        now: Now,
        key: NodeKey,
        results: &ProcessResults,
        status: TransactionStatus,
        out: &mut Output,
    ) {
        // The agent's own failure: the exit code is 0 or that of a task whose output could not be used.
        let stdout = results.stdout.as_deref();
        if status == TransactionStatus::Failure && events::is_agent_error(stdout) {
            return self.agent_error(now, key, stdout, out);
        }
        match self.jobs[&key.job].action {
            Action::Task(_) => self.ran(now, key, results, out),
            Action::Puppet => self.puppet_ran(now, key, stdout.unwrap_or_default(), out),
        }
    }

    fn unknown(&mut self, now: Now, key: NodeKey, stdout: Option<&str>, out: &mut Output) {
        let never_seen = events::agent_error_message(stdout).is_some_and(|message| message.contains(NEVER_SEEN));
        match self.running[&key].delivery {
            Delivery::Sent if never_seen && self.jobs[&key.job].stop.is_some() => {
                let ending = Ending::skipped(&self.running[&key].name);
                self.end(now, key, ending, out);
            }
            Delivery::Sent if never_seen => self.resend(key, out),
            _ => self.agent_error(now, key, stdout, out),
        }
    }

    fn agent_error(&mut self, now: Now, key: NodeKey, stdout: Option<&str>, out: &mut Output) {
        let ending = Ending::agent_error(&self.jobs[&key.job].action, &self.running[&key].name, stdout);
        if self.running[&key].ended == Ended::Confirmed {
            return self.end_by_agent(now, key, ending, out);
        }
        self.end(now, key, ending, out);
    }

    fn rpc_error(&mut self, now: Now, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        let error: RpcError = envelope.data_as()?;
        // It is about the request, by its transaction, or about a status query, whose transaction is its message.
        let by_query = || self.by_message(&error.transaction_id).ok_or(Received::Stale);
        let key = match self.running_of(&error.transaction_id, envelope) {
            Err(Received::Stale) => by_query().and_then(|key| self.check_sender(key, envelope)),
            found => found,
        };
        match key {
            Ok(key) if self.running[&key].is_stop(&error.transaction_id) => {
                self.cannot_end(key, &error.description, out);
            }
            Ok(key) => self.give_up(now, key, &error.description, out),
            Err(received) => return Ok(received),
        }
        Ok(Received::Used)
    }

    /// An error about a message, by the message's id: from the broker, or from an agent that could not read it.
    fn error_message(&mut self, now: Now, link: LinkIndex, envelope: &Envelope<'_>, out: &mut Output) -> Handled {
        let text: String = envelope.data_as()?;
        let about = envelope.in_reply_to.as_deref().unwrap_or_default();
        let Some(key) = self.by_message(about) else { return Ok(Received::Stale) };
        if !self.is_broker(link, envelope) && self.check_sender(key, envelope).is_err() {
            return Ok(Received::Forged);
        }
        let node = &self.running[&key];
        let is_request = node.request.is_some_and(|id| id.to_string() == about);
        let was_delivered = node.delivery == Delivery::Acknowledged;
        // The node has moved, and the broker that it left has told of it late, or will.
        let is_elsewhere = text == error_text::NOT_CONNECTED && self.doubt(link, &node.name);
        match text.as_str() {
            // The next status query finds out.
            error_text::OVERLOADED => {}
            _ if !is_request => {
                self.settle_query(key);
                if self.is_silent(now, key) {
                    self.give_up_silent(now, key, out);
                }
            }
            error_text::NOT_CONNECTED if was_delivered => {}
            // It does not know the request, says so when asked, and is then sent it again.
            error_text::NOT_CONNECTED if is_elsewhere => self.hasten(now.moment, key),
            error_text::NOT_CONNECTED => {
                let reason = format!("{} is not connected to the PCP broker", node.name);
                self.give_up(now, key, &reason, out);
            }
            text => {
                let reason = format!("the request was refused: {text}");
                self.give_up(now, key, &reason, out);
            }
        }
        Ok(Received::Used)
    }

    /// Whether a node that the broker of this link denies is connected through another.
    fn doubt(&self, link: LinkIndex, name: &str) -> bool {
        self.inventory.write().unwrap_or_else(PoisonError::into_inner).doubt(link, name)
    }

    fn by_message(&self, id: &str) -> Option<NodeKey> {
        self.messages.get(&Uuid::from_str(id).ok()?).copied()
    }

    /// The running node of a transaction that the sender may speak for.
    fn running_of(&self, transaction: &str, envelope: &Envelope<'_>) -> Result<NodeKey, Received> {
        let transaction = Uuid::from_str(transaction).map_err(|_| Received::Stale)?;
        let key = self.transactions.get(&transaction).copied().ok_or(Received::Stale)?;
        self.check_sender(key, envelope)
    }

    fn check_sender(&self, key: NodeKey, envelope: &Envelope<'_>) -> Result<NodeKey, Received> {
        let sender = envelope.sender.as_deref().and_then(PcpUri::parse);
        let is_agent =
            sender.is_some_and(|uri| uri.client_type == "agent" && *uri.authority == *self.running[&key].name);
        if is_agent { Ok(key) } else { Err(Received::Forged) }
    }
}
