//! The AEADs of TLS (RFC 5288, RFC 7905, RFC 8446) with keys in their raw form: what a key expands to exists only while one
//! record is sealed or opened, because expanding takes about 0.1 µs and keeping it half a kilobyte per direction.

use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384};

/// Bytes of a key at most.
pub(super) const KEY_BYTES_MAX: usize = 32;
/// Bytes of an initialisation vector and of a nonce.
pub(super) const IV_BYTES: usize = 12;
/// Bytes of a tag.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of the nonce that a record of TLS 1.2 with AES-GCM carries.
pub(super) const EXPLICIT_NONCE_BYTES: usize = 8;
/// Bytes of a traffic secret of TLS 1.3 at most: one SHA-384.
pub(super) const SECRET_BYTES_MAX: usize = 48;

/// Records under one AES-GCM key, all of full size, before an attacker's advantage is more than 2^-60 (RFC 8446, 5.5).
const GCM_RECORDS_MAX: u64 = 1 << 24;

/// Which AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aead {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// The record is not what the peer has sealed under this key and number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAuthentic;

impl Aead {
    /// Bytes of a key.
    pub(super) fn key_bytes(self) -> usize {
        self.algorithm().key_len()
    }

    /// Records that one key may protect.
    pub(super) const fn records_max(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => GCM_RECORDS_MAX,
            Self::ChaCha20Poly1305 => u64::MAX,
        }
    }

    /// Bytes in front of the content of a record of TLS 1.2.
    pub(super) const fn explicit_nonce_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => EXPLICIT_NONCE_BYTES,
            Self::ChaCha20Poly1305 => 0,
        }
    }

    /// Encrypts `content` where it lies and returns its tag.
    pub(super) fn seal(self, key: &[u8], nonce: [u8; IV_BYTES], data: &[u8], content: &mut [u8]) -> aead::Tag {
        self.expand(key)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(data), content)
            .expect("a record is shorter than any limit of the AEAD")
    }

    /// Decrypts what has its tag at its end where it lies, and returns the content.
    pub(super) fn open<'r>(
        self,
        key: &[u8],
        nonce: [u8; IV_BYTES],
        data: &[u8],
        sealed: &'r mut [u8],
    ) -> Result<&'r mut [u8], NotAuthentic> {
        self.expand(key)
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(data), sealed)
            .map_err(|_| NotAuthentic)
    }

    fn expand(self, key: &[u8]) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(self.algorithm(), key).expect("a key is as long as its AEAD wants"))
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }

    /// Bytes of a traffic secret of the suite of TLS 1.3 with this AEAD.
    pub(super) const fn secret_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => 32,
            Self::Aes256Gcm => SECRET_BYTES_MAX,
        }
    }

    /// HKDF-Expand-Label (RFC 8446, 7.1) without context, from a traffic secret.
    pub(super) fn expand_label(self, secret: &[u8], label: &[u8], output: &mut [u8]) {
        let hash = match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => HKDF_SHA256,
            Self::Aes256Gcm => HKDF_SHA384,
        };
        let [high, low] = u16::try_from(output.len()).expect("a key or a secret").to_be_bytes();
        let prefix = b"tls13 ";
        let label_bytes = u8::try_from(prefix.len() + label.len()).expect("a label of ours");
        hkdf::Prk::new_less_safe(hash, secret)
            .expand(&[&[high, low, label_bytes], prefix, label, &[0]], Length(output.len()))
            .and_then(|material| material.fill(output))
            .expect("at most one hash long");
    }
}

/// What HKDF is asked for.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The nonce of a record (RFC 8446, 5.3; RFC 7905, 2).
pub(super) fn nonce(iv: &[u8; IV_BYTES], number: u64) -> [u8; IV_BYTES] {
    let mut nonce = *iv;
    for (byte, number) in nonce[IV_BYTES - 8..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

/// The nonce of a peer's record of TLS 1.2: with AES-GCM its variable part comes with the record (RFC 5288, 3).
pub(super) fn opening_nonce(iv: &[u8; IV_BYTES], number: u64, explicit: &[u8]) -> [u8; IV_BYTES] {
    if explicit.is_empty() {
        return nonce(iv, number);
    }
    let mut nonce = *iv;
    nonce[IV_BYTES - explicit.len()..].copy_from_slice(explicit);
    nonce
}

/// The header of a record with this payload; with TLS 1.3 also its additional data (RFC 8446, 5.2).
pub(super) fn header(kind: u8, payload_bytes: usize) -> [u8; 5] {
    let [high, low] = u16::try_from(payload_bytes).expect("a record").to_be_bytes();
    [kind, 3, 3, high, low]
}

/// The additional data of a record of TLS 1.2 with this content (RFC 5246, 6.2.3.3).
pub(super) fn additional_data(number: u64, kind: u8, content_bytes: usize) -> [u8; 13] {
    let mut data = [0; 13];
    data[..8].copy_from_slice(&number.to_be_bytes());
    data[8..].copy_from_slice(&header(kind, content_bytes));
    data
}
