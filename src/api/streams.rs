//! Events as they happen, as server-sent events (HTML Living Standard, 9.2): of one job until it has ended, or of all
//! jobs. The store is the queue: a reader has the number of its next event and at most two parts on their way, so a slow
//! one costs what a quick one costs, and whoever comes back with the last number gets what follows, once.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use hyper::body::Frame;
use tokio::sync::{Semaphore, mpsc, watch};

use super::gate::{Peer, authenticate};
use super::parameters::{Parameters, job_id};
use super::problem::Problem;
use super::shared::{Shared, blocking};
use crate::clock::Moment;
use crate::limits::{
    API_CONNECTION_LIFETIME_MAX, EVENTS_PART_MAX, EVENTS_POLL_INTERVAL, STREAM_HEARTBEAT, STREAM_PACE,
    STREAM_READS_MAX, STREAM_RETRY_MILLIS, STREAMS_MAX, STREAMS_PER_USER_MAX,
};
use crate::orchestrator::model::{EventType, JobEvent, JobId, Refusal, Subject};
use crate::orchestrator::rbac::permission::{Action, EVERY};
use crate::orchestrator::webhooks::event_json;

/// The streams that are open.
pub(super) struct Streams {
    /// How many each user has.
    open: Mutex<HashMap<String, usize>>,
    reads: Semaphore,
    /// Changes when all are to end.
    closing: watch::Sender<u64>,
    check_interval: Duration,
}

impl Streams {
    /// There are none. How often it is to be looked up whether a reader may still read.
    pub(super) fn new(check_interval: Duration) -> Self {
        let (reads, closing) = (Semaphore::new(STREAM_READS_MAX), watch::Sender::new(0));
        Self { open: Mutex::default(), reads, closing, check_interval }
    }

    /// Ends all of them; readers come back, if they may.
    pub(super) fn close_all(&self) {
        self.closing.send_modify(|closings| *closings += 1);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, user: &str) -> Result<(), Problem> {
        let mut open = self.open();
        let (all, own) = (open.values().sum::<usize>(), open.get(user).copied().unwrap_or(0));
        let most = match () {
            () if own >= STREAMS_PER_USER_MAX => format!("{own} streams of yours are open, and there cannot be more"),
            () if all >= STREAMS_MAX => format!("{all} streams are open, and there cannot be more"),
            () => {
                open.insert(user.to_owned(), own + 1);
                return Ok(());
            }
        };
        let text = format!("No stream is opened: {most}. Close one, or ask for events from time to time.");
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "puppetlabs.orchestrator/too-many-streams", text))
    }
}

/// A stream's place among those that are open.
struct Place {
    shared: Arc<Shared>,
    user: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shared.streams.open();
        match open.get_mut(&self.user) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(open.remove(&self.user)),
        }
    }
}

/// `GET /jobs/:id/events/stream`.
pub(super) async fn of_job(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    match job_id(&id) {
        Ok(id) => open(shared, Some(id), request).await.unwrap_or_else(Problem::into_response),
        Err(problem) => problem.into_response(),
    }
}

/// `GET /events/stream`.
pub(super) async fn of_all(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    open(shared, None, request).await.unwrap_or_else(Problem::into_response)
}

/// Where a stream begins.
struct Beginning {
    next: i64,
    /// Whether the job has ended.
    is_over: bool,
    /// Whether nothing will come.
    is_done: bool,
}

