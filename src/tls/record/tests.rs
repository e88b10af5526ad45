//! The record layer against itself, with records that no library would send, and at the limits of its keys.

use std::time::{Duration, Instant};

use super::*;
use crate::random::Random;
use crate::tls::cipher::{Aead, IV_BYTES, TAG_BYTES};

const SUITES: [Suite; 6] = [
    Suite { aead: Aead::Aes128Gcm, version: Version::Tls12 },
    Suite { aead: Aead::Aes256Gcm, version: Version::Tls12 },
    Suite { aead: Aead::ChaCha20Poly1305, version: Version::Tls12 },
    Suite { aead: Aead::Aes128Gcm, version: Version::Tls13 },
    Suite { aead: Aead::Aes256Gcm, version: Version::Tls13 },
    Suite { aead: Aead::ChaCha20Poly1305, version: Version::Tls13 },
];

fn direction(suite: Suite, number: u64, seed: u8) -> Direction {
    match suite.version {
        Version::Tls12 => Direction::tls12(&[seed; 32][..suite.aead.key_bytes()], [seed; IV_BYTES], number),
        Version::Tls13 => Direction::tls13(suite.aead, &[seed; 48][..suite.aead.secret_bytes()], number),
    }
}

/// A server and its client; the next record of each has this number.
fn pair_at(suite: Suite, number: u64) -> (Records, Records) {
    let server = Records::new(Side::Server, suite, direction(suite, number, 1), direction(suite, number, 2));
    let client = Records::new(Side::Client, suite, direction(suite, number, 2), direction(suite, number, 1));
    (server, client)
}

fn pair(suite: Suite) -> (Records, Records) {
    pair_at(suite, 0)
}

/// What `to` reads in the bytes, and what it answers.
fn read(to: &mut Records, wire: &mut [u8]) -> (Result<usize, TlsFailure>, Vec<u8>, Vec<u8>) {
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    let result = to.read(wire, &mut plain, &mut out);
    (result, plain, out)
}

fn record(from: &mut Records, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    from.sealing.seal(from.suite, kind, content, &mut out);
    out
}

/// The alert in these bytes, as the other side sees it.
fn alert_for(peer: &mut Records, out: &mut [u8]) -> Option<[u8; 2]> {
    let (_, rest) = out.split_first_chunk_mut::<RECORD_HEADER>()?;
    let opened = peer.opening.open(peer.suite, ALERT, rest).expect("a good record");
    Some([opened[0], opened[1]])
}

#[test]
fn data_of_all_lengths_in_both_directions() {
    for suite in SUITES {
        let (mut server, mut client) = pair(suite);
        for length in [0, 1, 2, 15, 16, 17, 255, 16_383, 16_384, 16_385, 65_536] {
            let data: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for to_server in [true, false] {
                let (from, to) = if to_server { (&mut client, &mut server) } else { (&mut server, &mut client) };
                let mut wire = Vec::new();
                from.seal(&data, &mut wire).unwrap();
                let bytes = wire.len();
                assert_eq!(read(to, &mut wire), (Ok(bytes), data.clone(), Vec::new()), "{suite:?} {length}");
            }
        }
    }
}

