//! TLS without sockets: certificates and keys from files, who a certificate names, and the bytes of one connection.

mod cipher;
pub mod crl;
mod direction;
pub mod failure;
mod handshake;
pub mod identity;
mod lean;
pub mod material;
mod record;
pub mod resumption;
mod secrets;
pub mod session;
#[cfg(test)]
pub(crate) mod testing;
