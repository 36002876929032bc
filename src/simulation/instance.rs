//! One instance: its hub, its pipelines and its sessions, each driven step by step where a thread or a task would run.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    broker::Consumer,
    recorder::Recorder,
    rules::Switches,
    seats::Seat,
    snapshots::Flight,
    topic::{BEGINNING, Topic},
};
use crate::{
    domain::Timestamp,
    fanout::{cursors::Cursors, state::FanoutState},
    hub::{Hub, SharedHub},
    log::{
        Policies,
        freshness::{self, Proofs},
        hand_over::{self, Giver},
        progress::ProgressView,
        view::{Compaction, LogEnds, LogView, Watermarks},
    },
    protocol::Staleness,
    session::Now,
    snapshots::{ReadsInFlight, progress::Listener},
};

pub(super) const STALE_AFTER: u64 = 10_000;

/// One running instance.
pub(super) struct Instance {
    /// Counts the starts of all instances: what was sent by an earlier one is not heard by this.
    pub(super) life: u64,
    pub(super) hub: SharedHub,
    /// What the log looks like, and what an answer on its way will say.
    pub(super) view: Option<Arc<LogView>>,
    pub(super) coming: Option<(u64, LogView)>,
    pub(super) next_look: u64,
    /// Where the log ends, in an answer on its way.
    pub(super) coming_ends: Option<(u64, LogEnds)>,
    pub(super) next_ends: u64,
    pub(super) fanout_state: FanoutState,
    pub(super) fanout: Consumer,
    pub(super) giver: Giver,
    /// Views the fanout, or the recorder, has not acted on.
    pub(super) ends_for_fanout: Option<Arc<LogEnds>>,
    pub(super) progress_for_fanout: bool,
    pub(super) log_for_fanout: bool,
    pub(super) news_for_recorder: bool,
    pub(super) ready: bool,
    pub(super) staleness: Staleness,
    pub(super) listener: Listener,
    pub(super) progress: Option<Arc<ProgressView>>,
    pub(super) next_reading: u64,
    pub(super) reading: bool,
    pub(super) next_second: u64,
    pub(super) recorder: Recorder,
    pub(super) flights: Vec<Flight>,
    pub(super) reads: Arc<ReadsInFlight>,
    pub(super) reads_not_before: u64,
    pub(super) seats: BTreeMap<u64, Seat>,
    /// Stopped in its tracks until then.
    pub(super) paused_until: u64,
    /// How wrong its wall clock is.
    pub(super) clock_shift: i64,
    /// The network to the brokers is cut until then.
    pub(super) no_broker_until: u64,
    /// The network to the database is cut until then.
    pub(super) no_database_until: u64,
}

impl Instance {
    pub(super) fn new(life: u64, now: u64, policies: Policies, tail_bytes: usize, switches: &Switches) -> Self {
        let mut proofs = Proofs::new(Duration::from_millis(STALE_AFTER));
        proofs.rules = switches.log;
        let (giver, taker) = hand_over::channel();
        let wall = Timestamp::from_millis(BEGINNING + now as i64).unwrap();
        Self {
            life,
            hub: SharedHub::new(Hub::new(tail_bytes).without(switches.hub)),
            view: None,
            coming: None,
            next_look: now,
            coming_ends: None,
            next_ends: now,
            fanout_state: FanoutState::new(Cursors::new(tail_bytes), proofs, policies),
            fanout: Consumer::default(),
            giver,
            ends_for_fanout: None,
            progress_for_fanout: false,
            log_for_fanout: false,
            news_for_recorder: false,
            ready: false,
            staleness: freshness::unproved(wall),
            listener: Listener::new(Duration::from_secs(if life.is_multiple_of(2) { 5 } else { 0 })),
            progress: None,
            next_reading: now,
            reading: false,
            next_second: now + 1_000,
            recorder: Recorder::new(policies, switches, taker),
            flights: Vec::new(),
            reads: Arc::default(),
            reads_not_before: 0,
            seats: BTreeMap::new(),
            paused_until: 0,
            clock_shift: 0,
            no_broker_until: 0,
            no_database_until: 0,
        }
    }

    /// Asks what the log looks like, or hears the answer. `lost`: a partition whose leader does not answer.
    pub(super) fn watch_log(&mut self, topic: &Topic, clock: Clock, broker: bool, delay: u64, lost: Option<i32>) {
        if let Some((_, view)) = self.coming.take_if(|(at, _)| *at <= clock.now) {
            self.view = Some(Arc::new(view));
            (self.log_for_fanout, self.news_for_recorder) = (true, true);
        }
        if clock.now < self.next_look || !broker || self.coming.is_some() {
            return;
        }
        self.next_look = clock.now + 1_000;
        let queried_at = clock.instant();
        let partitions = topic.partitions.iter().enumerate().map(|(partition, log)| {
            let partition = partition as i32;
            let known = self.view.as_ref().and_then(|view| *view.partitions.get(&partition)?);
            let asked = Some(Watermarks { low: log.low, high: log.stable_end(), queried_at });
            (partition, if lost == Some(partition) { known } else { asked })
        });
        let view = LogView {
            log_id: super::topic::LOG_ID.to_owned(),
            partitions: partitions.collect(),
            listed_at: queried_at,
            compaction: Some(Compaction::Off),
        };
        self.coming = Some((clock.now + delay, view));
    }

    /// Asks where the log ends, or hears the answer.
    pub(super) fn watch_ends(&mut self, topic: &Topic, clock: Clock, broker: bool, delay: u64, lost: Option<i32>) {
        if let Some((_, ends)) = self.coming_ends.take_if(|(at, _)| *at <= clock.now) {
            self.ends_for_fanout = Some(Arc::new(ends));
        }
        if clock.now < self.next_ends || !broker || self.coming_ends.is_some() {
            return;
        }
        self.next_ends = clock.now + 1_000;
        let ends = (0..).zip(&topic.partitions).filter(|(partition, _)| lost != Some(*partition));
        let ends = ends.map(|(partition, log)| (partition, log.high())).collect();
        self.coming_ends = Some((clock.now + delay, LogEnds { ends, queried_at: clock.instant() }));
    }
}

/// What time it is: the same instant for all, and a wall clock that may be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) base: Instant,
    pub(super) now: u64,
    pub(super) shift: i64,
}

impl Clock {
    pub(super) fn instant(self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    pub(super) fn wall(self) -> Timestamp {
        Timestamp::from_millis(BEGINNING + self.now as i64 + self.shift).unwrap()
    }

    pub(super) fn both(self) -> Now {
        Now { instant: self.instant(), wall: self.wall() }
    }
}
