//! Snapshots.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ordercast::domain::{ListPart, Listed, SnapshotQuery, Timestamp};

use super::{
    databases::{Database, TOPIC},
    drafts::{apply, batch, by_name, erase, orders, part, set, short, state, steps, users},
};

pub(super) async fn a_list_leaves_out_old_terminal_orders_only(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(
        store,
        0,
        0,
        [
            set("open-old", 1, "created").at(10),
            set("done-old", 1, "delivered").at(100).terminal(),
            set("done-new", 1, "delivered").at(101).terminal().of("m-1").seen_by(&["u-1"]),
            set("foreign", 1, "created").of("u-2"),
        ],
    )
    .await;
    let query = SnapshotQuery {
        users: users(&["u-1", "nobody"]),
        orders: Vec::new(),
        terminal_since: Timestamp::from_millis(100),
        ..SnapshotQuery::default()
    };
    let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
    let mut listed: Vec<_> = snapshot.listed_for(&query.users[0]).iter().map(ToString::to_string).collect();
    listed.sort();
    assert_eq!(listed, ["done-new", "open-old"]);
    assert!(snapshot.listed_for(&query.users[1]).is_empty());
    assert_eq!(short(&snapshot, "done-old"), None);
    assert_eq!(short(&snapshot, "foreign"), None);

    let everything = SnapshotQuery { terminal_since: None, ..query };
    let snapshot = store.snapshot(TOPIC, &everything).await.unwrap();
    assert_eq!(snapshot.listed_for(&everything.users[0]).len(), 3);
}

pub(super) async fn a_list_is_bounded_for_each_viewer_by_its_newest(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    let long = (0..40).map(|n| set(&format!("A-{n:02}"), 1, "paid").at(1_000 + n).seen_by(&["m-1"]));
    let ended = (0..40).map(|n| set(&format!("B-{n:02}"), 1, "done").at(1_001 + 2 * n).terminal().of("m-1"));
    let short = (0..2).map(|n| set(&format!("C-{n}"), 1, "paid").of("u-2"));
    apply(store, 0, 0, long.chain(ended).chain(short)).await;
    // An older one that changes is the newest, in the list of everybody who may see it.
    apply(store, 0, 82, [set("A-03", 2, "packed").at(1_200).seen_by(&["m-1"])]).await;
    let query = SnapshotQuery {
        users: users(&["u-1", "m-1", "u-2", "nobody"]),
        max_orders: Some(4),
        orders: orders(&["A-00", "B-00"]),
        terminal_since: Timestamp::from_millis(1_076),
        ..SnapshotQuery::default()
    };
    let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
    let listed = |place: usize| {
        let listed = snapshot.list_of(&query.users[place]).unwrap();
        let orders: Vec<String> = listed.orders.iter().map(ToString::to_string).collect();
        (orders.join(" "), listed.end.as_ref().map(|end| (end.changed_at, end.order_id.to_string())))
    };
    assert_eq!(listed(0), ("A-03 A-39 A-38 A-37".into(), Some((1_037, "A-37".into()))));
    assert_eq!(listed(1), ("A-03 B-39 B-38 A-39".into(), Some((1_039, "A-39".into()))));
    assert_eq!(listed(2), ("C-1 C-0".into(), None));
    assert_eq!(listed(3), (String::new(), None));
    assert_eq!(snapshot.order_count(), 10, "and nothing else was read");

    let exactly = SnapshotQuery { max_orders: Some(2), ..query };
    let snapshot = store.snapshot(TOPIC, &exactly).await.unwrap();
    assert_eq!(snapshot.list_of(&exactly.users[2]).unwrap().end, None, "it ends where the bound is");
}

pub(super) async fn the_parts_of_a_list_are_all_of_it_each_order_once(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    // Three of each moment, and every other one has ended.
    let draft = |n: i64| {
        let draft = set(&format!("A-{n:02}"), 1, "paid").at(1_000 + n / 3);
        if n % 2 == 0 { draft.terminal() } else { draft }
    };
    apply(store, 0, 0, (0..50).map(draft)).await;
    for max_orders in [1, 7, 50, 60] {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let part = ListPart { user: users(&["u-1"]).remove(0), after, max_orders };
            let query = SnapshotQuery { parts: vec![part.clone()], max_orders: Some(1), ..SnapshotQuery::default() };
            let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
            let listed = snapshot.part(&part).unwrap();
            assert!(listed.orders.len() <= max_orders);
            all.extend(listed.orders.iter().map(ToString::to_string));
            after = listed.end.clone();
            if after.is_none() {
                break;
            }
        }
        let newest_first: Vec<String> = (0..50).rev().map(|n| format!("A-{n:02}")).collect();
        assert_eq!(all, newest_first, "{max_orders} at a time");
    }
}