async fn open(shared: Arc<Shared>, job: Option<JobId>, request: Request) -> Result<Response<Body>, Problem> {
    let (head, _) = request.into_parts();
    let (Some(subject), Some(peer)) = (head.extensions.get::<Subject>(), head.extensions.get::<Peer>()) else {
        return Err(Problem::no_token());
    };
    let asked = asked(&head.headers, &head.uri)?;
    shared.streams.take(&subject.id)?;
    let place = Place { shared: shared.clone(), user: subject.id.clone() };
    let (bell, closing) = (shared.backend.listen(), shared.streams.closing.subscribe());
    let Beginning { next, is_over, is_done } = blocking(&shared, move |shared| begin(shared, job, asked)).await??;
    if is_done {
        // The one answer after which readers do not come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (to, parts) = mpsc::channel(1);
    let now = shared.clock.now();
    let reader = Reader { peer: peer.clone(), headers: head.headers, uri: head.uri, user: place.user.clone() };
    let stream =
        Stream { shared, job, next, is_over, reader, to, bell, closing, opened: now, checked: now, sent: now, place };
    tokio::spawn(stream.run());
    let mut response = Response::new(Body::new(Parts(parts)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of the nginx kind would keep events until a buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The number of the first event that is asked for: whoever comes back says which was its last, with the address of the
/// first time.
fn asked(headers: &HeaderMap, uri: &Uri) -> Result<Option<i64>, Problem> {
    let Some(last) = headers.get("last-event-id") else {
        let parameters = Parameters::of(uri)?;
        return parameters.text("start").map(|_| parameters.start()).transpose();
    };
    let number = last.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok()).filter(|last| *last < i64::MAX);
    let text = "Invalid value for the header Last-Event-ID: it must be the integer id of an event.";
    number.map(|last| Some(last + 1)).ok_or_else(|| Problem::invalid(text))
}

/// A job's events are shown from its first one on, those of all jobs from now on, unless a number is asked for.
fn begin(shared: &Shared, job: Option<JobId>, asked: Option<i64>) -> Result<Beginning, Refusal> {
    let Some(job) = job else {
        // A number of which nobody can have heard is from before a restore of the database.
        let newest = shared.backend.last_event()? + 1;
        let next = asked.map_or(newest, |asked| asked.min(newest));
        return Ok(Beginning { next, is_over: false, is_done: false });
    };
    let next = asked.unwrap_or(0);
    let is_over = shared.backend.job(job)?.state.is_final();
    let is_done = is_over && shared.backend.events_from(Some(job), next, 1)?.is_empty();
    Ok(Beginning { next, is_over, is_done })
}

/// Who reads, to be looked up again.
struct Reader {
    peer: Peer,
    headers: HeaderMap,
    uri: Uri,
    user: String,
}

/// A stream that is open.
struct Stream {
    shared: Arc<Shared>,
    job: Option<JobId>,
    next: i64,
    is_over: bool,
    reader: Reader,
    to: mpsc::Sender<Bytes>,
    bell: watch::Receiver<u64>,
    closing: watch::Receiver<u64>,
    opened: Moment,
    checked: Moment,
    sent: Moment,
    place: Place,
}

/// Why a stream ends: it is told to nobody, since the reader asks again.
enum End {
    /// All is told.
    Over,
    /// The reader has gone, or may not read any more, or all streams end.
    Left,
}

impl Stream {
    async fn run(mut self) {
        // The number makes whoever is cut off before the first event come back to the same place.
        let beginning = format!("retry: {STREAM_RETRY_MILLIS}\nid: {}\n\n", self.next.saturating_sub(1));
        if self.send(beginning.into()).await.is_err() {
            return;
        }
        while self.step().await.is_ok() {}
        drop(self.place);
    }

    async fn step(&mut self) -> Result<(), End> {
        self.check().await?;
        self.bell.borrow_and_update();
        let part = self.read().await?;
        let Some(last) = part.last().map(|last| last.event.id) else {
            return if self.is_over { Err(End::Over) } else { self.wait().await };
        };
        let is_end = self.job.is_some() && part.iter().any(|found| ends(found.event.kind));
        self.send(text(&part)).await?;
        self.next = last + 1;
        if is_end { Err(End::Over) } else { Ok(()) }
    }

    async fn read(&self) -> Result<Vec<JobEvent>, End> {
        let (job, next) = (self.job, self.next);
        let _turn = self.shared.streams.reads.acquire().await.map_err(|_| End::Left)?;
        let read = blocking(&self.shared, move |shared| shared.backend.events_from(job, next, EVENTS_PART_MAX)).await;
        read.map_err(|_| End::Left)?.map_err(|refusal| {
            tracing::warn!(%refusal, "a stream ends because its events cannot be read");
            End::Left
        })
    }

    /// Waits until there is room; a reader that takes nothing is looked after all the same.
    async fn send(&mut self, part: Bytes) -> Result<(), End> {
        let to = self.to.clone();
        loop {
            match tokio::time::timeout(EVENTS_POLL_INTERVAL, to.reserve()).await {
                Ok(Ok(room)) => {
                    room.send(part);
                    self.sent = self.shared.clock.now();
                    return Ok(());
                }
                Ok(Err(_)) => return Err(End::Left),
                Err(_) => self.check().await?,
            }
        }
    }

    /// Until there may be more.
    async fn wait(&mut self) -> Result<(), End> {
        tokio::time::sleep(STREAM_PACE).await;
        let rest = EVENTS_POLL_INTERVAL.saturating_sub(STREAM_PACE);
        let _ = tokio::time::timeout(rest, self.bell.changed()).await;
        if self.since(self.sent) >= STREAM_HEARTBEAT {
            self.send(Bytes::from_static(b":\n\n")).await?;
        }
        Ok(())
    }

    fn since(&self, moment: Moment) -> Duration {
        self.shared.clock.now().since(moment)
    }

    /// Whether the stream may go on.
    async fn check(&mut self) -> Result<(), End> {
        let is_closing = self.closing.has_changed().unwrap_or(true);
        if is_closing || self.to.is_closed() || self.since(self.opened) >= API_CONNECTION_LIFETIME_MAX {
            return Err(End::Left);
        }
        if self.since(self.checked) < self.shared.streams.check_interval {
            return Ok(());
        }
        self.checked = self.shared.clock.now();
        let Reader { peer, headers, uri, user } = &self.reader;
        let subject = authenticate(&self.shared, peer, headers, uri).await.map_err(|_| End::Left)?;
        if subject.id != *user {
            return Err(End::Left);
        }
        let job = self.job;
        let state = blocking(&self.shared, move |shared| {
            shared.backend.rbac().permit(&subject, Action::OrchestratorView, EVERY)?;
            job.map(|job| shared.backend.job(job)).transpose()
        });
        let job = state.await.map_err(|_| End::Left)?.map_err(|_| End::Left)?;
        self.is_over = self.is_over || job.is_some_and(|job| job.state.is_final());
        Ok(())
    }
}

/// Whether it is the last event of its job.
fn ends(kind: EventType) -> bool {
    matches!(kind, EventType::JobFinished | EventType::JobAborted)
}

fn text(part: &[JobEvent]) -> Bytes {
    let event = |shown: &JobEvent| {
        let JobEvent { event, .. } = shown;
        format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind.word(), event_json(shown))
    };
    part.iter().map(event).collect::<String>().into()
}

/// What is on its way out.
struct Parts(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }
}
