//! Good and hostile load together, for as long as one likes: every good screen is true, and nothing grows. `scripts/soak` runs it
//! for an hour against the release build; here it is short.

mod figures;
mod hostile;
mod strangers;
mod watchers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use self::{
    figures::{Figures, Round},
    hostile::Hostile,
    watchers::Watchers,
};
use crate::{
    parts::topic::Record,
    world::{Crowd, Instance, Shop, World, eventually, record},
};

/// Users of the shop: some watch without end, some come and go, some never look.
const USERS: usize = 60;
const WATCHERS: usize = 12;
const CROWD: usize = 40;
/// Each second.
const EVENTS: usize = 50;
/// Events each second that are large, so that who reads nothing is noticed.
const LARGE_EVENTS: u64 = 10;
const LARGE_BYTES: usize = 10_000;
/// Those who watch are ended after two of them without a sign of life; a machine that is busy otherwise must not do that.
const HEARTBEAT: &str = "15s";
/// After each the good ones are asked what they see.
const ROUND: Duration = Duration::from_secs(60);
/// A version that nothing comes after, and a time that nothing comes before, of somebody whom nobody watches.
const AHEAD: &str = r#"{"order_id":"A-ahead","user_id":"ahead","status":"s","version":9007199254740991,"occurred_at":"2999-01-01T00:00:00Z"}"#;
/// Below this it is told whether anything grows, and not judged: a process that has just started does.
const JUDGED_FROM: Duration = Duration::from_secs(600);

/// What all who take part share.
struct Field {
    world: World,
    instances: [Instance; 2],
}

/// How long; `ORDERCAST_SOAK_SECONDS=3600` asks for more.
fn length() -> Duration {
    let seconds = std::env::var("ORDERCAST_SOAK_SECONDS").map_or(20, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_hostile_load_every_good_screen_is_true_and_nothing_grows() {
    let length = length();
    let mut world = World::create().await;
    world.set("session.heartbeat_interval", HEARTBEAT);
    world.set("session.send_timeout", "2s");
    let instances = [world.serve().await, world.serve().await];
    let field = Arc::new(Field { world, instances });
    let addresses = field.instances.each_ref().map(|instance| instance.address);
    let mut figures = Figures::begin(&field);
    let sampling = figures.sample(&field);
    let mut watchers = Watchers::come(&field, WATCHERS).await;
    let hostile = Hostile::begin(&field);
    let (mut upstream, begun) = (Upstream::new(), Instant::now());
    while begun.elapsed() < length {
        let crowd = Crowd::come(&field.world, CROWD, &addresses);
        let events = upstream.publish(&field, ROUND.min(length - begun.elapsed())).await;
        let (asked, truth) = (Instant::now(), Arc::new(upstream.shop.clone()));
        let ((connections, missed), unanswered) = tokio::join!(crowd.count(truth.clone()), watchers.count(truth));
        let settled_in = asked.elapsed();
        figures.end_round(Round { events, connections, missed: missed + unanswered, settled_in });
    }
    let tally = hostile.end().await;
    let refreshes = watchers.leave().await;
    sampling.cancel();
    let verdict = figures.report(&tally, refreshes, length >= JUDGED_FROM);
    let idle = figures.idle;
    for (number, instance) in field.instances.iter().enumerate() {
        eventually("all sessions are gone", async || instance.metric("ordercast_sessions_open").await == 0.0).await;
        eventually("what they held is given back", async || instance.handles() <= idle[number] + Figures::MORE_HANDLES)
            .await;
        assert_eq!(instance.metric("ordercast_panics_total").await, 0.0);
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        assert!(instance.metric(r#"ordercast_sessions_closed_total{cause="slow_consumer"}"#).await > 0.0);
    }
    let field = Arc::into_inner(field).expect("everybody has left");
    let [one, two] = field.instances;
    one.stop().await;
    two.stop().await;
    assert!(verdict.is_empty(), "{verdict:#?}");
}

/// Who publishes: a shop, large orders of a user who is watched by those that read nothing, and records nobody can read.
struct Upstream {
    shop: Shop,
    large: u64,
}

impl Upstream {
    fn new() -> Self {
        Self { shop: Shop::new(71, USERS), large: 0 }
    }

    /// Publishes for a while; answers how many events of the shop that were.
    async fn publish(&mut self, field: &Field, length: Duration) -> usize {
        let (begun, mut events) = (Instant::now(), 0);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while begun.elapsed() < length {
            seconds.tick().await;
            let mut records: Vec<Record> = self.shop.events(EVENTS).iter().map(record).collect();
            events += EVENTS;
            records.extend((0..LARGE_EVENTS).map(|_| record(&self.large_event())));
            records.push(Record::new("A-broken", r#"{"order_id":"A-broken","status":"#));
            records.push(Record::new("A-ahead", AHEAD));
            records.push(Record::new("A-broken", r#"{"order_id":"A-broken","user_id":[],"status":"s"}"#));
            field.world.topic.produce_all(&records).await;
        }
        events
    }

    fn large_event(&mut self) -> Value {
        self.large += 1;
        json!({
            "order_id": format!("L-{}", self.large % 20), "user_id": hostile::STALLED, "status": "s",
            "version": self.large, "details": {"pad": "x".repeat(LARGE_BYTES)},
        })
    }
}
