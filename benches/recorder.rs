//! How fast a backlog is drained into PostgreSQL, beside the broker and with people watching: `scripts/bench-recorder`,
//! which starts the servers. Without them it does nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::{
    collections::HashMap,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::sync::watch;

use self::parts::{BINARY, Instance, PATIENCE, free_address, make_database, make_topic};

mod parts;

const TOPIC: &str = "bench";
/// Orders that live side by side and take five steps each.
const OPEN_ORDERS: u64 = 20_000;
const STATUSES: [&str; 5] = ["created", "paid", "packed", "shipped", "delivered"];

fn main() {
    let (Ok(kafka), Ok(postgres)) = (std::env::var("ORDERCAST_TEST_KAFKA"), std::env::var("ORDERCAST_TEST_POSTGRES"))
    else {
        println!("scripts/bench-recorder starts the servers that this needs");
        return;
    };
    let records = std::env::args().skip(1).find_map(|argument| argument.replace('_', "").parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(run(&kafka, &postgres, records.unwrap_or(1_000_000)));
}

async fn run(kafka: &str, postgres: &str, records: u64) {
    let database = make_database(postgres, "bench").await;
    let (public, operations) = (free_address(), free_address());
    let settings: HashMap<&str, &str> = [
        ("ORDERCAST__KAFKA__BROKERS", kafka),
        ("ORDERCAST__KAFKA__TOPIC", TOPIC),
        ("ORDERCAST__DATABASE__URL", &database),
        ("ORDERCAST__AUTH__SECRET", "the secret of the benchmark, long enough"),
        ("ORDERCAST__HTTP__LISTEN", &public),
        ("ORDERCAST__OPERATIONS__LISTEN", &operations),
        ("ORDERCAST__LOG__LEVEL", "warn"),
    ]
    .into();
    let ordercast = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().envs(&settings);
        command
    };
    make_topic(kafka, TOPIC).await;
    assert!(ordercast(&["migrate"]).stdout(Stdio::null()).status().unwrap().success());
    let published = Instant::now();
    let bytes = tokio::task::spawn_blocking({
        let kafka = kafka.to_owned();
        move || publish(&kafka, records)
    });
    let bytes = bytes.await.unwrap();
    println!("{records} records of {} bytes published in {:.0?}", bytes / records, published.elapsed());

    let instance = Instance(ordercast(&["serve"]).spawn().unwrap());
    let token = ordercast(&["token", "--user", "u-1"]).output().unwrap();
    let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();
    let drain = drain(&instance, &database, &operations, &public, &token, records).await;

    // What was drained in order has every order at its last step, with all five, and nothing came late.
    let late = metric(&operations, r#"ordercast_records_total{pipeline="recorder",outcome="late"}"#).await.unwrap();
    let wrong = "select count(*) from orders where version_number <> 5 or not terminal \
                 or (select string_agg(step ->> 'version', '' order by place) \
                     from json_array_elements(timeline::json) with ordinality as steps (step, place)) <> '12345'";
    let (wrong, orders) = (number(&database, wrong).await, number(&database, "select count(*) from orders").await);
    println!("{orders} orders, {wrong} not as they should be; {late} records came late");
    assert!(wrong == 0 && late == 0.0 && orders as u64 == records / 5, "drained in order");
    println!("{:.0} events/s, at most {} MiB resident", records as f64 / drain.taken.as_secs_f64(), drain.peak_mib);
}

struct Drain {
    taken: Duration,
    peak_mib: u64,
}

/// Watches until all is recorded, telling how it goes. A viewer who comes in the middle is told that it is not up to date,
/// and becomes so without reconnecting; readiness never goes away.
async fn drain(
    instance: &Instance,
    database: &str,
    operations: &str,
    public: &str,
    token: &str,
    records: u64,
) -> Drain {
    let (started, mut moved_at) = (Instant::now(), Instant::now());
    let (mut before, mut peak_mib, mut was_ready, mut viewer) = (0, 0, false, None);
    let (drained, drained_seen) = watch::channel(false);
    println!("{:>8} {:>12} {:>12} {:>8}", "seconds", "recorded", "events/s", "MiB");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let done = number(database, "select coalesce(sum(next_offset), 0)::bigint from progress").await as u64;
        let mib = resident_kib(instance) / 1024;
        peak_mib = peak_mib.max(mib);
        let ready = get(&format!("http://{operations}/health/ready")).await.is_some();
        assert!(ready || !was_ready, "readiness does not flap");
        was_ready |= ready;
        let second = started.elapsed().as_secs();
        if second.is_multiple_of(5) || done == records {
            println!("{second:>8} {done:>12} {:>12} {mib:>8}", done - before);
        }
        if done > before {
            moved_at = Instant::now();
        }
        assert!(moved_at.elapsed() < PATIENCE, "the drain goes on");
        if ready && viewer.is_none() {
            let url = format!("ws://{public}/order-status?token={token}");
            viewer = Some(tokio::spawn(watch(url, drained_seen.clone())));
        }
        if done == records {
            let taken = started.elapsed();
            drained.send_replace(true);
            if let Some(viewer) = viewer {
                println!("a viewer: {}", viewer.await.unwrap());
            }
            return Drain { taken, peak_mib };
        }
        before = done;
    }
}

