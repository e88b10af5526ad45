//! The buffers that all connections of a worker share, and the queue of the one whose socket is blocked.

use std::collections::VecDeque;

use crate::clock::Moment;
use crate::limits::{READ_CHUNK_BYTES, TLS_CARRY_BYTES_MAX};

/// Small pieces are put together up to this size, so that a slow reader of small messages costs few allocations.
const CHUNK_BYTES: usize = 16 * 1024;

/// What is read and decrypted in. Apart from the connection table, so that an application can be shown a message where
/// it lies while it uses the table.
pub(super) struct Scratch {
    /// Bytes carried over from the last read, then new ones.
    pub(super) read: Box<[u8]>,
    /// Their plaintext.
    pub(super) plain: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            read: vec![0; TLS_CARRY_BYTES_MAX + READ_CHUNK_BYTES].into_boxed_slice(),
            plain: Vec::with_capacity(READ_CHUNK_BYTES),
        }
    }
}

/// Encrypted bytes that wait for a socket. A connection has one only while there are such bytes.
#[derive(Debug)]
pub(super) struct OutQueue {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are gone already.
    sent: usize,
    length: usize,
    /// When the socket last took some of them, or refused the first ones.
    moved: Moment,
}

impl OutQueue {
    pub(super) fn new(bytes: &[u8], now: Moment) -> Self {
        let chunks = VecDeque::from([bytes.to_vec()]);
        Self { chunks, sent: 0, length: bytes.len(), moved: now }
    }

    pub(super) fn moved(&self) -> Moment {
        self.moved
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK_BYTES => last.extend_from_slice(bytes),
            _ => self.chunks.push_back(bytes.to_vec()),
        }
    }

    /// The bytes to be sent next.
    pub(super) fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| &chunk[self.sent..])
    }

    /// Forgets bytes of [`OutQueue::front`] that were sent.
    pub(super) fn advance(&mut self, count: usize, now: Moment) {
        debug_assert!(count <= self.front().len());
        self.moved = now;
        self.sent += count;
        self.length -= count;
        if self.front().is_empty() {
            self.chunks.pop_front();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order() {
        let at = Moment::from_millis;
        let all: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let mut pieces = all.chunks(7_001);
        let mut queue = OutQueue::new(pieces.next().unwrap(), at(1));
        pieces.for_each(|piece| queue.push(piece));
        assert_eq!(queue.moved(), at(1));
        assert_eq!(queue.len(), all.len());
        let mut seen = Vec::new();
        while !queue.is_empty() {
            let piece = &queue.front()[..queue.front().len().min(9_999)];
            seen.extend_from_slice(piece);
            queue.advance(piece.len(), at(2));
        }
        assert_eq!(seen, all);
        assert_eq!((queue.moved(), queue.chunks.len()), (at(2), 0));
    }
}
