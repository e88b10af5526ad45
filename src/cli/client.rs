//! Requests of the operator's commands to the API: JSON in, JSON out, every other outcome a [`Failure`]. A question whose
//! answer was cut off, as when a server takes a new certificate into use, is asked once more; a command never.

use std::io::{self, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde_json::Value;

use super::client_settings::{ClientSettings, ConnectionFlags, Endpoint, Surroundings};
use super::output::{Failure, Output, PrintFlags, note};
use crate::durable;
use crate::https::{Client as Https, HttpErrorKind, Method, Request, Response};
use crate::limits::{CLIENT_ANSWER_BYTES_MAX, CLIENT_CONNECT_TIMEOUT, CLIENT_REQUEST_TIMEOUT};
use crate::tls::material::anonymous_client_config;

/// A client that has a token.
pub struct Client {
    connection: Connection,
    token: String,
    /// From flags, environment and files.
    pub settings: ClientSettings,
}

/// A client without a token: logs in.
pub struct Connection {
    https: Https,
    endpoint: Endpoint,
}

impl Client {
    /// From flags and whatever surrounds the process. An operator without a token is asked to log in.
    pub fn from_flags(flags: &ConnectionFlags) -> Result<Self, Failure> {
        let settings = ClientSettings::resolve(flags, &Surroundings::of_process())?;
        if !settings.token_file.exists() && io::stdin().is_terminal() && io::stderr().is_terminal() {
            note(&format!("There is no token in {}.", settings.token_file.display()));
            super::log_in(flags);
        }
        Self::new(settings)
    }

    /// With these settings; reads the token.
    pub fn new(settings: ClientSettings) -> Result<Self, Failure> {
        let token = read_token(&settings.token_file)?;
        let connection = Connection::new(&settings.ca, settings.orchestrator.clone())?;
        Ok(Self { connection, token, settings })
    }

    /// Gets something below `/orchestrator/v1`. `path` must be percent-encoded.
    pub fn get(&mut self, path: &str) -> Result<Value, Failure> {
        self.connection.send(Method::GET, &format!("/orchestrator/v1/{path}"), Some(&self.token), Vec::new())
    }

    /// Posts to something below `/orchestrator/v1`.
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = body.to_string().into_bytes();
        self.connection.send(Method::POST, &format!("/orchestrator/v1/{path}"), Some(&self.token), body)
    }

    /// Changes something below `/orchestrator/v1`.
    pub fn put(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::PUT, &format!("/orchestrator/v1/{path}"), Some(body))
    }

    /// Sends any request to any path of the server.
    pub fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.connection.send(method, path, Some(&self.token), body)
    }
}

/// A client, and where to print what it learns, from the flags of a command.
pub(super) fn open(connection: &ConnectionFlags, print: &PrintFlags) -> Result<(Client, Output), Failure> {
    let client = Client::from_flags(connection)?;
    let mut output = Output::stdout();
    output.choose_colour(print.color, client.settings.color);
    Ok((client, output))
}

impl Connection {
    /// To a server whose certificate comes from one of these CAs.
    pub fn new(ca: &Path, endpoint: Endpoint) -> Result<Self, Failure> {
        let tls = anonymous_client_config(ca).map_err(|error| {
            Failure::Usage(format!("{error}; name the file with the server's CA with --ca-cert or PODIUM_CA_CERT"))
        })?;
        let https = Https::new(tls, CLIENT_CONNECT_TIMEOUT, CLIENT_REQUEST_TIMEOUT).map_err(Failure::Unreachable)?;
        Ok(Self { https, endpoint })
    }

    /// Posts without a token.
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, None, body.to_string().into_bytes())
    }

    /// Sends any request, and reads the answer, which may be empty.
    pub(super) fn send(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Value, Failure> {
        let response = self.exchange(method, path, token, body)?;
        understand(&response)
    }

    /// Sends any request; the answer as it is.
    pub(super) fn exchange(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        let path = format!("{}{path}", self.endpoint.path);
        let mut headers = vec![("Accept", "application/json"), ("Content-Type", "application/json")];
        headers.extend(token.map(|token| ("X-Authentication", token)));
        let (host, port) = (self.endpoint.host.as_str(), self.endpoint.port);
        let request = Request { method, host, port, path_and_query: &path, headers: &headers, body };
        let mut response = self.https.request(&request, CLIENT_ANSWER_BYTES_MAX);
        if request.method == Method::GET && response.as_ref().is_err_and(|error| error.kind == HttpErrorKind::Protocol)
        {
            response = self.https.request(&request, CLIENT_ANSWER_BYTES_MAX);
        }
        response.map_err(Failure::Unreachable)
    }
}

/// The JSON of an answer, or why it was refused.
pub(super) fn understand(response: &Response) -> Result<Value, Failure> {
    let status = response.status.as_u16();
    if response.status.is_success() && response.body.is_empty() {
        return Ok(Value::Null);
    }
    let body: Result<Value, _> = serde_json::from_slice(&response.body);
    match body {
        Ok(body) if response.status.is_success() => Ok(body),
        Ok(body) => {
            let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
            let message = text("msg").unwrap_or_else(|| body.to_string());
            Err(Failure::Refused { status, kind: text("kind").unwrap_or_else(|| "no kind".to_owned()), message })
        }
        Err(_) => {
            let message = "the answer is not JSON; check that the service URL is that of an orchestrator".to_owned();
            Err(Failure::Refused { status, kind: "not an orchestrator".to_owned(), message })
        }
    }
}

/// Reads the token; white space around it is dropped.
pub fn read_token(path: &Path) -> Result<String, Failure> {
    let fail =
        |what: &str| Failure::NotLoggedIn(format!("{}: {what}; get a token with: podium access login", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fail(&format!("no token can be read: {error}")))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(fail("the file is empty"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
        return Err(fail("what it holds is not a token: it has characters that no token has"));
    }
    Ok(token.to_owned())
}

/// Writes the token, readable by its owner only; a reader sees the old one or the new one.
pub fn write_token(path: &Path, token: &str) -> Result<(), Failure> {
    let fail =
        |error: std::io::Error| Failure::Usage(format!("{}: the token cannot be saved: {error}", path.display()));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    durable::replace_through(&temporary, path, token.as_bytes(), 0o600).map_err(fail)
}

/// Whether trying again later may help: the server is away or about to be.
pub fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::Refused { status, .. } => matches!(status, 502..=504),
        Failure::Usage(_) | Failure::NotLoggedIn(_) | Failure::Other(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_are_kept_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/token");
        write_token(&path, "0AbC").unwrap();
        write_token(&path, "0AbD").unwrap();
        assert_eq!(read_token(&path).unwrap(), "0AbD");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        for bad in ["", " \n", "two words", "a\u{e4}"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(read_token(&path), Err(Failure::NotLoggedIn(_))), "{bad:?}");
        }
        std::fs::write(&path, " 0AbC\n").unwrap();
        assert_eq!(read_token(&path).unwrap(), "0AbC");
    }
}
