//! Asks about the topic: its partitions and their leaders, and where the logs of these begin and end. A client of its own
//! that belongs to no group. It blocks, so it lives on a thread of who asks; every question has a deadline, and what is
//! not answered is told, thinned out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    KafkaClients,
    lifetime::create,
    metadata::{self, NOBODY},
    reader::Reader,
    repeats::Repeats,
    rights::Right,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

/// How long one answer may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the same trouble is mentioned.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Where in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Its oldest offset.
    Beginning,
    /// The first offset of the oldest open transaction, or else the end.
    StableEnd,
    /// The offset that the next record will have.
    End,
}

impl Place {
    /// How it is asked for, as a time of a record that stands for it. Which end is told depends on the client.
    fn offset(self) -> Offset {
        match self {
            Self::Beginning => Offset::Beginning,
            Self::StableEnd | Self::End => Offset::End,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Beginning => "where the log begins",
            Self::StableEnd => "where what may be read of the log ends",
            Self::End => "where the log ends",
        }
    }
}

/// Partitions of which nothing was heard, by why.
type Failures = BTreeMap<String, Vec<i32>>;

/// The client and what it was told.
pub(crate) struct Inquirer {
    reader: Reader,
    clients: KafkaClients,
    config: ClientConfig,
    name: &'static str,
    topic: String,
    /// Some leader did not answer when all were asked at once.
    asks_each: bool,
    /// What was not answered by all when it was asked last.
    unanswered: BTreeSet<Place>,
    told: Repeats,
}

impl Inquirer {
    /// Connects to nothing yet.
    pub(crate) fn new(
        clients: KafkaClients,
        config: ClientConfig,
        name: &'static str,
        topic: &str,
    ) -> KafkaResult<Self> {
        Ok(Self {
            reader: Reader::new(name, topic, create(&config, clients.events(name))?),
            clients,
            config,
            name,
            topic: topic.to_owned(),
            asks_each: false,
            unanswered: BTreeSet::new(),
            told: Repeats::every(REMINDER_INTERVAL),
        })
    }

    /// To be called now and then, on the thread that asks.
    pub(crate) fn serve(&mut self) {
        if let Some(why) = self.reader.look_after() {
            let made = create(&self.config, self.clients.events(self.name));
            self.reader.replace(why, made);
        }
        self.reader.serve();
    }

    /// The topic's partitions, each with its leader.
    pub(crate) fn leaders(&self) -> KafkaResult<BTreeMap<i32, i32>> {
        metadata::leaders(self.reader.consumer(), &self.topic, QUERY_TIMEOUT)
    }

    /// The name of the cluster. It does not change, so it is asked for once.
    pub(crate) fn cluster(&self) -> KafkaResult<String> {
        let cluster = self.reader.consumer().client().fetch_cluster_id(QUERY_TIMEOUT);
        cluster.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))
    }

    /// Where this place lies in each partition whose leader tells. Leaders that move do not answer for a moment: what is not
    /// answered twice in a row is told.
    pub(crate) fn offsets(&mut self, leaders: &BTreeMap<i32, i32>, place: Place) -> BTreeMap<i32, i64> {
        let mut failures = BTreeMap::new();
        let known = self.ask_all(leaders, place, &mut failures);
        let again = match failures.is_empty() {
            true => self.unanswered.remove(&place),
            false => !self.unanswered.insert(place),
        };
        for (why, partitions) in failures.into_iter().filter(|_| again) {
            self.tell(place, &partitions, &why);
        }
        known
    }

    /// Sends one request to each leader, all at once. Where one of them does not answer the client tells nothing of any, so
    /// each is asked by itself until all answer again.
    fn ask_all(&mut self, leaders: &BTreeMap<i32, i32>, place: Place, failures: &mut Failures) -> BTreeMap<i32, i64> {
        let mut by_leader = BTreeMap::<i32, Vec<i32>>::new();
        for (partition, leader) in leaders {
            by_leader.entry(*leader).or_default().push(*partition);
        }
        if let Some(orphans) = by_leader.remove(&NOBODY) {
            failures.insert("they have no leader".to_owned(), orphans);
        }
        let mut known = BTreeMap::new();
        if !self.asks_each && by_leader.len() > 1 {
            let all: Vec<i32> = by_leader.values().flatten().copied().collect();
            let mut unanswered = Failures::new();
            self.ask(&all, place, &mut known, &mut unanswered);
            if !known.is_empty() {
                failures.extend(unanswered);
                return known;
            }
        }
        let mut silent = false;
        for partitions in by_leader.values() {
            let answered = known.len();
            self.ask(partitions, place, &mut known, failures);
            silent |= known.len() == answered;
        }
        self.asks_each = silent;
        known
    }

    /// Asks for some partitions at once.
    fn ask(&self, partitions: &[i32], place: Place, known: &mut BTreeMap<i32, i64>, failures: &mut Failures) {
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        let added = partitions
            .iter()
            .try_for_each(|partition| asked.add_partition_offset(&self.topic, *partition, place.offset()));
        let answer = match added.and_then(|()| self.reader.consumer().offsets_for_times(asked, QUERY_TIMEOUT)) {
            Ok(answer) => answer,
            Err(error) => return failures.entry(error.to_string()).or_default().extend(partitions),
        };
        for element in answer.elements() {
            let why = match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(offset)) => {
                    known.insert(element.partition(), offset);
                    continue;
                }
                (Ok(()), _) => "no answer".to_owned(),
                (Err(error), _) => error.to_string(),
            };
            failures.entry(why).or_default().push(element.partition());
        }
    }

    /// Says which partitions nothing was heard of, and why: at once, and then once a minute.
    fn tell(&mut self, place: Place, partitions: &[i32], why: &str) {
        let what = place.words();
        if self.told.admit(&format!("{what}: {why}"), Instant::now()).is_some() {
            tracing::warn!(
                kafka.client = self.name,
                kafka.topic = self.topic,
                kafka.partitions = ?partitions,
                error = why,
                "the brokers do not tell {what}; still asking"
            );
        }
    }

    /// Says that nothing is known of the topic.
    pub(crate) fn complain(&mut self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            let missing = self.clients.rights().on_topic(Right::Read, &self.topic);
            return self.clients.shared().on_missing_right(&missing);
        }
        if self.told.admit(&error.to_string(), Instant::now()).is_none() {
            return;
        }
        let topic = &self.topic;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            tracing::warn!(kafka.topic = topic, "the topic kafka.topic does not exist; waiting for it");
        } else {
            tracing::warn!(
                kafka.client = self.name,
                kafka.topic = topic,
                %error,
                "the brokers do not tell about the topic; still asking"
            );
        }
    }
}
