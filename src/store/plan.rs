//! What a batch changes: events folded over the rows they touch, and the rows to write as a result.
//!
//! Pure. A dialect reads the rows, asks for the plan and carries it out in the same transaction.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};

use super::{
    Applied, Batch, PartitionBatch, RejectedEvent, StoreError,
    rows::{MarkerRow, MovedRow, OrderRow, ViewerRow},
};
use crate::domain::{
    Epoch, History, Known, OrderEvent, OrderId, OrderState, Progress, Stamp, Verdict, Version, VersionKind,
    version::MAX_VERSION,
};

/// The rows to write. All lists are sorted by order id, so that two recorders take their locks in one order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) applied: Applied,
    /// Orders that have no row.
    pub(super) inserted: Vec<OrderRow>,
    /// Orders that have one.
    pub(super) updated: Vec<OrderRow>,
    /// Orders that have a row no longer.
    pub(super) removed: Vec<String>,
    /// Orders without row or marker, made and erased within the batch. Two recorders see each other's first sight of
    /// an order only where both insert it, so these have to be inserted as well, before they are removed.
    pub(super) passing: Vec<String>,
    /// Markers that go, or are replaced.
    pub(super) unmarked: Vec<String>,
    /// Markers that come.
    pub(super) marked: Vec<MarkerRow>,
    /// Viewers whose lists have the order elsewhere now. Where such a row is not where it should be, it is made.
    pub(super) moved: Vec<MovedRow>,
    pub(super) hidden: Vec<ViewerRow>,
    pub(super) shown: Vec<ViewerRow>,
    /// Orders that are terminal now, or not any more, by other settings.
    pub(super) restated: Vec<String>,
}

/// The events of a batch in log order, partitions in order.
pub(super) fn events_of(batch: &Batch) -> Vec<&OrderEvent> {
    batch.partitions.iter().flat_map(|part| &part.events).collect()
}

/// The orders that `events` are about, sorted.
pub(super) fn orders_of<'a>(events: &[&'a OrderEvent]) -> Vec<&'a str> {
    let orders: BTreeSet<&str> = events.iter().map(|event| event.order_id.as_str()).collect();
    orders.into_iter().collect()
}

/// The compare of the compare-and-set: every part must still stand where its records were read from.
pub(crate) fn check_positions(batch: &Batch, stored: &[Progress]) -> Result<(), StoreError> {
    let stands = |part: &PartitionBatch| {
        stored.iter().any(|progress| {
            progress.partition == part.partition
                && progress.log_id == part.log_id
                && progress.generation == part.generation
                && progress.next_offset == part.read_from
        })
    };
    match batch.partitions.iter().find(|part| !stands(part)) {
        Some(part) => Err(StoreError::LostPartition { partition: part.partition }),
        None => Ok(()),
    }
}

/// The partitions of the log as it is now, each with the life it is in.
#[derive(Debug)]
pub(super) struct Lives(HashMap<i32, Epoch>);

impl Lives {
    /// Those that a batch was read from.
    pub(super) fn of(batch: &Batch) -> Self {
        Self(batch.partitions.iter().map(|part| (part.partition, part.epoch())).collect())
    }

    /// Whether others have to be known to judge these events: hardly ever, if an order's events stand in one partition.
    pub(super) fn are_too_few(&self, events: &[&OrderEvent], stored: &HashMap<OrderId, History>) -> bool {
        events.iter().filter(|event| event.goes_by_log_order()).any(|event| {
            let known = stored.get(&event.order_id).map(|history| history.known.stamp());
            known.is_some_and(|known| !self.0.contains_key(&known.partition))
        })
    }

    /// Adds the others that the topic has.
    pub(super) fn extend(&mut self, stored: impl IntoIterator<Item = Progress>) {
        for progress in stored {
            self.0.entry(progress.partition).or_insert_with(|| progress.epoch());
        }
    }

    fn have(&self, known: Stamp) -> bool {
        self.0.get(&known.partition) == Some(&known.epoch)
    }
}

/// Why a record cannot be used whose order is known from the record `known_from`.
pub(crate) fn unordered_event(stamp: Stamp, known_from: Stamp) -> RejectedEvent {
    let message = format!(
        "version is missing, and the order is known from partition {}, so log order says nothing: all producers of a topic \
         must share one partitioner",
        known_from.partition
    );
    RejectedEvent { stamp, message }
}

