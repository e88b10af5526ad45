//! A service that is asked over HTTPS with this server's certificate (Puppet Server, PuppetDB): connections that are used
//! again, limits on what is under way and what waits, and failures told apart, so that nothing waits for ever and nobody
//! has to guess.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use super::reachability::Reachability;
use crate::clock::Stopwatch;
use crate::config::settings::ServiceSettings;
use crate::https::{Client, HttpError, HttpErrorKind, Method, Request, Response};
use crate::limits::{SERVICE_REQUESTS_MAX, SERVICE_WAITING_MAX, SERVICE_WORDS_MAX};

/// Who asks: this server.
#[derive(Clone)]
pub struct Identity {
    /// The name in its certificate, for advice on what the service must allow.
    pub name: String,
    /// Its certificate and whom it trusts; taken anew for every connection.
    pub tls: Arc<ArcSwap<ClientConfig>>,
}

/// What became of a question that was not answered as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection: name, TCP, TLS, or time.
    Unreachable,
    /// The service does not let this server ask.
    Forbidden,
    /// What answers is not such a service, or not one that is understood.
    Unusable,
    /// The answer is larger than its limit.
    TooLarge,
    /// The service is there and failed.
    Failed,
    /// Too many requests of this server wait for the service.
    Busy,
}

impl Cause {
    /// The word in `details.cause`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::Unusable => "unusable-answer",
            Self::TooLarge => "too-large",
            Self::Failed => "failed",
            Self::Busy => "busy",
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of which kind.
    pub cause: Cause,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of any kind.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A service, and what is under way to it.
pub struct Service {
    /// `Puppet Server`.
    name: &'static str,
    settings: ServiceSettings,
    identity: Identity,
    lanes: Mutex<Lanes>,
    freed: Condvar,
    reachability: Arc<Reachability>,
}

#[derive(Default)]
struct Lanes {
    /// Clients of which nobody needs anything now, the latest last.
    idle: Vec<Lane>,
    under_way: usize,
    waiting: usize,
    /// How often the service was found to be out of reach, and why the last time.
    unreachable: (u64, Option<Failure>),
}

/// A client with the certificates that it was made with.
struct Lane {
    client: Client,
    tls: Arc<ClientConfig>,
}

impl Service {
    /// A service that has not been asked yet.
    pub fn new(name: &'static str, settings: ServiceSettings, identity: Identity) -> Self {
        let reachability = Reachability::start(name, settings.clone(), identity.clone());
        Self { name, settings, identity, lanes: Mutex::default(), freed: Condvar::new(), reachability }
    }

    /// `Puppet Server`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name by which the service knows this server.
    pub fn own_name(&self) -> &str {
        &self.identity.name
    }

    /// `https://host:port` of a path, for messages.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.settings.host, self.settings.port)
    }

    /// Whether the service answered when it was last looked at; does not block.
    pub fn is_up(&self) -> bool {
        self.reachability.is_up()
    }

    /// Gets what is at a path.
    pub fn get(&self, path_and_query: &str, bytes_max: usize) -> Result<Response, Failure> {
        self.ask(Method::GET, path_and_query, Vec::new(), bytes_max)
    }

    /// Asks with a JSON body; the question must change nothing.
    pub fn post(&self, path: &str, body: Vec<u8>, bytes_max: usize) -> Result<Response, Failure> {
        self.ask(Method::POST, path, body, bytes_max)
    }

    fn ask(&self, method: Method, path: &str, body: Vec<u8>, bytes_max: usize) -> Result<Response, Failure> {
        let headers: &[_] = match method {
            Method::POST => &[("accept", "application/json"), ("content-type", "application/json")],
            _ => &[("accept", "application/json")],
        };
        let ServiceSettings { host, port, .. } = &self.settings;
        let request = Request { method, host, port: *port, path_and_query: path, headers, body };
        let response = self.with_client(|client| client.ask(&request, bytes_max))?;
        if !response.status.is_server_error() {
            self.reachability.note(Ok(()));
        }
        Ok(response)
    }

