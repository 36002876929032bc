//! Disks that are full.

use std::{collections::BTreeMap, ffi::OsString, fs};

use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::{nimble, until_stored_once, viewers};
use crate::{
    parts::{
        disk::SmallDisk,
        kafka::shared_broker,
        postgres::{Database, Postgres},
    },
    world::{Crowd, Shop, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_under_the_database_screens_stay_live_and_the_recorder_goes_on_once_there_is_room() {
    let postgres = Postgres::start_with(SmallDisk::of("32m")).await;
    let world = nimble(&shared_broker(), Database::create_in("small", &postgres.url()).await).await;
    let instance = world.serve().await;
    let mut shop = Shop::new(11, 100);
    let crowd = Crowd::come(&world, viewers(6), &[instance.address]);
    world.publish_all(&shop.events(50)).await;
    until_stored_once(&world, &shop).await;
    postgres.fill_disk();
    world.publish_all(&shop.events(1_000)).await;
    let mut witness = world.watch(&instance, "witness").await;
    eventually("there is no room", async || instance.log().contains("No space left on device")).await;
    world.publish(serde_json::json!({"order_id": "W", "user_id": "witness", "status": "seen", "version": 1})).await;
    witness.expect_status("W", "seen").await;
    assert_eq!(instance.health().await.0, 200);
    let behind = "select coalesce(sum(next_offset), 0)::bigint from progress";
    assert!(world.database.number(behind).await < Some(1_050), "not all is recorded");
    world.publish(serde_json::json!({"order_id": "W"})).await;
    witness.expect_gone("W").await;
    postgres.make_room();
    until_stored_once(&world, &shop).await;
    assert_eq!(world.database.number("select count(*) from dead_letters").await, Some(0));
    crowd.settle(shop).await;
    assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_under_sqlite_the_recorder_goes_on_once_there_is_room() {
    let disk = SmallDisk::of("16m");
    let mut world = nimble(&shared_broker(), Database::create().await).await;
    world.set("database.url", &format!("sqlite:{}", disk.path("orders.db").display()));
    // The schema has to be made by somebody who sees the disk.
    let migrating = ["bash", "-c", r#""$0" migrate && exec "$0" "$@""#].map(OsString::from);
    let instance = world.serve_by(&[disk.runner(), migrating.into()].concat(), &[]).await;
    let mut shop = Shop::new(14, 100);
    let crowd = Crowd::come(&world, 6, &[instance.address]);
    // SQLite would look for the file where the link of the process leads for everybody else. A copy that was made while
    // something was written may be none.
    let stored = async || {
        let copy = TempDir::new().unwrap();
        for name in ["orders.db", "orders.db-wal"] {
            fs::copy(disk.seen_through(instance.pid(), name), copy.path().join(name)).ok()?;
        }
        let url = format!("sqlite:{}", copy.path().join("orders.db").display());
        let mut connection = SqliteConnection::connect(&url).await.ok()?;
        let rows = "select order_id, version_number, json_array_length(timeline) from orders";
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(rows).fetch_all(&mut connection).await.ok()?;
        let rows = rows.into_iter().map(|(id, version, steps)| (id, (version as u64, steps as usize)));
        Some(rows.collect::<BTreeMap<_, _>>())
    };
    world.publish_all(&shop.events(50)).await;
    eventually("it is stored", async || stored().await.as_ref() == Some(&shop.rows())).await;
    disk.fill(instance.pid());
    world.publish_all(&shop.events(1_000)).await;
    eventually("there is no room", async || instance.log().contains("database or disk is full")).await;
    assert_eq!(instance.health().await.0, 200);
    disk.make_room(instance.pid());
    eventually("it is stored", async || stored().await.as_ref() == Some(&shop.rows())).await;
    crowd.settle(shop).await;
    assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
    instance.stop().await;
}
