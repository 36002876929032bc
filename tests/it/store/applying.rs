//! What events do to the rows.

use std::time::Duration;

use ordercast::{
    domain::{Epoch, LastRecord, OrderEvent, Progress, Stamp, VersionKind, version::MAX_VERSION},
    store::{Applied, PartitionBatch, RejectedEvent, Relocation, StoreError},
};

use super::{
    databases::{Database, LOG_ID, TOPIC},
    drafts::{apply, batch, by_name, erase, listed, part, reset, set, short, state, steps},
};

pub(super) async fn rows_hold_the_fold_of_the_events(database: &Database) {
    database.open(2).await;
    let store = &database.store;
    let first = batch([
        part(0, 0, [set("A-1", 1, "created"), set("A-2", 5, "created"), set("A-1", 2, "packed")]),
        part(1, 0, [set("A-3", 1, "created")]),
    ]);
    assert_eq!(store.apply(&first).await.unwrap(), Applied { applied: 4, ..Applied::default() });
    apply(store, 0, 3, [set("A-1", 3, "shipped")]).await;

    let snapshot = by_name(store, &["A-1", "A-2", "A-3", "A-4"]).await;
    assert_eq!(short(&snapshot, "A-1"), Some((3, "shipped".into())));
    assert_eq!(steps(&snapshot, "A-1"), [1, 2, 3]);
    assert_eq!(short(&snapshot, "A-2"), Some((5, "created".into())));
    assert_eq!(short(&snapshot, "A-3"), Some((1, "created".into())));
    assert_eq!(short(&snapshot, "A-4"), None);
    let positions: Vec<_> = snapshot.positions().iter().map(|place| (place.partition, place.next_offset)).collect();
    assert_eq!(positions, [(0, 4), (1, 1)]);
    assert!(snapshot.positions().iter().all(|place| place.epoch == Epoch::of(LOG_ID, 0)));
}

pub(super) async fn late_duplicate_and_conflicting_events_change_no_state(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 5, "packed")]).await;
    let applied =
        apply(store, 0, 1, [set("A-1", 4, "created"), set("A-1", 5, "packed"), set("A-1", 5, "lost"), erase("A-9")])
            .await;
    assert_eq!(applied, Applied { late: 1, duplicate: 1, conflict: 1, nothing_to_erase: 1, ..Applied::default() });
    let snapshot = by_name(store, &["A-1"]).await;
    assert_eq!(short(&snapshot, "A-1"), Some((5, "packed".into())));
    assert_eq!(state(&snapshot, "A-1").stamp.offset, 0);
}

pub(super) async fn versions_of_another_kind_apply_and_are_counted(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 1000, "packed")]).await;
    let applied = apply(store, 0, 1, [set("A-1", 0, "shipped").unversioned()]).await;
    assert_eq!(applied, Applied { applied: 1, kind_changed: 1, ..Applied::default() });
    let snapshot = by_name(store, &["A-1"]).await;
    assert_eq!(state(&snapshot, "A-1").version.kind, VersionKind::Log(Epoch::of(LOG_ID, 0)));
    assert_eq!(steps(&snapshot, "A-1"), [1000, 2]);
    // And back: the kind is stored, not guessed.
    let applied = apply(store, 0, 2, [set("A-1", 1, "returned")]).await;
    assert_eq!(applied, Applied { applied: 1, kind_changed: 1, ..Applied::default() });
    assert_eq!(steps(&by_name(store, &["A-1"]).await, "A-1"), [1000, 2, 1]);
}

