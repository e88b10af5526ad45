//! Tests only: Puppet Server and PuppetDB played by a server that answers what a test says, and this server's identity
//! towards them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::service::Identity;
use crate::config::settings::ServiceSettings;
use crate::https::testing::{Received, Reply, Server};
use crate::tls::testing::Pki;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A service, whose status page is well.
pub(crate) struct Fake {
    pub(crate) pki: Pki,
    pub(crate) server: Server,
}

impl Fake {
    /// Answers with what `handler` says, besides the status page.
    pub(crate) fn new(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let pki = Pki::new("ca");
        let server = Server::start(&pki, move |received| match received.path.as_str() {
            "/status/v1/simple" => Reply::ok("running"),
            _ => handler(received),
        });
        Self { pki, server }
    }

    /// Where it is.
    pub(crate) fn settings(&self) -> ServiceSettings {
        settings(self.server.port())
    }

    /// As whom it is asked.
    pub(crate) fn identity(&self) -> Identity {
        identity(&self.pki)
    }
}

/// What a service answers in place of what was asked for, by name; the cause of the refusal, and a part of its text.
pub(crate) type Case = (&'static str, Box<dyn Fn() -> Reply + Send + Sync>, &'static str, &'static str);

/// A service on this host.
pub(crate) fn settings(port: u16) -> ServiceSettings {
    let (connect_timeout, request_timeout) = (PATIENCE, PATIENCE);
    ServiceSettings { host: "localhost".into(), port, connect_timeout, request_timeout }
}

/// A server with a certificate of this CA.
pub(crate) fn identity(pki: &Pki) -> Identity {
    let tls = pki.material("orch.example").client_config().unwrap();
    Identity { name: "orch.example".into(), tls: Arc::new(ArcSwap::new(tls)) }
}

/// A port at which nobody listens.
pub(crate) fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
