//! Listeners that systemd has opened for us (sd_listen_fds): connections wait in them while we are not there.

use std::env;
use std::sync::Arc;

use listenfd::ListenFd;
use tracing::{info, warn};

use crate::reactor::Listen;

/// Names that the sockets must have if there are several (`FileDescriptorName=` of the socket unit).
const NAMES: [&str; 2] = ["pcp", "api"];

/// What was inherited.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// For the broker's clients.
    pub(super) pcp: Option<Listen>,
    /// For the API.
    pub(super) api: Option<Listen>,
}

impl Inherited {
    /// Takes what the environment says is ours.
    pub(super) fn take() -> Result<Self, String> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let places = places(&names, sockets.len())?;
        let mut inherited = Self::default();
        for (index, place) in places.into_iter().enumerate() {
            let listener = sockets
                .take_tcp_listener(index)
                .map_err(|error| format!("inherited socket {index} is no TCP listener ({error}); use ListenStream="))?;
            let Some(listener) = listener else { continue };
            let address = listener.local_addr().map_err(|error| format!("inherited socket {index}: {error}"))?;
            let listen = Some(Listen::Inherited(Arc::new(listener)));
            match place {
                Place::Pcp => inherited.pcp = listen,
                Place::Api => inherited.api = listen,
            }
            info!(%address, ?place, "listens at a socket of systemd; the configured address is not used");
        }
        Ok(inherited)
    }

    /// The listener of the broker's clients alone.
    pub(super) fn pcp_only(self) -> Option<Listen> {
        if self.api.is_some() {
            warn!("the inherited socket named api is not used: there is no API here");
        }
        self.pcp
    }
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pcp,
    Api,
}

/// What each of `count` sockets with these names, separated by colons, is for.
fn places(names: &str, count: usize) -> Result<Vec<Place>, String> {
    let names: Vec<&str> = names.split(':').take(count).collect();
    let place = |name: &str| match name {
        "pcp" => Some(Place::Pcp),
        "api" => Some(Place::Api),
        _ => None,
    };
    // One that nobody has named is for agents.
    if count == 1 && place(names.first().copied().unwrap_or_default()).is_none() {
        return Ok(vec![Place::Pcp]);
    }
    let mut places = Vec::with_capacity(count);
    for index in 0..count {
        let name = names.get(index).copied().unwrap_or_default();
        let place = place(name).ok_or_else(|| {
            format!("inherited socket {index} is called {name:?}; set FileDescriptorName= to one of {NAMES:?}")
        })?;
        if places.contains(&place) {
            return Err(format!(
                "there are two inherited sockets called {name:?}; [::] is one socket for both families"
            ));
        }
        places.push(place);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_their_names() {
        assert_eq!(places("", 0), Ok(vec![]));
        assert_eq!(places("", 1), Ok(vec![Place::Pcp]));
        assert_eq!(places("podium-broker.socket", 1), Ok(vec![Place::Pcp]));
        assert_eq!(places("api", 1), Ok(vec![Place::Api]));
        assert_eq!(places("api:pcp", 2), Ok(vec![Place::Api, Place::Pcp]));
        assert!(places("pcp:pcp", 2).unwrap_err().contains("two inherited sockets"));
        assert!(places("pcp", 2).unwrap_err().contains("inherited socket 1"));
    }
}
