//! Reads the control topic from its beginning and does what it says. An OS thread, because a Kafka client blocks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    ControlDependencies, ControlMessage, SharedFold,
    fold::{ControlRecord, Meaning},
};
use crate::{
    auth::Revocation,
    domain::Timestamp,
    hub::SessionSelector,
    log::kafka::{
        KafkaError,
        reach::is_silence,
        reader::{self, From, Polled, TopicError, Watchdog},
        record::Record,
        rights::{MissingRight, Right},
        topics::Topics,
    },
    protocol::{CloseCause, ServerMessage},
    runtime::pause,
};

const PARTITION: i32 = 0;
/// How long a record is waited for. What comes, and being asked to stop, ends it.
const POLL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is asked whether records are missing.
const WATCHDOG_INTERVAL: Duration = Duration::from_secs(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a topic is looked for that is not there, or not as it should be.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is asked how the topic is cleaned up, where the brokers did not tell.
const POLICY_INTERVAL: Duration = Duration::from_secs(60);

/// Why the topic cannot be read yet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("the topic kafka.control_topic does not exist: run `ordercast migrate`")]
    Missing,
    #[error("the brokers do not tell about the topic kafka.control_topic: {0}")]
    Silent(KafkaError),
    #[error("{0}")]
    Forbidden(MissingRight),
    #[error("the topic kafka.control_topic has {0} partitions, and must have one: what it says has an order")]
    Partitions(usize),
    #[error(
        "the topic kafka.control_topic has cleanup.policy={0}, and must have compact alone: it would forget revocations"
    )]
    Policy(String),
}

/// How the topic is cleaned up, as far as the brokers tell.
#[derive(Debug, PartialEq, Eq)]
enum Policy {
    Compact,
    /// Whoever must not ask has to make sure himself. It is asked again: a right may come, and what it shows is then told.
    Untold,
}

impl Policy {
    fn of(told: Option<String>) -> Result<Self, Unfit> {
        match told {
            None => Ok(Self::Untold),
            Some(policy) if policy.trim() == "compact" => Ok(Self::Compact),
            Some(policy) => Err(Unfit::Policy(policy)),
        }
    }
}

/// Asks until the brokers tell.
async fn keep_asking(topics: Arc<Topics>, topic: String) {
    loop {
        tokio::time::sleep(POLICY_INTERVAL).await;
        match Policy::of(topics.cleanup_policy(&topic).await) {
            Ok(Policy::Untold) => {}
            Ok(Policy::Compact) => return,
            Err(unfit) => return tracing::error!(kafka.topic = topic, "{unfit}"),
        }
    }
}

pub(super) struct Reader {
    reader: reader::Reader,
    topics: Arc<Topics>,
    dependencies: ControlDependencies,
    fold: Arc<SharedFold>,
    caught_up: watch::Sender<bool>,
    watchdog: Watchdog,
    looked_at: Instant,
}

impl Reader {
    pub(super) fn new(
        reader: reader::Reader,
        topics: Topics,
        dependencies: ControlDependencies,
        fold: Arc<SharedFold>,
        caught_up: watch::Sender<bool>,
    ) -> Self {
        let topics = Arc::new(topics);
        let watchdog = Watchdog::new(WATCHDOG_INTERVAL);
        Self { reader, topics, dependencies, fold, caught_up, watchdog, looked_at: Instant::now() }
    }

    /// Inputs: records and ends of the partition from the consumer, the clock, stop.
    pub(super) fn run(mut self, stop: &CancellationToken, runtime: &Handle) {
        let Some(policy) = self.wait_until_fit(stop, runtime) else { return };
        if policy == Policy::Untold {
            let asking = keep_asking(self.topics.clone(), self.dependencies.topic.clone());
            runtime.spawn(stop.clone().run_until_cancelled_owned(asking));
        }
        self.reader.begin();
        self.assign(From::Beginning);
        while !stop.is_cancelled() {
            self.step();
        }
    }

    /// Takes what comes next, if it comes soon.
    fn step(&mut self) {
        match self.reader.poll(POLL_TIMEOUT) {
            Some(Polled::Record(record)) => {
                self.watchdog.reset();
                self.dependencies.take(&self.fold, &record);
            }
            Some(Polled::End(_)) => self.on_end(),
            // What matters of it, the watchdog sees.
            Some(Polled::OutOfRange(_) | Polled::Refused(_) | Polled::Error) | None => {}
        }
        if self.looked_at.elapsed() >= WATCHDOG_INTERVAL {
            self.looked_at = Instant::now();
            self.watch();
        }
    }

    /// Waits for a topic that keeps what it is told. Says what it waits for, once per reason: until then this instance is
    /// not ready, and somebody can help. `None`: was asked to stop.
    fn wait_until_fit(&self, stop: &CancellationToken, runtime: &Handle) -> Option<Policy> {
        let mut told = None;
        while !stop.is_cancelled() {
            self.reader.serve();
            match self.check(runtime) {
                Ok(policy) => return Some(policy),
                // That the brokers do not answer is said once for all clients.
                Err(Unfit::Silent(error)) if is_silence(&error) => {}
                Err(unfit) if told.as_ref() != Some(&unfit) => {
                    let topic = &self.dependencies.topic;
                    tracing::error!(kafka.topic = topic, "{unfit}; not ready before that");
                    told = Some(unfit);
                }
                Err(_) => {}
            }
            pause(stop, Instant::now() + WAIT_INTERVAL);
        }
        None
    }

