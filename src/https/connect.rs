//! The way to a server: its address, or a proxy's tunnel, and TLS (RFC 9112 over RFC 8446).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::explain::explain;
use super::{HttpError, HttpErrorKind, Place};
use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::tunnel::{self, ProxyUri};

/// How servers are reached.
pub(super) struct Way {
    pub tls: TlsConnector,
    pub proxy: Option<ProxyUri>,
    /// Whether an address may be connected to, without a proxy.
    pub is_admitted: fn(IpAddr) -> bool,
}

/// A connection for requests, one after the other.
pub(super) struct Connection {
    pub host: String,
    pub port: u16,
    pub sender: SendRequest<Full<Bytes>>,
}

/// Connects, so that a request can be sent.
pub(super) async fn connect(way: &Way, limit: Duration, place: &Place<'_>) -> Result<Connection, HttpError> {
    let host = place.host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        HttpError::new(HttpErrorKind::Request, format!("`{host}` is neither a host name nor an address"))
    })?;
    let stream = match &way.proxy {
        None => connect_tcp(host, way.is_admitted, place).await?,
        // It blocks, as everything here does in the end, and keeps to the time by itself.
        Some(proxy) => tunnel::open(proxy, host, place.port, limit)
            .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
            .and_then(TcpStream::from_std)
            .map_err(|error| HttpError::new(HttpErrorKind::Io, format!("{place} cannot be reached: {error}")))?,
    };
    let stream = way.tls.connect(name, stream).await.map_err(|error| explain(&error, place))?;
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

async fn connect_tcp(host: &str, is_admitted: fn(IpAddr) -> bool, place: &Place<'_>) -> Result<TcpStream, HttpError> {
    let unresolved = |why: &dyn fmt::Display| {
        let text = format!("the name `{host}` has no address ({why}); check its spelling and the resolver");
        HttpError::new(HttpErrorKind::Resolve, text)
    };
    let addresses = tokio::net::lookup_host((host, place.port)).await.map_err(|error| unresolved(&error))?;
    let mut last = None;
    for address in addresses {
        if !is_admitted(address.ip()) {
            let text = format!("`{host}` leads to {}, which must not be asked", address.ip());
            last = Some(HttpError::new(HttpErrorKind::Request, text));
            continue;
        }
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
