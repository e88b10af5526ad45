//! Ids of the broker's own messages: UUIDs from a seeded sequence. They have to be unique, not secret.

use uuid::Builder;

/// A sequence of UUIDs (splitmix64, twice per id).
#[derive(Debug, Clone)]
pub struct Identifiers {
    state: u64,
}

impl Identifiers {
    /// A sequence that another seed does not repeat.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next id, in lower case with dashes.
    pub fn next_id(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_word().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next_word().to_be_bytes());
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let mut ids = Identifiers::new(7);
        let (first, second) = (ids.next_id(), ids.next_id());
        assert_ne!(first, second);
        assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
        assert_eq!(Identifiers::new(7).next_id(), first);
    }
}
