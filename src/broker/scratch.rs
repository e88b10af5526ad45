//! The buffer in which a worker puts messages together, so that neither a translation nor an answer allocates.

use crate::limits::SCRATCH_BYTES_KEPT;

/// The buffer between two uses.
#[derive(Debug, Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// Takes the buffer, empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Gives the buffer back; one that a large message has made large is not kept.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= SCRATCH_BYTES_KEPT {
            buffer.clear();
            self.0 = buffer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_are_used_again_and_large_ones_are_not_kept() {
        let mut scratch = Scratch::default();
        let mut buffer = scratch.take();
        buffer.extend_from_slice(&[1; 1000]);
        scratch.give(buffer);
        let buffer = scratch.take();
        assert!(buffer.is_empty() && buffer.capacity() >= 1000);
        scratch.give(Vec::with_capacity(SCRATCH_BYTES_KEPT + 1));
        assert_eq!(scratch.take().capacity(), 0);
    }
}
