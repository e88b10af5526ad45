//! The mio shell: workers, accept and admission, connections, timers, buffers. It holds thousands of PCP connections,
//! accepted and dialled, and runs one [`Application`] per worker thread on them. LIFECYCLE.md, beside this file, walks
//! a connection through its states.

mod accept;
mod admission;
mod buffers;
mod connection;
mod core;
mod dial;
mod end;
mod handshakes;
mod http;
mod journal;
mod listen;
mod mailbox;
mod pressure;
mod pulse;
mod read;
mod refusal;
mod sampling;
mod shell;
#[cfg(test)]
mod tests;
pub mod timer;
mod turns;
mod worker;
mod write;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use crate::clock::Clock;
use crate::limits;
use crate::link::Application;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::observe::pages::Pages;
pub use crate::reactor::admission::Source;
pub use crate::reactor::dial::Outfitter;
use crate::reactor::handshakes::Pool;
pub use crate::reactor::listen::Listen;
use crate::reactor::listen::Stop;
pub use crate::reactor::mailbox::Mailboxes;
use crate::reactor::mailbox::{Bell, poll_with_bell};
pub use crate::reactor::pulse::Pulse;
use crate::tls::resumption::ServerTls;

/// What a reactor is to do.
#[derive(Clone)]
pub struct Options {
    /// Where to accept connections; `None` only dials.
    pub listen: Option<Listen>,
    /// For accepted connections; a configuration stored later holds for connections accepted from then on.
    pub server_tls: Option<Arc<ArcSwap<ServerTls>>>,
    /// For dialled connections, in the same way.
    pub client_tls: Option<Arc<ArcSwap<ClientConfig>>>,
    /// For dialled connections that are not all the same.
    pub outfitter: Option<Arc<dyn Outfitter>>,
    /// Threads; at least 1.
    pub workers: usize,
    /// Threads that make the handshakes of accepted connections; at least 1.
    pub handshake_threads: usize,
    /// What a connection may cost.
    pub limits: ConnectionLimits,
    /// Time between our pings on dialled connections; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// The clock that gives the application its moments; share it to compare them with moments from elsewhere.
    pub clock: Clock,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// What is answered to requests that ask for no WebSocket.
    pub pages: Option<Arc<dyn Pages>>,
    /// Has a line for each request; its clock must be `clock`.
    pub request_log: Option<Arc<AccessLog>>,
}

impl Options {
    /// One worker without a listener or certificates, with the limits of [`crate::limits`].
    pub fn new() -> Self {
        Self {
            listen: None,
            server_tls: None,
            client_tls: None,
            outfitter: None,
            workers: 1,
            handshake_threads: std::thread::available_parallelism().map_or(1, usize::from),
            limits: ConnectionLimits::default(),
            ping_interval: None,
            clock: Clock::start(),
            metrics: Arc::new(Metrics::new()),
            pages: None,
            request_log: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// The limits that an operator can set; [`crate::limits`] has the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Accepted connections open at once, over all workers.
    pub connections_max: usize,
    /// Descriptors that the process may have before connections that wait for their handshake make way for others: those
    /// of everything else must not be used up by whom nobody has verified.
    pub descriptors_max: usize,
    /// Bytes of a received message.
    pub message_bytes_max: usize,
    /// A connection without a whole frame in either direction for this long is closed.
    pub idle_timeout: Duration,
    /// Time for an accepted connection from the TLS handshake to the upgrade, and for a dialled one from the host name
    /// on.
    pub handshake_timeout: Duration,
    /// Accepted connections in handshake or upgrade at once, per worker.
    pub handshakes_in_flight_max: usize,
    /// Bytes that may wait over all accepted connections of one worker.
    pub worker_queue_bytes_max: usize,
    /// Bytes that may wait for one dialled connection. They do not count for the worker: who dials knows how many there
    /// are, and what they carry must not make way for what strangers do not read.
    pub dialled_queue_bytes_max: usize,
    /// Bytes of incomplete messages and TLS records held over all open connections of one worker.
    pub worker_partial_bytes_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            descriptors_max: usize::MAX,
            message_bytes_max: limits::AGENT_RECEIVE_BYTES_MAX,
            idle_timeout: limits::IDLE_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            handshakes_in_flight_max: limits::HANDSHAKES_IN_FLIGHT_MAX,
            worker_queue_bytes_max: limits::WORKER_QUEUE_BYTES_MAX,
            dialled_queue_bytes_max: limits::OUT_QUEUE_BYTES_MAX,
            worker_partial_bytes_max: limits::WORKER_PARTIAL_BYTES_MAX,
        }
    }
}

