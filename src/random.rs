//! Random numbers of two kinds: from the operating system for secrets and seeds, and from a seed for everything that a
//! simulation must be able to repeat. Pure floors use the second kind only.

use std::time::Duration;

/// Random bytes from the operating system.
pub fn secret<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// A seed that no other thread or run has.
pub fn seed() -> u64 {
    u64::from_ne_bytes(secret())
}

/// Numbers from a seed (splitmix64): for pauses, message ids and simulations, not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// A position in something of this length, which is not zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    /// One of them; there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// True `chance` times out of a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// A duration between two bounds, in whole milliseconds.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from((high.saturating_sub(low)).as_millis()).unwrap_or(u64::MAX);
        low + Duration::from_millis(self.next_u64() % span.saturating_add(1))
    }

    /// A version 4 UUID, in lower case with dashes.
    pub fn uuid(&mut self) -> String {
        let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_well_formed_differ_and_repeat_with_their_seed() {
        let mut random = Random::seeded(7);
        let first = random.uuid();
        assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
        assert_ne!(first, random.uuid());
        assert_eq!(first, Random::seeded(7).uuid());
    }

    #[test]
    fn bounds_are_kept() {
        let mut random = Random::seeded(1);
        let (low, high) = (Duration::from_millis(200), Duration::from_millis(203));
        assert!((0..1000).all(|_| (low..=high).contains(&random.between(low, high)) && random.below(3) < 3));
        assert_eq!(random.between(high, low), high);
        assert!(!random.percent(0) && random.percent(100));
    }
}
