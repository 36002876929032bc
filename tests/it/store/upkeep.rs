//! Rows that are put right although no record asks for it.

use std::{sync::Arc, time::Duration};

use ordercast::{
    domain::{Lifecycle, SnapshotQuery, Timestamp},
    store::{Restated, restate_all},
};

use super::{
    databases::{Database, TOPIC},
    drafts::{apply, by_name, erase, set, state, users},
};

fn lifecycle(terminal: &[&str]) -> Lifecycle {
    let terminal: Vec<String> = terminal.iter().map(ToString::to_string).collect();
    Lifecycle::new(&[], &terminal)
}

/// How many orders are listed for a user of which terminal ones may be no older than 2 s after 1970.
async fn listed(database: &Database, user: &str) -> usize {
    let query = SnapshotQuery {
        users: users(&[user]),
        terminal_since: Timestamp::from_millis(2_000_000),
        ..SnapshotQuery::default()
    };
    let snapshot = database.store.snapshot(TOPIC, &query).await.unwrap();
    snapshot.listed_for(&query.users[0]).len()
}

fn counts(restated: &Restated) -> (u64, u64) {
    (restated.orders, restated.rows)
}

pub(super) async fn stored_orders_are_restated_by_other_settings_in_stretches_and_once(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    let done = (0..1_500).map(|n| set(&format!("A-{n}"), 1, "Completed").seen_by(&["m-1"]));
    let others = [
        set("open", 1, "paid"),
        set("ended", 1, "delivered").terminal(),
        set("returned", 1, "returned").terminal(),
        set("gone", 1, "completed"),
        erase("gone"),
    ];
    apply(store, 0, 0, done.chain(others)).await;
    assert_eq!((listed(database, "u-1").await, listed(database, "m-1").await), (1_501, 1_500));

    let now = lifecycle(&["delivered", "completed"]);
    let cut_off = store.restate(&now, None).await.unwrap();
    assert!(cut_off.next.is_some() && (1..=1_000).contains(&cut_off.orders), "{cut_off:?}");
    let rest = restate_all(&**store, &now).await.unwrap();
    assert_eq!(cut_off.orders + rest.orders, 1_501, "the rest of them, and one that has not ended any more");
    assert_eq!((listed(database, "u-1").await, listed(database, "m-1").await), (2, 0));
    let snapshot = by_name(store, &["A-7", "open", "ended", "returned"]).await;
    let terminal = |order| state(&snapshot, order).terminal;
    assert_eq!(["A-7", "open", "ended", "returned"].map(terminal), [true, false, true, false]);
    assert_eq!(database.count("order_viewers").await, 3_003);
    assert_eq!(counts(&restate_all(&**store, &now).await.unwrap()), (0, 0));

    // The recorder finds the rows where they are now.
    apply(store, 0, 1_505, [set("A-7", 2, "reopened").at(5_000_000), set("A-8", 2, "delivered").terminal()]).await;
    assert_eq!((listed(database, "u-1").await, database.count("order_viewers").await), (3, 3_001));
}

pub(super) async fn rows_as_they_were_before_and_rows_of_nothing_are_put_right(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, ["A-1", "A-2", "A-3"].map(|order| set(order, 1, "paid").seen_by(&["m-1"]))).await;
    database.sql("update order_viewers set terminal_at = 9223372036854775807").await;
    database
        .sql("insert into order_viewers values ('m-1', 77, 'A-1'), ('u-9', 77, 'A-1'), ('u-1', 7, 'nothing')")
        .await;
    assert_eq!(listed(database, "m-1").await, 3, "they are listed as they stand");
    // One whose next event comes before that.
    apply(store, 0, 3, [set("A-2", 2, "packed").at(1_000_001)]).await;
    assert_eq!(database.count("order_viewers where order_id = 'A-2'").await, 1);
    let restated = restate_all(&**store, &lifecycle(&[])).await.unwrap();
    assert_eq!(counts(&restated), (0, 7));
    assert_eq!((listed(database, "m-1").await, listed(database, "u-1").await), (2, 3));
    assert_eq!(database.count("order_viewers").await, 5);
    assert_eq!(counts(&restate_all(&**store, &lifecycle(&[])).await.unwrap()), (0, 0));
}

pub(super) async fn an_order_that_cannot_be_read_stays_as_it_is_is_named_and_holds_up_no_other(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, (0..1_100).map(|n| set(&format!("A-{n}"), 1, "done").seen_by(&["m-1"]))).await;
    database.sql("update orders set viewers = '{' where order_id in ('A-3', 'A-1099')").await;
    let places = "order_viewers where order_id in ('A-3', 'A-1099')";
    for restated_orders in [1_098, 0] {
        let restated = restate_all(&**store, &lifecycle(&["done"])).await.unwrap();
        assert_eq!(restated.orders, restated_orders);
        assert_eq!(restated.unreadable.keys().collect::<Vec<_>>(), ["A-1099", "A-3"]);
        assert!(restated.unreadable.values().all(|error| error.contains("viewers")), "{restated:?}");
        assert_eq!(database.count(places).await, 4);
    }
    database.sql("update orders set viewers = '[\"m-1\"]' where viewers = '{'").await;
    let restated = restate_all(&**store, &lifecycle(&["done"])).await.unwrap();
    assert_eq!((restated.orders, restated.unreadable.len()), (2, 0));
}

