//! Deliveries to a real server: order, restarts, failures.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::config::settings::WebhookSettings;
use crate::https::testing::{Reply, Server};
use crate::orchestrator::bell::Bell;
use crate::orchestrator::model::{EventType, NodeState, RefusalKind, Subject};
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::store::{Store, conformance};
use crate::orchestrator::vault::Vault;
use crate::orchestrator::webhooks::{WebhookCommand, Webhooks};
use crate::tls::testing::Pki;

const SECRET: &str = "0123456789abcdef";

/// A store, and a server that remembers the events that it has taken.
struct Site {
    dir: TempDir,
    pki: Pki,
    bell: Arc<Bell>,
    store: Arc<dyn Store>,
    taken: Arc<Mutex<Vec<String>>>,
    is_down: Arc<AtomicBool>,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new("ca"));
        let (taken, is_down) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, down) = (taken.clone(), is_down.clone());
        let server = Server::start_open(&pki, move |request| {
            if down.load(Ordering::Relaxed) {
                return Reply::of(503, "");
            }
            if request.path == "/gone" {
                return Reply::of(410, "");
            }
            if request.path == "/elsewhere" {
                return Reply::of(302, "");
            }
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let given = request.headers.iter().find_map(|line| line.strip_prefix("podium-signature: ")).unwrap();
            let seconds: i64 = given[2..given.find(',').unwrap()].parse().unwrap();
            let at = WallTime::from_millis(seconds * 1000);
            assert_eq!(sign(SECRET.as_bytes(), at, request.body.as_bytes()), given);
            let ids = body["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned());
            kept.lock().unwrap().extend(ids);
            Reply::of(204, "")
        });
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
        Self { dir, pki, bell: Arc::default(), store, taken, is_down, server }
    }

    fn start(&self) -> Webhooks {
        let settings = WebhookSettings { ca: Some(self.pki.ca()), loopback: true };
        let vault = Arc::new(Vault::open(self.dir.path()).unwrap());
        Webhooks::start(self.store.clone(), vault, self.bell.clone(), settings).unwrap()
    }

    fn command(&self, path: &str, kinds: &[EventType]) -> WebhookCommand {
        WebhookCommand {
            url: format!("https://localhost:{}{path}", self.server.port()),
            kinds: kinds.to_vec(),
            secret: Some(SECRET.to_owned()),
            ..WebhookCommand::default()
        }
    }

    /// So many nodes end, each in a commit of its own.
    fn nodes_end(&self, nodes: u32, state: NodeState) {
        let names: Vec<String> = (0..nodes).map(|node| format!("n{node}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let job = self.store.create_job(conformance::new_job("t", &names)).unwrap();
        for position in 0..nodes {
            self.store.commit(vec![conformance::ended(conformance::key(job, position), state, 5)]).unwrap();
            self.bell.ring();
        }
    }

    /// Numbers of all events of the store.
    fn all(&self) -> Vec<String> {
        let all = self.store.events_from(None, 0, u32::MAX).unwrap();
        all.iter().map(|found| found.event.id.to_string()).collect()
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        thread::yield_now();
    }
}

fn ada() -> Subject {
    Subject { login: "ada".to_owned(), ..Subject::default() }
}

/// The kind of the events that [`conformance::ended`] writes.
fn kind(site: &Site) -> EventType {
    site.nodes_end(1, NodeState::Finished);
    site.store.events_from(None, 0, 1).unwrap()[0].event.kind
}

#[test]
fn events_arrive_in_order_from_when_it_was_added_and_go_on_after_a_restart() {
    let site = Site::new();
    let kind = kind(&site);
    let webhooks = site.start();
    let (hook, made) = webhooks.add(&ada(), site.command("/a", &[kind])).unwrap();
    assert_eq!((made, hook.owner.as_str()), (None, "ada"));
    site.nodes_end(130, NodeState::Finished);
    until("the delivery", || site.taken.lock().unwrap().len() == 130);
    webhooks.stop();
    // More than one delivery takes.
    site.nodes_end(120, NodeState::Finished);
    let webhooks = site.start();
    until("the rest", || site.taken.lock().unwrap().len() == 250);
    assert_eq!(*site.taken.lock().unwrap(), site.all()[1..]);
    webhooks.remove(&ada(), &hook.id).unwrap();
    assert_eq!(webhooks.one(&hook.id).unwrap_err().kind, RefusalKind::UnknownWebhook);
    webhooks.stop();
}

#[test]
fn one_that_fails_is_tried_again_and_holds_up_nobody() {
    let site = Site::new();
    let kind = kind(&site);
    let webhooks = site.start();
    let (gone, _) = webhooks.add(&ada(), site.command("/gone", &[kind])).unwrap();
    let (moved, _) = webhooks.add(&ada(), site.command("/elsewhere", &[kind])).unwrap();
    let (well, _) = webhooks.add(&ada(), site.command("/well", &[kind])).unwrap();
    site.nodes_end(3, NodeState::Finished);
    until("the delivery to the one that is well", || site.taken.lock().unwrap().len() == 3);
    let standing = |id: &str| webhooks.one(id).unwrap().standing;
    until("the end of the one that is gone", || standing(&gone.id).state == HookState::Dead);
    assert_eq!(webhooks.unwell(HookState::Dead), 1);
    assert_eq!((standing(&gone.id).state, standing(&gone.id).next_event), (HookState::Dead, 2));
    until("a failure", || standing(&moved.id).failures >= 1);
    assert!(standing(&moved.id).last_error.unwrap().contains("redirects are not followed"));
    assert_eq!(standing(&moved.id).next_event, 2, "nothing is skipped");

    site.is_down.store(true, Ordering::Relaxed);
    site.nodes_end(2, NodeState::Finished);
    until("a failure of the one that was well", || standing(&well.id).failures >= 1);
    let test = webhooks.test(&well.id).unwrap();
    assert_eq!(
        (test.delivered, test.message.as_str()),
        (false, "the server answered with status 503 Service Unavailable")
    );
    site.is_down.store(false, Ordering::Relaxed);
    webhooks.resume(&ada(), &well.id).unwrap();
    until("the rest", || site.taken.lock().unwrap().len() == 5);
    assert_eq!(*site.taken.lock().unwrap(), site.all()[1..]);
    until("the note of it", || standing(&well.id).failures == 0);
    assert!(webhooks.test(&well.id).unwrap().delivered);
    // The one that is gone is asked again, and says the same.
    webhooks.resume(&ada(), &gone.id).unwrap();
    until("another end", || webhooks.unwell(HookState::Dead) == 1);
    webhooks.stop();
}

#[test]
fn secrets_are_stored_sealed_and_shown_once() {
    let site = Site::new();
    let webhooks = site.start();
    let (hook, made) = webhooks.add(&ada(), WebhookCommand { secret: None, ..site.command("/a", &[]) }).unwrap();
    let made = made.unwrap();
    assert_eq!((made.len(), &*hook.kinds), (64, &[EventType::JobAborted, EventType::JobFinished][..]));
    assert!(!hook.secret.windows(8).any(|window| made.as_bytes().starts_with(window)));
    for secret in ["short", &"x".repeat(65)] {
        let command = WebhookCommand { secret: Some(secret.to_owned()), ..site.command("/a", &[]) };
        assert_eq!(webhooks.add(&ada(), command).unwrap_err().kind, RefusalKind::ValidationError);
    }
    webhooks.stop();
}

#[test]
fn pauses_double_and_end_after_days() {
    let mut random = Random::seeded(1);
    for (failures, most) in [(1, 1), (2, 2), (5, 16), (10, 512), (11, 600), (99, 600)] {
        for _ in 0..20 {
            let pause = pause(failures, &mut random).as_millis();
            assert!((most * 500..=most * 1000).contains(&pause), "{pause} ms after {failures} failures");
        }
    }
    let at = |hours: i64| WallTime::from_millis(hours * 3_600_000);
    assert!(!is_over(at(1), at(96)) && is_over(at(1), at(97)));
    // A clock that was set back.
    assert!(!is_over(at(97), at(1)));
}

#[test]
fn one_that_is_removed_while_a_delivery_fails_is_forgotten() {
    let site = Site::new();
    let webhooks = site.start();
    let (hook, _) = webhooks.add(&ada(), site.command("/a", &[])).unwrap();
    // As its thread does.
    webhooks.shared.note(&hook.id, Some(HookState::Active));
    assert_eq!(webhooks.unwell(HookState::Active), 1);
    webhooks.remove(&ada(), &hook.id).unwrap();
    webhooks.shared.note(&hook.id, Some(HookState::Active));
    webhooks.shared.note(&hook.id, Some(HookState::Dead));
    assert_eq!((webhooks.unwell(HookState::Active), webhooks.unwell(HookState::Dead)), (0, 0));
    webhooks.stop();
}
