//! What a log looks like from outside, at one moment: its name, its partitions, and where each begins and ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Instant,
};

use tokio::sync::watch;

/// Both ends of a partition's log, queried from its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The oldest offset there is.
    pub low: i64,
    /// The offset that the next committed record will have at least.
    pub high: i64,
    /// When the query was sent: what was true before that is visible in it.
    pub queried_at: Instant,
}

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

/// What the brokers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// The topic is compacted, or was when it was asked before: what was taken stays missing.
    On,
    /// It is not.
    Off,
    /// The right to ask is missing, or the brokers do not know the question.
    Unknown,
}

impl Compaction {
    /// What is known once more was answered; `None`: there was no answer.
    pub(crate) fn after(before: Option<Self>, told: Option<bool>) -> Self {
        match (before, told) {
            (Some(Self::On), _) | (_, Some(true)) => Self::On,
            (_, Some(false)) | (Some(Self::Off), None) => Self::Off,
            (_, None) => Self::Unknown,
        }
    }
}

/// The ends at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnds {
    /// The high watermark of each partition whose leader answered.
    pub ends: BTreeMap<i32, i64>,
    /// When the query was sent: what had been acknowledged before that lies below.
    pub queried_at: Instant,
}

/// Reads the latest ends; `None` until some were told.
pub type LogEndViews = watch::Receiver<Option<Arc<LogEnds>>>;

/// Asks for a look at the topic now.
#[derive(Debug, Clone, Default)]
pub struct LookNow(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    is_asked: AtomicBool,
    looks: OnceLock<Thread>,
}

impl LookNow {
    /// One that was asked for and not yet begun serves this request, too.
    pub fn ask(&self) {
        self.0.is_asked.store(true, Ordering::Release);
        if let Some(thread) = self.0.looks.get() {
            thread.unpark();
        }
    }

    /// This thread looks, and is woken for it.
    pub(crate) fn wakes_me(&self) {
        _ = self.0.looks.set(thread::current());
    }

    /// Whether a look was asked for since the last one.
    pub(crate) fn take(&self) -> bool {
        self.0.is_asked.swap(false, Ordering::Acquire)
    }
}
