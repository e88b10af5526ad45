//! The way in, as far as it needs no application: bytes from the socket, TLS, and the end of the handshake.

use std::io::{self, Read};

use crate::limits::{READ_CHUNK_BYTES, TLS_CARRY_BYTES_MAX};
use crate::link::{CloseReason, PeerId};
use crate::reactor::buffers::Scratch;
use crate::reactor::connection::{Closing, Custody, Open, Origin, Stage, Upgrade, UpgradeSide};
use crate::reactor::core::Core;
use crate::reactor::handshakes::is_for_the_pool;
use crate::reactor::refusal::Refusal;
use crate::tls::failure::TlsFailure;
use crate::tls::session::{Progress, TlsState};
use crate::websocket::session::Session;
use crate::websocket::upgrade;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Nothing more for now, or what came is at the pool.
    Nothing,
    /// This many bytes; their plaintext is in the scratch buffer.
    Bytes(usize, TlsState),
    /// The connection has ended, or goes on to its end without its input.
    Over,
}

impl<M: Send> Core<M> {
    /// Reads once and decrypts.
    pub(super) fn receive(&mut self, slot: usize, scratch: &mut Scratch) -> Received {
        let connection = &mut self.connections[slot];
        if matches!(connection.tls, Custody::Pool) {
            return Received::Nothing;
        }
        let carried = connection.carry.len();
        let room = &mut scratch.read[carried..carried + READ_CHUNK_BYTES];
        let count = loop {
            match connection.socket.read(room) {
                Ok(0) => {
                    self.lose(slot, CloseReason::Lost);
                    return Received::Over;
                }
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
                Err(_) => {
                    self.lose(slot, CloseReason::Lost);
                    return Received::Over;
                }
            }
        };
        self.tally.bytes_in += count as u64;
        scratch.plain.clear();
        if matches!(connection.stage, Stage::Closing(Closing::Leaving | Closing::Finishing | Closing::Lingering)) {
            return Received::Bytes(count, connection.tls().map_or(TlsState::Failed, |tls| tls.state()));
        }
        if is_for_the_pool(&connection.stage) {
            self.hand_over(slot, &scratch.read[carried..carried + count]);
            return Received::Nothing;
        }
        scratch.read[..carried].copy_from_slice(&connection.carry);
        let incoming = &mut scratch.read[..carried + count];
        self.out.clear();
        let Some(tls) = connection.tls() else { return Received::Nothing };
        let result = tls.read(incoming, &mut scratch.plain, &mut self.out);
        match self.digest(slot, incoming, result) {
            Some(state) => Received::Bytes(count, state),
            None => Received::Over,
        }
    }

    /// After a session has read `incoming`: keeps what it could not use, sends what it has to say and returns where it is;
    /// nothing if that is the end.
    pub(super) fn digest(
        &mut self,
        slot: usize,
        incoming: &[u8],
        mut result: Result<Progress, TlsFailure>,
    ) -> Option<TlsState> {
        if let Ok(progress) = &result {
            let (consumed, rest) = (progress.consumed, &incoming[progress.consumed..]);
            if rest.len() <= TLS_CARRY_BYTES_MAX {
                self.carry(slot, rest, consumed);
            } else {
                result = Err(TlsFailure::BadRecord);
            }
        }
        let transmitted = self.transmit(slot);
        match (result, transmitted) {
            (Err(failure), _) => {
                self.tls_failed(slot, failure);
                None
            }
            (Ok(_), Err(broken)) => {
                self.lose(slot, broken.into());
                None
            }
            (Ok(_), Ok(())) if !self.has_carry_room(slot) => None,
            (Ok(progress), Ok(())) => Some(progress.state),
        }
    }

    /// Keeps what TLS cannot process before more comes.
    fn carry(&mut self, slot: usize, rest: &[u8], consumed: usize) {
        let now = self.now;
        let connection = &mut self.connections[slot];
        let before = connection.partial_bytes();
        connection.carry = rest.into();
        self.partial_bytes = self.partial_bytes - before + connection.partial_bytes();
        // Whole records are progress, unless all of them are parts of the same message.
        if let Stage::Open(open) = &mut connection.stage
            && (before == 0 || (consumed > 0 && open.session.held_bytes() == 0))
        {
            open.partial_since = now;
        }
    }

    /// The alert is on its way.
    fn tls_failed(&mut self, slot: usize, failure: TlsFailure) {
        match self.connections[slot].stage {
            Stage::Open(_) => {
                self.leave_open(slot, CloseReason::Protocol(failure.label()), |_| Closing::Finishing);
            }
            Stage::Closing(_) => self.remove(slot),
            _ => self.refuse(slot, Refusal::Tls(failure)),
        }
    }

    /// After the last message of the handshake: who the peer is, and our request if we are the client.
    pub(super) fn finish_handshake(&mut self, peer: PeerId) {
        let Some(slot) = self.slot(peer) else { return };
        if !matches!(self.connections[slot].stage, Stage::AwaitingHandshake(_)) {
            return;
        }
        let is_accepted = matches!(self.connections[slot].stage, Stage::AwaitingHandshake(Origin::Accepted));
        let Some(tls) = self.connections[slot].tls() else { return };
        let name = match tls.establish() {
            Ok(name) => Some(name),
            // TLS lets a client without a certificate in only where that is wanted; what it gets is seen at its request.
            Err(TlsFailure::NoClientCertificate) if is_accepted => None,
            Err(failure) => return self.refuse(slot, Refusal::Tls(failure)),
        };
        let Stage::AwaitingHandshake(origin) = self.set_stage(slot, Stage::Closing(Closing::Leaving)) else {
            unreachable!("it was a moment ago");
        };
        let mut request = Vec::new();
        let side = match origin {
            Origin::Accepted => UpgradeSide::Request,
            Origin::Dialled(outgoing) => {
                let dial = &outgoing.dial;
                let key = upgrade::write_request(&dial.host, dial.port, &dial.path, &mut request);
                UpgradeSide::Answer { outgoing, key }
            }
        };
        self.set_stage(slot, Stage::AwaitingUpgrade(Box::new(Upgrade { name, received: Vec::new(), side })));
        if self.write_plain(slot, &request).is_err() {
            self.refuse(slot, Refusal::Lost);
        }
    }

    /// The receiving side of a connection's messages, and by how much it may grow.
    pub(super) fn session(&mut self, slot: usize) -> Option<&mut Session> {
        match &mut self.connections[slot].stage {
            Stage::Open(Open { session, .. }) | Stage::Closing(Closing::AwaitingReply(session)) => Some(session),
            _ => None,
        }
    }
}
