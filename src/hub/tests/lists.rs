//! Lists that are longer than their bound.

use super::*;
use crate::domain::{ListPlace, Marker};

fn ann() -> Viewer {
    Viewer::User { id: user("ann"), only: None }
}

/// Orders of ann, saved, and a bound of two.
fn four_orders() -> Scene {
    let mut scene = Scene { max_orders: Some(2), ..Scene::new() };
    for id in ["A-1", "A-2", "A-3", "A-4"] {
        scene.set(id, 1, &["ann"]);
    }
    scene.fan();
    scene.save();
    scene.hub.trim(&scene.progress());
    scene
}

/// What the next snapshot says, and where its list ends.
fn snapshot_of(seat: &Seat) -> (String, Option<ListPlace>) {
    let Delivery::Snapshot(snapshot) = seat.mailbox.take() else { panic!("no snapshot") };
    let end = snapshot.list_end.clone();
    (sentence(snapshot), end)
}

fn place(offset: i64, id: &str) -> ListPlace {
    ListPlace { changed_at: offset, order_id: order(id) }
}

#[test]
fn a_list_holds_its_newest_and_says_where_it_was_cut() {
    let mut scene = four_orders();
    let seat = scene.join(ann(), true);
    scene.answer();
    assert_eq!(snapshot_of(&seat), ("all: A-3 v1/1 A-4 v1/1".into(), Some(place(2, "A-3"))));
    scene.max_orders = Some(4);
    let whole = scene.join(ann(), true);
    scene.answer();
    assert_eq!(snapshot_of(&whole), ("all: A-1 v1/1 A-2 v1/1 A-3 v1/1 A-4 v1/1".into(), None));
}

#[test]
fn what_comes_live_is_shown_beyond_the_bound_and_stays_through_audits() {
    let mut scene = four_orders();
    let seat = scene.live("ann");
    scene.set("A-1", 2, &["ann"]);
    scene.set("A-5", 1, &["ann"]);
    scene.set("A-6", 1, &["ann"]);
    scene.fan();
    assert_eq!(seat.hear(), ["A-1 v2", "A-5 v1", "A-6 v1"]);
    scene.save();
    scene.answer();
    seat.hear();
    scene.hub.audit(seat.key);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    assert!(seat.hear().is_empty(), "nothing is taken off");
    assert_eq!(scene.hub.shown_orders(seat.key), 5);
}

