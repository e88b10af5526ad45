//! The record layer of an established connection: TLS 1.3 (RFC 8446, 4.6.3, 5, 6) and TLS 1.2 with AEADs (RFC 5246, 6.2,
//! 7.2), both sides. It takes over from rustls when a handshake is over and is all that a connection then has: keys,
//! numbers and counters, inline and without a heap. Everything else of TLS is refused here. `THREATS.md` goes through what
//! could go wrong and where this file answers it.
//!
//! Alerts and their words are the same as rustls', which `tests/wire` holds both to.

use rustls::AlertDescription;

use crate::limits::{TLS_EMPTY_RECORDS_MAX, TLS_KEY_UPDATES_MAX, TLS_RENEGOTIATIONS_MAX, TLS_WARNINGS_MAX};
use crate::tls::cipher::NotAuthentic;
use crate::tls::direction::{DATA, Direction, Suite, Version};
use crate::tls::failure::{SealFailure, TlsFailure};
use crate::tls::session::{RECORD_HEADER, RECORD_PLAINTEXT_MAX, TlsState};

/// Kinds of records (RFC 8446, B.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Kinds of handshake messages (RFC 5246, 7.4; RFC 8446, 4).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Bytes of a handshake message's kind and length.
const MESSAGE_HEADER: usize = 4;

const KEY_UPDATE_NOT_REQUESTED: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// Levels of alerts.
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// Payload of one record at most (RFC 8446, 5.2). The AEADs of TLS 1.2 add less than 256 bytes, too.
const PAYLOAD_MAX: usize = RECORD_PLAINTEXT_MAX + 256;

/// Records that every key has left when data is refused: for a key update or alerts.
const RESERVE: u64 = 8;

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// Whether the peer waits for us to change our keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    /// With the next record that we send anyway, so that a peer that asks often cannot make us send often.
    Due,
}

/// Whether we have said our last word, a close_notify or a fatal alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    Speaking,
    Silent,
}

/// An established connection. Not `Clone`: see [`Direction`].
pub(super) struct Records {
    opening: Direction,
    sealing: Direction,
    suite: Suite,
    side: Side,
    state: TlsState,
    answer: Answer,
    voice: Voice,
    /// Since the last data: empty records and key updates.
    empty_records: u8,
    key_updates: u8,
    /// Since the beginning: warnings and requests for a new handshake.
    warnings: u8,
    renegotiations: u8,
}

/// Why a record ends the connection, and what the peer is told.
struct Fault {
    failure: TlsFailure,
    alert: Option<AlertDescription>,
}

const UNEXPECTED: Fault = Fault { failure: TlsFailure::Misbehaved, alert: Some(AlertDescription::UnexpectedMessage) };
const UNREADABLE: Fault = Fault { failure: TlsFailure::BadRecord, alert: Some(AlertDescription::DecodeError) };
const TOO_LONG: Fault = Fault { failure: TlsFailure::BadRecord, alert: Some(AlertDescription::RecordOverflow) };
const TOO_OFTEN: Fault = Fault { failure: TlsFailure::Misbehaved, alert: None };
const FRAGMENTED: Fault = Fault { failure: TlsFailure::FragmentedHandshake, alert: None };

impl From<NotAuthentic> for Fault {
    fn from(_: NotAuthentic) -> Self {
        Self { failure: TlsFailure::BadRecord, alert: Some(AlertDescription::BadRecordMac) }
    }
}

impl Records {
    /// Goes on where a handshake ended.
    pub(super) fn new(side: Side, suite: Suite, opening: Direction, sealing: Direction) -> Self {
        Self {
            opening,
            sealing,
            suite,
            side,
            state: TlsState::Established,
            answer: Answer::None,
            voice: Voice::Speaking,
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
            renegotiations: 0,
        }
    }

    /// Where the connection is.
    pub(super) fn state(&self) -> TlsState {
        self.state
    }