/// Why a reactor could not start. The text says what to do.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened at.
    Listen(String, io::Error),
    /// A listener without certificates, or no or too many workers.
    Options(&'static str),
    /// The system gives no poll or no thread.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen at {address}: {error}"),
            Self::Options(what) => f.write_str(what),
            Self::System(error) => {
                write!(f, "cannot start a worker: {error}; check the limits of open files and threads")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Running workers.
pub struct Reactor<M> {
    local_addr: Option<SocketAddr>,
    mailboxes: Mailboxes<M>,
    metrics: Arc<Metrics>,
    bells: Vec<Arc<Bell>>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
    /// Ends after the workers.
    #[expect(dead_code, reason = "held until the workers have ended")]
    pool: Option<Pool>,
}

impl<M: Send + 'static> Reactor<M> {
    /// Binds the listeners and starts the workers, with one application each from `build`, which is given the worker's
    /// index and a way to reach all of them.
    pub fn start<A: Application<Mail = M>>(
        options: Options,
        mut build: impl FnMut(u16, &Mailboxes<M>) -> A,
    ) -> Result<Self, StartError> {
        let workers = u16::try_from(options.workers).ok().filter(|&workers| workers > 0);
        let workers = workers.ok_or(StartError::Options("there must be 1 to 65535 workers"))?;
        if options.listen.is_some() && options.server_tls.is_none() {
            return Err(StartError::Options("a listener needs a certificate"));
        }
        let (local_addr, mut listeners) = match &options.listen {
            Some(listen) => {
                let bound = accept::open(listen, workers.into())
                    .map_err(|error| StartError::Listen(listen.to_string(), error))?;
                (Some(bound.0), bound.1.into_iter().map(Some).collect())
            }
            None => (None, Vec::new()),
        };
        listeners.resize_with(workers.into(), || None);
        let polls: io::Result<Vec<_>> = (0..workers).map(|_| poll_with_bell(worker::BELL)).collect();
        let polls = polls.map_err(StartError::System)?;
        let bells: Vec<Arc<Bell>> = polls.iter().map(|(_, bell)| bell.clone()).collect();
        let (mailboxes, receivers) = Mailboxes::new(&bells);
        let seats = connection::Seats::new(options.limits.connections_max);
        let (metrics, clock) = (options.metrics.clone(), options.clock);
        let ConnectionLimits { handshakes_in_flight_max: slots, descriptors_max, .. } = options.limits;
        let (pool, mut desks) = match options.listen {
            Some(_) => Pool::start(options.handshake_threads, clock, &bells, slots)
                .map(|(pool, desks)| (Some(pool), desks.into_iter().map(Some).collect()))
                .map_err(StartError::System)?,
            None => (None, Vec::new()),
        };
        desks.resize_with(workers.into(), || None);
        let common = Arc::new(core::Common { options, seats, mailboxes: mailboxes.clone() });
        // From here on, dropping the reactor stops the workers that have started.
        let (stop, threads) = (Arc::default(), Vec::new());
        let mut reactor = Self { local_addr, mailboxes, metrics, bells, stop, threads, pool };
        for (index, ((((poll, bell), mail), listener), desk)) in
            (0..).zip(polls.into_iter().zip(receivers).zip(listeners).zip(desks))
        {
            let application = build(index, &reactor.mailboxes);
            let registry = poll.registry().try_clone().map_err(StartError::System)?;
            let mut gate = accept::Gate::new(listener, descriptors_max);
            gate.register(&registry, worker::LISTENER).map_err(StartError::System)?;
            let core = core::Core::new(index, common.clone(), registry, bell.clone(), desk);
            let stop = reactor.stop.clone();
            let worker = worker::Worker::new(application, core, gate, poll, mail, bell, clock, stop);
            let thread = std::thread::Builder::new()
                .name(format!("podium-worker-{index}"))
                .spawn(move || worker.run())
                .map_err(StartError::System)?;
            reactor.threads.push(thread);
        }
        Ok(reactor)
    }

    /// The address of the listeners, with the port that the system chose.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// How to reach the applications from other threads.
    pub fn mailboxes(&self) -> Mailboxes<M> {
        self.mailboxes.clone()
    }

    /// Where everything is counted.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Whether all workers do their work.
    pub fn pulse(&self) -> Pulse {
        Pulse::of(&self.bells)
    }

    /// Closes the listeners; what is open stays, what is about to be is refused.
    pub fn shut(&self) {
        self.stop.shut();
        self.ring();
    }

    /// Stops accepting, gives the applications [`crate::link::Event::Stopping`] and up to `grace` to say goodbye,
    /// closes what is left with 1001 and waits for the workers to end.
    pub fn stop(mut self, grace: Duration) {
        self.end(grace);
    }
}

impl<M> Reactor<M> {
    fn end(&mut self, grace: Duration) {
        self.stop.end(grace);
        self.ring();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

impl<M> Reactor<M> {
    fn ring(&self) {
        for bell in &self.bells {
            bell.ring();
        }
    }
}

impl<M> Drop for Reactor<M> {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}
