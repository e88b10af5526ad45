//! The HTTP request that opens a WebSocket connection and its answer, both sides (RFC 6455, section 4). No extension
//! and no subprotocol is ever asked for or agreed to: the deployed agents break at either.

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::limits::UPGRADE_BYTES_MAX;

/// Header fields of a request or an answer at most.
const FIELDS_MAX: usize = 64;

/// Base64 of 16 bytes.
const KEY_BYTES: usize = 24;

/// A request that may be answered with 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Without query, undecoded.
    pub path: Box<str>,
    /// To be given to [`write_accept`].
    pub key: Box<str>,
}

/// Why a request is not answered with 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// Not HTTP/1.
    Malformed,
    /// Larger than [`UPGRADE_BYTES_MAX`], or too many fields.
    TooLarge,
    /// Not GET.
    Method,
    /// No host.
    Host,
    /// Plain HTTP: no `Upgrade: websocket` and `Connection: upgrade`.
    NotUpgrade,
    /// Not version 13.
    Version,
    /// No key of 16 bytes.
    Key,
    /// A body, which would be taken for frames.
    Body,
}

impl RequestError {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "http-malformed",
            Self::TooLarge => "http-too-large",
            Self::Method => "http-method",
            Self::Host => "http-host",
            Self::NotUpgrade => "http-not-upgrade",
            Self::Version => "ws-version",
            Self::Key => "ws-key",
            Self::Body => "http-body",
        }
    }

    /// Status and body of the answer.
    pub const fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "Not a HTTP/1.1 request."),
            Self::TooLarge => (431, "Request header too large."),
            Self::Method => (405, "Only GET and HEAD are possible here."),
            Self::Host => (400, "No Host field."),
            Self::NotUpgrade => (426, "This is a WebSocket endpoint."),
            Self::Version => (426, "Only WebSocket version 13 is possible."),
            Self::Key => (400, "No valid Sec-WebSocket-Key."),
            Self::Body => (400, "A request for a WebSocket has no body."),
        }
    }
}

/// Reads a request from the front of `bytes`; `None` if it is not whole. Returns the bytes it takes, too.
pub fn parse_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, RequestError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let size = match request.parse(bytes) {
        Ok(httparse::Status::Complete(size)) if size <= UPGRADE_BYTES_MAX => size,
        Ok(httparse::Status::Partial) if bytes.len() < UPGRADE_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooLarge),
        Err(_) => return Err(RequestError::Malformed),
    };
    let method = request.method.unwrap_or_default();
    if request.version == Some(0) {
        // HTTP/1.0 knows no upgrade (RFC 9110, 7.8), but load balancers ask for status pages in it.
        return Err(if method == "GET" { RequestError::NotUpgrade } else { RequestError::Method });
    }
    let key = check_request(method, request.headers)?;
    let path = request.path.filter(|path| path.starts_with('/')).ok_or(RequestError::Malformed)?;
    let path = path.split_once(['?', '#']).map_or(path, |(path, _)| path);
    Ok(Some((Request { path: path.into(), key: key.into() }, size)))
}

/// The key of a HTTP/1.1 request that somebody else has read, if it may be answered with 101.
pub fn check_request<'a>(method: &str, fields: &[httparse::Header<'a>]) -> Result<&'a str, RequestError> {
    if method != "GET" {
        return Err(RequestError::Method);
    }
    if field(fields, "host").is_none() {
        return Err(RequestError::Host);
    }
    if !has_token(fields, "upgrade", "websocket") || !has_token(fields, "connection", "upgrade") {
        return Err(RequestError::NotUpgrade);
    }
    if field(fields, "sec-websocket-version") != Some("13") {
        return Err(RequestError::Version);
    }
    if has_body(fields) {
        return Err(RequestError::Body);
    }
    field(fields, "sec-websocket-key").filter(|key| is_key(key)).ok_or(RequestError::Key)
}

/// The value of `Sec-WebSocket-Accept` for a key.
pub fn accept_value(key: &str) -> String {
    derive_accept_key(key.as_bytes())
}

/// Appends the answer 101.
pub fn write_accept(key: &str, out: &mut Vec<u8>) {
    let accept = accept_value(key);
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// An answer after which the connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: String,
}

impl Answer {
    /// One that says why not.
    pub fn refusal(status: u16, text: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{text}\n") }
    }

