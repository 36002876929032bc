//! The fanout: Kafka → hub. Reads every partition of the topic, decodes once, and hands the hub what it read, batch by
//! batch, the moment it is there. Stores nothing, commits nothing and never waits for SQL.
//!
//! An OS thread of its own, because a Kafka client blocks. [`state`] decides, [`cursors`] for it where to read.

pub(crate) mod cursors;
mod halts;
pub(crate) mod readings;
pub(crate) mod state;
pub(crate) mod waiting;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    cursors::{Cursors, Seek},
    state::FanoutState,
};
use crate::{
    domain::{
        Halts, OrderEvent, Timestamp,
        decode::{Decoded, Decoder, LogContext, Refusal},
    },
    hub::{Hub, SharedHub},
    log::{
        Policies,
        freshness::{self, Proofs},
        hand_over::Giver,
        kafka::{
            KafkaClients, StartError,
            reader::{From, Polled, Reader},
            record::Record,
        },
        progress::ProgressViews,
        view::{LogEndViews, LogViews},
    },
    protocol::Staleness,
    runtime::Component,
    telemetry::{Metrics, Reminder},
};

/// Records handed to the hub in one step at most.
const BATCH_RECORDS: usize = 512;
/// How long the first record of a batch is waited for.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// A batch begins so long after the last one that was not full, so that under load several records share the wake-ups of workers and
/// sessions. Who comes after a pause is not kept waiting.
const GATHERING: Duration = Duration::from_millis(1);
/// How often positions, freshness and the watchdog are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Both, while the instance is up to date with the log: a record is taken the moment it comes, and all the rest is news of
/// once a second.
const QUIET: Duration = Duration::from_millis(250);
/// How long it may take to become ready without a word.
const SILENT_START: Duration = Duration::from_secs(10);

/// What the fanout works with.
pub struct FanoutDependencies {
    /// Makes its consumer.
    pub clients: KafkaClients,
    /// The source topic.
    pub topic: String,
    /// Shared with the recorder.
    pub decoder: Arc<Decoder>,
    /// Where records go.
    pub hub: Arc<SharedHub>,
    /// What the topic looks like.
    pub log: LogViews,
    /// Where it ends, whatever transactions are open.
    pub ends: LogEndViews,
    /// How far the recorder is.
    pub progress: ProgressViews,
    /// What the recorder of this instance has halted.
    pub halts: watch::Receiver<Halts>,
    /// What the settings say about logs that do not go on.
    pub policies: Policies,
    /// `hub.tail_bytes`.
    pub tail_bytes: usize,
    /// `kafka.stale_after`.
    pub stale_after: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// What the fanout says about itself.
#[derive(Debug, Clone)]
pub struct FanoutStatus {
    /// Whether it has passed the watermarks it saw at start. A latch.
    pub ready: watch::Receiver<bool>,
    /// Whether this instance is up to date.
    pub staleness: watch::Receiver<Staleness>,
}

/// Starts the fanout. What it reads it offers to the recorder of this instance by `giver`.
pub fn start(dependencies: FanoutDependencies, giver: Giver) -> Result<(Component, FanoutStatus), StartError> {
    let reader = Reader::new("fanout", &dependencies.topic, dependencies.clients.fanout_client()?);
    let (ready, ready_seen) = watch::channel(false);
    let (staleness, staleness_seen) = watch::channel(freshness::unproved(Timestamp::now()));
    let fanout = Fanout {
        reader,
        state: FanoutState::new(
            Cursors::new(dependencies.tail_bytes),
            Proofs::new(dependencies.stale_after),
            dependencies.policies,
        ),
        started_at: Instant::now(),
        ticked_at: Instant::now(),
        gathered_at: Instant::now(),
        told: Reminder::default(),
        ready,
        staleness,
        giver,
        dependencies,
    };
    let component = Component::thread("fanout", move |stop| fanout.run(&stop))?;
    Ok((component, FanoutStatus { ready: ready_seen, staleness: staleness_seen }))
}

struct Fanout {
    dependencies: FanoutDependencies,
    reader: Reader,
    state: FanoutState,
    started_at: Instant,
    ticked_at: Instant,
    /// When the last batch began that was not full.
    gathered_at: Instant,
    told: Reminder,
    ready: watch::Sender<bool>,
    staleness: watch::Sender<Staleness>,
    giver: Giver,
}

/// What the hub is told of one record.
enum Seen {
    Event(OrderEvent),
    /// Nothing to be shown, up to here.
    Passed(i32, i64),
}

impl Seen {
    fn of(decoded: Result<Decoded, Refusal>, passed: (i32, i64)) -> Self {
        match decoded {
            Ok(decoded) => Self::Event(decoded.event),
            // The recorder keeps it as a dead letter.
            Err(_) => Self::Passed(passed.0, passed.1),
        }
    }
}

impl Fanout {
    /// Inputs: records and ends of partitions from the consumer; views of the log, its ends and progress; the clock, stop.
    fn run(mut self, stop: &CancellationToken) {
        self.reader.begin();
        while !stop.is_cancelled() {
            self.step();
        }
    }

