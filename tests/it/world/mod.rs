//! A small world for one test: a topic and a database of its own, instances of Ordercast on them, and people who watch.

mod crowd;
mod process;
mod screen;
mod service;
mod truth;

use std::{collections::HashMap, ffi::OsString, net::SocketAddr, sync::Arc, time::Duration};

use ordercast::{
    app::App,
    auth::{Grant, Signer},
    config::{self, Sources},
    domain::{OrderId, Timestamp, UserId},
    log::kafka::{KafkaClients, topics::Topics},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::process::Served;
pub use self::{crowd::Crowd, screen::Screen, service::Service, truth::Shop};
use crate::{
    cli::{Answer, answer, ordercast},
    parts::{
        kafka::shared_broker,
        postgres::Database,
        topic::{Record, Topic},
    },
};

/// How long anything may take that a test waits for; far more than it ever should.
pub const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "the secret of the tests, long enough";

/// What the instances of one test share.
pub struct World {
    pub topic: Topic,
    pub database: Database,
    pub settings: HashMap<String, String>,
}

/// One running instance.
pub struct Instance {
    pub address: SocketAddr,
    pub operations: SocketAddr,
    running: Running,
}

enum Running {
    /// In the test's own process.
    Here(CancellationToken, tokio::task::JoinHandle<Result<(), ordercast::app::RunError>>),
    /// `ordercast serve`, which can be killed.
    Apart(Box<Served>),
}

impl World {
    /// A topic with three partitions on the shared broker, and a database with the schema.
    pub async fn create() -> Self {
        Self::on(&shared_broker(), Database::create().await).await
    }

    /// The same on a broker and a database of the test's own.
    pub async fn on(bootstrap: &str, database: Database) -> Self {
        Self::of(bootstrap, Topic::create(bootstrap, 3).await, database).await
    }

    /// The same with a topic that was made for it.
    pub async fn of(bootstrap: &str, topic: Topic, database: Database) -> Self {
        let settings = [
            ("KAFKA__BROKERS", bootstrap.to_owned()),
            ("KAFKA__TOPIC", topic.name().to_owned()),
            ("KAFKA__GROUP_ID", topic.name().to_owned()),
            ("DATABASE__URL", database.url()),
            ("DATABASE__MAX_CONNECTIONS", "4".to_owned()),
            ("AUTH__SECRET", SECRET.to_owned()),
            ("HTTP__LISTEN", "127.0.0.1:0".to_owned()),
            ("OPERATIONS__LISTEN", "127.0.0.1:0".to_owned()),
            ("SHUTDOWN__SPREAD", "200ms".to_owned()),
        ];
        let settings = settings.map(|(key, value)| (format!("ORDERCAST__{key}"), value)).into();
        let world = Self { topic, database, settings };
        world.migrate().await;
        world
    }

    /// Changes a setting for the instances that are started from now on: `world.set("session.send_timeout", "2s")`.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(config::variable(key), value.to_owned());
    }

    pub fn load(&self) -> config::Settings {
        let sources = Sources { environment: self.settings.clone(), ..Sources::default() };
        config::load(&sources, &[]).expect("the settings of the test are good")
    }

    async fn migrate(&self) {
        let settings = self.load();
        let limits = ordercast::store::PoolLimits {
            max_connections: 2,
            acquire_timeout: PATIENCE,
            transaction_timeout: PATIENCE,
        };
        ordercast::store::connect(&self.database.url(), limits).unwrap().migrate().await.unwrap();
        let clients = KafkaClients::new(&settings.kafka).unwrap();
        Topics::new(&clients).prepare_dead_letters(&settings.kafka).await.unwrap();
        Topics::new(&clients).prepare_control(&settings.kafka).await.unwrap();
    }

    /// Starts an instance and waits until it is ready.
    pub async fn start(&self) -> Instance {
        let instance = self.launch().await;
        instance.wait_until_ready().await;
        instance
    }

    /// Starts an instance.
    pub async fn launch(&self) -> Instance {
        let app = App::build(self.load(), Arc::new(|_: &mut actix_web::web::ServiceConfig| {})).unwrap();
        let (address, operations) = (app.address().unwrap(), app.operations_address().unwrap());
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run_until_stopped(stop.clone().cancelled_owned()));
        Instance { address, operations, running: Running::Here(stop, running) }
    }

    /// Starts `ordercast serve` as a process of its own and waits until it is ready.
    pub async fn serve(&self) -> Instance {
        self.serve_by(&[], &[]).await
    }

    /// The same by a command that becomes it, and in an environment of its own.
    pub async fn serve_by(&self, runner: &[OsString], environment: &[(String, String)]) -> Instance {
        let instance = self.launch_by(runner, environment).await;
        instance.wait_until_ready().await;
        instance
    }

    /// Starts `ordercast serve` as a process of its own.
    pub async fn launch_apart(&self) -> Instance {
        self.launch_by(&[], &[]).await
    }

    async fn launch_by(&self, runner: &[OsString], environment: &[(String, String)]) -> Instance {
        let mut settings = self.settings.clone();
        settings.extend(environment.iter().cloned());
        let served = Served::start_by(runner, &settings);
        let (address, operations) = served.addresses().await;
        Instance { address, operations, running: Running::Apart(Box::new(served)) }
    }

    /// Publishes one event, with the order as its key.
    pub async fn publish(&self, event: Value) -> (i32, i64) {
        self.topic.produce(record(&event)).await
    }

    /// Publishes events in their order.
    pub async fn publish_all(&self, events: &[Value]) {
        self.topic.produce_all(&events.iter().map(record).collect::<Vec<_>>()).await;
    }

    pub fn token(&self, user: &str) -> String {
        self.token_with(Some(user), None, Duration::from_secs(3600))
    }

    pub fn token_with(&self, user: Option<&str>, orders: Option<&[&str]>, ttl: Duration) -> String {
        let orders = orders.map(|orders| orders.iter().map(|order| OrderId::parse(order).unwrap()).collect());
        self.sign(Grant { user: user.map(|user| UserId::parse(user).unwrap()), orders, ..grant(ttl) })
    }

    /// A user's token with a `jti`.
    pub fn token_named(&self, user: &str, token_id: &str) -> String {
        let grant = grant(Duration::from_secs(3600));
        self.sign(Grant { user: UserId::parse(user).ok(), token_id: Some(token_id.to_owned()), ..grant })
    }

    /// A user's token whose `iat` is so many seconds from now.
    pub fn token_issued(&self, user: &str, seconds: i64) -> String {
        let issued_at = Timestamp::from_millis(Timestamp::now().as_millis() + seconds * 1000).unwrap();
        self.sign(Grant { user: UserId::parse(user).ok(), issued_at, ..grant(Duration::from_secs(3600)) })
    }

    /// A user's token that ends so many seconds from now.
    pub fn token_until(&self, user: &str, seconds: i64) -> String {
        let expires_at = Timestamp::from_millis(Timestamp::now().as_millis() + seconds * 1000).unwrap();
        self.sign(Grant { user: UserId::parse(user).ok(), expires_at, ..grant(Duration::ZERO) })
    }

    fn sign(&self, grant: Grant) -> String {
        Signer::new(&self.load().auth).unwrap().sign(&grant)
    }

    /// Calls the binary with the settings of this world.
    pub async fn call(&self, arguments: &[&str]) -> Answer {
        let settings = self.settings.clone();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let called = tokio::task::spawn_blocking(move || {
            let directory = tempfile::TempDir::new().unwrap();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (&**key, &**value)).collect();
            answer(ordercast(directory.path(), &arguments, &settings))
        });
        called.await.unwrap()
    }

    /// A user who watches on an instance; the first snapshot has come.
    pub async fn watch(&self, instance: &Instance, user: &str) -> Screen {
        Screen::open(instance.address, &self.token(user)).await
    }
}

