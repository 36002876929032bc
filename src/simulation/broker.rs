//! What Kafka does for an instance: hands out partitions to the group, and records to consumers.

use std::{collections::BTreeMap, sync::Arc};

use rand::{Rng, rngs::SmallRng};

use super::topic::{Record, Topic};

/// The recorders' group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Grows with each rebalance.
    pub(super) generation: u64,
    members: Vec<usize>,
    owners: BTreeMap<i32, usize>,
    /// Offsets committed to Kafka, which nobody may go by.
    pub(super) committed: BTreeMap<i32, i64>,
}

impl Group {
    /// Hands all partitions out anew to these members.
    pub(super) fn rebalance(&mut self, members: Vec<usize>, partitions: usize, rng: &mut SmallRng) {
        self.generation += 1;
        self.owners.clear();
        if !members.is_empty() {
            let owner = |partition| (partition as i32, members[rng.random_range(0..members.len())]);
            self.owners = (0..partitions).map(owner).collect();
        }
        self.members = members;
    }

    /// What a member has been given.
    pub(super) fn assigned_to(&self, instance: usize) -> Vec<i32> {
        self.owners.iter().filter(|(_, owner)| **owner == instance).map(|(partition, _)| *partition).collect()
    }

    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }
}

/// One consumer, told where to stand.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    places: BTreeMap<i32, Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    next: i64,
    /// Whether something came since it stands here: only then has it a position.
    consumed: bool,
    /// The end it has told of.
    told_end: Option<i64>,
    /// It was told once that there is nothing at its offset, and is silent since.
    silent: bool,
}

/// What a poll brings.
#[derive(Debug)]
pub(super) enum Polled {
    Record(Arc<Record>),
    End(i32),
    /// The broker has no such offset.
    OutOfRange,
}

impl Consumer {
    pub(super) fn assign(&mut self, places: impl IntoIterator<Item = (i32, i64)>) {
        let place = |next| Place { next, consumed: false, told_end: None, silent: false };
        self.places = places.into_iter().map(|(partition, next)| (partition, place(next))).collect();
    }

    pub(super) fn positions(&self) -> Vec<(i32, i64)> {
        let consumed = self.places.iter().filter(|(_, place)| place.consumed);
        consumed.map(|(partition, place)| (*partition, place.next)).collect()
    }

    /// The topic is another one now: there will be nothing until it is told anew where to stand.
    pub(super) fn silence(&mut self) {
        self.places.values_mut().for_each(|place| place.silent = true);
    }

    /// The next thing of some partition, if there is any.
    pub(super) fn poll(&mut self, topic: &Topic, first: usize) -> Option<Polled> {
        let partitions: Vec<i32> = self.places.keys().copied().collect();
        let many = partitions.len().max(1);
        (0..many).find_map(|turn| self.poll_partition(topic, *partitions.get((first + turn) % many)?))
    }

    fn poll_partition(&mut self, topic: &Topic, partition: i32) -> Option<Polled> {
        let log = topic.partitions.get(partition as usize)?;
        let place = self.places.get_mut(&partition)?;
        if place.silent {
            return None;
        }
        if place.next > log.high() || place.next < log.low {
            place.silent = true;
            return Some(Polled::OutOfRange);
        }
        // Nobody may read beyond the first record of an open transaction.
        while let Some(slot) = log.slots[..log.stable_end() as usize].get(place.next as usize) {
            place.next += 1;
            if let Some(record) = slot {
                place.consumed = true;
                return Some(Polled::Record(record.clone()));
            }
        }
        if place.told_end == Some(place.next) {
            return None;
        }
        (place.told_end, place.consumed) = (Some(place.next), true);
        Some(Polled::End(partition))
    }
}
