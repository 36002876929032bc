//! The recorder's end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use super::{Held, Place, Seam, Shared, Stretch};

/// Takes what was given of the partitions it has claimed.
#[derive(Debug)]
pub struct Taker {
    shared: Arc<Shared>,
    claimed: BTreeSet<i32>,
}

impl Taker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, claimed: BTreeSet::new() }
    }

    /// These partitions are wanted from now on, and no others.
    pub(crate) fn claim(&mut self, partitions: impl IntoIterator<Item = i32>) {
        let wanted: BTreeSet<i32> = partitions.into_iter().collect();
        if wanted == self.claimed {
            return;
        }
        let mut dropped = Vec::new();
        let mut held = self.shared.lock();
        dropped.extend(held.extract_if(.., |partition, _| !wanted.contains(partition)));
        for partition in &wanted {
            held.entry(*partition).or_default();
        }
        self.shared.claims.fetch_add(1, Ordering::Release);
        drop(held);
        drop(dropped);
        self.claimed = wanted;
    }

    /// For each of these partitions, with the next offset to be read: the first seam that can still be come to.
    pub(crate) fn seams(&self, next_offsets: &[(i32, i64)]) -> BTreeMap<i32, Seam> {
        if next_offsets.is_empty() {
            return BTreeMap::new();
        }
        let held = self.shared.lock();
        let seam = |(partition, next): &(i32, i64)| Some((*partition, held.get(partition)?.seam(*next)?));
        next_offsets.iter().filter_map(seam).collect()
    }

    /// The stretches from this place on, up to about `most` records. `None`: they are not there any more.
    pub(crate) fn take(&self, partition: i32, place: Place, most: usize) -> Option<Vec<Stretch>> {
        let (mut taken, mut passed, mut records) = (Vec::new(), Vec::new(), 0);
        let mut held = self.shared.lock();
        let of_partition = held.get_mut(&partition)?;
        if !of_partition.has(place) {
            return None;
        }
        while of_partition.first < place.number
            && let Some(stretch) = of_partition.pop()
        {
            passed.push(stretch);
        }
        while records < most
            && let Some(stretch) = of_partition.pop()
        {
            records += stretch.records.len();
            taken.push(stretch);
        }
        drop(held);
        drop(passed);
        Some(taken)
    }
}

impl Held {
    /// Whether the stretch of this place is there, or will be the next to come.
    fn has(&self, place: Place) -> bool {
        self.run == place.run && (self.first..=self.first + self.stretches.len() as u64).contains(&place.number)
    }
}