/// Rows that do not stand for what the settings say, or for nothing: a list is not at its end because of them.
pub(super) async fn a_list_goes_on_behind_rows_that_stand_for_nothing(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, (0..6).map(|n| set(&format!("A-{n}"), 1, "paid").at(1_000 + n))).await;
    database.sql("delete from orders where order_id in ('A-5', 'A-4', 'A-3')").await;
    let part = ListPart { user: users(&["u-1"]).remove(0), after: None, max_orders: 2 };
    let query = SnapshotQuery { parts: vec![part.clone()], ..SnapshotQuery::default() };
    let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
    let listed = snapshot.part(&part).unwrap();
    assert_eq!((listed.orders.len(), listed.end.as_ref().map(|end| end.changed_at)), (0, Some(1_004)));
}

pub(super) async fn orders_asked_by_name_are_answered_at_any_age(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("old", 1, "delivered").at(1).terminal(), set("gone", 4, "created"), erase("gone")]).await;
    let query = SnapshotQuery {
        users: users(&["u-1"]),
        orders: orders(&["old", "gone", "unknown"]),
        terminal_since: Timestamp::from_millis(1000),
        ..SnapshotQuery::default()
    };
    let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
    assert_eq!(short(&snapshot, "old"), Some((1, "delivered".into())));
    assert_eq!(short(&snapshot, "gone"), Some((4, "erased".into())));
    assert_eq!(short(&snapshot, "unknown"), None);
    assert!(snapshot.listed_for(&query.users[0]).is_empty(), "asked by name is not listed");

    let nothing = store.snapshot(TOPIC, &SnapshotQuery::default()).await.unwrap();
    assert_eq!(nothing.positions().len(), 1);
    assert!(store.snapshot("another-topic", &SnapshotQuery::default()).await.unwrap().positions().is_empty());
}

pub(super) async fn an_order_of_several_users_is_listed_for_each(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 1, "created").seen_by(&["m-1", "c-1"]), set("A-2", 1, "created").of("m-1")]).await;
    let query = SnapshotQuery {
        users: users(&["u-1", "m-1", "c-1", "m-1"]),
        orders: orders(&["A-1", "A-1"]),
        ..SnapshotQuery::default()
    };
    let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
    let counts: Vec<usize> = query.users.iter().map(|user| snapshot.listed_for(user).len()).collect();
    assert_eq!(counts, [1, 2, 1, 2]);
}

pub(super) async fn a_list_that_is_too_long_to_be_read_among_others_says_so_and_holds_up_none(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    let drafts = |user: &'static str, many: i64| {
        (0..many).map(move |n| set(&format!("{user}-{n}"), 1, "paid").at(1_000 + n).of(user))
    };
    apply(store, 0, 0, drafts("m-1", 9).chain(drafts("m-2", 3)).chain(drafts("m-3", 4))).await;
    let [m1, m2, m3] = ["m-1", "m-2", "m-3"].map(|user| users(&[user]).remove(0));
    let query = |max_orders, most| SnapshotQuery {
        users: vec![m1.clone(), m2.clone(), m3.clone()],
        max_orders: Some(max_orders),
        parts: [2, 8].map(|max_orders| ListPart { user: m1.clone(), after: None, max_orders }).to_vec(),
        orders: orders(&["m-1-8"]),
        most_of_each: most,
        ..SnapshotQuery::default()
    };
    for (max_orders, most, whole, parts) in [
        (100, Some(3), [None, Some(3), None], [Some(2), None]),
        (100, Some(4), [None, Some(3), Some(4)], [Some(2), None]),
        // It is cut where it ends, however long it is.
        (3, Some(3), [Some(3); 3], [Some(2), None]),
        (100, Some(9), [Some(9), Some(3), Some(4)], [Some(2), Some(8)]),
        (100, None, [Some(9), Some(3), Some(4)], [Some(2), Some(8)]),
    ] {
        let query = query(max_orders, most);
        let snapshot = store.snapshot(TOPIC, &query).await.unwrap();
        let told = |listed: Option<&Listed>| listed.filter(|listed| !listed.too_long).map(|listed| listed.orders.len());
        assert_eq!([&m1, &m2, &m3].map(|user| told(snapshot.list_of(user))), whole, "{max_orders} {most:?}");
        assert_eq!([0, 1].map(|n| told(snapshot.part(&query.parts[n]))), parts, "{max_orders} {most:?}");
        let most = most.unwrap_or(9);
        assert!(snapshot.order_count() <= 3 * most, "what is behind the bound is not read");
        assert!(snapshot.history("m-1-8").is_some());
    }
}

