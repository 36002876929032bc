//! Topics, progress and its compare-and-set.

use std::collections::BTreeMap;

use ordercast::{
    domain::{Halt, LastRecord, Position, Progress},
    store::{HaltFinding, Relocation, StoreError, TopicOpening},
};

use super::{
    databases::{Database, LOG_ID, TOPIC},
    drafts::{apply, batch, by_name, part, set, short},
};

async fn stored(database: &Database) -> Vec<Progress> {
    database.store.progress(TOPIC, i64::MAX).await.unwrap().progress
}

pub(super) async fn rows_are_made_once_and_the_first_partition_count_stays(database: &Database) {
    let store = &database.store;
    let reading = store.progress(TOPIC, 0).await.unwrap();
    assert!(reading.progress.is_empty() && reading.partition_count.is_none());
    let opening = |count, low_watermarks: &[(i32, i64)]| TopicOpening {
        topic: TOPIC.into(),
        log_id: LOG_ID.into(),
        partition_count: count,
        low_watermarks: low_watermarks.to_vec(),
    };
    let made = store.open_topic(&opening(2, &[(1, 40), (0, 3)])).await.unwrap();
    assert_eq!(made.iter().map(|row| (row.partition, row.next_offset)).collect::<Vec<_>>(), [(0, 3), (1, 40)]);
    assert!(made.iter().all(|row| row.log_id == LOG_ID && row.generation == 0 && row.last_record.is_none()));
    apply(store, 0, 3, [set("A-1", 1, "created")]).await;

    let again = store.open_topic(&opening(3, &[(0, 100), (2, 0)])).await.unwrap();
    assert_eq!(again.iter().map(|row| (row.partition, row.next_offset)).collect::<Vec<_>>(), [(0, 4), (1, 40), (2, 0)]);
    let reading = store.progress(TOPIC, 0).await.unwrap();
    assert_eq!(reading.partition_count, Some(2));
    assert_eq!(reading.progress, again);
    assert_eq!(again[0].last_record, Some(LastRecord { offset: 3, digest: u64::MAX - 7 }));
}

pub(super) async fn a_batch_applied_again_is_a_lost_partition_and_changes_nothing(database: &Database) {
    database.open(1).await;
    let first = batch([part(0, 0, [set("A-1", 1, "created")])]);
    database.store.apply(&first).await.unwrap();
    let before = stored(database).await;
    for store in [&database.store, &database.another_store()] {
        let again = store.apply(&first).await;
        assert!(matches!(again, Err(StoreError::LostPartition { partition: 0 })), "{again:?}");
    }
    assert_eq!(stored(database).await, before);
    assert_eq!(database.sql("select timeline from orders").await.len(), 1);
}

pub(super) async fn one_lost_partition_holds_back_the_whole_batch(database: &Database) {
    database.open(3).await;
    let part_of = |partition, order| part(partition, 0, [set(order, 1, "created")]);
    let mut moved = part_of(1, "B-1");
    moved.read_from = 7;
    let outcome = database.store.apply(&batch([part_of(0, "A-1"), moved, part_of(2, "C-1")])).await;
    assert!(matches!(outcome, Err(StoreError::LostPartition { partition: 1 })), "{outcome:?}");

    let mut another_log = part_of(2, "C-1");
    another_log.generation = 1;
    let outcome = database.store.apply(&batch([part_of(0, "A-1"), another_log])).await;
    assert!(matches!(outcome, Err(StoreError::LostPartition { partition: 2 })), "{outcome:?}");

    let mut unknown = part_of(0, "A-1");
    unknown.partition = 9;
    let outcome = database.store.apply(&batch([unknown])).await;
    assert!(matches!(outcome, Err(StoreError::LostPartition { partition: 9 })), "{outcome:?}");
    assert_eq!(database.count("orders").await, 0);
    assert!(stored(database).await.iter().all(|row| row.next_offset == 0));
}

pub(super) async fn a_stretch_without_records_moves_progress_and_keeps_the_last_record(database: &Database) {
    database.open(1).await;
    apply(&database.store, 0, 0, [set("A-1", 1, "created")]).await;
    let mut markers_only = part(0, 1, []);
    markers_only.next_offset = 5;
    database.store.apply(&batch([markers_only])).await.unwrap();
    let row = &stored(database).await[0];
    assert_eq!((row.next_offset, row.last_record.unwrap().offset), (5, 0));
}

