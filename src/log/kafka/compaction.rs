//! Is the topic compacted, so that single records may be missing from the middle of its log? The brokers are asked, and
//! may not tell: that is an answer of its own, which is no *no*. It is asked again from time to time, because rights and
//! settings change.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::topics::Topics;
use crate::log::view::Compaction;

/// How often it is asked in a row before the brokers count as telling nothing.
const ATTEMPTS: usize = 3;
/// How soon it is asked again as long as nothing is known.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How soon afterwards, whatever was answered.
const INTERVAL: Duration = Duration::from_secs(60);

/// The answer so far, for who asks and who reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer(Arc<Mutex<Option<Compaction>>>);

impl Answer {
    /// `None`: the first answer is still awaited.
    pub(crate) fn get(&self) -> Option<Compaction> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more in. Returns what is known, if that is news.
    fn take(&self, told: Option<bool>) -> Option<Compaction> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *known;
        *known = Some(Compaction::after(before, told));
        known.filter(|_| *known != before)
    }
}

/// Asks for ever, off the thread that watches the log: where it is not allowed it takes long to fail.
pub(crate) async fn ask(topics: Topics, topic: String, answer: Answer) {
    let mut attempts = 0;
    loop {
        let told = topics.is_compacted(&topic).await;
        attempts += 1;
        let is_over = told.is_some() || attempts >= ATTEMPTS;
        match is_over.then(|| answer.take(told)).flatten() {
            Some(Compaction::On) => tracing::warn!(
                kafka.topic = topic,
                "the topic is compacted: of an order's records the last stays, which may be a late one"
            ),
            Some(Compaction::Unknown) => tracing::info!(
                kafka.topic = topic,
                "the brokers do not tell whether the topic is compacted: that its last recorded record is missing proves \
                 nothing; perhaps {}",
                topics.lacks_describe_configs(&topic)
            ),
            Some(Compaction::Off) | None => {}
        }
        tokio::time::sleep(if is_over { INTERVAL } else { RETRY_INTERVAL }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_an_answer_of_its_own_and_what_was_told_once_stays() {
        use Compaction::{Off, On, Unknown};
        let table = [
            (None, None, Unknown),
            (None, Some(false), Off),
            (None, Some(true), On),
            (Some(Unknown), None, Unknown),
            (Some(Unknown), Some(false), Off),
            (Some(Unknown), Some(true), On),
            (Some(Off), None, Off),
            (Some(Off), Some(false), Off),
            (Some(Off), Some(true), On),
            (Some(On), None, On),
            // Compaction that was switched off gives nothing back.
            (Some(On), Some(false), On),
            (Some(On), Some(true), On),
        ];
        for (before, told, known) in table {
            assert_eq!(Compaction::after(before, told), known, "{before:?}, {told:?}");
        }
    }

    #[test]
    fn what_is_known_is_news_once() {
        let answer = Answer::default();
        assert_eq!(answer.get(), None);
        assert_eq!(answer.take(Some(false)), Some(Compaction::Off));
        assert_eq!((answer.take(None), answer.take(Some(false))), (None, None));
        assert_eq!(answer.take(Some(true)), Some(Compaction::On));
        assert_eq!(answer.get(), Some(Compaction::On));
    }
}
