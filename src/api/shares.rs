//! How many of the API's connections an address may have whose clients have not shown a certificate: as many as there are
//! free ones. Whoever is alone gets half of all, two get a third each, and so on, so that there is always room for
//! somebody else. Behind one address there may be thousands of agents; those that have shown a certificate do not count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::reactor::Source;

/// Connections without a certificate, or still without one, by address.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<Source, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    source: Source,
}

impl Shares {
    /// A share for one more connection from this address, while so many more could be accepted.
    pub(super) fn take(self: &Arc<Self>, source: Source, free: usize) -> Option<Share> {
        let mut held = self.held();
        let count = held.get(&source).copied().unwrap_or(0);
        if count > 0 && count >= free {
            return None;
        }
        held.insert(source, count + 1);
        Some(Share { shares: self.clone(), source })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Source, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(count) = held.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn host(number: u8) -> Source {
        SocketAddr::from((Ipv4Addr::new(192, 0, 2, number), 1)).into()
    }

    #[test]
    fn nobody_has_all_and_what_is_given_back_is_free() {
        const ALL: usize = 1024;
        let shares = Arc::new(Shares::default());
        let mut held = Vec::new();
        let fill = |held: &mut Vec<Share>, source| {
            let before = held.len();
            while let Some(share) = shares.take(source, ALL - held.len()) {
                held.push(share);
            }
            held.len() - before
        };
        assert_eq!(fill(&mut held, host(1)), ALL / 2);
        assert_eq!(fill(&mut held, host(2)), ALL / 4);
        assert!(fill(&mut held, host(3)) > 100);
        held.truncate(10);
        assert_eq!(fill(&mut held, host(4)), (ALL - 10) / 2);
        drop(held);
        assert!(shares.held().is_empty());
        assert!(shares.take(host(5), 0).is_some(), "the last one is for whoever has none");
    }
}
