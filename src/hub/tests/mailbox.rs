//! The mailbox: bounded, newest wins, a snapshot stands between what was and what comes.

use super::*;
use crate::{
    domain::Timeline,
    hub::mailbox::Put,
    protocol::{OrderView, delivery::ENTRY_OVERHEAD_BYTES},
};

fn frame(bytes: usize) -> Message {
    Message::text(&format!(
        r#"{{"type":"order_status","order_id":"A-1","version":{bytes},"x":"{}"}}"#,
        "x".repeat(bytes)
    ))
}

fn put(mailbox: &Mailbox, id: &str, bytes: usize) -> Put {
    mailbox.put_update(&order(id), true, false, &frame(bytes)).0
}

fn view(id: &str, number: u64) -> OrderView {
    let Change::Set(state) = Scene::new().set(id, number, &["ann"]).change.clone() else { panic!("a state") };
    OrderView { timeline: Arc::new(Timeline::of(&state)), state }
}

fn snapshot(partial: bool, ids: &[&str]) -> PendingSnapshot {
    let mut snapshot = PendingSnapshot::new(at(0), partial);
    ids.iter().for_each(|id| snapshot.put(&order(id), Some(view(id, 1))));
    snapshot
}

fn heard(mailbox: Mailbox) -> Vec<String> {
    Seat { key: SessionKey::default(), mailbox: Arc::new(mailbox) }.hear()
}

#[test]
fn the_newest_update_takes_the_place_of_a_pending_one() {
    let mailbox = Mailbox::new(65_536);
    assert_eq!(put(&mailbox, "A-1", 1), Put::Queued);
    assert_eq!(put(&mailbox, "A-1", 2), Put::Replaced);
    assert_eq!(heard(mailbox), ["A-1 v2"]);
}

#[test]
fn a_single_huge_update_always_fits() {
    let mailbox = Mailbox::new(1_000);
    assert_eq!(put(&mailbox, "A-1", 20_000), Put::Queued);
    assert_eq!(put(&mailbox, "A-1", 30_000), Put::Replaced);
    assert_eq!(heard(mailbox), ["A-1 v30000"]);
}

#[test]
fn over_the_limit_all_is_forgotten() {
    let mailbox = Mailbox::new(1_000);
    assert_eq!(put(&mailbox, "A-1", 100), Put::Queued);
    assert_eq!(put(&mailbox, "A-2", 20_000), Put::Overflowed);
    assert_eq!(mailbox.pending_bytes(), 0);
    assert_eq!(heard(mailbox), ["overflowed"]);
}

#[test]
fn removals_count_towards_the_limit() {
    let mailbox = Mailbox::new(1_000);
    let puts: Vec<Put> = (0..11).map(|n| mailbox.put_removed(&order(&format!("A-{n}"))).0).collect();
    assert_eq!(puts.last(), Some(&Put::Overflowed));
}

#[test]
fn a_removed_that_was_not_told_stays_in_front_of_what_follows() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_removed(&order("A-1"));
    mailbox.put_update(&order("A-1"), false, false, &frame(1));
    assert_eq!(heard(mailbox), ["-A-1", "A-1 v1"]);
}

#[test]
fn an_order_the_client_never_saw_is_not_removed() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_update(&order("A-1"), false, false, &frame(1));
    mailbox.put_removed(&order("A-1"));
    assert_eq!(mailbox.pending_bytes(), 0);
    assert_eq!(heard(mailbox), Vec::<String>::new());
}

#[test]
fn an_order_withdrawn_while_its_snapshot_waits_is_never_sent() {
    for (partial, told) in [(false, "all: A-2 v1/1"), (true, "some: -A-1 A-2 v1/1")] {
        let mailbox = Mailbox::new(65_536);
        mailbox.put_snapshot(snapshot(partial, &["A-1", "A-2"]));
        put(&mailbox, "A-1", 2);
        mailbox.put_removed(&order("A-1"));
        assert_eq!(mailbox.pending_bytes(), 0);
        assert_eq!(heard(mailbox), [told]);
    }
}

#[test]
fn an_order_that_comes_back_while_its_snapshot_waits_follows_the_snapshot() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_snapshot(snapshot(true, &["A-1"]));
    mailbox.put_removed(&order("A-1"));
    mailbox.put_update(&order("A-1"), false, false, &frame(3));
    assert_eq!(heard(mailbox), ["some: -A-1", "A-1 v3"]);
}

#[test]
fn a_partial_snapshot_takes_the_place_of_what_is_pending_of_its_orders() {
    let mailbox = Mailbox::new(65_536);
    put(&mailbox, "A-1", 1);
    mailbox.put_update(&order("A-2"), true, false, &frame(2));
    mailbox.put_snapshot(snapshot(true, &["A-1"]));
    assert_eq!(heard(mailbox), ["some: A-1 v1/1", "A-1 v2"], "the second frame is of A-2");
}

