//! The main job: an event in Kafka moves the order on every screen that may see it.

use std::time::Duration;

use serde_json::json;

use crate::{
    parts::topic::Record,
    world::{Screen, World, eventually},
};

fn event(order: &str, user: &str, status: &str, version: u64) -> serde_json::Value {
    json!({"order_id": order, "user_id": user, "status": status, "version": version})
}

#[tokio::test]
async fn an_event_moves_the_order_on_every_screen_that_may_see_it_and_on_no_other() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut customer = world.watch(&one, "u-1").await;
    let mut customer_elsewhere = world.watch(&two, "u-1").await;
    let mut merchant = world.watch(&two, "m-7").await;
    let mut stranger = world.watch(&one, "u-2").await;
    let mut created = event("A-1", "u-1", "created", 1);
    created["viewers"] = json!(["m-7"]);
    created["details"] = json!({"carrier": "DHL"});
    world.publish(created).await;
    for screen in [&mut customer, &mut customer_elsewhere, &mut merchant] {
        screen.expect_status("A-1", "created").await;
        assert_eq!(screen.orders["A-1"]["details"], json!({"carrier": "DHL"}));
    }
    // The merchant is no longer named, and every event carries the whole order.
    world.publish(event("A-1", "u-1", "shipped", 2)).await;
    customer.expect_status("A-1", "shipped").await;
    assert_eq!(customer.orders["A-1"]["details"], json!({}));
    merchant.expect_gone("A-1").await;
    world.publish(event("B-1", "u-2", "created", 1)).await;
    stranger.expect_status("B-1", "created").await;
    assert_eq!(stranger.orders.len(), 1, "{:?}", stranger.frames);
    assert_eq!(merchant.statuses_of("A-1"), ["created"]);
    one.stop().await;
    two.stop().await;
    assert_eq!(customer.close_code().await, Some(1012));
}

