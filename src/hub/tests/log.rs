//! What records do: order of versions, withdrawal, refusals, gaps.

use super::*;
use crate::{
    domain::{Verdict, version::MAX_VERSION},
    hub::rules::HubRule,
};

#[test]
fn an_update_is_shown_to_whom_it_names_and_to_nobody_else() {
    let mut scene = Scene::new();
    let (ann, bob) = (scene.live("ann"), scene.live("bob"));
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    assert_eq!((ann.hear(), bob.hear()), (vec!["A-1 v1".to_owned()], vec![]));
}

#[test]
fn a_late_event_and_a_duplicate_are_not_shown() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    for number in [2, 1, 2] {
        scene.set("A-1", number, &["ann"]);
    }
    let verdicts: Vec<_> = scene.log.clone().iter().map(|event| scene.hub.on_record(event).unwrap()).collect();
    assert!(matches!(verdicts[1..], [Verdict::Late, Verdict::Duplicate]), "{verdicts:?}");
    assert_eq!(ann.hear(), ["A-1 v2"]);
}

#[test]
fn a_record_below_the_tails_end_is_ignored() {
    for rule_holds in [true, false] {
        let mut scene = Scene::new();
        scene.hub.rules.off = (!rule_holds).then_some(HubRule::OffsetGuard);
        let ann = scene.live("ann");
        let first = scene.set("A-1", 1, &["ann"]);
        scene.erase("A-1");
        scene.fan();
        ann.hear();
        // A rebuilt fanout brings it again.
        assert_eq!(scene.hub.on_record(&first).is_none(), rule_holds);
        assert_eq!(ann.hear().is_empty(), rule_holds, "an erased order must not flash up");
    }
}

#[test]
fn a_record_of_another_log_is_ignored() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    let event = scene.set("A-1", 1, &["ann"]);
    let elsewhere = Stamp { epoch: Epoch(8), ..event.stamp };
    let event = OrderEvent { stamp: elsewhere, ..event.clone() };
    assert!(scene.hub.on_record(&Arc::new(event)).is_none());
    assert!(ann.hear().is_empty());
}

#[test]
fn a_removed_goes_before_a_version_that_is_not_greater() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v5"]);
    scene.set_as("A-1", Version { kind: VersionKind::Log(EPOCH), number: 2 }, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["-A-1", "A-1 v2"]);
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["-A-1", "A-1 v2"], "the same number of another kind is none that a client takes for newer");
}

#[test]
fn a_tombstone_withdraws_from_everybody() {
    let mut scene = Scene::new();
    let seats = [scene.live("ann"), scene.live("ann"), scene.live("bob")];
    scene.set("A-1", 1, &["ann", "bob"]);
    scene.fan();
    seats.iter().for_each(|seat| _ = seat.hear());
    scene.erase("A-1");
    scene.fan();
    for seat in &seats {
        assert_eq!(seat.hear(), ["-A-1"]);
        assert_eq!(scene.hub.shown_orders(seat.key), 0);
    }
}

/// What the tail still holds of the order, what the hub showed of it, and what nobody here has seen.
#[test]
fn a_late_event_brings_back_no_order_whose_tombstone_was_seen() {
    for rule_holds in [true, false] {
        for trimmed in [0, 1] {
            let mut scene = Scene::new();
            scene.hub.rules.off = (!rule_holds).then_some(HubRule::Memory);
            let ann = scene.live("ann");
            scene.set("A-1", 5, &["ann"]);
            scene.fan();
            scene.save();
            scene.answer();
            assert_eq!(ann.hear(), ["A-1 v5"]);
            scene.hub.trim(&[position(trimmed)]);
            scene.erase("A-1");
            scene.set("A-1", 1, &["ann"]);
            scene.set("A-1", 5, &["ann"]);
            scene.fan();
            assert_eq!(ann.hear() == ["-A-1"], rule_holds, "trimmed: {trimmed}");
            scene.save();
            scene.answer();
            ann.hear();
            assert_eq!(scene.hub.shown_orders(ann.key), 0);
            scene.set("A-1", 6, &["ann"]);
            scene.fan();
            assert_eq!(ann.hear(), ["A-1 v6"]);
        }
    }
}

#[test]
fn a_late_event_shows_no_order_that_others_saw_overtaken_or_erased() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["bob"]);
    scene.set("A-1", 4, &["ann"]);
    scene.set("A-2", 5, &["bob"]);
    scene.erase("A-2");
    scene.set("A-2", 5, &["ann"]);
    scene.fan();
    assert!(ann.hear().is_empty());
    scene.set("A-2", 6, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-2 v6"]);
}