#[test]
fn records_are_taken_when_they_are_whole() {
    for suite in SUITES {
        let (mut server, mut client) = pair(suite);
        let mut wire = Vec::new();
        client.seal(b"one", &mut wire).unwrap();
        client.seal(b"two", &mut wire).unwrap();
        let (mut held, mut plain, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for byte in wire {
            held.push(byte);
            let taken = server.read(&mut held, &mut plain, &mut out).unwrap();
            held.drain(..taken);
        }
        assert_eq!((&plain[..], held.len(), out.len()), (&b"onetwo"[..], 0, 0));
    }
}

/// The nonces that would be used: none twice, and as the documents say.
#[test]
fn every_record_has_a_nonce_of_its_own() {
    for suite in SUITES {
        let (mut server, _) = pair(suite);
        let mut sealed = std::collections::BTreeSet::new();
        for number in 0..300 {
            let mut wire = Vec::new();
            server.seal(b"the same", &mut wire).unwrap();
            assert!(sealed.insert(wire), "record {number} is like an earlier one");
            assert_eq!(server.sealing.records(), number + 1);
        }
    }
    let iv = [9; IV_BYTES];
    assert_eq!(crate::tls::cipher::nonce(&iv, 0), iv);
    assert_eq!(crate::tls::cipher::nonce(&iv, 0x0102_0304_0506_0708), [9, 9, 9, 9, 8, 11, 10, 13, 12, 15, 14, 1]);
}

/// TLS 1.3: new keys before the old ones are used up. TLS 1.2: the end.
#[test]
fn keys_are_not_used_for_more_records_than_they_may_be() {
    for suite in SUITES.into_iter().filter(|suite| suite.aead != Aead::ChaCha20Poly1305) {
        let first = (1 << 24) - RESERVE - 2;
        let (mut server, mut client) = pair_at(suite, first);
        let mut wire = Vec::new();
        server.seal(b"a", &mut wire).unwrap();
        server.seal(b"b", &mut wire).unwrap();
        assert_eq!(server.sealing.records(), (1 << 24) - RESERVE);
        match suite.version {
            Version::Tls13 => {
                server.seal(b"c", &mut wire).unwrap();
                assert_eq!(server.sealing.records(), 1, "keys are new");
                let (result, plain, _) = read(&mut client, &mut wire);
                assert_eq!((result, &plain[..]), (Ok(wire.len()), &b"abc"[..]));
                assert_eq!(client.opening.records(), 1);
            }
            Version::Tls12 => {
                assert_eq!(server.seal(b"c", &mut wire), Err(SealFailure::KeysExhausted));
                assert_eq!(server.seal(b"c", &mut wire), Err(SealFailure::Closed));
                server.close_notify(&mut wire);
                let (_, plain, _) = read(&mut client, &mut wire);
                assert_eq!((&plain[..], client.state()), (&b"ab"[..], TlsState::PeerClosed));
                assert!(server.sealing.records() <= 1 << 24);
            }
        }
    }
}

/// One call with many records crosses the limit in its middle.
#[test]
fn a_long_message_across_the_limit() {
    let suite = SUITES[4];
    let (mut server, mut client) = pair_at(suite, (1 << 24) - RESERVE - 1);
    let long = vec![5; 5 * RECORD_PLAINTEXT_MAX];
    let mut wire = Vec::new();
    server.seal(&long, &mut wire).unwrap();
    assert_eq!(read(&mut client, &mut wire).1, long);
    assert_eq!(server.sealing.records(), 4);
}

#[test]
fn a_request_for_new_keys_is_answered_once_and_with_the_next_record() {
    let (mut server, mut client) = pair(SUITES[3]);
    for _ in 0..3 {
        let mut wire = record(&mut client, HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1]);
        client.sealing.renew(client.suite.aead);
        let (result, _, out) = read(&mut server, &mut wire);
        assert_eq!((result, out), (Ok(wire.len()), Vec::new()));
    }
    let mut wire = Vec::new();
    server.seal(b"x", &mut wire).unwrap();
    server.seal(b"y", &mut wire).unwrap();
    let record = |content: usize| RECORD_HEADER + content + 1 + TAG_BYTES;
    assert_eq!(wire.len(), record(KEY_UPDATE_NOT_REQUESTED.len()) + 2 * record(1), "one update, two records");
    assert_eq!(server.sealing.records(), 2);
    assert_eq!(read(&mut client, &mut wire).1, b"xy");
}

#[test]
fn what_a_peer_may_do_only_so_often() {
    let update = [KEY_UPDATE, 0, 0, 1, 0];
    let (mut server, mut client) = pair(SUITES[3]);
    let mut updates = |count: usize, server: &mut Records| {
        (0..count).find_map(|_| {
            let mut wire = record(&mut client, HANDSHAKE, &update);
            client.sealing.renew(client.suite.aead);
            let end = read(server, &mut wire).0.err();
            let mut wire = record(&mut client, DATA, b"");
            end.or_else(|| read(server, &mut wire).0.err())
        })
    };
    assert_eq!(updates(33, &mut server), Some(TlsFailure::Misbehaved), "empty data does not count as data");
    let (mut server, mut client) = pair(SUITES[3]);
    for round in 0..100 {
        let mut wire = record(&mut client, HANDSHAKE, &update);
        client.sealing.renew(client.suite.aead);
        wire.extend(record(&mut client, DATA, b"x"));
        assert!(read(&mut server, &mut wire).0.is_ok(), "{round}");
    }
    for suite in SUITES {
        let (mut server, mut client) = pair(suite);
        let mut wire: Vec<u8> = (0..33).flat_map(|_| record(&mut client, DATA, b"")).collect();
        let empty = wire.len() / 33;
        let end = wire.len() - empty;
        assert_eq!(read(&mut server, &mut wire[..end]).0, Ok(end));
        assert_eq!(read(&mut server, &mut wire[end..]).0, Err(TlsFailure::Misbehaved));
    }
}

