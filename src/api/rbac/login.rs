//! `POST /rbac-api/v1/auth/token`: passwords against tokens. Guessing is made slow: few passwords are checked at once, a
//! refusal is answered late, and an address with many refusals is not listened to for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::{object, required, schema, string};
use crate::api::audit;
use crate::api::command::take;
use crate::api::gate::Peer;
use crate::api::problem::{Problem, respond_json};
use crate::api::shared::{Shared, blocking};
use crate::clock::Moment;
use crate::limits::{
    ACCESS_TEXT_CHARS_MAX, API_LOGIN_BODY_BYTES_MAX, LOGIN_ADDRESSES_MAX, LOGIN_FAILURE_DELAY, LOGIN_FAILURE_WINDOW,
    LOGIN_FAILURES_MAX, LOGIN_WAIT_MAX, LOGINS_IN_FLIGHT_MAX,
};
use crate::orchestrator::rbac::{AuthError, LoginRefused, TokenRequest};

/// `POST /rbac-api/v1/auth/token`.
pub(in crate::api) async fn token(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    match log_in(&shared, peer.remote.ip(), request).await {
        Ok((login, token)) => audit::with(respond_json(StatusCode::OK, &json!({"token": token})), "login", login),
        Err(refused) => refused.into_response(),
    }
}

/// A login, or whatever else can be guessed, that is not answered as asked.
pub(super) struct Refused {
    problem: Problem,
    /// What the audit log gets to know; nothing of what was not even looked at.
    noted: Option<LoginRefused>,
}

impl Refused {
    /// The same, in other words if it was a wrong guess.
    pub(super) fn said_as(self, status: StatusCode, kind: &'static str, message: &'static str) -> Self {
        match self.noted {
            Some(LoginRefused { error: AuthError::WrongCredentials, .. }) => {
                Self { problem: Problem::new(status, kind, message), ..self }
            }
            _ => self,
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, noted: None }
    }
}

impl From<LoginRefused> for Refused {
    fn from(refused: LoginRefused) -> Self {
        Self { problem: refused.error.clone().into(), noted: Some(refused) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let Self { problem, noted } = self;
        let retry = problem.status() == StatusCode::TOO_MANY_REQUESTS;
        let mut response = problem.into_response();
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(LOGIN_FAILURE_WINDOW.as_secs()));
        }
        match noted {
            None => response,
            Some(LoginRefused { error: AuthError::Locked, login }) => {
                audit::with(audit::with(response, "login", login), "locked", true)
            }
            Some(LoginRefused { login, .. }) => audit::with(response, "login", login),
        }
    }
}

/// The login and the token.
async fn log_in(shared: &Arc<Shared>, address: IpAddr, request: Request) -> Result<(String, String), Refused> {
    let (head, body) = request.into_parts();
    let body = shared.read_body(&head.headers, body, API_LOGIN_BODY_BYTES_MAX).await?;
    let credentials = Credentials::parse(&body)?;
    let login = credentials.login.clone();
    let token = slowly(shared, address, move |shared| credentials.check(shared)).await?;
    shared.logins.succeeded(address);
    Ok((login, token))
}

/// Checks a password, or whatever else can be guessed, in its turn, and counts what was wrong.
pub(super) async fn slowly<T: Send + 'static>(
    shared: &Arc<Shared>,
    address: IpAddr,
    check: impl FnOnce(&Shared) -> Result<T, LoginRefused> + Send + 'static,
) -> Result<T, Refused> {
    shared.logins.admit(address, shared.clock.now())?;
    let turn = tokio::time::timeout(LOGIN_WAIT_MAX, shared.logins.turns.acquire()).await;
    // Others from the same address may have been refused meanwhile: a burst must not get more guesses than a row.
    shared.logins.admit(address, shared.clock.now())?;
    if turn.is_err() {
        return Err(Refused::from(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "puppetlabs.rbac/server-error",
            "The server is busy with other logins. Try again later.",
        )));
    }
    let refused = match blocking(shared, check).await? {
        Ok(outcome) => return Ok(outcome),
        Err(refused) => refused,
    };
    if matches!(refused.error, AuthError::WrongCredentials | AuthError::Locked | AuthError::UserRevoked) {
        // Counted before the turn is given on, so that whoever has it next sees it.
        shared.logins.failed(address, shared.clock.now());
        drop(turn);
        // Without the name: people type passwords there. The rate is limited by what is above.
        tracing::warn!(%address, "a login was refused");
        tokio::time::sleep(LOGIN_FAILURE_DELAY).await;
    }
    Err(refused.into())
}

/// A login's body. Not `Debug`: the password must not reach a log.
struct Credentials {
    login: String,
    password: String,
    wanted: TokenRequest,
}

impl Credentials {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut object = object(body)?;
        let wanted = token_request(&mut object)?;
        let login = required(&mut object, "login")?;
        let password = required(&mut object, "password")?;
        Ok(Self { login, password, wanted })
    }

    fn check(&self, shared: &Shared) -> Result<String, LoginRefused> {
        shared.backend.rbac().login(&self.login, &self.password, &self.wanted)
    }
}

/// What a token is to be like.
pub(super) fn token_request(object: &mut Map<String, Value>) -> Result<TokenRequest, Problem> {
    let lifetime = duration(object, "lifetime", "0 is the longest possible")?;
    let timeout = duration(object, "timeout", "0 is none")?.filter(|timeout| !timeout.is_zero());
    let label = string(object, "label")?.map(|label| parse_label(&label)).transpose()?;
    let mut text = |key: &str| {
        let text = string(object, key)?.unwrap_or_default();
        if text.chars().count() > ACCESS_TEXT_CHARS_MAX {
            return Err(schema(&format!("{key} must have at most {ACCESS_TEXT_CHARS_MAX} characters")));
        }
        Ok(text)
    };
    Ok(TokenRequest { lifetime, label, description: text("description")?, client: text("client")?, timeout })
}

fn duration(object: &mut Map<String, Value>, key: &str, zero: &str) -> Result<Option<Duration>, Problem> {
    let Some(value) = take(object, key) else { return Ok(None) };
    let parsed = parse_lifetime(value.as_str().unwrap_or(&value.to_string()));
    let rule = format!("{key} must be a number followed by y, d, h, m or s, such as 4h; {zero}");
    parsed.map(Some).ok_or_else(|| schema(&rule))
}

fn parse_label(label: &str) -> Result<String, Problem> {
    let label = label.trim();
    let length = label.chars().count();
    if length == 0 || length > ACCESS_TEXT_CHARS_MAX || label.contains(',') {
        return Err(schema(&format!("label must have 1 to {ACCESS_TEXT_CHARS_MAX} characters and no comma")));
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

/// Logins under way and the addresses whose logins were refused lately.
pub(in crate::api) struct Logins {
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
    pub(in crate::api) fn new() -> Self {
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
    pub(in crate::api) fn failed(&self, address: IpAddr, now: Moment) {
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
