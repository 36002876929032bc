//! Is what this instance shows up to date? Pure: time is passed in.
//!
//! Fresh means that every partition has proved, within `kafka.stale_after`, that its position had reached a watermark
//! queried in that time. Silence proves nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::rules::{Rule, Rules};
use crate::{
    event::Timestamp,
    protocol::{StaleReason, StaleReasons, Staleness},
};

/// How an instance begins: nothing is proved yet.
pub(crate) fn unproved(now: Timestamp) -> Staleness {
    Staleness { reasons: [StaleReason::CatchingUp].into_iter().collect(), since: now }
}

/// What is stale from now on, if that is not what it was.
pub(crate) fn change(before: Staleness, reasons: StaleReasons, now: Timestamp) -> Option<Staleness> {
    let turned = reasons.is_fresh() != before.reasons.is_fresh();
    (reasons != before.reasons).then_some(Staleness { reasons, since: if turned { now } else { before.since } })
}

/// The proofs of all partitions.
#[derive(Debug)]
pub struct Proofs {
    stale_after: Duration,
    pub(crate) rules: Rules,
    partitions: BTreeMap<i32, Proof>,
    /// When the partitions were last listed.
    listed_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Proof {
    /// `None` until the partition is followed.
    position: Option<i64>,
    proved_at: Option<Instant>,
    queried_at: Option<Instant>,
    /// The oldest watermark the position has not reached. A newer one would be a moving target.
    awaited: Option<(i64, Instant)>,
}

impl Proofs {
    /// Nothing is proved.
    pub fn new(stale_after: Duration) -> Self {
        Self { stale_after, rules: Rules::default(), partitions: BTreeMap::new(), listed_at: None }
    }

    /// The topic has these partitions, it was said at that moment. Those it has not any more are forgotten.
    pub fn on_partitions(&mut self, partitions: impl IntoIterator<Item = i32>, at: Instant) {
        let mut before = std::mem::take(&mut self.partitions);
        self.partitions = partitions
            .into_iter()
            .map(|partition| (partition, before.remove(&partition).unwrap_or_default()))
            .collect();
        self.listed_at = Some(at);
    }

    /// The partition ended at `high` when it was asked at `queried_at`.
    pub fn on_watermark(&mut self, partition: i32, high: i64, queried_at: Instant) {
        let Some(proof) = self.partitions.get_mut(&partition) else { return };
        proof.queried_at = Some(queried_at);
        if proof.position.is_some_and(|position| position >= high) {
            proof.proved_at = Some(queried_at);
            proof.awaited = None;
        } else if proof.awaited.is_none() {
            proof.awaited = Some((high, queried_at));
        }
    }

    /// The position of the partition is `position` now.
    pub fn on_position(&mut self, partition: i32, position: i64) {
        let Some(proof) = self.partitions.get_mut(&partition) else { return };
        proof.position = Some(position);
        if let Some((_, queried_at)) = proof.awaited.take_if(|(high, _)| *high <= position) {
            proof.proved_at = Some(queried_at);
        }
    }

    /// The position jumped: what was awaited counts in another life of the log.
    pub fn on_jump(&mut self, partition: i32, position: i64) {
        if let Some(proof) = self.partitions.get_mut(&partition) {
            *proof = Proof { position: Some(position), queried_at: proof.queried_at, ..Proof::default() };
        }
    }

    /// Why what is shown may be out of date at `now`.
    pub fn reasons(&self, now: Instant) -> StaleReasons {
        let recent = |moment: Option<Instant>| {
            let within = |moment| now.saturating_duration_since(moment) <= self.stale_after;
            moment.is_some_and(|moment| within(moment) || !self.rules.hold(Rule::Silence))
        };
        let mut reasons = StaleReasons::NONE;
        if self.partitions.is_empty() {
            let listed = recent(self.listed_at);
            reasons.set(if listed { StaleReason::CatchingUp } else { StaleReason::KafkaUnavailable }, true);
        }
        for proof in self.partitions.values().filter(|proof| !recent(proof.proved_at)) {
            let asked = recent(proof.queried_at);
            reasons.set(if asked { StaleReason::CatchingUp } else { StaleReason::KafkaUnavailable }, true);
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(10);

    fn only(reason: StaleReason) -> StaleReasons {
        [reason].into_iter().collect()
    }

    fn proofs(partitions: i32, start: Instant) -> Proofs {
        let mut proofs = Proofs::new(STALE_AFTER);
        proofs.on_partitions(0..partitions, start);
        proofs
    }

    #[test]
    fn fresh_is_only_what_every_partition_has_proved_within_the_time() {
        let start = Instant::now();
        let mut proofs = proofs(2, start);
        proofs.on_position(0, 5);
        proofs.on_watermark(0, 5, start);
        assert_eq!(proofs.reasons(start), only(StaleReason::KafkaUnavailable));
        proofs.on_watermark(1, 3, start);
        assert_eq!(proofs.reasons(start), only(StaleReason::CatchingUp));
        proofs.on_position(1, 3);
        assert!(proofs.reasons(start + STALE_AFTER).is_fresh());
        let later = start + STALE_AFTER + Duration::from_millis(1);
        assert_eq!(proofs.reasons(later), only(StaleReason::KafkaUnavailable));
    }

    #[test]
    fn a_position_that_keeps_pace_with_a_moving_end_is_fresh() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            // Always 50 behind what is queried now, always past what was queried two seconds ago.
            proofs.on_watermark(0, second as i64 * 100, now);
            proofs.on_position(0, second as i64 * 100 - 50);
            assert_eq!(proofs.reasons(now).is_fresh(), second > 0, "second {second}");
        }
    }

    #[test]
    fn a_position_that_stands_below_the_end_is_catching_up() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        proofs.on_position(0, 1);
        proofs.on_watermark(0, 1, start);
        for second in 1..=11 {
            proofs.on_watermark(0, 9, start + Duration::from_secs(second));
        }
        assert_eq!(proofs.reasons(start + Duration::from_secs(11)), only(StaleReason::CatchingUp));
    }

    #[test]
    fn a_jump_leaves_nothing_proved() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        proofs.on_watermark(0, 0, start);
        assert!(!proofs.reasons(start).is_fresh());
        proofs.on_position(0, 0);
        assert!(proofs.reasons(start).is_fresh());
        proofs.on_jump(0, 7);
        assert_eq!(proofs.reasons(start), only(StaleReason::CatchingUp));
        proofs.on_watermark(0, 7, start);
        assert!(proofs.reasons(start).is_fresh());
    }

    #[test]
    fn a_topic_that_is_missing_or_unreachable_is_not_fresh() {
        let start = Instant::now();
        assert_eq!(Proofs::new(STALE_AFTER).reasons(start), only(StaleReason::KafkaUnavailable));
        assert_eq!(proofs(0, start).reasons(start), only(StaleReason::CatchingUp));
    }

    #[test]
    fn since_is_kept_while_only_the_reasons_change() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let stale = unproved(at(1));
        assert_eq!(change(stale, stale.reasons, at(2)), None);
        let other = change(stale, only(StaleReason::KafkaUnavailable), at(2)).unwrap();
        assert_eq!(other.since, at(1));
        let fresh = change(other, StaleReasons::NONE, at(3)).unwrap();
        assert_eq!((fresh.since, fresh.reasons.is_fresh()), (at(3), true));
    }
}