/// A viewer who comes while much is not recorded; ends when all is, once it is told that it is up to date.
async fn watch(url: String, mut drained: watch::Receiver<bool>) -> String {
    let came = Instant::now();
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (mut told, mut stale) = (Vec::new(), true);
    while stale || !*drained.borrow() {
        let message = tokio::select! {
            message = socket.next() => message.expect("it is not sent away").unwrap(),
            _ = drained.changed(), if !stale => continue,
        };
        let Ok(frame) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else { continue };
        let what = match frame["type"].as_str().unwrap() {
            "snapshot" if frame["first"] == true => {
                stale = false;
                format!("{} orders", frame["orders"].as_array().unwrap().len())
            }
            "stale" => {
                stale = true;
                format!("stale for {}", frame["reasons"])
            }
            "fresh" => {
                stale = false;
                "fresh".to_owned()
            }
            _ => continue,
        };
        told.push(format!("{what} after {:.1?}", came.elapsed()));
    }
    told.join(", ")
}

fn resident_kib(instance: &Instance) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", instance.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Publishes all steps of all orders, many orders side by side. Answers how many bytes keys and values have.
fn publish(kafka: &str, records: u64) -> u64 {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "200000")
        .create()
        .unwrap();
    let (orders, mut bytes) = (records / 5, 0);
    let mut first = 0;
    while first < orders {
        let together = OPEN_ORDERS.min(orders - first);
        for (version, status) in (1..).zip(STATUSES) {
            for order in first..first + together {
                let key = format!("A-{order}");
                let value = format!(
                    r#"{{"order_id":"{key}","user_id":"u-{}","viewers":["m-{}"],"status":"{status}","version":{version},"occurred_at":"2026-11-21T10:00:00.000Z","details":{{"carrier":"DHL","eta":"2026-11-23"}}}}"#,
                    order % 50_000,
                    order % 500
                );
                bytes += key.len() as u64 + value.len() as u64;
                let mut record = BaseRecord::to(TOPIC).key(&key).payload(&value);
                while let Err((error, back)) = producer.send(record) {
                    assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
                    record = back;
                    producer.poll(Duration::from_millis(20));
                }
            }
            producer.poll(Duration::ZERO);
        }
        first += together;
    }
    producer.flush(PATIENCE).unwrap();
    bytes
}

async fn get(url: &str) -> Option<String> {
    reqwest::get(url).await.ok()?.error_for_status().ok()?.text().await.ok()
}

async fn metric(operations: &str, name: &str) -> Option<f64> {
    let text = get(&format!("http://{operations}/metrics")).await?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn number(url: &str, query: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap().get(0)
}
