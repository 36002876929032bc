//! Merchants with long lists come at once, all of them, and customers meanwhile.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all};
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    parts::{kafka::shared_broker, postgres::Database},
    world::{PATIENCE, Screen, Service, World, eventually},
};

const MERCHANTS: usize = 500;
const ORDERS: usize = 1_500;
const CUSTOMERS: usize = 100;

/// Copies one recorded order, so that what is stored belongs to the log.
async fn fill(world: &World) {
    world.publish(json!({"order_id": "T", "user_id": "t", "status": "created", "version": 1})).await;
    let orders = "select count(*) from orders";
    eventually("it is stored", async || world.database.number(orders).await == Some(1)).await;
    let lists = format!(
        "(select 'm-' || m as name, 'M-' || m || '-' || n as id
          from generate_series(1, {MERCHANTS}) m, generate_series(1, {ORDERS}) n
          union all select 'c-' || c, 'C-' || c from generate_series(1, {CUSTOMERS}) c) as list"
    );
    let columns =
        "viewers, status, terminal, version_number, epoch, partition, log_offset, occurred_at, details, timeline";
    world
        .database
        .run(&format!(
            "insert into orders (order_id, user_id, {columns}) select id, name, {columns} from orders, {lists}"
        ))
        .await;
    let open = i64::MAX;
    world
        .database
        .run(&format!(
            "insert into order_viewers (user_id, terminal_at, order_id) select name, {open}, id from {lists}"
        ))
        .await;
    world.database.run("analyze").await;
}

/// One merchant who comes, and stays until the whole first snapshot has come. Answers how many orders that has.
async fn come(url: String) -> Option<usize> {
    let deadline = tokio::time::Instant::now() + 5 * PATIENCE;
    while tokio::time::Instant::now() < deadline {
        let Ok((mut socket, _)) = connect_async(&url).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut orders = 0;
        while let Ok(Some(Ok(message))) = tokio::time::timeout_at(deadline, socket.next()).await {
            let Message::Text(text) = message else { continue };
            orders += text.matches("\"order_id\"").count();
            if text.ends_with("\"complete\":true}") {
                return Some(orders);
            }
        }
    }
    None
}

/// Customers who come one after the other until all merchants are served; what each waited for the first snapshot.
async fn customers(
    world: &World,
    service: &Service,
    merchants: impl Future<Output = Vec<Option<usize>>>,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    let coming = async {
        for n in (1..=CUSTOMERS).cycle() {
            // On a machine that is busy with everything else, a head may take too long.
            let query = format!("token={}", world.token(&format!("c-{n}")));
            let Ok(mut screen) = Screen::connect(service.address, &query).await else { continue };
            let came = Instant::now();
            screen.until("the first snapshot", Screen::has_snapshot).await;
            assert_eq!(screen.orders.len(), 1);
            waits.push(came.elapsed());
        }
    };
    tokio::select! {
        served = merchants => assert_eq!(served, vec![Some(ORDERS); MERCHANTS], "every merchant is served"),
        () = coming => {}
    }
    waits.sort_unstable();
    waits
}

/// The smallest bound that all observations keep, of a histogram.
async fn longest(service: &Service, name: &str) -> String {
    let text = reqwest::get(format!("http://{}/metrics", service.operations)).await.unwrap().text().await.unwrap();
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let all = text.lines().find(|line| line.starts_with(&format!("{name}_count"))).map(value).unwrap();
    let bound = text.lines().find(|line| line.starts_with(&format!("{name}_bucket")) && value(line) >= all);
    bound.unwrap().to_owned()
}

/// Measures; what is asserted is that all are served. Takes some minutes, and 2 GB of memory with the database's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn merchants_with_long_lists_come_at_once() {
    let mut world = World::on(&shared_broker(), Database::create().await).await;
    world.set("session.max_orders", &ORDERS.to_string());
    world.set("session.audits_per_second", "0");
    world.set("session.snapshot_timeout", "60s");
    world.set("session.max_handshakes_per_second", "5000");
    let service = Service::start(&world).await;
    fill(&world).await;
    for round in ["never seen before", "seen before"] {
        service.reset_peak();
        let resident = service.status_kib("VmRSS");
        let (began, before) = (Instant::now(), service.metric("ordercast_snapshot_statements_total").await);
        let url = |n| format!("ws://{}/order-status?token={}", service.address, world.token(&format!("m-{n}")));
        let merchants: Vec<_> = (1..=MERCHANTS).map(|n| tokio::spawn(come(url(n)))).collect();
        let served = async { join_all(merchants).await.into_iter().map(Result::unwrap).collect() };
        let waits = customers(&world, &service, served).await;
        let at = |part: usize| waits.get(waits.len() * part / 100).or(waits.last());
        println!(
            "{round}: {:?}; memory grew by {} MiB; {} statements; {} customers, first snapshot p50 {:?}, p99 {:?}, longest {:?}",
            began.elapsed(),
            (service.status_kib("VmHWM") - resident) / 1024,
            service.metric("ordercast_snapshot_statements_total").await - before,
            waits.len(),
            at(50),
            at(99),
            waits.last(),
        );
        println!("{}", longest(&service, "ordercast_hub_lock_hold_seconds").await);
        println!("{}", longest(&service, "ordercast_snapshot_orders").await);
        println!("{}", longest(&service, "ordercast_snapshot_duration_seconds").await);
        eventually("all have left", async || service.metric("ordercast_sessions_open").await == 0.0).await;
    }
}
