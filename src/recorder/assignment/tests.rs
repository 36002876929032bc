//! The recorder's decisions, without a broker: what comes in, what is asked for.

use super::*;
use crate::{
    config::{OnLogGap, OnLogRegression},
    domain::Stamp,
    recorder::batch::Work,
};

const HALT: Policies = Policies { on_gap: OnLogGap::Halt, on_regression: OnLogRegression::Halt };
const GO_ON: Policies = Policies { on_gap: OnLogGap::Continue, on_regression: OnLogRegression::Reset };
const SECOND: Duration = Duration::from_secs(1);

fn progress(partition: i32, next_offset: i64, last: Option<i64>) -> Progress {
    let last_record = last.map(|offset| LastRecord { offset, digest: 7 });
    Progress { partition, log_id: "log".into(), generation: 0, next_offset, last_record }
}

fn view(partitions: &[(i64, i64)], at: Instant) -> LogView {
    let log = |(low, high): &(i64, i64)| Some(Watermarks { low: *low, high: *high, queried_at: at });
    let partitions = (0..).zip(partitions.iter().map(log)).collect();
    LogView { log_id: "log".into(), partitions, listed_at: at, compaction: Some(Compaction::Off) }
}

/// One partition, read from progress 5 in a log from 0 to 9.
fn reading(policies: Policies) -> Assignment {
    let now = Instant::now();
    let mut assignment = Assignment::new(policies, 0);
    assignment.on_assigned([0]);
    open(&mut assignment, progress(0, 5, None), now);
    assert_eq!(assignment.on_log(&view(&[(0, 9)], now)), None);
    assert_eq!(assignment.take_places(), Some(vec![(0, 5)]));
    assignment
}

fn open(assignment: &mut Assignment, progress: Progress, now: Instant) {
    let (fence, partitions) = assignment.take_openings(now).expect("progress is to be read");
    assert_eq!(partitions, [progress.partition]);
    assignment.on_progress(fence, &[progress], now);
}

fn takes(assignment: &mut Assignment, offset: i64) -> bool {
    matches!(assignment.on_record(0, offset, 7), Intake::Take { .. })
}

#[test]
fn nothing_is_read_before_progress_and_a_later_look_at_the_log() {
    let now = Instant::now();
    let mut assignment = Assignment::new(HALT, 0);
    assignment.on_assigned([0]);
    assert_eq!(assignment.take_places(), Some(vec![]));
    assert!(!takes(&mut assignment, 5));
    open(&mut assignment, progress(0, 50, None), now + SECOND);
    // This answer is older than progress: that the log ends at 9 says nothing.
    assignment.on_log(&view(&[(0, 9)], now));
    assert!(assignment.halts().is_empty() && assignment.take_places().is_none());
    assignment.on_log(&view(&[(0, 60)], now + SECOND));
    assert_eq!(assignment.take_places(), Some(vec![(0, 50)]));
    assert!(!takes(&mut assignment, 49));
    assert!(takes(&mut assignment, 50));
}

#[test]
fn progress_below_what_was_stored_is_noticed_without_a_batch() {
    let mut assignment = reading(HALT);
    assert!(!assignment.stands_above(&[progress(0, 5, None)]));
    assert!(takes(&mut assignment, 5));
    assert!(!assignment.stands_above(&[progress(0, 5, None)]), "what is collected is not stored");
    let _handed_over = Work::take("t", assignment.reading()).unwrap();
    assert!(!assignment.stands_above(&[progress(0, 6, None)]));
    assert!(assignment.stands_above(&[progress(0, 5, None)]) && assignment.stands_above(&[]));
}

#[test]
fn a_batch_reaches_from_the_position_it_was_read_from_to_the_position_behind_it() {
    let mut assignment = reading(HALT);
    assert!(takes(&mut assignment, 5) && takes(&mut assignment, 7));
    let work = Work::take("t", assignment.reading()).unwrap();
    let part = &work.batch.partitions[0];
    assert_eq!((part.read_from, part.next_offset), (5, 8));
    assert_eq!(part.last_record, Some(LastRecord { offset: 7, digest: 7 }));
    // A stretch of markers has no record, and moves progress all the same.
    assignment.on_position(0, 9);
    let work = Work::take("t", assignment.reading()).unwrap();
    let part = &work.batch.partitions[0];
    assert_eq!((part.read_from, part.next_offset, part.last_record), (8, 9, None));
    assert!(Work::take("t", assignment.reading()).is_none());
}

/// What becomes of a partition whose last applied record, at 4, is read back.
fn read_back(found: Option<(i64, u64)>, compaction: Option<Compaction>) -> &'static str {
    let now = Instant::now();
    let mut assignment = Assignment::new(HALT, 0);
    assignment.on_assigned([0]);
    open(&mut assignment, progress(0, 5, Some(4)), now);
    assignment.on_log(&LogView { compaction, ..view(&[(0, 9)], now) });
    assert_eq!(assignment.take_places(), Some(vec![(0, 4)]));
    match found {
        Some((offset, digest)) => {
            let taken = matches!(assignment.on_record(0, offset, digest), Intake::Take { .. });
            assert_eq!(taken, offset > 4 && assignment.collected(0).is_some(), "the next one is taken at once");
        }
        None => assignment.on_end_of_partition(0),
    }
    if takes(&mut assignment, 8) {
        return "goes on";
    }
    match assignment.take_openings(now + SECOND) {
        Some(_) => "asks again",
        None => {
            assert_eq!(assignment.halts(), BTreeMap::from([(0, Halt::Regression)]));
            assert_eq!(assignment.take_places(), Some(vec![]));
            "halts"
        }
    }
}

