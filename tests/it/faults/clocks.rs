//! Wall clocks that jump: only what is about dates may notice.

use std::time::Duration;

use serde_json::json;

use super::{event, nimble, rounds, until_proved, until_row, until_stored_once, viewers};
use crate::{
    parts::{
        clock::Clock,
        kafka::{Broker, shared_broker},
        postgres::Database,
    },
    world::{Crowd, Screen, Shop, eventually},
};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// Seconds ahead of the true time, one after the other.
const JUMPS: [i64; 4] = [0, 15 * MINUTE, -DAY, 30 * MINUTE];

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_costs_no_screen_the_truth() {
    let world = nimble(&shared_broker(), Database::create().await).await;
    let clock = Clock::create();
    let environment = clock.environment();
    let (right, wrong) = tokio::join!(world.serve(), world.serve_by(&[], &environment));
    let mut shop = Shop::new(12, viewers(8));
    let crowd = Crowd::come_issued(&world, viewers(8), &[right.address, wrong.address], -2 * DAY);
    let expired = r#"ordercast_sessions_closed_total{cause="token_expired"}"#;
    for (round, ahead) in (0..rounds()).flat_map(|_| JUMPS).enumerate() {
        world.publish_all(&shop.events(100)).await;
        // Issued long ago by the clock of the instance, too, whatever that is.
        let token = world.token_issued("witness", -2 * DAY);
        let mut witness = Screen::open(wrong.address, &token).await;
        clock.set_ahead(ahead);
        let order = format!("W-{round}");
        world.publish(json!({"order_id": order, "user_id": "witness", "status": "seen", "version": 1})).await;
        witness.expect_status(&order, "seen").await;
        world.publish(json!({"order_id": order})).await;
        witness.expect_gone(&order).await;
        world.publish_all(&shop.events(100)).await;
        assert_eq!(wrong.health().await.0, 200);
        until_stored_once(&world, &shop).await;
    }
    assert_eq!(wrong.metric(expired).await, 0.0);
    clock.set_ahead(10 * DAY);
    world.publish_all(&shop.events(200)).await;
    eventually("tokens have ended", async || wrong.metric(expired).await > 0.0).await;
    // One that starts like this looks at once for what may be forgotten.
    let third = world.serve_by(&[], &environment).await;
    until_stored_once(&world, &shop).await;
    third.stop().await;
    clock.set_ahead(0);
    assert_eq!(
        world.database.number("select count(*) from erased_orders where order_id like 'W-%'").await,
        Some(JUMPS.len() as i64 * rounds() as i64),
        "what is remembered of erased orders does not depend on the clock of an instance"
    );
    crowd.settle(shop).await;
    for instance in [right, wrong] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        assert_eq!(instance.metric("ordercast_panics_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clock_was_set_back_a_broker_that_goes_away_is_still_told_in_time() {
    let broker = Broker::start().await;
    let mut world = nimble(&broker.bootstrap(), Database::create().await).await;
    world.set("kafka.brokers", &broker.proxied());
    let clock = Clock::create();
    let instance = world.serve_by(&[], &clock.environment()).await;
    world.publish(event("A-1", "created", 1)).await;
    until_row(&world, "A-1", 1).await;
    until_proved(&world, &instance).await;
    let mut screen = world.watch(&instance, "u-1").await;
    // What waits at this moment waits for a moment that has moved a day away.
    clock.set_ahead(-DAY);
    screen.watch_until(tokio::time::Instant::now() + Duration::from_secs(5)).await;
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    broker.proxy().stall();
    screen.until("it says so", |screen| screen.is_stale_for("kafka_unavailable")).await;
    world.publish(event("A-1", "paid", 2)).await;
    broker.proxy().heal().await;
    screen.expect_status("A-1", "paid").await;
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    until_row(&world, "A-1", 2).await;
    instance.stop().await;
}
