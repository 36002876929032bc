//! The store gateway: what HTTP asks of SQL besides snapshots, which is tickets and traces; and the end of old tickets.
//!
//! Connections belong to the runtime that opened them, so requests of the HTTP workers come here through a bounded queue.
//! Full, or without an answer in time, it says that the database is unavailable.

mod tickets;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::tickets::{Decision, Undo};
use crate::{
    domain::{History, OrderId, SnapshotQuery, Timestamp},
    runtime::Component,
    store::{Store, StoreError},
};

pub use crate::store::KeptDeadLetter;

const QUEUED_REQUESTS: usize = 256;
/// Places in the queue that new tickets leave free: whoever asks for many must not keep others from using theirs.
const KEPT_FREE: usize = QUEUED_REQUESTS / 2;
/// Requests under way at once: the recorder and the snapshots need connections, too.
const REQUESTS_IN_FLIGHT: usize = 3;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(60);

/// The database does not answer, or is asked too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database is unavailable")]
pub struct DatabaseUnavailable;

/// What SQL knows of an order.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Its state and timeline, or its marker; `None`: nothing.
    pub history: Option<History>,
    /// Dead letters under its key, newest first.
    pub dead_letters: Vec<KeptDeadLetter>,
}

/// The name of a ticket, which its text cannot be guessed from.
pub type Digest = [u8; 32];

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Issue { digest: Digest, claims: String, lifetime: Duration, answer: Answer<Timestamp> },
    Find { digest: Digest, answer: Answer<Option<String>> },
    Use { digest: Digest, decision: Decision, answer: Answer<bool> },
    Trace { order_id: OrderId, answer: Answer<Trace> },
}

/// Where to ask.
#[derive(Clone)]
pub struct StoreHandle(mpsc::Sender<Request>);

/// What was asked, for [`start`].
pub struct Requests(mpsc::Receiver<Request>);

impl StoreHandle {
    /// A handle, and what is asked by it.
    pub fn open() -> (Self, Requests) {
        let (sender, receiver) = mpsc::channel(QUEUED_REQUESTS);
        (Self(sender), Requests(receiver))
    }

    /// Keeps a new ticket, for so long. Returns until when it is good, by the database's clock.
    pub async fn issue_ticket(
        &self,
        digest: Digest,
        claims: String,
        lifetime: Duration,
    ) -> Result<Timestamp, DatabaseUnavailable> {
        if self.0.capacity() <= KEPT_FREE {
            return Err(DatabaseUnavailable);
        }
        self.ask(|answer| Request::Issue { digest, claims, lifetime, answer }).await
    }

    /// The claims of a ticket that is good. It stays good.
    pub async fn find_ticket(&self, digest: Digest) -> Result<Option<String>, DatabaseUnavailable> {
        self.ask(|answer| Request::Find { digest, answer }).await
    }

    /// Uses a ticket up. `false`: it was not good any more, perhaps because somebody else was quicker. After an error it is as
    /// good as before, and so it is where this is dropped.
    pub async fn use_ticket(&self, digest: Digest) -> Result<bool, DatabaseUnavailable> {
        let decision = Decision::default();
        let (answer, mut answered) = oneshot::channel();
        let request = Request::Use { digest, decision: decision.clone(), answer };
        self.0.try_send(request).map_err(|_| DatabaseUnavailable)?;
        match timeout(ANSWER_TIMEOUT, &mut answered).await {
            Ok(answer) => heard(answer),
            Err(_) if decision.give_up() => Err(DatabaseUnavailable),
            Err(_) => heard(answered.await),
        }
    }

