//! Admission step by step; `simulation.rs` has whole storms.

use super::*;

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn host(number: u8) -> Source {
    Source::V4(Ipv4Addr::new(192, 0, 2, number))
}

fn room(capacity: usize) -> WaitRoom<u64> {
    WaitRoom::new(capacity, Duration::from_millis(100))
}

#[test]
fn a_source_is_what_one_host_can_choose() {
    let source = |address: &str| Source::from(address.parse::<SocketAddr>().unwrap());
    assert_eq!(source("[2001:db8:0:1::1]:1"), source("[2001:db8:0:1:ffff::2]:2"));
    assert_ne!(source("[2001:db8:0:1::1]:1"), source("[2001:db8:0:2::1]:1"));
    assert_eq!(source("[::ffff:192.0.2.1]:1"), source("192.0.2.1:2"));
    assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
}

#[test]
fn the_newest_is_first_and_the_oldest_expires() {
    let mut room = room(10);
    for newcomer in 0..4 {
        assert_eq!(room.enter(at(newcomer * 10), host(1), newcomer), None);
    }
    assert_eq!(room.take(), Some((host(1), 3)));
    assert_eq!(room.next_expiry(), Some(at(100)));
    assert_eq!([(); 3].map(|()| room.expire(at(110))), [Some(0), Some(1), None]);
    assert_eq!(room.take(), Some((host(1), 2)));
    assert_eq!(room.take(), None);
    assert!(room.order.is_empty() && room.crowds.is_empty());
}

#[test]
fn sources_take_turns() {
    let mut room = room(10);
    for newcomer in 0..5 {
        room.enter(at(newcomer), host(1), newcomer);
    }
    room.enter(at(5), host(2), 20);
    room.enter(at(6), host(2), 21);
    let taken: Vec<u64> = std::iter::from_fn(|| room.take()).map(|(_, newcomer)| newcomer).collect();
    assert_eq!(taken, [21, 4, 20, 3, 2, 1, 0], "two have two each, then one has what is left");
    assert!(room.sources.is_empty(), "nothing is remembered when nobody waits");
}

#[test]
fn what_a_source_got_while_it_was_alone_is_not_held_against_it() {
    let mut room = room(100);
    for newcomer in 0..50 {
        room.enter(at(newcomer), host(1), newcomer);
        assert!(room.take().is_some());
    }
    for newcomer in 100..103 {
        room.enter(at(newcomer), host(1), newcomer);
        room.enter(at(newcomer), host(2), newcomer);
    }
    let taken: Vec<Source> = std::iter::from_fn(|| room.take()).map(|(source, _)| source).collect();
    assert_eq!(taken.iter().take(4).filter(|&&source| source == host(1)).count(), 2, "{taken:?}");
}

#[test]
fn whoever_has_the_most_makes_way() {
    let mut room = room(4);
    assert_eq!(room.enter(at(0), host(2), 0), None);
    for newcomer in 1..4 {
        assert_eq!(room.enter(at(newcomer), host(1), newcomer), None);
    }
    assert_eq!(room.enter(at(4), host(3), 4), Some(1), "the oldest of the first host");
    assert_eq!(room.enter(at(5), host(1), 5), Some(2), "its own");
    assert_eq!(room.enter(at(6), host(4), 6), Some(3));
    assert_eq!(room.enter(at(7), host(5), 7), Some(0), "all have one: the oldest");
    assert_eq!(room.len(), 4);
}

#[test]
fn what_is_remembered_of_sources_is_bounded() {
    let mut room = WaitRoom::new(4, Duration::from_millis(100));
    // Somebody waits all the time, so that no round ends: newer ones come first.
    room.enter(at(0), host(1), 0);
    for number in 1..2 * SOURCES_MAX as u64 {
        let bytes = number.to_be_bytes();
        room.enter(at(number), Source::V6(bytes), number);
        assert!(room.take().is_some());
    }
    assert_eq!(room.len(), 1);
    assert!(room.sources.len() <= SOURCES_MAX + 4, "{}", room.sources.len());
}

#[test]
fn slots_that_one_host_holds_are_there_for_others() {
    let mut flights = Flights::new();
    for key in 0..4 {
        flights.start(at(key), host(1), key, 4, |_| true);
    }
    let late = at(HANDSHAKE_UNDISPLACED.as_millis() as u64 + 1);
    assert_eq!(flights.displaced(at(500), host(2), |_| true), None, "all of them are young");
    assert_eq!(flights.displaced(late, host(1), |_| true), None, "nobody makes way for his own");
    assert_eq!(flights.displaced(late, host(2), |_| true), Some((host(1), 0)));
    assert_eq!(flights.displaced(late, host(2), |key| key != 1), None, "key 1 has ended, and 2 is young");
    assert_eq!(flights.displaced(at(60_000), host(2), |_| true), Some((host(1), 2)));
    assert_eq!(flights.displaced(at(60_000), host(2), |_| true), None, "one each is fair");
}

#[test]
fn whoever_had_to_make_way_comes_after_others_for_a_while() {
    let mut room = room(100);
    room.enter(at(0), host(1), 0);
    room.charge(host(1));
    for newcomer in 1..=DISPLACED_TURNS {
        room.enter(at(newcomer), host(2), newcomer);
    }
    let taken: Vec<Source> = std::iter::from_fn(|| room.take()).map(|(source, _)| source).collect();
    let before = taken.iter().position(|&source| source == host(1)).unwrap();
    assert!(before + 1 >= DISPLACED_TURNS as usize, "{before}");
}

#[test]
fn those_that_have_ended_do_not_pile_up() {
    let mut flights = Flights::new();
    for key in 0..10_000_u64 {
        flights.start(at(key), host(1), key, 8, |other| other + 8 > key);
    }
    assert!(flights.started.len() <= 2 * 8 + 1);
}

/// Otherwise each newcomer would cost a look at all of them.
#[test]
fn sources_with_many_different_turns_are_forgotten_together() {
    let mut room = room(4);
    let source = |number: usize| Source::V6((number as u64).to_be_bytes());
    room.enter(at(0), host(1), 0);
    for number in 0..SOURCES_MAX + 4 {
        // It moves the round on, and so leaves each of the others at another one.
        room.enter(at(0), host(1), 0);
        room.enter(at(0), source(number), 1);
        assert!(room.take().is_some() && room.take().is_some());
    }
    assert!(room.sources.len() < 10, "{}", room.sources.len());
}

#[test]
fn whoever_crowds_makes_way_before_the_room_is_full() {
    let mut room = room(10);
    for (number, source) in (0..).zip([1, 2, 2, 3]) {
        room.enter(at(number), host(source), number);
    }
    let gone: Vec<u64> = std::iter::from_fn(|| room.crowd_out()).collect();
    assert_eq!(gone, [1, 0, 2, 3]);
}
