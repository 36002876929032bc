//! Is what this instance shows up to date? Pure: time is passed in.
//!
//! Fresh means that every partition has proved, within `kafka.stale_after`, that its position had reached an end of the log
//! asked for in that time: the high watermark, below which lies all that producers were told is there. Silence proves
//! nothing. An open transaction holds up whatever was published behind its first record; where it lasts for longer, the
//! position stands at the stable end and below that end, and that is the reason told.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::rules::{LogRule, LogRules};
use crate::{
    domain::Timestamp,
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

/// The ends that are awaited lie at least this part of `kafka.stale_after` apart, so that they are few.
const AWAITED_APART: u32 = 16;

/// The proofs of all partitions.
#[derive(Debug)]
pub struct Proofs {
    stale_after: Duration,
    pub(crate) rules: LogRules,
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
    /// Ends the position has not reached, with when they were asked for: both grow. The newest alone would be a moving
    /// target, and the oldest alone an old proof once it is reached.
    awaited: VecDeque<(i64, Instant)>,
    /// How far one may read, and when that was asked for.
    stable: Option<(i64, Instant)>,
    /// What was asked for before that was another life of the log.
    not_before: Option<Instant>,
}

impl Proofs {
    /// Nothing is proved.
    pub fn new(stale_after: Duration) -> Self {
        Self { stale_after, rules: LogRules::default(), partitions: BTreeMap::new(), listed_at: None }
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

    /// The partition ended at `end` when it was asked at `queried_at`, whatever transactions were open.
    pub fn on_end(&mut self, partition: i32, end: i64, queried_at: Instant) {
        if let Some(proof) = self.partitions.get_mut(&partition).filter(|_| self.rules.hold(LogRule::WholeLog)) {
            proof.await_end(end, queried_at, self.stale_after);
        }
    }

    /// The partition could be read up to `end` when it was asked at `queried_at`.
    pub fn on_stable_end(&mut self, partition: i32, end: i64, queried_at: Instant) {
        let Some(proof) = self.partitions.get_mut(&partition) else { return };
        proof.stable = Some((end, queried_at));
        if !self.rules.hold(LogRule::WholeLog) {
            proof.await_end(end, queried_at, self.stale_after);
        }
    }

    /// The position of the partition is `position` now.
    pub fn on_position(&mut self, partition: i32, position: i64) {
        let Some(proof) = self.partitions.get_mut(&partition) else { return };
        proof.position = Some(position);
        while let Some((_, queried_at)) = proof.awaited.pop_front_if(|(end, _)| *end <= position) {
            proof.proved_at = Some(queried_at);
        }
    }

    /// The position jumped: what was asked for before `now` counts in another life of the log.
    pub fn on_jump(&mut self, partition: i32, position: i64, now: Instant) {
        if let Some(proof) = self.partitions.get_mut(&partition) {
            let queried_at = proof.queried_at;
            *proof = Proof { position: Some(position), queried_at, not_before: Some(now), ..Proof::default() };
        }
    }

    /// Why what is shown may be out of date at `now`.
    pub fn reasons(&self, now: Instant) -> StaleReasons {
        let mut reasons = StaleReasons::NONE;
        if self.partitions.is_empty() {
            let listed = self.is_recent(self.listed_at, now);
            reasons.set(if listed { StaleReason::CatchingUp } else { StaleReason::KafkaUnavailable }, true);
        }
        for reason in self.partitions.values().filter_map(|proof| self.reason(proof, now)) {
            reasons.set(reason, true);
        }
        reasons
    }

    /// Partitions in which a transaction has been open for too long, with the offset at which it began.
    pub fn open_transactions(&self, now: Instant) -> impl Iterator<Item = (i32, i64)> {
        let open = move |proof: &Proof| self.reason(proof, now) == Some(StaleReason::OpenTransaction);
        let open = self.partitions.iter().filter(move |(_, proof)| open(proof));
        open.filter_map(|(partition, proof)| Some((*partition, proof.stable?.0)))
    }

    /// Why one partition is not fresh.
    fn reason(&self, proof: &Proof, now: Instant) -> Option<StaleReason> {
        if self.is_recent(proof.proved_at, now) {
            return None;
        }
        if !self.is_recent(proof.queried_at, now) {
            return Some(StaleReason::KafkaUnavailable);
        }
        let (stable, stable_at) = proof.stable.unzip();
        let is_held = proof.position >= stable && !proof.awaited.is_empty() && self.is_recent(stable_at, now);
        Some(if is_held { StaleReason::OpenTransaction } else { StaleReason::CatchingUp })
    }

    fn is_recent(&self, moment: Option<Instant>, now: Instant) -> bool {
        let within = |moment| now.saturating_duration_since(moment) <= self.stale_after;
        moment.is_some_and(|moment| within(moment) || !self.rules.hold(LogRule::Silence))
    }
}

impl Proof {
    fn await_end(&mut self, end: i64, queried_at: Instant, stale_after: Duration) {
        if self.not_before.is_some_and(|moment| queried_at < moment) {
            return;
        }
        self.queried_at = Some(queried_at);
        if self.position.is_some_and(|position| position >= end) {
            self.proved_at = Some(queried_at);
            self.awaited.clear();
            return;
        }
        // To reach this one says more than to reach those, and is no harder.
        while self.awaited.pop_back_if(|(awaited, _)| *awaited >= end).is_some() {}
        let too_old = |at: Instant| queried_at.saturating_duration_since(at) > stale_after;
        while self.awaited.pop_front_if(|(_, at)| too_old(*at)).is_some() {}
        let apart = stale_after / AWAITED_APART;
        if self.awaited.back().is_none_or(|(_, at)| queried_at.saturating_duration_since(*at) >= apart) {
            self.awaited.push_back((end, queried_at));
        }
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

    /// Both ends, asked for in one moment.
    fn ends(proofs: &mut Proofs, stable: i64, end: i64, at: Instant) {
        proofs.on_end(0, end, at);
        proofs.on_stable_end(0, stable, at);
    }

    #[test]
    fn fresh_is_only_what_every_partition_has_proved_within_the_time() {
        let start = Instant::now();
        let mut proofs = proofs(2, start);
        proofs.on_position(0, 5);
        proofs.on_end(0, 5, start);
        assert_eq!(proofs.reasons(start), only(StaleReason::KafkaUnavailable));
        proofs.on_end(1, 3, start);
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
            ends(&mut proofs, second as i64 * 100, second as i64 * 100, now);
            proofs.on_position(0, second as i64 * 100 - 50);
            assert_eq!(proofs.reasons(now).is_fresh(), second > 0, "second {second}");
        }
    }

    #[test]
    fn a_position_that_stays_behind_a_moving_end_by_less_than_the_time_is_fresh_and_by_more_is_not() {
        let start = Instant::now();
        for (behind, fresh) in [(1, true), (9, true), (11, false)] {
            let mut proofs = proofs(1, start);
            for second in 0..60 {
                let now = start + Duration::from_secs(second);
                ends(&mut proofs, second as i64, second as i64, now);
                proofs.on_position(0, second as i64 - behind);
                if second > 20 {
                    assert_eq!(proofs.reasons(now).is_fresh(), fresh, "{behind} behind in second {second}");
                }
            }
            assert!(proofs.partitions[&0].awaited.len() <= AWAITED_APART as usize + 1);
        }
    }

    #[test]
    fn ends_that_are_asked_for_all_the_time_are_few_and_prove_as_much() {
        let (start, often) = (Instant::now(), Duration::from_millis(10));
        let mut proofs = proofs(1, start);
        for n in 0..5_000 {
            let now = start + n * often;
            // Five seconds behind.
            ends(&mut proofs, i64::from(n), i64::from(n), now);
            proofs.on_position(0, i64::from(n) - 500);
            assert!(proofs.partitions[&0].awaited.len() <= AWAITED_APART as usize + 1);
            assert!(n < 600 || proofs.reasons(now).is_fresh(), "{n}");
        }
    }

    #[test]
    fn an_end_that_is_told_again_proves_as_of_then_and_one_told_just_in_time_proves_still() {
        let (start, moment) = (Instant::now(), Duration::from_millis(1));
        let apart = STALE_AFTER / AWAITED_APART;
        // The same end a moment later, another one as much later as ends lie apart, and another one when the first is about
        // to be too old.
        for (first, second, later) in [(9, 9, moment), (5, 9, apart), (5, 9, STALE_AFTER)] {
            let mut proofs = proofs(1, start);
            proofs.on_position(0, 0);
            ends(&mut proofs, first, first, start);
            ends(&mut proofs, second, second, start + later);
            if first < second {
                proofs.on_position(0, first);
                assert!(proofs.reasons(start + STALE_AFTER).is_fresh(), "{later:?}: the first end is reached");
                assert!(!proofs.reasons(start + STALE_AFTER + moment).is_fresh(), "{later:?}");
            }
            proofs.on_position(0, second);
            assert!(proofs.reasons(start + later + STALE_AFTER).is_fresh(), "{later:?}: the second end is reached");
            assert!(!proofs.reasons(start + later + STALE_AFTER + moment).is_fresh(), "{later:?}");
        }
    }

    #[test]
    fn a_position_that_stands_below_the_end_is_catching_up() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        proofs.on_position(0, 1);
        ends(&mut proofs, 1, 1, start);
        for second in 1..=11 {
            ends(&mut proofs, 9, 9, start + Duration::from_secs(second));
        }
        assert_eq!(proofs.reasons(start + Duration::from_secs(11)), only(StaleReason::CatchingUp));
    }

    #[test]
    fn a_transaction_that_stays_open_makes_stale_once_it_lasts_and_is_named() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        // Its own record alone, or others behind it, too, at once or one by one.
        for end in [|_| 6, |_| 20, |second: i64| 6 + second] {
            let mut proofs = proofs(1, start);
            proofs.on_position(0, 5);
            ends(&mut proofs, 5, 5, start);
            for n in 1..=30 {
                let now = start + n * second;
                ends(&mut proofs, 5, end(i64::from(n)), now);
                let reasons = proofs.reasons(now);
                if n <= 10 {
                    assert!(reasons.is_fresh(), "{n} s: {reasons:?}");
                    assert_eq!(proofs.open_transactions(now).count(), 0);
                } else {
                    assert_eq!(reasons, only(StaleReason::OpenTransaction), "{n} s");
                    assert_eq!(proofs.open_transactions(now).collect::<Vec<_>>(), [(0, 5)]);
                }
            }
            // It ends: what lies behind it has to be read.
            let now = start + 31 * second;
            ends(&mut proofs, end(30) + 1, end(30) + 1, now);
            assert_eq!(proofs.reasons(now), only(StaleReason::CatchingUp));
            assert_eq!(proofs.open_transactions(now).count(), 0);
            proofs.on_position(0, end(30) + 1);
            assert!(proofs.reasons(now).is_fresh());
        }
    }

    #[test]
    fn transactions_that_follow_each_other_are_fresh_while_each_is_shorter_than_the_time() {
        let start = Instant::now();
        // Each begins when the one before is committed, and publishes all the time.
        for (seconds, fresh) in [(1, true), (6, true), (9, true), (15, false)] {
            let mut proofs = proofs(1, start);
            let mut ever_stale = false;
            for second in 0_i64..120 {
                let now = start + Duration::from_secs(second.unsigned_abs());
                let stable = second / seconds * seconds * 10;
                ends(&mut proofs, stable, second * 10 + 5, now);
                proofs.on_position(0, stable);
                let reasons = proofs.reasons(now);
                if second > 2 * seconds {
                    ever_stale |= !reasons.is_fresh();
                    assert!(!reasons.contains(StaleReason::CatchingUp), "{second}: {reasons:?}");
                }
            }
            assert_eq!(ever_stale, !fresh, "transactions of {seconds} s");
        }
    }

    #[test]
    fn an_instance_that_begins_before_an_open_transaction_says_so_at_once() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        ends(&mut proofs, 5, 9, start);
        assert_eq!(proofs.reasons(start), only(StaleReason::CatchingUp));
        proofs.on_position(0, 3);
        assert_eq!(proofs.reasons(start), only(StaleReason::CatchingUp), "it has to read up to it");
        proofs.on_position(0, 5);
        assert_eq!(proofs.reasons(start), only(StaleReason::OpenTransaction));
        assert_eq!(proofs.open_transactions(start).collect::<Vec<_>>(), [(0, 5)]);
    }

    #[test]
    fn an_end_that_is_not_told_any_more_is_no_open_transaction() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        proofs.on_position(0, 5);
        ends(&mut proofs, 5, 9, start);
        let (within, later) = (start + STALE_AFTER, start + STALE_AFTER + Duration::from_millis(1));
        assert_eq!(proofs.reasons(within), only(StaleReason::OpenTransaction));
        assert_eq!(proofs.reasons(later), only(StaleReason::KafkaUnavailable));
        // Where the stable end is not told, nobody knows what it is.
        proofs.on_end(0, 9, later);
        assert_eq!(proofs.reasons(later), only(StaleReason::CatchingUp));
        // And the other way round.
        proofs.on_stable_end(0, 5, later + STALE_AFTER);
        assert_eq!(proofs.reasons(later + 2 * STALE_AFTER), only(StaleReason::KafkaUnavailable));
    }

    #[test]
    fn an_end_that_moved_back_is_the_one_to_reach() {
        let start = Instant::now();
        let mut proofs = proofs(1, start);
        proofs.on_position(0, 5);
        ends(&mut proofs, 9, 9, start);
        ends(&mut proofs, 7, 7, start + Duration::from_secs(1));
        proofs.on_position(0, 7);
        assert!(proofs.reasons(start + Duration::from_secs(1) + STALE_AFTER).is_fresh());
    }

    #[test]
    fn a_jump_leaves_nothing_proved() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut proofs = proofs(1, start);
        ends(&mut proofs, 0, 0, start);
        assert!(!proofs.reasons(start).is_fresh());
        proofs.on_position(0, 0);
        assert!(proofs.reasons(start).is_fresh());
        proofs.on_jump(0, 7, start + second);
        assert_eq!(proofs.reasons(start + second), only(StaleReason::CatchingUp));
        // It may have been asked for in the life before.
        proofs.on_end(0, 7, start);
        assert_eq!(proofs.reasons(start + second), only(StaleReason::CatchingUp));
        ends(&mut proofs, 7, 7, start + second);
        assert!(proofs.reasons(start + second).is_fresh());
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
