//! `ordercast check` against real instances: it passes where the service is right, and does not where it is not.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::{
    cli::ordercast,
    parts::proxy::Proxy,
    world::{World, eventually},
};

const SHORT: [&str; 10] =
    ["--orders", "12", "--viewers", "8", "--duration", "6s", "--settle", "20s", "--late-after", "30s"];

async fn orders_left(world: &World) -> i64 {
    let mut database = PgConnection::connect(&world.database.url()).await.unwrap();
    sqlx::query_scalar("select count(*) from orders").fetch_one(&mut database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_right_instances_pass_and_nothing_of_the_check_is_left() {
    let world = World::create().await;
    let (one, two) = (world.start().await, world.start().await);
    let urls = [format!("http://{}", one.address), format!("ws://{}/order-status", two.address)];
    let arguments = [&["check", "--json", "--url", &urls[0], "--url", &urls[1]], &SHORT[..]].concat();
    let checked = world.call(&arguments).await;
    assert_eq!(checked.code, Some(0), "{}\n{}", checked.stdout, checked.stderr);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["converged"], true, "{report}");
    for none in ["missing", "too_many", "out_of_order", "duplicate", "foreign"] {
        assert_eq!(report[none], 0, "{none}: {report}");
    }
    for some in ["events", "deliveries", "late_events", "duplicate_events", "broken_on_purpose", "p50_ms", "p99_ms"] {
        assert!(report[some].as_f64().unwrap() > 0.0, "{some}: {report}");
    }
    assert_eq!(checked.stderr, "", "no progress where there is no terminal");
    eventually("its orders are erased", async || orders_left(&world).await == 0).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_takes_no_token_of_the_check_fails_it_before_anything_is_published() {
    let mut world = World::create().await;
    let instance = world.start().await;
    world.set("auth.secret", "another secret of the tests, long enough");
    let url = format!("http://{}", instance.address);
    let checked = world.call(&[&["check", "--url", &url], &SHORT[..]].concat()).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(1), ""), "{}", checked.stderr);
    assert!(checked.stderr.contains("401"), "{}", checked.stderr);
    assert_eq!(world.topic.watermarks(0).await, (0, 0));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_updates_fails_it() {
    let world = World::create().await;
    let (right, behind) = (world.start().await, world.start().await);
    let proxy = Proxy::start(behind.address.port()).await;
    let urls = [format!("http://{}", right.address), format!("http://127.0.0.1:{}", proxy.port())];
    let arguments = ["check", "--json", "--url", &urls[0], "--url", &urls[1], "--orders", "5", "--viewers", "4"];
    let arguments = [&arguments[..], &["--duration", "4s", "--settle", "2s"]].concat();
    let (checked, ()) = tokio::join!(world.call(&arguments), async {
        eventually("events are published", async || orders_left(&world).await > 0).await;
        proxy.stall();
    });
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert!(report["converged"] == false && report["missing"].as_u64().unwrap() > 0, "{report}");
    assert!(checked.stderr.contains("did not converge"), "{}", checked.stderr);
    proxy.heal().await;
    right.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_check_erases_its_orders() {
    let world = World::create().await;
    let instance = world.start().await;
    let directory = tempfile::TempDir::new().unwrap();
    let settings: Vec<(&str, &str)> = world.settings.iter().map(|(key, value)| (&**key, &**value)).collect();
    let url = format!("http://{}", instance.address);
    let mut command = ordercast(directory.path(), &["check", "--url", &url, "--duration", "10m"], &settings);
    let mut check = Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("orders are stored", async || orders_left(&world).await > 5).await;
    let pid = check.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut code = None;
    eventually("it ends", async || {
        code = check.0.try_wait().unwrap();
        code.is_some()
    })
    .await;
    assert_eq!(code.unwrap().code(), Some(1));
    eventually("its orders are erased", async || orders_left(&world).await == 0).await;
    tokio::time::timeout(Duration::from_secs(60), instance.stop()).await.unwrap();
}

/// A process that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
