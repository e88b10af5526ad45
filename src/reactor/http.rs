//! The HTTP side of a connection: the upgrade to a WebSocket, status pages for whoever asks for no upgrade, refusals, and
//! the line in the access log that each of them leaves.

use crate::limits::PAGE_BYTES_MAX;
use crate::link::{Admission, Application, Opening, PeerId};
use crate::observe::access_log::RequestEntry;
use crate::observe::metrics::count;
use crate::observe::pages::Visitor;
use crate::reactor::connection::{Closing, Stage, UpgradeSide};
use crate::reactor::core::Core;
use crate::reactor::refusal::Refusal;
use crate::reactor::worker::{Life, Worker};
use crate::reactor::write::Broken;
use crate::tls::identity::PeerName;
use crate::websocket::frame::Role;
use crate::websocket::upgrade::{self, Answer, Request, RequestError, request_line};

/// What is answered to an upgrade without a certificate, where the handshake is possible without one (pcp-broker).
const NO_CERTIFICATE: Refusal =
    Refusal::Unwanted { status: 403, reason: "No client certificate.", label: "no-client-certificate" };

impl<A: Application> Worker<A> {
    /// Goes on with an upgrade if there is one under way; leaves in the scratch buffer what comes after it.
    pub(super) fn upgrade(&mut self, peer: PeerId) {
        let Some(slot) = self.core.slot(peer) else { return };
        let Stage::AwaitingUpgrade(upgrade) = &mut self.core.connections[slot].stage else { return };
        upgrade.received.append(&mut self.scratch.plain);
        let size = match &upgrade.side {
            UpgradeSide::Request => match upgrade::parse_request(&upgrade.received) {
                Ok(None) => return,
                Err(error) => return self.core.show_page_or_refuse(slot, error),
                Ok(Some((request, size))) => {
                    self.scratch.plain.extend_from_slice(&upgrade.received[size..]);
                    return self.admit(slot, &request);
                }
            },
            UpgradeSide::Answer { key, .. } => match upgrade::check_answer(&upgrade.received, key) {
                Ok(None) => return,
                Err(error) => return self.core.refuse(slot, Refusal::Answer(error)),
                Ok(Some(size)) => size,
            },
        };
        self.scratch.plain.extend_from_slice(&upgrade.received[size..]);
        self.open(slot, Role::Client, "", None);
    }

    fn admit(&mut self, slot: usize, request: &Request) {
        if self.life != Life::Running {
            return self.core.refuse(slot, Refusal::Stopping);
        }
        let connection = &self.core.connections[slot];
        let remote = connection.remote;
        let Stage::AwaitingUpgrade(upgrade) = &connection.stage else { return };
        let Some(name) = &upgrade.name else { return self.core.refuse(slot, NO_CERTIFICATE) };
        let Some(seat) = self.core.common.seats.take() else {
            let reason = "Connection limit exceeded.";
            let refusal = Refusal::Unwanted { status: 503, reason, label: "connection-limit" };
            return self.core.refuse(slot, refusal);
        };
        let opening = Opening { identity: name.identity(), path: &request.path, remote, dialled: None };
        if let Admission::Refuse { status, reason } = self.application.admit(self.core.now, &opening) {
            return self.core.refuse(slot, Refusal::Unwanted { status, reason, label: reason });
        }
        if let Some(log) = &self.core.common.options.request_log {
            let common_name = Some(&*name.common_name);
            let request = Some(("GET", &*request.path));
            let entry = RequestEntry { remote, common_name, request, status: 101, bytes: 0 };
            log.request(self.core.index, self.core.now, &entry);
        }
        let mut answer = Vec::new();
        upgrade::write_accept(&request.key, &mut answer);
        match self.core.write_welcome(slot, &answer) {
            Ok(()) => {
                self.core.common.options.metrics.connections_opened.inc();
                self.open(slot, Role::Server, &request.path, Some(seat));
            }
            Err(_) => self.core.refuse(slot, Refusal::Lost),
        }
    }
}

impl<M: Send> Core<M> {
    /// The request is not for a WebSocket; maybe it is for a page.
    fn show_page_or_refuse(&mut self, slot: usize, error: RequestError) {
        let Some(page) = self.page(slot, error) else { return self.refuse(slot, Refusal::Request(error)) };
        let Stage::AwaitingUpgrade(upgrade) = self.set_stage(slot, Stage::Closing(Closing::Finishing)) else {
            unreachable!("only an upgrade can turn out to be none");
        };
        count(&self.common.options.metrics.pages, class(page.status));
        match self.answer(slot, upgrade.name.as_ref(), &upgrade.received, &page) {
            Ok(()) => self.start_closing(slot, Closing::Finishing),
            Err(_) => self.remove(slot),
        }
    }

    /// The page that is asked for, if there is one.
    fn page(&self, slot: usize, error: RequestError) -> Option<Answer> {
        let pages = self.common.options.pages.as_ref()?;
        let Stage::AwaitingUpgrade(upgrade) = &self.connections[slot].stage else { return None };
        let line = request_line(&upgrade.received)?;
        let is_plain = match error {
            RequestError::NotUpgrade => line.method == "GET",
            RequestError::Method => line.method == "HEAD",
            _ => false,
        };
        if !is_plain {
            return None;
        }
        let visitor = if upgrade.name.is_some() { Visitor::Known } else { Visitor::Unknown };
        let page = pages.page(visitor, line.path, line.query)?;
        if page.body.len() > PAGE_BYTES_MAX {
            return Some(Answer::refusal(500, "This page is too large."));
        }
        Some(Answer { status: page.status, content_type: page.content_type, body: page.body })
    }

    /// Writes an answer and its line in the access log. The connection is to be closed behind it.
    pub(super) fn answer(
        &mut self,
        slot: usize,
        name: Option<&PeerName>,
        received: &[u8],
        answer: &Answer,
    ) -> Result<(), Broken> {
        let line = request_line(received);
        let is_head = line.as_ref().is_some_and(|line| line.method == "HEAD");
        let mut block = Vec::new();
        answer.write(!is_head, &mut block);
        if let Some(log) = &self.common.options.request_log {
            let entry = RequestEntry {
                remote: self.connections[slot].remote,
                common_name: name.map(|name| &*name.common_name),
                request: line.map(|line| (line.method, line.path)),
                status: answer.status,
                bytes: if is_head { 0 } else { answer.body.len() },
            };
            log.request(self.index, self.now, &entry);
        }
        self.write_plain(slot, &block)
    }
}

/// The status as a label: few words, whatever a page answers.
fn class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        400..=499 => "4xx",
        503 => "503",
        _ => "other",
    }
}
