//! Certificates for labs and tests: a CA in Puppet's directory layout.
