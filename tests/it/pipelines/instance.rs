//! One instance's pipelines, as the composition root starts them, and the database behind them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ordercast::{
    config::{self, Settings, Sources},
    domain::{
        Halts, Timestamp,
        decode::{Decoder, DecoderOptions},
    },
    fanout,
    hub::{Hub, SharedHub},
    log::{
        Policies, hand_over,
        kafka::{KafkaClients, log_ends, log_watch, topics},
    },
    recorder,
    runtime::Component,
    snapshots::{self, ReadsInFlight, progress},
    store::{PoolLimits, Store, connect},
    telemetry::Metrics,
};
use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use tokio::sync::watch;

use super::screen::Screen;
use crate::{parts::topic::Topic, world::value_of};

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const LIMITS: PoolLimits = PoolLimits {
    max_connections: 4,
    acquire_timeout: Duration::from_secs(2),
    transaction_timeout: Duration::from_secs(10),
};

/// A migrated database.
pub(super) struct Database {
    pub(super) url: String,
    _keep: Keep,
}

enum Keep {
    Postgres(#[allow(dead_code)] crate::parts::postgres::Database),
    Sqlite(#[allow(dead_code)] tempfile::TempDir),
    Elsewhere,
}

impl Database {
    pub(super) async fn postgres() -> Self {
        let database = crate::parts::postgres::Database::create().await;
        Self { url: database.url(), _keep: Keep::Postgres(database) }.migrated().await
    }

    pub(super) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("orders.db").display());
        Self { url, _keep: Keep::Sqlite(directory) }.migrated().await
    }

    pub(super) async fn at(url: String) -> Self {
        Self { url, _keep: Keep::Elsewhere }.migrated().await
    }

