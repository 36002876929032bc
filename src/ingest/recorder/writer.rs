//! The recorder's writer: applies batches to the store, one after the other. Runs on the main runtime, because the pool
//! of connections lives there. Decides nothing about partitions: it tells the thread what became of each task.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::{batch::Work, dead_letter::DeadLetters, hand::Hand};
use crate::{
    event::decode::RefusalCode,
    store::{Applied, Progress, RejectedEvent, Relocation, Store, StoreError, TopicOpening},
};

/// The first pause before something is tried again; doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// What the thread asks for.
pub(super) enum Task {
    /// Make progress rows where they are missing, and read them.
    Open { number: u64, opening: TopicOpening },
    /// Move progress.
    Relocate { number: u64, relocation: Relocation },
    /// Apply a batch.
    Apply(Work),
}

/// What became of a task; every task gets one.
pub(super) enum Reply {
    /// Progress as it is.
    Opened { number: u64, progress: Vec<Progress>, read_at: Instant },
    /// Progress of this partition has moved, by this task or by somebody else.
    Relocated { partition: i32, lost_range: bool },
    /// The batch is stored, but for the parts that could not be delivered as dead letters.
    Applied { positions: Vec<(i32, i64)>, applied: Applied, dead_letters: Vec<RefusalCode>, blocked: Vec<i32> },
    /// None of the dead letters could be delivered, and there was nothing else.
    Blocked(Vec<i32>),
    /// It was taken back before it was done.
    Void,
    /// Somebody else moved a partition on, or an answer to a commit was lost: nobody knows how far progress is.
    Lost,
    /// The store refused these events.
    Rejected(Vec<RejectedEvent>),
}

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) dead_letters: DeadLetters,
    pub(super) hand: Arc<Hand>,
    pub(super) tasks: Receiver<Task>,
    /// Has room for a reply to every task that can be outstanding.
    pub(super) replies: SyncSender<Reply>,
    /// Parts of these partitions up to these numbers are dropped: what goes before them was not applied.
    pub(super) blocked: BTreeMap<i32, u64>,
}

impl Writer {
    /// Inputs: tasks, stop. What is in hand when it is stopped is finished or abandoned by its own deadlines.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let task = tokio::select! {
                biased;
                task = self.tasks.recv() => task,
                () = stop.cancelled() => None,
            };
            let Some(task) = task else { return };
            let reply = tokio::select! {
                reply = self.perform(task) => reply,
                () = given_up(&stop) => return,
            };
            let heard = self.replies.try_send(reply);
            self.hand.done();
            if heard.is_err() {
                // The thread is gone.
                return;
            }
        }
    }

    async fn perform(&mut self, task: Task) -> Reply {
        let reply = match task {
            Task::Open { number, opening } => self.open(number, opening).await,
            Task::Relocate { number, relocation } => self.relocate(number, relocation).await,
            Task::Apply(work) => self.apply(work).await,
        };
        self.hand.set_failing(false);
        reply
    }

    async fn open(&self, number: u64, opening: TopicOpening) -> Reply {
        let mut backoff = Backoff::default();
        while !self.hand.is_void(number) {
            match self.store.open_topic(&opening).await {
                Ok(progress) => return Reply::Opened { number, progress, read_at: Instant::now() },
                Err(error) => self.pause(&mut backoff, &error, "progress cannot be read").await,
            }
        }
        Reply::Void
    }

    async fn relocate(&self, number: u64, relocation: Relocation) -> Reply {
        let partition = relocation.from.partition;
        let mut backoff = Backoff::default();
        while !self.hand.is_void(number) {
            match self.store.relocate(&relocation).await {
                Ok(()) => {
                    return Reply::Relocated { partition, lost_range: relocation.lost_range.is_some() };
                }
                Err(StoreError::LostPartition { .. }) => {
                    return Reply::Relocated { partition, lost_range: false };
                }
                Err(error) => self.pause(&mut backoff, &error, "progress cannot be moved").await,
            }
        }
        Reply::Void
    }

    async fn apply(&mut self, mut work: Work) -> Reply {
        let mut counted = Vec::new();
        let blocked = self.deliver_dead_letters(&mut work, &mut counted).await;
        let mut backoff = Backoff::default();
        loop {
            self.drop_void(&mut work);
            if work.is_empty() {
                return match blocked.is_empty() {
                    true => Reply::Void,
                    false => Reply::Blocked(blocked),
                };
            }
            match self.store.apply(&work.batch).await {
                Ok(applied) => {
                    let parts = work.batch.partitions.iter();
                    let positions = parts.map(|part| (part.partition, part.next_offset)).collect();
                    return Reply::Applied { positions, applied, dead_letters: counted, blocked };
                }
                Err(StoreError::LostPartition { partition }) => {
                    tracing::info!(kafka.partition = partition, "progress has moved on without this recorder");
                    self.hand.void(work.highest_number());
                    return Reply::Lost;
                }
                Err(StoreError::Rejected(events)) => {
                    self.hand.void(work.highest_number());
                    return Reply::Rejected(events);
                }
                Err(error) => self.pause(&mut backoff, &error, "a batch cannot be stored").await,
            }
        }
    }

    /// Takes out the parts whose dead letters the topic does not take now, and names their partitions.
    async fn deliver_dead_letters(&mut self, work: &mut Work, counted: &mut Vec<RefusalCode>) -> Vec<i32> {
        self.drop_void(work);
        let mut blocked = Vec::new();
        for (partition, refused) in std::mem::take(&mut work.refused) {
            match self.dead_letters.deliver(&refused).await {
                Ok(letters) => {
                    counted.extend(refused.iter().map(|refused| refused.refusal.code));
                    let part = work.batch.partitions.iter_mut().find(|part| part.partition == partition);
                    part.into_iter().for_each(|part| part.dead_letters.clone_from(&letters));
                }
                Err(error) => {
                    tracing::error!(
                        kafka.partition = partition,
                        kafka.topic = self.dead_letters.topic,
                        %error,
                        "a record that cannot be used cannot be kept as a dead letter either: the partition waits"
                    );
                    let number = work.numbers.get(&partition).copied().unwrap_or_default();
                    self.blocked.insert(partition, number);
                    blocked.push(partition);
                }
            }
        }
        blocked
    }

    fn drop_void(&self, work: &mut Work) {
        work.drop_void(|partition, number| {
            self.hand.is_void(number) || self.blocked.get(&partition).is_some_and(|blocked| number <= *blocked)
        });
    }

    async fn pause(&self, backoff: &mut Backoff, error: &StoreError, what: &str) {
        self.hand.set_failing(true);
        if backoff.begins() || !error.is_retryable() {
            tracing::warn!(%error, "{what}; trying again");
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Stopped, and the task in hand does not come to an end by itself.
async fn given_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_BACKOFF).await;
}

/// Growing pauses with jitter, so that recorders do not come back all at once.
#[derive(Default)]
struct Backoff(Option<Duration>);

impl Backoff {
    fn begins(&self) -> bool {
        self.0.is_none()
    }

    fn next(&mut self) -> Duration {
        let pause = self.0.map_or(FIRST_BACKOFF, |pause| (pause * 2).min(LAST_BACKOFF));
        self.0 = Some(pause);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }
}
