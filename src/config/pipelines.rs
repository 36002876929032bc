//! `pipelines`: what an instance does. The one setting without a section.

use std::fmt;

use super::{reader::Section, rule::one_of_few};

/// The pipelines that an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pipelines {
    /// Shows events to viewers: reads the whole topic, and serves the public listener.
    pub push: bool,
    /// Stores events: shares the topic with the other instances that do, as one consumer group.
    pub record: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipeline {
    Push,
    Record,
}

impl Pipelines {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let words = &[("push", Pipeline::Push), ("record", Pipeline::Record)];
        let named = section.list("pipelines", "push,record", one_of_few(words));
        Self { push: named.contains(&Pipeline::Push), record: named.contains(&Pipeline::Record) }
    }

    /// Whether it runs all there are.
    pub fn are_all(self) -> bool {
        self.push && self.record
    }
}

impl fmt::Display for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.push, self.record) {
            (true, true) => "push, record",
            (true, false) => "push",
            (false, true) => "record",
            (false, false) => "none",
        })
    }
}
