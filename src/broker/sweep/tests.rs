//! Reviews of a core's sessions, with a shell that only records.

use super::super::Broker;
use super::super::recorder::{Act, Bench, broker, certificate};
use serde_json::json;

use super::*;
use crate::link::{Admission, Application, Event, Identity, Opcode, Opening};

const PAUSE: Duration = Duration::from_millis(30);

fn revoked(numbers: &[u32]) -> Arc<[CertificateId]> {
    numbers.iter().copied().map(certificate).collect()
}

fn review(certificates: Certificates) -> Arc<Review> {
    Arc::new(Review { certificates, policy_changed: false, throttle: PAUSE })
}

fn bench(workers: usize, agents: u32) -> (Arc<Broker>, Bench) {
    let broker = broker(workers);
    let mut bench = Bench::new(&broker, 0);
    for number in 1..=agents {
        bench.open_agent(number);
    }
    (broker, bench)
}

fn begin(bench: &mut Bench, review: Arc<Review>) {
    bench.handle(Event::Mail(BrokerMail::Review(review)));
}

#[test]
fn only_revoked_ones_go_and_one_at_a_time() {
    let (broker, mut bench) = bench(2, 5000);
    begin(&mut bench, review(Certificates::Revoked(revoked(&[7, 8, 4000, 9999]))));
    bench.run_until(1000);
    // Two workers share the pace.
    assert_eq!(bench.closed(), [(0, 7, 1012), (60, 8, 1012), (120, 4000, 1012)]);
    assert_eq!(broker.directory.len(), 4997);
}

#[test]
fn sessions_are_looked_at_in_slices() {
    let (_, mut bench) = bench(1, 5000);
    begin(&mut bench, review(Certificates::Revoked(revoked(&[]))));
    assert_eq!(bench.run_until(0), 5001_usize.div_ceil(limits::SWEEP_SLICE));
    assert!(bench.closed().is_empty());
}

#[test]
fn a_second_review_starts_again() {
    let (_, mut bench) = bench(1, 10);
    begin(&mut bench, review(Certificates::Revoked(revoked(&[5, 6, 7]))));
    bench.run_until(0);
    begin(&mut bench, review(Certificates::Revoked(revoked(&[2, 7]))));
    bench.run_until(1000);
    assert_eq!(bench.closed(), [(0, 5, 1012), (0, 2, 1012), (30, 7, 1012)]);
}

#[test]
fn without_their_ca_all_connect_again_once() {
    let (_, mut bench) = bench(1, 3);
    begin(&mut bench, review(Certificates::Distrusted(revoked(&[]))));
    // Somebody whose handshake was under way, and nobody goes before all of those are over.
    let settled = u64::try_from(limits::HANDSHAKE_TIMEOUT.as_millis()).unwrap();
    bench.run_until(settled - 1);
    assert!(bench.closed().is_empty());
    bench.open_agent(4);
    bench.run_until(settled);
    bench.open_agent(20);
    bench.run_until(settled + 1000);
    let expected = [1, 2, 3, 4].map(|number| (settled + 30 * (u64::from(number) - 1), number, 1012));
    assert_eq!(bench.closed(), expected);
}

#[test]
fn a_review_in_the_middle_does_not_let_the_rest_off() {
    let (_, mut bench) = bench(1, 3);
    begin(&mut bench, review(Certificates::Distrusted(revoked(&[]))));
    let settled = u64::try_from(limits::HANDSHAKE_TIMEOUT.as_millis()).unwrap();
    bench.run_until(settled);
    bench.open_agent(4);
    begin(&mut bench, review(Certificates::Revoked(revoked(&[4]))));
    bench.run_until(settled + 1000);
    let mut gone: Vec<u32> = bench.closed().iter().map(|(_, number, _)| *number).collect();
    gone.sort_unstable();
    assert_eq!(gone, [1, 2, 3, 4]);
}

#[test]
fn what_was_revoked_during_its_handshake_is_not_admitted() {
    let (_, mut bench) = bench(1, 1);
    begin(&mut bench, review(Certificates::Revoked(revoked(&[9]))));
    let attributes = &crate::link::CertificateAttributes::default();
    let mut admit = |number| {
        let identity = Identity { common_name: "x", certificate: certificate(number), attributes };
        let remote = "127.0.0.1:1".parse().unwrap();
        let opening = Opening { identity, path: "/pcp2/agent", remote, dialled: None };
        bench.core.admit(crate::clock::Moment::default(), &opening)
    };
    assert!(matches!(admit(9), Admission::Refuse { status: 403, .. }));
    assert_eq!(admit(10), Admission::Accept);
}

#[test]
fn a_policy_that_still_allows_them_closes_nobody() {
    let (_, mut bench) = bench(1, 3);
    bench.open(4, "ctl", "/pcp2/orchestrator");
    let changed = Review { policy_changed: true, ..Review::nothing() };
    begin(&mut bench, Arc::new(changed));
    bench.run_until(1000);
    assert!(bench.closed().is_empty());
}

#[test]
fn whoever_may_not_ask_any_more_is_told_no_more() {
    let (broker, mut bench) = bench(1, 3);
    let controller = bench.open(4, "ctl", "/pcp2/orchestrator");
    let request = json!({
        "id": "1-1-1-1-1",
        "message_type": "http://puppetlabs.com/inventory_request",
        "target": "pcp:///server",
        "data": {"query": ["pcp://*/agent"], "subscribe": true},
    });
    bench.handle(Event::Message { peer: controller, opcode: Opcode::Text, payload: request.to_string().as_bytes() });
    let changed = Arc::new(Review { policy_changed: true, ..Review::nothing() });
    begin(&mut bench, changed.clone());
    bench.open_agent(5);
    bench.run_until(2000);
    let types = |bench: &mut Bench| -> Vec<String> {
        let acts = std::mem::take(&mut bench.shell.acts);
        let sent = acts.iter().filter_map(|act| match act {
            Act::Sent(to, message) if *to == controller => message["message_type"].as_str(),
            _ => None,
        });
        sent.map(|text| text.trim_start_matches("http://puppetlabs.com/").to_owned()).collect()
    };
    assert_eq!(types(&mut bench), ["inventory_response", "inventory_update"], "the policy still allows it");
    broker.policy.store(Arc::new(Policy::new(["other"]).after(&broker.policy.load())));
    begin(&mut bench, changed);
    bench.open_agent(6);
    bench.run_until(4000);
    assert_eq!(types(&mut bench), ["error_message"]);
    assert!(bench.closed().is_empty(), "it may stay");
}
