//! A simulated fleet, to measure a broker with: agents by the thousand on our own reactor, a controller that asks them,
//! and what the broker's processes use meanwhile. Nothing of it needs Podium at the other end: any broker of PCP v1 or
//! v2 will do.
//!
//! ```text
//! plan        what to do: scenario, sizes, times; the steps that a scenario is made of
//! identity    a certificate for each name        sources    the addresses that they come from
//! swarm       the agents of one worker           controller the client that asks them
//! messages    what they say                      slow       connections that are never read from
//! schedule    when to ask, when to come back     ledger     what is counted and timed
//! share       one process's part of a run        processes  several of them
//! watch host  the broker's processes, this host  recorder   samples, steps
//! results     the verdict and results.json       report chart    report.html
//! ```

mod chart;
pub mod controller;
pub mod host;
pub mod identity;
pub mod ledger;
pub mod messages;
pub mod plan;
pub mod processes;
pub mod recorder;
pub mod report;
pub mod results;
pub mod schedule;
pub mod share;
pub mod slow;
pub mod sources;
pub mod swarm;
pub mod watch;

use std::fmt;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// What was asked for cannot be done; exit code 2.
    Usage(String),
    /// It went wrong; exit code 1.
    Failed(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for LoadError {}
