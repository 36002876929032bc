//! An order's timeline: the steps it took, oldest first, the last 50 of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Change, Epoch, Known, OrderEvent, OrderState, Stamp, Timestamp, Verdict, judge};

/// Steps kept and shown per order.
pub const MAX_STEPS: usize = 50;

/// One step of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The status as sent.
    pub status: Box<str>,
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
    pub fn fold(history: Option<Self>, event: &OrderEvent) -> (Option<Self>, Verdict) {
        let verdict = judge(history.as_ref().map(|history| &history.known), event);
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