    /// One round: what is new about the log, what is in it, and once a [`TICK`] the rest.
    fn step(&mut self) {
        self.look();
        self.take_batch();
        if self.ticked_at.elapsed() >= self.unless_quiet(TICK) {
            self.ticked_at = Instant::now();
            self.tick();
        }
    }

    fn unless_quiet(&self, interval: Duration) -> Duration {
        let is_quiet = *self.ready.borrow() && self.staleness.borrow().reasons.is_fresh();
        if is_quiet { QUIET } else { interval }
    }

    /// Acts on new views: begins partitions, goes on elsewhere in others.
    fn look(&mut self) {
        // In this order: the log is compared with progress.
        if let Some(progress) = changed(&mut self.dependencies.progress).flatten() {
            self.state.on_progress(&progress);
        }
        if let Some(ends) = changed(&mut self.dependencies.ends).flatten() {
            self.state.on_ends(&ends);
        }
        if let Some(own) = changed(&mut self.dependencies.halts) {
            self.state.on_own_halts(own);
        }
        let Some(log) = changed(&mut self.dependencies.log).flatten() else { return };
        let seeks = self.state.on_log(&log, Instant::now());
        if !seeks.is_empty() {
            self.seek(&seeks);
            self.assign();
        }
    }

    fn seek(&mut self, seeks: &[Seek]) {
        self.dependencies.hub.step(|hub| seeks.iter().for_each(|seek| (*seek).tell(hub)));
        for seek in seeks {
            match seek {
                Seek::Begin(at) => tracing::info!(
                    kafka.partition = at.partition,
                    kafka.offset = at.next_offset,
                    "fanout begins a partition"
                ),
                Seek::Jump(to) => tracing::warn!(
                    kafka.partition = to.partition,
                    kafka.offset = to.next_offset,
                    "fanout goes on elsewhere in the log: every screen is read again"
                ),
            }
        }
    }

    /// Tells the consumer where to read on from, in all partitions.
    fn assign(&mut self) {
        self.giver.restart();
        let places = self.state.assign().into_iter().map(|(partition, offset)| (partition, From::Offset(offset)));
        if let Err(error) = self.reader.assign(places) {
            // The watchdog tries again.
            tracing::error!(%error, "fanout could not be assigned its partitions");
        }
    }

    /// Takes what is there, waiting a moment for the first record only.
    fn take_batch(&mut self) {
        let mut timeout = self.unless_quiet(POLL_TIMEOUT);
        let Self { reader, state, dependencies, giver, gathered_at, .. } = self;
        let mut seen = Vec::new();
        let mut gathered = giver.gather();
        let mut received_at = Timestamp::now();
        while seen.len() < BATCH_RECORDS
            && let Some(polled) = reader.poll(timeout)
        {
            if !timeout.is_zero() {
                timeout = Duration::ZERO;
                gather(gathered_at);
                received_at = Timestamp::now();
            }
            match polled {
                Polled::Record(record) => {
                    let Some(log) = state.on_record(record.partition(), record.offset()) else {
                        gathered.pass_over();
                        continue;
                    };
                    let decoded = decode(dependencies, &record, &log, received_at);
                    let passed = (record.partition(), record.offset() + 1);
                    gathered.add(record, &log, &decoded);
                    seen.push(Seen::of(decoded, passed));
                }
                Polled::End(partition) => {
                    let end = state.on_end_of_partition(partition);
                    seen.extend(end.map(|end| Seen::Passed(partition, end)));
                }
                // What matters of it shows in positions and watermarks.
                Polled::OutOfRange(_) | Polled::Refused(_) | Polled::Error => {}
            }
        }
        if seen.len() >= BATCH_RECORDS {
            // There is more, and nothing to wait for.
            *gathered_at -= GATHERING;
        }
        if !seen.is_empty() {
            let held = dependencies.hub.step(|hub| {
                let began = Instant::now();
                for seen in &seen {
                    match seen {
                        Seen::Event(event) => {
                            if let Some(verdict) = hub.on_record(event) {
                                dependencies.metrics.fanout.judged(&verdict);
                            }
                        }
                        Seen::Passed(partition, next_offset) => hub.advance(*partition, *next_offset),
                    }
                }
                began.elapsed()
            });
            dependencies.metrics.hub.held(held);
        }
        gathered.give();
    }

