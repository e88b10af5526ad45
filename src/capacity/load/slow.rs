//! Agents that do not read: they associate and then leave everything that comes to them in the socket. The reactor
//! always reads, so these are plain sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Stream};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::LoadError;
use super::identity::Identities;
use super::plan::Plan;
use crate::limits::UPGRADE_BYTES_MAX;
use crate::websocket::upgrade::{check_answer, write_request};

/// Bytes of the kernel's buffer of such a socket: it is to be full soon.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// Sockets that nobody reads from; they close when this is dropped.
#[derive(Debug, Default)]
pub struct SlowReaders(Vec<TcpStream>);

impl SlowReaders {
    /// Connects all those of a plan, one after the other.
    pub fn connect(plan: &Plan, identities: &Identities) -> Result<Self, LoadError> {
        let connect = |index| {
            connect(plan, identities, index)
                .map_err(|error| LoadError::Failed(format!("{} cannot connect: {error}", plan.slow_name(index))))
        };
        (0..plan.slow_count()).map(connect).collect::<Result<_, _>>().map(Self)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

fn connect(plan: &Plan, identities: &Identities, index: u32) -> io::Result<TcpStream> {
    let number = plan.connections + index;
    let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    if let Some(source) = identities.source_of(number) {
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    }
    socket.connect_timeout(&SockAddr::from(plan.address), plan.connect_timeout)?;
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(plan.connect_timeout))?;
    socket.set_write_timeout(Some(plan.connect_timeout))?;
    let name = ServerName::try_from(plan.host.clone()).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::new(identities.config(number)), name).map_err(io::Error::other)?;
    let mut stream = Stream::new(&mut tls, &mut socket);
    let mut request = Vec::new();
    let key = write_request(&plan.host, plan.port, "/pcp2/agent", &mut request);
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
        match check_answer(&answer, &key) {
            Ok(Some(_)) => return Ok(socket),
            Ok(None) if answer.len() < UPGRADE_BYTES_MAX => {}
            Ok(None) => return Err(io::Error::other("its answer does not end")),
            Err(error) => return Err(io::Error::other(error.advice("/pcp2/agent"))),
        }
    }
}