#[test]
fn a_session_that_starts_is_shown_no_late_event_of_an_erased_order() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    ann.hear();
    scene.hub.trim(&[position(1)]);
    scene.erase("A-1");
    scene.set("A-1", 1, &["ann", "bob"]);
    scene.fan();
    let bob = scene.join(Viewer::User { id: user("bob"), only: None }, true);
    scene.answer();
    assert_eq!(bob.hear(), ["all: "]);
}

#[test]
fn what_is_remembered_of_an_erased_order_goes_with_its_tombstone() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    ann.hear();
    scene.erase("A-1");
    scene.fan();
    assert_eq!(ann.hear(), ["-A-1"]);
    scene.save();
    scene.hub.trim(&[position(2)]);
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1"], "only the database knows better");
    scene.save();
    scene.answer();
    assert_eq!(ann.hear(), ["some: -A-1"]);
}

/// A kind that changed is newer, whatever its number; what came before it is not remembered against what follows.
#[test]
fn what_is_remembered_holds_off_nothing_that_is_newer() {
    let log = |number| Version { kind: VersionKind::Log(EPOCH), number };
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    scene.erase("A-1");
    scene.set_as("A-1", log(3), &["bob"]);
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear().last().map(String::as_str), Some("A-1 v2"));
}

#[test]
fn a_tombstone_that_the_store_refused_is_not_remembered() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    scene.erase("A-1");
    scene.fan();
    scene.hub.refused(stamp(1));
    scene.saved = 2;
    scene.answer();
    ann.hear();
    assert_eq!(scene.hub.shown_orders(ann.key), 1, "it is there again");
}

#[test]
fn a_reset_takes_the_order_away_and_any_version_brings_it_back() {
    for proved in [true, false] {
        let mut scene = Scene::new();
        let ann = scene.live("ann");
        scene.set("A-1", MAX_VERSION, &["ann"]);
        scene.fan();
        if proved {
            scene.save();
            scene.answer();
        }
        scene.set("A-1", 3, &["ann"]);
        scene.fan();
        assert_eq!(ann.hear(), [format!("A-1 v{MAX_VERSION}")]);
        scene.reset("A-1");
        scene.set("A-1", 3, &["ann"]);
        scene.fan();
        assert_eq!(ann.hear(), ["-A-1", "A-1 v3"]);
        scene.save();
        scene.hub.retry_postponed(&scene.progress());
        scene.answer();
        assert!(ann.hear().is_empty(), "that is the truth");
        assert_eq!(scene.hub.shown_orders(ann.key), 1);
    }
}

#[test]
fn a_reset_of_an_order_that_nobody_shows_is_heeded_as_well() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", MAX_VERSION, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    ann.hear();
    scene.erase("A-1");
    scene.fan();
    assert_eq!(ann.hear(), ["-A-1"]);
    scene.reset("A-1");
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-2", MAX_VERSION, &["bob"]);
    scene.reset("A-2");
    scene.set("A-2", 1, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1", "A-2 v1"]);
}

#[test]
fn who_is_no_longer_named_is_told_so_and_nothing_more() {
    let mut scene = Scene::new();
    let (ann, bob) = (scene.live("ann"), scene.live("bob"));
    scene.set("A-1", 1, &["ann", "bob"]);
    scene.fan();
    ann.hear();
    bob.hear();
    scene.set("A-1", 2, &["ann"]);
    scene.set("A-1", 3, &["ann"]);
    scene.fan();
    assert_eq!((ann.hear(), bob.hear()), (vec!["A-1 v3".to_owned()], vec!["-A-1".to_owned()]));
}

#[test]
fn an_order_that_came_and_went_between_two_looks_is_not_mentioned() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.erase("A-1");
    scene.fan();
    assert!(ann.hear().is_empty());
}

#[test]
fn previous_is_the_state_before_the_event_for_every_session() {
    let mut scene = Scene::new();
    let (reads_all, is_behind) = (scene.live("ann"), scene.live("ann"));
    for number in [1, 2, 3] {
        scene.set("A-1", number, &["ann"]);
        scene.fan();
        if number < 3 {
            reads_all.hear();
        }
    }
    for seat in [reads_all, is_behind] {
        let Delivery::Updates(frames) = seat.mailbox.take() else { panic!("an update") };
        let message = json(frames.last().unwrap());
        assert_eq!(
            (&message["version"], &message["previous_version"], &message["previous_status"]),
            (&3.into(), &2.into(), &"s2".into())
        );
    }
}

#[test]
fn what_the_store_refused_is_struck_and_its_order_read_again() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    scene.save();
    let ann = scene.live("ann");
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2"]);
    scene.saved = 2;
    scene.hub.refused(stamp(1));
    scene.answer();
    assert_eq!(ann.hear(), ["some: A-1 v1/1"]);
}

