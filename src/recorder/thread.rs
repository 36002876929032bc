//! The recorder's thread: polls its consumer, asks [`Assignment`](super::assignment::Assignment) what to do with what
//! it reads, and keeps the writer busy. Keeps polling while the writer is behind or the database is away.

mod errands;

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Message},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    MAX_TASKS, RecorderParts,
    assignment::Assignment,
    batch::Work,
    errands::{Restored, Taken, Unrecorded},
    hand::Hand,
    rebalance::Rebalancing,
    writing::{Reply, Task},
};
use crate::{
    domain::{Halts, Timestamp, decode::LogContext},
    log::{
        kafka::{
            StartError,
            client::{create, offsets, retire},
            polling::{self, WallClock},
            record::{self, OwnedRecord},
        },
        view::LogView,
    },
};

/// A batch is given to the writer when it is this old, or this large.
const BATCH_AGE: Duration = Duration::from_millis(20);
const BATCH_RECORDS: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// From so many events on a batch is stored in two transactions: below, another one costs more than it spares.
const LARGE_BATCH: usize = 500;
/// How long a record is waited for.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// How often positions are asked for.
const TICK: Duration = Duration::from_millis(200);
/// How long the writer may be behind before fetching stops. What the client has fetched by then is fetched again.
const STALL_TIMEOUT: Duration = Duration::from_millis(500);
/// How often offsets are committed to Kafka, for tools that show the lag; nothing here reads them.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// How long all partitions wait after the broker refused an offset.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);
/// How long records may be known of and not come before the consumer is taken for broken.
const STUCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is mentioned that events without a version stand in two partitions.
const UNORDERED_INTERVAL: Duration = Duration::from_secs(60);
/// How long the writer may take with what is in hand at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) struct RecorderThread {
    parts: RecorderParts,
    consumer: BaseConsumer<Rebalancing>,
    halts: watch::Sender<Halts>,
    hand: Arc<Hand>,
    tasks: mpsc::Sender<Vec<Task>>,
    replies: Receiver<Vec<Reply>>,
    /// How often the writer was given something whose replies have not been taken.
    unanswered: usize,
    view: Option<Arc<LogView>>,
    accepts_unversioned: bool,
    gathering: Gathering,
    paused: bool,
    /// Applied and not yet committed to Kafka.
    uncommitted: BTreeMap<i32, i64>,
    committed_at: Instant,
    told_of_unordered_at: Option<Instant>,
    behind_since: Option<Instant>,
    clock: WallClock,
    restored: Restored,
    unrecorded: Unrecorded,
}

/// What has been collected since the writer was last given a batch.
#[derive(Default)]
struct Gathering {
    since: Option<Instant>,
    records: usize,
    bytes: usize,
}

impl Gathering {
    fn add(&mut self, bytes: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.records += 1;
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.records >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }

    fn is_due(&self) -> bool {
        self.is_full() || self.since.is_some_and(|since| since.elapsed() >= BATCH_AGE)
    }
}

impl RecorderThread {
    pub(super) fn new(
        parts: RecorderParts,
        halts: watch::Sender<Halts>,
        hand: Arc<Hand>,
        tasks: mpsc::Sender<Vec<Task>>,
        replies: Receiver<Vec<Reply>>,
    ) -> Result<Self, StartError> {
        let consumer = subscribed(&parts, &hand, 0)?;
        Ok(Self {
            parts,
            consumer,
            halts,
            hand,
            tasks,
            replies,
            unanswered: 0,
            view: None,
            accepts_unversioned: false,
            gathering: Gathering::default(),
            paused: false,
            uncommitted: BTreeMap::new(),
            committed_at: Instant::now(),
            told_of_unordered_at: None,
            behind_since: None,
            clock: WallClock::new(),
            restored: Restored::default(),
            unrecorded: Unrecorded::default(),
        })
    }

