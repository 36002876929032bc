//! Reads: first sights, proofs, corrections, and reads that fail.

use super::*;
use crate::hub::registry::{SessionPhase, Shown};

#[test]
fn the_first_sight_of_an_order_is_followed_by_its_earlier_steps() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["bob"]);
    scene.set("A-1", 2, &["bob"]);
    scene.save();
    scene.fan();
    let ann = scene.live("ann");
    scene.set("A-1", 3, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v3"]);
    scene.answer();
    assert_eq!(ann.hear(), ["some: A-1 v3/3"]);
}

#[test]
fn an_order_without_earlier_steps_is_not_told_twice() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1"]);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    assert!(ann.hear().is_empty());
}

#[test]
fn steps_that_a_reader_skipped_before_it_saw_an_order_are_told() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    scene.answer();
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    scene.answer();
    assert_eq!(ann.hear(), ["some: A-1 v2/2"], "version 1 was pending, and is a step of the timeline now");
}

#[test]
fn a_removed_takes_the_timeline_so_it_is_told_again() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 5, &["ann"]);
    scene.fan();
    scene.answer();
    ann.hear();
    scene.set_as("A-1", Version { kind: VersionKind::Log(EPOCH), number: 2 }, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["-A-1", "A-1 v2"]);
    scene.answer();
    assert_eq!(ann.hear(), ["some: A-1 v2/2"]);
}

#[test]
fn a_late_event_that_was_shown_of_an_unknown_order_is_taken_back() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["bob"]);
    scene.set("A-1", 9, &["bob"]);
    scene.save();
    scene.fan();
    scene.hub.trim(&scene.progress());
    let ann = scene.live("ann");
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2"]);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])], "the order was never proved, so nothing was wrong");
    assert_eq!(ann.hear(), ["some: -A-1"]);
}

#[test]
fn a_wrong_state_of_a_proved_order_is_a_correction_and_reaches_all_who_are_named() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.fan();
    let (ann, bob) = (scene.live("ann"), scene.live("bob"));
    // The hub never hears of this record.
    scene.set("A-1", 2, &["bob"]);
    scene.save();
    scene.hub.advance(0, 2);
    scene.hub.audit(ann.key);
    let correction = Correction { order_id: order("A-1"), shown: Some(revision(1, 0)), truth: Some(revision(2, 1)) };
    assert_eq!(scene.answer(), [Reconciled::Done(vec![correction])]);
    assert_eq!((ann.hear(), bob.hear()), (vec!["some: -A-1".to_owned()], vec!["some: A-1 v2/2".to_owned()]));
    scene.erase("A-1");
    scene.fan();
    assert_eq!(bob.hear(), ["-A-1"], "the order is still found by who shows it");
}

#[test]
fn an_audit_of_a_true_screen_says_nothing() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.fan();
    let ann = scene.live("ann");
    scene.hub.audit(ann.key);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    assert!(ann.hear().is_empty());
}

#[test]
fn an_audit_finds_and_repairs_what_one_screen_alone_shows_wrongly() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-2", 1, &["ann"]);
    scene.save();
    scene.fan();
    let (ann, other) = (scene.live("ann"), scene.live("ann"));
    scene.set("A-1", 2, &["ann"]);
    scene.save();
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2"]);
    let session = &mut scene.hub.registry.sessions[ann.key];
    session.shown.get_mut(&order("A-1")).unwrap().rev = Some(Rev { stamp: stamp(0), terminal: false });
    session.shown.remove(&order("A-2"));
    scene.hub.audit(ann.key);
    let [Reconciled::Done(corrections)] = &mut scene.answer()[..] else { panic!("one session was audited") };
    corrections.sort_by(|a, b| a.order_id.cmp(&b.order_id));
    let wrong = Correction { order_id: order("A-1"), shown: Some(revision(2, 0)), truth: Some(revision(2, 2)) };
    let missing = Correction { order_id: order("A-2"), shown: None, truth: Some(revision(1, 1)) };
    assert_eq!(corrections, &[wrong, missing]);
    assert_eq!(ann.hear(), ["some: A-1 v2/2 A-2 v1/1"]);
    assert_eq!(other.hear(), ["A-1 v2"], "the other screen was right");
}

