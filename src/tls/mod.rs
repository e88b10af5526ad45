//! TLS without sockets: certificates and keys from files, who a certificate names, and the bytes of one connection.

pub mod crl;
pub mod failure;
pub mod identity;
pub mod material;
pub mod resumption;
pub mod session;
#[cfg(test)]
pub(crate) mod testing;
