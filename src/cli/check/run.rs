//! One run: viewers connect, events are published, screens are judged, and what was published is erased.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    board::{Board, Standing},
    plan::{Planned, Screen},
    viewer::Viewer,
};
use crate::{
    cli::{error::CommandError, event::Event, output::clean},
    domain::Timestamp,
    log::kafka::producer::{Outgoing, ProduceError, Producer},
};

/// How long sessions may take to begin.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Events on their way to the broker at once.
const MAX_IN_FLIGHT: usize = 1_000;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A run under way.
pub(super) struct Run {
    pub(super) board: Arc<Board>,
    pub(super) producer: Producer,
    pub(super) topic: String,
    /// What every user must see in the end.
    pub(super) truths: Vec<Screen>,
    /// From its end on no viewer breaks its connection.
    pub(super) duration: Duration,
    /// How long the screens may take to be right after that.
    pub(super) settle: Duration,
    pub(super) calm: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) viewers: JoinSet<()>,
}

impl Run {
    pub(super) fn add(&mut self, viewer: Viewer) {
        self.viewers.spawn(viewer.watch());
    }

    /// Waits until every viewer has its first snapshot.
    pub(super) async fn connect(&self) -> Result<(), CommandError> {
        let all = self.viewers.len();
        let until = self.until(Instant::now() + START_TIMEOUT, |standing| standing.live == all);
        let standing = match until.await {
            Ok(_) => return Ok(()),
            Err(standing) => standing,
        };
        let reasons = self.board.stopped().iter().map(|reason| format!(": {}", clean(reason))).collect::<String>();
        Err(CommandError::Failed(format!("{} of {all} sessions could not begin{reasons}", all - standing.live)))
    }

    /// Publishes every event when it is due. Events of one order are given to the broker in their order.
    pub(super) async fn publish(&self) -> Result<(), CommandError> {
        let start = Instant::now();
        let mut events = self.board.plan().events.iter().peekable();
        let mut in_flight = FuturesUnordered::new();
        let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
        while events.peek().is_some() || !in_flight.is_empty() {
            let due = events.peek().map(|event| start + event.due);
            let has_room = in_flight.len() < MAX_IN_FLIGHT;
            tokio::select! {
                () = wait_until(due), if has_room && due.is_some() => {
                    if let Some(event) = events.next() {
                        in_flight.push(self.produce(event));
                    }
                }
                Some(sent) = in_flight.next() => {
                    sent.map_err(|error| CommandError::Failed(format!("could not publish to {}: {error}", self.topic)))?;
                    self.board.on_acknowledged();
                }
                _ = progress.tick() => self.tell(start.elapsed()),
            }
        }
        wait_until(Some(start + self.duration)).await;
        self.calm.cancel();
        Ok(())
    }

    /// Waits until all screens are right. Gives where they stand, and how long it took if they are.
    pub(super) async fn converge(&self) -> (Standing, Option<Duration>) {
        let start = Instant::now();
        let all = self.viewers.len();
        let right = |standing: &Standing| standing.live == all && standing.missing == 0 && standing.surplus == 0;
        let judged = self.until(start + self.settle, right).await;
        on_terminal("");
        match judged {
            Ok(standing) => (standing, Some(start.elapsed())),
            Err(standing) => (standing, None),
        }
    }

    /// Asks the viewers to leave, and erases every order of which anything may have been published.
    pub(super) async fn clean_up(mut self) -> Result<(), CommandError> {
        self.stop.cancel();
        // Who does not leave is left behind.
        let _ = timeout(LEAVE_TIMEOUT, async { while self.viewers.join_next().await.is_some() {} }).await;
        let mut orders = self.board.published_orders().into_iter();
        let mut erased = FuturesUnordered::new();
        let mut failed = None;
        loop {
            erased.extend(orders.by_ref().take(MAX_IN_FLIGHT - erased.len()).map(|order| self.erase(order)));
            match erased.next().await {
                Some(outcome) => failed = outcome.err().or(failed),
                None => break,
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => Err(CommandError::Failed(format!("not all orders of the check could be erased: {error}"))),
        }
    }

    async fn erase(&self, order: usize) -> Result<(), ProduceError> {
        let order = &self.board.plan().orders[order];
        let tombstone = Outgoing { key: Some(order.as_str().as_bytes()), ..Outgoing::default() };
        self.producer.produce(&self.topic, &tombstone).await.map(drop)
    }

    async fn produce(&self, event: &Planned) -> Result<(), ProduceError> {
        let plan = self.board.plan();
        let viewers: Vec<_> = event.named.viewer.iter().map(|viewer| plan.users[*viewer].clone()).collect();
        let order = &plan.orders[event.order];
        let value = Event {
            order_id: order,
            user_id: &plan.users[event.named.user],
            status: &event.status,
            version: Some(event.version),
            occurred_at: Timestamp::now(),
            details: None,
            viewers: &viewers,
        };
        let value = value.to_bytes();
        self.board.on_publishing(event.order, event.version, Instant::now());
        let record = Outgoing { key: Some(order.as_str().as_bytes()), value: Some(&value), ..Outgoing::default() };
        self.producer.produce(&self.topic, &record).await.map(drop)
    }

    /// Waits until the screens stand as wanted; an error says how they stand when that cannot be waited for.
    async fn until(&self, deadline: Instant, wanted: impl Fn(&Standing) -> bool) -> Result<Standing, Standing> {
        loop {
            let standing = self.board.standing(&self.truths);
            if wanted(&standing) {
                return Ok(standing);
            }
            let waited = timeout_at(deadline.into(), self.board.changed()).await;
            if waited.is_err() || !self.board.stopped().is_empty() {
                return Err(self.board.standing(&self.truths));
            }
        }
    }

    fn tell(&self, elapsed: Duration) {
        let Standing { acknowledged, live, disturbed, tally, .. } = self.board.standing(&self.truths);
        let (done, all) = (elapsed.as_secs().min(self.duration.as_secs()), self.duration.as_secs());
        let deliveries = tally.deliveries;
        on_terminal(&format!(
            "{done} of {all} s: {acknowledged} events, {deliveries} deliveries, {live} live, {disturbed} broken"
        ));
    }
}

/// Replaces the line on a terminal; anything else gets nothing.
fn on_terminal(line: &str) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        // Progress is not worth failing for.
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    }
}

async fn wait_until(due: Option<Instant>) {
    if let Some(due) = due {
        sleep_until(due.into()).await;
    }
}
