//! Requests over TLS with our certificate (HTTP/1.1, RFC 9112): task files for the agent, the API for the operator's
//! client, Puppet Server and PuppetDB for the orchestrator. Blocking; redirects are never followed; what a server sends is bounded by the caller.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderName, HeaderValue};
pub use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::limits::{HTTP_EXCERPT_BYTES_MAX, HTTP_HEAD_BYTES_MAX};
use crate::tunnel::{self, ProxyUri};

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
    tls: TlsConnector,
    proxy: Option<ProxyUri>,
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

struct Connection {
    host: String,
    port: u16,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// A client without a connection. `connect_timeout` covers name, TCP and TLS; `total_timeout` all of a request.
    pub fn new(tls: Arc<ClientConfig>, connect_timeout: Duration, total_timeout: Duration) -> Result<Self, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| HttpError::new(HttpErrorKind::Io, format!("cannot start an event loop: {error}")))?;
        let (tls, runtime) = (TlsConnector::from(tls), Some(runtime));
        Ok(Self { tls, proxy: None, connect_timeout, total_timeout, kept: None, runtime })
    }

    /// The same client, which connects through a proxy.
    pub fn through(mut self, proxy: Option<ProxyUri>) -> Self {
        self.proxy = proxy;
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
        let (way, connect_timeout, total) =
            ((&self.tls, self.proxy.as_ref()), self.connect_timeout, self.total_timeout);
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

async fn connect(
    (connector, proxy): (&TlsConnector, Option<&ProxyUri>),
    limit: Duration,
    place: &Place<'_>,
) -> Result<Connection, HttpError> {
    let host = place.host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        HttpError::new(HttpErrorKind::Request, format!("`{host}` is neither a host name nor an address"))
    })?;
    let stream = match proxy {
        None => connect_tcp(host, place).await?,
        // It blocks, as everything here does in the end, and keeps to the time by itself.
        Some(proxy) => tunnel::open(proxy, host, place.port, limit)
            .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
            .and_then(TcpStream::from_std)
            .map_err(|error| HttpError::new(HttpErrorKind::Io, format!("{place} cannot be reached: {error}")))?,
    };
    let stream = connector.connect(name, stream).await.map_err(|error| explain(&error, place))?;
    let (sender, driver) = http1::Builder::new()
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| explain(&error, place))?;
    // Its errors arrive at the request too.
    tokio::spawn(async {
        let _ = driver.await;
    });
    Ok(Connection { host: place.host.to_owned(), port: place.port, sender })
}

async fn connect_tcp(host: &str, place: &Place<'_>) -> Result<TcpStream, HttpError> {
    let unresolved = |why: &dyn fmt::Display| {
        let text = format!("the name `{host}` has no address ({why}); check its spelling and the resolver");
        HttpError::new(HttpErrorKind::Resolve, text)
    };
    let addresses = tokio::net::lookup_host((host, place.port)).await.map_err(|error| unresolved(&error))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| explain(&error, place))?;
                return Ok(stream);
            }
            Err(error) => last = Some(explain(&error, place)),
        }
    }
    Err(last.unwrap_or_else(|| unresolved(&"empty answer")))
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

/// The error for people, from whatever layer it came.
fn explain(error: &(dyn std::error::Error + 'static), place: &Place<'_>) -> HttpError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return explain_tls(tls, place);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => explain_tls(tls, place),
                None => explain_io(io, place),
            };
        }
        cause = error.source();
    }
    let text = format!("{place} gave no valid HTTP answer ({error}); check that an HTTPS server is at this port");
    HttpError::new(HttpErrorKind::Protocol, text)
}

fn explain_io(error: &io::Error, place: &Place<'_>) -> HttpError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HttpError::new(
            HttpErrorKind::Refused,
            format!("{place} refused the connection; check that the server runs and listens at this port"),
        ),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => HttpError::new(
            HttpErrorKind::Protocol,
            format!("{place} closed the connection before its answer was complete ({error}); see the server's log"),
        ),
        _ => {
            HttpError::new(HttpErrorKind::Io, format!("{place} cannot be reached ({error}); check network and routes"))
        }
    }
}

fn explain_tls(error: &rustls::Error, place: &Place<'_>) -> HttpError {
    let advice = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name; use a name it holds, or have the name added to it"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is not from a CA we trust; check the CA file, and that it has the intermediates"
            }
            CertificateError::Revoked => "the server's certificate is revoked; it needs a new one",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired, or this host's clock is ahead"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet, or this host's clock is behind"
            }
            CertificateError::UnknownRevocationStatus => {
                "no CRL says whether the server's certificate is revoked; add its CA's CRL to the CRL file"
            }
            _ => "the server's certificate cannot be used",
        },
        rustls::Error::AlertReceived(_) => {
            "the server does not accept us; check that our certificate is valid, not revoked, and from the CA it trusts"
        }
        rustls::Error::InvalidMessage(_) => "that is not TLS; check the port",
        _ => "TLS failed",
    };
    HttpError::new(HttpErrorKind::Tls, format!("{place}: {advice} ({error})"))
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
