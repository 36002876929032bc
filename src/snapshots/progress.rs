//! Reads the recorder's progress once a second, for everybody: the fanout stands by it, the hub trims its tail by it,
//! and learns from it what the store refused or called unordered, and what was lost. Also removes markers of erased orders
//! that are too old to matter.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Position, Progress, Stamp},
    hub::SharedHub,
    log::progress::{ProgressView, ProgressViews},
    runtime::Component,
    store::{MAX_DEAD_LETTERS_READ, ProgressReading, RefusedRecord, Store, StoreError},
    telemetry::Reminder,
};

/// How often progress is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long it is remembered of an erased order which versions would bring it back.
const MARKER_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often older markers are removed; by every instance that records, which does no harm.
const MARKER_INTERVAL: Duration = Duration::from_secs(3600);

/// What the task works on.
pub struct ProgressDependencies {
    /// Where progress is stored.
    pub store: Arc<dyn Store>,
    /// The source topic.
    pub topic: String,
    /// What is trimmed.
    pub hub: Arc<SharedHub>,
    /// The reads that still need the tail.
    pub reads: Arc<ReadsInFlight>,
    /// `hub.tail_grace`.
    pub tail_grace: Duration,
    /// Whether this instance writes to the database.
    pub records: bool,
}

/// Starts reading.
pub fn start(dependencies: ProgressDependencies) -> (Component, ProgressViews) {
    let (views, receiver) = watch::channel(None);
    let reader = ProgressReader {
        listener: Listener::new(dependencies.tail_grace),
        dependencies,
        views,
        away: Reminder::default(),
        is_away: false,
    };
    (Component::task("progress", |stop| reader.run(stop)), receiver)
}

struct ProgressReader {
    dependencies: ProgressDependencies,
    views: watch::Sender<Option<Arc<ProgressView>>>,
    listener: Listener,
    away: Reminder,
    is_away: bool,
}

impl ProgressReader {
    /// Inputs: the clock, stop.
    async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut markers = tokio::time::interval(MARKER_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let markers_due = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => false,
                _ = markers.tick(), if self.dependencies.records => true,
            };
            let work = async {
                match markers_due {
                    true => self.forget_markers().await,
                    false => self.read().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn read(&mut self) {
        loop {
            match self.dependencies.store.progress(&self.dependencies.topic, self.listener.after()).await {
                Ok(reading) => {
                    if self.on_reading(reading) {
                        return;
                    }
                }
                Err(error) => return self.on_failure(&error),
            }
        }
    }

    async fn forget_markers(&self) {
        match self.dependencies.store.forget_erased(MARKER_LIFE).await {
            Ok(0) => {}
            Ok(markers) => tracing::debug!(markers, "markers of erased orders removed"),
            // The next hour will do as well.
            Err(error) => tracing::debug!(%error, "markers of erased orders could not be removed"),
        }
    }

    /// Whether that was all there is.
    fn on_reading(&mut self, reading: ProgressReading) -> bool {
        if std::mem::take(&mut self.is_away) {
            self.away = Reminder::default();
            tracing::info!("the database answers again");
        }
        let complete = (reading.dead_letters.len() as i64) < MAX_DEAD_LETTERS_READ;
        let oldest_read = self.dependencies.reads.oldest();
        let view = self.listener.on_reading(&self.dependencies.hub, reading, Instant::now(), oldest_read);
        self.views.send_replace(Some(Arc::new(view)));
        complete
    }

    fn on_failure(&mut self, error: &StoreError) {
        self.is_away = true;
        if self.away.is_due(&error.to_string(), Instant::now()) {
            match error.needs_somebody() {
                true => tracing::error!(%error, "progress cannot be read; still asking"),
                false => tracing::warn!(%error, "progress cannot be read; still asking"),
            }
        }
    }
}

/// What each reading of progress means for the hub. Pure: time is passed in.
#[derive(Debug)]
pub(crate) struct Listener {
    trims: Trims,
    /// The newest dead letter that was heard of; `None` before the first reading, whose own are all below progress.
    after_dead_letter: Option<i64>,
    /// To where the hub was last told to trim.
    trimmed: Vec<Position>,
    /// Where partitions went on behind lost records; `None` before the first reading, whose own nobody was shown.
    lost: Option<Vec<Position>>,
}

impl Listener {
    /// Nothing was read yet. The tail is kept for `grace` behind progress.
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            trims: Trims { grace, readings: VecDeque::new() },
            after_dead_letter: None,
            trimmed: Vec::new(),
            lost: None,
        }
    }

    /// Which dead letters to ask for: those after this number.
    pub(crate) fn after(&self) -> i64 {
        self.after_dead_letter.unwrap_or(i64::MAX)
    }

