//! Recorders that meet on one order, step by step: a session of the test plays the other one.

use ordercast::store::StoreError;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::store::{
    databases::{Database, somebody_waits},
    drafts::{Draft, batch, by_name, erase, part, set, short},
};

/// The other recorder's transaction.
async fn other(database: &Database, statement: &str) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute("begin").await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection
}

async fn meets(statement: &str, drafts: Vec<Draft>) {
    let database = Database::postgres().await;
    database.open(1).await;
    let first = batch([part(0, 0, drafts)]);
    let mut other = other(&database, statement).await;
    let ours = tokio::spawn({
        let (store, first) = (database.store.clone(), first.clone());
        async move { store.apply(&first).await }
    });
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    somebody_waits(&mut observer, 1).await;
    other.execute("commit").await.unwrap();
    let outcome = ours.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Contended)), "{outcome:?}");
    assert!(outcome.unwrap_err().is_retryable());
    let snapshot = by_name(&database.store, &["A-1"]).await;
    assert_eq!(snapshot.positions()[0].next_offset, 0);

    let applied = database.store.apply(&first).await.unwrap();
    assert_eq!(applied.applied, first.partitions[0].events.len() as u64, "the second attempt sees the other's rows");
    database.drop().await;
}

const THEIRS: &str =
    "insert into orders (order_id, user_id, viewers, status, terminal, version_number, epoch, partition,
                                          log_offset, occurred_at, timeline)
                      values ('A-1', 'u-1', '[]', 'created', false, 1, 0, 1, 0, 0, '[]');";

#[tokio::test]
async fn two_first_sights_of_an_order_contend() {
    meets(THEIRS, vec![set("A-0", 1, "created"), set("A-1", 2, "packed")]).await;
}

#[tokio::test]
async fn a_first_sight_contends_with_an_order_that_came_and_went() {
    let gone = format!(
        "{THEIRS} delete from orders;
         insert into erased_orders (order_id, version_number, epoch, partition, log_offset) values ('A-1', 1, 0, 1, 1)"
    );
    meets(&gone, vec![set("A-1", 2, "packed")]).await;
    meets(&gone, vec![set("A-1", 2, "packed"), erase("A-1")]).await;
}

#[tokio::test]
async fn an_order_that_comes_and_goes_contends_with_a_first_sight() {
    meets(THEIRS, vec![set("A-1", 2, "packed"), erase("A-1")]).await;
}

#[tokio::test]
async fn a_recorder_waits_for_the_rows_of_another_and_then_sees_them() {
    let database = Database::postgres().await;
    database.open(2).await;
    database.store.apply(&batch([part(0, 0, [set("A-1", 1, "created")])])).await.unwrap();
    let mut other = other(&database, "update orders set version_number = 5, status = 'theirs'").await;
    let ours = tokio::spawn({
        let store = database.store.clone();
        async move { store.apply(&batch([part(1, 0, [set("A-1", 4, "ours")])])).await }
    });
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    somebody_waits(&mut observer, 1).await;
    other.execute("commit").await.unwrap();
    assert_eq!(ours.await.unwrap().unwrap().late, 1);
    assert_eq!(short(&by_name(&database.store, &["A-1"]).await, "A-1"), Some((5, "theirs".into())));
    database.drop().await;
}

/// A zombie that wakes up in the middle of its successor's commit must not write.
#[tokio::test]
async fn of_two_recorders_of_one_partition_the_later_loses_it() {
    let database = Database::postgres().await;
    database.open(1).await;
    let mut other = other(&database, "update progress set next_offset = 1").await;
    let ours = tokio::spawn({
        let store = database.store.clone();
        async move { store.apply(&batch([part(0, 0, [set("A-1", 1, "created")])])).await }
    });
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    somebody_waits(&mut observer, 1).await;
    other.execute("commit").await.unwrap();
    let outcome = ours.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::LostPartition { partition: 0 })), "{outcome:?}");
    assert_eq!(database.count("orders").await, 0);
    database.drop().await;
}

/// Numbers of dead letters grow in the order of commits: who has read on cannot miss one.
#[tokio::test]
async fn dead_letters_of_another_recorder_wait_for_the_earlier_number() {
    let database = Database::postgres().await;
    database.open(1).await;
    let mut other = other(&database, "update topics set last_dead_letter = last_dead_letter + 1").await;
    let mut refusing = part(0, 0, []);
    refusing.next_offset = 1;
    refusing.dead_letters.push(ordercast::store::DeadLetter {
        offset: 0,
        code: "empty",
        message: String::new(),
        timestamp_millis: None,
        key: None,
        held_record: None,
    });
    let ours = tokio::spawn({
        let store = database.store.clone();
        async move { store.apply(&batch([refusing])).await }
    });
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    somebody_waits(&mut observer, 1).await;
    other.execute("commit").await.unwrap();
    ours.await.unwrap().unwrap();
    assert_eq!(database.store.progress(crate::store::databases::TOPIC, 1).await.unwrap().dead_letters[0].id, 2);
    database.drop().await;
}
