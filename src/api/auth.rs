//! `/rbac-api/v1`: passwords against tokens, and who a token belongs to. Guessing is made slow: few passwords are
//! checked at once, a refusal is answered late, and an address with many refusals is not listened to for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;
use tokio::sync::Semaphore;

use super::command::{object, take, take_string};
use super::gate::Peer;
use super::problem::{Problem, respond_json};
use super::render;
use super::shared::{Shared, blocking};
use crate::clock::Moment;
use crate::limits::{
    API_LOGIN_BODY_BYTES_MAX, LOGIN_ADDRESSES_MAX, LOGIN_FAILURE_DELAY, LOGIN_FAILURE_WINDOW, LOGIN_FAILURES_MAX,
    LOGIN_WAIT_MAX, LOGINS_IN_FLIGHT_MAX,
};
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::AuthError;

/// Characters of a token's label.
const LABEL_CHARS_MAX: usize = 200;

/// `POST /rbac-api/v1/auth/token`.
pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    match log_in(&shared, peer.remote.ip(), request).await {
        Ok(token) => respond_json(StatusCode::OK, &json!({"token": token})),
        Err(problem) => {
            let retry = problem.status() == StatusCode::TOO_MANY_REQUESTS;
            let mut response = problem.into_response();
            if retry {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(LOGIN_FAILURE_WINDOW.as_secs()));
            }
            response
        }
    }
}

/// `GET /rbac-api/v1/users/current`.
pub(super) async fn current_user(Extension(subject): Extension<Subject>) -> Response<Body> {
    respond_json(StatusCode::OK, &render::subject(&subject))
}

async fn log_in(shared: &Arc<Shared>, address: IpAddr, request: Request) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    let body = shared.read_body(&head.headers, body, API_LOGIN_BODY_BYTES_MAX).await?;
    let credentials = Credentials::parse(&body)?;
    shared.logins.admit(address, shared.clock.now())?;
    let turn = tokio::time::timeout(LOGIN_WAIT_MAX, shared.logins.turns.acquire()).await;
    // Others from the same address may have been refused meanwhile: a burst must not get more guesses than a row.
    shared.logins.admit(address, shared.clock.now())?;
    let outcome = match &turn {
        Ok(_turn) => blocking(shared, move |shared| credentials.check(shared)).await?,
        Err(_) => {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "puppetlabs.rbac/server-error",
                "The server is busy with other logins. Try again later.",
            ));
        }
    };
    let error = match outcome {
        Ok(token) => {
            shared.logins.succeeded(address);
            return Ok(token);
        }
        Err(error) => error,
    };
    if matches!(error, AuthError::WrongCredentials | AuthError::UserRevoked) {
        // Counted before the turn is given on, so that whoever has it next sees it.
        shared.logins.failed(address, shared.clock.now());
        drop(turn);
        // Without the name: people type passwords there. The rate is limited by what is above.
        tracing::warn!(%address, "a login was refused");
        tokio::time::sleep(LOGIN_FAILURE_DELAY).await;
    }
    Err(error.into())
}

/// A login's body. Not `Debug`: the password must not reach a log.
struct Credentials {
    login: String,
    password: String,
    lifetime: Option<Duration>,
    label: Option<String>,
}

impl Credentials {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut object = object(body).map_err(|problem| malformed(problem.message()))?;
        let lifetime = match take(&mut object, "lifetime") {
            None => None,
            Some(value) => Some(parse_lifetime(value.as_str().unwrap_or(&value.to_string())).ok_or_else(|| {
                schema("lifetime must be a number followed by y, d, h, m or s, such as 4h; 0 is the longest possible")
            })?),
        };
        let mut string = |key| take_string(&mut object, key).map_err(|problem| schema(problem.message()));
        let login = string("login")?.ok_or_else(|| schema("The required key login is missing"))?;
        let password = string("password")?.ok_or_else(|| schema("The required key password is missing"))?;
        let label = string("label")?.map(|label| parse_label(&label)).transpose()?;
        Ok(Self { login, password, lifetime, label })
    }

    fn check(&self, shared: &Shared) -> Result<String, AuthError> {
        shared.backend.login(&self.login, &self.password, self.lifetime, self.label.as_deref())
    }
}

