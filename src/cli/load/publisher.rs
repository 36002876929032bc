//! The thread that publishes: each event when it is due, whatever became of those before it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{
    clock::{self, SECOND},
    latency::Latencies,
    names::Place,
    roster::Roster,
    schedule::Schedule,
};
use crate::{
    cli::event::Event,
    domain::{Timestamp, UserId},
    log::kafka::{KafkaClients, KafkaError, bulk::BulkProducer},
};

/// Outcomes are taken this long before the next event is due; polling knows whole milliseconds only.
const POLL_MARGIN: u64 = 2_000_000;
const LONGEST_POLL: u64 = 100_000_000;
/// How long records may be on their way when all have been sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// What is to be published.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// The schedule's events from this moment on, those that are due before that one.
    Scheduled { from: u64, to: u64 },
    /// So many events, as fast as they are taken.
    AtOnce { events: u64 },
    /// Beside the schedule: events of these orders with long details, so many a second each.
    Stuffing { from: u64, to: u64, owners: u32, a_second: f64, bytes: usize },
    /// A tombstone for every order of which there was an event.
    Erasing,
}

/// What became of a job.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) sent: u64,
    pub(super) failed: u64,
    /// Why one of those that failed did.
    pub(super) failure: Option<String>,
    /// From when an event was due to when it was given to the producer.
    pub(super) lateness: Latencies,
    /// From when it was due to when the broker had it.
    pub(super) acknowledged: Latencies,
    pub(super) took: Duration,
}

/// The settings of all jobs.
pub(super) struct Press {
    pub(super) roster: Arc<Roster>,
    pub(super) schedule: Schedule,
    pub(super) topic: String,
    pub(super) statuses: Vec<String>,
    /// Bytes of details beside what every event has.
    pub(super) padding: usize,
}

/// Speaks to the thread, which ends when this is dropped.
pub(super) struct Publisher {
    jobs: Option<SyncSender<(Job, oneshot::Sender<Published>)>>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    pub(super) fn start(press: Press, clients: &KafkaClients) -> Result<Self, KafkaError> {
        let outcomes = Arc::new(Mutex::new(Outcomes::new()));
        let noted = outcomes.clone();
        let producer = BulkProducer::new(clients, move |due, failure| {
            noted.lock().unwrap_or_else(PoisonError::into_inner).note(due, failure);
        })?;
        let (jobs, asked) = sync_channel(1);
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = Work { press, producer, outcomes, stop: stop.clone(), total: sent.clone(), event: 0 };
        let thread = thread::Builder::new().name("load-publish".into()).spawn(move || work.run(&asked));
        Ok(Self { jobs: Some(jobs), stop, sent, thread: thread.ok() })
    }

    /// Gives it a job; the answer comes when all of it has its outcome. `None`: the thread is gone.
    pub(super) fn publish(&self, job: Job) -> oneshot::Receiver<Published> {
        let (reply, published) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            // Without a thread nobody answers, which is told by the answer.
            let _ = jobs.send((job, reply));
        }
        published
    }

    /// Ends the job under way, and lets those come that erase.
    pub(super) fn cut_short(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Events given to the producer so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.cut_short();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been told by itself.
            let _ = thread.join();
        }
    }
}

struct Outcomes {
    failed: u64,
    failure: Option<String>,
    acknowledged: Latencies,
}

impl Outcomes {
    fn new() -> Self {
        Self { failed: 0, failure: None, acknowledged: Latencies::new() }
    }

    fn note(&mut self, due: u64, failure: Option<String>) {
        match failure {
            None => self.acknowledged.note(due, clock::now()),
            Some(failure) => {
                self.failed += 1;
                self.failure = Some(failure);
            }
        }
    }
}

struct Work {
    press: Press,
    producer: BulkProducer,
    outcomes: Arc<Mutex<Outcomes>>,
    stop: Arc<AtomicBool>,
    total: Arc<AtomicU64>,
    /// The schedule goes on from job to job, so that every order has its turn.
    event: u64,
}