#[test]
fn a_record_that_is_known_to_be_refused_is_ignored_when_it_comes() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.hub.refused(stamp(0));
    scene.fan();
    assert!(ann.hear().is_empty());
    assert_eq!(scene.hub.end(0), Some(position(1)));
}

#[test]
fn a_refusal_in_another_log_strikes_nothing_in_this_one() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.hub.refused(Stamp { epoch: Epoch(6), ..stamp(0) });
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1"]);
}

#[test]
fn refusals_of_records_that_were_passed_are_forgotten() {
    let mut scene = Scene::new();
    (0..10).for_each(|offset| scene.hub.refused(stamp(offset)));
    scene.hub.advance(0, 5);
    assert_eq!(scene.hub.refused.len(), 5);
    scene.hub.gap(position(9));
    assert_eq!(scene.hub.refused.len(), 1);
}

#[test]
fn a_gap_lets_every_screen_be_read_again() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.hub.gap(position(1));
    assert!(ann.hear().is_empty(), "the record was skipped");
    assert!(!ann.mailbox.is_proven(), "and until it was read nobody knows what the screen misses");
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])], "what a gap hid is no fault of the hub");
    assert_eq!(ann.hear(), ["some: A-1 v1/1"]);
    assert!(ann.mailbox.is_proven());
}

#[test]
fn a_partition_that_is_found_late_lets_every_screen_be_read_again() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    let found = Position { partition: 1, epoch: EPOCH, next_offset: 3 };
    scene.hub.begin(found);
    assert!(!ann.mailbox.is_proven(), "another instance may have recorded what lies below");
    let due = scene.ask();
    let snapshot = Snapshot::new(&SnapshotQuery::default(), vec![position(0), found], HashMap::new());
    assert_eq!(scene.settle(&due, &snapshot), [Reconciled::Done(vec![])]);
    assert!(ann.mailbox.is_proven());
}

#[test]
fn what_was_shown_of_records_that_are_lost_leaves_every_screen() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    scene.save();
    let (ann, bob) = (scene.live("ann"), scene.live("bob"));
    scene.set("A-1", 2, &["bob"]);
    scene.set("A-2", 1, &["ann"]);
    scene.fan();
    scene.answer();
    assert_eq!(
        (ann.hear(), bob.hear()),
        (vec!["-A-1".to_owned(), "A-2 v1".to_owned()], vec!["some: A-1 v2/2".to_owned()])
    );
    // A read that was sent before must not prove anything any more: its tail is gone.
    scene.hub.audit(ann.key);
    let (before, stale) = (scene.ask(), scene.snapshot(&DueReads::default()));
    scene.saved = 3;
    scene.hub.lost(position(3));
    assert!(!ann.mailbox.is_proven() && !bob.mailbox.is_proven(), "nobody knows what the screens should show");
    assert_eq!(scene.settle(&before, &stale), [Reconciled::Unverified]);
    scene.hub.retry_postponed(&scene.progress());
    let outcomes = scene.answer();
    assert!(outcomes.iter().all(|outcome| *outcome == Reconciled::Done(vec![])), "no fault of the hub: {outcomes:?}");
    assert_eq!((ann.hear(), bob.hear()), (vec!["some: -A-2 A-1 v1/1".to_owned()], vec!["some: -A-1".to_owned()]));
    assert!(ann.mailbox.is_proven() && bob.mailbox.is_proven());
}

#[test]
fn lost_records_that_the_fanout_still_has_in_hand_are_not_shown() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    let late = scene.set("A-1", 1, &["ann"]);
    scene.set("A-2", 1, &["ann"]);
    scene.saved = 1;
    scene.hub.lost(position(1));
    assert!(scene.hub.on_record(&late).is_none());
    scene.fan();
    scene.answer();
    assert_eq!(ann.hear(), ["A-2 v1"]);
    assert!(ann.mailbox.is_proven());
}

#[test]
fn what_was_lost_of_another_life_of_the_log_says_nothing_of_this_one() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    let before = scene.hub.tail_size();
    assert_eq!(before.0, 2);
    let other = |offset| Position { epoch: Epoch(8), ..position(offset) };
    let there = Position { partition: 1, ..position(1) };
    for to in [other(1), other(9), there] {
        scene.hub.lost(to);
        assert_eq!((scene.hub.tail_size(), ann.mailbox.is_proven()), (before, true), "{to:?}");
    }
    scene.hub.lost(position(1));
    assert_eq!((scene.hub.tail_size().0, scene.hub.end(0)), (1, Some(position(2))), "what follows is held on to");
    scene.hub.lost(position(2));
    assert_eq!(scene.hub.tail_size(), (0, 0));
}