pub(super) async fn what_is_told_goes_by_the_settings_of_who_reads(database: &Database) {
    database.open(1).await;
    apply(&database.store, 0, 0, [set("A-1", 1, "completed"), set("A-2", 1, "returned").terminal()]).await;
    let query = SnapshotQuery {
        users: users(&["u-1"]),
        orders: super::drafts::orders(&["A-2"]),
        lifecycle: Some(Arc::new(lifecycle(&["completed"]))),
        ..SnapshotQuery::default()
    };
    let snapshot = database.store.snapshot(TOPIC, &query).await.unwrap();
    let told = ["A-1", "A-2"].map(|order| (state(&snapshot, order).terminal, state(&snapshot, order).rev().terminal));
    assert_eq!(told, [(true, true), (false, false)]);
}

pub(super) async fn restating_beside_a_recorder_loses_no_row(database: &Database) {
    const ROUNDS: i64 = 40;
    const ORDERS: i64 = 50;
    database.open(1).await;
    let store = database.another_store();
    let writer = tokio::spawn(async move {
        for round in 0..ROUNDS {
            let draft = |n: i64| {
                let draft = set(&format!("A-{n}"), 1 + round as u64, if n % 2 == 0 { "done" } else { "paid" });
                draft.at(1_000 * round + n).seen_by(&["m-1"])
            };
            apply(&store, 0, round * ORDERS, (0..ORDERS).map(draft)).await;
        }
    });
    let by = [lifecycle(&["done"]), lifecycle(&["paid"])];
    let mut turn = 0;
    while !writer.is_finished() {
        turn += 1;
        restate_all(&*database.store, &by[turn % 2]).await.unwrap();
    }
    writer.await.unwrap();
    restate_all(&*database.store, &by[0]).await.unwrap();
    assert_eq!(counts(&restate_all(&*database.store, &by[0]).await.unwrap()), (0, 0));
    assert_eq!(database.count("order_viewers").await, 2 * ORDERS as u64);
    assert_eq!((listed(database, "u-1").await, listed(database, "m-1").await), (25, 25));
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Pretends that nothing has changed these orders since long ago.
async fn age(database: &Database, orders: &str) {
    let past = if database.is_postgres() { "now() - interval '2 days'" } else { "updated_at - 2 * 86400000" };
    database.sql(&format!("update orders set updated_at = {past} where order_id like '{orders}'")).await;
}

/// How many orders are erased, in so many stretches.
async fn erase_ended(database: &Database, terminal: &[&str]) -> (u64, usize) {
    let (mut erased, mut stretches, mut after) = (0, 0, None);
    loop {
        let stretch = database.store.erase_ended(DAY, &lifecycle(terminal), after.as_ref()).await.unwrap();
        (erased, stretches) = (erased + stretch.orders, stretches + 1);
        after = stretch.next;
        if after.is_none() {
            return (erased, stretches);
        }
    }
}

pub(super) async fn orders_that_ended_long_ago_are_erased_and_no_late_event_brings_one_back(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    let old = (0..1_200).map(|n| set(&format!("A-{n}"), 3, "done").terminal().seen_by(&["m-1"]));
    let now = Timestamp::now().as_millis();
    let others = [
        set("A-open", 3, "paid"),
        set("A-ended-now", 3, "done").terminal().at(now),
        set("B-stored-now", 3, "done").terminal(),
        set("A-returned", 3, "returned").terminal(),
    ];
    let mut part = super::drafts::part(0, 0, old.chain(others));
    part.dead_letters = vec![ordercast::store::DeadLetter {
        offset: 7,
        code: "not_json",
        message: "is not JSON".into(),
        timestamp_millis: Some(1),
        key: Some(b"A-7".to_vec()),
        held_record: Some(ordercast::store::HeldRecord { value: Some(b"{".to_vec()), headers: Vec::new() }),
    }];
    store.apply(&super::drafts::batch([part])).await.unwrap();
    assert_eq!(erase_ended(database, &["done"]).await.0, 0, "they have just been stored");
    age(database, "A-%").await;
    assert_eq!(erase_ended(database, &["done"]).await, (1_200, 2), "in stretches");
    assert_eq!(erase_ended(database, &["done"]).await, (0, 1));
    assert_eq!((database.count("orders").await, database.count("erased_orders").await), (4, 1_200));
    assert_eq!(database.count("order_viewers").await, 4);
    assert_eq!(database.count("dead_letters where held").await, 1, "a record that stands nowhere else stays");

    // Late and double ones change nothing; a newer one brings the order back, as after a tombstone.
    let events = [set("A-7", 2, "paid"), set("A-7", 3, "done").terminal(), erase("A-8"), set("A-9", 4, "returning")];
    let applied = apply(store, 0, 1_204, events).await;
    assert_eq!((applied.late, applied.nothing_to_erase, applied.applied), (2, 1, 1), "{applied:?}");
    let snapshot = by_name(store, &["A-7", "A-8", "A-9"]).await;
    let known = ["A-7", "A-8", "A-9"].map(|order| super::drafts::short(&snapshot, order).unwrap());
    assert_eq!(known, [(3, "erased".into()), (3, "erased".into()), (4, "returning".into())]);
}
