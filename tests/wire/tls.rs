//! TLS (RFC 5246, RFC 8446): hellos, certificates, records.

use std::sync::Arc;

use podium::tls::material::provider;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, IsCa, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};

use super::client::{Wire, frame};
use super::forge::Forged;
use super::records::{SUITES, extension, extensions, hello, record};
use super::site::{REVOKED, Site};
use super::{Case, cases, pair};
use crate::support::fleet::tcp;
use crate::support::pki::{Keys, Pki};

/// Kinds of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// A handshake with a certificate that is different in this way, with both versions.
pub fn certificate(site: &Site, change: impl Fn(&mut CertificateParams)) -> String {
    both(site, |version| site.handshake(site.pki.presenting(site.pki.certify("node.example", &change), version)))
}

/// Does it with both versions, one after the other.
pub fn both(site: &Site, act: impl Fn(&'static SupportedProtocolVersion) -> String) -> String {
    let old = act(&TLS12);
    site.calm();
    pair(old, act(&TLS13))
}

fn names(names: &[&str]) -> impl Fn(&mut CertificateParams) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    move |params| {
        params.distinguished_name = DistinguishedName::new();
        // One per name: the same type replaces an earlier one.
        for (at, name) in names.iter().enumerate() {
            let kind = if at == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, name.as_str());
        }
    }
}

/// A client hello in a record.
fn greeting(record_version: u16, version: u16, extensions: &[u8]) -> Vec<u8> {
    record(HANDSHAKE, record_version, &hello(version, &SUITES, extensions))
}

/// The versions that a client of TLS 1.3 offers.
fn versions(versions: &[u16]) -> Vec<u8> {
    let list: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
    extension(0x002B, &[&[list.len() as u8], &list[..]].concat())
}

