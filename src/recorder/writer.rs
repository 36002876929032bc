//! The recorder's writer: does what it is given, one after the other; the tasks that it is given together, side by side.
//! Runs on the main runtime, because the pool of connections lives there. [`write_task`](super::write_task) decides what is done
//! with a task, this performs it.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::{
    dead_letters::delivery::DeadLetters,
    in_flight::InFlight,
    write_task::{Next, Reply, Task, WriteTask},
};
use crate::{
    domain::Change,
    log::kafka::producer::ProduceError,
    runtime::Backoff,
    store::{Batch, DeadLetter, Store, StoreError},
    telemetry::Reminder,
};

/// The first pause before something is tried again; doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) dead_letters: DeadLetters,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) tasks: Receiver<Vec<Task>>,
    /// Has room for the replies to all that can be outstanding.
    pub(super) replies: SyncSender<Vec<Reply>>,
}

impl Writer {
    /// Inputs: tasks, stop. What is in flight when it is stopped is finished or abandoned by its own deadlines.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let tasks = tokio::select! {
                biased;
                tasks = self.tasks.recv() => tasks,
                () = stop.cancelled() => None,
            };
            let Some(tasks) = tasks else { return };
            let replies = tokio::select! {
                replies = join_all(tasks.into_iter().map(|task| self.perform(task))) => replies,
                () = given_up(&stop) => return,
            };
            self.in_flight.set_failing(false);
            let heard = self.replies.try_send(replies);
            self.in_flight.finished();
            if heard.is_err() {
                // The thread is gone.
                return;
            }
        }
    }

    async fn perform(&self, task: Task) -> Reply {
        let mut write_task = WriteTask::new(task);
        let (mut backoff, mut told) = (Backoff::between(FIRST_BACKOFF, LAST_BACKOFF), Reminder::default());
        loop {
            let (answer, what) = match write_task.next(&self.in_flight) {
                Next::Done(reply) => return reply,
                Next::Deliver(refused) => {
                    let delivered = self.dead_letters.deliver(refused).await;
                    self.on_delivery(&mut write_task, delivered);
                    continue;
                }
                Next::Open(opening) => {
                    let opened = self.store.open_topic(opening).await;
                    (write_task.on_opened(opened, Instant::now()), "progress cannot be read")
                }
                Next::Relocate(relocation) => {
                    let relocated = self.store.relocate(relocation).await;
                    (write_task.on_relocated(relocated), "progress cannot be moved")
                }
                Next::SetHalt(finding) => {
                    let set = self.store.set_halt(finding).await;
                    (write_task.on_halt_set(set), "a halt cannot be told to the other instances")
                }
                Next::Apply(batch) => {
                    let applied = self.store.apply(batch).await;
                    match &applied {
                        Ok(_) => tell_of_resets(batch),
                        Err(StoreError::LostPartition { partition }) => {
                            tracing::info!(kafka.partition = partition, "progress has moved on without this recorder");
                        }
                        Err(_) => {}
                    }
                    let Some(answer) = write_task.on_applied(applied, &self.in_flight).transpose() else { continue };
                    (answer, "a batch cannot be stored")
                }
            };
            match answer {
                Ok(reply) => return reply,
                Err(error) => {
                    self.in_flight.set_failing(true);
                    if told.is_due(&error.to_string(), Instant::now()) {
                        match error.needs_somebody() {
                            true => tracing::error!(%error, "{what}; trying again"),
                            false => tracing::warn!(%error, "{what}; trying again"),
                        }
                    }
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    fn on_delivery(&self, write_task: &mut WriteTask, delivered: Result<Vec<DeadLetter>, ProduceError>) {
        let (dead_letters, error) = match delivered {
            Ok(dead_letters) => (Some(dead_letters), None),
            Err(error) => (None, Some(error)),
        };
        let partition = write_task.on_delivery(dead_letters, &self.in_flight);
        if let Some(error) = error {
            tracing::error!(
                kafka.partition = partition,
                kafka.topic = self.dead_letters.topic,
                %error,
                "a record that cannot be used cannot be kept as a dead letter either: the partition waits"
            );
        }
    }
}

/// Whoever resets an order changes what counts as its truth: that stands in the log of the instance that recorded it.
fn tell_of_resets(batch: &Batch) {
    let events = batch.partitions.iter().flat_map(|part| &part.events);
    for event in events.filter(|event| matches!(event.change, Change::Reset)) {
        tracing::warn!(
            order.id = %event.order_id,
            kafka.partition = event.stamp.partition,
            kafka.offset = event.stamp.offset,
            "an order was reset: it is erased, and its next event is taken whatever its version"
        );
    }
}

/// Stopped, and the task in flight does not come to an end by itself.
async fn given_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_BACKOFF).await;
}
