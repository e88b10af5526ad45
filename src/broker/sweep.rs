//! After CRLs, CAs or the policy have changed: which sessions may not stay, and their end one by one. Everybody else
//! stays untouched. (pcp-broker closes every connection after a change of its CRL; the code, the reason and the pace are
//! its own.)

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::authorize::Policy;
use super::core::{ASSOCIATION_UNSUCCESSFUL, BrokerCore, BrokerMail};
use super::session::{Session, Standing};
use crate::limits;
use crate::link::{CertificateId, PeerId, Shell, TimerKey};

/// Close code and reason for a certificate that does not count any more (pcp-broker).
const CRL_RELOADED: (u16, &str) = (1012, "CRL reloaded");

/// The timer on which a sweep goes on.
pub(super) const SWEEP: TimerKey = TimerKey(1);

/// What has changed about certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// These are revoked now, sorted; every other one is as good as it was.
    Revoked(Arc<[CertificateId]>),
    /// A CA is not trusted any more. A session does not know its chain, so all of them connect again.
    Distrusted(Arc<[CertificateId]>),
}

/// What sessions are looked at for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The present state of certificates, from the time of the review on.
    pub certificates: Certificates,
    /// Whether the policy may allow fewer associations than it did.
    pub policy_changed: bool,
    /// Pause between two closes, over all workers.
    pub throttle: Duration,
}

impl Review {
    /// Nothing is revoked and nothing has changed.
    pub fn nothing() -> Self {
        Self { certificates: Certificates::Revoked(Arc::new([])), policy_changed: false, throttle: Duration::ZERO }
    }

    /// Whether a certificate is revoked.
    pub fn revokes(&self, certificate: CertificateId) -> bool {
        let (Certificates::Revoked(revoked) | Certificates::Distrusted(revoked)) = &self.certificates;
        revoked.binary_search(&certificate).is_ok()
    }

    /// The review, and what one before it has not brought to its end.
    pub fn with_what_is_left_of(self: &Arc<Self>, former: &Self) -> Arc<Self> {
        let mut review = Self::clone(self);
        review.policy_changed |= former.policy_changed;
        if let (true, Certificates::Revoked(revoked)) = (former.distrusts(), &self.certificates) {
            review.certificates = Certificates::Distrusted(revoked.clone());
        }
        Arc::new(review)
    }

    /// Whether everybody has to prove himself again.
    fn distrusts(&self) -> bool {
        matches!(self.certificates, Certificates::Distrusted(_))
    }
}

/// A walk over the sessions of one worker.
#[derive(Debug)]
pub(super) struct Sweep {
    review: Arc<Review>,
    policy: Arc<Policy>,
    /// The next slot to look at.
    next: usize,
    /// Later connections have been let in under the present rules; known from the first step on.
    newest: Option<u32>,
    closed: usize,
}

/// What one step of a sweep came to.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// One session must go.
    Found(PeerId, (u16, &'static str)),
    /// None in this slice.
    More,
    /// All have been looked at.
    Done,
}

impl Sweep {
    fn step(&mut self, sessions: &super::session::Sessions) -> Step {
        let end = (self.next + limits::SWEEP_SLICE).min(sessions.slots());
        while self.next < end {
            let session = sessions.at(self.next);
            self.next += 1;
            if let Some(session) = session
                && session.standing == Standing::Associated
                && let Some(word) = self.objection(session)
            {
                return Step::Found(session.peer, word);
            }
        }
        if self.next < sessions.slots() { Step::More } else { Step::Done }
    }

    /// The code and the reason with which a session has to go, if it has to.
    fn objection(&self, session: &Session) -> Option<(u16, &'static str)> {
        // Generations count a worker's connections and may wrap.
        let is_older = self.newest.is_some_and(|newest| newest.wrapping_sub(session.peer.generation) <= u32::MAX / 2);
        if self.review.revokes(session.certificate) || (self.review.distrusts() && is_older) {
            return Some(CRL_RELOADED);
        }
        let refused = self.review.policy_changed && !session.may_associate(&self.policy);
        refused.then_some(ASSOCIATION_UNSUCCESSFUL)
    }
}

impl BrokerCore {
    /// Looks at all sessions under new rules. A sweep that is under way starts again under these.
    pub(super) fn review(&mut self, review: Arc<Review>, shell: &mut dyn Shell<BrokerMail>) {
        let former = self.sweep.take();
        // Those that have come since the former sweep began have no need to go again.
        let newest = former.as_ref().filter(|_| !review.distrusts()).and_then(|former| former.newest);
        let review = former.map_or_else(|| review.clone(), |former| review.with_what_is_left_of(&former.review));
        self.reviewed = review.clone();
        self.review_links(&review, shell);
        self.dial_afresh(shell);
        if review.policy_changed {
            self.review_subscriptions(shell);
        }
        // Handshakes that began under the former CAs have ended by then, one way or the other.
        let wait = if review.distrusts() && newest.is_none() { limits::HANDSHAKE_TIMEOUT } else { Duration::ZERO };
        let policy = self.broker.policy.load_full();
        self.sweep = Some(Sweep { review, policy, next: 0, newest, closed: 0 });
        shell.arm(SWEEP, self.now + wait);
    }

    /// Links are few and come back at once, with whatever certificate the controller has by then.
    fn review_links(&self, review: &Review, shell: &mut dyn Shell<BrokerMail>) {
        for (controller, certificate) in self.links.certificates() {
            if (review.distrusts() || review.revokes(certificate))
                && let Some(peer) = controller.link()
            {
                info!(uri = %controller.uri, "link closed after a review");
                shell.close(peer, CRL_RELOADED.0, CRL_RELOADED.1);
            }
        }
    }

    /// Goes on with a sweep, as far as one session that must go.
    pub(super) fn sweep(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        let Some(sweep) = &mut self.sweep else { return };
        sweep.newest.get_or_insert(self.sessions.newest());
        match sweep.step(&self.sessions) {
            Step::Found(peer, (code, reason)) => {
                sweep.closed += 1;
                // Each worker keeps its part of the common pace.
                let pause = sweep.review.throttle * u32::from(self.broker.workers());
                if let Some(session) = self.sessions.get(peer) {
                    info!(uri = %session.uri, code, reason, "closed after a review");
                }
                shell.close(peer, code, reason);
                shell.arm(SWEEP, self.now + pause);
            }
            Step::More => shell.arm(SWEEP, self.now),
            Step::Done => {
                info!(worker = shell.worker(), closed = sweep.closed, "all connections were reviewed");
                self.sweep = None;
            }
        }
    }

    /// Whether a certificate was revoked after the handshake that it came with.
    pub(super) fn is_revoked(&self, certificate: CertificateId) -> bool {
        self.reviewed.revokes(certificate)
    }
}

#[cfg(test)]
mod tests;
