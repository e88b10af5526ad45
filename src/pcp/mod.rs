//! The Puppet Communications Protocol: names, envelopes and the messages a broker itself sends and answers.
//!
//! Source: pcp-specifications, PCP 1.0 and 2.0; where implementations differ from them, the implementations. Everything
//! works on v2; messages of v1 clients are translated as they come and go.

pub mod envelope;
pub mod message;
pub mod translate;
pub mod uri;
pub mod v1;

pub use envelope::{DecodeError, Envelope, Outgoing};
pub use uri::PcpUri;

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Chunks in binary messages.
    V1,
    /// JSON in text messages.
    V2,
}

/// The URI of the broker itself.
pub const SERVER_URI: &str = "pcp:///server";

/// The prefix of all message types.
pub const TYPE_PREFIX: &str = "http://puppetlabs.com/";

/// Message types that a broker handles or sends.
pub mod message_type {
    /// Client to broker.
    pub const ASSOCIATE_REQUEST: &str = "http://puppetlabs.com/associate_request";
    /// Broker to client.
    pub const ASSOCIATE_RESPONSE: &str = "http://puppetlabs.com/associate_response";
    /// Client to broker.
    pub const INVENTORY_REQUEST: &str = "http://puppetlabs.com/inventory_request";
    /// Broker to client.
    pub const INVENTORY_RESPONSE: &str = "http://puppetlabs.com/inventory_response";
    /// Broker to client.
    pub const INVENTORY_UPDATE: &str = "http://puppetlabs.com/inventory_update";
    /// Any direction.
    pub const ERROR_MESSAGE: &str = "http://puppetlabs.com/error_message";
}
