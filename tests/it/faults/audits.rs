//! Screens that are wrong although nothing seems to be.

use super::{event, until_row};
use crate::world::{World, eventually};

#[tokio::test]
async fn an_audit_repairs_and_counts_what_a_screen_shows_wrongly() {
    let mut world = World::create().await;
    world.set("session.audits_per_second", "20");
    let instance = world.start().await;
    world.publish_all(&[event("A-1", "created", 1), event("A-1", "paid", 2), event("A-2", "created", 1)]).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "paid").await;
    screen.expect_status("A-2", "created").await;
    until_row(&world, "A-2", 1).await;
    until_row(&world, "A-1", 2).await;
    assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
    // The truth changes without a record, as if the fanout had missed one: nobody is told, and nothing is doubted.
    world.database.run("update orders set status = 'lost', version_number = 3, log_offset = 1000000").await;
    world.database.run("delete from orders where order_id = 'A-2'").await;
    screen.expect_status("A-1", "lost").await;
    screen.expect_gone("A-2").await;
    assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 2.0);
    assert_eq!(instance.metric("ordercast_snapshot_failures_total").await, 0.0);
    instance.stop().await;
}

#[tokio::test]
async fn without_audits_nothing_is_read_of_screens_that_nothing_doubts() {
    let mut world = World::create().await;
    world.set("session.audits_per_second", "0");
    let instance = world.start().await;
    // Before every partition has a row nothing can be proved, and what starts is read twice.
    eventually("the recorder has begun", async || {
        world.database.number("select count(*) from progress").await == Some(3)
    })
    .await;
    let _screen = world.watch(&instance, "u-1").await;
    let before = instance.metric("ordercast_snapshot_statements_total").await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(instance.metric("ordercast_snapshot_statements_total").await, before);
    instance.stop().await;
}
