//! What goes out next, in order: finished messages, and a snapshot whose pages are made as the connection takes them.

use std::collections::VecDeque;

use super::Output;
use crate::protocol::{Closing, Message, SnapshotPages};

/// Bounded: deliveries are taken from the mailbox only when it is empty, and answers are limited by the inbound rate.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Item>,
}

#[derive(Debug)]
enum Item {
    Message(Message),
    /// Nothing else is sent between its pages.
    Snapshot(Box<SnapshotPages>),
    Probe,
    Closing(Closing),
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.queue.push_back(Item::Message(message));
    }

    pub(super) fn push_snapshot(&mut self, snapshot: SnapshotPages) {
        self.queue.push_back(Item::Snapshot(snapshot.into()));
    }

    pub(super) fn push_probe(&mut self) {
        self.queue.push_back(Item::Probe);
    }

    pub(super) fn push_closing(&mut self, closing: Closing) {
        self.queue.push_back(Item::Closing(closing));
    }

    pub(super) fn is_sending(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn next(&mut self) -> Option<Output> {
        match self.queue.pop_front()? {
            Item::Message(message) => Some(Output::Message(message)),
            Item::Probe => Some(Output::Probe),
            Item::Closing(closing) => Some(Output::Closing(closing)),
            Item::Snapshot(mut pages) => {
                let page = pages.next();
                // With its last page the snapshot is out: whoever waits for that must not wait for one more look.
                if !pages.is_done() {
                    self.queue.push_front(Item::Snapshot(pages));
                }
                page.map(Output::Message)
            }
        }
    }
}
