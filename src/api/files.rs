//! `GET /puppet/v3/file_content/<mount path>`: task files for agents, with the answers of Puppet Server. The gate has
//! seen a verified certificate before anything here runs. Files are sent in chunks, never held whole.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use hyper::body::{Frame, SizeHint};
use serde_json::json;
use tokio::task::JoinHandle;

use super::parameters::Parameters;
use super::problem::{Problem, respond_json, respond_text};
use super::shared::{Shared, blocking};
use crate::limits::API_FILE_CHUNK_BYTES;
use crate::orchestrator::CodeFile;
use crate::orchestrator::model::RefusalKind;
use crate::percent;

/// What stands before the mount's name.
pub(super) const PREFIX: &str = "/puppet/v3/file_content/";

/// Puppet Server's content type of its texts.
const TEXT: &str = "text/plain;charset=utf-8";

/// `GET /puppet/v3/file_content/<mount path>`.
pub(super) async fn content(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    let environment = match Parameters::of(&uri) {
        Ok(parameters) => parameters.text("environment").map(str::to_owned),
        Err(problem) => return problem.into_response(),
    };
    let Some(environment) = environment else {
        let text = "A file_content request must include an `environment` or `versioned_project` query parameter.";
        return respond_text(StatusCode::BAD_REQUEST, TEXT, text.to_owned());
    };
    // Decoded here and once: a second decoding, here or in the source, would let %252e%252e pass as a name.
    let encoded = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let Some(path) = percent::decode(encoded) else { return invalid_path(encoded) };
    if path.contains('\0') || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return invalid_path(&path);
    }
    let (asked, within) = (path.clone(), environment.clone());
    match blocking(&shared, move |shared| shared.backend.code_file(&within, &asked)).await {
        Ok(Ok(Some(file))) => respond_file(file),
        Ok(Ok(None)) => not_found(&format!("Could not find file_content {path}"), "RESOURCE_NOT_FOUND"),
        Ok(Err(refusal)) => match refusal.kind {
            RefusalKind::UnknownEnvironment => {
                not_found(&format!("Could not find environment '{environment}'"), "RUNTIME_ERROR")
            }
            RefusalKind::ValidationError => invalid_path(&path),
            // The agent shows the beginning of the answer.
            RefusalKind::PuppetserverError => not_found(&refusal.message, "RESOURCE_NOT_FOUND"),
            _ => Problem::from(refusal).into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// A request without a verified certificate.
pub(super) fn forbidden(method: &str, path: &str) -> Response<Body> {
    let method = method.to_ascii_lowercase();
    let text = format!("Forbidden request: {path} (method :{method}). Please see the server logs for details.");
    respond_text(StatusCode::FORBIDDEN, TEXT, text)
}

fn invalid_path(path: &str) -> Response<Body> {
    respond_text(StatusCode::BAD_REQUEST, TEXT, format!("Invalid relative path (.. or .) in: {path}"))
}

fn not_found(what: &str, issue: &str) -> Response<Body> {
    respond_json(StatusCode::NOT_FOUND, &json!({"message": format!("Not Found: {what}"), "issue_kind": issue}))
}

fn respond_file(file: CodeFile) -> Response<Body> {
    let mut response = Response::new(Body::new(FileBody { remaining: file.length, step: Step::Idle(file.file) }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.length));
    response
}

/// A file on its way out. A chunk is read on a blocking thread once the previous one has left.
struct FileBody {
    remaining: u64,
    step: Step,
}

enum Step {
    Idle(File),
    Reading(JoinHandle<(File, io::Result<Bytes>)>),
    Over,
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut reading = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Over => return Poll::Ready(None),
            Step::Idle(_) if self.remaining == 0 => return Poll::Ready(None),
            Step::Idle(file) => {
                let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(API_FILE_CHUNK_BYTES);
                tokio::task::spawn_blocking(move || read_chunk(file, length))
            }
            Step::Reading(reading) => reading,
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(context) else {
            self.step = Step::Reading(reading);
            return Poll::Pending;
        };
        let (file, chunk) = read.map_err(io::Error::other)?;
        let chunk = chunk?;
        self.remaining -= chunk.len() as u64;
        self.step = Step::Idle(file);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// A file that has become shorter meanwhile is an error, which breaks the connection: the agent must not take a part
/// for the whole.
fn read_chunk(mut file: File, length: usize) -> (File, io::Result<Bytes>) {
    let mut chunk = vec![0; length];
    let outcome = file.read_exact(&mut chunk).map(|()| Bytes::from(chunk));
    (file, outcome)
}
