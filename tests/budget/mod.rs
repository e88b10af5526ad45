//! Guards of what a connection costs: descriptors and memory of a server in a process of its own, with agents that are
//! idle, that have spoken, that come and go, and that never get in.

mod churn;
mod descriptors;
mod memory;

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::support::pki::Pki;

/// The deployed agents speak 1.2, ours 1.3.
fn version(number: usize) -> &'static SupportedProtocolVersion {
    if number.is_multiple_of(2) { &TLS12 } else { &TLS13 }
}

fn name(number: usize) -> String {
    format!("node{number}.example.test")
}

fn config(pki: &Pki, number: usize) -> Arc<ClientConfig> {
    pki.agent(&name(number), version(number))
}