/// What each kind of content means: the failure, and the alert that the peer gets.
#[test]
fn content_that_is_refused() {
    use TlsFailure::{BadRecord, FragmentedHandshake, Misbehaved};
    let alert = |code: u8| TlsFailure::Alert(code.into());
    let both = |kind, content: &[u8], failure, told| {
        [(0, kind, content.to_vec(), failure, told), (3, kind, content.to_vec(), failure, told)]
    };
    let mut cases = Vec::new();
    cases.extend(both(CHANGE_CIPHER_SPEC + 4, b"?", Misbehaved, Some(10)));
    cases.extend(both(ALERT, &[2], BadRecord, Some(50)));
    cases.extend(both(ALERT, &[2, 40, 0], BadRecord, Some(50)));
    cases.extend(both(ALERT, &[3, 40], alert(40), Some(47)));
    cases.extend(both(ALERT, &[2, 40], alert(40), None));
    cases.extend(both(HANDSHAKE, &[1, 0, 0], FragmentedHandshake, None));
    cases.extend(both(HANDSHAKE, &[24, 0, 0, 2, 0], FragmentedHandshake, None));
    cases.extend(both(HANDSHAKE, &[4, 0, 0, 0], Misbehaved, Some(10)));
    cases.extend(both(HANDSHAKE, &[0, 0, 0, 0], Misbehaved, Some(10)));
    cases.extend([
        (0, HANDSHAKE, vec![24, 0, 0, 1, 0], Misbehaved, Some(10)),
        (0, HANDSHAKE, vec![1, 0, 0, 0, 1], Misbehaved, Some(10)),
        (3, HANDSHAKE, vec![1, 0, 0, 0], Misbehaved, Some(10)),
        (3, HANDSHAKE, vec![24, 0, 0, 0], Misbehaved, Some(10)),
        (3, HANDSHAKE, vec![24, 0, 0, 1, 2], BadRecord, Some(47)),
        (3, HANDSHAKE, vec![24, 0, 0, 1, 0, 24, 0, 0, 1, 0], Misbehaved, Some(10)),
        (3, CHANGE_CIPHER_SPEC, vec![1], Misbehaved, Some(10)),
        (3, ALERT, vec![1, 40], alert(40), Some(50)),
        (3, DATA, vec![0; 16_385], BadRecord, Some(22)),
        (3, 0, vec![0; 20], Misbehaved, None),
    ]);
    for (suite, kind, content, failure, told) in cases {
        let (mut server, mut client) = pair(SUITES[suite]);
        // With TLS 1.2 the header says the kind, and this one not.
        let mut wire = record(&mut client, kind, &content);
        let (result, plain, mut out) = read(&mut server, &mut wire);
        let expected =
            if suite == 0 && kind == CHANGE_CIPHER_SPEC + 4 { (BadRecord, Some(50)) } else { (failure, told) };
        assert_eq!((result, plain.len()), (Err(expected.0), 0), "{kind} {content:?}");
        assert_eq!(alert_for(&mut client, &mut out), expected.1.map(|code| [FATAL, code]), "{kind} {content:?}");
        out.clear();
        server.close_notify(&mut out);
        assert!(out.is_empty() || expected.1.is_none(), "only one last word");
    }
}

/// A close_notify may have either level, and nothing after it counts.
#[test]
fn the_peer_s_last_word() {
    for suite in SUITES {
        for level in [WARNING, FATAL] {
            let (mut server, mut client) = pair(suite);
            let mut wire = record(&mut client, ALERT, &[level, 0]);
            wire.extend(record(&mut client, DATA, b"late"));
            let (result, plain, _) = read(&mut server, &mut wire);
            assert!(result.is_ok() && plain.is_empty());
            assert_eq!(server.state(), TlsState::PeerClosed);
        }
    }
}

/// No header is good but the one of the record.
#[test]
fn headers() {
    for suite in SUITES {
        let sample = record(&mut pair(suite).1, DATA, b"hello");
        for at in 0..RECORD_HEADER {
            for value in 0..=255 {
                let mut wire = sample.clone();
                if wire[at] == value {
                    continue;
                }
                wire[at] = value;
                // There is more to come if the record says that it is longer.
                wire.resize(5 + PAYLOAD_MAX, 0);
                let (mut server, mut client) = pair(suite);
                let (result, plain, mut out) = read(&mut server, &mut wire);
                assert!(result.is_err() && plain.is_empty(), "{suite:?} {at} {value}");
                assert_eq!(alert_for(&mut client, &mut out).unwrap()[0], FATAL);
            }
        }
    }
}