    /// Waits for a turn and asks.
    fn with_client<T>(&self, ask: impl FnOnce(&mut Client) -> Result<T, HttpError>) -> Result<T, Failure> {
        let mut turn = self.turn()?;
        let answer = match turn.lane() {
            Ok(lane) => ask(&mut lane.client),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                turn.well = true;
                Ok(answer)
            }
            Err(error) => {
                let failure = self.explain(error);
                if failure.cause == Cause::Unreachable {
                    self.reachability.note(Err(&failure.message));
                    let mut lanes = self.lanes();
                    lanes.unreachable = (lanes.unreachable.0 + 1, Some(failure.clone()));
                }
                Err(failure)
            }
        }
    }

    /// Waits until fewer than [`SERVICE_REQUESTS_MAX`] requests are under way. Whoever waits behind requests that find
    /// the service out of reach learns that with them, and does not wait for the same in turn.
    fn turn(&self) -> Result<Turn<'_>, Failure> {
        let mut lanes = self.lanes();
        if lanes.under_way >= SERVICE_REQUESTS_MAX {
            if lanes.waiting >= SERVICE_WAITING_MAX {
                return Err(self.busy("others wait before this one"));
            }
            let (since, patience) = (Stopwatch::start(), self.settings.request_timeout);
            let failures = lanes.unreachable.0;
            lanes.waiting += 1;
            let verdict = loop {
                if let (count, Some(failure)) = &lanes.unreachable
                    && *count > failures
                {
                    break Err(failure.clone());
                }
                if lanes.under_way < SERVICE_REQUESTS_MAX {
                    break Ok(());
                }
                let Some(left) = patience.checked_sub(since.elapsed()) else {
                    break Err(self.busy(&format!("none of them has ended within {} s", patience.as_secs_f64())));
                };
                let woken = self.freed.wait_timeout(lanes, left);
                lanes = woken.unwrap_or_else(PoisonError::into_inner).0;
            };
            lanes.waiting -= 1;
            verdict?;
        }
        lanes.under_way += 1;
        let lane = lanes.idle.pop();
        drop(lanes);
        Ok(Turn { service: self, lane, well: false })
    }

    fn busy(&self, why: &str) -> Failure {
        let message = format!(
            "{} at {} has {SERVICE_REQUESTS_MAX} requests of this server under way, and {why}; try again, and see to its \
             load if that happens often",
            self.name,
            self.url("")
        );
        Failure::new(Cause::Busy, message)
    }

    fn explain(&self, error: HttpError) -> Failure {
        let cause = match error.kind {
            HttpErrorKind::TooLarge => Cause::TooLarge,
            HttpErrorKind::Protocol | HttpErrorKind::Request => Cause::Unusable,
            HttpErrorKind::Sink => Cause::Failed,
            HttpErrorKind::Resolve
            | HttpErrorKind::Refused
            | HttpErrorKind::Timeout
            | HttpErrorKind::Tls
            | HttpErrorKind::Io => Cause::Unreachable,
        };
        Failure::new(cause, format!("{}: {error}", self.name))
    }

    /// An answer that such a service would not give here.
    pub fn unusable(&self, path: &str, why: impl fmt::Display) -> Failure {
        let path = path.split('?').next().unwrap_or_default();
        let message = format!("{}: the answer of {} cannot be used: {why}", self.name, self.url(path));
        Failure::new(Cause::Unusable, message)
    }

    /// The failure behind a status that nothing better is known of.
    pub fn refused(&self, path: &str, response: &Response) -> Failure {
        let status = response.status;
        if status.is_redirection() {
            return self
                .unusable(path, format!("it leads elsewhere (status {}); check host and port", status.as_u16()));
        }
        let short = path.split('?').next().unwrap_or_default();
        let said = words(&response.body);
        let message = format!("{} answered {} with status {}: {said}", self.name, self.url(short), status.as_u16());
        Failure::new(if status.is_server_error() { Cause::Failed } else { Cause::Unusable }, message)
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the requests that may be under way.
struct Turn<'a> {
    service: &'a Service,
    lane: Option<Lane>,
    /// Whether the client goes back for the next request.
    well: bool,
}

impl Turn<'_> {
    /// The client that was left, if it has the certificates of now.
    fn lane(&mut self) -> Result<&mut Lane, HttpError> {
        let Service { identity, settings, .. } = self.service;
        let tls = identity.tls.load_full();
        let lane = match self.lane.take().filter(|lane| Arc::ptr_eq(&lane.tls, &tls)) {
            Some(lane) => lane,
            None => {
                let client = Client::new(tls.clone(), settings.connect_timeout, settings.request_timeout)?;
                Lane { client, tls }
            }
        };
        Ok(self.lane.insert(lane))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lanes = self.service.lanes();
        lanes.under_way -= 1;
        lanes.idle.extend(self.lane.take().filter(|_| self.well));
        drop(lanes);
        // All of them: each may have a reason to give up.
        self.service.freed.notify_all();
    }
}

/// What a service said, for a message: printable, of bounded length, and no page for a browser.
pub fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SERVICE_WORDS_MAX)]);
    let text = text.trim();
    if text.is_empty() {
        return "(no text)".to_owned();
    }
    if text.starts_with('<') {
        return "(a page of HTML)".to_owned();
    }
    let printable = text.chars().filter(|c| *c == '\n' || !c.is_control());
    printable.take(SERVICE_WORDS_MAX).collect()
}

#[cfg(test)]
#[path = "service/tests.rs"]
mod tests;