    /// Tells the hub what was read, as of `read_at`; `oldest_read` is when the oldest read under way began.
    pub(crate) fn on_reading(
        &mut self,
        hub: &SharedHub,
        reading: ProgressReading,
        read_at: Instant,
        oldest_read: Option<Instant>,
    ) -> ProgressView {
        let positions: Vec<Position> = reading.progress.iter().map(Progress::position).collect();
        self.trims.push(read_at, positions.clone());
        let trim = self.trims.take_due(read_at, oldest_read);
        self.after_dead_letter = Some(match reading.dead_letters.last() {
            Some(last) if reading.dead_letters.len() as i64 == MAX_DEAD_LETTERS_READ => last.id,
            _ => reading.last_dead_letter,
        });
        let known = self.lost.get_or_insert_with(|| reading.lost.clone());
        let lost: Vec<Position> = reading.lost.iter().filter(|place| !known.contains(place)).copied().collect();
        known.clone_from(&reading.lost);
        for place in &lost {
            tracing::warn!(
                kafka.partition = place.partition,
                kafka.offset = place.next_offset,
                "records below were lost before they were recorded: every screen is read again"
            );
        }
        let trim = trim.map(|positions| {
            let moved: Vec<Position> = positions.iter().filter(|at| !self.trimmed.contains(at)).copied().collect();
            self.trimmed = positions;
            moved
        });
        hub.step(|hub| {
            lost.iter().for_each(|place| hub.lost(*place));
            for refused in &reading.dead_letters {
                let RefusedRecord { epoch, partition, offset, .. } = *refused;
                hub.refused(Stamp { epoch, partition, offset });
            }
            if let Some(positions) = trim {
                hub.trim(&positions);
            }
            hub.retry_postponed(&positions);
        });
        let ProgressReading { progress, partition_count, halts, .. } = reading;
        ProgressView { progress, partition_count, halts, read_at }
    }
}

/// The snapshot reads under way: the tail keeps what they will need.
#[derive(Debug, Default)]
pub struct ReadsInFlight(Mutex<BTreeMap<(Instant, u64), ()>>);

/// One read under way; over when dropped.
#[derive(Debug)]
pub struct ReadInFlight {
    reads: Arc<ReadsInFlight>,
    key: (Instant, u64),
}

impl ReadsInFlight {
    /// Notes a read before its statement is sent.
    pub fn begin(self: &Arc<Self>, now: Instant) -> ReadInFlight {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let serial = reads.range((now, 0)..).next_back().map_or(0, |((_, serial), ())| serial + 1);
        reads.insert((now, serial), ());
        ReadInFlight { reads: self.clone(), key: (now, serial) }
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        let reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reads.first_key_value().map(|((begun, _), ())| *begun)
    }
}

impl Drop for ReadInFlight {
    fn drop(&mut self) {
        self.reads.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Decides how far the tail is trimmed: to progress as it was a while ago, and never beyond what had been read before
/// the oldest read under way was sent, whose own progress can only be greater.
#[derive(Debug)]
struct Trims {
    grace: Duration,
    readings: VecDeque<(Instant, Vec<Position>)>,
}

impl Trims {
    fn push(&mut self, read_at: Instant, positions: Vec<Position>) {
        self.readings.push_back((read_at, positions));
    }

    fn take_due(&mut self, now: Instant, oldest_read: Option<Instant>) -> Option<Vec<Position>> {
        let mut due = None;
        while let Some((_, positions)) = self.readings.pop_front_if(|(read_at, _)| {
            now.saturating_duration_since(*read_at) >= self.grace && oldest_read.is_none_or(|oldest| *read_at <= oldest)
        }) {
            due = Some(positions);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Epoch;

    fn at(next_offset: i64) -> Vec<Position> {
        vec![Position { partition: 0, epoch: Epoch(1), next_offset }]
    }

    #[test]
    fn the_tail_is_trimmed_to_progress_as_it_was_a_grace_ago() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut trims = Trims { grace: 5 * second, readings: VecDeque::new() };
        for n in 0..8 {
            trims.push(start + n * second, at(i64::from(n)));
        }
        assert_eq!(trims.take_due(start + 4 * second, None), None);
        assert_eq!(trims.take_due(start + 7 * second, None), Some(at(2)));
        assert_eq!(trims.take_due(start + 7 * second, None), None);
    }

    #[test]
    fn a_read_under_way_keeps_what_it_may_need() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut trims = Trims { grace: Duration::ZERO, readings: VecDeque::new() };
        trims.push(start, at(1));
        trims.push(start + 2 * second, at(9));
        assert_eq!(trims.take_due(start + 3 * second, Some(start + second)), Some(at(1)));
        assert_eq!(trims.take_due(start + 9 * second, Some(start + second)), None);
        assert_eq!(trims.take_due(start + 9 * second, None), Some(at(9)));
    }

    #[test]
    fn the_oldest_read_under_way_counts_until_it_is_over() {
        let reads = Arc::new(ReadsInFlight::default());
        assert_eq!(reads.oldest(), None);
        let now = Instant::now();
        let (first, second) = (reads.begin(now), reads.begin(now));
        let begun = reads.oldest();
        drop(second);
        assert_eq!(reads.oldest(), begun);
        drop(first);
        assert_eq!(reads.oldest(), None);
    }
}