    /// Appends it; an answer to `HEAD` goes without its body (RFC 9110, 9.3.2).
    pub fn write(&self, with_body: bool, out: &mut Vec<u8>) {
        let status = self.status;
        let (phrase, extra) = match status {
            200 => ("OK", ""),
            400 => ("Bad Request", ""),
            401 => ("Unauthorized", ""),
            403 => ("Forbidden", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET, HEAD\r\n"),
            426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            429 => ("Too Many Requests", ""),
            431 => ("Request Header Fields Too Large", ""),
            500 => ("Internal Server Error", ""),
            503 => ("Service Unavailable", ""),
            _ => ("Refused", ""),
        };
        // A field that is specific to one connection must be named in Connection (RFC 9110, 7.8).
        let connection = if status == 426 { "close, Upgrade" } else { "close" };
        let (content_type, length) = (self.content_type, self.body.len());
        out.extend_from_slice(
            format!(
                "HTTP/1.1 {status} {phrase}\r\n{extra}Connection: {connection}\r\nContent-Type: {content_type}\r\n\
                 Content-Length: {length}\r\n\r\n"
            )
            .as_bytes(),
        );
        if with_body {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

/// The first line of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// `GET` and the like.
    pub method: &'a str,
    /// Without the query, undecoded.
    pub path: &'a str,
    /// Without its question mark, undecoded.
    pub query: &'a str,
}

/// Reads the first line of a request, whatever is wrong with the rest.
pub fn request_line(bytes: &[u8]) -> Option<RequestLine<'_>> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?.trim_end_matches('\r');
    let mut parts = line.split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !version.starts_with("HTTP/") {
        return None;
    }
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(RequestLine { method, path, query })
}

/// Appends a request and returns the key to check the answer with.
pub fn write_request(host: &str, port: u16, path: &str, out: &mut Vec<u8>) -> Box<str> {
    let key = generate_key();
    // An IPv6 address needs brackets (RFC 3986, 3.2.2).
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    out.extend_from_slice(
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: podium/{}\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )
        .as_bytes(),
    );
    key.into()
}

/// Why an answer to our request is not an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// Not HTTP/1.1, or too large.
    Malformed,
    /// Another status than 101.
    Status(u16),
    /// 101, but not for a WebSocket or not for our key.
    NotAccepted,
    /// An extension or a subprotocol that we did not ask for.
    Unrequested,
}

impl AnswerError {
    /// What to check.
    pub fn advice(self, path: &str) -> String {
        match self {
            Self::Malformed => "the other end does not answer in HTTP/1.1: check host and port".to_owned(),
            Self::Status(404) => format!("HTTP status 404: there is no \"{path}\" on that server"),
            Self::Status(503) => "HTTP status 503: the server is full or stopping, another attempt may work".to_owned(),
            Self::Status(status) => format!("HTTP status {status} instead of 101: see the server's log"),
            Self::NotAccepted => format!("\"{path}\" is not a WebSocket endpoint of that server"),
            Self::Unrequested => "the server insists on a WebSocket extension or subprotocol".to_owned(),
        }
    }
}

/// Reads the answer to a request with `key` from the front of `bytes`: the bytes it takes, `None` if it is not whole.
pub fn check_answer(bytes: &[u8], key: &str) -> Result<Option<usize>, AnswerError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let size = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(size)) if size <= UPGRADE_BYTES_MAX => size,
        Ok(httparse::Status::Partial) if bytes.len() < UPGRADE_BYTES_MAX => return Ok(None),
        _ => return Err(AnswerError::Malformed),
    };
    match answer.code {
        Some(101) => {}
        Some(status) => return Err(AnswerError::Status(status)),
        None => return Err(AnswerError::Malformed),
    }
    let accept = field(answer.headers, "sec-websocket-accept");
    if !has_token(answer.headers, "upgrade", "websocket")
        || !has_token(answer.headers, "connection", "upgrade")
        || accept != Some(derive_accept_key(key.as_bytes()).as_str())
    {
        return Err(AnswerError::NotAccepted);
    }
    if field(answer.headers, "sec-websocket-extensions").is_some()
        || field(answer.headers, "sec-websocket-protocol").is_some()
    {
        return Err(AnswerError::Unrequested);
    }
    Ok(Some(size))
}

/// The value of a field that must be there once.
fn field<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    std::str::from_utf8(value.value).ok().map(str::trim)
}