#[test]
fn the_last_applied_record_is_read_back_before_the_next_one_is_taken() {
    use Compaction::{Off, On, Unknown};
    let (same, other, next, end) = (Some((4, 7)), Some((4, 8)), Some((6, 7)), None);
    let answers = [None, Some(On), Some(Unknown), Some(Off)];
    for compaction in answers {
        assert_eq!(read_back(same, compaction), "goes on", "{compaction:?}");
        assert_eq!(read_back(other, compaction), "halts", "another record in its place proves another log");
    }
    // That it is missing proves nothing, unless the brokers say that nothing may be missing.
    for missing in [next, end] {
        let outcomes = answers.map(|compaction| read_back(missing, compaction));
        assert_eq!(outcomes, ["asks again", "goes on", "goes on", "halts"]);
    }
}

#[test]
fn a_log_that_ends_before_progress_is_another_one_whatever_the_brokers_tell_of_compaction() {
    for compaction in [None, Some(Compaction::On), Some(Compaction::Unknown)] {
        let now = Instant::now();
        let mut assignment = Assignment::new(HALT, 0);
        assignment.on_assigned([0]);
        open(&mut assignment, progress(0, 5, Some(4)), now);
        assignment.on_log(&LogView { compaction, ..view(&[(0, 4)], now) });
        assert_eq!(assignment.halts(), BTreeMap::from([(0, Halt::Regression)]));
    }
}

#[test]
fn records_are_awaited_below_the_end_and_while_one_is_read_back() {
    let now = Instant::now();
    let mut assignment = reading(HALT);
    let ends = BTreeMap::from([(0, 9)]);
    assert!(assignment.awaits_records(&ends));
    assert!(takes(&mut assignment, 8));
    assert!(!assignment.awaits_records(&ends));
    assignment.on_lost(None);
    assert!(!assignment.awaits_records(&ends));
    open(&mut assignment, progress(0, 9, Some(8)), now);
    assignment.on_log(&view(&[(0, 9)], now));
    assert!(assignment.awaits_records(&ends));
}

#[test]
fn a_gap_or_another_log_moves_progress_where_the_settings_say_so() {
    for (log, to, generation) in [((7, 9), 7, 0), ((1, 3), 1, 1)] {
        let now = Instant::now();
        let mut assignment = Assignment::new(GO_ON, 0);
        assignment.on_assigned([0]);
        open(&mut assignment, progress(0, 5, None), now);
        assignment.on_log(&view(&[log], now));
        let (_, from, moved) = assignment.take_move().expect("a move");
        assert_eq!((from.next_offset, moved.to.next_offset, moved.to.generation), (5, to, generation));
        assert!(assignment.take_move().is_none());
        assignment.on_moved(0);
        open(&mut assignment, moved.to, now);
        assignment.on_log(&view(&[log], now));
        assert!(takes(&mut assignment, to));
    }
}

#[test]
fn a_halted_partition_leaves_the_others_alone() {
    let now = Instant::now();
    let mut assignment = Assignment::new(HALT, 0);
    assignment.on_assigned([0, 1]);
    let (fence, _) = assignment.take_openings(now).unwrap();
    assignment.on_progress(fence, &[progress(0, 5, None), progress(1, 2, None)], now);
    assignment.on_log(&view(&[(6, 9), (0, 9)], now));
    assert_eq!(assignment.halts(), BTreeMap::from([(0, Halt::Gap)]));
    assert_eq!(assignment.take_places(), Some(vec![(1, 2)]));
    assignment.on_lost(None);
    assert_eq!(assignment.take_openings(now).unwrap().1, [1]);
}

#[test]
fn a_halt_is_told_to_all_once_and_taken_back_where_the_partition_is_read() {
    let now = Instant::now();
    let mut assignment = Assignment::new(HALT, 0);
    assignment.on_assigned([0]);
    open(&mut assignment, progress(0, 5, None), now);
    let stored = |next_offset, halt: Option<Halt>, read_at| ProgressView {
        progress: vec![progress(0, next_offset, None)],
        partition_count: None,
        halts: halt.map(|halt| (0, halt)).into_iter().collect(),
        read_at,
    };
    assert_eq!(assignment.take_halt(&stored(5, None, now), now), None, "nothing is known yet");
    assignment.on_log(&view(&[(6, 9)], now));
    assert_eq!(assignment.take_halt(&stored(7, None, now), now), None, "somebody has moved it on");
    let halted = Some((progress(0, 5, None), Some(Halt::Gap)));
    assert_eq!(assignment.take_halt(&stored(5, None, now), now), halted);
    assert_eq!(assignment.take_halt(&stored(5, None, now), now), None, "read before it was told");
    assert_eq!(assignment.take_halt(&stored(5, Some(Halt::Gap), now + SECOND), now + SECOND), None);
    assert_eq!(assignment.take_halt(&stored(5, None, now + SECOND), now + SECOND), halted, "told in vain");

    let mut assignment = reading(HALT);
    let goes_on = Some((progress(0, 5, None), None));
    assert_eq!(assignment.take_halt(&stored(5, Some(Halt::Gap), now), now), goes_on);
}