pub(super) async fn events_without_versions_in_two_partitions_are_named_and_change_nothing(database: &Database) {
    database.open(2).await;
    let store = &database.store;
    let home = [set("B-1", 1, "created"), set("A-1", 0, "created").unversioned()];
    apply(store, 0, 0, home).await;
    let unversioned = |status| set("A-1", 0, status).unversioned();
    // At a lower offset, and at a higher one.
    let astray = [unversioned("packed"), set("A-2", 0, "created").unversioned(), unversioned("delivered")];
    let outcome = store.apply(&batch([part(1, 0, astray)])).await;
    let Err(StoreError::Unordered(named)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(named.iter().map(|event| event.stamp.offset).collect::<Vec<_>>(), [0, 2]);
    for RejectedEvent { stamp, message } in &named {
        assert_eq!((stamp.epoch, stamp.partition), (Epoch::of(LOG_ID, 0), 1));
        assert!(message.contains("partition 0") && message.contains("share one partitioner"), "{message}");
    }
    let snapshot = by_name(store, &["A-1", "A-2"]).await;
    assert_eq!((short(&snapshot, "A-1"), short(&snapshot, "A-2")), (Some((2, "created".into())), None));
    assert_eq!(snapshot.positions()[1].next_offset, 0);

    // One that has a version is ordered by that, and the order goes on where it stands.
    let versioned = apply(store, 1, 0, [set("A-1", 7, "shipped")]).await;
    assert_eq!(versioned, Applied { applied: 1, kind_changed: 1, ..Applied::default() });
    let outcome = store.apply(&batch([part(0, 2, [unversioned("packed")])])).await;
    assert!(matches!(&outcome, Err(StoreError::Unordered(named)) if named.len() == 1), "{outcome:?}");
    assert_eq!(apply(store, 1, 1, [unversioned("delivered")]).await.applied, 1);
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((2, "delivered".into())));

    // Within one batch the partitions are read in order.
    let [first, second] = [(0, 2), (1, 2)].map(|(n, from)| part(n, from, [set("C-1", 0, "created").unversioned()]));
    let outcome = store.apply(&batch([first, second])).await;
    let Err(StoreError::Unordered(named)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(named.iter().map(|event| event.stamp.partition).collect::<Vec<_>>(), [1]);
}

/// Moves a partition into the next life of its log, which has so many partitions.
async fn replace(database: &Database, partition: usize, partition_count: i32) {
    let from = database.store.progress(TOPIC, i64::MAX).await.unwrap().progress[partition].clone();
    let to = Progress { generation: from.generation + 1, next_offset: 0, last_record: None, ..from.clone() };
    let partition_count = Some(partition_count);
    let relocation = Relocation { topic: TOPIC.into(), from, to, lost_range: None, partition_count };
    database.store.relocate(&relocation).await.unwrap();
}

pub(super) async fn an_order_without_versions_whose_partition_changed_with_the_log_goes_on_there(database: &Database) {
    database.open(3).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 0, "created").unversioned(), set("A-1", 0, "packed").unversioned()]).await;
    // The new log looks no different where nothing had been recorded.
    replace(database, 0, 3).await;
    let moved = apply(store, 1, 0, [set("A-1", 0, "shipped").unversioned()]).await;
    assert_eq!(moved, Applied { applied: 1, kind_changed: 1, ..Applied::default() });
    let snapshot = by_name(store, &["A-1"]).await;
    assert_eq!((short(&snapshot, "A-1"), steps(&snapshot, "A-1")), (Some((1, "shipped".into())), vec![1, 2, 1]));
    // Between the partitions of the new log nobody can say, whatever lives they are in.
    let epoch = Epoch::of(LOG_ID, 1);
    let life = |event: OrderEvent| PartitionBatch {
        generation: 1,
        last_record: Some(LastRecord { offset: 0, digest: 1 }),
        next_offset: 1,
        events: vec![event],
        ..part(0, 0, [])
    };
    let delivered = set("A-1", 0, "delivered").unversioned().place(Stamp { epoch, partition: 0, offset: 0 });
    let outcome = store.apply(&batch([life(delivered.clone())])).await;
    assert!(matches!(&outcome, Err(StoreError::Unordered(named)) if named.len() == 1), "{outcome:?}");
    // A partition that the new log does not have is none of it, although its row stays.
    replace(database, 2, 1).await;
    assert_eq!(store.apply(&batch([life(delivered)])).await.unwrap().applied, 1);
}

