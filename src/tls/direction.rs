//! One direction of an established connection: its keys and the number of its next record (RFC 8446, 5.3; RFC 5246,
//! 6.2.3.3). The one place where numbers are counted: two records with one number under one key would give the key of
//! AES-GCM's tags away. So the number is private, it is counted up before a record is touched, and a direction can be
//! neither copied nor set back; only new keys begin at 0.

use zeroize::Zeroize;

use crate::tls::cipher::{
    Aead, IV_BYTES, KEY_BYTES_MAX, NotAuthentic, SECRET_BYTES_MAX, TAG_BYTES, additional_data, header, nonce,
    opening_nonce,
};

/// Application data (RFC 8446, B.1), and what every protected record of TLS 1.3 says that it is.
pub(super) const DATA: u8 = 23;

/// Which protection the records of a connection have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) aead: Aead,
    pub(super) version: Version,
}

/// Which TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// Keys and number of one direction.
pub(super) struct Direction {
    /// Of the next record.
    number: u64,
    iv: [u8; IV_BYTES],
    key: [u8; KEY_BYTES_MAX],
    /// What the next keys come from; TLS 1.3 only.
    secret: [u8; SECRET_BYTES_MAX],
}

impl Direction {
    /// With the keys of TLS 1.2; the next record has this number.
    pub(super) fn tls12(key: &[u8], iv: [u8; IV_BYTES], number: u64) -> Self {
        let mut direction = Self { number, iv, key: [0; KEY_BYTES_MAX], secret: [0; SECRET_BYTES_MAX] };
        direction.key[..key.len()].copy_from_slice(key);
        direction
    }

    /// With the keys that come from this traffic secret of TLS 1.3; the next record has this number.
    pub(super) fn tls13(aead: Aead, secret: &[u8], number: u64) -> Self {
        let mut direction = Self { number, iv: [0; IV_BYTES], key: [0; KEY_BYTES_MAX], secret: [0; SECRET_BYTES_MAX] };
        direction.secret[..secret.len()].copy_from_slice(secret);
        direction.derive(aead);
        direction
    }

    /// Whether these are its keys.
    pub(super) fn has(&self, aead: Aead, key: &[u8], iv: &[u8]) -> bool {
        self.key[..aead.key_bytes()] == *key && self.iv == *iv
    }

    /// The number of the next record, which is how many there were under these keys.
    pub(super) fn records(&self) -> u64 {
        self.number
    }

    /// The next generation of keys (RFC 8446, 7.2).
    pub(super) fn renew(&mut self, aead: Aead) {
        let mut next = [0; SECRET_BYTES_MAX];
        let bytes = aead.secret_bytes();
        aead.expand_label(&self.secret[..bytes], b"traffic upd", &mut next[..bytes]);
        self.secret = next;
        next.zeroize();
        self.derive(aead);
        self.number = 0;
    }

    fn derive(&mut self, aead: Aead) {
        let secret = &self.secret[..aead.secret_bytes()];
        aead.expand_label(secret, b"key", &mut self.key[..aead.key_bytes()]);
        aead.expand_label(secret, b"iv", &mut self.iv);
    }

    /// Appends one record.
    pub(super) fn seal(&mut self, suite: Suite, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        let number = self.take_number();
        let key = &self.key[..suite.aead.key_bytes()];
        let nonce = nonce(&self.iv, number);
        let tag = match suite.version {
            Version::Tls12 => {
                let explicit = &nonce[IV_BYTES - suite.aead.explicit_nonce_bytes()..];
                out.extend_from_slice(&header(kind, explicit.len() + content.len() + TAG_BYTES));
                out.extend_from_slice(explicit);
                let start = out.len();
                out.extend_from_slice(content);
                suite.aead.seal(key, nonce, &additional_data(number, kind, content.len()), &mut out[start..])
            }
            Version::Tls13 => {
                let header = header(DATA, content.len() + 1 + TAG_BYTES);
                out.extend_from_slice(&header);
                let start = out.len();
                out.extend_from_slice(content);
                out.push(kind);
                suite.aead.seal(key, nonce, &header, &mut out[start..])
            }
        };
        out.extend_from_slice(tag.as_ref());
    }

    /// What the payload of the next record holds. With TLS 1.3 its kind and padding are still at its end.
    pub(super) fn open<'r>(
        &mut self,
        suite: Suite,
        kind: u8,
        payload: &'r mut [u8],
    ) -> Result<&'r mut [u8], NotAuthentic> {
        let number = self.take_number();
        let key = &self.key[..suite.aead.key_bytes()];
        match suite.version {
            Version::Tls12 => {
                let explicit_bytes = suite.aead.explicit_nonce_bytes();
                let content_bytes = payload.len().checked_sub(explicit_bytes + TAG_BYTES).ok_or(NotAuthentic)?;
                let (explicit, sealed) = payload.split_at_mut(explicit_bytes);
                let nonce = opening_nonce(&self.iv, number, explicit);
                suite.aead.open(key, nonce, &additional_data(number, kind, content_bytes), sealed)
            }
            Version::Tls13 => {
                let header = header(DATA, payload.len());
                suite.aead.open(key, nonce(&self.iv, number), &header, payload)
            }
        }
    }

    /// The number of the next record, which no other record gets.
    fn take_number(&mut self) -> u64 {
        let number = self.number;
        self.number = number.checked_add(1).expect("a connection does not last for 2^64 records");
        number
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
        self.secret.zeroize();
    }
}
