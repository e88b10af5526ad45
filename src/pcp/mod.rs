//! The Puppet Communications Protocol: names, envelopes and the messages a broker itself sends and answers.
//!
//! Source: pcp-specifications, PCP 2.0; where implementations differ from it, the implementations.

pub mod envelope;
pub mod message;
pub mod uri;

pub use envelope::{DecodeError, Envelope, Outgoing};
pub use uri::PcpUri;

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
