//! Watches the source topic from outside: its log's name, its partitions and their watermarks, queried from the leaders.
//!
//! A thread and a client of its own, so that a slow broker holds up nobody who reads. Fanout and recorder read the
//! latest view; nothing here knows positions or progress. Ends are the stable ones: what lies beyond may not be read yet.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::{KafkaError, KafkaResult};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    KafkaClients, compaction,
    inquirer::{Inquirer, Place},
    reach::is_silence,
    topics::Topics,
};
use crate::{
    config,
    log::view::{LogView, LogViews, LookNow, Watermarks},
    runtime::{Component, pause},
};

/// How often the topic is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts watching.
pub fn start(clients: &KafkaClients, settings: &config::Kafka) -> Result<(Component, LogViews, LookNow), StartError> {
    let inquirer = Inquirer::new(clients.clone(), clients.inquirer(), "log-watch", &settings.topic)?;
    let topics = Topics::new(clients);
    let (views, receiver) = watch::channel(None);
    let look_now = LookNow::default();
    let compaction = compaction::Answer::default();
    let watcher = Watcher {
        inquirer,
        clients: clients.clone(),
        topic: settings.topic.clone(),
        epoch: settings.epoch,
        views,
        compaction: compaction.clone(),
        // What is stale is told by looks, which have to be newer than that.
        interval: INTERVAL.min(settings.stale_after / 4),
    };
    let (runtime, topic, asked) = (Handle::current(), settings.topic.clone(), look_now.clone());
    let component = Component::thread("log-watch", move |stop| {
        runtime.spawn(stop.clone().run_until_cancelled_owned(compaction::ask(topics, topic, compaction)));
        watcher.run(&stop, &asked);
    })?;
    Ok((component, receiver, look_now))
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

/// Waits for the next look: it is due, somebody asks, or it is time to stop.
fn wait(stop: &CancellationToken, asked: &LookNow, next: Instant) {
    while !stop.is_cancelled() && !asked.take() && Instant::now() < next {
        pause(stop, next);
    }
}

struct Watcher {
    inquirer: Inquirer,
    clients: KafkaClients,
    topic: String,
    epoch: i32,
    views: watch::Sender<Option<Arc<LogView>>>,
    compaction: compaction::Answer,
    interval: Duration,
}

impl Watcher {
    /// Inputs: the clock, [`LookNow`], stop.
    fn run(mut self, stop: &CancellationToken, asked: &LookNow) {
        asked.wakes_me();
        while !stop.is_cancelled() {
            let begun = Instant::now();
            self.inquirer.serve();
            match self.look() {
                Ok(view) => {
                    self.clients.reach().on_answer(Instant::now());
                    self.views.send_replace(Some(Arc::new(view)));
                }
                Err(error) if is_silence(&error) => self.clients.reach().on_silence(Instant::now()),
                Err(error) => {
                    self.clients.reach().on_answer(Instant::now());
                    self.inquirer.complain(&error);
                }
            }
            // Of slow brokers the next answer is asked for at once.
            wait(stop, asked, begun + self.interval);
        }
    }

    fn look(&mut self) -> KafkaResult<LogView> {
        let listed_at = Instant::now();
        let leaders = self.inquirer.leaders()?;
        let log_id = format!("{}/{}/{}", self.inquirer.cluster()?, self.topic, self.epoch);

        let last = self.views.borrow().clone().filter(|last| last.log_id == log_id);
        let known = |partition| last.as_ref().and_then(|last| *last.partitions.get(&partition)?);
        let queried_at = Instant::now();
        let low = self.inquirer.offsets(&leaders, Place::Beginning);
        let high = self.inquirer.offsets(&leaders, Place::StableEnd);
        let told = |partition| {
            let (low, high) = (*low.get(&partition)?, *high.get(&partition)?);
            Some(Watermarks { low, high, queried_at })
        };
        let partitions = leaders.keys().map(|partition| (*partition, told(*partition).or_else(|| known(*partition))));
        let partitions = partitions.collect();
        Ok(LogView { log_id, partitions, listed_at, compaction: self.compaction.get() })
    }
}
