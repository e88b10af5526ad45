//! Whether a service is there, for the status page: what the last request or look found, looked at again on a thread of its
//! own once that is old. Nobody waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::service::Identity;
use crate::clock::{Clock, Moment};
use crate::config::settings::ServiceSettings;
use crate::https::{Client, HttpError, Method, Request, StatusCode};
use crate::limits::{SERVICE_CHECK_BYTES_MAX, SERVICE_CHECK_INTERVAL, SERVICE_CHECK_TIMEOUT};

/// Trapperkeeper's status service, which needs no rule: `running` with status 200 if all is well.
const STATUS: &str = "/status/v1/simple";

/// What is known of a service.
pub struct Reachability {
    name: &'static str,
    settings: ServiceSettings,
    identity: Identity,
    clock: Clock,
    known: Mutex<Known>,
}

struct Known {
    state: State,
    at: Moment,
    look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Up,
    Down,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    None,
    UnderWay,
}

impl Reachability {
    /// Looks for the first time.
    pub fn start(name: &'static str, settings: ServiceSettings, identity: Identity) -> Arc<Self> {
        let clock = Clock::start();
        let known = Mutex::new(Known { state: State::Unknown, at: clock.now(), look: Look::None });
        let reachability = Arc::new(Self { name, settings, identity, clock, known });
        reachability.look();
        reachability
    }

    /// Whether the service was there when it was last asked for anything; not known is no. Looks again if that is long ago.
    pub fn is_up(self: &Arc<Self>) -> bool {
        let (state, age) = {
            let known = self.known();
            (known.state, self.clock.now().since(known.at))
        };
        if age >= SERVICE_CHECK_INTERVAL {
            self.look();
        }
        state == State::Up
    }

    /// What a request has found; a change is for the log.
    pub fn note(&self, found: Result<(), &str>) {
        let state = if found.is_ok() { State::Up } else { State::Down };
        let before = {
            let mut known = self.known();
            known.at = self.clock.now();
            std::mem::replace(&mut known.state, state)
        };
        match found {
            _ if before == state => {}
            Ok(()) => tracing::info!(service = self.name, "answers"),
            Err(message) => tracing::warn!(service = self.name, "does not answer: {message}"),
        }
    }

    /// Looks on a thread of its own, unless somebody does already.
    fn look(self: &Arc<Self>) {
        if std::mem::replace(&mut self.known().look, Look::UnderWay) == Look::UnderWay {
            return;
        }
        let this = self.clone();
        let look = move || {
            let found = this.ask();
            this.known().look = Look::None;
            match found {
                Ok(StatusCode::OK) => this.note(Ok(())),
                Ok(status) => this.note(Err(&format!("its status page has the status {}", status.as_u16()))),
                Err(error) => this.note(Err(&error.message)),
            }
        };
        if std::thread::Builder::new().name("service-check".to_owned()).spawn(look).is_err() {
            self.known().look = Look::None;
        }
    }

    fn ask(&self) -> Result<StatusCode, HttpError> {
        let ServiceSettings { host, port, connect_timeout, request_timeout } = &self.settings;
        let limit = |timeout| SERVICE_CHECK_TIMEOUT.min(timeout);
        let mut client = Client::new(self.identity.tls.load_full(), limit(*connect_timeout), limit(*request_timeout))?;
        let (method, headers, body) = (Method::GET, &[][..], Vec::new());
        let request = Request { method, host, port: *port, path_and_query: STATUS, headers, body };
        client.request(&request, SERVICE_CHECK_BYTES_MAX).map(|response| response.status)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
