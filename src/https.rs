//! Requests over TLS with our certificate (HTTP/1.1, RFC 9112): task files for the agent, the API for the operator's
//! client, Puppet Server and PuppetDB for the orchestrator. Blocking; redirects are never followed; what a server sends is bounded by the caller.

mod connect;
mod explain;

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, HeaderValue};
pub use hyper::{Method, StatusCode};
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;

use crate::limits::HTTP_EXCERPT_BYTES_MAX;
use crate::tunnel::ProxyUri;
use connect::{Connection, Way, connect};
use explain::explain;

/// One request. The body is sent with its length.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `GET`, `POST` and so on.
    pub method: Method,
    /// Name or address; also what the server's certificate must be valid for.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Sent as it is; must be a valid request target, that is percent-encoded where needed.
    pub path_and_query: &'a str,
    /// Headers besides `Host` and `Content-Length`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Empty for none.
    pub body: Vec<u8>,
}

/// A whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// Of the answer.
    pub status: StatusCode,
    /// The whole body.
    pub body: Vec<u8>,
}

/// What became of a [`Client::download`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downloaded {
    /// Status 200: the body is in the sink.
    Complete {
        /// Length of the body.
        bytes: u64,
    },
    /// Any other status, redirects included: nothing was written to the sink.
    Refused {
        /// Of the answer.
        status: StatusCode,
        /// The beginning of the body, at most [`HTTP_EXCERPT_BYTES_MAX`] bytes.
        excerpt: String,
    },
}

/// The cause of an [`HttpError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// The host's name has no address.
    Resolve,
    /// Nobody listens at the port.
    Refused,
    /// The time for connecting or for the whole request is over.
    Timeout,
    /// One of the two certificates was not accepted, or TLS failed otherwise.
    Tls,
    /// The request cannot be sent as it is: bad host, path or header.
    Request,
    /// The server broke HTTP, or left in the middle of an answer.
    Protocol,
    /// The answer is larger than the caller's limit.
    TooLarge,
    /// The network, or our end of it.
    Io,
    /// The caller's sink failed.
    Sink,
}

impl HttpErrorKind {
    /// The word for logs and counters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Request => "request",
            Self::Protocol => "protocol",
            Self::TooLarge => "too-large",
            Self::Io => "io",
            Self::Sink => "sink",
        }
    }
}

/// Why there is no answer. The text says what happened and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// The cause.
    pub kind: HttpErrorKind,
    /// What happened and what to check.
    pub message: String,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HttpError {}

impl HttpError {
    fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// A client that keeps its last connection for the next request to the same server. Blocks the calling thread, which
/// must not be one of an asynchronous runtime.
pub struct Client {
    way: Way,
    connect_timeout: Duration,
    total_timeout: Duration,
    kept: Option<Connection>,
    /// `None` only while it is being dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

/// Whether a request may reach the server a second time, when nobody knows what became of the first.
#[derive(Clone, Copy)]
enum Repeat {
    Harmless,
    Never,
}

impl Client {
    /// A client without a connection. `connect_timeout` covers name, TCP and TLS; `total_timeout` all of a request.
    pub fn new(tls: Arc<ClientConfig>, connect_timeout: Duration, total_timeout: Duration) -> Result<Self, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| HttpError::new(HttpErrorKind::Io, format!("cannot start an event loop: {error}")))?;
        let way = Way { tls: TlsConnector::from(tls), proxy: None, is_admitted: |_| true };
        Ok(Self { way, connect_timeout, total_timeout, kept: None, runtime: Some(runtime) })
    }

    /// The same client, which connects to admitted addresses only, whatever names say. A proxy is asked by itself.
    pub fn reaching(mut self, is_admitted: fn(IpAddr) -> bool) -> Self {
        self.way.is_admitted = is_admitted;
        self
    }

    /// The same client, which connects through a proxy.
    pub fn through(mut self, proxy: Option<ProxyUri>) -> Self {
        self.way.proxy = proxy;
        self
    }

    /// Sends a request and reads the whole answer, whose body may have at most `body_max` bytes.
    pub fn request(&mut self, request: &Request<'_>, body_max: usize) -> Result<Response, HttpError> {
        let repeat = if request.method == Method::GET { Repeat::Harmless } else { Repeat::Never };
        self.whole(request, body_max, repeat)
    }

    /// The same for a request that changes nothing at the server whatever its method is, such as a query in a `POST`:
    /// if the kept connection turns out to be gone, it is sent again over a new one.
    pub fn ask(&mut self, request: &Request<'_>, body_max: usize) -> Result<Response, HttpError> {
        self.whole(request, body_max, Repeat::Harmless)
    }

    fn whole(&mut self, request: &Request<'_>, body_max: usize, repeat: Repeat) -> Result<Response, HttpError> {
        self.run(request, repeat, async |answer, place: &Place<'_>| {
            let (head, mut body) = answer.into_parts();
            let mut bytes = Vec::new();
            while let Some(chunk) = next_chunk(&mut body, place).await? {
                if bytes.len() + chunk.len() > body_max {
                    return Err(place.too_large(body_max as u64));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Response { status: head.status, body: bytes })
        })
    }