/// Every bit counts, and so do every byte and the order.
#[test]
fn a_record_is_taken_as_it_was_sealed_or_not_at_all() {
    let mut random = Random::seeded(1);
    for suite in SUITES {
        for length in [0, 1, 40] {
            let data: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
            let sample = record(&mut pair(suite).1, DATA, &data);
            for bit in 0..sample.len() * 8 {
                let mut wire = sample.clone();
                wire[bit / 8] ^= 1 << (bit % 8);
                let (result, plain, _) = read(&mut pair(suite).0, &mut wire);
                assert!(!matches!(result, Ok(bytes) if bytes > 0) && plain.is_empty(), "{suite:?} {length} bit {bit}");
            }
            for bytes in 0..sample.len() {
                assert_eq!(read(&mut pair(suite).0, &mut sample[..bytes].to_vec()), (Ok(0), vec![], vec![]));
            }
            let (mut server, mut client) = pair(suite);
            let first = record(&mut client, DATA, &data);
            let second = record(&mut client, DATA, &data);
            assert!(read(&mut pair(suite).0, &mut second.clone()).0.is_err(), "out of order");
            assert!(read(&mut server, &mut first.clone()).0.is_ok());
            assert_eq!(read(&mut server, &mut first.clone()).0, Err(TlsFailure::BadRecord), "a second time");
            let mut other = pair(suite).1;
            assert!(read(&mut other, &mut first.clone()).0.is_err(), "back to its sender");
        }
    }
}

/// What an attacker on the way does to good records, more often than anybody can write down. `FUZZ_CASES` and `FUZZ_SEED`
/// as for `tests/fuzz`; `FUZZ_SECONDS` goes on for so long and prints how many records that were.
#[test]
fn damaged_and_repeated_records_in_great_number() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number("FUZZ_SEED").unwrap_or(1);
    let end = number("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let cases = number("FUZZ_CASES").unwrap_or(3_000);
    let (mut good, mut bad) = (0u64, 0u64);
    for seed in (first..).take_while(|seed| end.map_or(seed - first < cases, |end| Instant::now() < end)) {
        let mut random = Random::seeded(seed);
        let suite = *random.pick(&SUITES);
        let (mut server, mut client) = pair_at(suite, random.next_u64() >> (8 + random.index(56)));
        let mut former: Vec<Vec<u8>> = Vec::new();
        for _ in 0..1 + random.index(100) {
            let data: Vec<u8> = (0..random.index(80)).map(|_| random.next_u64() as u8).collect();
            let wire = record(&mut client, DATA, &data);
            let damaged = damaged(&mut random, &wire, &former);
            // A server like ours in ours' place, because one that refuses is at its end.
            let unused = Direction::tls12(&[0; 32][..suite.aead.key_bytes()], [0; IV_BYTES], 0);
            let opening = direction(suite, server.opening.records(), 1);
            let mut other = Records::new(Side::Server, suite, opening, unused);
            let (result, plain, _) = read(&mut other, &mut damaged.clone());
            assert!(plain.is_empty(), "seed {seed}: {damaged:?} of {wire:?} became data");
            assert!(!matches!(result, Ok(bytes) if bytes > 0), "seed {seed}: {damaged:?} of {wire:?} was taken");
            let (result, plain, _) = read(&mut server, &mut wire.clone());
            assert_eq!((result, plain), (Ok(wire.len()), data), "seed {seed}");
            server.empty_records = 0;
            former.push(wire);
            (good, bad) = (good + 1, bad + 1);
        }
    }
    if end.is_some() {
        println!("{good} good records were taken, {bad} bad ones refused; from seed {first}");
    }
}

/// Something that is not `wire`.
fn damaged(random: &mut Random, wire: &[u8], former: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = wire.to_vec();
    match random.index(6) {
        0 if !former.is_empty() => return random.pick(former).clone(),
        1 => bytes.truncate(random.index(wire.len())),
        2 => drop(bytes.remove(random.index(wire.len()))),
        3 => {
            let at = random.index(wire.len());
            bytes[at] = bytes[at].wrapping_add(1 + random.index(255) as u8);
        }
        4 => bytes[RECORD_HEADER..].fill(0),
        _ => {
            let bit = random.index(wire.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    bytes
}

#[test]
fn keys_come_from_secrets_as_the_standard_says() {
    // RFC 8448, 3: the server's application traffic secret and its keys, AES-128-GCM with SHA-256.
    let secret = unhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
    let direction = Direction::tls13(Aead::Aes128Gcm, &secret, 0);
    let (key, iv) = (unhex("9f02283b6c9c07efc26bb9f2ac92e356"), unhex("cf782b88dd83549aadf1e984"));
    assert!(direction.has(Aead::Aes128Gcm, &key, &iv));
    assert!(!direction.has(Aead::Aes128Gcm, &[0; 16], &iv));
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
