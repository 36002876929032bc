//! The schema's version.

use ordercast::store::StoreError;

use super::databases::Database;

pub(super) async fn an_empty_database_is_behind_until_migrated(database: &Database) {
    let empty = database.empty_sibling().await;
    let behind = empty.store.check_schema().await;
    assert!(matches!(behind, Err(StoreError::SchemaBehind { found: 0, needed: 1.. })), "{behind:?}");
    assert!(behind.unwrap_err().to_string().contains("ordercast migrate"));
    for _ in 0..2 {
        empty.store.migrate().await.unwrap();
        empty.store.check_schema().await.unwrap();
    }
    empty.drop().await;
}

pub(super) async fn a_database_from_the_future_is_left_alone(database: &Database) {
    let checksum = if database.is_postgres() { "'\\x00'" } else { "x'00'" };
    database
        .sql(&format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of a newer ordercast', true, {checksum}, 0)"
        ))
        .await;
    for outcome in [database.store.check_schema().await, database.store.migrate().await] {
        assert!(matches!(outcome, Err(StoreError::SchemaAhead { found: 9999, .. })), "{outcome:?}");
    }
}

pub(super) async fn many_may_migrate_at_once(database: &Database) {
    let empty = database.empty_sibling().await;
    let migrations: Vec<_> = (0..4)
        .map(|_| {
            let store = empty.another_store();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for migration in migrations {
        migration.await.unwrap().unwrap();
    }
    empty.store.check_schema().await.unwrap();
    empty.drop().await;
}