pub(super) async fn a_late_event_adds_its_step_alone(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 1, "created"), set("A-1", 3, "shipped").seen_by(&["m-1"])]).await;
    apply(store, 0, 2, [set("A-1", 2, "packed").of("u-2")]).await;
    let snapshot = by_name(store, &["A-1"]).await;
    assert_eq!(steps(&snapshot, "A-1"), [1, 2, 3]);
    assert_eq!(short(&snapshot, "A-1"), Some((3, "shipped".into())));
    assert_eq!(listed(store, "u-2").await, [""; 0]);
    assert_eq!(listed(store, "m-1").await, ["A-1"]);
}

pub(super) async fn everything_an_event_says_comes_back(database: &Database) {
    let details = "{ \"eta\" :1.0e2,\t\"note\":\"a\\u0000b \\ud83d\\ude00 ÄÖ\u{1F69A}'\\\\\",\"eta\":2}";
    let stamp = Stamp { epoch: Epoch(u64::MAX - 1), partition: i32::MAX, offset: i64::MAX - 1 };
    database.open(1).await;
    let mut part = part(0, 0, []);
    let id = "Ünï 'quoted' {a,\"b\"} \\ 🚚 NULL";
    let draft = set(id, MAX_VERSION, "in\\ transit, \"NULL\" {}")
        .of("ü,{}\"\\'")
        .seen_by(&["m,1", "NULL", "{x}"])
        .terminal()
        .at(-62_135_596_799_999)
        .details(details)
        .event_id("e\u{2028}1");
    part.events.push(draft.clone().place(stamp));
    let bare = set("bare", 0, "").place(Stamp { epoch: Epoch(1 << 63), ..stamp });
    part.events.push(bare);
    let log_version = set("log", 0, "x").unversioned().place(Stamp { epoch: Epoch(u64::MAX), partition: 0, offset: 9 });
    part.events.push(log_version);
    part.next_offset = 2;
    database.store.apply(&batch([part])).await.unwrap();

    let snapshot = by_name(&database.store, &[id, "bare", "log"]).await;
    let read = state(&snapshot, id);
    assert_eq!(read.details.as_ref().unwrap().get(), details);
    let ordercast::domain::Change::Set(sent) = draft.place(stamp).change else { unreachable!() };
    assert_eq!(format!("{read:?}"), format!("{sent:?}"));
    let bare = state(&snapshot, "bare");
    assert!(bare.details.is_none() && bare.event_id.is_none() && bare.viewers.is_empty() && bare.status.is_empty());
    assert_eq!(bare.stamp.epoch, Epoch(1 << 63));
    assert_eq!(state(&snapshot, "log").version.kind, VersionKind::Log(Epoch(u64::MAX)));
    let step = &snapshot.history(id).unwrap().timeline.steps()[0];
    assert_eq!((step.version, step.stamp, step.occurred_at), (MAX_VERSION, stamp, read.occurred_at));
}

pub(super) async fn a_tombstone_leaves_a_marker_that_holds_old_versions_off(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 5, "packed").seen_by(&["m-1"]), erase("A-2")]).await;
    assert_eq!(apply(store, 0, 2, [erase("A-1")]).await.applied, 1);
    let snapshot = by_name(store, &["A-1", "A-2"]).await;
    assert_eq!(short(&snapshot, "A-1"), Some((5, "erased".into())));
    assert_eq!(snapshot.history("A-1").unwrap().known.stamp().offset, 2);
    assert_eq!(short(&snapshot, "A-2"), None, "of an unknown order a tombstone leaves nothing");
    assert_eq!(listed(store, "m-1").await, [""; 0]);
    assert_eq!(database.count("orders").await + database.count("order_viewers").await, 0);

    assert_eq!(apply(store, 0, 3, [set("A-1", 5, "packed"), erase("A-1")]).await.late, 1);
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((5, "erased".into())));
    assert_eq!(apply(store, 0, 5, [set("A-1", 6, "again")]).await.applied, 1);
    let snapshot = by_name(store, &["A-1"]).await;
    assert_eq!(short(&snapshot, "A-1"), Some((6, "again".into())));
    assert_eq!(steps(&snapshot, "A-1"), [6]);
    assert_eq!(database.count("erased_orders").await, 0);
    assert_eq!(listed(store, "u-1").await, ["A-1"]);
}

