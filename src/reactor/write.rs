//! The way out: a message becomes a frame, the frame becomes TLS records in the worker's buffer, and those go to the
//! socket. Only what the socket does not take is kept for the connection.

use std::io::{self, Write};

use crate::limits::OUT_QUEUE_BYTES_MAX;
use crate::link::{CloseReason, Opcode, PeerId, SendOutcome};
use crate::random;
use crate::reactor::buffers::OutQueue;
use crate::reactor::connection::{Appetite, Side, Stage};
use crate::reactor::core::{Core, Notice};
use crate::tls::failure::SealFailure;
use crate::tls::session::{RECORD_OVERHEAD_MAX, RECORD_PLAINTEXT_MAX};
use crate::websocket::frame::{HEADER_BYTES_MAX, Header, Kind, Role, apply_mask};

/// Encrypted bytes that are collected before the socket is tried, so that a large message does not grow the worker's
/// buffer to its own size.
const WRITE_BYTES: usize = 64 * 1024;

/// Why nothing can be sent on a connection any more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Broken {
    /// The socket.
    Socket,
    /// TLS.
    Seal(SealFailure),
}

impl From<Broken> for CloseReason {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Socket => Self::Lost,
            Broken::Seal(failure) => Self::Protocol(failure.label()),
        }
    }
}

impl From<SealFailure> for Broken {
    fn from(failure: SealFailure) -> Self {
        Self::Seal(failure)
    }
}

/// Sealed bytes for the connection that was last sent a message, which wait for the next one to it or for the end of the
/// turn: many agents answer one controller, and one write for all of them costs as much as one for each of them.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    to: Option<PeerId>,
    bytes: Vec<u8>,
}

/// A frame that is being written: where its payload starts in the present record, and its mask.
struct Masking {
    mask: Option<[u8; 4]>,
    payload_at: usize,
    offset: usize,
}

impl<M: Send> Core<M> {
    /// Sends a message, or refuses it whole.
    pub(super) fn send_message(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        let Some(slot) = self.open_slot(to) else { return SendOutcome::Gone };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let wire = wire_bytes(length);
        let queued = self.connections[slot].queued_bytes();
        let fits = match self.connections[slot].side {
            Side::Accepted => queued + wire <= OUT_QUEUE_BYTES_MAX && self.make_queue_room(slot, wire),
            Side::Dialled => queued + wire <= self.common.options.limits.dialled_queue_bytes_max,
        };
        if !fits {
            self.refuse_send(slot, to);
            return SendOutcome::Full;
        }
        let kind = match opcode {
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
        };
        if let Err(broken) = self.seal_frame(slot, kind, parts) {
            self.lose(slot, broken.into());
            return SendOutcome::Gone;
        }
        self.gather(slot);
        self.tally.messages_out += 1;
        SendOutcome::Sent
    }

    fn refuse_send(&mut self, slot: usize, peer: PeerId) {
        self.common.options.metrics.sends_full.inc();
        let connection = &mut self.connections[slot];
        let Stage::Open(open) = &mut connection.stage else { return };
        // Without a queue of its own, nothing of this connection would ever drain.
        if open.appetite == Appetite::Open && connection.queue.is_none() {
            self.starved.push(peer);
        }
        open.appetite = Appetite::Refused;
        // Those that have closed in the meantime must not pile up while the worker stays at its limit.
        if self.starved.len() > self.connections.len() {
            let starved = std::mem::take(&mut self.starved);
            self.starved = starved.into_iter().filter(|&peer| self.open_slot(peer).is_some()).collect();
        }
    }

    /// Writes one whole frame on an open connection.
    pub(super) fn write_frame(&mut self, slot: usize, kind: Kind, parts: &[&[u8]]) -> Result<(), Broken> {
        self.seal_frame(slot, kind, parts)?;
        self.transmit(slot)
    }

