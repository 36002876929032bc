//! Who sees what, how many may, and what becomes of a reader that stalls.

use super::*;
use crate::hub::{SessionIdentity, Shows};

fn list_of(ids: &[&str]) -> crate::domain::OrderList {
    Arc::new(ids.iter().map(|id| order(id)).collect())
}

#[test]
fn a_session_whose_mailbox_overflowed_says_that_it_is_behind_until_its_snapshot() {
    let mut scene = Scene { mailbox_bytes: 300, ..Scene::new() };
    let ann = scene.live("ann");
    assert!(ann.mailbox.doubts().is_fresh());
    for (id, version) in [("A-1", 1), ("A-2", 1), ("A-3", 1), ("A-1", 2)] {
        scene.set(id, version, &["ann"]);
    }
    scene.fan();
    assert_eq!(ann.hear(), ["overflowed"]);
    scene.hub.restart(ann.key);
    assert!(
        ann.mailbox.doubts().contains(StaleReason::CatchingUp),
        "records pass it by for as long as nothing is read"
    );
    scene.answer();
    assert!(ann.mailbox.doubts().is_fresh());
    assert_eq!(ann.hear(), ["all: A-1 v2/2 A-2 v1/1 A-3 v1/1"]);
}

#[test]
fn nothing_is_told_before_the_snapshot() {
    let mut scene = Scene::new();
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    assert!(ann.hear().is_empty());
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v1/1"], "the tail completes what was read before");
}

#[test]
fn what_a_start_without_proof_reads_takes_nothing_back_that_the_hub_has_shown_since() {
    let mut scene = Scene::new();
    scene.set("A-1", 1, &["ann", "bob"]);
    scene.set("A-1", 2, &["ann", "bob"]);
    scene.save();
    scene.set("B-1", 1, &["cid"]);
    scene.fan();
    // The recorder is behind a tail that has been cut.
    scene.hub.trim(&[position(3)]);
    let ann = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    scene.answer();
    assert_eq!(ann.hear(), ["all: A-1 v2/2"]);
    scene.set("A-1", 3, &["ann", "bob"]);
    scene.fan();
    scene.hub.trim(&[position(4)]);
    assert_eq!(ann.hear(), ["A-1 v3"]);
    let bob = scene.join(Viewer::User { id: user("bob"), only: None }, true);
    let due = scene.ask();
    let snapshot = scene.snapshot(&due);
    assert!(scene.hub.has_reached(&snapshot));
    assert_eq!(scene.settle(&due, &snapshot)[0], Reconciled::Unverified);
    assert_eq!(bob.hear(), ["all: A-1 v3/1"], "with no step that is another's");
    scene.set("A-1", 4, &["ann", "bob"]);
    scene.save();
    let ahead = scene.snapshot(&due);
    assert!(!scene.hub.has_reached(&ahead), "the fanout is behind");
}

#[test]
fn a_link_sees_the_orders_it_lists_whatever_events_name() {
    let mut scene = Scene::new();
    let link = scene.join(Viewer::Link { orders: list_of(&["A-1"]) }, true);
    scene.answer();
    link.hear();
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-2", 1, &["ann"]);
    scene.fan();
    assert_eq!(link.hear(), ["A-1 v1"]);
}

#[test]
fn a_tokens_list_narrows_what_its_user_sees() {
    let mut scene = Scene::new();
    let narrow = scene.join(Viewer::User { id: user("ann"), only: Some(list_of(&["A-1", "A-3"])) }, true);
    scene.answer();
    narrow.hear();
    scene.set("A-1", 1, &["ann"]);
    scene.set("A-2", 1, &["ann"]);
    scene.set("A-3", 1, &["bob"]);
    scene.fan();
    assert_eq!(narrow.hear(), ["A-1 v1"]);
}

#[test]
fn the_key_of_a_session_that_left_does_nothing() {
    let mut scene = Scene::new();
    let gone = scene.join(Viewer::User { id: user("ann"), only: None }, true);
    let due = scene.ask();
    scene.hub.leave(gone.key);
    let stays = scene.live("ann");
    let snapshot = scene.snapshot(&due);
    assert_eq!(scene.settle(&due, &snapshot), [Reconciled::Gone]);
    scene.hub.leave(gone.key);
    scene.hub.restart(gone.key);
    scene.hub.sync(gone.key, HashMap::new());
    scene.hub.subscribe(gone.key, None);
    scene.hub.audit(gone.key);
    assert!(!scene.hub.has_due_reads());
    assert_eq!((scene.hub.sessions(), gone.hear(), stays.hear()), (1, vec![], vec![]));
}

#[test]
fn nothing_stays_of_sessions_that_left() {
    let mut scene = Scene::new();
    let seats = [scene.live("ann"), scene.live("bob"), scene.join(Viewer::Link { orders: list_of(&["A-1"]) }, true)];
    scene.set("A-1", 1, &["ann", "bob"]);
    scene.fan();
    seats.iter().for_each(|seat| scene.hub.leave(seat.key));
    assert!(scene.hub.registry.is_empty());
    scene.hub.trim(&[]);
    assert!(!scene.hub.has_due_reads());
}