/// A token of nobody, for so long.
fn grant(ttl: Duration) -> Grant {
    let now = Timestamp::now();
    let ends = now.as_millis() + i64::try_from(ttl.as_millis()).unwrap();
    let expires_at = Timestamp::from_millis(ends).unwrap();
    Grant { user: None, orders: None, issued_at: now, expires_at, token_id: None }
}

/// An event as Kafka takes it; one without a status erases its order.
pub fn record(event: &Value) -> Record {
    let order = event["order_id"].as_str().expect("a test names orders by text");
    if event["status"].is_null() {
        return Record::tombstone(order);
    }
    Record::new(order, event.to_string())
}

impl Instance {
    pub async fn wait_until_ready(&self) {
        let url = format!("http://{}/health/ready", self.operations);
        eventually("the instance is ready", async || {
            reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    pub async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn health(&self) -> (u16, Value) {
        let answer = reqwest::get(format!("http://{}/health/ready", self.operations)).await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// The value of a metric, labels and all as it is written.
    pub async fn metric(&self, name: &str) -> f64 {
        metric(self.operations, name).await
    }

    /// Asks it to leave, as SIGTERM does, and waits until it has.
    pub async fn stop(self) {
        match self.running {
            Running::Here(stop, running) => {
                stop.cancel();
                tokio::time::timeout(PATIENCE, running).await.expect("it ends in time").unwrap().expect("a good end");
            }
            Running::Apart(served) => assert!(served.end("TERM").await.success(), "a good end"),
        }
    }

    /// SIGKILL: no goodbye to anybody.
    pub async fn kill(self) {
        let Running::Apart(served) = self.running else { panic!("only a process of its own can be killed") };
        served.end("KILL").await;
    }

    /// SIGSTOP: connections stay, answers do not come.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Memory that the process holds.
    pub fn resident_bytes(&self) -> usize {
        let Running::Apart(served) = &self.running else { panic!("only a process of its own has memory of its own") };
        served.resident_bytes()
    }

    /// Every byte the process has written.
    pub fn log(&self) -> String {
        let Running::Apart(served) = &self.running else { panic!("only a process of its own has a log of its own") };
        served.log()
    }

    pub fn pid(&self) -> u32 {
        let Running::Apart(served) = &self.running else { panic!("only a process of its own has a number") };
        served.pid()
    }

    /// File handles that the process has open.
    pub fn handles(&self) -> usize {
        self.entries("fd")
    }

    /// Threads of the process.
    pub fn threads(&self) -> usize {
        self.entries("task")
    }

    fn entries(&self, directory: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{directory}", self.pid())).unwrap().count()
    }

    fn signal(&self, signal: &str) {
        let Running::Apart(served) = &self.running else { panic!("only a process of its own can be paused") };
        served.signal(signal);
    }
}

async fn metric(operations: SocketAddr, name: &str) -> f64 {
    let text = scrape(operations).await.unwrap();
    value_of(&text, name).unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
}

/// All metrics of an instance.
pub async fn scrape(operations: SocketAddr) -> reqwest::Result<String> {
    reqwest::get(format!("http://{operations}/metrics")).await?.text().await
}

/// The sum of a metric's series that have these labels, if there is one: `name`, or `name{label="value",…}`.
pub fn value_of(metrics: &str, name: &str) -> Option<f64> {
    let (name, labels) = parts_of(name);
    let series = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let mut values = series.filter_map(|(series, value)| {
        let (its_name, its_labels) = parts_of(series);
        let has_all = labels.split(',').all(|label| its_labels.split(',').any(|its| label.is_empty() || its == label));
        (its_name == name && has_all).then(|| value.parse::<f64>().unwrap())
    });
    let first = values.next()?;
    Some(first + values.sum::<f64>())
}

/// Name and labels of a series.
fn parts_of(series: &str) -> (&str, &str) {
    series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels.trim_end_matches('}')))
}

/// Waits until `holds`.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}