    fn tick(&mut self) {
        self.take_positions();
        if let Some(why) = self.reader.look_after() {
            self.rebuild(why);
        } else if self.state.is_stuck(Instant::now()) {
            self.rebuild("records do not reach the fanout although they are in the log");
        }
        self.publish();
        self.tell_transactions();
        self.measure();
        if !*self.ready.borrow() {
            self.become_ready();
        }
    }

    fn become_ready(&mut self) {
        if self.state.has_caught_up() {
            tracing::info!("fanout has caught up with the log");
            self.ready.send_replace(true);
        } else if self.started_at.elapsed() >= SILENT_START
            && let Some(waiting) = self.state.waits_for()
            && self.told.is_due("waiting", Instant::now())
        {
            tracing::warn!("not ready yet, waiting for {waiting}");
        }
    }

    fn take_positions(&mut self) {
        let positions = self.reader.positions();
        self.giver.passed(&positions);
        let positions = self.state.on_positions(positions);
        if !positions.is_empty() {
            let advance = |hub: &mut Hub| positions.iter().for_each(|(partition, end)| hub.advance(*partition, *end));
            self.dependencies.hub.step(advance);
        }
    }

    /// A new consumer takes the place of this one.
    fn rebuild(&mut self, why: &str) {
        if self.reader.replace(why, self.dependencies.clients.fanout_client()) {
            self.assign();
        }
    }

    fn measure(&self) {
        let metrics = &self.dependencies.metrics;
        let (counters, (events, bytes)) = self.dependencies.hub.step(|hub| (hub.take_counters(), hub.tail_size()));
        metrics.hub.deliveries.inc_by(counters.deliveries);
        metrics.hub.coalesced.inc_by(counters.coalesced);
        metrics.hub.overflows.inc_by(counters.overflows);
        metrics.hub.tail_events.set(events as i64);
        metrics.hub.tail_bytes.set(bytes as i64);
        let Some(view) = self.state.view() else { return };
        metrics.fanout.kafka_up.set(i64::from(view.listed_at.elapsed() <= self.dependencies.stale_after));
        for (partition, log) in view.watermarks() {
            let behind = self.state.position(partition).map_or(0, |at| (log.high - at).max(0));
            metrics.fanout.set_lag(partition, behind);
        }
    }

    /// Names what holds screens up, so that somebody can end it.
    fn tell_transactions(&mut self) {
        let now = Instant::now();
        let open: Vec<(i32, i64)> = self.state.open_transactions(now).collect();
        self.dependencies.metrics.open_transactions.set(open.len() as i64);
        for (partition, offset) in open {
            if self.told.is_due(&format!("transaction in {partition}"), now) {
                tracing::warn!(
                    kafka.topic = self.dependencies.topic,
                    kafka.partition = partition,
                    kafka.offset = offset,
                    "a transaction that began at this offset stays open: nothing behind it can be read"
                );
            }
        }
    }

    fn publish(&self) {
        let reasons = self.state.reasons(Instant::now());
        let changed = freshness::change(*self.staleness.borrow(), reasons, Timestamp::now());
        if let Some(staleness) = changed {
            let named: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
            match reasons.is_fresh() {
                true => tracing::info!("this instance is up to date with the log"),
                false => tracing::warn!(reasons = ?named, "this instance may be out of date"),
            }
            self.staleness.send_replace(staleness);
        }
    }
}

/// Waits until the last batch is long enough ago.
fn gather(gathered_at: &mut Instant) {
    let early = GATHERING.saturating_sub(gathered_at.elapsed());
    if !early.is_zero() {
        std::thread::sleep(early);
    }
    *gathered_at = Instant::now();
}

/// The latest value, if it was not seen yet.
fn changed<T: Clone>(values: &mut watch::Receiver<T>) -> Option<T> {
    let is_new = values.has_changed().unwrap_or(false);
    is_new.then(|| values.borrow_and_update().clone())
}

fn decode(
    dependencies: &FanoutDependencies,
    record: &Record<'_>,
    log: &LogContext,
    received_at: Timestamp,
) -> Result<Decoded, Refusal> {
    let headers = record.headers();
    let decoded = dependencies.decoder.decode(&record.raw(&headers, received_at), log);
    let metrics = &dependencies.metrics.fanout;
    match &decoded {
        Ok(decoded) => _ = metrics.occurred_at_unreadable.inc_by(u64::from(decoded.occurred_at_unreadable)),
        Err(refusal) => metrics.refused(refusal.code),
    }
    decoded
}