#[test]
fn an_audit_finds_nothing_wrong_with_a_screen_that_lacks_an_order_the_hub_seeks_itself() {
    for sought in [false, true] {
        let mut scene = Scene::new();
        let ann = scene.live("ann");
        // The hub never hears of this record.
        scene.set("A-1", 1, &["ann"]);
        scene.save();
        scene.hub.advance(0, 1);
        if sought {
            scene.hub.reads.seek(&order("A-1"));
        }
        scene.hub.audit(ann.key);
        let [Reconciled::Done(corrections), ..] = &scene.answer()[..] else { panic!("one session was audited") };
        assert_eq!(corrections.is_empty(), sought, "{corrections:?}");
        assert_eq!(ann.hear(), ["some: A-1 v1/1"], "shown it is");
    }
}

#[test]
fn every_live_session_can_be_drawn_for_an_audit() {
    let mut scene = Scene::new();
    scene.hub.audit_drawn([7]);
    let seats: Vec<Seat> = ["ann", "bob", "cid"].iter().map(|id| scene.live(id)).collect();
    scene.hub.leave(seats[0].key);
    scene.hub.audit_drawn([0, 1, 2, usize::MAX]);
    let mut drawn: Vec<_> = scene.ask().sessions.iter().map(|read| read.user.clone().unwrap().to_string()).collect();
    drawn.sort();
    assert_eq!(drawn, ["bob", "cid"]);
}

#[test]
fn a_start_without_proof_shows_what_there_is_and_is_proved_later() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    // The recorder is behind a tail that has been cut.
    scene.hub.trim(&[position(1)]);
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    assert_eq!(scene.answer(), [Reconciled::Unverified]);
    assert_eq!(ann.hear(), ["all: A-1 v2/1"]);
    assert!(!ann.mailbox.is_proven());
    assert_eq!(scene.answer(), [Reconciled::Unverified], "the order that was shown unverified");
    scene.hub.retry_postponed(&scene.progress());
    assert!(!scene.hub.has_due_reads(), "both would fail again");
    scene.save();
    scene.hub.retry_postponed(&scene.progress());
    scene.answer();
    assert_eq!(ann.hear(), ["some: A-1 v2/2"]);
    assert!(ann.mailbox.is_proven());
}

#[test]
fn records_before_what_a_start_without_proof_has_shown_are_not_applied_over_it() {
    let mut scene = Scene::new();
    scene.set("A-1", 5, &["ann"]);
    scene.erase("A-1");
    scene.set("A-1", 6, &["ann"]);
    scene.save();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    assert_eq!(scene.answer(), [Reconciled::Unverified], "the fanout is behind");
    assert_eq!(ann.hear(), ["all: A-1 v6/1"]);
    scene.fan();
    assert!(ann.hear().is_empty());
}

#[test]
fn an_audit_that_cannot_be_proved_is_put_off() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.hub.audit(ann.key);
    assert_eq!(scene.answer(), [Reconciled::Unverified]);
    assert!(ann.hear().is_empty() && !scene.hub.has_due_reads());
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1"]);
    scene.hub.retry_postponed(&scene.progress());
    assert!(scene.hub.has_due_reads());
}

#[test]
fn reads_that_failed_are_due_again_and_can_be_halved() {
    let mut scene = Scene::new();
    let seats: Vec<Seat> =
        (0..5).map(|n| scene.join(Viewer::User { id: user(&format!("u{n}")), only: None }, true)).collect();
    let mut due = scene.ask();
    let half = due.split_half();
    assert_eq!((due.len(), half.len()), (3, 2));
    let mut single = DueReads { sessions: due.sessions[..1].to_vec(), orders: vec![] };
    assert!(single.split_half().is_empty(), "one read cannot be halved");
    scene.hub.leave(seats[4].key);
    scene.hub.retry(due);
    scene.hub.retry(half);
    assert_eq!(scene.ask().len(), 4, "one has left");
}

#[test]
fn an_order_is_read_once_however_many_updates_come() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    let due = scene.ask();
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    scene.live("ann");
    assert!(due.len() == 1 && !scene.hub.has_due_reads());
    let snapshot = scene.snapshot(&due);
    scene.settle(&due, &snapshot);
    assert_eq!(ann.hear(), ["some: A-1 v2/2"]);
}