    /// Inputs: records, ends of partitions and rebalances from the consumer, the writer's replies, views of the log, the
    /// clock, stop.
    pub(super) fn run(mut self, stop: &CancellationToken) {
        let mut ticked_at = Instant::now();
        polling::wake_me(&mut self.consumer);
        while !stop.is_cancelled() {
            self.take_replies();
            self.look();
            self.ask();
            self.stand();
            self.read();
            if ticked_at.elapsed() >= TICK {
                ticked_at = Instant::now();
                self.tick();
            }
            if self.gathering.is_due() {
                self.hand_over();
            }
        }
        self.finish();
    }

    /// Tells the consumer where to read from, if that is elsewhere than before.
    fn stand(&mut self) {
        let Some(places) = self.consumer.context().assignment().take_stand() else { return };
        self.behind_since = None;
        // A partition stays paused through an assignment.
        self.paused = false;
        let stood = offsets(&self.parts.topic, places).and_then(|places| {
            self.consumer.assign(&places)?;
            self.consumer.resume(&places)
        });
        if let Err(error) = stood {
            tracing::error!(%error, "recorder could not be assigned its partitions; trying again");
            let void = self.consumer.context().assignment().on_lost(Some(Instant::now() + DOUBT_PAUSE));
            self.hand.void(void);
        }
    }

    fn read(&mut self) {
        let full = self.gathering.is_full();
        if full && !self.paused {
            if self.gathering.since.is_some_and(|since| since.elapsed() < STALL_TIMEOUT) {
                std::thread::sleep(Duration::from_millis(2));
                return;
            }
            self.set_paused(true);
        } else if !full && self.paused {
            self.set_paused(false);
        }
        let received_at = Timestamp::now();
        let mut timeout = if self.gathering.since.is_some() { BATCH_AGE / 4 } else { POLL_TIMEOUT };
        // A paused consumer is still polled: that is how the group knows that it lives.
        while let Some(polled) = polling::poll(&self.consumer, timeout) {
            timeout = Duration::ZERO;
            match polled {
                Ok(message) => {
                    let taken =
                        take(&message, self.consumer.context(), &self.parts, self.accepts_unversioned, received_at);
                    if taken {
                        self.gathering.add(message.payload_len() + message.key_len());
                    }
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.consumer.context().assignment().on_end_of_partition(partition);
                }
                Err(error) if is_about_offsets(&error) => {
                    // It does not say which partition; the log is compared with progress in all of them.
                    tracing::warn!(%error, "the broker does not have what the recorder asks for");
                    let void = self.consumer.context().assignment().on_lost(Some(Instant::now() + DOUBT_PAUSE));
                    self.hand.void(void);
                    return;
                }
                // Its context has logged it.
                Err(_) => {}
            }
            if self.gathering.is_due() {
                return;
            }
        }
    }

    fn set_paused(&mut self, paused: bool) {
        let Ok(assigned) = self.consumer.assignment() else { return };
        let done = if paused { self.consumer.pause(&assigned) } else { self.consumer.resume(&assigned) };
        match done {
            Ok(()) => self.paused = paused,
            Err(error) => tracing::warn!(%error, paused, "recorder could not pause or resume its partitions"),
        }
    }

    /// Gives the writer what was collected, if it has room.
    fn hand_over(&mut self) {
        if !self.has_room() {
            return;
        }
        let work = Work::take(&self.parts.topic, self.consumer.context().assignment().reading());
        self.gathering = Gathering::default();
        if let Some(work) = work {
            let work = work.counting_jumps_beyond(self.parts.version_jump);
            self.give(work.divide(LARGE_BATCH).into_iter().map(Task::Apply).collect());
        }
    }

    fn tick(&mut self) {
        polling::keep_awake(&self.consumer);
        self.take_positions();
        self.check_progress();
        if self.gathering.since.is_none() {
            self.hand_over();
        }
        if self.committed_at.elapsed() >= COMMIT_INTERVAL {
            self.commit();
        }
        if self.clock.was_set_back() {
            self.rebuild("the clock was set back");
        } else if self.is_stuck() {
            self.rebuild("records do not reach the recorder although they are in the log");
        } else if self.nobody_records() {
            self.rebuild("nobody records although there is something to record, and this recorder has no partitions");
        }
    }