    /// Gets a file of at most `max` bytes into `sink`.
    pub fn download(
        &mut self,
        host: &str,
        port: u16,
        path_and_query: &str,
        sink: &mut impl Write,
        max: u64,
    ) -> Result<Downloaded, HttpError> {
        let headers = &[("accept", "*/*")];
        let request = Request { method: Method::GET, host, port, path_and_query, headers, body: Vec::new() };
        self.run(&request, Repeat::Harmless, async |answer, place: &Place<'_>| {
            let status = answer.status();
            let mut body = answer.into_body();
            if status != StatusCode::OK {
                return Ok(Downloaded::Refused { status, excerpt: excerpt(&mut body, place).await? });
            }
            let mut bytes = 0;
            while let Some(chunk) = next_chunk(&mut body, place).await? {
                bytes += chunk.len() as u64;
                if bytes > max {
                    return Err(place.too_large(max));
                }
                sink.write_all(&chunk).map_err(|error| {
                    HttpError::new(HttpErrorKind::Sink, format!("the content of {place} cannot be written: {error}"))
                })?;
            }
            Ok(Downloaded::Complete { bytes })
        })
    }

    /// Sends, hands the answer to `consume`, and keeps the connection if all went well and the server keeps it too.
    fn run<T>(
        &mut self,
        request: &Request<'_>,
        repeat: Repeat,
        consume: impl AsyncFnOnce(hyper::Response<Incoming>, &Place<'_>) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let place = Place { host: request.host, port: request.port, path_and_query: request.path_and_query };
        let kept = self.kept.take().filter(|kept| kept.host == request.host && kept.port == request.port);
        let message = build(request, &place)?;
        let (way, connect_timeout, total) = (&self.way, self.connect_timeout, self.total_timeout);
        let runtime = self.runtime.as_ref().expect("present until dropped");
        let outcome = runtime.block_on(within(total, &place, async {
            let connect = || within(connect_timeout, &place, connect(way, connect_timeout, &place));
            let (connection, answer) = exchange(kept, message, repeat, connect, &place).await?;
            let result = consume(answer, &place).await?;
            Ok((connection, result))
        }));
        let (connection, result) = outcome?;
        self.kept = Some(connection);
        Ok(result)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A plain drop would wait for a name lookup that outlived its timeout.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where a request goes; names it in errors.
struct Place<'a> {
    host: &'a str,
    port: u16,
    path_and_query: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold what is not for logs.
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        write!(f, "https://{}:{}{path}", self.host, self.port)
    }
}

impl Place<'_> {
    fn too_large(&self, max: u64) -> HttpError {
        HttpError::new(HttpErrorKind::TooLarge, format!("the answer of {self} is larger than the limit of {max} bytes"))
    }
}

async fn within<T>(
    limit: Duration,
    place: &Place<'_>,
    work: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let seconds = limit.as_secs_f64();
        let text =
            format!("{place} did not finish within {seconds} s; check the host, its load, and firewalls between");
        Err(HttpError::new(HttpErrorKind::Timeout, text))
    })
}

fn build(request: &Request<'_>, place: &Place<'_>) -> Result<hyper::Request<Full<Bytes>>, HttpError> {
    let unusable = |what: &str| HttpError::new(HttpErrorKind::Request, format!("{place}: {what}"));
    if !request.path_and_query.starts_with('/') {
        return Err(unusable("the path must begin with a slash"));
    }
    let mut message = hyper::Request::builder()
        .method(request.method.clone())
        .uri(request.path_and_query)
        .body(Full::new(Bytes::from(request.body.clone())))
        .map_err(|_| unusable("the path is not valid in a URL; percent-encode it"))?;
    let host = match (request.host.contains(':') && !request.host.starts_with('['), request.port) {
        (true, port) => format!("[{}]:{port}", request.host),
        (false, 443) => request.host.to_owned(),
        (false, port) => format!("{}:{port}", request.host),
    };
    let host = HeaderValue::try_from(host).map_err(|_| unusable("the host name has characters it may not have"))?;
    message.headers_mut().insert(HOST, host);
    for (name, value) in request.headers {
        let name = HeaderName::try_from(*name).map_err(|_| unusable("a header's name is not valid"))?;
        let value = HeaderValue::try_from(*value).map_err(|_| unusable("a header's value is not valid"))?;
        message.headers_mut().append(name, value);
    }
    Ok(message)
}

/// Sends over the kept connection, or over a new one if there is none or it turns out to be gone.
async fn exchange<F: Future<Output = Result<Connection, HttpError>>>(
    kept: Option<Connection>,
    mut message: hyper::Request<Full<Bytes>>,
    repeat: Repeat,
    connect: impl Fn() -> F,
    place: &Place<'_>,
) -> Result<(Connection, hyper::Response<Incoming>), HttpError> {
    if let Some(mut connection) = kept {
        let spare = match repeat {
            Repeat::Harmless => Some(message.clone()),
            Repeat::Never => None,
        };
        // Nothing watched the connection since the last request: let the event loop see whether the server closed it.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        match connection.sender.try_send_request(message).await {
            Ok(answer) => return Ok((connection, answer)),
            Err(mut error) => match error.take_message().or(spare) {
                Some(unsent) => message = unsent,
                None => return Err(explain(&error.into_error(), place)),
            },
        }
    }
    let mut connection = connect().await?;
    let answer = connection.sender.send_request(message).await.map_err(|error| explain(&error, place))?;
    Ok((connection, answer))
}

async fn next_chunk(body: &mut Incoming, place: &Place<'_>) -> Result<Option<Bytes>, HttpError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| explain(&error, place))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn excerpt(body: &mut Incoming, place: &Place<'_>) -> Result<String, HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(body, place).await? {
        let room = HTTP_EXCERPT_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() == HTTP_EXCERPT_BYTES_MAX {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