pub const TABLE: &[Case] = cases! {
    201 "plain HTTP": |site| site.raw(b"GET /pcp2/agent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        => "fatal DecodeError, closed", "refused not-tls";
    202 "SSH": |site| site.raw(b"SSH-2.0-OpenSSH_9.2\r\n") => "fatal DecodeError, closed", "refused not-tls";
    203 "zeros": |site| site.raw(&[0; 1_000]) => "fatal DecodeError, closed", "refused not-tls";
    204 "a hello of SSL 2":
        |site| site.raw(b"\x80\x2E\x01\0\x02\0\x15\0\0\0\x10\x01\0\x80\x02\0\x80\x03\0\x80\x04\0\x80\x05\0\x80\x06\0\x40\x07\0\xC0aaaaaaaaaaaaaaaa")
        => "fatal DecodeError, closed", "refused not-tls";
    205 "a hello of SSL 3": |site| site.raw(&greeting(0x0300, 0x0300, &[]))
        => "fatal HandshakeFailure, closed", "refused tls-incompatible";
    206 "a hello of TLS 1.0": |site| site.raw(&greeting(0x0301, 0x0301, &extensions()))
        => "fatal ProtocolVersion, closed", "refused tls-incompatible";
    207 "a hello of TLS 1.1": |site| site.raw(&greeting(0x0301, 0x0302, &extensions()))
        => "fatal ProtocolVersion, closed", "refused tls-incompatible";
    208 "only old versions in the extension":
        |site| site.raw(&greeting(0x0301, 0x0303, &[extensions(), versions(&[0x0302, 0x0301])].concat()))
        => "fatal ProtocolVersion, closed", "refused tls-incompatible";
    209 "no versions in the extension":
        |site| site.raw(&greeting(0x0301, 0x0303, &[extensions(), versions(&[])].concat()))
        => "fatal DecodeError, closed", "refused bad-record";
    210 "a hello of TLS 1.2 to a server that knows better": |site| site.raw(&greeting(0x0301, 0x0303, &extensions()))
        => "ServerHello that says 1.3, closed", "refused lost-before-open";
    211 "a hello of TLS 1.2 that says it is a fallback":
        |site| site.raw(&record(HANDSHAKE, 0x0301, &hello(0x0303, &[0x5600, 0xC02C, 0xC02B], &extensions())))
        => "ServerHello that says 1.3, closed", "refused lost-before-open";
    212 "no suite that is any good":
        |site| site.raw(&record(HANDSHAKE, 0x0301, &hello(0x0303, &[0x0000, 0x0005, 0x002F], &extensions())))
        => "fatal HandshakeFailure, closed", "refused tls-incompatible";
    213 "no suite at all": |site| site.raw(&record(HANDSHAKE, 0x0301, &hello(0x0303, &[], &extensions())))
        => "fatal DecodeError, closed", "refused bad-record";
    214 "an extension twice":
        |site| site.raw(&greeting(0x0301, 0x0303, &[extensions(), extension(0x000B, &[1, 0])].concat()))
        => "fatal IllegalParameter, closed", "refused bad-record";
    215 "a hello with bytes after it": |site| {
        let mut hello = hello(0x0303, &SUITES, &extensions());
        hello.extend_from_slice(&[0; 10]);
        hello[3] += 10;
        site.raw(&record(HANDSHAKE, 0x0301, &hello))
    } => "fatal DecodeError, closed", "refused bad-record";
    216 "a hello that is cut off":
        |site| site.raw(&record(HANDSHAKE, 0x0301, &[1, 0, 0, 10, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0]))
        => "fatal DecodeError, closed", "refused bad-record";
    217 "a server hello": |site| site.raw(&record(HANDSHAKE, 0x0303, &[2, 0, 0, 2, 3, 3]))
        => "fatal DecodeError, closed", "refused bad-record";
    218 "a handshake message of 16 MB": |site| {
        let begin = record(HANDSHAKE, 0x0301, &[&[1, 0xFF, 0xFF, 0xFF][..], &[0; 16_000]].concat());
        site.raw(&[begin, record(HANDSHAKE, 0x0301, &[0; 16_000]).repeat(1_000)].concat())
    } => "closed", "refused bad-record";
    219 "a hello in records of one byte": |site| {
        let hello = hello(0x0303, &SUITES, &extensions());
        let records: Vec<u8> = hello.iter().flat_map(|&byte| record(HANDSHAKE, 0x0301, &[byte])).collect();
        site.raw(&records)
    } => "ServerHello that says 1.3, closed", "refused lost-before-open";
    220 "a handshake record without content": |site| site.raw(&record(HANDSHAKE, 0x0301, &[]))
        => "fatal DecodeError, closed", "refused not-tls";
    221 "a record of 65,535 bytes": |site| site.raw(&record(HANDSHAKE, 0x0301, &[1; 65_535]))
        => "fatal DecodeError, closed", "refused not-tls";
    222 "a record of a kind that there is not": |site| site.raw(&record(99, 0x0303, &[0; 10]))
        => "fatal DecodeError, closed", "refused not-tls";
    223 "data before the handshake": |site| site.raw(&record(DATA, 0x0303, b"GET / HTTP/1.1\r\n\r\n"))
        => "fatal UnexpectedMessage, closed", "refused tls-misbehaved";
    224 "a change of keys before the handshake": |site| site.raw(&record(CHANGE_CIPHER_SPEC, 0x0303, &[1]))
        => "fatal UnexpectedMessage, closed", "refused tls-misbehaved";
    225 "an alert before the handshake": |site| site.raw(&record(ALERT, 0x0303, &[2, 40]))
        => "closed", "refused alert-handshake-failure";
    226 "10,000 warnings before the handshake": |site| site.raw(&record(ALERT, 0x0303, &[1, 90]).repeat(10_000))
        => "closed", "refused tls-misbehaved";
    227 "a hello twice": |site| site.raw(&greeting(0x0301, 0x0303, &extensions()).repeat(2))
        => "ServerHello that says 1.3, fatal UnexpectedMessage, closed", "refused tls-misbehaved";
    228 "noise after the hello":
        |site| site.raw(&[greeting(0x0301, 0x0303, &extensions()), vec![0xAA; 1_000]].concat())
        => "ServerHello that says 1.3, fatal DecodeError, closed", "refused bad-record";
    229 "no client certificate": |site| both(site, |version| site.handshake(site.pki.anonymous(version)))
        => "twice alert CertificateRequired", "2 refused no-client-certificate";
    230 "a certificate of another CA of the same name": |site| {
        let other = Pki::new(Keys::P256).certify("node.example", |_| {});
        both(site, |version| site.handshake(site.pki.presenting(other.clone(), version)))
    } => "twice alert DecryptError", "2 refused certificate-unknown-ca";
    231 "a certificate whose key the client has not": |site| {
        let mut certified = site.pki.certify("node.example", |_| {});
        certified.key = Pki::new(Keys::P256).certify("node.example", |_| {}).key;
        both(site, |version| site.handshake(site.pki.presenting(certified.clone(), version)))
    } => "twice alert DecryptError", "2 refused certificate-unknown-ca";
    232 "an expired certificate": |site| {
        certificate(site, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    } => "twice alert CertificateExpired", "2 refused certificate-expired";
    233 "a certificate of the future": |site| {
        certificate(site, |params| {
            params.not_before = date_time_ymd(2120, 1, 1);
            params.not_after = date_time_ymd(2121, 1, 1);
        })
    } => "twice alert CertificateExpired", "2 refused certificate-not-yet-valid";
    234 "a revoked certificate": |site| {
        certificate(site, |params| {
            params.serial_number = Some(SerialNumber::from(REVOKED));
        })
    } => "twice alert CertificateRevoked", "2 refused certificate-revoked";
    235 "a certificate for servers only": |site| {
        certificate(site, |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        })
    } => "twice alert UnsupportedCertificate", "2 refused certificate-wrong-purpose";
    236 "no common name": |site| certificate(site, names(&[])) => "twice end", "2 refused certificate-without-name";
    237 "two common names": |site| certificate(site, names(&["node.example", "ctl.example"]))
        => "twice end", "2 refused certificate-without-name";
    238 "an empty common name": |site| certificate(site, names(&[""]))
        => "twice end", "2 refused certificate-name-unusable";
    239 "a slash in the common name": |site| certificate(site, names(&["ctl.example/agent"]))
        => "twice end", "2 refused certificate-name-unusable";
    240 "a wildcard as common name": |site| certificate(site, names(&["*"]))
        => "twice end", "2 refused certificate-name-unusable";
    241 "a line feed in the common name": |site| certificate(site, names(&["a\nb"]))
        => "twice end", "2 refused certificate-name-unusable";
    242 "a NUL in the common name": |site| certificate(site, names(&["ctl.example\0.evil"]))
        => "twice end", "2 refused certificate-name-unusable";
    243 "a quotation mark in the common name": |site| certificate(site, names(&["a\",\"b"]))
        => "twice end", "2 refused certificate-name-unusable";
    244 "a common name of 1,000 characters": |site| certificate(site, names(&[&"x".repeat(1_000)]))
        => "twice end", "2 refused certificate-name-unusable";
    245 "the name of another host in the hello": |site| {
        let connection = ClientConnection::new(unverified(site), "other.example".try_into().unwrap()).unwrap();
        let mut wire = Wire::new(StreamOwned::new(connection, tcp(site.server.address).unwrap()));
        wire.send(super::upgrade::request("/pcp2/wire").as_bytes());
        wire.send(&frame(0x88, b"\x03\xE8"));
        wire.http()
    } => "101, close 1000, end", "closed peer";
    246 "a handshake of one byte at a time": |site| {
        let mut client = ClientConnection::new(site.node.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut socket = tcp(site.server.address).unwrap();
        while client.is_handshaking() {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            for byte in flight {
                std::io::Write::write_all(&mut socket, &[byte]).unwrap();
            }
            if client.is_handshaking() {
                client.read_tls(&mut socket).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        let mut wire = Wire::new(StreamOwned::new(client, socket));
        wire.send(super::upgrade::request("/pcp2/wire").as_bytes());
        wire.send(&frame(0x88, b"\x03\xE8"));
        wire.http()
    } => "101, close 1000, end", "closed peer";
    247 "noise after the handshake": |site| {
        both(site, |version| {
            let mut forged = Forged::new(site, version);
            forged.write(&[0xAA; 1_000]);
            forged.rest()
        })
    } => "twice alert DecodeError, closed", "2 refused bad-record";
    248 "noise on an open connection": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            forged.write(&[0xAA; 1_000]);
            forged.rest()
        })
    } => "twice alert DecodeError, closed", "2 closed bad-record";
    249 "a record that is not authentic": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            let mut record = forged.seal(DATA, &frame(0x81, b"{}"));
            *record.last_mut().unwrap() ^= 1;
            forged.write(&record);
            forged.rest()
        })
    } => "twice alert BadRecordMac, closed", "2 closed bad-record";
    250 "the same record twice": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            let record = forged.seal(DATA, &frame(0x89, b"once"));
            forged.write(&record.repeat(2));
            forged.rest()
        })
    } => "twice alert BadRecordMac, closed", "2 closed bad-record";
    251 "data without protection": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            forged.write(&record(DATA, 0x0303, &frame(0x81, b"{}")));
            forged.rest()
        })
    } => "twice alert BadRecordMac, closed", "2 closed bad-record";
    252 "an alert without protection": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            forged.write(&record(ALERT, 0x0303, &[1, 0]));
            forged.rest()
        })
    } => "twice alert BadRecordMac, closed", "2 closed bad-record";
    253 "1,000 records without content": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            for _ in 0..1_000 {
                forged.send(DATA, b"");
            }
            forged.send(DATA, &frame(0x88, b"\x03\xE8"));
            forged.rest()
        })
    } => "twice closed", "2 closed tls-misbehaved";
    254 "a record with one byte too many": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            forged.send(DATA, &frame(0x81, &[b'x'; 16_385 - 8]));
            forged.rest()
        })
    } => "twice alert RecordOverflow, closed", "2 closed bad-record";
    255 "a record of TLS 1.3 that is padding alone": |site| {
        let mut forged = Forged::upgraded(site, &TLS13);
        let record = forged.seal_inner(&mut vec![0; 100]);
        forged.write(&record);
        forged.rest()
    } => "closed", "closed tls-misbehaved";
    256 "a request for new keys of TLS 1.2": |site| {
        let mut forged = Forged::upgraded(site, &TLS12);
        forged.send(HANDSHAKE, &hello(0x0303, &SUITES, &[extensions(), extension(0xFF01, &[0])].concat()));
        forged.send(DATA, &frame(0x88, b"\x03\xE8"));
        forged.rest()
    } => "alert NoRenegotiation, close 1000, end, closed", "closed peer";
    257 "a hello on an open connection of TLS 1.3": |site| {
        let mut forged = Forged::upgraded(site, &TLS13);
        forged.send(HANDSHAKE, &hello(0x0303, &SUITES, &extensions()));
        forged.rest()
    } => "alert UnexpectedMessage, closed", "closed tls-misbehaved";
    258 "100 hellos on an open connection of TLS 1.2": |site| {
        let mut forged = Forged::upgraded(site, &TLS12);
        for _ in 0..100 {
            forged.send(HANDSHAKE, &hello(0x0303, &SUITES, &extensions()));
        }
        forged.rest()
    } => "alert NoRenegotiation, closed", "closed tls-misbehaved";
    259 "the beginning of a handshake message after the handshake": |site| {
        let mut forged = Forged::upgraded(site, &TLS13);
        forged.send(HANDSHAKE, &[24, 0, 0]);
        forged.rest()
    } => "closed", "closed tls-fragmented-handshake";
    260 "an update of keys that is none": |site| {
        let mut forged = Forged::upgraded(site, &TLS13);
        forged.send(HANDSHAKE, &[24, 0, 0, 1, 7]);
        forged.rest()
    } => "alert IllegalParameter, closed", "closed bad-record";
    261 "a certificate on an open connection": |site| {
        let mut forged = Forged::upgraded(site, &TLS13);
        forged.send(HANDSHAKE, &[11, 0, 0, 4, 0, 0, 0, 0]);
        forged.rest()
    } => "alert UnexpectedMessage, closed", "closed tls-misbehaved";
    262 "data after the end of TLS": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            let end = forged.seal(ALERT, &[1, 0]);
            let data = forged.seal(DATA, &frame(0x81, b"{}"));
            forged.write(&[end, data].concat());
            forged.rest()
        })
    } => "twice closed", "2 closed lost";
    263 "100 warnings on an open connection": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            for _ in 0..100 {
                forged.send(ALERT, &[1, 90]);
            }
            forged.send(DATA, &frame(0x88, b"\x03\xE8"));
            forged.rest()
        })
    } => "twice closed", "2 closed tls-misbehaved";
    264 "a fatal alert on an open connection": |site| {
        both(site, |version| {
            let mut forged = Forged::upgraded(site, version);
            forged.send(ALERT, &[2, 80]);
            forged.rest()
        })
    } => "twice closed", "2 closed alert-other";
    265 "a certificate that its owner has signed": |site| {
        let certified = rcgen::generate_simple_self_signed(vec!["node.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let signing = provider().key_provider.load_private_key(key).unwrap();
        let certified = CertifiedKey::new(vec![certified.cert.der().clone()], signing);
        both(site, |version| site.handshake(site.pki.presenting(certified.clone(), version)))
    } => "twice alert UnknownCA", "2 refused certificate-unknown-ca";
    266 "10,000 updates of keys that ask for another": |site| {
        let mut wire = site.open("/pcp2/wire");
        for _ in 0..10_000 {
            wire.connection().refresh_traffic_keys().unwrap();
            wire.send(b"");
        }
        wire.send(&[frame(0x89, b"still there?"), frame(0x88, b"\x03\xE8")].concat());
        wire.rest()
    } => "cut", "closed tls-misbehaved";
    267 "a client that wants HTTP/2": |site| {
        let mut config = (*site.node).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        site.handshake(Arc::new(config))
    } => "101, close 1000, end", "closed peer";
    268 "a chain of 1,000 certificates": |site| {
        let mut certified = site.pki.certify("node.example", |_| {});
        certified.cert = vec![certified.cert[0].clone(); 1_000];
        both(site, |version| site.handshake(site.pki.presenting(certified.clone(), version)))
    } => "twice cut", "2 refused bad-record";
    269 "a certificate with 1,000 names": |site| certificate(site, |params| {
        params.subject_alt_names = (0..1_000)
            .map(|number| SanType::DnsName(format!("name{number}.example").try_into().unwrap()))
            .collect();
    }) => "twice end", "2 refused certificate-attributes-too-many";
    270 "a common name in two bytes per character": |site| certificate(site, |params| {
        params.distinguished_name = DistinguishedName::new();
        let name = rcgen::string::BmpString::try_from("node.example").unwrap();
        params.distinguished_name.push(DnType::CommonName, DnValue::BmpString(name));
    }) => "twice end", "2 refused certificate-name-unusable";
    271 "a CA's certificate as a client's": |site| certificate(site, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }) => "twice alert CertificateUnknown", "2 refused certificate-invalid";
    272 "an extension that is critical and unknown": |site| certificate(site, |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    }) => "twice alert CertificateUnknown", "2 refused certificate-invalid";
};

/// A client that does not mind whose certificate the server shows.
fn unverified(site: &Site) -> Arc<ClientConfig> {
    let mut config = (*site.node).clone();
    config.dangerous().set_certificate_verifier(Arc::new(Anyone));
    Arc::new(config)
}

#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