pub(super) async fn an_order_may_come_and_go_within_a_batch(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 2, "created"), erase("A-1")]).await;
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((2, "erased".into())));
    assert_eq!(database.count("orders").await + database.count("order_viewers").await, 0);

    apply(store, 0, 2, [set("A-1", 3, "back"), erase("A-1")]).await;
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((3, "erased".into())));

    apply(store, 0, 4, [set("A-1", 4, "back"), erase("A-1"), set("A-1", 5, "again")]).await;
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((5, "again".into())));

    apply(store, 0, 7, [erase("A-1"), set("A-1", 6, "and again").of("u-2")]).await;
    let snapshot = by_name(store, &["A-1"]).await;
    assert_eq!(steps(&snapshot, "A-1"), [6]);
    assert_eq!(database.count("erased_orders").await, 0);
    assert_eq!((listed(store, "u-1").await.len(), listed(store, "u-2").await.len()), (0, 1));
}

pub(super) async fn who_is_no_longer_named_loses_the_order(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 1, "created").seen_by(&["m-1", "c-1"])]).await;
    assert_eq!(database.count("order_viewers").await, 3);
    apply(store, 0, 1, [set("A-1", 2, "packed").of("c-1").seen_by(&["m-2"])]).await;
    for (user, orders) in [("u-1", 0), ("m-1", 0), ("c-1", 1), ("m-2", 1)] {
        assert_eq!(listed(store, user).await.len(), orders, "{user}");
    }
    assert_eq!(database.count("order_viewers").await, 2);
    // Terminal: the rows move to their place in the window. An update that changes nothing there writes nothing there.
    apply(store, 0, 2, [set("A-1", 3, "delivered").of("c-1").terminal().at(7)]).await;
    assert_eq!(database.count("order_viewers where user_id = 'c-1' and terminal_at = 7").await, 1);
    assert_eq!(database.count("order_viewers").await, 1);
}

pub(super) async fn events_whose_data_is_refused_are_named_among_good_ones(database: &Database) {
    database.open(2).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 1, "created")]).await;
    let bad = |order| set(order, 2, "a\0b");
    let mut refused = batch([
        part(0, 1, [set("A-1", 2, "good"), bad("A-2"), set("A-3", 1, "good"), bad("A-1").event_id("x")]),
        part(1, 0, [set("B-1", 1, "good"), set("B-2", 1, "good").event_id("e\0"), set("B-3", 1, "good")]),
    ]);
    // The last one is hidden by nothing: it is newer than what its own batch brings.
    refused.partitions[0].events[3] = set("A-1", 9, "c\0").place(refused.partitions[0].events[3].stamp);
    let Err(StoreError::Rejected(rejected)) = store.apply(&refused).await else { panic!("the database takes U+0000") };
    let places: Vec<_> = rejected.iter().map(|RejectedEvent { stamp, .. }| (stamp.partition, stamp.offset)).collect();
    assert_eq!(places, [(0, 2), (0, 4), (1, 1)]);
    assert!(rejected.iter().all(|event| !event.message.is_empty()));
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((1, "created".into())), "nothing was changed");
    assert_eq!(database.count("orders").await, 1);

    for part in &mut refused.partitions {
        part.events.retain(|event| !places.contains(&(event.stamp.partition, event.stamp.offset)));
    }
    assert_eq!(store.apply(&refused).await.unwrap().applied, 4);
    assert_eq!(database.count("orders").await, 4);
}

