//! An order's timeline: the steps it took, oldest first, the last 50 of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Change, Epoch, Known, OrderEvent, OrderState, Stamp, Timestamp, Verdict, judge};

/// Steps kept and shown per order.
pub const MAX_STEPS: usize = 50;

/// One step of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The status as sent.
    pub status: SmolStr,
    /// The version number.
    pub version: u64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Grows each time the order's versions changed their kind; steps stand in the order (era, version).
    #[serde(default)]
    pub era: u32,
    /// The record's place: epoch, partition, offset.
    #[serde(with = "stamp_parts")]
    pub stamp: Stamp,
}

/// The steps of one order, in the order (era, version), one step per version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(Vec<Step>);

impl Timeline {
    /// The timeline of an order of which only this state is known.
    pub fn of(state: &OrderState) -> Self {
        let mut timeline = Self::default();
        timeline.insert(state, 0);
        timeline
    }

    /// The steps, oldest first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The era of the newest step; 0 for an empty timeline.
    pub fn era(&self) -> u32 {
        self.0.last().map_or(0, |step| step.era)
    }

    /// Adds the step of `state` where it belongs, unless a step of its version is there; keeps the last [`MAX_STEPS`].
    fn insert(&mut self, state: &OrderState, era: u32) {
        let place = (era, state.version.number);
        let Err(index) = self.0.binary_search_by_key(&place, |step| (step.era, step.version)) else { return };
        self.0.insert(
            index,
            Step {
                status: state.status.clone(),
                version: state.version.number,
                occurred_at: state.occurred_at,
                era,
                stamp: state.stamp,
            },
        );
        if self.0.len() > MAX_STEPS {
            self.0.remove(0);
        }
    }
}

/// What is known of an order together with its timeline: the truth as store and snapshots hold it.
#[derive(Debug, Clone)]
pub struct History {
    /// The order or its marker.
    pub known: Known,
    /// Empty for a marker.
    pub timeline: Arc<Timeline>,
}

impl History {
    /// Folds one event into what is known of its order, timeline included. `None` stands for an unknown order.
    ///
    /// A late event adds its step if that is not there; it changes nothing else.
    /// `stands`: see [`judge`].
    pub fn fold(history: Option<Self>, event: &OrderEvent, stands: impl Fn(Stamp) -> bool) -> (Option<Self>, Verdict) {
        let verdict = judge(history.as_ref().map(|history| &history.known), event, stands);
        let history = match (&verdict, history) {
            (Verdict::Applies { known: Known::Erased(marker), .. }, _) => {
                Some(Self { known: Known::Erased(*marker), timeline: Arc::default() })
            }
            (Verdict::Applies { known: Known::Order(state), kind_changed }, history) => {
                // A marker has no timeline, so an order that comes back starts a new one.
                let mut timeline = history.map(|history| history.timeline).unwrap_or_default();
                let era = timeline.era() + u32::from(*kind_changed && !timeline.steps().is_empty());
                Arc::make_mut(&mut timeline).insert(state, era);
                Some(Self { known: Known::Order(state.clone()), timeline })
            }
            (Verdict::Late, Some(mut history)) => {
                if let (Change::Set(state), Known::Order(_)) = (&event.change, &history.known) {
                    let era = history.timeline.era();
                    Arc::make_mut(&mut history.timeline).insert(state, era);
                }
                Some(history)
            }
            (_, history) => history,
        };
        (history, verdict)
    }
}