    /// What SQL knows of an order.
    pub async fn trace(&self, order_id: OrderId) -> Result<Trace, DatabaseUnavailable> {
        self.ask(|answer| Request::Trace { order_id, answer }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, DatabaseUnavailable> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(request(answer)).map_err(|_| DatabaseUnavailable)?;
        timeout(ANSWER_TIMEOUT, answered).await.map_or(Err(DatabaseUnavailable), heard)
    }
}

fn heard<T>(answer: Result<Result<T, StoreError>, oneshot::error::RecvError>) -> Result<T, DatabaseUnavailable> {
    let Ok(answer) = answer else { return Err(DatabaseUnavailable) };
    answer.map_err(|error| {
        tracing::warn!(%error, "the database did not answer a request");
        DatabaseUnavailable
    })
}

/// What the gateway works with.
#[derive(Clone)]
pub struct GatewayDependencies {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// The source topic.
    pub topic: String,
}

/// Starts answering.
pub fn start(dependencies: GatewayDependencies, requests: Requests) -> Component {
    Component::task("store-gateway", |stop| run(dependencies, requests, stop))
}

/// Inputs: requests, ends of requests and of what has to be undone, the clock, stop.
async fn run(dependencies: GatewayDependencies, mut requests: Requests, stop: CancellationToken) {
    let mut under_way: JoinSet<Option<Undo>> = JoinSet::new();
    // Few: each was a request under way, and lasts no longer than a ticket.
    let mut undone = JoinSet::new();
    let mut housekeeping = interval(HOUSEKEEPING_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = under_way.join_next() => if let Ok(Some(undo)) = ended {
                undone.spawn(tickets::undo(dependencies.store.clone(), undo));
            },
            Some(_) = undone.join_next() => {}
            Some(request) = requests.0.recv(), if under_way.len() < REQUESTS_IN_FLIGHT => {
                let dependencies = dependencies.clone();
                under_way.spawn(async move { dependencies.answer(request).await });
            }
            _ = housekeeping.tick() => {
                let dependencies = dependencies.clone();
                under_way.spawn(async move {
                    dependencies.keep_house().await;
                    None
                });
            }
        }
    }
}

impl GatewayDependencies {
    /// Who asked may have gone; then nobody hears the answer. Returns what has to be undone.
    async fn answer(&self, request: Request) -> Option<Undo> {
        let store = &self.store;
        match request {
            Request::Issue { digest, claims, lifetime, answer } => {
                _ = answer.send(store.issue_ticket(&digest, &claims, lifetime).await);
            }
            Request::Find { digest, answer } => _ = answer.send(store.find_ticket(&digest).await),
            Request::Use { digest, decision, answer } => {
                return tickets::use_up(&**store, digest, &decision, answer).await;
            }
            Request::Trace { order_id, answer } => _ = answer.send(self.trace(order_id).await),
        }
        None
    }

    async fn trace(&self, order_id: OrderId) -> Result<Trace, StoreError> {
        let query = SnapshotQuery { orders: vec![order_id.clone()], ..SnapshotQuery::default() };
        let snapshot = self.store.snapshot(&self.topic, &query).await?;
        let dead_letters = self.store.dead_letters_of(&self.topic, &keys_of(&order_id)).await?;
        Ok(Trace { history: snapshot.history(order_id.as_str()).cloned(), dead_letters })
    }

    async fn keep_house(&self) {
        if let Err(error) = self.store.forget_tickets().await {
            tracing::debug!(%error, "tickets that are over could not be removed; trying again later");
        }
    }
}

/// The keys under which records about an order may have come: its id, as text or as JSON.
fn keys_of(order_id: &OrderId) -> Vec<Vec<u8>> {
    let text = order_id.as_str();
    let json = serde_json::to_vec(text).expect("text always has a JSON form");
    vec![text.as_bytes().to_vec(), json]
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn new_tickets_leave_room_for_those_that_are_shown() {
        let (store, mut requests) = StoreHandle::open();
        let second = Duration::from_secs(1);
        let issue = |_| store.issue_ticket([7; 32], String::new(), second);
        let issued = join_all((0..QUEUED_REQUESTS).map(issue));
        // Polled behind all of them, and before anything is answered.
        let shown = store.find_ticket([7; 32]);
        let answers = async {
            let mut waited = 0;
            while let Some(request) = requests.0.recv().await {
                if let Request::Find { answer, .. } = request {
                    _ = answer.send(Ok(None));
                    break;
                }
                waited += 1;
            }
            waited
        };
        let (_, found, waited) = tokio::join!(issued, shown, answers);
        assert_eq!((found, waited), (Ok(None), QUEUED_REQUESTS - KEPT_FREE));
    }
}