pub(super) async fn a_reset_lets_any_version_follow(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(
        store,
        0,
        0,
        [set("A-1", MAX_VERSION, "packed").seen_by(&["m-1"]), set("A-2", MAX_VERSION, "x"), erase("A-2")],
    )
    .await;
    assert_eq!(apply(store, 0, 3, [set("A-1", 4, "shipped"), set("A-2", 4, "shipped")]).await.late, 2);
    assert_eq!(apply(store, 0, 5, [reset("A-1"), reset("A-2"), reset("A-3")]).await.applied, 2);
    let snapshot = by_name(store, &["A-1", "A-2", "A-3"]).await;
    assert_eq!(
        ["A-1", "A-2"].map(|order| short(&snapshot, order)),
        [Some((0, "erased".into())), Some((0, "erased".into()))]
    );
    assert_eq!(short(&snapshot, "A-3"), None, "of an unknown order nothing is left");
    assert_eq!(database.count("orders").await + database.count("order_viewers").await, 0);
    let again = apply(store, 0, 8, [reset("A-1"), erase("A-2")]).await;
    assert_eq!(again, Applied { nothing_to_erase: 2, ..Applied::default() });

    // In a batch of its own, and together with what comes before and after it.
    let after = [set("A-1", 0, "shipped"), set("A-2", 3, "paid").unversioned()];
    assert_eq!(apply(store, 0, 10, after).await, Applied { applied: 2, ..Applied::default() });
    apply(store, 0, 12, [set("A-3", 9, "x"), reset("A-3"), set("A-3", 1, "created"), set("A-4", 9, "x"), reset("A-4")])
        .await;
    let snapshot = by_name(store, &["A-1", "A-2", "A-3", "A-4"]).await;
    assert_eq!((short(&snapshot, "A-1"), steps(&snapshot, "A-1")), (Some((0, "shipped".into())), vec![0]));
    assert_eq!(short(&snapshot, "A-2"), Some((12, "paid".into())));
    assert_eq!((short(&snapshot, "A-3"), steps(&snapshot, "A-3")), (Some((1, "created".into())), vec![1]));
    assert_eq!(apply(store, 0, 17, [set("A-4", 2, "created")]).await.applied, 1);
    assert_eq!(database.count("erased_orders").await, 0);
    assert_eq!(listed(store, "u-1").await.len(), 4);
}

pub(super) async fn versions_that_jump_are_counted_and_applied(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    let applied = apply(store, 0, 0, [set("A-1", 1, "a"), set("A-1", 1_001, "b"), set("A-1", 2_002, "c")]).await;
    assert_eq!(applied, Applied { applied: 3, jumped: 1, ..Applied::default() });
    let others =
        [set("A-1", MAX_VERSION, "d"), set("A-1", 5, "e"), set("A-2", 1 << 40, "a"), set("A-3", MAX_VERSION, "a")];
    let applied = apply(store, 0, 3, others).await;
    assert_eq!(applied, Applied { applied: 3, late: 1, jumped: 2, ..Applied::default() });
    let unversioned = [set("A-1", 0, "f").unversioned(), set("A-1", 7, "g")];
    assert_eq!(apply(store, 0, 7, unversioned).await.jumped, 0, "versions of another kind are not compared");
}

pub(super) async fn markers_are_forgotten_by_age(database: &Database) {
    database.open(1).await;
    let store = &database.store;
    apply(store, 0, 0, [set("A-1", 5, "packed"), set("A-2", 5, "packed"), erase("A-1"), erase("A-2")]).await;
    assert_eq!(store.forget_erased(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(store.forget_erased(Duration::ZERO).await.unwrap(), 2);
    assert_eq!(apply(store, 0, 4, [set("A-1", 1, "created")]).await.applied, 1);
}