pub(super) async fn a_halt_is_told_where_the_partition_stands_until_it_goes_on(database: &Database) {
    database.open(2).await;
    let store = &database.store;
    apply(store, 1, 0, [set("A-1", 1, "created")]).await;
    let at = stored(database).await[1].clone();
    let halts = async || store.progress(TOPIC, i64::MAX).await.unwrap().halts;
    let find = async |at: &Progress, halt| {
        store.set_halt(&HaltFinding { topic: TOPIC.into(), at: at.clone(), halt }).await.unwrap();
    };
    let elsewhere = [
        Progress { next_offset: 0, ..at.clone() },
        Progress { generation: 1, ..at.clone() },
        Progress { last_record: None, ..at.clone() },
    ];
    for elsewhere in &elsewhere {
        find(elsewhere, Some(Halt::Gap)).await;
    }
    assert_eq!(halts().await, BTreeMap::new());
    for halt in [Some(Halt::Gap), Some(Halt::Regression), None, Some(Halt::Gap)] {
        find(&at, halt).await;
        assert_eq!(halts().await, halt.map(|halt| (1, halt)).into_iter().collect());
    }
    apply(store, 1, 1, [set("A-1", 2, "paid")]).await;
    assert_eq!(halts().await, BTreeMap::new(), "it is recorded again");

    let at = stored(database).await[1].clone();
    find(&at, Some(Halt::Regression)).await;
    let to = Progress { generation: 1, next_offset: 0, last_record: None, ..at.clone() };
    let relocation = Relocation { topic: TOPIC.into(), from: at, to, lost_range: None, partition_count: None };
    store.relocate(&relocation).await.unwrap();
    assert_eq!(halts().await, BTreeMap::new(), "somebody has decided");
}

pub(super) async fn a_partition_is_relocated_only_from_where_it_stands(database: &Database) {
    database.open(2).await;
    let store = &database.store;
    apply(store, 1, 0, [set("A-1", 1, "created")]).await;
    let from = stored(database).await[1].clone();
    let to = Progress { generation: 1, next_offset: 90, last_record: None, ..from.clone() };
    let relocation = Relocation {
        topic: TOPIC.into(),
        from: from.clone(),
        to: to.clone(),
        lost_range: Some((1, 90)),
        partition_count: Some(6),
    };
    let wrong = [
        Progress { log_id: "other".into(), ..from.clone() },
        Progress { generation: 1, ..from.clone() },
        Progress { next_offset: 0, ..from.clone() },
        Progress { last_record: None, ..from.clone() },
        Progress { last_record: Some(LastRecord { offset: 0, digest: 1 }), ..from.clone() },
    ];
    for from in wrong {
        let outcome = store.relocate(&Relocation { from, ..relocation.clone() }).await;
        assert!(matches!(outcome, Err(StoreError::LostPartition { partition: 1 })), "{outcome:?}");
    }
    assert_eq!((stored(database).await[1].clone(), database.count("lost_ranges").await), (from.clone(), 0));

    store.relocate(&relocation).await.unwrap();
    let reading = store.progress(TOPIC, 0).await.unwrap();
    assert_eq!((&reading.progress[1], reading.partition_count), (&to, Some(6)));
    let lost = database.sql("select partition, from_offset, to_offset from lost_ranges").await;
    assert_eq!(lost, [["1", "1", "90"].map(|value| Some(value.to_owned()))]);
    let behind = Position { partition: 1, epoch: from.epoch(), next_offset: 90 };
    assert_eq!(reading.lost, [behind], "every instance hears of it");
    assert!(store.relocate(&relocation).await.is_err(), "it has moved");
    assert_eq!(short(&by_name(store, &["A-1"]).await, "A-1"), Some((1, "created".into())), "rows stay");

    let back = Relocation {
        from: to,
        to: Progress { next_offset: 3, ..reading.progress[1].clone() },
        lost_range: None,
        partition_count: None,
        topic: TOPIC.into(),
    };
    store.relocate(&back).await.unwrap();
    assert_eq!(database.count("lost_ranges").await, 1);
}
