//! The API's shell: sockets, TLS, HTTP/1.1. A few threads with an event loop each share one listening socket; what may
//! block goes to each loop's own small pool. Every stage of a connection has a deadline and there is a most of them, so
//! that slow or silent peers cost little: see the `API_` limits in [`crate::limits`].

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::backend::Backend;
use super::broker_link::{self, Handover};
use super::gate::{self, Peer};
use super::problem::Problem;
use super::routes;
use super::shared::Shared;
use super::shares::{Share, Shares};
use crate::clock::{Clock, Moment};
use crate::limits::{
    API_BLOCKING_THREADS_MAX, API_CONNECTION_LIFETIME_MAX, API_CONNECTIONS_MAX, API_HEAD_BYTES_MAX, API_HEAD_TIMEOUT,
    API_IDLE_TIMEOUT, API_THREADS, HANDSHAKE_TIMEOUT,
};
use crate::observe::audit_log::AuditLog;
use crate::observe::metrics::Metrics;
use crate::observe::status::Service;
use crate::reactor::Listen;
use crate::tls::identity::peer_name;

/// How often a connection's deadlines are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for blocking work under way when a thread ends.
const BLOCKING_GRACE: Duration = Duration::from_secs(2);

/// Connections that the kernel holds ready for us.
const BACKLOG: i32 = 1024;

/// What the API needs.
pub struct Setup {
    /// Where to listen.
    pub listen: Listen,
    /// Made with [`crate::tls::material::ClientAuth::Optional`]; read anew for each connection.
    pub tls: Arc<ArcSwap<ServerConfig>>,
    /// Answers.
    pub backend: Arc<dyn Backend>,
    /// `https://host:port`, how clients reach this server; identifiers in answers begin with it.
    pub public_url: String,
    /// For the status endpoints, besides `status-service`, which is the API itself.
    pub services: Vec<Service>,
    /// Renders all metrics as OpenMetrics text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Certificate names of the brokers that may link.
    pub brokers: Vec<String>,
    /// What was asked to be changed.
    pub audit: Arc<AuditLog>,
    /// Where links of brokers are counted.
    pub counts: Arc<Metrics>,
}

