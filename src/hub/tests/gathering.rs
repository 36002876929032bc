//! Reads that are gathered for one statement, and statements that are taken apart.

use super::*;
use crate::hub::{Gathering, OrderRead, SHORT_LIST};

/// More than any test takes.
const MANY: usize = 1_000_000;
/// Names that one step takes.
const STEP: usize = 500;

/// Sessions that wait for their first snapshot.
fn starts(scene: &mut Scene, many: usize) -> Vec<Seat> {
    (0..many).map(|n| scene.join(Viewer::User { id: user(&format!("u-{n}")), only: None }, true)).collect()
}

/// Orders of which nobody knows who has to show them.
fn seek(scene: &mut Scene, many: usize) {
    (0..many).for_each(|n| scene.hub.reads.seek(&order(&format!("A-{n}"))));
}

/// How many reads of sessions and of orders are in there.
fn count(due: &DueReads) -> (usize, usize) {
    (due.sessions.len(), due.orders.len())
}

/// Gathers to the end.
fn gather(scene: &mut Scene, mut gathering: Gathering) -> (usize, usize) {
    while scene.hub.gather(&mut gathering) {}
    count(&gathering.due)
}

#[test]
fn a_statement_takes_no_more_lists_than_may_fill_it_unless_it_is_a_single_one() {
    for (most_reads, most_orders, taken) in
        [(9, 3 * SHORT_LIST, 3), (9, 4 * SHORT_LIST - 1, 3), (9, SHORT_LIST - 1, 1), (2, MANY, 2), (9, MANY, 5)]
    {
        let mut scene = Scene::new();
        starts(&mut scene, 5);
        let gathered = gather(&mut scene, Gathering::short(most_reads, most_orders));
        assert_eq!(gathered, (taken, 0), "{most_reads} reads or {most_orders} orders");
        assert_eq!((scene.hub.due_reads(), scene.hub.due_short_reads()), (5 - taken, 5 - taken));
    }
}

#[test]
fn orders_that_are_asked_for_by_name_fill_a_statement_too() {
    let mut scene = Scene::new();
    for seat in starts(&mut scene, 3) {
        scene.hub.subscribe(seat.key, Some((0..50).map(|n| order(&format!("A-{n}"))).collect()));
    }
    assert_eq!(gather(&mut scene, Gathering::short(9, 149)), (2, 0));
}

#[test]
fn reads_of_orders_take_the_room_that_sessions_leave() {
    for (most_reads, most_orders, orders) in
        [(10, MANY, 8), (100, 2 * SHORT_LIST + 5, 5), (100, 2 * SHORT_LIST, 0), (2, MANY, 0), (100, MANY, 30)]
    {
        let mut scene = Scene::new();
        starts(&mut scene, 2);
        seek(&mut scene, 30);
        let gathered = gather(&mut scene, Gathering::short(most_reads, most_orders));
        assert_eq!(gathered, (2, orders), "{most_reads} reads or {most_orders} orders");
        assert_eq!(scene.hub.due_reads(), 30 - orders);
    }
}

#[test]
fn many_reads_are_gathered_in_steps() {
    let mut scene = Scene::new();
    starts(&mut scene, STEP + 100);
    seek(&mut scene, 1);
    let mut gathering = Gathering::short(MANY, MANY);
    assert!(scene.hub.gather(&mut gathering), "there is more");
    assert_eq!(count(&gathering.due), (STEP, 0));
    assert!(!scene.hub.gather(&mut gathering));
    assert_eq!(count(&gathering.due), (STEP + 100, 1));

    let mut scene = Scene::new();
    seek(&mut scene, 3 * STEP);
    let mut gathering = Gathering::short(MANY, 2 * STEP + 200);
    let steps = [(true, STEP), (true, 2 * STEP), (false, 2 * STEP + 200)];
    for (more, gathered) in steps {
        assert_eq!((scene.hub.gather(&mut gathering), gathering.due.orders.len()), (more, gathered));
    }
    assert_eq!(scene.hub.due_reads(), STEP - 200);
}

