//! The tail: per partition, the events the fanout has seen, from a little before the recorder's progress on.
//!
//! Completes a snapshot that was read at an older progress. Indexed by order and by user, so that this costs what the
//! answer costs.

mod listing;

use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hash,
};

use self::listing::{Listed, Listing};
use crate::domain::{Change, Epoch, History, Known, OrderEvent, OrderId, Position, Stamp, UserId, Verdict, judge};

/// What was found where an event was to be taken out.
#[derive(Debug, Clone)]
pub enum Struck {
    /// This event was there, and is not any more.
    Event(OrderEvent),
    /// There never was an event, or it was taken out before.
    Nothing,
    /// Nobody knows: what was there has been forgotten.
    Forgotten,
}

/// The tail of every partition of the topic.
#[derive(Debug)]
pub struct Tail {
    limit_bytes: usize,
    bytes: usize,
    partitions: BTreeMap<i32, PartitionTail>,
    by_order: Listing,
    by_user: Listing,
}

#[derive(Debug)]
struct PartitionTail {
    epoch: Epoch,
    /// Where it was begun: nothing before that was ever here.
    begun: i64,
    /// Every event from here on is in `events`.
    start: i64,
    /// The next offset the fanout will see.
    end: i64,
    events: VecDeque<OrderEvent>,
}