/// The started API.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    grace: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds and starts the threads.
    pub fn start(setup: &Setup) -> io::Result<Self> {
        let listener = open(&setup.listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(setup));
        let (stop, stopping) = watch::channel(false);
        let grace = Arc::new(AtomicU64::new(0));
        let mut server = Self { address, shared: shared.clone(), stop, grace, threads: Vec::new() };
        let slots = Arc::new(Semaphore::new(API_CONNECTIONS_MAX));
        let shares = Arc::new(Shares::default());
        for number in 0..API_THREADS {
            let worker = Worker {
                tls: setup.tls.clone(),
                router: routes::router(shared.clone()),
                shared: shared.clone(),
                slots: slots.clone(),
                shares: shares.clone(),
                stopping: stopping.clone(),
            };
            server.threads.push(worker.start(number, listener.try_clone()?, server.grace.clone())?);
        }
        tracing::info!(
            %address,
            threads = API_THREADS,
            connections_max = API_CONNECTIONS_MAX,
            "the API listens"
        );
        Ok(server)
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes the links of brokers and the streams of events. They come back by themselves, through a handshake by the TLS
    /// configuration of now.
    pub fn close_links(&self) {
        self.shared.links.close_all();
        self.shared.streams.close_all();
    }

    /// Accepts no more, lets requests under way finish for at most `grace`, and ends.
    pub fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    fn end(&mut self, grace: Duration) {
        self.grace.store(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.stop.send_replace(true);
        self.shared.streams.close_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the API has panicked");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn open(listen: &Listen) -> io::Result<TcpListener> {
    match listen {
        Listen::Address(address) => bind(*address),
        Listen::Inherited(listener) => {
            listener.set_nonblocking(true)?;
            listener.try_clone()
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One thread.
#[derive(Clone)]
struct Worker {
    tls: Arc<ArcSwap<ServerConfig>>,
    router: Router,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
    stopping: watch::Receiver<bool>,
}

impl Worker {
    fn start(self, number: usize, listener: TcpListener, grace: Arc<AtomicU64>) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(API_BLOCKING_THREADS_MAX)
            .thread_name("api-blocking")
            .build()?;
        std::thread::Builder::new().name(format!("api-{number}")).spawn(move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => self.run(listener, &grace).await,
                    Err(error) => tracing::error!(%error, "the API's listener cannot be used"),
                }
            });
            runtime.shutdown_timeout(BLOCKING_GRACE);
        })
    }

    async fn run(self, listener: tokio::net::TcpListener, grace: &AtomicU64) {
        let mut stopping = self.stopping.clone();
        // Every connection holds a sender; once all are gone there is nothing to receive.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        while let Some(slot) = unless_stopping(&mut stopping, self.slots.clone().acquire_owned()).await {
            let Some(accepted) = unless_stopping(&mut stopping, listener.accept()).await else { break };
            match accepted {
                Ok((stream, remote)) => {
                    let Some(share) = self.shares.take(remote.into(), self.slots.available_permits()) else {
                        tracing::debug!(%remote, "too many API clients without a certificate have this address");
                        continue;
                    };
                    let (worker, alive) = (self.clone(), alive.clone());
                    tokio::spawn(async move {
                        worker.connection(stream, remote, share).await;
                        drop((slot, alive));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop((listener, alive));
        let grace = Duration::from_millis(grace.load(Ordering::Relaxed));
        // A timeout here drops what is left with the event loop, as announced.
        let _ = tokio::time::timeout(grace, all_gone.recv()).await;
    }

    async fn connection(self, stream: TcpStream, remote: SocketAddr, share: Share) {
        // A small answer must not wait for the acknowledgement of the one before; without it we are only slower.
        let _ = stream.set_nodelay(true);
        let watch = Arc::new(Watch::start());
        let config = self.tls.load_full();
        let acceptor = TlsAcceptor::from(config.clone());
        let handshake = acceptor.accept(Watched { inner: stream, watch: watch.clone() });
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "an API client failed the TLS handshake"),
            Err(_) => return tracing::debug!(%remote, "an API client did not finish the TLS handshake in time"),
        };
        let certificate = certificate_name(&stream, remote);
        // Until the end for those that nobody knows.
        let _share = certificate.is_none().then_some(share);
        let peer = Peer { remote, certificate };
        let (shared, router, tls, mut stopping) = (self.shared, self.router, self.tls, self.stopping);
        let (handover, after, answering) = (Handover::default(), stopping.clone(), shared.clone());
        let link = handover.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let (shared, router, peer) = (answering.clone(), router.clone(), peer.clone());
            request.extensions_mut().insert(handover.clone());
            // On its own: whoever hangs up in the middle does not keep it from being noted and counted.
            let answer = tokio::spawn(gate::handle(shared, router, peer, request.map(Body::new)));
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|_| Problem::failed().into_response())) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(API_HEAD_TIMEOUT)
            .max_buf_size(API_HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        let mut closing = false;
        let served = poll_fn(|context| {
            loop {
                // Before anything is read: a certificate may have been revoked since the request before.
                let outdated = watch.is_old() || !Arc::ptr_eq(&config, &tls.load());
                if !closing && (outdated || stop.as_mut().poll(context).is_ready()) {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                if let Poll::Ready(served) = connection.as_mut().poll(context) {
                    return Poll::Ready(served);
                }
                if ticks.poll_tick(context).is_pending() {
                    return Poll::Pending;
                }
                if watch.is_idle() {
                    return Poll::Ready(Ok(()));
                }
            }
        });
        if let Err(error) = served.await {
            tracing::debug!(%remote, %error, "an API connection ended early");
        }
        if let Some(admitted) = link.take() {
            // A request whose head came in pieces may have begun under certificates that are not trusted any more.
            let is_current = || Arc::ptr_eq(&config, &tls.load());
            broker_link::serve(admitted, &shared.links, &*shared.backend, after, is_current).await;
        }
    }
}

/// The name in the client's verified certificate, if it has shown one with a name.
fn certificate_name(stream: &TlsStream<Watched>, remote: SocketAddr) -> Option<Arc<str>> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    match peer_name(leaf) {
        Ok(name) => Some(Arc::from(name.common_name)),
        Err(error) => {
            tracing::warn!(%remote, error = error.label(), "an API client's certificate names nobody");
            None
        }
    }
}

/// The outcome of `work`, or `None` as soon as the server stops.
async fn unless_stopping<T>(stopping: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
    let mut work = pin!(work);
    poll_fn(|context| match stop.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(context).map(Some),
    })
    .await
}

/// When bytes last moved on a connection, and when it began.
struct Watch {
    clock: Clock,
    last: AtomicU64,
}

impl Watch {
    fn start() -> Self {
        Self { clock: Clock::start(), last: AtomicU64::new(0) }
    }

    fn touch(&self) {
        self.last.store(self.clock.now().as_millis(), Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.clock.now().since(Moment::from_millis(self.last.load(Ordering::Relaxed))) >= API_IDLE_TIMEOUT
    }

    fn is_old(&self) -> bool {
        self.clock.now().since(Moment::default()) >= API_CONNECTION_LIFETIME_MAX
    }
}

/// A socket that notes when bytes move.
struct Watched {
    inner: TcpStream,
    watch: Arc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.touch();
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        if matches!(outcome, Poll::Ready(Ok(1..))) {
            self.watch.touch();
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
