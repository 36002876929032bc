//! Each rule switched off must be seen to fail, and the same run with the rule must not. `OffsetGuard` only spares
//! screens a flash, so it has a test of its own in `hub/tests/log.rs`.

use super::{
    client::Flaw,
    mix::{
        Feature::{Cap, Content, Gap, Leave, NewLog, Partitioners, Rejected, Sync, Trim},
        Mix,
    },
    run,
};
use crate::hub::rules::HubRule;

/// Seeds tried before a rule counts as not needed.
const TRIES: u64 = 2_000;

/// The first seed that fails without the rule in one of these ways.
fn fails_without(rule: HubRule, mix: &Mix, ways: &[Flaw]) {
    let failing = (0..TRIES).find(|seed| {
        let flaws = run(mix, *seed, Some(rule), false);
        flaws.iter().any(|(flaw, _)| ways.contains(flaw))
    });
    let seed = failing.expect("a rule nobody needs, or a simulation that does not see it");
    let flaws = run(mix, seed, None, false);
    assert!(flaws.is_empty(), "with the rule, seed {seed} of {} fails as well: {flaws:#?}", mix.name);
}

#[test]
fn without_the_mark_of_the_unverified_late_events_stay_on_screens() {
    fails_without(HubRule::Unverified, &Mix::of("cap, leave", &[Cap, Leave]), &[Flaw::Foreign, Flaw::Stale]);
}

#[test]
fn compared_by_version_another_record_of_the_same_version_stays_on_screens() {
    fails_without(HubRule::Stamp, &Mix::of("content, rejected", &[Content, Rejected]), &[Flaw::Content]);
}

#[test]
fn without_the_check_for_the_gone_sessions_stay_behind() {
    fails_without(HubRule::GoneGuard, &Mix::of("cap, leave", &[Cap, Leave]), &[Flaw::Zombie]);
}

#[test]
fn a_gap_that_is_not_noted_leaves_screens_behind() {
    fails_without(HubRule::Gap, &Mix::of("gap", &[Gap]), &[Flaw::Stale]);
}

#[test]
fn a_claim_that_is_compared_as_a_cursor_leaves_screens_behind() {
    let mix = Mix { late: 0.25, ..Mix::of("sync, new log", &[Sync, NewLog]) };
    fails_without(HubRule::SyncRev, &mix, &[Flaw::Stale, Flaw::Content]);
}

#[test]
fn without_the_proof_records_fall_between_snapshot_and_tail() {
    fails_without(HubRule::Proof, &Mix::of("cap, trim, leave", &[Cap, Trim, Leave]), &[Flaw::Stale]);
}

#[test]
fn sessions_that_are_not_found_by_order_keep_what_is_theirs_no_more() {
    fails_without(HubRule::OrderIndex, &Mix::of("leave", &[Leave]), &[Flaw::Foreign]);
}

#[test]
fn what_the_store_refused_stays_on_screens_unless_it_is_struck() {
    fails_without(HubRule::Refused, &Mix::of("rejected", &[Rejected]), &[Flaw::Foreign, Flaw::Stale]);
}

#[test]
fn what_the_recorder_calls_unordered_stays_on_screens_unless_they_are_told() {
    fails_without(HubRule::Refused, &Mix::of("partitioners", &[Partitioners]), &[Flaw::Stale, Flaw::Content]);
}

#[test]
fn without_asking_for_what_is_shown_a_read_does_not_see_what_to_take_away() {
    fails_without(HubRule::PointRead, &Mix::model(), &[Flaw::Foreign]);
}
