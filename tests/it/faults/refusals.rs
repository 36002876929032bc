//! A database that answers, and will not be written, or holds what cannot be read.

use super::{event, nimble, rounds, until_stored_once, viewers};
use crate::{
    parts::{kafka::shared_broker, postgres::Database},
    world::{Crowd, Shop, World, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_every_row_is_waited_for_and_nothing_becomes_a_dead_letter() {
    let world = nimble(&shared_broker(), Database::create().await).await;
    let instance = world.start().await;
    let mut shop = Shop::new(8, viewers(6));
    let crowd = Crowd::come(&world, viewers(6), &[instance.address]);
    // A full disk, a right that was taken away, a former primary.
    for code in (0..rounds()).flat_map(|_| ["53100", "42501", "25006"]) {
        world.publish_all(&shop.events(50)).await;
        until_stored_once(&world, &shop).await;
        let refuse = format!(
            "create function refuse() returns trigger language plpgsql as \
             $$ begin perform nextval('refusals'); raise exception 'not now' using errcode = '{code}'; end $$"
        );
        world.database.run("create sequence refusals").await;
        world.database.run(&refuse).await;
        world.database.run("create trigger refuse before insert or update on orders execute function refuse()").await;
        world.publish_all(&shop.events(100)).await;
        // Sequences do not roll back.
        eventually("it was tried again and again", async || {
            world
                .database
                .number("select last_value from refusals where is_called")
                .await
                .is_some_and(|tried| tried >= 3)
        })
        .await;
        assert_eq!(instance.health().await.0, 200);
        world.database.run("drop trigger refuse on orders").await;
        world.database.run("drop function refuse; drop sequence refusals").await;
    }
    until_stored_once(&world, &shop).await;
    assert_eq!(world.database.number("select count(*) from dead_letters").await, Some(0));
    crowd.settle(shop).await;
    assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_does_all_it_can_then_names_the_orders_that_cannot_be_read_and_fails() {
    let mut world = World::on(&shared_broker(), Database::create().await).await;
    let instance = world.start().await;
    world.publish_all(&["A-1", "A-2", "A-3"].map(|order| event(order, "packed", 1))).await;
    let orders = "select count(*) from orders";
    eventually("all are stored", async || world.database.number(orders).await == Some(3)).await;
    instance.stop().await;
    world.database.run("update orders set viewers = '{' where order_id = 'A-2'").await;
    world.set("lifecycle.terminal", "packed");
    for restated in [2, 0] {
        let migrated = world.call(&["migrate"]).await;
        assert_eq!(migrated.code, Some(1), "{}", migrated.stdout);
        assert!(migrated.stdout.contains(&format!("terminal: {restated}, ")), "{}", migrated.stdout);
        assert!(migrated.stdout.contains("the control topic"), "{}", migrated.stdout);
        assert_eq!(migrated.stderr.lines().count(), 1, "{}", migrated.stderr);
        assert!(
            migrated.stderr.starts_with("error: the stored row of the order A-2 cannot be read"),
            "{}",
            migrated.stderr
        );
    }
}