impl Tail {
    /// An empty tail without partitions; it drops its oldest events beyond `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            partitions: BTreeMap::new(),
            by_order: Listing::default(),
            by_user: Listing::default(),
        }
    }

    /// Begins a partition at an offset, or begins it anew there: what was known of it is forgotten.
    pub fn begin(&mut self, at: Position) {
        self.drop_while(at.partition, |_| true);
        let Position { partition, epoch, next_offset } = at;
        // Offsets of another epoch mean other records.
        for listing in [&mut self.by_order, &mut self.by_user] {
            listing.sweep(|place| place.partition != partition && is_held(&self.partitions, place));
        }
        let (begun, start, end) = (next_offset, next_offset, next_offset);
        self.partitions.insert(partition, PartitionTail { epoch, begun, start, end, events: VecDeque::new() });
    }

    /// The next offset expected of a partition, and the epoch it counts in.
    pub fn end(&self, partition: i32) -> Option<(Epoch, i64)> {
        self.partitions.get(&partition).map(|tail| (tail.epoch, tail.end))
    }

    /// Where every partition ends.
    pub fn ends(&self) -> impl Iterator<Item = Position> {
        self.partitions.iter().map(|(&partition, tail)| Position {
            partition,
            epoch: tail.epoch,
            next_offset: tail.end,
        })
    }

    /// Moves the end of a partition past `offset`.
    pub fn advance(&mut self, partition: i32, next_offset: i64) {
        if let Some(tail) = self.partitions.get_mut(&partition) {
            tail.end = tail.end.max(next_offset);
        }
    }

    /// Appends an event, which must lie at or above the end that [`advance`](Self::advance) has not moved past yet.
    pub fn append(&mut self, event: &OrderEvent) {
        let Some(tail) = self.partitions.get_mut(&event.stamp.partition) else { return };
        tail.end = event.stamp.offset + 1;
        tail.events.push_back(event.clone());
        self.bytes += cost(event);
        let place = Listed { partition: event.stamp.partition, offset: event.stamp.offset };
        self.by_order.push(&event.order_id, place, |place| is_held(&self.partitions, place));
        if let Change::Set(state) = &event.change {
            for user in state.named() {
                self.by_user.push(user, place, |place| is_held(&self.partitions, place));
            }
        }
        while self.bytes > self.limit_bytes && self.drop_oldest() {}
    }

    /// Forgets what lies below `positions`, where they count in the same epoch.
    pub fn trim(&mut self, positions: &[Position]) {
        for position in positions {
            let Some(tail) = self.partitions.get_mut(&position.partition) else { continue };
            if tail.epoch == position.epoch {
                let start = position.next_offset.min(tail.end);
                tail.start = tail.start.max(start);
                self.drop_while(position.partition, |offset| offset < start);
            }
        }
    }

    /// Takes one event out again.
    pub fn strike(&mut self, partition: i32, offset: i64) -> Struck {
        let Some(tail) = self.partitions.get_mut(&partition) else { return Struck::Nothing };
        match tail.index(offset).and_then(|index| tail.events.remove(index)) {
            Some(event) => {
                self.bytes -= cost(&event);
                Struck::Event(event)
            }
            None if (tail.begun..tail.start).contains(&offset) => Struck::Forgotten,
            None => Struck::Nothing,
        }
    }

    /// Whether a snapshot at these positions is complete with the tail: start ≤ V ≤ end in one epoch, in every
    /// partition that either side knows.
    pub fn proves(&self, positions: &[Position]) -> bool {
        positions.len() == self.partitions.len()
            && positions.iter().all(|position| {
                self.partitions.get(&position.partition).is_some_and(|tail| {
                    tail.epoch == position.epoch
                        && tail.start <= position.next_offset
                        && position.next_offset <= tail.end
                })
            })
    }

    /// Whether the fanout has come to these positions, in every partition.
    pub fn has_reached(&self, positions: &[Position]) -> bool {
        positions.iter().all(|position| {
            self.partitions
                .get(&position.partition)
                .is_some_and(|tail| tail.epoch == position.epoch && position.next_offset <= tail.end)
        })
    }

    /// Folds the order's events at or after `positions` over what a snapshot at those positions says.
    pub fn complete(&self, order_id: &OrderId, history: Option<History>, positions: &[Position]) -> Option<History> {
        let events = self.events(&self.by_order, order_id).filter(|event| event.order_id == *order_id);
        events.filter(|event| is_after(event, positions)).fold(history, |history, event| {
            let (history, _verdict) = History::fold(history, event, |known| self.stands(known, event.stamp));
            history
        })
    }

    /// Whether what is known of an order stands in the log as it is now, for an event of another partition. The recorder
    /// knows better where partitions are in lives of different numbers, and tells what it refuses; so in doubt: no.
    pub fn stands(&self, known: Stamp, event: Stamp) -> bool {
        known.epoch == event.epoch && self.end(known.partition).is_some_and(|(epoch, _)| epoch == known.epoch)
    }

    /// What the events held say of an order, but for one of them, which is the newest. `None` where there are none, or
    /// where they stand in several partitions: then the recorder may take them in another order.
    ///
    /// Folded from nothing, so the truth may be a version above it; never one below.
    pub fn known_before(&self, newest: &OrderEvent) -> Option<Known> {
        let events = self.events(&self.by_order, &newest.order_id);
        let events = events.filter(|event| event.order_id == newest.order_id && event.stamp != newest.stamp);
        let mut known = None;
        for event in events {
            if event.stamp.partition != newest.stamp.partition {
                return None;
            }
            if let Verdict::Applies { known: after, .. } =
                judge(known.as_ref(), event, |known| self.stands(known, event.stamp))
            {
                known = Some(after);
            }
        }
        known
    }

    /// Whether the record is held.
    pub fn holds(&self, record: Stamp) -> bool {
        let tail = self.partitions.get(&record.partition).filter(|tail| tail.epoch == record.epoch);
        tail.is_some_and(|tail| tail.event(record.offset).is_some())
    }

    /// The orders in which an event at or after `positions` names the user; with repeats.
    pub fn orders_naming(&self, user: &UserId, positions: &[Position]) -> impl Iterator<Item = &OrderId> {
        let events = self.events(&self.by_user, user).filter(|event| names(event, user));
        events.filter(|event| is_after(event, positions)).map(|event| &event.order_id)
    }

    /// Events and bytes held.
    pub fn size(&self) -> (usize, usize) {
        (self.partitions.values().map(|tail| tail.events.len()).sum(), self.bytes)
    }

    /// The events listed under a name, and perhaps some of another.
    fn events(&self, listing: &Listing, name: &impl Hash) -> impl Iterator<Item = &OrderEvent> {
        listing.of(name).into_iter().filter_map(|place| self.partitions.get(&place.partition)?.event(place.offset))
    }

    fn drop_while(&mut self, partition: i32, below: impl Fn(i64) -> bool) {
        while let Some(tail) = self.partitions.get_mut(&partition)
            && let Some(event) = tail.events.pop_front_if(|event| below(event.stamp.offset))
        {
            self.bytes -= cost(&event);
        }
    }

    /// Drops the oldest event of the partition that holds the most. `false` if there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(tail) = self.partitions.values_mut().max_by_key(|tail| tail.events.len()) else { return false };
        let Some(event) = tail.events.pop_front() else { return false };
        tail.start = event.stamp.offset + 1;
        self.bytes -= cost(&event);
        true
    }
}

impl PartitionTail {
    fn event(&self, offset: i64) -> Option<&OrderEvent> {
        self.index(offset).and_then(|index| self.events.get(index))
    }

    fn index(&self, offset: i64) -> Option<usize> {
        self.events.binary_search_by_key(&offset, |event| event.stamp.offset).ok()
    }
}

fn is_held(partitions: &BTreeMap<i32, PartitionTail>, place: Listed) -> bool {
    partitions.get(&place.partition).is_some_and(|tail| tail.start <= place.offset)
}

fn names(event: &OrderEvent, user: &UserId) -> bool {
    matches!(&event.change, Change::Set(state) if state.names(user))
}

fn cost(event: &OrderEvent) -> usize {
    let (state_bytes, names) = match &event.change {
        Change::Set(state) => (state.size_bytes(), 1 + state.named().count()),
        Change::Erase | Change::Reset => (0, 1),
    };
    size_of::<OrderEvent>() + state_bytes + names * listing::BYTES_PER_PLACE
}

fn is_after(event: &OrderEvent, positions: &[Position]) -> bool {
    positions
        .iter()
        .find(|position| position.partition == event.stamp.partition)
        .is_none_or(|position| event.stamp.offset >= position.next_offset)
}
