//! WebSocket on the socket of a link (RFC 6455, sections 5 to 8): our own [`Session`] reads, a writer sends what the
//! orchestrator has to say, answers pings and pings itself. A full inbox stops the reading, so that the broker has to wait
//! and no agent's answer is lost.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Interval, interval_at, sleep, timeout};

use crate::backlog::{Queue, Rejected};
use crate::limits::{
    BROKER_LINK_PING_INTERVAL, BROKER_LINK_RETRY, BROKER_LINK_SILENCE_MAX, BROKER_LINKS_PARTIAL_BYTES_MAX,
    CLOSE_TIMEOUT, MESSAGE_BYTES_MAX, READ_CHUNK_BYTES,
};
use crate::link::Opcode;
use crate::observe::metrics::Metrics;
use crate::websocket::frame::{HEADER_BYTES_MAX, Header, Kind, Role};
use crate::websocket::session::{ControlPayload, Item, Session, close_payload};
use crate::websocket::violation::{Violation, code};

/// What pcp-broker's own pings carry.
const PING_PAYLOAD: [u8; 1] = [0];

/// The last word of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

/// What others want the writer of a link to say.
#[derive(Default)]
pub(super) struct Control {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

#[derive(Default)]
struct Wanted {
    /// Only the latest ping must be answered (RFC 6455, 5.5.3).
    pong: Option<ControlPayload>,
    close: Option<Farewell>,
}

impl Control {
    /// Closes the link; the first who asks says why.
    pub(super) fn close(&self, farewell: Farewell) {
        self.wanted().close.get_or_insert(farewell);
        self.changed.notify_one();
    }

    fn pong(&self, payload: ControlPayload) {
        self.wanted().pong = Some(payload);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Next> {
        let mut wanted = self.wanted();
        wanted.close.map(Next::Close).or_else(|| wanted.pong.take().map(Next::Pong))
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of incomplete messages over all links.
#[derive(Default)]
pub(super) struct Partial(AtomicUsize);

/// One link's share of them.
struct Share<'a> {
    all: &'a Partial,
    mine: usize,
}

impl Share<'_> {
    fn room(&self) -> usize {
        BROKER_LINKS_PARTIAL_BYTES_MAX.saturating_sub(self.all.0.load(Ordering::Relaxed))
    }

    fn set(&mut self, bytes: usize) {
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
        self.all.0.fetch_sub(self.mine, Ordering::Relaxed);
        self.mine = bytes;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Why a link has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The broker has closed it.
    Peer(u16, Box<str>),
    /// We have closed it.
    Ours(Farewell),
    /// The socket is gone, without a close frame.
    Lost(io::ErrorKind),
    /// Nothing came, or nothing was taken, for [`BROKER_LINK_SILENCE_MAX`].
    Silent,
    /// The broker has broken the rules.
    Violation(Violation),
    /// A message that is not text.
    Binary,
}

impl Ending {
    /// The word for logs and metric labels.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Peer(..) => "peer",
            Self::Ours(_) => "ours",
            Self::Lost(_) => "lost",
            Self::Silent => "silent",
            Self::Violation(violation) => violation.label(),
            Self::Binary => "binary",
        }
    }

    /// What there is to be said about it.
    fn farewell(&self) -> Farewell {
        let (code, reason) = match self {
            Self::Peer(code, _) => (*code, ""),
            Self::Ours(farewell) => return *farewell,
            Self::Lost(_) => (code::GOING_AWAY, ""),
            Self::Silent => (code::GOING_AWAY, "nothing came for three ping intervals"),
            Self::Violation(violation) => (violation.close_code(), violation.label()),
            Self::Binary => (code::UNSUPPORTED, "only PCP v2, which is text, is spoken here"),
        };
        Farewell { code, reason }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(code, reason) => write!(f, "the broker closed with {code} {}", reason.escape_debug()),
            Self::Lost(kind) => write!(f, "the connection is gone: {kind}"),
            _ => {
                let Farewell { code, reason } = self.farewell();
                write!(f, "closed with {code} {reason}")
            }
        }
    }
}

