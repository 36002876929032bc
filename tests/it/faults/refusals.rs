//! A database that answers, and will not be written.

use super::{nimble, rounds, until_stored_once, viewers};
use crate::{
    parts::{kafka::shared_broker, postgres::Database},
    world::{Crowd, Shop, eventually},
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
