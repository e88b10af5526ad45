//! Tests only: a client of a started server, and a page that keeps what is printed.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use super::client::Client;
use super::client_settings::{ClientSettings, Endpoint};
use super::output::Output;
use crate::api::fake::TOKEN;
use crate::tls::testing::Pki;

/// What was printed.
#[derive(Clone, Default)]
pub(super) struct Page(Rc<RefCell<Vec<u8>>>);

impl Page {
    /// Prints onto this page.
    pub(super) fn output(&self) -> Output {
        Output::to(Box::new(self.clone()))
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Settings for the server at this port of this host; the token's file holds a good one.
pub(super) fn settings(pki: &Pki, port: u16) -> ClientSettings {
    let token_file = pki.directory().join("token");
    std::fs::write(&token_file, TOKEN).unwrap();
    let orchestrator = Endpoint { host: "localhost".into(), port, path: String::new() };
    let rbac = Endpoint { path: "/rbac-api".into(), ..orchestrator.clone() };
    ClientSettings { orchestrator, rbac, ca: pki.ca(), token_file, environment: None, noop: false, color: None }
}

/// A client of the server at this port of this host.
pub(super) fn client(pki: &Pki, port: u16) -> Client {
    Client::new(settings(pki, port)).unwrap()
}

/// Settings for no server, with these defaults of the configuration.
pub(super) fn settings_for(environment: Option<&str>, noop: bool) -> ClientSettings {
    let endpoint = Endpoint { host: "localhost".into(), port: 8143, path: String::new() };
    let environment = environment.map(str::to_owned);
    ClientSettings {
        orchestrator: endpoint.clone(),
        rbac: endpoint,
        ca: "ca.pem".into(),
        token_file: "token".into(),
        environment,
        noop,
        color: None,
    }
}
