//! What goes out next, in order: finished frames, and a snapshot whose pages are made as the socket takes them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::protocol::{Frame, SnapshotPages};

/// Bounded: deliveries are taken from the mailbox only when it is empty, answers are limited by the inbound rate, and of
/// Pongs only the newest is kept.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Item>,
    pong: Option<Frame>,
}

#[derive(Debug)]
enum Item {
    Frame(Frame),
    /// Nothing else is sent between its pages.
    Snapshot(Box<SnapshotPages>),
}

impl Outbox {
    pub(super) fn push(&mut self, frame: Frame) {
        self.queue.push_back(Item::Frame(frame));
    }

    pub(super) fn push_snapshot(&mut self, snapshot: SnapshotPages) {
        self.queue.push_back(Item::Snapshot(snapshot.into()));
    }

    /// RFC 6455, section 5.5.3: of several Pings, it is enough to answer the last.
    pub(super) fn set_pong(&mut self, payload: &[u8]) {
        self.pong = Some(Frame::pong(payload));
    }

    pub(super) fn is_sending(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Joins frames up to about `limit` bytes, so that a burst is one write.
    pub(super) fn take(&mut self, limit: usize) -> Option<Bytes> {
        let first = self.next()?.bytes().clone();
        if first.len() >= limit {
            return Some(first);
        }
        let Some(second) = self.next() else { return Some(first) };
        let mut joined = BytesMut::with_capacity(first.len() + second.len());
        joined.extend_from_slice(&first);
        joined.extend_from_slice(second.bytes());
        while joined.len() < limit
            && let Some(frame) = self.next()
        {
            joined.extend_from_slice(frame.bytes());
        }
        Some(joined.freeze())
    }

    fn next(&mut self) -> Option<Frame> {
        if let Some(pong) = self.pong.take() {
            return Some(pong);
        }
        match self.queue.pop_front()? {
            Item::Frame(frame) => Some(frame),
            Item::Snapshot(mut pages) => {
                let page = pages.next();
                // With its last page the snapshot is out: whoever waits for that must not wait for one more look.
                if !pages.is_done() {
                    self.queue.push_front(Item::Snapshot(pages));
                }
                page
            }
        }
    }
}