#[test]
fn what_a_session_was_shown_after_its_read_was_sent_is_read_too_if_doubted() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.fan();
    let (ann, bob) = (scene.live("ann"), scene.live("bob"));
    scene.hub.audit(bob.key);
    let of_bob = scene.ask();
    let snapshot_of_bob = Snapshot::new(&SnapshotQuery::default(), vec![position(3)], HashMap::new());
    // The hub misses a record that names bob, and ann's audit puts that right.
    scene.set("A-1", 2, &["ann", "bob"]);
    scene.save();
    scene.hub.advance(0, 2);
    scene.hub.audit(ann.key);
    scene.answer();
    assert_eq!(bob.hear(), ["some: A-1 v2/2"]);
    // Then records are skipped, one of which takes the order from bob; ann leaves.
    scene.set("A-1", 3, &["ann"]);
    scene.save();
    scene.hub.gap(position(3));
    scene.hub.leave(ann.key);
    scene.settle(&of_bob, &snapshot_of_bob);
    scene.answer();
    assert_eq!(bob.hear(), ["some: -A-1"]);
}

#[test]
fn reads_do_not_pile_up_while_nobody_can_answer_them() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    for _ in 0..100 {
        scene.hub.restart(ann.key);
        scene.hub.audit(ann.key);
        let gone = scene.join(Viewer::User { id: user("bob"), only: None }, true);
        scene.hub.leave(gone.key);
    }
    scene.hub.trim(&[]);
    assert_eq!(scene.ask().len(), 1);
}

#[test]
fn a_screen_that_shows_an_unverified_order_for_too_long_says_so_until_it_is_read() {
    let mut scene = Scene::new();
    let (ann, bob) = (scene.live("ann"), scene.live("bob"));
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2"]);
    // Asked again and again, and never answered.
    for _ in 0..30 {
        let due = scene.ask();
        scene.hub.second_passed();
        scene.hub.retry(due);
        assert!(ann.mailbox.doubts().is_fresh());
    }
    scene.hub.second_passed();
    assert!(ann.mailbox.doubts().contains(StaleReason::DatabaseUnavailable));
    assert!(bob.mailbox.doubts().is_fresh(), "who does not show the order knows all there is");
    scene.set("A-1", 3, &["ann", "bob"]);
    scene.fan();
    scene.hub.second_passed();
    assert!(!bob.mailbox.doubts().is_fresh(), "who is shown it now does not");
    scene.save();
    scene.answer();
    scene.hub.second_passed();
    assert!(ann.mailbox.doubts().is_fresh() && bob.mailbox.doubts().is_fresh());
}

#[test]
fn a_screen_says_that_the_recorder_is_behind_where_the_database_answers_and_proves_nothing() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    scene.hub.trim(&[position(1)]);
    let told = |scene: &mut Scene, seconds| {
        (0..seconds).for_each(|_| scene.hub.second_passed());
        ann.mailbox.doubts().iter().collect::<Vec<_>>()
    };
    scene.answer();
    assert_eq!(told(&mut scene, 30), []);
    assert_eq!(told(&mut scene, 1), [StaleReason::CatchingUp]);
    scene.hub.trim(&[]);
    scene.save();
    scene.hub.retry_postponed(&[position(1)]);
    assert_eq!(told(&mut scene, 29), [StaleReason::CatchingUp], "it has answered only just");
    assert_eq!(told(&mut scene, 1), [StaleReason::DatabaseUnavailable], "and now not for long");
    scene.answer();
    assert_eq!(told(&mut scene, 1), []);
}

#[test]
fn an_answer_that_breaks_off_in_the_middle_is_owed_in_full_and_nothing_comes_before_it() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.fan();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    let mut due = scene.ask();
    let read = due.sessions.remove(0);
    // As far as it gets.
    let session = &mut scene.hub.registry.sessions[ann.key];
    (session.phase, session.queued, session.half_shown) = (SessionPhase::Live, false, true);
    session.shown.insert(
        order("A-1"),
        Shown { rev: Some(Rev { stamp: stamp(0), terminal: false }), version: Some(1), timeline: true },
    );
    let again = scene.hub.broke_off(read);
    assert!(!scene.hub.has_due_reads(), "it is for who took the read to say when it is due again");
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert!(ann.hear().is_empty());
    scene.hub.retry(DueReads { sessions: vec![again], orders: vec![] });
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v2/2"]);
}

#[test]
fn a_read_that_breaks_off_before_it_has_changed_anything_is_just_due_again() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.save();
    scene.fan();
    let ann = scene.live("ann");
    scene.hub.audit(ann.key);
    let mut due = scene.ask();
    scene.hub.registry.sessions[ann.key].queued = false;
    let again = scene.hub.broke_off(due.sessions.remove(0));
    scene.hub.retry(DueReads { sessions: vec![again], orders: vec![] });
    scene.set("A-1", 2, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v2"], "its screen goes on");
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
}