    /// A store of its own, as another process has it.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        connect(&self.url, LIMITS).unwrap()
    }

    async fn migrated(self) -> Self {
        self.store().migrate().await.unwrap();
        self
    }

    /// One number; -1 if there is no row.
    pub(super) async fn number(&self, query: &'static str) -> i64 {
        if self.url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(query).fetch_optional(&mut connection).await.unwrap().map_or(-1, |row| row.get(0))
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(query).fetch_optional(&mut connection).await.unwrap().map_or(-1, |row| row.get(0))
        }
    }

    /// Awaits that a query answers this number. A database tells nobody that a row has come.
    pub(super) async fn until(&self, query: &'static str, expected: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.number(query).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{query}: {found}, expected {expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The settings of an instance on this topic.
pub(super) fn settings(brokers: &str, topic: &str, others: &[(&'static str, &str)]) -> Settings {
    let mut preset = vec![
        ("kafka.brokers", brokers.to_owned()),
        ("kafka.topic", topic.to_owned()),
        ("kafka.group_id", format!("{topic}-group")),
        ("kafka.session_timeout", "6s".to_owned()),
    ];
    preset.extend(others.iter().map(|(key, value)| (*key, (*value).to_owned())));
    config::load(&Sources { preset, ..Sources::default() }, &[]).unwrap()
}

/// Makes the dead-letter topic of a topic as `ordercast migrate` does.
pub(super) async fn with_dead_letters(brokers: &str, topic: &Topic) -> Topic {
    let settings = settings(brokers, topic.name(), &[]);
    let topics = topics::Topics::new(&KafkaClients::new(&settings.kafka).unwrap());
    assert_eq!(topics.prepare_dead_letters(&settings.kafka).await.unwrap(), topics::Prepared::Created);
    assert_eq!(topics.prepare_dead_letters(&settings.kafka).await.unwrap(), topics::Prepared::Existing);
    Topic::existing(brokers, &settings.kafka.dead_letter_topic)
}

/// Running pipelines.
pub(super) struct Instance {
    pub(super) hub: Arc<SharedHub>,
    pub(super) metrics: Metrics,
    pub(super) status: fanout::FanoutStatus,
    pub(super) halts: watch::Receiver<Halts>,
    components: Vec<Component>,
}

impl Instance {
    /// Starts on a topic of the shared or another broker.
    pub(super) fn start(brokers: &str, topic: &Topic, database: &Database) -> Self {
        Self::start_with(&settings(brokers, topic.name(), &[]), database)
    }

    pub(super) fn start_with(settings: &Settings, database: &Database) -> Self {
        Self::start_on(settings, database.store())
    }

    pub(super) fn start_on(settings: &Settings, store: Arc<dyn Store>) -> Self {
        // Shown with `RUST_LOG=info … --nocapture`.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let kafka = &settings.kafka;
        let metrics = Metrics::new(Timestamp::now());
        let hub = Arc::new(SharedHub::new(Hub::new(settings.hub.tail_bytes)));
        let decoder = Arc::new(Decoder::new(&DecoderOptions::default()).unwrap());
        let lifecycle = decoder.lifecycle().clone();
        let clients = KafkaClients::new(kafka).unwrap();
        let reads = Arc::<ReadsInFlight>::default();
        let policies = Policies { on_gap: kafka.on_log_gap, on_regression: kafka.on_log_regression };
        let (log_watch, log, look_now) = log_watch::start(&clients, kafka).unwrap();
        let (log_ends, ends) = log_ends::start(&clients, kafka).unwrap();
        let (progress, views) = progress::start(progress::ProgressDependencies {
            store: store.clone(),
            topic: kafka.topic.clone(),
            hub: hub.clone(),
            reads: reads.clone(),
            tail_grace: settings.hub.tail_grace,
            records: true,
        });
        let (halts, halts_seen) = watch::channel(Halts::new());
        let (giver, taker) = hand_over::channel();
        let (writer, recorder) = recorder::start(
            recorder::RecorderDependencies {
                version_jump: u64::MAX,
                clients: clients.clone(),
                topic: kafka.topic.clone(),
                dead_letter_topic: kafka.dead_letter_topic.clone(),
                group_id: kafka.group_id.clone(),
                decoder: decoder.clone(),
                store: store.clone(),
                log: log.clone(),
                look_now,
                progress: views.clone(),
                policies,
                stale_after: kafka.stale_after,
                metrics: metrics.clone(),
            },
            taker,
            halts,
        )
        .unwrap();
        let (fanout, status) = fanout::start(
            fanout::FanoutDependencies {
                clients,
                topic: kafka.topic.clone(),
                decoder,
                hub: hub.clone(),
                log,
                ends,
                progress: views,
                halts: halts_seen.clone(),
                policies,
                tail_bytes: settings.hub.tail_bytes,
                stale_after: kafka.stale_after,
                metrics: metrics.clone(),
            },
            giver,
        )
        .unwrap();
        let snapshots = snapshots::start(snapshots::SnapshotDependencies {
            store,
            topic: kafka.topic.clone(),
            hub: hub.clone(),
            reads,
            lifecycle,
            max_orders: settings.session.max_orders,
            terminal_window: settings.session.terminal_window,
            snapshot_timeout: settings.session.snapshot_timeout,
            metrics: metrics.snapshots.clone(),
        });
        let components = vec![fanout, recorder, writer, snapshots, progress, log_ends, log_watch];
        Self { hub, metrics, status, halts: halts_seen, components }
    }

    /// Awaits readiness.
    pub(super) async fn until_ready(&mut self) {
        let ready = self.status.ready.wait_for(|ready| *ready);
        tokio::time::timeout(PATIENCE, ready).await.expect("ready in time").expect("the fanout runs");
    }

    /// Awaits that screens are fresh, or stale for these reasons.
    pub(super) async fn until_stale_for(&mut self, reasons: &[&str]) {
        let told = self
            .status
            .staleness
            .wait_for(|staleness| staleness.reasons.iter().map(|reason| reason.as_str()).eq(reasons.iter().copied()));
        let told = tokio::time::timeout(PATIENCE, told).await.map(drop);
        assert!(told.is_ok(), "expected {reasons:?}, told {:?}", *self.status.staleness.borrow());
    }

    /// A screen of this user, joined now.
    pub(super) fn screen(&self, user: &str) -> Screen {
        Screen::join(&self.hub, user)
    }

    /// One line of the metrics.
    pub(super) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.encode();
        value_of(&text, series).unwrap_or_else(|| panic!("no series {series} in\n{text}"))
    }

    /// Stops everything in order.
    pub(super) async fn stop(self) {
        for component in &self.components {
            component.stop(PATIENCE).await.unwrap();
        }
    }
}