fn parse_label(label: &str) -> Result<String, Problem> {
    let label = label.trim();
    let length = label.chars().count();
    if length == 0 || length > LABEL_CHARS_MAX || label.contains(',') {
        return Err(schema("label must have 1 to 200 characters and no comma"));
    }
    Ok(label.to_owned())
}

/// `4h`; a plain number is seconds.
fn parse_lifetime(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds: u64 = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "y" => 31_536_000,
        _ => return None,
    };
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse::<u64>().ok()?.checked_mul(seconds)).flatten().map(Duration::from_secs)
}

fn malformed(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "puppetlabs.rbac/malformed-request", message.to_owned())
}

fn schema(message: &str) -> Problem {
    let message = format!("{}.", message.trim_end_matches('.'));
    Problem::new(StatusCode::BAD_REQUEST, "puppetlabs.rbac/schema-violation", message)
}

/// Logins under way and the addresses whose logins were refused lately.
pub(super) struct Logins {
    turns: Semaphore,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Moment,
}

impl Failures {
    fn is_over(self, now: Moment) -> bool {
        now.since(self.last) >= LOGIN_FAILURE_WINDOW
    }
}

impl Logins {
    /// Nobody has tried yet.
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(LOGINS_IN_FLIGHT_MAX), failures: Mutex::new(HashMap::new()) }
    }

    fn admit(&self, address: IpAddr, now: Moment) -> Result<(), Problem> {
        if !self.is_shut_out(address, now) {
            return Ok(());
        }
        let seconds = LOGIN_FAILURE_WINDOW.as_secs();
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "puppetlabs.rbac/too-many-attempts",
            format!("Too many logins from your address were refused. Try again in {seconds} s."),
        ))
    }

    fn is_shut_out(&self, address: IpAddr, now: Moment) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.get(&origin(address));
        known.is_some_and(|known| known.count >= LOGIN_FAILURES_MAX && !known.is_over(now))
    }

    /// Notes a refused login.
    pub(super) fn failed(&self, address: IpAddr, now: Moment) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let address = origin(address);
        if failures.len() >= LOGIN_ADDRESSES_MAX && !failures.contains_key(&address) {
            make_room(&mut failures, now);
        }
        let known = failures.entry(address).or_insert(Failures { count: 0, last: now });
        if known.is_over(now) {
            known.count = 0;
        }
        known.count = known.count.saturating_add(1);
        known.last = now;
    }

    fn succeeded(&self, address: IpAddr) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&origin(address));
    }
}

fn make_room(failures: &mut HashMap<IpAddr, Failures>, now: Moment) {
    failures.retain(|_, known| !known.is_over(now));
    if failures.len() >= LOGIN_ADDRESSES_MAX {
        let oldest = failures.iter().min_by_key(|(_, known)| known.last).map(|(address, _)| *address);
        oldest.and_then(|address| failures.remove(&address));
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(parse_lifetime("4h"), Some(Duration::from_secs(14_400)));
        assert_eq!(parse_lifetime("0"), Some(Duration::ZERO));
        assert_eq!(parse_lifetime("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_lifetime("10y"), Some(Duration::from_secs(315_360_000)));
        for bad in ["", "h", "4 h", "4w", "-1", "4hh", "99999999999999999999y", "1.5h", "٤h"] {
            assert_eq!(parse_lifetime(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_shut_out_for_a_while() {
        let logins = Logins::new();
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        let now = Moment::from_millis(1_000_000);
        for _ in 0..LOGIN_FAILURES_MAX {
            assert!(!logins.is_shut_out(address, now));
            logins.failed(address, now);
        }
        assert!(logins.is_shut_out(neighbour, now));
        assert!(!logins.is_shut_out("192.0.2.1".parse().unwrap(), now));
        assert!(!logins.is_shut_out(address, now + LOGIN_FAILURE_WINDOW));
        logins.succeeded(address);
        assert!(!logins.is_shut_out(address, now));
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let logins = Logins::new();
        for number in 0..u32::try_from(LOGIN_ADDRESSES_MAX).unwrap() + 10 {
            logins.failed(IpAddr::V4(number.into()), Moment::from_millis(u64::from(number)));
        }
        let failures = logins.failures.lock().unwrap();
        assert_eq!(failures.len(), LOGIN_ADDRESSES_MAX);
        assert!(!failures.contains_key(&IpAddr::V4(0.into())));
    }
}