/// A link and what is at its ends.
pub(super) struct Conversation<'a> {
    /// To the orchestrator.
    pub(super) inbox: Queue,
    /// From the orchestrator.
    pub(super) outbox: mpsc::Receiver<Bytes>,
    pub(super) control: &'a Control,
    pub(super) metrics: &'a Metrics,
    pub(super) partial: &'a Partial,
}

impl Conversation<'_> {
    /// Goes on until either end has had enough. What the broker has sent before it closes is read to the end, unless it
    /// breaks the rules.
    pub(super) async fn hold(self, stream: impl AsyncRead + AsyncWrite) -> Ending {
        let Self { inbox, outbox, control, metrics, partial } = self;
        let (mut reader, writer) = tokio::io::split(stream);
        let ending = {
            let listener = Listener { inbox, control, metrics, share: Share { all: partial, mine: 0 } };
            let mut listening = pin!(listener.listen(&mut reader));
            let mut speaking = pin!(Speaker { writer: BufWriter::new(writer), outbox, control, metrics }.speak());
            match either(listening.as_mut(), speaking.as_mut()).await {
                Either::Left(ending) => {
                    control.close(ending.farewell());
                    let _ = timeout(CLOSE_TIMEOUT, speaking).await;
                    ending
                }
                Either::Right(Ok(farewell)) => {
                    let _ = timeout(CLOSE_TIMEOUT, listening).await;
                    return Ending::Ours(farewell);
                }
                Either::Right(Err(io::ErrorKind::TimedOut)) => return Ending::Silent,
                Either::Right(Err(kind)) => return Ending::Lost(kind),
            }
        };
        // A socket that is closed with something unread takes the last word back.
        let mut rest = [0; 1024];
        let discard = async { while matches!(reader.read(&mut rest).await, Ok(1..)) {} };
        if !matches!(ending, Ending::Peer(..) | Ending::Lost(_)) {
            let _ = timeout(CLOSE_TIMEOUT, discard).await;
        }
        ending
    }
}

/// The receiving side.
struct Listener<'a> {
    inbox: Queue,
    control: &'a Control,
    metrics: &'a Metrics,
    share: Share<'a>,
}

impl Listener<'_> {
    async fn listen<S: AsyncRead>(mut self, reader: &mut ReadHalf<S>) -> Ending {
        let mut session = Session::new(Role::Server, MESSAGE_BYTES_MAX);
        let mut buffer = vec![0; READ_CHUNK_BYTES];
        loop {
            let count = match timeout(BROKER_LINK_SILENCE_MAX, reader.read(&mut buffer)).await {
                Err(_) => return Ending::Silent,
                Ok(Err(error)) => return Ending::Lost(error.kind()),
                Ok(Ok(0)) => return Ending::Lost(io::ErrorKind::UnexpectedEof),
                Ok(Ok(count)) => count,
            };
            if let Err(ending) = self.take(&mut session, &mut buffer[..count]).await {
                return ending;
            }
        }
    }

    async fn take(&mut self, session: &mut Session, input: &mut [u8]) -> Result<(), Ending> {
        let mut at = 0;
        while at < input.len() {
            let (taken, item) = session.next(&mut input[at..], self.share.room()).map_err(Ending::Violation)?;
            at += taken;
            let message = match item {
                Item::Nothing | Item::Fragment | Item::Pong => None,
                Item::Message(Opcode::Text, payload) => Some(Bytes::copy_from_slice(payload)),
                Item::Assembled(Opcode::Text, payload) => Some(payload.into()),
                Item::Message(Opcode::Binary, _) | Item::Assembled(Opcode::Binary, _) => return Err(Ending::Binary),
                Item::Ping(payload) => {
                    self.control.pong(payload);
                    None
                }
                Item::Close(code, reason) => return Err(Ending::Peer(code, reason)),
            };
            self.share.set(session.held_bytes());
            if let Some(message) = message {
                self.hand_over(message).await?;
            }
        }
        Ok(())
    }

    /// Waits for room: meanwhile nothing is read.
    async fn hand_over(&self, mut message: Bytes) -> Result<(), Ending> {
        loop {
            message = match self.inbox.offer(message) {
                Ok(()) => {
                    self.metrics.broker_link_messages_in.inc();
                    return Ok(());
                }
                Err(Rejected::Full(message)) => message,
                Err(Rejected::Gone(_)) => return Err(Ending::Ours(ORCHESTRATOR_GONE)),
            };
            sleep(BROKER_LINK_RETRY).await;
        }
    }
}