#[tokio::test]
async fn who_comes_later_sees_what_there_is_with_its_timeline() {
    let world = World::create().await;
    let instance = world.start().await;
    let steps = ["created", "paid", "packed", "shipped"];
    let events: Vec<_> = (1..).zip(steps).map(|(version, status)| event("A-1", "u-1", status, version)).collect();
    world.publish_all(&events).await;
    let mut before = world.watch(&instance, "u-1").await;
    before.expect_status("A-1", "shipped").await;
    let statuses = |order: &serde_json::Value| {
        let steps = order["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
        steps.iter().map(|step| step["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    before.until("the whole timeline", |screen| statuses(&screen.orders["A-1"]) == steps).await;
    eventually("the order is stored", async || {
        instance.get("/orders", &world.token("u-1")).await.1["orders"][0]["status"] == "shipped"
    })
    .await;
    let (status, order) = instance.get("/orders/A-1", &world.token("u-1")).await;
    assert_eq!((status, statuses(&order)), (200, steps.map(str::to_owned).to_vec()));
    let (status, problem) = instance.get("/orders/A-1", &world.token("u-2")).await;
    assert_eq!((status, &problem["code"]), (404, &json!("order_not_visible")));
    instance.stop().await;
}

#[tokio::test]
async fn a_list_longer_than_a_screen_is_read_on_page_by_page_and_every_order_by_its_path() {
    let mut world = World::create().await;
    world.set("session.max_orders", "4");
    world.set("session.snapshot_page", "3");
    let instance = world.start().await;
    let ids = ["A-1", "A 2", "A/3", "A&4=?", "Ä-5", "A%2F6", "A:7", "A+8", "A#9", "A-10", "A-11"];
    let event = |(n, id)| json!({"order_id": id, "user_id": "u-1", "status": "paid", "version": 1, "occurred_at": format!("2026-11-20T10:00:{n:02}Z")});
    world.publish_all(&(0..).zip(ids).map(event).collect::<Vec<_>>()).await;
    let stored = async || world.database.number("select count(*) from orders").await == Some(ids.len() as i64);
    eventually("all are stored", stored).await;
    let token = world.token("u-1");
    // The pages from this one on, newest first, as ids.
    let pages = async |first: &str| {
        let (mut pages, mut next) = (Vec::new(), Some(first.to_owned()));
        while let Some(path) = next {
            assert!(pages.len() < ids.len(), "{path} again: {pages:?}");
            let (status, page) = instance.get(&path, &token).await;
            assert_eq!(status, 200, "{path}: {page}");
            let orders = page["orders"].as_array().unwrap();
            pages.push(orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
            next = page["next"].as_str().map(str::to_owned);
        }
        pages
    };
    let newest_first: Vec<&str> = ids.iter().rev().copied().collect();
    let all = pages("/orders").await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 2]);
    assert_eq!(all.concat(), newest_first);
    let screen = world.watch(&instance, "u-1").await;
    assert_eq!(screen.orders.len(), 4, "{:?}", screen.orders);
    assert!(newest_first[..4].iter().all(|id| screen.orders.contains_key(*id)), "{:?}", screen.orders);
    let older = screen.frames.iter().find_map(|frame| frame["older"].as_str()).expect("it says that there are more");
    let rest = pages(older).await;
    assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(rest.concat(), newest_first[4..]);
    let path = |id: &str| "/orders/".to_owned() + &id.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for id in ids {
        let (status, order) = instance.get(&path(id), &token).await;
        assert_eq!((status, order["order_id"].as_str()), (200, Some(id)));
    }
    let foreign = instance.get(&path("A-1"), &world.token("u-2")).await;
    assert_eq!((foreign.0, &foreign.1["code"]), (404, &json!("order_not_visible")));
    for id in ["A-12", "\0", &"x".repeat(129)] {
        assert_eq!(instance.get(&path(id), &token).await, foreign, "{id:?}: unknown, and known to nobody");
    }
    instance.stop().await;
}

#[tokio::test]
async fn late_and_double_events_are_never_shown_as_new_and_a_tombstone_erases() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = world.watch(&instance, "u-1").await;
    let events = [
        event("A-1", "u-1", "created", 1),
        event("A-1", "u-1", "shipped", 3),
        event("A-1", "u-1", "paid", 2),
        event("A-1", "u-1", "shipped", 3),
        event("A-1", "u-1", "lost", 3),
        event("A-1", "u-1", "delivered", 4),
    ];
    world.publish_all(&events).await;
    screen.expect_status("A-1", "delivered").await;
    assert!(!screen.statuses_of("A-1").iter().any(|status| status == "paid" || status == "lost"));
    world.topic.produce(Record::tombstone("A-1")).await;
    screen.expect_gone("A-1").await;
    world.publish_all(&[event("A-1", "u-1", "delivered", 4), event("B-1", "u-1", "created", 1)]).await;
    screen.expect_status("B-1", "created").await;
    eventually("the tombstone is stored", async || {
        let (_, list) = instance.get("/orders", &world.token("u-1")).await;
        list["orders"].as_array().is_some_and(|orders| orders.len() == 1 && orders[0]["order_id"] == "B-1")
    })
    .await;
    screen.expect_gone("A-1").await;
    assert!(instance.metric(r#"ordercast_records_total{pipeline="recorder",outcome="late"}"#).await >= 1.0);
    instance.stop().await;
}

#[tokio::test]
async fn a_client_narrows_syncs_and_widens_what_it_shows() {
    let world = World::create().await;
    let instance = world.start().await;
    for order in ["A-1", "A-2", "A-3"] {
        world.publish(event(order, "u-1", "created", 1)).await;
    }
    let mut screen = world.watch(&instance, "u-1").await;
    screen.until("three orders", |screen| screen.orders.len() == 3).await;
    screen.send(json!({"type": "subscribe", "order_ids": ["A-1", "Z-9"]})).await;
    screen.until("one order", |screen| screen.orders.len() == 1).await;
    screen
        .until("the other is not visible", |screen| {
            screen.frames.iter().any(|frame| frame["code"] == "order_not_visible" && frame["order_id"] == "Z-9")
        })
        .await;
    world.publish(event("A-2", "u-1", "paid", 2)).await;
    world.publish(event("Z-9", "u-1", "created", 1)).await;
    screen.expect_status("Z-9", "created").await;
    assert!(!screen.orders.contains_key("A-2"));
    screen.send(json!({"type": "subscribe"})).await;
    screen.until("all orders", |screen| screen.orders.len() == 4).await;
    assert_eq!(screen.orders["A-2"]["status"], "paid");

    let revs: serde_json::Map<String, serde_json::Value> =
        screen.orders.iter().map(|(order, shown)| (order.clone(), shown["rev"].clone())).collect();
    drop(screen);
    world.publish(event("A-3", "u-1", "paid", 2)).await;
    let query = format!("sync=wait&token={}", world.token("u-1"));
    let mut back = Screen::connect(instance.address, &query).await.unwrap();
    back.send(json!({"type": "sync", "orders": revs})).await;
    back.until("the difference", |screen| screen.has_snapshot()).await;
    back.expect_status("A-3", "paid").await;
    assert_eq!(back.orders.len(), 1, "only what differs: {:?}", back.frames);
    instance.stop().await;
}

#[tokio::test]
async fn a_token_ends_the_session_and_a_link_shows_its_orders() {
    let world = World::create().await;
    let instance = world.start().await;
    world.publish_all(&[event("A-1", "u-1", "created", 1), event("A-2", "u-1", "created", 1)]).await;
    let mut link =
        Screen::open(instance.address, &world.token_with(None, Some(&["A-1"]), Duration::from_secs(60))).await;
    link.expect_status("A-1", "created").await;
    assert_eq!(link.orders.len(), 1);
    assert_eq!(link.frames[0]["user_id"], json!(null));
    let mut short = Screen::open(instance.address, &world.token_with(Some("u-1"), None, Duration::from_secs(3))).await;
    assert_eq!(short.close_code().await, Some(4005));
    let closing = short.frames.last().unwrap();
    assert_eq!((&closing["type"], &closing["retry"]), (&json!("closing"), &json!(true)));
    let ended = r#"ordercast_sessions_closed_total{cause="token_expired"}"#;
    eventually("the end is counted", async || instance.metric(ended).await == 1.0).await;
    instance.stop().await;
}
