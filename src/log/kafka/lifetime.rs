//! How clients begin and end.

use std::thread;

use rdkafka::{ClientConfig, ClientContext, config::FromClientConfigAndContext, error::KafkaResult};

/// Makes a client of this kind.
pub(crate) fn create<C, T>(config: &ClientConfig, context: C) -> KafkaResult<T>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    T::from_config_and_context(config, context)
}

/// Drops a client on a thread of its own: closing one may wait for brokers. Does not wait for that.
pub(crate) fn retire(client: impl Send + 'static) {
    let retiring = thread::Builder::new().name("kafka-retire".into()).spawn(move || drop(client));
    if let Err(error) = retiring {
        tracing::warn!(%error, "no thread to close a kafka client on");
    }
}