impl Work {
    fn run(mut self, jobs: &Receiver<(Job, oneshot::Sender<Published>)>) {
        while let Ok((job, reply)) = jobs.recv() {
            let begun = clock::now();
            let (sent, lateness) = self.perform(&job);
            self.producer.flush(FLUSH_TIMEOUT);
            let outcomes = &mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            let outcomes = std::mem::replace(outcomes, Outcomes::new());
            let unanswered = sent.saturating_sub(outcomes.failed + outcomes.acknowledged.count());
            // Who asked may have been interrupted.
            let _ = reply.send(Published {
                sent,
                failed: outcomes.failed + unanswered,
                failure: outcomes.failure,
                lateness,
                acknowledged: outcomes.acknowledged,
                took: Duration::from_nanos(clock::now().saturating_sub(begun)),
            });
        }
    }

    fn perform(&mut self, job: &Job) -> (u64, Latencies) {
        let (mut lateness, mut sent) = (Latencies::new(), 0);
        match *job {
            Job::Scheduled { from, to } => {
                for event in 0..self.press.schedule.before(to.saturating_sub(from)) {
                    let due = from + self.press.schedule.due(event);
                    self.wait_until(due);
                    if self.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    self.publish_next(due);
                    lateness.note(due, clock::now());
                    sent += 1;
                }
            }
            Job::AtOnce { events } => {
                while sent < events && !self.stop.load(Ordering::Relaxed) {
                    self.publish_next(clock::now());
                    sent += 1;
                    if sent.is_multiple_of(64) {
                        self.producer.poll(Duration::ZERO);
                    }
                }
            }
            Job::Stuffing { from, to, owners, a_second, bytes } => {
                let interval = (SECOND as f64 / a_second) as u64;
                let mut due = from;
                while due < to {
                    self.wait_until(due);
                    if self.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    for owner in 0..owners {
                        self.publish_event(Place { owner, number: 0 }, due, bytes);
                        sent += 1;
                    }
                    due += interval;
                }
            }
            Job::Erasing => sent = self.erase(),
        }
        (sent, lateness)
    }

    fn publish_next(&mut self, due: u64) {
        let place = self.press.schedule.place(self.event);
        self.event += 1;
        self.publish_event(place, due, self.press.padding);
    }

    fn publish_event(&self, place: Place, due: u64, padding: usize) {
        let roster = &self.press.roster;
        let version = roster.next_version(place);
        let order_id = roster.names.order(place);
        let value = event(&self.press, place, &roster.user(place.owner), version, due, padding);
        self.send(order_id.as_str().as_bytes(), Some(&value), due);
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    fn erase(&self) -> u64 {
        let roster = &self.press.roster;
        let places = (0..roster.sessions)
            .flat_map(|owner| (0..roster.orders).map(move |number| Place { owner, number }))
            .filter(|place| roster.version(*place) > 0);
        let mut sent = 0;
        for place in places {
            self.send(roster.names.order(place).as_str().as_bytes(), None, clock::now());
            sent += 1;
        }
        sent
    }

    fn send(&self, key: &[u8], value: Option<&[u8]>, due: u64) {
        while self.producer.send(&self.press.topic, key, value, due).is_err() {
            self.producer.poll(Duration::from_millis(1));
        }
    }

    /// Takes outcomes until then.
    fn wait_until(&self, due: u64) {
        self.producer.poll(Duration::ZERO);
        loop {
            let left = due.saturating_sub(clock::now());
            if left == 0 || self.stop.load(Ordering::Relaxed) {
                return;
            }
            if left > POLL_MARGIN {
                self.producer.poll(Duration::from_nanos((left - POLL_MARGIN).min(LONGEST_POLL)));
            }
            thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now()).min(LONGEST_POLL)));
        }
    }
}

/// An event's value: the order as any producer would write it, with the time that it is due among its details.
pub(super) fn event(press: &Press, place: Place, user: &UserId, version: u32, due: u64, padding: usize) -> Vec<u8> {
    let details = if padding == 0 {
        format!(r#"{{"carrier":"DHL","due":"{due}"}}"#)
    } else {
        format!(r#"{{"carrier":"DHL","due":"{due}","padding":"{:x<padding$}"}}"#, "")
    };
    let details = RawValue::from_string(details).expect("it is JSON");
    let status = &press.statuses[version as usize % press.statuses.len()];
    Event {
        order_id: &press.roster.names.order(place),
        user_id: user,
        status,
        version: Some(u64::from(version)),
        occurred_at: Timestamp::now(),
        details: Some(&details),
        viewers: &press.roster.further_viewers(place.owner),
    }
    .to_bytes()
}
