//! The client against a server of its own.

use super::testing::{Reply, Server};
use super::*;
use crate::tls::testing::Pki;

const CONNECT: Duration = Duration::from_secs(10);

fn client(pki: &Pki) -> Client {
    Client::new(pki.material("node.example").client_config().unwrap(), CONNECT, CONNECT).unwrap()
}

fn get<'a>(server: &Server, path_and_query: &'a str) -> Request<'a> {
    let (method, headers, body) = (Method::GET, &[][..], Vec::new());
    Request { method, host: "localhost", port: server.port(), path_and_query, headers, body }
}

#[test]
fn keeps_the_connection_and_replaces_it_when_it_is_gone() {
    let pki = Pki::new("ca");
    let server = Server::start(&pki, |request| match request.path.as_str() {
        "/close" => Reply::ok("bye").closing_silently(),
        _ => Reply::ok(format!("{} {} {}", request.method, request.path, request.body)),
    });
    let mut client = client(&pki);
    for _ in 0..3 {
        let response = client.request(&get(&server, "/a?b=c"), 100).unwrap();
        assert_eq!((response.status, response.body), (StatusCode::OK, b"GET /a?b=c ".to_vec()));
    }
    assert_eq!(server.connections(), 1);
    client.request(&get(&server, "/close"), 100).unwrap();
    server.wait_closed(1);
    let mut post = get(&server, "/job");
    post.method = Method::POST;
    post.headers = &[("x-authentication", "token")];
    post.body = b"{}".to_vec();
    assert_eq!(client.request(&post, 100).unwrap().body, b"POST /job {}");
    assert_eq!(server.connections(), 2);
}

#[test]
fn bodies_are_bounded() {
    let pki = Pki::new("ca");
    let server = Server::start(&pki, |_| Reply::ok("x".repeat(1000)));
    let mut client = client(&pki);
    assert_eq!(client.request(&get(&server, "/"), 999).unwrap_err().kind, HttpErrorKind::TooLarge);
    assert_eq!(client.request(&get(&server, "/"), 1000).unwrap().body.len(), 1000);
    let mut sink = Vec::new();
    let error = client.download("localhost", server.port(), "/", &mut sink, 999).unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::TooLarge);
}

#[test]
fn downloads_only_what_is_answered_with_200() {
    let pki = Pki::new("ca");
    let server = Server::start(&pki, |request| match request.path.as_str() {
        "/file?environment=a%20b" => Reply::ok("content"),
        _ => Reply { status: 302, ..Reply::ok("elsewhere") },
    });
    let mut client = client(&pki);
    let mut sink = Vec::new();
    let done = client.download("localhost", server.port(), "/file?environment=a%20b", &mut sink, 100).unwrap();
    assert_eq!((done, sink.as_slice()), (Downloaded::Complete { bytes: 7 }, &b"content"[..]));
    sink.clear();
    let refused = client.download("localhost", server.port(), "/other", &mut sink, 100).unwrap();
    assert_eq!(refused, Downloaded::Refused { status: StatusCode::FOUND, excerpt: "elsewhere".into() });
    assert!(sink.is_empty());
}

#[test]
fn errors_name_their_cause() {
    let pki = Pki::new("ca");
    let server = Server::start(&pki, |_| Reply::ok(""));
    let mut here = client(&pki);
    let mut stranger = client(&Pki::new("other"));
    let mut by_address = get(&server, "/");
    by_address.host = "127.0.0.1";
    let mut bad_path = get(&server, "/a b");
    let closed_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nobody = get(&server, "/");
    nobody.port = closed_port;
    let mut nowhere = get(&server, "/");
    nowhere.host = "no-such-host.invalid";
    let cases = [
        (stranger.request(&get(&server, "/"), 9), HttpErrorKind::Tls, "not from a CA we trust"),
        (here.request(&by_address, 9), HttpErrorKind::Tls, "for another name"),
        (here.request(&nobody, 9), HttpErrorKind::Refused, "check that the server runs"),
        (here.request(&nowhere, 9), HttpErrorKind::Resolve, "check its spelling"),
        (here.request(&bad_path, 9), HttpErrorKind::Request, "percent-encode"),
    ];
    for (result, kind, text) in cases {
        let error = result.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(text), "{error}");
    }
    bad_path.path_and_query = "relative";
    assert_eq!(here.request(&bad_path, 9).unwrap_err().kind, HttpErrorKind::Request);
}

#[test]
fn a_silent_server_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut client = Client::new(
        Pki::new("ca").material("node.example").client_config().unwrap(),
        Duration::from_millis(50),
        CONNECT,
    )
    .unwrap();
    let (method, headers, body) = (Method::GET, &[][..], Vec::new());
    let request = Request { method, host: "localhost", port, path_and_query: "/", headers, body };
    assert_eq!(client.request(&request, 9).unwrap_err().kind, HttpErrorKind::Timeout);
}

#[test]
fn a_server_without_our_ca_refuses_us() {
    let pki = Pki::new("ca");
    let server = Server::start_demanding_certificates(&pki, &Pki::new("other"), |_| Reply::ok(""));
    let error = client(&pki).request(&get(&server, "/"), 9).unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::Tls, "{error}");
    assert!(error.message.contains("does not accept us"), "{error}");
}

#[test]
fn a_question_in_a_body_survives_the_loss_of_the_kept_connection() {
    let pki = Pki::new("ca");
    let (sender, requests) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    // The second request finds the end of the connection in place of an answer.
    let server = Server::start(&pki, move |received| {
        let sender = sender.lock().unwrap();
        sender.send(received.body.clone()).unwrap();
        if received.path == "/lost" && received.body == "first" { Reply::bytes("") } else { Reply::ok("well") }
    });
    let mut client = client(&pki);
    let request = |path, body: &str| {
        let mut request = get(&server, path);
        request.method = Method::POST;
        request.body = body.as_bytes().to_vec();
        request
    };
    client.request(&request("/", ""), 100).unwrap();
    let error = client.request(&request("/lost", "first"), 100).unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::Protocol, "an order is not given twice");
    client.ask(&request("/", ""), 100).unwrap();
    let error = client.ask(&request("/lost", "first"), 100).unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::Protocol, "a question is not asked three times");
    let sent: Vec<String> = requests.try_iter().collect();
    assert_eq!(sent, ["", "first", "", "first", "first"]);
}