    /// Takes all whole records from the front of `incoming` and returns how many bytes they were. After a failure `out`
    /// ends with the alert, and the connection must not be used any more.
    pub(super) fn read(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsFailure> {
        let mut consumed = 0;
        while self.state == TlsState::Established {
            match self.take_record(&mut incoming[consumed..], plain, out) {
                Ok(0) => break,
                Ok(bytes) => consumed += bytes,
                Err(fault) => {
                    if let Some(alert) = fault.alert {
                        self.last_word([FATAL, alert.into()], out);
                    }
                    return Err(fault.failure);
                }
            }
        }
        Ok(consumed)
    }

    /// Appends `plain` to `out` as records.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealFailure> {
        for content in plain.chunks(RECORD_PLAINTEXT_MAX) {
            if self.voice == Voice::Silent {
                return Err(SealFailure::Closed);
            }
            let is_used_up = self.sealing.records() >= self.suite.aead.records_max() - RESERVE;
            match self.suite.version {
                Version::Tls12 if is_used_up => {
                    self.close_notify(out);
                    return Err(SealFailure::KeysExhausted);
                }
                Version::Tls13 if is_used_up || self.answer == Answer::Due => self.update_key(out),
                Version::Tls12 | Version::Tls13 => {}
            }
            self.sealing.seal(self.suite, DATA, content, out);
        }
        Ok(())
    }

