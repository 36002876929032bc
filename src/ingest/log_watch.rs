//! Watches the source topic from outside: its log's name, its partitions and their watermarks, queried from the leaders.
//!
//! A thread and a client of its own, so that a slow broker holds up nobody who reads. Fanout and recorder read the
//! latest view; nothing here knows positions or progress.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    client::{KafkaClients, create, retire},
    compaction::{self, Compaction},
    component::Component,
    events::ClientEvents,
    log_check::Watermarks,
    metadata,
    polling::WallClock,
    reach::is_silence,
    rights::Right,
    topics::Topics,
};
use crate::config;

/// How often the topic is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How soon it is noticed that there is nothing more to watch.
const STOP_INTERVAL: Duration = Duration::from_millis(100);
/// How long one look may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a topic that stays away is mentioned.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// The topic at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogView {
    /// Names the log: cluster, topic and `kafka.epoch`.
    pub log_id: String,
    /// All partitions; the watermarks of one whose leader did not answer are those of the last time, if any.
    pub partitions: BTreeMap<i32, Option<Watermarks>>,
    /// When the partitions were asked for.
    pub listed_at: Instant,
    /// Whether single records may be missing from the log. `None`: that is being asked.
    pub compaction: Option<Compaction>,
}

impl LogView {
    /// How many partitions the topic has.
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The partitions whose watermarks are known.
    pub fn watermarks(&self) -> impl Iterator<Item = (i32, Watermarks)> {
        self.partitions.iter().filter_map(|(partition, log)| Some((*partition, (*log)?)))
    }
}

/// Reads the latest view; `None` until the topic was seen.
pub type LogViews = watch::Receiver<Option<Arc<LogView>>>;

/// Asks for a look at the topic now.
#[derive(Debug, Clone)]
pub struct LookNow(mpsc::SyncSender<()>);

impl LookNow {
    /// One that was asked for and not yet begun serves this request, too.
    pub fn ask(&self) {
        let _ = self.0.try_send(());
    }
}

/// Starts watching.
pub fn start(clients: &KafkaClients, settings: &config::Kafka) -> Result<(Component, LogViews, LookNow), StartError> {
    let consumer = create(&clients.inquirer(), clients.events("log-watch"))?;
    let topics = Topics::new(clients)?;
    let (views, receiver) = watch::channel(None);
    let (look_now, asked) = mpsc::sync_channel(1);
    let compaction = compaction::Answer::default();
    let watcher = Watcher {
        consumer,
        clients: clients.clone(),
        clock: WallClock::new(),
        topic: settings.topic.clone(),
        epoch: settings.epoch,
        views,
        compaction: compaction.clone(),
        reminded_at: None,
    };
    let (runtime, topic) = (Handle::current(), settings.topic.clone());
    let component = Component::thread("log-watch", move |stop| {
        runtime.spawn(stop.clone().run_until_cancelled_owned(compaction::ask(topics, topic, compaction)));
        watcher.run(&stop, &asked);
    })?;
    Ok((component, receiver, LookNow(look_now)))
}

/// A part of the room could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// librdkafka refused the settings.
    #[error("the kafka client could not be made: {0}")]
    Client(#[from] KafkaError),
    /// The system refused a thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] io::Error),
}

/// Waits for the next look: the interval is over, somebody asks, or it is time to stop.
fn wait(stop: &CancellationToken, asked: &mpsc::Receiver<()>) {
    let next = Instant::now() + INTERVAL;
    while !stop.is_cancelled() && Instant::now() < next && asked.recv_timeout(STOP_INTERVAL).is_err() {}
}

struct Watcher {
    consumer: BaseConsumer<ClientEvents>,
    clients: KafkaClients,
    clock: WallClock,
    topic: String,
    epoch: i32,
    views: watch::Sender<Option<Arc<LogView>>>,
    compaction: compaction::Answer,
    reminded_at: Option<Instant>,
}