#[test]
fn who_starts_gets_no_more_than_the_bound_although_another_screen_shows_more() {
    let mut scene = four_orders();
    let first = scene.live("ann");
    scene.set("A-5", 1, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    first.hear();
    scene.hub.trim(&scene.progress());
    scene.hub.audit(first.key);
    let second = scene.join(ann(), true);
    scene.answer();
    assert_eq!(snapshot_of(&second), ("all: A-4 v1/1 A-5 v1/1".into(), Some(place(3, "A-4"))));
    assert!(first.hear().is_empty());
}

#[test]
fn what_comes_into_a_list_because_another_left_is_no_correction_and_what_is_missing_in_it_is_one() {
    let mut scene = four_orders();
    let seat = scene.live("ann");
    scene.erase("A-4");
    scene.fan();
    scene.save();
    assert_eq!(seat.hear(), ["-A-4"]);
    scene.hub.audit(seat.key);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    assert_eq!(seat.hear(), ["some: A-2 v1/1"]);
    let session = scene.hub.registry.sessions.get_mut(seat.key).unwrap();
    session.shown.remove(&order("A-2")).unwrap();
    scene.hub.audit(seat.key);
    let missing = Correction { order_id: order("A-2"), shown: None, truth: Some(revision(1, 1)) };
    assert_eq!(scene.answer(), [Reconciled::Done(vec![missing])]);
}

#[test]
fn orders_that_are_named_are_not_bound() {
    let mut scene = four_orders();
    let seat = scene.live("ann");
    let ids = ["A-1", "A-2", "A-3"].map(order).to_vec();
    scene.hub.subscribe(seat.key, Some(ids.clone()));
    scene.answer();
    assert_eq!(snapshot_of(&seat), ("some: -A-4 A-1 v1/1 A-2 v1/1 A-3 v1/1".into(), None));
    scene.hub.subscribe(seat.key, None);
    scene.answer();
    assert_eq!(snapshot_of(&seat).1, Some(place(2, "A-3")));
    let named = Arc::new(ids.into_iter().collect());
    let link = scene.join(Viewer::Link { orders: named }, true);
    scene.answer();
    assert_eq!(snapshot_of(&link), ("all: A-1 v1/1 A-2 v1/1 A-3 v1/1".into(), None));
}

#[test]
fn who_comes_back_keeps_what_it_names_and_hears_that_there_is_more() {
    let mut scene = four_orders();
    let seat = scene.join(ann(), false);
    let claims =
        [0, 2].map(|offset| (order(&format!("A-{}", offset + 1)), Some(Rev { stamp: stamp(offset), terminal: false })));
    scene.hub.sync(seat.key, claims.into_iter().collect());
    scene.answer();
    assert_eq!(snapshot_of(&seat), ("some: A-4 v1/1".into(), Some(place(2, "A-3"))));
    assert_eq!(scene.hub.shown_orders(seat.key), 3);
}

#[test]
fn a_part_of_a_list_is_read_behind_a_place_in_it() {
    let mut scene = four_orders();
    let seat = scene.join(ann(), false);
    scene.hub.read_part(seat.key, Some(place(3, "A-4")), 2);
    let due = scene.ask();
    let part = due.sessions[0].part.clone().unwrap();
    assert_eq!((part.after.as_ref(), part.max_orders), (Some(&place(3, "A-4")), 2));
    let query = SnapshotQuery { parts: vec![part], ..SnapshotQuery::default() };
    let snapshot = Snapshot::new(&query, scene.progress().to_vec(), scene.rows.clone());
    scene.settle(&due, &snapshot);
    assert_eq!(snapshot_of(&seat), ("all: A-2 v1/1 A-3 v1/1".into(), Some(place(1, "A-2"))));
}

#[test]
fn an_order_that_was_erased_for_its_age_stays_on_open_screens_and_is_no_correction() {
    let mut scene = four_orders();
    let seat = scene.live("ann");
    let history = scene.rows.get_mut(&order("A-4")).unwrap();
    let known = &history.known;
    history.known = Known::Erased(Marker { version: known.version(), stamp: known.stamp() });
    scene.hub.audit(seat.key);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    assert_eq!(seat.hear(), ["some: A-2 v1/1"], "which comes into the list");
    let newcomer = scene.join(ann(), true);
    scene.answer();
    assert_eq!(snapshot_of(&newcomer).0, "all: A-2 v1/1 A-3 v1/1");
    scene.set("A-4", 1, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    assert!(seat.hear().is_empty() && newcomer.hear().is_empty(), "a late one");
    scene.erase("A-3");
    scene.fan();
    assert_eq!(newcomer.hear().last().unwrap(), "-A-3");
}

#[test]
fn a_screen_reaches_as_far_as_it_did_although_its_list_is_read_less_far_later() {
    let mut scene = four_orders();
    let seat = scene.live("ann");
    scene.set("A-5", 1, &["ann"]);
    scene.set("A-6", 1, &["ann"]);
    scene.fan();
    scene.save();
    scene.answer();
    scene.hub.audit(seat.key);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])], "which ends at A-5");
    seat.hear();
    scene.hub.registry.sessions.get_mut(seat.key).unwrap().shown.remove(&order("A-4")).unwrap();
    scene.max_orders = Some(6);
    scene.hub.audit(seat.key);
    let missing = Correction { order_id: order("A-4"), shown: None, truth: Some(revision(1, 3)) };
    assert_eq!(scene.answer(), [Reconciled::Done(vec![missing])], "it showed A-3, and never reached A-2");
    assert_eq!(seat.hear(), ["some: A-1 v1/1 A-2 v1/1 A-4 v1/1"]);
}
