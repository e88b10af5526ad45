//! What systemd is told of a service (sd_notify): that it is ready, reloads, stops, how it is and that it lives. Without
//! systemd nobody is told anything.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// The way to the service manager.
pub(super) struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            connect(&name).inspect_err(|error| warn!(?name, %error, "systemd cannot be told anything")).ok()
        });
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&micros| ours && micros > 0).map(Duration::from_micros);
        Self { watchdog: socket.as_ref().and(watchdog), socket }
    }

    /// Time between two signs of life: half of what systemd waits for.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|within| within / 2)
    }

    /// Everything that was to be started is.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Files are being read again; [`Notifier::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It lives.
    pub(super) fn alive(&self, status: &str) {
        self.send(&format!("WATCHDOG=1\nSTATUS={status}"));
    }

    /// How it is.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// The end has begun and may take this long.
    pub(super) fn stopping(&self, within: Duration) {
        self.send(&format!("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={}", within.as_micros()));
    }

    fn send(&self, text: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(text.as_bytes()) {
            warn!(%error, text, "systemd was not told");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds_are_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let unique = format!("podium-test-{}", std::process::id());
        let ends = [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().to_owned()),
            (
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&unique).unwrap()).unwrap(),
                format!("@{unique}").into(),
            ),
        ];
        for (manager, name) in ends {
            let notifier = Notifier { socket: Some(connect(&name).unwrap()), watchdog: None };
            notifier.ready("3 connections");
            let mut buffer = [0; 256];
            let size = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..size], b"READY=1\nSTATUS=3 connections");
            notifier.reloading();
            let size = manager.recv(&mut buffer).unwrap();
            assert!(buffer[..size].starts_with(b"RELOADING=1\nMONOTONIC_USEC="));
        }
        assert!(connect(OsStr::new("/nowhere/at/all")).is_err());
    }
}
