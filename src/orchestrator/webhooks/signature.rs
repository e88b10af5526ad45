//! The signature of a delivery: HMAC-SHA256 (RFC 2104) over the time and the body, so that whoever has the secret knows who
//! sent it, and can throw away what somebody has recorded and sends again.

use aws_lc_rs::hmac;

use crate::clock::WallTime;
use crate::sha256::hexadecimal;

/// The value of the header `Podium-Signature`: `t=<seconds since 1970>,v1=<hexadecimal HMAC of "t.body">`.
pub(super) fn sign(secret: &[u8], at: WallTime, body: &[u8]) -> String {
    let seconds = at.as_millis().div_euclid(1000);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    format!("t={seconds},v1={}", hexadecimal(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf '1772360130.{"a": 1}' | openssl dgst -sha256 -hmac 0123456789abcdef` has it.
    #[test]
    fn signatures_are_those_of_other_programs() {
        let signature = sign(b"0123456789abcdef", WallTime::from_millis(1_772_360_130_999), br#"{"a": 1}"#);
        assert_eq!(signature, "t=1772360130,v1=868f8f861adc630a34b540d42c807ee6de316f514eb65a8a831a2bb73dfc4320");
        assert_ne!(sign(b"0123456789abcdeg", WallTime::from_millis(1_772_360_130_999), br#"{"a": 1}"#), signature);
    }
}
