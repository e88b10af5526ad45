//! How threads talk to a worker: a bounded channel and a waker each. A worker that has been woken is not woken again
//! until it has begun to read its mail.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::limits::MAILBOX_MAX;

/// Where to send mail to the applications of a reactor.
pub struct Mailboxes<M> {
    boxes: Arc<[Mailbox<M>]>,
}

struct Mailbox<M> {
    sender: Sender<M>,
    bell: Arc<Bell>,
}

/// Wakes a worker from its poll.
pub(super) struct Bell {
    waker: mio::Waker,
    rung: AtomicBool,
    answers: AtomicU64,
}

impl Bell {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { waker, rung: AtomicBool::new(false), answers: AtomicU64::new(0) }
    }

    /// Wakes the worker unless somebody has done so already. An error leaves the mail in the box until the worker's
    /// next turn, and there is no better thing to do about it.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            self.rung.store(false, Ordering::Release);
            tracing::warn!(%error, "a worker could not be woken");
        }
    }

    /// Before the worker looks for mail: whatever is sent from now on rings again. Not a plain store: a sender that
    /// still found the bell rung has sent its mail before this swap, and the swap makes the worker see it.
    pub(super) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the worker has turned.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl<M: Send> Mailboxes<M> {
    /// One box per bell, and the ends the workers read.
    pub(super) fn new(bells: &[Arc<Bell>]) -> (Self, Vec<Receiver<M>>) {
        let mut receivers = Vec::with_capacity(bells.len());
        let boxes = bells
            .iter()
            .map(|bell| {
                let (sender, receiver) = bounded(MAILBOX_MAX);
                receivers.push(receiver);
                Mailbox { sender, bell: bell.clone() }
            })
            .collect();
        (Self { boxes }, receivers)
    }

    /// Sends to the application of a worker; gives the mail back if its box is full or the worker is gone.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    pub fn send(&self, worker: u16, mail: M) -> Result<(), M> {
        let mailbox = &self.boxes[usize::from(worker)];
        match mailbox.sender.try_send(mail) {
            Ok(()) => {
                mailbox.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(mail) | TrySendError::Disconnected(mail)) => Err(mail),
        }
    }

    /// How many workers there are; they are numbered from 0.
    pub fn workers(&self) -> u16 {
        u16::try_from(self.boxes.len()).expect("workers are counted in 16 bits")
    }
}

impl<M> Clone for Mailboxes<M> {
    fn clone(&self) -> Self {
        Self { boxes: self.boxes.clone() }
    }
}

/// A poll with its bell.
pub(super) fn poll_with_bell(token: mio::Token) -> io::Result<(mio::Poll, Arc<Bell>)> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), token)?;
    Ok((poll, Arc::new(Bell::new(waker))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mail_is_slept_through() {
        const MAILS: usize = 20_000;
        let (mut poll, bell) = poll_with_bell(mio::Token(0)).unwrap();
        let (boxes, receivers) = Mailboxes::new(std::slice::from_ref(&bell));
        let sender = std::thread::spawn(move || {
            for mut mail in 0..MAILS {
                while let Err(back) = boxes.send(0, mail) {
                    mail = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut events = mio::Events::with_capacity(8);
        let mut received = 0;
        while received < MAILS {
            poll.poll(&mut events, Some(std::time::Duration::from_secs(20))).unwrap();
            assert!(!events.is_empty(), "asleep after {received}");
            bell.answer();
            received += receivers[0].try_iter().count();
        }
        sender.join().unwrap();
    }

    #[test]
    fn a_full_box_gives_the_mail_back() {
        let (_poll, bell) = poll_with_bell(mio::Token(0)).unwrap();
        let (boxes, receivers) = Mailboxes::new(&[bell]);
        for mail in 0..MAILBOX_MAX {
            boxes.send(0, mail).unwrap();
        }
        assert_eq!(boxes.send(0, 7), Err(7));
        assert_eq!(receivers[0].try_recv(), Ok(0));
        assert_eq!(boxes.send(0, 7), Ok(()));
    }
}
