//! The tail: what completes a snapshot, what a proof needs, and how it stays small.

use super::*;
use crate::hub::{Struck, Tail};

fn tail(limit_bytes: usize, scene: &Scene) -> Tail {
    let mut tail = Tail::new(limit_bytes);
    tail.begin(position(0));
    scene.log.iter().for_each(|event| tail.append(event));
    tail
}

fn three_records() -> Scene {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-1", 2, &["ann", "bob"]);
    scene.set("A-2", 1, &["bob"]);
    scene
}

#[test]
fn a_proof_needs_every_partition_between_start_and_end_in_one_epoch() {
    let mut tail = tail(usize::MAX, &three_records());
    tail.trim(&[position(1)]);
    let proved: Vec<bool> = (0..5).map(|offset| tail.proves(&[position(offset)])).collect();
    assert_eq!(proved, [false, true, true, true, false]);
    assert!(!tail.proves(&[Position { epoch: Epoch(8), ..position(2) }]));
    assert!(!tail.proves(&[]) && !tail.proves(&[position(2), Position { partition: 1, ..position(0) }]));
    tail.begin(Position { partition: 1, ..position(0) });
    assert!(!tail.proves(&[position(2)]), "the snapshot does not know the new partition");
}

#[test]
fn a_snapshot_is_completed_by_what_came_after_it() {
    let scene = three_records();
    let tail = tail(usize::MAX, &scene);
    let version = |offset| {
        let history = tail.complete(&order("A-1"), None, &[position(offset)])?;
        Some(history.known.version().number)
    };
    assert_eq!((version(0), version(1), version(2)), (Some(2), Some(2), None));
    let named: Vec<_> = tail.orders_naming(&user("bob"), &[position(1)]).map(OrderId::as_str).collect();
    assert_eq!(named, ["A-1", "A-2"]);
    assert_eq!(tail.orders_naming(&user("bob"), &[position(3)]).count(), 0);
}

#[test]
fn beyond_the_byte_cap_the_oldest_events_go_and_proofs_with_them() {
    let scene = three_records();
    let whole = tail(usize::MAX, &scene).size();
    let tail = tail(whole.1 - 1, &scene);
    assert_eq!(tail.size().0, 2);
    assert!(tail.size().1 < whole.1);
    assert!(!tail.proves(&[position(0)]) && tail.proves(&[position(1)]));
}

#[test]
fn what_was_trimmed_or_struck_is_in_no_index() {
    let scene = three_records();
    let mut tail = tail(usize::MAX, &scene);
    assert!(matches!(tail.strike(0, 1), Struck::Event(event) if event.stamp == stamp(1)));
    assert!(matches!(tail.strike(0, 1), Struck::Nothing));
    assert!(tail.complete(&order("A-1"), None, &[position(1)]).is_none());
    tail.trim(&[position(3)]);
    assert_eq!(tail.size(), (0, 0));
    assert_eq!(tail.orders_naming(&user("bob"), &[position(0)]).count(), 0);
    assert_eq!(tail.end(0), Some((EPOCH, 3)));
}

#[test]
fn a_trim_in_another_log_does_nothing_and_one_ahead_stops_at_the_end() {
    let mut tail = tail(usize::MAX, &three_records());
    tail.trim(&[Position { epoch: Epoch(8), ..position(3) }]);
    assert_eq!(tail.size().0, 3);
    tail.trim(&[position(99)]);
    assert_eq!((tail.size().0, tail.end(0)), (0, Some((EPOCH, 3))));
}

#[test]
fn positions_are_reached_in_every_partition_or_not_at_all() {
    let mut tail = tail(usize::MAX, &three_records());
    let reached: Vec<bool> = (2..5).map(|offset| tail.has_reached(&[position(offset)])).collect();
    assert_eq!(reached, [true, true, false]);
    assert!(!tail.has_reached(&[Position { epoch: Epoch(8), ..position(2) }]));
    let there = Position { partition: 1, ..position(4) };
    assert!(!tail.has_reached(&[position(2), there]), "it is not followed yet");
    tail.begin(there);
    assert!(tail.has_reached(&[position(2), there]));
}

#[test]
fn what_is_known_stands_in_the_log_that_is_followed_and_of_others_nobody_knows() {
    let tail = tail(usize::MAX, &three_records());
    let (there, older) = (Stamp { partition: 1, ..stamp(0) }, Stamp { epoch: Epoch(6), ..stamp(0) });
    assert!(tail.stands(stamp(1), there));
    assert!(!tail.stands(there, stamp(1)), "that partition is not followed");
    assert!(!tail.stands(older, there) && !tail.stands(stamp(1), Stamp { epoch: Epoch(6), ..there }));
    assert!(!tail.stands(older, older), "that log is not followed");
}

#[test]
fn a_partition_that_begins_anew_is_in_no_index_and_the_others_stay() {
    let mut scene = three_records();
    let mut tail = tail(usize::MAX, &scene);
    let there = Position { partition: 1, ..position(0) };
    tail.begin(there);
    let mut elsewhere = scene.set("A-1", 3, &["ann"]);
    elsewhere.stamp = Stamp { partition: 1, ..stamp(0) };
    tail.append(&elsewhere);
    tail.begin(there);
    let named: Vec<_> = tail.orders_naming(&user("ann"), &[]).map(OrderId::as_str).collect();
    assert_eq!(named, ["A-1", "A-1"], "both of partition 0");
    assert_eq!(tail.size().0, 3);
    tail.append(&elsewhere);
    assert_eq!(tail.orders_naming(&user("ann"), &[]).count(), 3, "and nothing is found twice");
}

#[test]
fn an_event_with_many_names_weighs_more_and_the_cap_itself_is_allowed() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann"]);
    let (_, one) = tail(usize::MAX, &scene).size();
    scene.set("A-2", 1, &["ann", "bob", "cat"]);
    let (_, both) = tail(usize::MAX, &scene).size();
    assert!(both - one > one);
    assert_eq!(tail(both, &scene).size(), (2, both));
    scene.erase("A-2");
    assert!(tail(usize::MAX, &scene).size().1 - both < one, "a tombstone has no state");
}