    /// Appends the alert that ends our direction, once.
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) {
        self.last_word([WARNING, AlertDescription::CloseNotify.into()], out);
    }

    fn last_word(&mut self, alert: [u8; 2], out: &mut Vec<u8>) {
        if self.voice == Voice::Speaking {
            self.sealing.seal(self.suite, ALERT, &alert, out);
            self.voice = Voice::Silent;
        }
    }

    /// The next record is sealed with new keys, and the peer knows.
    fn update_key(&mut self, out: &mut Vec<u8>) {
        self.sealing.seal(self.suite, HANDSHAKE, &KEY_UPDATE_NOT_REQUESTED, out);
        self.sealing.renew(self.suite.aead);
        self.answer = Answer::None;
    }

    /// Takes one record and returns its length; 0 if it is not whole.
    fn take_record(&mut self, incoming: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, Fault> {
        let Some((header, rest)) = incoming.split_first_chunk_mut::<RECORD_HEADER>() else { return Ok(0) };
        let kind = header[0];
        let length = self.check_header(*header)?;
        let Some(payload) = rest.get_mut(..length) else { return Ok(0) };
        let opened = self.opening.open(self.suite, kind, payload)?;
        let (kind, content) = match self.suite.version {
            Version::Tls12 => (kind, &*opened),
            Version::Tls13 => unpad(opened)?,
        };
        if content.len() > RECORD_PLAINTEXT_MAX {
            return Err(TOO_LONG);
        }
        match kind {
            DATA => self.data(content, plain)?,
            ALERT => self.alert(content)?,
            HANDSHAKE => match self.suite.version {
                Version::Tls12 => self.renegotiation(content, out)?,
                Version::Tls13 => self.handshake(content)?,
            },
            _ => return Err(UNEXPECTED),
        }
        Ok(RECORD_HEADER + length)
    }

    /// The length of the payload. Nothing but protected records comes after a handshake.
    fn check_header(&self, [kind, major, minor, high, low]: [u8; RECORD_HEADER]) -> Result<usize, Fault> {
        let length = usize::from(u16::from_be_bytes([high, low]));
        match kind {
            CHANGE_CIPHER_SPEC => return Err(UNEXPECTED),
            ALERT | HANDSHAKE | DATA => {}
            _ => return Err(UNREADABLE),
        }
        if major != 3 || (length == 0 && kind != DATA) {
            return Err(UNREADABLE);
        }
        if length > PAYLOAD_MAX {
            return Err(TOO_LONG);
        }
        if minor != 3 || (self.suite.version == Version::Tls13 && kind != DATA) {
            return Err(NotAuthentic.into());
        }
        Ok(length)
    }

    fn data(&mut self, content: &[u8], plain: &mut Vec<u8>) -> Result<(), Fault> {
        if content.is_empty() {
            return count(&mut self.empty_records, TLS_EMPTY_RECORDS_MAX);
        }
        self.empty_records = 0;
        self.key_updates = 0;
        plain.extend_from_slice(content);
        Ok(())
    }

    fn alert(&mut self, content: &[u8]) -> Result<(), Fault> {
        let &[level, description] = content else { return Err(UNREADABLE) };
        let description = AlertDescription::from(description);
        let failure = TlsFailure::Alert(description);
        match (level, description) {
            (WARNING | FATAL, AlertDescription::CloseNotify) => {
                self.state = TlsState::PeerClosed;
                Ok(())
            }
            (WARNING, description) => {
                count(&mut self.warnings, TLS_WARNINGS_MAX)?;
                // TLS 1.3 has but this one left (RFC 8446, 6).
                if self.suite.version == Version::Tls12 || description == AlertDescription::UserCanceled {
                    return Ok(());
                }
                Err(Fault { failure, alert: Some(AlertDescription::DecodeError) })
            }
            (FATAL, _) => Err(Fault { failure, alert: None }),
            _ => Err(Fault { failure, alert: Some(AlertDescription::IllegalParameter) }),
        }
    }

    /// A request for another handshake, the only message that TLS 1.2 has left: no, and after that no more patience.
    fn renegotiation(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some((kind, _, rest)) = message(content) else { return Err(FRAGMENTED) };
        let expected = match self.side {
            Side::Server => CLIENT_HELLO,
            Side::Client => HELLO_REQUEST,
        };
        if kind != expected || !rest.is_empty() {
            return Err(UNEXPECTED);
        }
        count(&mut self.renegotiations, TLS_RENEGOTIATIONS_MAX)?;
        if self.voice == Voice::Speaking {
            self.sealing.seal(self.suite, ALERT, &[WARNING, AlertDescription::NoRenegotiation.into()], out);
        }
        Ok(())
    }

    /// Messages of TLS 1.3 after the handshake. A key update must be the last of its record, because what follows has
    /// other keys (RFC 8446, 5.1). Tickets are for clients, and we have no use for them.
    fn handshake(&mut self, mut content: &[u8]) -> Result<(), Fault> {
        loop {
            let Some((kind, body, rest)) = message(content) else { return Err(FRAGMENTED) };
            match (kind, body) {
                (NEW_SESSION_TICKET, _) if self.side == Side::Client => {
                    count(&mut self.key_updates, TLS_KEY_UPDATES_MAX)?;
                    if rest.is_empty() {
                        return Ok(());
                    }
                    content = rest;
                }
                (KEY_UPDATE, &[request]) if rest.is_empty() => return self.key_update(request),
                _ => return Err(UNEXPECTED),
            }
        }
    }

    fn key_update(&mut self, request: u8) -> Result<(), Fault> {
        count(&mut self.key_updates, TLS_KEY_UPDATES_MAX)?;
        match request {
            0 => {}
            1 => self.answer = Answer::Due,
            _ => {
                let alert = Some(AlertDescription::IllegalParameter);
                return Err(Fault { failure: TlsFailure::BadRecord, alert });
            }
        }
        self.opening.renew(self.suite.aead);
        Ok(())
    }
}

/// What a record of TLS 1.3 is and holds: its kind is the last byte that is not 0 (RFC 8446, 5.4).
fn unpad(inner: &[u8]) -> Result<(u8, &[u8]), Fault> {
    if inner.len() > RECORD_PLAINTEXT_MAX + 1 {
        return Err(TOO_LONG);
    }
    let end = inner.iter().rposition(|&byte| byte != 0).ok_or(TOO_OFTEN)?;
    Ok((inner[end], &inner[..end]))
}

/// Kind and body of the first handshake message, and what follows it; `None` if it is not whole.
fn message(content: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, middle, low], rest) = content.split_first_chunk::<MESSAGE_HEADER>()?;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((kind, body, rest))
}

/// One more of what a peer may do only so often.
fn count(counter: &mut u8, most: u8) -> Result<(), Fault> {
    if *counter == most {
        return Err(TOO_OFTEN);
    }
    *counter += 1;
    Ok(())
}

#[cfg(test)]
mod tests;
