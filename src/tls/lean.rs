//! rustls' own suites with lean keys: rustls goes on to run the protocol, but what it keeps of a key is the key, in place
//! of the half a kilobyte that it expands to. Everything else of a suite is what aws-lc-rs brings. Public interface only.
//!
//! The nonces are those of `cipher.rs`, with the numbers that rustls counts.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm, Tls13AeadAlgorithm,
    UnsupportedOperationError,
};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};
use zeroize::Zeroize;

use crate::tls::cipher::{Aead, IV_BYTES, KEY_BYTES_MAX, TAG_BYTES, additional_data, header, nonce, opening_nonce};
use crate::tls::direction::DATA;
use crate::tls::session::RECORD_PLAINTEXT_MAX;

/// The suites of aws-lc-rs, in its order, with lean keys.
static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
    LazyLock::new(|| rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().filter_map(lean).collect());

/// The provider of `material::provider` with lean keys.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let stock = rustls::crypto::aws_lc_rs::default_provider();
    Arc::new(CryptoProvider { cipher_suites: SUITES.clone(), ..stock })
}

/// A suite with another AEAD than its own; it lives as long as the process. `None` for what we do not know.
fn lean(stock: &SupportedCipherSuite) -> Option<SupportedCipherSuite> {
    let aead = aead(stock.suite())?;
    let algorithm: &'static Algorithm = Box::leak(Box::new(Algorithm(aead)));
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    };
    Some(match stock {
        SupportedCipherSuite::Tls12(stock) => SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
            common: common(&stock.common),
            prf_provider: stock.prf_provider,
            kx: stock.kx,
            sign: stock.sign,
            aead_alg: algorithm,
        }))),
        SupportedCipherSuite::Tls13(stock) => SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common: common(&stock.common),
            hkdf_provider: stock.hkdf_provider,
            aead_alg: algorithm,
            quic: None,
        }))),
    })
}

fn aead(suite: CipherSuite) -> Option<Aead> {
    Some(match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Aead::Aes128Gcm,
        CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Aead::Aes256Gcm,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Aead::ChaCha20Poly1305,
        _ => return None,
    })
}

/// Makes keys for rustls.
struct Algorithm(Aead);

/// What is kept of one direction.
struct Keys {
    aead: Aead,
    iv: [u8; IV_BYTES],
    key: [u8; KEY_BYTES_MAX],
}

impl Keys {
    fn new(aead: Aead, key: &AeadKey, iv: [u8; IV_BYTES]) -> Self {
        let mut keys = Self { aead, iv, key: [0; KEY_BYTES_MAX] };
        keys.key[..key.as_ref().len()].copy_from_slice(key.as_ref());
        keys
    }

    fn key(&self) -> &[u8] {
        &self.key[..self.aead.key_bytes()]
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

/// Records of TLS 1.2.
struct Tls12(Keys);
/// Records of TLS 1.3.
struct Tls13(Keys);

impl Tls13AeadAlgorithm for Algorithm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Tls13(Keys::new(self.0, &key, whole(&iv))))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Tls13(Keys::new(self.0, &key, whole(&iv))))
    }

    fn key_len(&self) -> usize {
        self.0.key_bytes()
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(secrets(self.0, key, iv))
    }
}

impl Tls12AeadAlgorithm for Algorithm {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Tls12(Keys::new(self.0, &key, joined(iv, extra))))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Tls12(Keys::new(self.0, &key, joined(iv, &[]))))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        let explicit_nonce_len = self.0.explicit_nonce_bytes();
        KeyBlockShape {
            enc_key_len: self.0.key_bytes(),
            fixed_iv_len: IV_BYTES - explicit_nonce_len,
            explicit_nonce_len,
        }
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(secrets(self.0, key, Iv::new(joined(iv, explicit))))
    }
}