impl Watcher {
    /// Inputs: the clock, [`LookNow`], stop.
    fn run(mut self, stop: &CancellationToken, asked: &mpsc::Receiver<()>) {
        while !stop.is_cancelled() {
            if self.clock.was_set_back() {
                self.rebuild();
            }
            // Serves the log lines and errors that librdkafka has queued.
            while self.consumer.poll(Duration::ZERO).is_some() {}
            match self.look() {
                Ok(view) => {
                    self.clients.reach().on_answer(Instant::now());
                    self.reminded_at = None;
                    self.views.send_replace(Some(Arc::new(view)));
                }
                Err(error) if is_silence(&error) => self.clients.reach().on_silence(Instant::now()),
                Err(error) => {
                    self.clients.reach().on_answer(Instant::now());
                    self.complain(&error);
                }
            }
            wait(stop, asked);
        }
    }

    /// A new client takes the place of this one, whose threads may sleep for as long as the clock was set back.
    fn rebuild(&mut self) {
        match create(&self.clients.inquirer(), self.clients.events("log-watch")) {
            Ok(consumer) => retire(std::mem::replace(&mut self.consumer, consumer)),
            Err(error) => tracing::error!(%error, "the kafka client that watches the topic could not be made anew"),
        }
    }

    fn look(&self) -> KafkaResult<LogView> {
        let listed_at = Instant::now();
        let ids = metadata::partitions(&self.consumer, &self.topic, QUERY_TIMEOUT)?;
        let cluster = self.consumer.client().fetch_cluster_id(QUERY_TIMEOUT);
        let cluster = cluster.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))?;
        let log_id = format!("{cluster}/{}/{}", self.topic, self.epoch);

        let last = self.views.borrow().clone().filter(|last| last.log_id == log_id);
        let known = |partition| last.as_ref().and_then(|last| *last.partitions.get(&partition)?);
        let mut partitions: BTreeMap<i32, Option<Watermarks>> = ids.iter().map(|id| (*id, known(*id))).collect();
        if let Ok(watermarks) = self.watermarks(&ids) {
            for (partition, watermarks) in watermarks {
                partitions.insert(partition, Some(watermarks));
            }
        }
        Ok(LogView { log_id, partitions, listed_at, compaction: self.compaction.get() })
    }

    /// Asks the leaders of all partitions; one request to each broker for either end.
    fn watermarks(&self, partitions: &[i32]) -> KafkaResult<Vec<(i32, Watermarks)>> {
        let queried_at = Instant::now();
        let low = self.offsets(partitions, Offset::Beginning)?;
        let high = self.offsets(partitions, Offset::End)?;
        let both = |partition| {
            let (low, high) = (*low.get(&partition)?, *high.get(&partition)?);
            Some((partition, Watermarks { low, high, queried_at }))
        };
        Ok(partitions.iter().filter_map(|partition| both(*partition)).collect())
    }

    fn offsets(&self, partitions: &[i32], end: Offset) -> KafkaResult<BTreeMap<i32, i64>> {
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            // The time of a record, for all but these two: they stand for the ends of the log.
            asked.add_partition_offset(&self.topic, *partition, end)?;
        }
        let answer = self.consumer.offsets_for_times(asked, QUERY_TIMEOUT)?;
        let known = answer.elements().into_iter().filter_map(|element| match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(offset)) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(known.collect())
    }

    fn complain(&mut self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            let missing = self.clients.rights().on_topic(Right::Read, &self.topic);
            return self.clients.shared().on_missing_right(&missing);
        }
        let now = Instant::now();
        if self.reminded_at.is_some_and(|at| now.saturating_duration_since(at) < REMINDER_INTERVAL) {
            return;
        }
        self.reminded_at = Some(now);
        let topic = &self.topic;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            tracing::warn!(kafka.topic = topic, "the topic kafka.topic does not exist; waiting for it");
        } else {
            tracing::warn!(kafka.topic = topic, %error, "the brokers do not tell about the topic; still asking");
        }
    }
}