const ORCHESTRATOR_GONE: Farewell = Farewell { code: code::GOING_AWAY, reason: "the orchestrator has stopped" };

/// What the writer does next.
enum Next {
    Nothing,
    Close(Farewell),
    Pong(ControlPayload),
    Ping,
    Message(Bytes),
}

/// The sending side.
struct Speaker<'a, S> {
    writer: BufWriter<WriteHalf<S>>,
    outbox: mpsc::Receiver<Bytes>,
    control: &'a Control,
    metrics: &'a Metrics,
}

impl<S: AsyncWrite> Speaker<'_, S> {
    /// Returns with the last word once it is written.
    async fn speak(mut self) -> Result<Farewell, io::ErrorKind> {
        self.until_closed().await.map_err(|error| error.kind())
    }

    async fn until_closed(&mut self) -> io::Result<Farewell> {
        let mut pings = interval_at(Instant::now() + BROKER_LINK_PING_INTERVAL, BROKER_LINK_PING_INTERVAL);
        loop {
            match self.next(&mut pings).await {
                Next::Nothing => {}
                Next::Close(farewell) => {
                    self.frame(Kind::Close, &close_payload(farewell.code, farewell.reason)).await?;
                    in_time(self.writer.flush()).await?;
                    in_time(self.writer.shutdown()).await?;
                    return Ok(farewell);
                }
                Next::Pong(payload) => self.frame(Kind::Pong, payload.as_slice()).await?,
                Next::Ping => self.frame(Kind::Ping, &PING_PAYLOAD).await?,
                Next::Message(message) => {
                    self.frame(Kind::Text, &message).await?;
                    self.metrics.broker_link_messages_out.inc();
                }
            }
            if self.outbox.is_empty() {
                in_time(self.writer.flush()).await?;
            }
        }
    }

    async fn next(&mut self, pings: &mut Interval) -> Next {
        if let Some(next) = self.control.take() {
            return next;
        }
        let mut changed = pin!(self.control.changed.notified());
        let mut message = pin!(self.outbox.recv());
        let mut tick = pin!(pings.tick());
        poll_fn(|context| {
            if changed.as_mut().poll(context).is_ready() {
                return Poll::Ready(self.control.take().unwrap_or(Next::Nothing));
            }
            match message.as_mut().poll(context) {
                Poll::Ready(Some(message)) => return Poll::Ready(Next::Message(message)),
                Poll::Ready(None) => return Poll::Ready(Next::Close(ORCHESTRATOR_GONE)),
                Poll::Pending => {}
            }
            tick.as_mut().poll(context).map(|_| Next::Ping)
        })
        .await
    }

    async fn frame(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut header = Vec::with_capacity(HEADER_BYTES_MAX);
        Header { is_final: true, kind, mask: None, length: payload.len() as u64 }.write(&mut header);
        in_time(self.writer.write_all(&header)).await?;
        // In pieces: a large message may take long, but a piece of it may not.
        for piece in payload.chunks(READ_CHUNK_BYTES) {
            in_time(self.writer.write_all(piece)).await?;
        }
        Ok(())
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    const LIMIT: Duration = BROKER_LINK_SILENCE_MAX;
    timeout(LIMIT, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Whichever is first.
async fn either<A: Future + Unpin, B: Future + Unpin>(mut left: A, mut right: B) -> Either<A::Output, B::Output> {
    poll_fn(|context| match std::pin::Pin::new(&mut left).poll(context) {
        Poll::Ready(left) => Poll::Ready(Either::Left(left)),
        Poll::Pending => std::pin::Pin::new(&mut right).poll(context).map(Either::Right),
    })
    .await
}
