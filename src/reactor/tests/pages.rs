//! Plain HTTP on the port of the WebSockets: pages, who sees them, and the lines of the access log.

use crate::config::settings::{AccessFormat, AccessLevel, AccessLogSettings};
use crate::observe::access_log::AccessLogs;
use crate::observe::pages::{Page, Pages, Visitor};
use crate::tls::material::ClientAuth;

use super::*;
use crate::config::settings::TlsSessions;

struct Hello;

impl Pages for Hello {
    fn page(&self, visitor: Visitor, path: &str, query: &str) -> Option<Page> {
        let page = |status, body: String| Some(Page { status, content_type: "text/plain", body });
        match (path, visitor) {
            ("/hello", _) => page(200, format!("{visitor:?} asks {query:?}")),
            ("/secret", Visitor::Known) => page(200, "yes".to_owned()),
            ("/secret", Visitor::Unknown) => page(403, "no".to_owned()),
            ("/ill", _) => page(503, "error".to_owned()),
            ("/endless", _) => page(200, "x".repeat(1_000_000)),
            _ => None,
        }
    }
}

/// A reactor that wants certificates and does not need them, and its log of requests.
struct House {
    bench: Bench,
    logs: Option<AccessLogs>,
    dir: tempfile::TempDir,
}

impl House {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = None;
        let bench = Bench::start_with(|pki, options| {
            let opened = AccessLogs::start(2, options.clock, options.metrics.clone()).unwrap();
            let file = Some(dir.path().join("requests"));
            let settings = AccessLogSettings { level: AccessLevel::Info, file, format: AccessFormat::Text };
            opened.requests.configure(&settings).unwrap();
            options.pages = Some(Arc::new(Hello));
            options.request_log = Some(opened.requests.clone());
            logs = Some(opened);
            let wanted = pki.material("localhost").listener(ClientAuth::Optional, TlsSessions::Compact).unwrap();
            options.server_tls = Some(Arc::new(ArcSwap::new(wanted)));
        });
        Self { bench, logs, dir }
    }

    /// The answer's status and everything after its head.
    fn ask(&self, visitor: Visitor, line: &str) -> (u16, String) {
        let (status, head, body) = self.ask_for_all(visitor, line);
        let length = format!("Content-Length: {}\r\n", body.len());
        assert!(line.starts_with("HEAD") || head.contains(&length), "{head}");
        assert!(head.contains("Connection: close"), "{head}");
        (status, body)
    }

    fn ask_for_all(&self, visitor: Visitor, line: &str) -> (u16, String, String) {
        let issued = (visitor == Visitor::Known).then_some(&self.bench.agent);
        let mut tls = self.bench.tls(self.bench.pki.client(&TLS13, issued));
        write!(tls, "{line} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let answer = String::from_utf8(read_rest(tls)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), format!("{head}\r\n"), body.to_owned())
    }

    /// The lines without the times, once all workers and the log have ended.
    fn end(self) -> Vec<String> {
        let Self { bench, logs, dir } = self;
        bench.reactor.stop(Duration::ZERO);
        drop(logs);
        let text = std::fs::read_to_string(dir.path().join("requests")).unwrap();
        let date = regex::Regex::new(r"\[[^\]]+ \+0000\]").unwrap();
        let mut lines: Vec<_> = text.lines().map(|line| date.replace(line, "[]").into_owned()).collect();
        // Workers write in any order.
        lines.sort();
        lines
    }
}

#[test]
fn pages_are_shown_to_whoever_may_see_them() {
    let house = House::open();
    let known = |line| house.ask(Visitor::Known, line);
    let unknown = |line| house.ask(Visitor::Unknown, line);
    assert_eq!(known("GET /hello"), (200, "Known asks \"\"".to_owned()));
    assert_eq!(unknown("GET /hello?a=%20b"), (200, "Unknown asks \"a=%20b\"".to_owned()));
    assert_eq!((known("GET /secret").0, unknown("GET /secret").0), (200, 403));
    assert_eq!(unknown("GET /ill"), (503, "error".to_owned()));
    assert_eq!(known("GET /endless"), (500, "This page is too large.\n".to_owned()));
    let (status, head, body) = house.ask_for_all(Visitor::Unknown, "HEAD /hello");
    assert_eq!((status, &*body), (200, ""));
    assert!(head.contains("Content-Length: 15\r\n"), "{head}");
    let (status, head, _) = house.ask_for_all(Visitor::Known, "POST /hello");
    assert!(status == 405 && head.contains("Allow: GET, HEAD\r\n"), "{head}");
    // There is no page, so it is what it was: an endpoint for WebSockets.
    assert_eq!(known("GET /pcp2/agent").0, 426);
    assert_eq!(house.bench.metric("pages_total{label=\"2xx\"}"), 4);
    assert_eq!(house.bench.metric("pages_total{label=\"503\"}"), 1);
    assert_eq!(house.bench.metric("refused_total{label=\"http-method\"}"), 1);
}

#[test]
fn nobody_is_opened_without_a_certificate() {
    let house = House::open();
    for version in [&TLS13, &rustls::version::TLS12] {
        let error = house.bench.connect_as(house.bench.pki.client(version, None), "/pcp2/agent").unwrap_err();
        assert!(error.to_string().contains("403"), "{error}");
    }
    assert_eq!(house.bench.metric("refused_total{label=\"no-client-certificate\"}"), 2);
    // A certificate that is wrong is worse than none.
    let foreign = Pki::new("other").issue("agent.example");
    let error = house.bench.connect_as(house.bench.pki.client(&TLS13, Some(&foreign)), "/pcp2/agent").unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
    let mut client = house.bench.connect();
    client.send(Message::text("x")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("x"));
    assert!(matches!(house.bench.next(), Seen::Opened { name, .. } if name == "agent.example"));
    house.bench.await_metric("connections_opened_total", 1);
}

#[test]
fn every_request_is_a_line() {
    let house = House::open();
    let client = house.bench.connect();
    house.bench.connect_as(house.bench.pki.client(&TLS13, Some(&house.bench.agent)), "/unwanted").unwrap_err();
    house.bench.connect_as(house.bench.pki.client(&TLS13, None), "/pcp2/agent?token=secret").unwrap_err();
    house.ask(Visitor::Unknown, "GET /hello?token=secret");
    house.ask(Visitor::Known, "HEAD /hello");
    house.ask(Visitor::Known, "nonsense");
    drop(client);
    assert_eq!(
        house.end(),
        [
            "127.0.0.1 - - [] \"GET /hello HTTP/1.1\" 200 27",
            "127.0.0.1 - - [] \"GET /pcp2/agent HTTP/1.1\" 403 23",
            "127.0.0.1 - agent.example [] \"-\" 400 24",
            "127.0.0.1 - agent.example [] \"GET /pcp2/agent HTTP/1.1\" 101 0",
            "127.0.0.1 - agent.example [] \"GET /unwanted HTTP/1.1\" 503 11",
            "127.0.0.1 - agent.example [] \"HEAD /hello HTTP/1.1\" 200 0",
        ]
    );
}