fn secrets(aead: Aead, key: AeadKey, iv: Iv) -> ConnectionTrafficSecrets {
    match aead {
        Aead::Aes128Gcm => ConnectionTrafficSecrets::Aes128Gcm { key, iv },
        Aead::Aes256Gcm => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        Aead::ChaCha20Poly1305 => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
    }
}

fn whole(iv: &Iv) -> [u8; IV_BYTES] {
    joined(iv.as_ref(), &[])
}

/// The initialisation vector of TLS 1.2 in its parts; what the peer brings with each record is left as 0.
fn joined(fixed: &[u8], explicit: &[u8]) -> [u8; IV_BYTES] {
    let mut iv = [0; IV_BYTES];
    for (byte, from) in iv.iter_mut().zip(fixed.iter().chain(explicit)) {
        *byte = *from;
    }
    iv
}

impl MessageEncrypter for Tls13 {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, number: u64) -> Result<OutboundOpaqueMessage, Error> {
        let bytes = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(bytes);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let Self(keys) = self;
        let nonce = nonce(&keys.iv, number);
        let tag = keys.aead.seal(keys.key(), nonce, &header(DATA, bytes), payload.as_mut());
        payload.extend_from_slice(tag.as_ref());
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, content_bytes: usize) -> usize {
        content_bytes + 1 + TAG_BYTES
    }
}

impl MessageDecrypter for Tls13 {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let Self(keys) = self;
        let payload = &mut message.payload;
        let header = header(DATA, payload.len());
        let opened = keys.aead.open(keys.key(), nonce(&keys.iv, number), &header, payload);
        let bytes = opened.map_err(|_| Error::DecryptError)?.len();
        payload.truncate(bytes);
        message.into_tls13_unpadded_message()
    }
}

impl MessageEncrypter for Tls12 {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, number: u64) -> Result<OutboundOpaqueMessage, Error> {
        let Self(keys) = self;
        let content_bytes = message.payload.len();
        let nonce = nonce(&keys.iv, number);
        let explicit = &nonce[IV_BYTES - keys.aead.explicit_nonce_bytes()..];
        let mut payload = PrefixedPayload::with_capacity(explicit.len() + content_bytes + TAG_BYTES);
        payload.extend_from_slice(explicit);
        payload.extend_from_chunks(&message.payload);
        let data = additional_data(number, message.typ.into(), content_bytes);
        let tag = keys.aead.seal(keys.key(), nonce, &data, &mut payload.as_mut()[explicit.len()..]);
        payload.extend_from_slice(tag.as_ref());
        Ok(OutboundOpaqueMessage::new(message.typ, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, content_bytes: usize) -> usize {
        self.0.aead.explicit_nonce_bytes() + content_bytes + TAG_BYTES
    }
}

impl MessageDecrypter for Tls12 {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let Self(keys) = self;
        if message.version != ProtocolVersion::TLSv1_2 {
            return Err(Error::DecryptError);
        }
        let explicit_bytes = keys.aead.explicit_nonce_bytes();
        let content_bytes = message.payload.len().checked_sub(explicit_bytes + TAG_BYTES).ok_or(Error::DecryptError)?;
        let data = additional_data(number, message.typ.into(), content_bytes);
        let (explicit, sealed) = message.payload.split_at_mut(explicit_bytes);
        let nonce = opening_nonce(&keys.iv, number, explicit);
        keys.aead.open(keys.key(), nonce, &data, sealed).map_err(|_| Error::DecryptError)?;
        if content_bytes > RECORD_PLAINTEXT_MAX {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(explicit_bytes..explicit_bytes + content_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is lost of what aws-lc-rs offers, and what rustls keeps of a key is small.
    #[test]
    fn every_suite_is_there_and_its_keys_are_small() {
        let names = |suites: &[SupportedCipherSuite]| suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>();
        let stock = rustls::crypto::aws_lc_rs::default_provider();
        assert_eq!(names(&provider().cipher_suites), names(&stock.cipher_suites));
        assert_eq!((size_of::<Tls12>(), size_of::<Tls13>()), (45, 45));
    }
}
