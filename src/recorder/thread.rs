//! The recorder's thread: polls its consumer, asks [`Assignment`](super::assignment::Assignment) what to do with what
//! it reads, and keeps the writer busy. Keeps polling while the writer is behind or the database is away.

mod housekeeping;

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, mpsc::Receiver},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    MAX_TASKS, RecorderDependencies,
    assignment::Assignment,
    batch::Work,
    in_flight::InFlight,
    rebalance::Rebalancing,
    scheduler::{Restored, Taken, Unrecorded},
    write_task::{Reply, Task},
};
use crate::{
    domain::{Halts, Timestamp, decode::LogContext},
    log::{
        hand_over::Taker,
        kafka::{
            StartError,
            reader::{From, Polled, Reader, Watchdog},
            rebalance::GroupEvents,
            record::Record,
        },
        view::LogView,
    },
};

/// A batch is given to the writer when it is this old, or this large.
const BATCH_AGE: Duration = Duration::from_millis(100);
const BATCH_RECORDS: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// From so many events on a batch is stored in two transactions: below, another one costs more than it spares.
const LARGE_BATCH: usize = 500;
/// Between two looks at what has come. Nobody waits for what is recorded, the tail has it; and to be woken by each answer of
/// a broker costs more than to take many together.
const NAP: Duration = Duration::from_millis(20);
/// The same where nothing has happened for as long as [`IDLE_AFTER`].
const LONG_NAP: Duration = Duration::from_millis(100);
const IDLE_AFTER: Duration = Duration::from_secs(1);
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
/// How long the writer may take with what is in flight at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) struct RecorderThread {
    dependencies: RecorderDependencies,
    taker: Taker,
    reader: Reader<GroupEvents<Rebalancing>>,
    halts: watch::Sender<Halts>,
    in_flight: Arc<InFlight>,
    tasks: mpsc::Sender<Vec<Task>>,
    replies: Receiver<Vec<Reply>>,
    /// How often the writer was given something whose replies have not been taken.
    unanswered: usize,
    view: Option<Arc<LogView>>,
    accepts_unversioned: bool,
    gathering: Gathering,
    /// All that had come was taken.
    drained: bool,
    /// When something last happened.
    busy_at: Instant,
    paused: bool,
    /// Applied and not yet committed to Kafka.
    uncommitted: BTreeMap<i32, i64>,
    committed_at: Instant,
    ticked_at: Instant,
    told_of_unordered_at: Option<Instant>,
    watchdog: Watchdog,
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
    fn add(&mut self, records: usize, bytes: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.records += records;
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
        dependencies: RecorderDependencies,
        taker: Taker,
        halts: watch::Sender<Halts>,
        in_flight: Arc<InFlight>,
        tasks: mpsc::Sender<Vec<Task>>,
        replies: Receiver<Vec<Reply>>,
    ) -> Result<Self, StartError> {
        let client =
            dependencies.clients.recorder_client(&dependencies.topic, rebalancing(&dependencies, &in_flight, 0))?;
        Ok(Self {
            reader: Reader::new("recorder", &dependencies.topic, client),
            taker,
            dependencies,
            halts,
            in_flight,
            tasks,
            replies,
            unanswered: 0,
            view: None,
            accepts_unversioned: false,
            gathering: Gathering::default(),
            drained: false,
            busy_at: Instant::now(),
            paused: false,
            uncommitted: BTreeMap::new(),
            committed_at: Instant::now(),
            ticked_at: Instant::now(),
            told_of_unordered_at: None,
            watchdog: Watchdog::new(STUCK_TIMEOUT),
            restored: Restored::default(),
            unrecorded: Unrecorded::default(),
        })
    }

    /// Inputs: records, ends of partitions and rebalances from the consumer, what the fanout has read, the writer's replies, views of the log, the
    /// clock, stop. None of them wakes it.
    pub(super) fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.step();
        }
        self.finish();
    }

    /// One round: what came back from the writer, what is new about the log, what is in it, and what is to be written.
    fn step(&mut self) {
        self.take_replies();
        self.look();
        self.ask();
        self.assign();
        self.read();
        if self.ticked_at.elapsed() >= TICK {
            self.ticked_at = Instant::now();
            self.tick();
        }
        if self.gathering.is_due() {
            self.hand_over();
        }
    }

    /// Tells the consumer where to read from, if that is elsewhere than before.
    fn assign(&mut self) {
        let Some(places) = self.assignment().take_places() else { return };
        self.watchdog.reset();
        // A partition stays paused through an assignment.
        self.paused = false;
        let places = places.into_iter().map(|(partition, offset)| (partition, From::Offset(offset)));
        if let Err(error) = self.reader.assign_and_resume(places) {
            tracing::error!(%error, "recorder could not be assigned its partitions; trying again");
            let invalid = self.assignment().on_lost(Some(Instant::now() + DOUBT_PAUSE));
            self.in_flight.invalidate(invalid);
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
        if self.drained {
            self.nap();
        }
        self.take_over();
        let (received_at, began) = (Timestamp::now(), Instant::now());
        self.drained = true;
        // A paused consumer is still polled: that is how the group knows that it lives.
        while let Some(polled) = self.reader.poll(Duration::ZERO) {
            self.busy_at = began;
            match polled {
                Polled::Record(record) => {
                    let mut assignment = self.reader.context().rebalance().assignment();
                    if take(&record, &mut assignment, &self.dependencies, self.accepts_unversioned, received_at) {
                        self.gathering.add(1, record.len());
                    }
                }
                Polled::End(partition) => {
                    self.assignment().on_end_of_partition(partition);
                }
                Polled::OutOfRange(error) => {
                    // It does not say which partition; the log is compared with progress in all of them.
                    tracing::warn!(%error, "the broker does not have what the recorder asks for");
                    let invalid = self.assignment().on_lost(Some(Instant::now() + DOUBT_PAUSE));
                    self.in_flight.invalidate(invalid);
                    return;
                }
                Polled::Refused(_) | Polled::Error => {}
            }
            if self.gathering.is_full() {
                self.drained = false;
                return;
            }
        }
    }

    /// Takes what the fanout has read, as long as there is room.
    fn take_over(&mut self) {
        let room = BATCH_RECORDS.saturating_sub(self.gathering.records);
        let mut assignment = self.reader.context().rebalance().assignment();
        let taken = assignment.take_over(&mut self.taker, self.accepts_unversioned, room);
        drop(assignment);
        if taken.records > 0 {
            self.busy_at = Instant::now();
            self.gathering.add(taken.records, taken.bytes);
        }
        let metrics = &self.dependencies.metrics;
        metrics.records_taken_over.inc_by(taken.records as u64);
        metrics.recorder.occurred_at_unreadable.inc_by(taken.occurred_at_unreadable);
        taken.refused.into_iter().for_each(|code| metrics.recorder.refused(code));
    }

    /// Lets more come.
    fn nap(&self) {
        let is_idle = self.unanswered == 0 && self.gathering.since.is_none() && self.busy_at.elapsed() >= IDLE_AFTER;
        std::thread::sleep(if is_idle { LONG_NAP } else { NAP });
    }

    fn set_paused(&mut self, paused: bool) {
        match self.reader.set_paused(paused) {
            Ok(()) => self.paused = paused,
            Err(error) => tracing::warn!(%error, paused, "recorder could not pause or resume its partitions"),
        }
    }

    /// Gives the writer what was collected, if it has room.
    fn hand_over(&mut self) {
        if !self.has_room() {
            return;
        }
        let work = Work::take(&self.dependencies.topic, self.assignment().reading());
        self.gathering = Gathering::default();
        if let Some(work) = work {
            let work = work.counting_jumps_beyond(self.dependencies.version_jump);
            self.give(work.divide(LARGE_BATCH).into_iter().map(Task::Apply).collect());
        }
    }

    fn tick(&mut self) {
        self.take_positions();
        self.check_progress();
        if self.gathering.since.is_none() {
            self.hand_over();
        }
        if self.committed_at.elapsed() >= COMMIT_INTERVAL {
            self.commit();
        }
        if let Some(why) = self.reader.look_after() {
            self.rebuild(why);
        } else if self.is_stuck() {
            self.rebuild("records do not reach the recorder although they are in the log");
        } else if self.nobody_records() {
            self.rebuild("nobody records although there is something to record, and this recorder has no partitions");
        }
    }

    /// Transaction markers and holes move the position without a record.
    fn take_positions(&mut self) {
        let positions = self.reader.positions();
        let mut assignment = self.assignment();
        for (partition, offset) in positions {
            assignment.on_position(partition, offset);
        }
    }

    fn commit(&mut self) {
        self.committed_at = Instant::now();
        let applied = std::mem::take(&mut self.uncommitted);
        if !applied.is_empty() {
            // Progress is in SQL.
            self.reader.commit(applied);
        }
    }

    /// Whether records are known of and do not come, although there is room for them.
    fn is_stuck(&mut self) -> bool {
        let Some(view) = &self.view else { return false };
        let ends = view.watermarks().map(|(partition, log)| (partition, log.high)).collect();
        self.assignment().notice_silence(&ends, Instant::now());
        let behind = self.assignment().awaits_records(&ends);
        let waits = behind && !self.paused && self.gathering.since.is_none();
        if behind && !waits {
            self.watchdog.reset();
        }
        self.watchdog.barks(behind, Instant::now())
    }

    fn nobody_records(&mut self) -> bool {
        let (Some(view), Some(stored)) = (&self.view, self.dependencies.progress.borrow().clone()) else {
            return false;
        };
        self.unrecorded.is_seen(&self.reader.context().rebalance().assignment(), view, &stored, Instant::now())
    }

    /// A new consumer takes the place of this one and joins the group anew.
    fn rebuild(&mut self, why: &str) {
        self.watchdog.reset();
        self.reader.context().retire();
        let invalid = self.assignment().on_revoked();
        self.in_flight.invalidate(invalid);
        let rebalancing = rebalancing(&self.dependencies, &self.in_flight, invalid);
        self.reader.replace(why, self.dependencies.clients.recorder_client(&self.dependencies.topic, rebalancing));
    }

    /// Never held across a poll, which may rebalance.
    fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.reader.context().rebalance().assignment()
    }

    /// Stops reading, lets the writer finish, and leaves the group.
    fn finish(mut self) {
        self.hand_over();
        self.in_flight.wait_until_empty(FINISH_TIMEOUT);
        self.take_replies();
        self.commit();
        // Dropped here, on its own thread: that closes it, and the others get its partitions at once.
    }
}

fn rebalancing(dependencies: &RecorderDependencies, in_flight: &Arc<InFlight>, last_fence: u64) -> Rebalancing {
    Rebalancing::new(Assignment::new(dependencies.policies, last_fence), in_flight.clone())
}

/// Takes a record into what is collected. Says whether it was one to be taken.
fn take(
    record: &Record<'_>,
    assignment: &mut Assignment,
    dependencies: &RecorderDependencies,
    accepts_unversioned: bool,
    received_at: Timestamp,
) -> bool {
    let decode = |epoch| {
        let headers = record.headers();
        dependencies.decoder.decode(&record.raw(&headers, received_at), &LogContext { epoch, accepts_unversioned })
    };
    let place = (record.partition(), record.offset());
    let taken = assignment.take(place, record.digest(), decode, || record.to_owned());
    let metrics = &dependencies.metrics.recorder;
    match taken {
        Taken::Event { occurred_at_unreadable } => {
            metrics.occurred_at_unreadable.inc_by(u64::from(occurred_at_unreadable));
        }
        Taken::Refused(code) => metrics.refused(code),
        Taken::Passed => return false,
    }
    dependencies.metrics.records_read.inc();
    true
}
