//! Peers that take their time, and many at once. What waits here waits for the server's own limits.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::client::frame;
use super::records::{SUITES, extensions, hello, record};
use super::site::Site;
use super::upgrade::request;
use super::{Case, cases};
use crate::support::fleet::{in_parallel, tcp};

/// Connections of the storm: half of the descriptors that the process is given where this was written, so that the
/// other tests have some, too.
const STORM: usize = 10_000;

/// Descriptors for everything else.
const OTHERS: usize = 4_000;

/// Addresses that the storm comes from.
const ADDRESSES: usize = 200;

/// Between two bytes of a slow peer.
const PACE: Duration = Duration::from_millis(100);

/// Bytes by which the server may be larger after a storm: tables and pools that have grown.
const GROWTH_MAX: usize = 24 * 1024 * 1024;

/// Takes 5 s each; see `limits::HANDSHAKE_TIMEOUT` and `limits::CLOSE_TIMEOUT`.
pub const TABLE: &[Case] = cases! {
    401 "a connection on which nothing comes": |site| trickle(&tcp(site.server.address).unwrap(), b"")
        => "closed", "refused handshake-timeout";
    402 "a hello of one byte now and then": |site| trickle(&tcp(site.server.address).unwrap(), &greeting())
        => "closed", "refused handshake-timeout";
    403 "a handshake without a request": |site| site.shaken().rest() => "end", "refused upgrade-timeout";
    404 "a request of one byte now and then": |site| site.shaken().trickle(request("/pcp2/wire").as_bytes(), PACE)
        => "end", "refused upgrade-timeout";
    405 "a peer that does not answer the close frame": |site| {
        let mut wire = site.open("/pcp2/wire");
        wire.send(&frame(
            0x81,
            br#"{"id":"1-1-1-1-1","message_type":"http://puppetlabs.com/associate_request","sender":"pcp://a/b"}"#,
        ));
        wire.rest()
    }
        => "associate_response: Message not authenticated. (re 1-1-1-1-1), close 4002 Association unsuccessful., cut", "closed application, messages_refused authentication-failure";
    406 "a peer that stays after its mistake": |site| {
        let before = site.server.descriptors();
        let mut wire = site.open("/pcp2/wire");
        wire.send(b"\x81\x00");
        let seen = wire.rest();
        site.server.wait_descriptors(before);
        seen
    } => "close 1002 ws-unmasked, end", "closed ws-unmasked";
};

/// A client hello.
fn greeting() -> Vec<u8> {
    record(22, 0x0301, &hello(0x0303, &SUITES, &extensions()))
}

/// Sends a byte now and then until the server hangs up.
fn trickle(mut socket: &TcpStream, bytes: &[u8]) -> String {
    socket.set_read_timeout(Some(PACE)).unwrap();
    let mut bytes = bytes.iter();
    let mut buffer = [0; 1024];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return "closed".to_owned(),
            Ok(count) => panic!("{} for half a hello", buffer[..count].escape_ascii()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // The server has hung up while a byte was on its way.
            Err(_) => return "closed".to_owned(),
        }
        if let Some(&byte) = bytes.next() {
            let _ = socket.write_all(&[byte]);
        }
    }
}

/// A connection from another address of this host.
fn from_elsewhere(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let host = u8::try_from(2 + number % ADDRESSES).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// As many as this process may have, and as there should be.
fn storm_size() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.map_or(STORM, |most| usize::try_from(most).unwrap().saturating_sub(OTHERS).clamp(1, STORM))
}

/// 407: connections that say nothing, or half a hello, or all of it and nothing more. The server gets rid of all of
/// them without anybody's help, and meanwhile serves everybody else.
#[test]
fn many_that_never_finish_their_handshake() {
    let site = Site::start();
    site.serves();
    let before = site.calm();
    let memory = site.server.settled_memory();
    let size = storm_size();
    let hello = greeting();
    let address = site.server.address;
    let held = in_parallel(size, |number| {
        let mut socket = from_elsewhere(number, address);
        let said = &hello[..hello.len() * (number % 3) / 2];
        // The server may have given up already.
        let _ = socket.write_all(said);
        socket
    });
    site.serves_in_a_crowd();
    let mut view = site.view();
    site.server.wait("all of them to be gone", || {
        view = site.view();
        view.is_as_empty_as(&before)
    });
    let count = |name: &str| view.counters.get(name).copied().unwrap_or(0);
    let [late, expired] = ["refused handshake-timeout", "accept_queue_expired"].map(count);
    let [full, displaced] = ["refused accept-queue-full", "refused handshake-displaced"].map(count);
    // Attempts of the newcomer may be among them.
    assert!(late + expired + full + displaced >= i64::try_from(size).unwrap(), "{}", view.counted_since(&before));
    let most = memory + GROWTH_MAX;
    site.server.wait(&format!("the memory to be below {} KiB again", most / 1024), || site.server.memory() <= most);
    println!(
        "{size} connections: {late} were late, {expired} waited in vain, {full} found no room, {displaced} \
         made way; {} KiB before, {} KiB after",
        memory / 1024,
        site.server.memory() / 1024
    );
    drop(held);
    site.serves();
}

/// 408: handshakes that are broken off at each stage.
#[test]
fn many_that_break_off() {
    const COUNT: usize = 2_000;
    let site = Site::start();
    site.serves();
    let before = site.calm();
    let (hello, address) = (greeting(), site.server.address);
    in_parallel(COUNT, |number| {
        let mut socket = from_elsewhere(number, address);
        let _ = socket.write_all(&hello[..hello.len() * (number % 5) / 4]);
    });
    let mut view = site.view();
    site.server.wait("all of them to be gone", || {
        view = site.view();
        let ways = ["lost-before-open", "accept-queue-full", "handshake-displaced"].map(|why| format!("refused {why}"));
        let count = |name: &str| view.counters.get(name).copied().unwrap_or(0);
        let gone = ways.iter().map(|way| count(way)).sum::<i64>() + count("accept_queue_expired");
        gone == i64::try_from(COUNT).unwrap() && view.is_as_empty_as(&before)
    });
    site.serves();
}

/// 409: more connections than the server may have descriptors. They wait in the kernel and are served once there are
/// some again.
#[test]
fn no_descriptor_left() {
    const SPARE: usize = 20;
    let site = Site::start();
    site.serves();
    let before = site.calm();
    let most = u64::try_from(before.descriptors + SPARE).unwrap();
    site.server.limit_descriptors(most);
    let held = in_parallel(10 * SPARE, |_| tcp(site.server.address).unwrap());
    site.server.wait("descriptors to run out", || {
        site.view().counters.get("accept_errors exhausted").is_some_and(|&times| times > 0)
    });
    assert!(site.server.log().contains("accept-exhausted"));
    drop(held);
    site.serves();
    assert_eq!(site.calm().gauges, before.gauges);
    site.server.wait_descriptors(before.descriptors);
}