#[test]
fn a_reader_that_stalls_is_brought_back_by_a_full_snapshot() {
    let mut scene = Scene { mailbox_bytes: 1_000, ..Scene::new() };
    let (stalled, other) = (scene.live("ann"), scene.live("bob"));
    for n in 0..20 {
        scene.set(&format!("A-{n}"), 1, &["ann"]);
        scene.fan();
        assert!(stalled.mailbox.pending_bytes() <= 1_000);
    }
    scene.set("B-1", 1, &["bob"]);
    scene.fan();
    assert_eq!(stalled.hear(), ["overflowed"]);
    assert_eq!(scene.hub.shown_orders(stalled.key), 0, "what it shows is forgotten");
    assert_eq!(scene.hub.take_counters().overflows, 1);
    scene.hub.restart(stalled.key);
    scene.answer();
    let heard = stalled.hear();
    assert!(heard.len() == 1 && heard[0].starts_with("all: A-0 v1/1 ") && heard[0].ends_with("A-9 v1/1"), "{heard:?}");
    assert_eq!(other.hear(), ["B-1 v1"]);
}

#[test]
fn others_are_still_found_after_the_only_session_that_showed_an_order_overflowed() {
    let mut scene = Scene { mailbox_bytes: 300, ..Scene::new() };
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    scene.save();
    let ann = scene.live("ann");
    scene.mailbox_bytes = 65_536;
    let bob = scene.live("bob");
    scene.set("A-2", 1, &["ann"]);
    scene.set("A-1", 2, &["ann", "bob"]);
    scene.set("A-1", 3, &["cid"]);
    scene.fan();
    assert_eq!(ann.hear(), ["overflowed"]);
    scene.erase("A-1");
    scene.fan();
    assert!(bob.hear().is_empty(), "it came and went");
    assert_eq!(scene.hub.shown_orders(bob.key), 0);
}

#[test]
fn a_stalled_reader_is_not_owed_any_number_of_follow_ups() {
    let mut scene = Scene { mailbox_bytes: 2_000, ..Scene::new() };
    for n in 0..30 {
        scene.set(&format!("A-{n}"), 1, &["bob"]);
        scene.set(&format!("A-{n}"), 2, &["bob"]);
    }
    scene.fan();
    scene.save();
    let stalled = scene.live("ann");
    for n in 0..30 {
        scene.set(&format!("A-{n}"), 3, &["ann"]);
        scene.fan();
        scene.save();
        scene.answer();
        assert!(stalled.mailbox.pending_bytes() <= 2_000);
    }
    assert_eq!(stalled.hear(), ["overflowed"]);
}

#[test]
fn what_a_start_without_proof_has_shown_is_shown_to_everybody_else_when_its_record_comes() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["bob", "ann"]);
    scene.save();
    let bob = scene.join(Viewer::User { id: user("bob"), only: None }, true);
    assert_eq!(scene.answer(), [Reconciled::Unverified]);
    assert_eq!(bob.hear(), ["all: A-1 v1/1"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1"]);
    assert!(bob.hear().is_empty());
}

#[test]
fn what_a_start_without_proof_has_shown_is_taken_from_everybody_else_when_its_record_comes() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    assert_eq!(ann.hear(), ["A-1 v1"]);
    scene.set("A-1", 2, &["bob"]);
    scene.save();
    let bob = scene.join(Viewer::User { id: user("bob"), only: None }, true);
    scene.answer();
    assert_eq!(bob.hear(), ["all: A-1 v2/2"]);
    scene.fan();
    assert_eq!(ann.hear(), ["-A-1"]);
}

#[test]
fn the_sessions_that_show_an_order_are_listed_with_what_they_show_of_it() {
    let mut scene = Scene::new();
    let mailbox = Arc::new(Mailbox::new(scene.mailbox_bytes));
    let identity = SessionIdentity {
        session_id: "s-1".into(),
        token_id: None,
        issued_at: None,
        transport: "websocket",
        address: None,
        connected_at: at(0),
        expires_at: at(1),
    };
    let viewer = Viewer::User { id: user("ann"), only: None };
    let joining = Joining { viewer, mailbox, start: true, place: None, identity: Some(identity) };
    scene.hub.join(joining).unwrap();
    let _single_request = scene.live("ann");
    let _sees_nothing = scene.live("bob");
    scene.set("A-1", 3, &["ann"]);
    scene.fan();
    let rev = Some(Rev { stamp: stamp(0), terminal: false });
    let shows = Shows { session_id: "s-1".into(), user: Some(user("ann")), version: Some(3), rev };
    assert_eq!(scene.hub.shows(&order("A-1"), 9), [shows]);
    assert!(scene.hub.shows(&order("A-1"), 0).is_empty() && scene.hub.shows(&order("A-2"), 9).is_empty());
}
