//! `ordercast load` against real instances: each scenario for a moment, what goes wrong is told, and nothing is left behind.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::{
    cli::ordercast,
    parts::browser,
    world::{Instance, World, eventually},
};

async fn orders(world: &World) -> i64 {
    let mut database = PgConnection::connect(&world.database.url()).await.unwrap();
    sqlx::query_scalar("select count(*) from orders").fetch_one(&mut database).await.unwrap()
}

/// Calls `ordercast load` on an instance of its own process. Answers the report.
async fn load(world: &World, instance: &Instance, arguments: &str) -> (Option<i32>, Value, String) {
    let (url, pid) = (format!("http://{}", instance.address), instance.pid().to_string());
    let arguments: Vec<&str> =
        ["load"].into_iter().chain(arguments.split(' ')).chain(["--url", &url, "--pid", &pid, "--json", "-"]).collect();
    let called = world.call(&arguments).await;
    let report =
        serde_json::from_str(&called.stdout).unwrap_or_else(|_| panic!("{}\n{}", called.stdout, called.stderr));
    (called.code, report, called.stderr)
}

#[track_caller]
fn assert_right(code: Option<i32>, report: &Value, stderr: &str) {
    assert_eq!(code, Some(0), "{stderr}\n{report:#}");
    assert_eq!(report["faults"], serde_json::json!([]), "{report:#}");
    for none in ["missing", "publish_failed"] {
        assert_eq!(report[none], 0, "{none}: {report:#}");
    }
    for none in ["duplicate", "out_of_order", "foreign", "unreadable", "lost"] {
        assert_eq!(report["tally"][none], 0, "{none}: {report:#}");
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_load_is_measured_beside_the_floor_and_leaves_nothing_behind() {
    let world = World::create().await;
    let instance = world.serve().await;
    let directory = TempDir::new().unwrap();
    let page = directory.path().join("report.html");
    let arguments = format!(
        "steady --sessions 30 --rate 60 --seconds 2 --rounds 2 --viewers 2 --padding 100 --threads 2 \
         --source-addresses 127.0.1.1-127.0.1.3 --against floor --html {}",
        page.display()
    );
    let (code, report, stderr) = load(&world, &instance, &arguments).await;
    assert_right(code, &report, &stderr);
    assert_eq!((report["sessions"].as_u64(), report["rounds"].as_array().unwrap().len()), (Some(30), 2));
    for round in report["rounds"].as_array().unwrap() {
        let (due, came) = (number(&round["due"]), number(&round["deliveries"]));
        assert_eq!(due, 240.0, "60 a second, to two viewers, for two seconds: {round:#}");
        assert!((came - due).abs() < 120.0, "{round:#}");
        assert_eq!(
            number(&round["latency"]["count"]),
            due,
            "each that was due in the round is in its curve: {round:#}"
        );
        assert_eq!(number(&round["beside"]["deliveries"]), due, "{round:#}");
        assert!(number(&round["latency"]["p99"]) >= number(&round["latency"]["p50"]), "{round:#}");
        assert!(number(&round["latency"]["p50"]) > 0.0 && number(&round["resident_kib"]) > 1_000.0, "{round:#}");
    }
    assert!(number(&report["cpu_per_delivery"]["median"]) > 0.0, "{report:#}");
    assert_eq!(report["opening"]["snapshot"]["count"], 30, "{report:#}");
    eventually("its orders are erased", async || orders(&world).await == 0).await;

    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("<polyline") && text.contains("prefers-color-scheme: dark"), "{text}");
    let shown = browser::run("./load_report.mjs", &[&format!("file://{}", page.display())]).await;
    assert!(shown.contains("ok"), "{shown}");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_storms_backlogs_and_idleness_are_told() {
    let world = World::create().await;
    let instance = world.serve().await;

    let burst = load(&world, &instance, "burst --sessions 10 --rate 100 --seconds 2 --warm-up 1").await;
    assert_right(burst.0, &burst.1, &burst.2);
    let reads = number(&burst.1["figures"]["reads_per_burst"]);
    assert!((0.5..=5.5).contains(&reads), "{:#}", burst.1);

    let storm = load(&world, &instance, "storm --sessions 40 --rate 100 --rounds 2 --warm-up 1").await;
    assert_right(storm.0, &storm.1, &storm.2);
    let storms = storm.1["storms"].as_array().unwrap();
    assert!(storms.len() == 2 && storms.iter().all(|storm| storm["snapshot"]["count"] == 40), "{:#}", storm.1);

    let backlog = load(&world, &instance, "backlog --sessions 20 --events 2000").await;
    assert_right(backlog.0, &backlog.1, &backlog.2);
    assert_eq!(backlog.1["published"], 2_000, "{:#}", backlog.1);
    let (came, merged) = (number(&backlog.1["tally"]["deliveries"]), number(&backlog.1["tally"]["merged"]));
    assert!(came >= 20.0 && came + merged <= 2_000.0, "{:#}", backlog.1);
    assert!(number(&backlog.1["figures"]["taken"]) > 0.0, "{:#}", backlog.1);

    let idle = load(&world, &instance, "idle --sessions 20 --seconds 1").await;
    assert_right(idle.0, &idle.1, &idle.2);
    assert!(idle.1["figures"]["idle_cpu"].is_number() && idle.1["published"] == 0, "{:#}", idle.1);
    let doubts = idle.1["doubts"].to_string();
    assert!(doubts.contains("two heartbeats"), "{doubts}");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_are_cut_and_a_server_that_leaves_tells_everybody() {
    let mut world = World::create().await;
    world.set("session.send_timeout", "1s");
    let instance = world.serve().await;
    let stall = load(&world, &instance, "stall --sessions 10 --rate 50 --seconds 8 --stalled 2 --warm-up 1").await;
    assert_right(stall.0, &stall.1, &stall.2);
    assert_eq!((&stall.1["figures"]["cut"], &stall.1["tally"]["cut"]), (&Value::from(2.0), &Value::from(2)));

    let drain = load(&world, &instance, "drain --sessions 25 --rate 50 --warm-up 1").await;
    assert_right(drain.0, &drain.1, &drain.2);
    assert_eq!(drain.1["tally"]["closes"]["1012"], 25, "{:#}", drain.1);
    assert!(number(&drain.1["figures"]["exit"]) >= number(&drain.1["figures"]["last_close"]), "{:#}", drain.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_fails_the_load_and_the_orders_are_erased_all_the_same() {
    let world = World::create().await;
    let (instance, other) = (world.serve().await, world.start().await);
    let url = format!("http://{}", instance.address);
    let arguments = ["load", "--sessions", "20", "--rate", "50", "--seconds", "5", "--url", &url, "--json", "-"];
    let arguments = [&arguments[..], &["--settle", "1s", "--warm-up", "1"]].concat();
    let (called, ()) = tokio::join!(world.call(&arguments), async {
        eventually("events are stored", async || orders(&world).await >= 15).await;
        instance.kill().await;
    });
    assert_eq!(called.code, Some(1), "{}", called.stdout);
    let report: Value = serde_json::from_str(&called.stdout).unwrap();
    assert!(number(&report["missing"]) > 0.0 && report["tally"]["lost"] == 20, "{report:#}");
    assert!(called.stderr.contains("20 sessions ended without a word"), "{}", called.stderr);
    eventually("its orders are erased", async || orders(&world).await == 0).await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_share_the_sessions_and_end_together() {
    let world = World::create().await;
    let instance = world.serve().await;
    let part = |part| format!("--sessions 21 --rate 60 --seconds 2 --warm-up 1 --shard {part}/2");
    let (first, second) = (part(1), part(2));
    let (first, second) = tokio::join!(load(&world, &instance, &first), load(&world, &instance, &second));
    for (code, report, stderr) in [&first, &second] {
        assert_right(*code, report, stderr);
        assert_eq!(report["rounds"][0]["due"], 60, "{report:#}");
    }
    assert_eq!((&first.1["sessions"], &second.1["sessions"]), (&Value::from(11), &Value::from(10)));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_may_come_from_a_file_and_orders_may_be_kept() {
    let mut world = World::create().await;
    let instance = world.serve().await;
    let directory = TempDir::new().unwrap();
    let tokens = directory.path().join("tokens");
    let lines: Vec<String> = (0..5).map(|user| world.token(&format!("someone-{user}"))).collect();
    fs::write(&tokens, lines.join("\n")).unwrap();
    // What signs them is not needed.
    world.settings.remove("ORDERCAST__AUTH__SECRET");
    let arguments = format!("--sessions 5 --rate 20 --seconds 1 --warm-up 1 --keep --tokens {}", tokens.display());
    let (code, report, stderr) = load(&world, &instance, &arguments).await;
    assert_right(code, &report, &stderr);
    eventually("its orders are stored", async || orders(&world).await == 5).await;
    let too_many = format!("--sessions 6 --tokens {}", tokens.display());
    let url = format!("http://{}", instance.address);
    let refused = world.call(&[&["load", "--url", &url], &too_many.split(' ').collect::<Vec<_>>()[..]].concat()).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("5 tokens are not enough"), "{}", refused.stderr);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_taken_ends_it_before_anything_is_published() {
    let mut world = World::create().await;
    let instance = world.serve().await;
    world.set("auth.secret", "another secret of the tests, long enough");
    let url = format!("http://{}", instance.address);
    let called = world.call(&["load", "--sessions", "3", "--url", &url]).await;
    assert_eq!((called.code, called.stdout.as_str()), (Some(1), ""), "{}", called.stderr);
    assert!(called.stderr.contains("3 of 3 sessions could not be opened: 3 × 401"), "{}", called.stderr);
    assert_eq!(world.topic.watermarks(0).await, (0, 0));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_load_reports_what_there_is_and_erases_its_orders() {
    let world = World::create().await;
    let instance = world.serve().await;
    let directory = TempDir::new().unwrap();
    let settings: Vec<(&str, &str)> = world.settings.iter().map(|(key, value)| (&**key, &**value)).collect();
    let url = format!("http://{}", instance.address);
    let arguments = ["load", "--sessions", "10", "--rate", "50", "--seconds", "600", "--url", &url, "--json", "report"];
    let mut command = ordercast(directory.path(), &arguments, &settings);
    let mut load = Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("orders are stored", async || orders(&world).await == 10).await;
    let pid = load.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut code = None;
    eventually("it ends", async || {
        code = load.0.try_wait().unwrap();
        code.is_some()
    })
    .await;
    let report = fs::read_to_string(directory.path().join("report")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_right(code.unwrap().code(), &report, "");
    assert!(report["interrupted"] == true && number(&report["tally"]["deliveries"]) > 0.0, "{report:#}");
    eventually("its orders are erased", async || orders(&world).await == 0).await;
    instance.stop().await;
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