/// As older versions stored them, or somebody by hand.
pub(super) async fn what_no_client_could_read_makes_no_snapshot_unreadable(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    let drafts = ["number", "lines", "array", "broken", "early", "never", "steps", "fine"];
    apply(store, 0, 0, drafts.map(|order| set(order, 1, "created").terminal().details(r#"{"a":1}"#))).await;
    for (order, change) in [
        ("number", r#"details = '{"total":[1e400]}'"#),
        ("lines", "details = '{\n  \"a\": 1 }'"),
        ("array", "details = '[]'"),
        ("broken", "details = '{'"),
        (
            "early",
            r#"occurred_at = -99999999999000, timeline = replace(timeline, '1970-01-01T00:16:40.000Z', '-001199-02-15T14:13:21.000Z')"#,
        ),
        ("never", "occurred_at = 9223372036854775807"),
        ("steps", "timeline = '[{}]'"),
    ] {
        database.sql(&format!("update orders set {change} where order_id = '{order}'")).await;
    }
    database.sql("update order_viewers set terminal_at = -99999999999000 where order_id = 'early'").await;

    let snapshot = by_name(store, &drafts).await;
    let details = |order| state(&snapshot, order).details.as_ref().map(|details| details.get().to_owned());
    assert_eq!(["number", "array", "broken"].map(details), [None, None, None]);
    assert_eq!(["lines", "fine"].map(details), [Some(r#"{"a":1}"#.into()), Some(r#"{"a":1}"#.into())]);
    let at = |order| state(&snapshot, order).occurred_at.to_string();
    assert_eq!([at("early"), at("never")], ["0001-01-01T00:00:00.000Z", "9999-12-30T22:00:00.000Z"]);
    let early = &snapshot.history("early").unwrap().timeline.steps()[0];
    assert_eq!(early.occurred_at.to_string(), "0001-01-01T00:00:00.000Z");
    assert_eq!(steps(&snapshot, "steps"), [1]);
    assert_eq!(snapshot.unreadable_values(), 6);

    // The next event sets it right, for the list of its user as well.
    apply(store, 0, 8, [set("early", 2, "delivered").terminal().at(7), set("number", 2, "packed").details("{}")]).await;
    let snapshot = by_name(store, &["early", "number"]).await;
    assert_eq!(snapshot.unreadable_values(), 0);
    assert_eq!(steps(&snapshot, "early"), [1, 2]);
    assert_eq!(database.count("order_viewers where order_id = 'early'").await, 1);
}

/// Each batch brings two orders to one version and progress to twice that number. A reader that saw rows and progress
/// of two moments would see them disagree.
pub(super) async fn a_snapshot_is_one_view_under_concurrent_writers(database: &Database) {
    const BATCHES: i64 = 150;
    database.open(2).await;
    let writing = Arc::new(AtomicBool::new(true));
    let writer = tokio::spawn({
        let (store, writing) = (database.another_store(), writing.clone());
        async move {
            for n in 1..=BATCHES {
                let parts = [
                    part(0, (n - 1) * 2, [set("A", n as u64, "x"), set("A", 0, "late").at(n)]),
                    part(1, (n - 1) * 2, [set("B", n as u64, "x"), set("B", 0, "late").at(n)]),
                ];
                store.apply(&batch(parts)).await.unwrap();
            }
            writing.store(false, Ordering::Relaxed);
        }
    });
    let mut views = 0;
    while writing.load(Ordering::Relaxed) {
        let snapshot = by_name(&database.store, &["A", "B"]).await;
        let next: Vec<i64> = snapshot.positions().iter().map(|position| position.next_offset).collect();
        assert_eq!(next[0], next[1]);
        if next[0] > 0 {
            let versions = ["A", "B"].map(|order| state(&snapshot, order).version.number as i64 * 2);
            assert_eq!(versions, [next[0], next[1]]);
            views += 1;
        }
    }
    writer.await.unwrap();
    assert!(views > 5, "only {views} reads");
}