#[test]
fn a_full_snapshot_takes_the_place_of_everything() {
    let mailbox = Mailbox::new(65_536);
    put(&mailbox, "A-1", 1);
    mailbox.put_not_visible(vec![order("A-9")]);
    mailbox.put_snapshot(snapshot(true, &["A-2"]));
    mailbox.put_snapshot(snapshot(false, &["A-3"]));
    assert_eq!(heard(mailbox), ["all: A-3 v1/1"]);
}

#[test]
fn an_update_that_came_after_a_snapshot_goes_after_it() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_snapshot(snapshot(false, &["A-1"]));
    put(&mailbox, "A-1", 2);
    assert_eq!(heard(mailbox), ["all: A-1 v1/1", "A-1 v2"]);
}

#[test]
fn a_partial_snapshot_joins_a_full_one_that_was_not_taken() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_snapshot(snapshot(false, &["A-1", "A-2"]));
    let mut later = snapshot(true, &["A-3"]);
    later.put(&order("A-1"), None);
    mailbox.put_snapshot(later);
    assert_eq!(heard(mailbox), ["all: A-2 v1/1 A-3 v1/1"]);
}

#[test]
fn a_first_snapshot_fits_whatever_its_size_and_what_joins_it_counts() {
    let mailbox = Mailbox::new(1_000);
    let ids: Vec<String> = (0..100).map(|n| format!("A-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(mailbox.put_snapshot(snapshot(true, &ids)).0, Put::Queued);
    assert_eq!(mailbox.put_snapshot(snapshot(true, &ids)).0, Put::Queued, "nothing new joined it");
    assert_eq!(mailbox.put_snapshot(snapshot(true, &["B-1", "B-2", "B-3"])).0, Put::Overflowed);
    assert_eq!(heard(mailbox), ["overflowed"]);
}

#[test]
fn clearing_says_of_what_something_was_pending() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_snapshot(snapshot(false, &["A-1"]));
    mailbox.put_removed(&order("A-2"));
    let forgotten = mailbox.clear();
    assert!(forgotten.full_snapshot);
    assert_eq!(list(forgotten.orders.iter().map(|id| id.to_string())), "A-1 A-2");
    assert_eq!(heard(mailbox), Vec::<String>::new());
}

#[test]
fn an_announcement_goes_ahead_of_whatever_else_waits() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_snapshot(snapshot(false, &["A-1"]));
    mailbox.put_announcement(&frame(1));
    assert!(matches!(mailbox.take(), Delivery::Snapshot(_)), "but not of the first snapshot");
    put(&mailbox, "A-1", 2);
    mailbox.put_snapshot(snapshot(true, &["A-2"]));
    mailbox.put_not_visible(vec![order("A-9")]);
    assert!(matches!(mailbox.take(), Delivery::Updates(frames) if frames == [frame(1)]));
    assert_eq!(heard(mailbox), ["some: A-2 v1/1", "unseen: A-9", "A-1 v2"]);
}

#[test]
fn what_just_fits_is_kept_and_a_byte_more_is_too_much() {
    let entry = frame(100).len() + ENTRY_OVERHEAD_BYTES;
    for (limit, second) in [(2 * entry, Put::Queued), (2 * entry - 1, Put::Overflowed)] {
        let mailbox = Mailbox::new(limit);
        put(&mailbox, "A-1", 100);
        assert_eq!(mailbox.pending_bytes(), entry);
        assert_eq!(put(&mailbox, "A-2", 100), second);
    }
    let entry = view("A-2", 1).json_bytes() + ENTRY_OVERHEAD_BYTES;
    for (limit, joins) in [(entry, Put::Queued), (entry - 1, Put::Overflowed)] {
        let mailbox = Mailbox::new(limit);
        mailbox.put_snapshot(snapshot(true, &["A-1"]));
        assert_eq!(mailbox.pending_bytes(), 0, "the first is not counted");
        assert_eq!(mailbox.put_snapshot(snapshot(true, &["A-2"])).0, joins);
    }
}

#[test]
fn what_is_taken_weighs_nothing_any_more() {
    let mailbox = Mailbox::new(65_536);
    mailbox.put_snapshot(snapshot(true, &["A-1"]));
    mailbox.put_snapshot(snapshot(true, &["A-2"]));
    put(&mailbox, "A-3", 100);
    mailbox.take();
    assert_eq!(mailbox.pending_bytes(), frame(100).len() + ENTRY_OVERHEAD_BYTES);
    mailbox.take();
    assert_eq!(mailbox.pending_bytes(), 0);
}
