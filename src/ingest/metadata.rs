//! Which partitions a topic has. An answer that lists none is no answer: every topic has at least one, and to take it for
//! a count would mean that the count has changed.

use std::time::Duration;

use rdkafka::{
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

/// Asks the brokers. [`UnknownTopicOrPartition`](RDKafkaErrorCode::UnknownTopicOrPartition) is the one error that says
/// that there is no such topic.
pub(super) fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let listed = metadata.topics().iter().find(|listed| listed.name() == topic);
    let error = listed.and_then(|listed| listed.error()).map(RDKafkaErrorCode::from);
    let ids = listed.into_iter().flat_map(|listed| listed.partitions()).map(|partition| partition.id()).collect();
    told(error, ids).map_err(KafkaError::MetadataFetch)
}

fn told(error: Option<RDKafkaErrorCode>, ids: Vec<i32>) -> Result<Vec<i32>, RDKafkaErrorCode> {
    match error {
        Some(code) => Err(code),
        // What brokers say while a topic is being made or deleted.
        None if ids.is_empty() => Err(RDKafkaErrorCode::LeaderNotAvailable),
        None => Ok(ids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_partitions_is_none() {
        use RDKafkaErrorCode::{LeaderNotAvailable, UnknownTopicOrPartition};
        assert_eq!(told(None, vec![0, 1]), Ok(vec![0, 1]));
        assert_eq!(told(None, Vec::new()), Err(LeaderNotAvailable));
        assert_eq!(told(Some(UnknownTopicOrPartition), Vec::new()), Err(UnknownTopicOrPartition));
        assert_eq!(told(Some(LeaderNotAvailable), vec![0]), Err(LeaderNotAvailable));
    }
}
