//! The traffic secrets of TLS 1.3 on their way from rustls' key schedule to our record layer, which needs them for new keys
//! (RFC 8446, 7.2). rustls tells them to the `key_log` of a configuration and to nobody else. Ours writes nothing: it
//! hands them to the session that is being read in this thread at this moment, and outside of such a read it does not
//! listen. Its place in the configuration is taken, so no variable of the environment can make rustls write keys to a file.

use std::cell::RefCell;

use rustls::KeyLog;
use zeroize::Zeroize;

use crate::tls::cipher::SECRET_BYTES_MAX;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

/// One secret.
pub(super) struct TrafficSecret {
    bytes: [u8; SECRET_BYTES_MAX],
    length: usize,
}

impl TrafficSecret {
    fn new(secret: &[u8]) -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES_MAX];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { bytes, length: secret.len() })
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for TrafficSecret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// What the handshake of one connection has told so far.
#[derive(Default)]
pub(super) struct Captured {
    pub(super) client: Option<TrafficSecret>,
    pub(super) server: Option<TrafficSecret>,
}

thread_local! {
    static LISTENING: RefCell<Option<Captured>> = const { RefCell::new(None) };
}

/// Runs `read` and keeps the secrets that rustls tells meanwhile.
pub(super) fn capture<T>(captured: &mut Captured, read: impl FnOnce() -> T) -> T {
    /// Stops listening also if `read` panics.
    struct Turn;
    impl Drop for Turn {
        fn drop(&mut self) {
            LISTENING.take();
        }
    }
    let turn = Turn;
    let before = LISTENING.replace(Some(std::mem::take(captured)));
    assert!(before.is_none(), "one session is read at a time");
    let result = read();
    *captured = LISTENING.take().expect("nobody else takes it");
    drop(turn);
    result
}

/// The `key_log` of configurations for sessions with our record layer.
#[derive(Debug)]
pub(super) struct Hook;

impl KeyLog for Hook {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        LISTENING.with_borrow_mut(|listening| {
            let Some(captured) = listening else { return };
            match label {
                CLIENT => captured.client = TrafficSecret::new(secret),
                SERVER => captured.server = TrafficSecret::new(secret),
                _ => {}
            }
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER) && LISTENING.with_borrow(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_whoever_reads_and_to_nobody_else() {
        let (mut one, mut other) = (Captured::default(), Captured::default());
        assert!(!Hook.will_log(CLIENT));
        Hook.log(CLIENT, &[], &[1; 32]);
        capture(&mut one, || {
            assert!(Hook.will_log(CLIENT) && Hook.will_log(SERVER) && !Hook.will_log("CLIENT_RANDOM"));
            std::thread::spawn(|| Hook.log(CLIENT, &[], &[2; 32])).join().unwrap();
            Hook.log("CLIENT_RANDOM", &[], &[3; 48]);
            Hook.log(SERVER, &[], &[4; 48]);
        });
        assert!(one.client.is_none());
        capture(&mut one, || Hook.log(CLIENT, &[], &[5; 32]));
        capture(&mut other, || Hook.log(CLIENT, &[], &[6; 49]));
        assert_eq!(one.client.as_ref().unwrap().bytes(), [5; 32]);
        assert_eq!(one.server.as_ref().unwrap().bytes(), [4; 48]);
        assert!(other.client.is_none() && other.server.is_none(), "no secret is as long as that");
    }

    #[test]
    fn a_panic_ends_the_listening() {
        let panicked = std::thread::spawn(|| {
            let turn = std::panic::catch_unwind(|| capture(&mut Captured::default(), || panic!("on purpose")));
            turn.is_err() && !Hook.will_log(CLIENT)
        });
        assert!(panicked.join().unwrap());
    }
}
