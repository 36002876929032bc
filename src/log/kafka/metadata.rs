//! Which partitions a topic has, and who leads them. An answer that lists none is no answer: every topic has at least one, and to take it for
//! a count would mean that the count has changed.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

/// What brokers call the leader of a partition that has none.
pub(crate) const NOBODY: i32 = -1;

/// Asks the brokers. [`UnknownTopicOrPartition`](RDKafkaErrorCode::UnknownTopicOrPartition) is the one error that says
/// that there is no such topic.
pub(crate) fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<Vec<i32>> {
    Ok(leaders(consumer, topic, timeout)?.into_keys().collect())
}

/// The same with the broker that leads each partition, or [`NOBODY`].
pub(crate) fn leaders<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<BTreeMap<i32, i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let listed = metadata.topics().iter().find(|listed| listed.name() == topic);
    let error = listed.and_then(|listed| listed.error()).map(RDKafkaErrorCode::from);
    let partitions = listed.into_iter().flat_map(|listed| listed.partitions());
    let leaders = partitions.map(|partition| (partition.id(), partition.leader())).collect();
    told(error, leaders).map_err(KafkaError::MetadataFetch)
}

fn told(error: Option<RDKafkaErrorCode>, leaders: BTreeMap<i32, i32>) -> Result<BTreeMap<i32, i32>, RDKafkaErrorCode> {
    match error {
        Some(code) => Err(code),
        // What brokers say while a topic is being made or deleted.
        None if leaders.is_empty() => Err(RDKafkaErrorCode::LeaderNotAvailable),
        None => Ok(leaders),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_partitions_is_none() {
        use RDKafkaErrorCode::{LeaderNotAvailable, UnknownTopicOrPartition};
        let leaders = BTreeMap::from([(0, 1), (1, NOBODY)]);
        assert_eq!(told(None, leaders.clone()), Ok(leaders.clone()));
        assert_eq!(told(None, BTreeMap::new()), Err(LeaderNotAvailable));
        assert_eq!(told(Some(UnknownTopicOrPartition), BTreeMap::new()), Err(UnknownTopicOrPartition));
        assert_eq!(told(Some(LeaderNotAvailable), leaders), Err(LeaderNotAvailable));
    }
}
