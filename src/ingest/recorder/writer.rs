//! The recorder's writer: applies batches to the store, one after the other. Runs on the main runtime, because the pool
//! of connections lives there. [`writing`](super::writing) decides what is done with a task, this performs it.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::{
    dead_letter::DeadLetters,
    hand::Hand,
    writing::{Next, Reply, Task, Writing},
};
use crate::{
    ingest::producer::ProduceError,
    store::{DeadLetter, Store, StoreError},
};

/// The first pause before something is tried again; doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) dead_letters: DeadLetters,
    pub(super) hand: Arc<Hand>,
    pub(super) tasks: Receiver<Task>,
    /// Has room for a reply to every task that can be outstanding.
    pub(super) replies: SyncSender<Reply>,
    pub(super) writing: Writing,
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
        self.writing.begin(task);
        let mut backoff = Backoff::default();
        let reply = loop {
            let (answer, what) = match self.writing.next(&self.hand) {
                Next::Done(reply) => break reply,
                Next::Deliver(refused) => {
                    let delivered = self.dead_letters.deliver(refused).await;
                    self.on_delivery(delivered);
                    continue;
                }
                Next::Open(opening) => {
                    let opened = self.store.open_topic(opening).await;
                    (self.writing.on_opened(opened, Instant::now()), "progress cannot be read")
                }
                Next::Relocate(relocation) => {
                    let relocated = self.store.relocate(relocation).await;
                    (self.writing.on_relocated(relocated), "progress cannot be moved")
                }
                Next::Apply(batch) => {
                    let applied = self.store.apply(batch).await;
                    if let Err(StoreError::LostPartition { partition }) = &applied {
                        tracing::info!(kafka.partition = partition, "progress has moved on without this recorder");
                    }
                    (self.writing.on_applied(applied, &self.hand), "a batch cannot be stored")
                }
            };
            match answer {
                Ok(reply) => break reply,
                Err(error) => self.pause(&mut backoff, &error, what).await,
            }
        };
        self.hand.set_failing(false);
        reply
    }

    fn on_delivery(&mut self, delivered: Result<Vec<DeadLetter>, ProduceError>) {
        let (letters, error) = match delivered {
            Ok(letters) => (Some(letters), None),
            Err(error) => (None, Some(error)),
        };
        let partition = self.writing.on_delivery(letters);
        if let Some(error) = error {
            tracing::error!(
                kafka.partition = partition,
                kafka.topic = self.dead_letters.topic,
                %error,
                "a record that cannot be used cannot be kept as a dead letter either: the partition waits"
            );
        }
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