#[test]
fn what_is_lost_is_dropped_and_begins_again_under_a_new_number() {
    let now = Instant::now();
    let mut assignment = reading(HALT);
    assert!(takes(&mut assignment, 5));
    let given = Work::take("t", assignment.reading()).unwrap();
    assert!(takes(&mut assignment, 6));
    let invalid = assignment.on_lost(None);
    assert!(given.highest_fence() <= invalid);
    assert!(Work::take("t", assignment.reading()).is_none() && !takes(&mut assignment, 7));
    open(&mut assignment, progress(0, 6, None), now + SECOND);
    assignment.on_log(&view(&[(0, 9)], now + SECOND));
    assert_eq!(assignment.take_places(), Some(vec![(0, 6)]));
    assert!(takes(&mut assignment, 6));
    assert!(Work::take("t", assignment.reading()).unwrap().highest_fence() > invalid);
}

#[test]
fn an_answer_to_an_older_question_is_not_taken() {
    let now = Instant::now();
    let mut assignment = Assignment::new(HALT, 0);
    assignment.on_assigned([0]);
    let (old, _) = assignment.take_openings(now).unwrap();
    let invalid = assignment.on_revoked();
    assert!(old <= invalid);
    assignment.on_assigned([0]);
    let (new, _) = assignment.take_openings(now).unwrap();
    assignment.on_progress(old, &[progress(0, 1, None)], now);
    assignment.on_progress(new, &[progress(0, 5, None)], now);
    assignment.on_log(&view(&[(0, 9)], now));
    assert_eq!(assignment.take_places(), Some(vec![(0, 5)]));
}

#[test]
fn a_successor_numbers_above_what_is_void() {
    let invalid = reading(HALT).on_revoked();
    let mut successor = Assignment::new(HALT, invalid);
    successor.on_assigned([0]);
    assert!(successor.take_openings(Instant::now()).unwrap().0 > invalid);
}

#[test]
fn a_blocked_partition_begins_again_later_while_the_others_go_on() {
    let now = Instant::now();
    let mut assignment = Assignment::new(HALT, 0);
    assignment.on_assigned([0, 1]);
    let (fence, _) = assignment.take_openings(now).unwrap();
    assignment.on_progress(fence, &[progress(0, 5, None), progress(1, 2, None)], now);
    assignment.on_log(&view(&[(0, 9), (0, 9)], now));
    assert!(takes(&mut assignment, 5));
    assignment.on_blocked(0, now + 15 * SECOND);
    assert_eq!(assignment.take_places(), Some(vec![(1, 2)]));
    assert!(assignment.take_openings(now + 14 * SECOND).is_none());
    open(&mut assignment, progress(0, 5, None), now + 15 * SECOND);
}

#[test]
fn what_the_store_refused_comes_again_as_a_dead_letter_once() {
    let now = Instant::now();
    let mut assignment = reading(HALT);
    assert!(takes(&mut assignment, 5));
    let epoch = progress(0, 5, None).epoch();
    let other = Stamp { epoch: Epoch(7), partition: 0, offset: 6 };
    let refused = [Stamp { epoch, offset: 5, ..other }, other];
    assignment.on_rejected(refused.map(|stamp| (stamp, "no".to_owned())));
    open(&mut assignment, progress(0, 5, None), now + SECOND);
    assignment.on_log(&view(&[(0, 9)], now + SECOND));
    // Read, dropped because something else was lost, and read again: still refused.
    for _ in 0..2 {
        assert_eq!(assignment.on_record(0, 5, 7), Intake::Reject { message: "no".into() });
        assert!(takes(&mut assignment, 6), "of another life of the log");
        assignment.on_lost(None);
        open(&mut assignment, progress(0, 5, None), now + SECOND);
        assignment.on_log(&view(&[(0, 9)], now + SECOND));
    }
    assignment.on_applied(0, 6);
    assert!(takes(&mut assignment, 5));
}

#[test]
fn another_log_under_way_makes_all_begin_again() {
    let now = Instant::now();
    let mut assignment = reading(HALT);
    let other = LogView { log_id: "other".into(), ..view(&[(0, 9)], now) };
    assert!(assignment.on_log(&other).is_some());
    open(&mut assignment, progress(0, 5, None), now);
    assert_eq!(assignment.on_log(&other), None);
    assert_eq!(assignment.halts(), BTreeMap::from([(0, Halt::Regression)]));
}