#[test]
fn a_session_for_which_there_is_no_room_ends_a_statement_that_orders_would_go_on_with() {
    let mut scene = Scene::new();
    starts(&mut scene, 2);
    seek(&mut scene, 3 * STEP);
    let mut gathering = Gathering::short(MANY, 2 * STEP);
    let waits = starts(&mut scene, 1).remove(0);
    scene.hub.subscribe(waits.key, Some((0..2 * STEP).map(|n| order(&format!("B-{n}"))).collect()));
    assert!(!scene.hub.gather(&mut gathering), "or it might wait for as long as orders come");
    assert_eq!(count(&gathering.due), (2, STEP - 2));
}

#[test]
fn sessions_with_long_lists_are_passed_on_in_steps_and_counted() {
    let mut scene = Scene::new();
    for seat in starts(&mut scene, STEP + 100) {
        scene.hub.registry.sessions[seat.key].too_long = true;
    }
    let mut gathering = Gathering::short(MANY, MANY);
    assert!(scene.hub.gather(&mut gathering));
    let left = |scene: &Scene| (scene.hub.due_short_reads(), scene.hub.due_long_reads(), scene.hub.due_reads());
    assert_eq!(left(&scene), (100, STEP, STEP + 100));
    assert!(!scene.hub.gather(&mut gathering) && gathering.due.is_empty());
    assert_eq!(left(&scene), (0, STEP + 100, STEP + 100));
    assert_eq!(gather(&mut scene, Gathering::long(MANY, 10 * 7, 7)), (10, 0));
    seek(&mut scene, 1);
    assert_eq!(gather(&mut scene, Gathering::long(MANY, MANY, 7)), (STEP + 90, 0), "orders are no long lists");
}

#[test]
fn reads_are_taken_out_sessions_first_at_the_front_and_orders_first_at_the_back() {
    let mut scene = Scene::new();
    starts(&mut scene, 3);
    seek(&mut scene, 3);
    let due = scene.ask();
    let orders = |due: &DueReads| due.orders.iter().map(|read| read.order_id.to_string()).collect::<Vec<_>>();
    for (reads, first) in [(0, (0, 0)), (2, (2, 0)), (3, (3, 0)), (5, (3, 2)), (9, (3, 3))] {
        let mut rest = due.clone();
        assert_eq!(count(&rest.take_first(reads)), first, "{reads}");
        assert_eq!(count(&rest), (3 - first.0, 3 - first.1), "{reads}");
    }
    let mut rest = due.clone();
    assert_eq!(orders(&rest.take_last()), orders(&due)[2..]);
    assert_eq!(count(&rest), (3, 2));
    let mut half = due.clone();
    assert_eq!((count(&half.split_half()), count(&half)), ((1, 2), (2, 1)));
    let mut sessions = DueReads { orders: Vec::<OrderRead>::new(), ..due.clone() };
    let last = sessions.take_last();
    assert_eq!((last.sessions[0].key, count(&last)), (due.sessions[2].key, (1, 0)));
    assert_eq!(count(&sessions), (2, 0));
    assert!(DueReads::default().take_last().is_empty());
}

#[test]
fn a_read_of_an_order_that_nobody_shows_or_seeks_any_more_is_for_nobody() {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.set("A-1", 1, &["ann"]);
    scene.fan();
    let due = scene.ask();
    assert_eq!(count(&due), (0, 1));
    scene.hub.leave(ann.key);
    let snapshot = scene.snapshot(&due);
    assert_eq!(scene.settle(&due, &snapshot), [Reconciled::Gone]);
    seek(&mut scene, 1);
    assert_eq!(scene.answer(), [Reconciled::Done(vec![])]);
    let due = scene.ask();
    assert!(due.is_empty());
    let again = DueReads { orders: vec![OrderRead { order_id: order("A-0") }], ..due };
    let snapshot = scene.snapshot(&again);
    assert_eq!(scene.settle(&again, &snapshot), [Reconciled::Gone], "it is sought once");
}