    /// Transaction markers and holes move the position without a record.
    fn take_positions(&mut self) {
        let Ok(positions) = self.consumer.position() else { return };
        let mut assignment = self.consumer.context().assignment();
        for element in positions.elements() {
            if let Offset::Offset(offset) = element.offset() {
                assignment.on_position(element.partition(), offset);
            }
        }
    }

    fn commit(&mut self) {
        self.committed_at = Instant::now();
        let applied = std::mem::take(&mut self.uncommitted);
        if !applied.is_empty() {
            // Best effort: progress is in SQL.
            let _ = offsets(&self.parts.topic, applied).and_then(|list| self.consumer.commit(&list, CommitMode::Async));
        }
    }

    /// Whether records are known of and do not come, although there is room for them.
    fn is_stuck(&mut self) -> bool {
        let Some(view) = &self.view else { return false };
        let ends = view.watermarks().map(|(partition, log)| (partition, log.high)).collect();
        let behind = self.consumer.context().assignment().awaits_records(&ends);
        if !behind || self.paused || self.gathering.since.is_some() {
            self.behind_since = None;
        }
        behind && self.behind_since.get_or_insert_with(Instant::now).elapsed() >= STUCK_TIMEOUT
    }

    fn nobody_records(&mut self) -> bool {
        let (Some(view), Some(stored)) = (&self.view, self.parts.progress.borrow().clone()) else { return false };
        self.unrecorded.is_seen(&self.consumer.context().assignment(), view, &stored, Instant::now())
    }

    /// A new consumer takes the place of this one and joins the group anew.
    fn rebuild(&mut self, why: &str) {
        tracing::warn!("{why}: making a new kafka client");
        self.behind_since = None;
        let void = self.consumer.context().retire();
        self.hand.void(void);
        match subscribed(&self.parts, &self.hand, void) {
            Ok(consumer) => {
                retire(std::mem::replace(&mut self.consumer, consumer));
                polling::wake_me(&mut self.consumer);
            }
            Err(error) => tracing::error!(%error, "the kafka client of the recorder could not be made anew"),
        }
    }

    /// Stops reading, lets the writer finish, and leaves the group.
    fn finish(mut self) {
        self.hand_over();
        self.hand.wait_until_empty(FINISH_TIMEOUT);
        self.take_replies();
        self.commit();
        // Dropped here, on its own thread: that closes it, and the others get its partitions at once.
    }
}

fn subscribed(
    parts: &RecorderParts,
    hand: &Arc<Hand>,
    last_number: u64,
) -> Result<BaseConsumer<Rebalancing>, KafkaError> {
    let context =
        Rebalancing::new(parts.clients.events("recorder"), Assignment::new(parts.policies, last_number), hand.clone());
    let consumer: BaseConsumer<Rebalancing> = create(&parts.clients.recorder(), context)?;
    consumer.subscribe(&[&parts.topic])?;
    Ok(consumer)
}

/// Takes a record into what is collected. Says whether it was one to be taken.
fn take(
    message: &BorrowedMessage<'_>,
    context: &Rebalancing,
    parts: &RecorderParts,
    accepts_unversioned: bool,
    received_at: Timestamp,
) -> bool {
    let decode = |epoch| {
        let headers = record::headers(message);
        let raw = record::raw(message, &headers, received_at);
        parts.decoder.decode(&raw, &LogContext { epoch, accepts_unversioned })
    };
    let place = (message.partition(), message.offset());
    let keep = || OwnedRecord::of(message);
    let taken = context.assignment().take(place, record::digest(message), decode, keep);
    let metrics = &parts.metrics.recorder;
    match taken {
        Taken::Event { occurred_at_unreadable } => {
            metrics.occurred_at_unreadable.inc_by(u64::from(occurred_at_unreadable));
        }
        Taken::Refused(code) => metrics.refused(code),
        Taken::Passed => return false,
    }
    true
}

/// Whether the broker has no record at the offset it was asked for.
fn is_about_offsets(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset)
    )
}
