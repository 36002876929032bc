//! What goes out next, in order: finished frames, and a snapshot whose pages are made as the socket takes them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::protocol::{Frame, SnapshotPages};

/// Bounded: deliveries are taken from the mailbox only when it is empty, answers are limited by the inbound rate, and of
/// Pongs only the newest is kept.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Nothing else is sent between its pages.
    snapshot: Option<SnapshotPages>,
    frames: VecDeque<Frame>,
    pong: Option<Frame>,
}

impl Outbox {
    pub(super) fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// What is queued already goes first.
    pub(super) fn push_snapshot(&mut self, snapshot: SnapshotPages) {
        debug_assert!(self.snapshot.is_none(), "a snapshot is taken only when the last one is out");
        self.snapshot = Some(snapshot);
    }

    /// RFC 6455, section 5.5.3: of several Pings, it is enough to answer the last.
    pub(super) fn set_pong(&mut self, payload: &[u8]) {
        self.pong = Some(Frame::pong(payload));
    }

    pub(super) fn is_sending(&self) -> bool {
        self.snapshot.is_some() || !self.frames.is_empty()
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

    /// Frames were queued before the snapshot was, or after it while it goes out; the latter wait for its end.
    fn next(&mut self) -> Option<Frame> {
        if let Some(pong) = self.pong.take() {
            return Some(pong);
        }
        if let Some(snapshot) = &mut self.snapshot {
            if let Some(page) = snapshot.next() {
                return Some(page);
            }
            self.snapshot = None;
        }
        self.frames.pop_front()
    }
}