    fn check(&self, runtime: &Handle) -> Result<Policy, Unfit> {
        let topic = &self.dependencies.topic;
        let rights = self.dependencies.clients.rights();
        let partitions = self.reader.partitions(QUERY_TIMEOUT).map_err(|error| match error {
            TopicError::Missing => Unfit::Missing,
            TopicError::Forbidden(_) => Unfit::Forbidden(rights.on_topic(Right::Read, topic)),
            TopicError::Other(error) => Unfit::Silent(error),
        })?;
        if partitions.len() != 1 {
            return Err(Unfit::Partitions(partitions.len()));
        }
        let policy = Policy::of(runtime.block_on(self.topics.cleanup_policy(topic)))?;
        if policy == Policy::Untold {
            let missing = rights.on_topic(Right::DescribeConfigs, topic);
            tracing::info!("the brokers do not tell whether the control topic is compacted: perhaps {missing}");
        }
        Ok(policy)
    }

    fn assign(&self, place: From) {
        if let Err(error) = self.reader.assign([(PARTITION, place)]) {
            // The watchdog tries again.
            tracing::error!(%error, "the control topic could not be assigned");
        }
    }

    fn on_end(&mut self) {
        self.watchdog.reset();
        if self.fold.step(|fold| fold.on_end()) {
            tracing::info!(kafka.topic = self.dependencies.topic, "the control topic was read");
            self.caught_up.send_replace(true);
        }
    }

    /// Looks whether records are known of and do not come.
    fn watch(&mut self) {
        if let Some(why) = self.reader.look_after() {
            return self.rebuild(why);
        }
        let Ok((_, end)) = self.reader.watermarks(PARTITION, QUERY_TIMEOUT) else { return };
        let next = self.fold.step(|fold| fold.next_offset()).max(self.position().unwrap_or(0));
        let behind = next < end || !*self.caught_up.borrow();
        if self.watchdog.barks(behind, Instant::now()) {
            self.rebuild("records do not come from the control topic although they are there");
        }
    }

    /// A new client takes the place of this one.
    fn rebuild(&mut self, why: &str) {
        self.reader.replace(why, self.dependencies.clients.control_client());
        self.watchdog.reset();
        self.assign(match self.fold.step(|fold| fold.next_offset()) {
            0 => From::Beginning,
            next => From::Offset(next),
        });
    }

    fn position(&self) -> Option<i64> {
        self.reader.positions().into_iter().find(|(partition, _)| *partition == PARTITION).map(|(_, offset)| offset)
    }
}

impl ControlDependencies {
    fn take(&self, fold: &SharedFold, read: &Record<'_>) {
        let now = Timestamp::now();
        let sent_at = read.timestamp().unwrap_or(now);
        let key = read.key().map(String::from_utf8_lossy).unwrap_or_default();
        let value = read.value();
        let record = ControlRecord { offset: read.offset(), sent_at, key: &key, value };
        match fold.step(|fold| fold.on_record(&record, now)) {
            Meaning::Act(message) => {
                self.metrics.record(message.kind());
                self.act(&key, message, now);
            }
            Meaning::Erase => {
                self.metrics.record("erasure");
                self.revocations.write(|revocations| revocations.remove(&key));
            }
            Meaning::Past(kind) => self.metrics.record(kind),
            Meaning::Unreadable => {
                self.metrics.record("unreadable");
                tracing::warn!(
                    kafka.offset = record.offset,
                    "a record of the control topic cannot be read; passed over"
                );
            }
        }
        self.metrics.revocations.set(self.revocations.read(|revocations| revocations.len()) as i64);
    }

    fn act(&self, key: &str, message: ControlMessage, now: Timestamp) {
        match message {
            ControlMessage::Revocation(revocation) => {
                // The list first: who joins between the two steps is checked against it after having joined.
                self.revocations.write(|revocations| revocations.insert(key, revocation.clone()));
                let whom = match &revocation {
                    Revocation::Token { jti, .. } => SessionSelector::Token(jti),
                    Revocation::User { user_id, .. } => SessionSelector::User(user_id),
                };
                let covers = |issued_at| self.revocations.covers(&revocation, issued_at, now);
                let ended =
                    self.hub.step(|hub| hub.close(whom, CloseCause::Revoked, |identity| covers(identity.issued_at)));
                match ended {
                    0 => tracing::debug!("tokens were revoked that no session here uses"),
                    _ => tracing::info!(sessions = ended, "sessions ended because their tokens were revoked"),
                }
            }
            ControlMessage::Kick(kick) => {
                let ended = self.hub.step(|hub| hub.close(kick.whom(), CloseCause::Disconnected, |_| true));
                tracing::info!(sessions = ended, "sessions were ended by an operator");
            }
            ControlMessage::Announcement(announcement) => {
                let (content, timestamp) = (announcement.content.as_str(), announcement.timestamp);
                let frame = ServerMessage::Announcement { content, timestamp }.message();
                let whom = announcement.user_id.as_ref().map_or(SessionSelector::All, SessionSelector::User);
                let told = self.hub.step(|hub| hub.announce(whom, &frame));
                tracing::info!(sessions = told, "an announcement was made");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_not_told_is_neither_the_right_nor_a_wrong_one() {
        assert_eq!(Policy::of(None), Ok(Policy::Untold));
        assert_eq!(Policy::of(Some("compact".into())), Ok(Policy::Compact));
        for wrong in ["delete", "compact,delete", ""] {
            assert_eq!(Policy::of(Some(wrong.into())), Err(Unfit::Policy(wrong.into())));
        }
    }
}
