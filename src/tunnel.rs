//! Connections through an HTTP proxy (RFC 9110, CONNECT): blocking, each step within the caller's time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::limits::PROXY_ANSWER_BYTES_MAX;

/// `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyUri {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for ProxyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "http://[{host}]:{port}") } else { write!(f, "http://{host}:{port}") }
    }
}

/// A connection to `host` and `port` through the proxy, within `limit`. The error names the proxy.
pub fn open(proxy: &ProxyUri, host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + limit;
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("the proxy {proxy}: {error}"));
    let mut stream = connect(proxy, end).map_err(failed)?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.set_write_timeout(Some(left(end)?))?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let status = answer(&mut stream, end).map_err(failed)?;
    if !(200..300).contains(&status) {
        let text = format!("it refuses a connection to {authority} with HTTP status {status}; see its rules");
        return Err(failed(io::Error::new(io::ErrorKind::ConnectionRefused, text)));
    }
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(stream)
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
}

fn connect(proxy: &ProxyUri, end: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("its name has no address");
    for address in (proxy.host.as_str(), proxy.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(end)?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads the proxy's answer and not a byte more: what follows belongs to the server behind it. That server waits for us
/// to speak first, so reading single bytes costs little.
fn answer(stream: &mut TcpStream, end: Instant) -> io::Result<u16> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == PROXY_ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("its answer has more than {PROXY_ANSWER_BYTES_MAX} bytes")));
        }
        stream.set_read_timeout(Some(left(end)?))?;
        if stream.read(&mut byte)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    status.ok_or_else(|| io::Error::other("its answer is not HTTP; check that it is an HTTP proxy"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// What a proxy was asked, and what came of its answer.
    fn exchange(answer: &'static str) -> (String, io::Result<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = ProxyUri { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let asked = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        });
        let read = open(&proxy, "broker.example", 8142, LIMIT).and_then(|mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        });
        (asked.join().unwrap(), read)
    }

    #[test]
    fn what_follows_the_answer_is_left_to_the_caller() {
        let (asked, read) = exchange("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello");
        assert_eq!(asked, "CONNECT broker.example:8142 HTTP/1.1\r\nHost: broker.example:8142\r\n\r\n");
        assert_eq!(read.unwrap(), "hello");
    }

    #[test]
    fn refusals_name_the_proxy() {
        for (answer, expected) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "it refuses a connection to broker.example:8142 with HTTP status 403"),
            ("SSH-2.0-x\r\n\r\n", "its answer is not HTTP"),
            ("HTTP/1.1 200", "the proxy http://127.0.0.1:"),
        ] {
            let error = exchange(answer).1.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("the proxy"), "{error}");
        }
    }
}