mod stamp_parts {
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Epoch, Serialize, Stamp};

    pub(super) fn serialize<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
        (stamp.epoch.0, stamp.partition, stamp.offset).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
        let (epoch, partition, offset) = <(u64, i32, i64)>::deserialize(deserializer)?;
        Ok(Stamp { epoch: Epoch(epoch), partition, offset })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::fold::tests::{FIELD, LOG, erase, moved, reset, set};

    /// In a log that was never replaced.
    fn fold_one(history: Option<History>, event: &OrderEvent) -> (Option<History>, Verdict) {
        History::fold(history, event, |_| true)
    }

    fn fold(events: impl IntoIterator<Item = OrderEvent>) -> Option<History> {
        events.into_iter().fold(None, |history, event| fold_one(history, &event).0)
    }

    /// Era, version and status of each step.
    fn steps(history: &Option<History>) -> Vec<(u32, u64, String)> {
        let steps = history.iter().flat_map(|history| history.timeline.steps());
        steps.map(|step| (step.era, step.version, step.status.to_string())).collect()
    }

    fn step(era: u32, version: u64, status: &str) -> (u32, u64, String) {
        (era, version, status.into())
    }

    #[test]
    fn a_late_step_is_added_once_where_it_belongs() {
        let created_and_shipped = [set(1, FIELD, 1, "created"), set(2, FIELD, 3, "shipped")];
        let late = [set(3, FIELD, 2, "packed"), set(4, FIELD, 2, "packed"), set(5, FIELD, 1, "other")];
        let history = fold(created_and_shipped.into_iter().chain(late));
        assert_eq!(steps(&history), [step(0, 1, "created"), step(0, 2, "packed"), step(0, 3, "shipped")]);
        assert_eq!(&*history.unwrap().known.order().unwrap().status, "shipped", "the state stays");
    }

    #[test]
    fn duplicates_and_conflicts_change_nothing() {
        let before = fold([set(1, FIELD, 1, "created"), set(2, FIELD, 2, "packed")]);
        for event in [set(3, FIELD, 2, "packed"), set(3, FIELD, 2, "cancelled")] {
            let (after, verdict) = fold_one(before.clone(), &event);
            assert!(matches!(verdict, Verdict::Duplicate | Verdict::Conflict));
            assert_eq!(steps(&after), steps(&before));
            assert_eq!(after.unwrap().known.stamp(), before.as_ref().unwrap().known.stamp());
        }
    }

    #[test]
    fn versions_of_another_kind_begin_a_new_era_behind_the_old_one() {
        let history = fold([
            set(1, FIELD, 5, "created"),
            set(2, LOG, 3, "packed"),
            set(3, LOG, 4, "shipped"),
            set(4, FIELD, 9, "delivered"),
            set(5, FIELD, 8, "arrived"),
        ]);
        let expected = [
            step(0, 5, "created"),
            step(1, 3, "packed"),
            step(1, 4, "shipped"),
            step(2, 8, "arrived"),
            step(2, 9, "delivered"),
        ];
        assert_eq!(steps(&history), expected);
    }

    #[test]
    fn a_tombstone_takes_the_timeline_and_an_order_that_comes_back_starts_anew() {
        let erased = fold([set(1, FIELD, 1, "created"), set(2, FIELD, 2, "packed"), erase(3)]);
        assert!(steps(&erased).is_empty());
        let (still_erased, _) = fold_one(erased.clone(), &set(4, FIELD, 2, "packed"));
        assert!(still_erased.as_ref().unwrap().known.order().is_none());
        assert!(steps(&still_erased).is_empty(), "a late step of an erased order is not kept");
        for kind in [FIELD, LOG] {
            let (back, _) = fold_one(erased.clone(), &set(4, kind, 3, "created"));
            assert_eq!(steps(&back), [step(0, 3, "created")]);
        }
    }

    #[test]
    fn an_order_that_was_reset_starts_anew_with_any_version() {
        let frozen = fold([set(1, FIELD, 1, "created"), set(2, FIELD, 9_000, "packed"), reset(3)]);
        assert!(steps(&frozen).is_empty());
        for (kind, partition) in [(FIELD, 0), (LOG, 0), (LOG, 1)] {
            let (back, _) = fold_one(frozen.clone(), &moved(partition, set(4, kind, 2, "packed")));
            assert_eq!(steps(&back), [step(0, 2, "packed")], "from whatever partition");
        }
    }

    #[test]
    fn what_is_unordered_changes_nothing() {
        let before = fold([set(1, LOG, 2, "created"), set(2, LOG, 3, "packed")]);
        for offset in [0, 9] {
            let (after, verdict) = fold_one(before.clone(), &moved(1, set(offset, LOG, 1 + offset as u64, "late")));
            assert!(matches!(verdict, Verdict::Unordered));
            assert_eq!(steps(&after), steps(&before));
        }
    }

    #[test]
    fn an_order_that_moved_with_the_log_begins_a_new_era_whatever_its_numbers() {
        let before = fold([set(500, LOG, 501, "created"), set(501, LOG, 502, "packed")]);
        let (after, _) = History::fold(before, &moved(1, set(2, LOG, 3, "shipped")), |_| false);
        assert_eq!(steps(&after), [step(0, 501, "created"), step(0, 502, "packed"), step(1, 3, "shipped")]);
    }

    #[test]
    fn the_last_50_steps_are_kept() {
        let history = fold((1..=60).map(|number| set(number as i64, FIELD, number * 10, "moved")));
        let versions = |history: &Option<History>| steps(history).iter().map(|step| step.1).collect::<Vec<_>>();
        assert_eq!(versions(&history), (11..=60).map(|number| number * 10).collect::<Vec<_>>());
        let (older, _) = fold_one(history.clone(), &set(61, FIELD, 5, "late"));
        assert_eq!(versions(&older), versions(&history), "older than the 50");
        let (between, _) = fold_one(history, &set(61, FIELD, 115, "late"));
        assert_eq!(versions(&between)[..2], [115, 120], "the oldest makes room");
        assert_eq!(versions(&between).len(), MAX_STEPS);
    }

    #[test]
    fn of_an_order_of_which_only_a_state_is_known_that_is_the_one_step() {
        let first = fold([set(1, FIELD, 5, "created")]).unwrap();
        assert_eq!(Timeline::of(first.known.order().unwrap()), *first.timeline);
        assert_eq!(first.timeline.steps().len(), 1);
    }

    #[test]
    fn a_timeline_reads_back_from_json_as_it_was() {
        let history = fold([set(1, FIELD, 5, "created"), set(2, LOG, 3, "packed")]).unwrap();
        let json = serde_json::to_string(&history.timeline).unwrap();
        assert_eq!(serde_json::from_str::<Timeline>(&json).unwrap(), *history.timeline);
    }

    /// Any record of the order, in one of two partitions: a change of one of two kinds, or a tombstone.
    fn records() -> impl Strategy<Value = Vec<OrderEvent>> {
        prop::collection::vec((0..9_u8, 0..80_u64, 0..3_u8, 0..4_i32), 0..120).prop_map(|records| {
            let event = |(offset, (what, number, status, partition)): (usize, (u8, u64, u8, i32))| {
                let event = match what {
                    0 => erase(offset as i64),
                    1 => set(offset as i64, LOG, number, &status.to_string()),
                    2 => reset(offset as i64),
                    _ => set(offset as i64, FIELD, number, &status.to_string()),
                };
                moved(partition / 3, event)
            };
            records.into_iter().enumerate().map(event).collect()
        })
    }

    proptest! {
        #[test]
        fn any_order_of_the_same_changes_ends_in_the_same_timeline(
            versions in Just((1..=70_u64).collect::<Vec<_>>()).prop_shuffle(), count in 1..=70_usize,
        ) {
            let events = |versions: &[u64]| -> Vec<_> {
                versions.iter().map(|version| set(*version as i64, FIELD, *version, "moved")).collect()
            };
            let mut sorted = versions[..count].to_vec();
            sorted.sort_unstable();
            let (shuffled, sorted) = (fold(events(&versions[..count])).unwrap(), fold(events(&sorted)).unwrap());
            prop_assert_eq!(&shuffled.timeline, &sorted.timeline);
            prop_assert_eq!(shuffled.known.stamp(), sorted.known.stamp());
        }

        /// Whichever of two partitions is read first: what goes by log order in one of them is never mixed with the other's.
        #[test]
        fn an_order_follows_one_partition_however_two_of_them_are_read(turns in prop::collection::vec(0..2_i32, 1..60)) {
            let mut offsets = [0, 40];
            let mut history = None;
            for partition in &turns {
                let offset = offsets[*partition as usize];
                offsets[*partition as usize] += 1;
                let event = moved(*partition, set(offset, LOG, offset as u64 + 1, &offset.to_string()));
                let (after, verdict) = fold_one(history, &event);
                let is_home = *partition == turns[0];
                prop_assert_eq!(matches!(verdict, Verdict::Applies { .. }), is_home);
                prop_assert_eq!(matches!(verdict, Verdict::Unordered), !is_home);
                history = after;
            }
            let steps = history.iter().flat_map(|history| history.timeline.steps());
            prop_assert!(steps.into_iter().all(|step| step.stamp.partition == turns[0]));
        }

        #[test]
        fn every_history_keeps_its_rules(records in records()) {
            let mut history: Option<History> = None;
            for record in records {
                let before = history.clone();
                let (after, verdict) = fold_one(history, &record);
                check_step(before.as_ref(), after.as_ref(), &verdict, &record);
                history = after;
            }
        }
    }

    fn check_step(before: Option<&History>, after: Option<&History>, verdict: &Verdict, record: &OrderEvent) {
        let Some(after) = after else {
            return assert!(before.is_none() && matches!(verdict, Verdict::NothingToErase));
        };
        let steps = after.timeline.steps();
        assert!(steps.len() <= MAX_STEPS);
        assert!(steps.windows(2).all(|pair| (pair[0].era, pair[0].version) < (pair[1].era, pair[1].version)));
        match &after.known {
            Known::Order(state) => {
                let newest = steps.last().expect("an order has a step");
                assert_eq!((newest.version, newest.stamp), (state.version.number, state.stamp));
            }
            Known::Erased(_) => assert!(steps.is_empty()),
        }
        if let (Verdict::Unordered, Some(before)) = (verdict, before) {
            assert!(record.goes_by_log_order() && before.known.stamp().partition != record.stamp.partition);
            assert_eq!(after.timeline, before.timeline);
        }
        let applied = matches!(verdict, Verdict::Applies { .. });
        assert_eq!(after.known.stamp() == record.stamp, applied, "known is what the last applied record set");
        if let (Some(before), Change::Set(_)) = (before, &record.change) {
            let (old, new) = (before.known.version(), after.known.version());
            assert!(new.kind != old.kind || new.number >= old.number, "versions never go down within a kind");
        }
    }
}