/// Whether a list, which may be spread over several fields, has a word in it.
fn has_token(fields: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name))
        .filter_map(|field| std::str::from_utf8(field.value).ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Whether anything follows the head that belongs to the request (RFC 9112, 6).
fn has_body(fields: &[httparse::Header<'_>]) -> bool {
    fields.iter().any(|field| {
        field.name.eq_ignore_ascii_case("transfer-encoding")
            || (field.name.eq_ignore_ascii_case("content-length") && field.value != b"0")
    })
}

fn is_key(key: &str) -> bool {
    let Some(digits) = key.strip_suffix("==") else { return false };
    key.len() == KEY_BYTES && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the deployed agent sends it.
    const AGENT: &str = "GET /pcp2/agent HTTP/1.1\r\nConnection: Upgrade\r\nHost: localhost:18142\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\
        User-Agent: WebSocket++/0.8.2\r\n\r\n";

    fn parse(text: &str) -> Result<Option<(Request, usize)>, RequestError> {
        parse_request(text.as_bytes())
    }

    #[test]
    fn the_agents_request_is_accepted() {
        let (request, size) = parse(AGENT).unwrap().unwrap();
        assert_eq!((&*request.path, size), ("/pcp2/agent", AGENT.len()));
        let mut answer = Vec::new();
        write_accept(&request.key, &mut answer);
        let answer = String::from_utf8(answer).unwrap();
        // The sample of RFC 6455, 1.3.
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(!answer.contains("Extensions") && !answer.contains("Protocol:"));
    }

    #[test]
    fn parts_of_a_request_wait_for_the_rest() {
        for cut in 0..AGENT.len() {
            assert_eq!(parse(&AGENT[..cut]), Ok(None));
        }
    }

    #[test]
    fn the_path_is_undecoded_and_without_query() {
        let path = |path: &str| parse(&AGENT.replace("/pcp2/agent", path)).map(|found| found.unwrap().0.path);
        assert_eq!(&*path("/pcp2/a%20b?x=/y").unwrap(), "/pcp2/a%20b");
        assert_eq!(path("pcp2"), Err(RequestError::Malformed));
    }

    #[test]
    fn tokens_are_found_in_lists_and_in_any_case() {
        let text =
            AGENT.replace("Connection: Upgrade", "connection: keep-alive, UPGRADE").replace("websocket", "WebSocket");
        assert!(parse(&text).unwrap().is_some());
    }

    #[test]
    fn every_rule_has_its_refusal() {
        let refused = |from: &str, to: &str| parse(&AGENT.replace(from, to)).unwrap_err();
        assert_eq!(refused("GET", "POST"), RequestError::Method);
        assert_eq!(refused("HTTP/1.1", "HTTP/1.0"), RequestError::NotUpgrade);
        assert_eq!(refused("HTTP/1.1", "HTTP/2.0"), RequestError::Malformed);
        assert_eq!(refused("Host: localhost:18142\r\n", ""), RequestError::Host);
        assert_eq!(refused("Upgrade: websocket\r\n", ""), RequestError::NotUpgrade);
        assert_eq!(refused("Connection: Upgrade\r\n", ""), RequestError::NotUpgrade);
        assert_eq!(refused("Version: 13", "Version: 8"), RequestError::Version);
        assert_eq!(refused("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), RequestError::Key);
        assert_eq!(refused("Host:", "Content-Length: 5\r\nHost:"), RequestError::Body);
        assert_eq!(refused("Host:", "Transfer-Encoding: chunked\r\nHost:"), RequestError::Body);
        assert!(parse(&AGENT.replace("Host:", "Content-Length: 0\r\nHost:")).is_ok());
        assert_eq!(refused("GET", "\u{1}"), RequestError::Malformed);
        assert_eq!(refused("WebSocket++", &"x".repeat(UPGRADE_BYTES_MAX)), RequestError::TooLarge);
        let endless = format!("GET /{}", "x".repeat(UPGRADE_BYTES_MAX));
        assert_eq!(parse(&endless), Err(RequestError::TooLarge));
    }

    #[test]
    fn the_first_line_is_read_whatever_follows() {
        let line = |text: &'static str| request_line(text.as_bytes()).map(|line| (line.method, line.path, line.query));
        assert_eq!(line("HEAD /status/v1?level=x&y HTTP/1.1\r\n\u{0}"), Some(("HEAD", "/status/v1", "level=x&y")));
        assert_eq!(line("GET /a#b HTTP/1.1\n"), Some(("GET", "/a", "")));
        for bad in ["GET / HTTP/1.1", "GET /\r\n", "GET / x HTTP/1.1\r\n", "GET / FTP/1\r\n", ""] {
            assert_eq!(line(bad), None, "{bad:?}");
        }
        assert_eq!(request_line(b"GET /\xff HTTP/1.1\r\n"), None);
    }

    #[test]
    fn an_answer_to_head_keeps_the_length() {
        let answer = Answer { status: 200, content_type: "text/plain", body: "running".to_owned() };
        let (mut whole, mut head) = (Vec::new(), Vec::new());
        answer.write(true, &mut whole);
        answer.write(false, &mut head);
        assert_eq!(whole, [&head[..], b"running"].concat());
        assert!(
            String::from_utf8(head)
                .unwrap()
                .ends_with("Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n")
        );
    }

    #[test]
    fn our_request_and_our_answer_agree() {
        let mut wire = Vec::new();
        let key = write_request("::1", 8142, "/pcp2/agent", &mut wire);
        assert!(String::from_utf8_lossy(&wire).contains("Host: [::1]:8142\r\n"));
        let (request, _) = parse_request(&wire).unwrap().unwrap();
        let mut answer = Vec::new();
        write_accept(&request.key, &mut answer);
        assert_eq!(check_answer(&answer[..answer.len() - 1], &key), Ok(None));
        assert_eq!(check_answer(&[&answer[..], b"\x89\x00"].concat(), &key), Ok(Some(answer.len())));
        assert_eq!(check_answer(&answer, "another"), Err(AnswerError::NotAccepted));
        let insists = String::from_utf8_lossy(&answer[..answer.len() - 4]).into_owned();
        let insists = format!("{insists}\r\nSec-WebSocket-Protocol: x\r\n\r\n");
        assert_eq!(check_answer(insists.as_bytes(), &key), Err(AnswerError::Unrequested));
        let mut refusal = Vec::new();
        Answer::refusal(503, "Connection limit exceeded.").write(true, &mut refusal);
        assert_eq!(check_answer(&refusal, &key), Err(AnswerError::Status(503)));
    }
}