    /// Makes records of a frame, whose end is then in `out`.
    fn seal_frame(&mut self, slot: usize, kind: Kind, parts: &[&[u8]]) -> Result<(), Broken> {
        let connection = &mut self.connections[slot];
        let Stage::Open(open) = &mut connection.stage else {
            unreachable!("frames are only written while a connection is open");
        };
        open.last_frame = self.now;
        let mask = match open.session.role() {
            Role::Server => None,
            // Not to be foreseen by the application, whose bytes it hides from intermediaries (RFC 6455, 10.3).
            Role::Client => Some(random::secret()),
        };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.out.clear();
        self.staging.clear();
        Header { is_final: true, kind, mask, length: length as u64 }.write(&mut self.staging);
        let mut masking = Masking { mask, payload_at: self.staging.len(), offset: 0 };
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(rest.len().min(RECORD_PLAINTEXT_MAX - self.staging.len()));
                self.staging.extend_from_slice(piece);
                rest = later;
                if self.staging.len() == RECORD_PLAINTEXT_MAX {
                    self.seal_staging(slot, &mut masking)?;
                }
            }
        }
        self.seal_staging(slot, &mut masking)
    }

    /// Keeps `out` for a moment, and sends what was kept for another connection.
    fn gather(&mut self, slot: usize) {
        let peer = self.peer(slot);
        if self.gathered.to == Some(peer) && self.gathered.bytes.len() + self.out.len() < WRITE_BYTES {
            self.gathered.bytes.append(&mut self.out);
            return;
        }
        std::mem::swap(&mut self.gathered.bytes, &mut self.out);
        if let Some(last) = self.gathered.to.replace(peer) {
            self.transmit_gathered(last);
        }
    }

    /// Sends what waits for another message to the same connection.
    pub(super) fn release(&mut self) {
        if let Some(last) = self.gathered.to.take() {
            std::mem::swap(&mut self.gathered.bytes, &mut self.out);
            self.transmit_gathered(last);
        }
    }

    fn transmit_gathered(&mut self, peer: PeerId) {
        let Some(slot) = self.slot(peer) else { return self.out.clear() };
        if let Err(broken) = self.write_out(slot) {
            self.lose(slot, broken.into());
        }
    }

    /// A connection goes: what it was sent before is not taken back.
    pub(super) fn release_to(&mut self, slot: usize) {
        if self.gathered.to == Some(self.peer(slot)) {
            self.gathered.to = None;
            std::mem::swap(&mut self.gathered.bytes, &mut self.out);
            let _ = self.write_out(slot);
            self.gathered.bytes.clear();
        }
    }

    /// Writes the answer that opens a connection. It leaves with what comes next, at the end of the turn at the latest, and so
    /// after the application was told: whoever has read it can be found by others.
    pub(super) fn write_welcome(&mut self, slot: usize, bytes: &[u8]) -> Result<(), Broken> {
        self.seal_plain(slot, bytes)?;
        self.gather(slot);
        Ok(())
    }

    /// Writes bytes that are no frame: the upgrade.
    pub(super) fn write_plain(&mut self, slot: usize, bytes: &[u8]) -> Result<(), Broken> {
        self.seal_plain(slot, bytes)?;
        self.transmit(slot)
    }

    fn seal_plain(&mut self, slot: usize, bytes: &[u8]) -> Result<(), Broken> {
        self.out.clear();
        let tls = self.connections[slot].tls().ok_or(SealFailure::Closed)?;
        let sealed = tls.seal(bytes, &mut self.out);
        self.sealed(slot, sealed)
    }

    /// When keys are used up, the last record is the alert that says so.
    fn sealed(&mut self, slot: usize, sealed: Result<(), SealFailure>) -> Result<(), Broken> {
        if sealed.is_err() {
            self.transmit(slot)?;
        }
        Ok(sealed?)
    }

    fn seal_staging(&mut self, slot: usize, masking: &mut Masking) -> Result<(), Broken> {
        let payload = &mut self.staging[masking.payload_at..];
        if let Some(mask) = masking.mask {
            apply_mask(payload, mask, masking.offset);
        }
        masking.offset += payload.len();
        masking.payload_at = 0;
        let tls = self.connections[slot].tls().ok_or(SealFailure::Closed)?;
        let sealed = tls.seal(&self.staging, &mut self.out);
        self.staging.clear();
        self.sealed(slot, sealed)?;
        if self.out.len() >= WRITE_BYTES {
            self.transmit(slot)?;
        }
        Ok(())
    }

    /// Sends `out`, after what was gathered for the connection before.
    pub(super) fn transmit(&mut self, slot: usize) -> Result<(), Broken> {
        if self.gathered.to == Some(self.peer(slot)) {
            self.gathered.to = None;
            self.gathered.bytes.append(&mut self.out);
            std::mem::swap(&mut self.gathered.bytes, &mut self.out);
        }
        self.write_out(slot)
    }

    /// Hands `out` to the socket, or to the connection's queue behind what waits there already.
    fn write_out(&mut self, slot: usize) -> Result<(), Broken> {
        let connection = &mut self.connections[slot];
        let mut rest = &self.out[..];
        if connection.queue.is_none() {
            while !rest.is_empty() {
                match connection.socket.write(rest) {
                    Ok(0) => return Err(Broken::Socket),
                    Ok(count) => {
                        self.tally.bytes_out += count as u64;
                        rest = &rest[count..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Err(Broken::Socket),
                }
            }
        }
        if !rest.is_empty() {
            let (side, length) = (connection.side, rest.len());
            match &mut connection.queue {
                Some(queue) => queue.push(rest),
                none => {
                    *none = Some(Box::new(OutQueue::new(rest, self.now)));
                    self.hasten(slot);
                }
            }
            *self.queued_bytes(side) += length;
        }
        self.out.clear();
        Ok(())
    }

    /// The socket may be writable again: sends what waits for it.
    pub(super) fn flush(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let Some(queue) = &mut connection.queue else { return };
        let before = queue.len();
        let result = loop {
            if queue.is_empty() {
                break Ok(());
            }
            match connection.socket.write(queue.front()) {
                Ok(0) => break Err(Broken::Socket),
                Ok(count) => queue.advance(count, self.now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(_) => break Err(Broken::Socket),
            }
        };
        let sent = before - queue.len();
        let is_empty = queue.is_empty();
        if is_empty {
            connection.queue = None;
        }
        let side = connection.side;
        *self.queued_bytes(side) -= sent;
        self.tally.bytes_out += sent as u64;
        match result {
            Err(broken) => self.lose(slot, broken.into()),
            Ok(()) if is_empty => self.drained(slot),
            Ok(()) => {}
        }
        self.feed_starved();
    }

    fn drained(&mut self, slot: usize) {
        let peer = self.peer(slot);
        if let Stage::Open(open) = &mut self.connections[slot].stage {
            if open.appetite == Appetite::Refused {
                open.appetite = Appetite::Open;
                self.notices.push_back(Notice::Drained { peer });
            }
            return;
        }
        self.settle(slot);
    }

    /// Tells those who waited for the worker's limit, once a quarter of it is free.
    pub(super) fn feed_starved(&mut self) {
        let limit = self.common.options.limits.worker_queue_bytes_max;
        if self.starved.is_empty() || self.queued_bytes > limit / 4 * 3 {
            return;
        }
        for peer in std::mem::take(&mut self.starved) {
            if let Some(slot) = self.open_slot(peer)
                && self.connections[slot].queue.is_none()
            {
                self.drained(slot);
            }
        }
    }
}

/// Bytes that a message has on the wire at most.
fn wire_bytes(length: usize) -> usize {
    let frame = HEADER_BYTES_MAX + length;
    frame + frame.div_ceil(RECORD_PLAINTEXT_MAX) * RECORD_OVERHEAD_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_message_fits_an_empty_queue() {
        assert!(wire_bytes(crate::limits::MESSAGE_BYTES_MAX) <= OUT_QUEUE_BYTES_MAX);
    }
}