impl Plan {
    /// Folds `events`, in log order, over what is `stored` of their orders. A version that grows by more than
    /// `version_jump` is counted. Where some of the events are unordered there is no plan, but all of those are named: they
    /// have to become dead letters first.
    pub(super) fn fold(
        events: &[&OrderEvent],
        stored: &HashMap<OrderId, History>,
        lives: &Lives,
        version_jump: u64,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        let mut unordered = Vec::new();
        let mut folded: HashMap<&OrderId, Option<History>> = HashMap::with_capacity(events.len());
        for &event in events {
            let history = folded.entry(&event.order_id).or_insert_with(|| stored.get(&event.order_id).cloned());
            let (before, known_from) =
                history.as_ref().map(|history| (history.known.version(), history.known.stamp())).unzip();
            let (after, verdict) = History::fold(history.take(), event, |known| lives.have(known));
            *history = after;
            plan.applied.count(&verdict);
            plan.applied.jumped += u64::from(jumps(before, &verdict, version_jump));
            if let (Verdict::Unordered, Some(known_from)) = (verdict, known_from) {
                unordered.push(unordered_event(event.stamp, known_from));
            }
        }
        if !unordered.is_empty() {
            return Err(StoreError::Unordered(unordered));
        }
        let mut folded: Vec<_> = folded.into_iter().collect();
        folded.sort_unstable_by_key(|(order, _)| *order);
        for (order, after) in folded {
            if let Some(after) = after {
                plan.write(order, stored.get(order), &after);
            }
        }
        // By order, then user: the order of the lists above, and the same in every recorder.
        plan.moved.sort_unstable();
        plan.hidden.sort_unstable();
        plan.shown.sort_unstable();
        Ok(plan)
    }

    fn write(&mut self, order: &OrderId, before: Option<&History>, after: &History) {
        let known_before = before.map(|history| &history.known);
        match (known_before, &after.known) {
            (Some(Known::Order(old)), Known::Order(new)) => {
                let same_steps = before.is_some_and(|before| before.timeline == after.timeline);
                if old.stamp != new.stamp || !same_steps {
                    self.updated.push(OrderRow::of(new, &after.timeline));
                    self.change_viewers(Some(old), Some(new));
                }
            }
            (_, Known::Order(new)) => {
                if known_before.is_some() {
                    self.unmarked.push(order.to_string());
                }
                self.inserted.push(OrderRow::of(new, &after.timeline));
                self.change_viewers(None, Some(new));
            }
            (Some(Known::Erased(old)), Known::Erased(new)) => {
                if old != new {
                    self.unmarked.push(order.to_string());
                    self.marked.push(MarkerRow::of(order, *new));
                }
            }
            (Some(Known::Order(old)), Known::Erased(new)) => {
                self.removed.push(order.to_string());
                self.marked.push(MarkerRow::of(order, *new));
                self.change_viewers(Some(old), None);
            }
            (None, Known::Erased(new)) => {
                self.passing.push(order.to_string());
                self.marked.push(MarkerRow::of(order, *new));
            }
        }
    }

    /// Whoever is named has the order in its place by when it changed.
    pub(super) fn change_viewers(&mut self, old: Option<&OrderState>, new: Option<&OrderState>) {
        let rows = |state: Option<&OrderState>| state.into_iter().flat_map(ViewerRow::of).collect::<Vec<_>>();
        let (before, after) = (rows(old), rows(new));
        let places: HashMap<&str, i64> = after.iter().map(|row| (row.user_id.as_str(), row.terminal_at)).collect();
        let listed: HashSet<&str> = before.iter().map(|row| row.user_id.as_str()).collect();
        let is_gone = |row: &ViewerRow| !places.contains_key(row.user_id.as_str());
        self.hidden.extend(old.filter(|old| !old.terminal).into_iter().flat_map(ViewerRow::unordered).filter(is_gone));
        self.shown.extend(after.iter().filter(|row| !listed.contains(row.user_id.as_str())).cloned());
        for from in &before {
            // A row that moves costs the database half of what one that goes and one that comes do.
            match places.get(from.user_id.as_str()) {
                Some(to) if *to == from.terminal_at => {}
                Some(to) => self.moved.push(MovedRow { from: from.clone(), to: *to }),
                None => self.hidden.push(from.clone()),
            }
        }
    }
}

/// Whether an event brought a version that lies far above the one before. The first version may be any but one so high
/// that hardly another can follow.
fn jumps(before: Option<Version>, verdict: &Verdict, version_jump: u64) -> bool {
    let Verdict::Applies { known: Known::Order(state), .. } = verdict else { return false };
    let before = before.filter(|before| before.kind == state.version.kind);
    let highest = before.map_or(MAX_VERSION / 2, |before| before.number.saturating_add(version_jump));
    state.version.kind == VersionKind::Field && state.version.number > highest
}

impl Applied {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Applies { kind_changed, .. } => {
                self.applied += 1;
                self.kind_changed += u64::from(*kind_changed);
            }
            Verdict::Late => self.late += 1,
            Verdict::Duplicate => self.duplicate += 1,
            Verdict::Conflict => self.conflict += 1,
            Verdict::NothingToErase => self.nothing_to_erase += 1,
            // Nothing becomes of a batch that has such an event.
            Verdict::Unordered => {}
        }
    }
}
