//! One run: log, recorder, fanout, hub, sessions and clients, moved by chance, one atomic step at a time.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IteratorRandom};

use super::{
    client::{Flaws, Previous},
    database::Database,
    flights::Flight,
    mix::{Feature, Mix},
    seats::Seat,
    upstream::{Log, Upstream},
};
use crate::{
    domain::{Position, Stamp, Verdict},
    hub::{Hub, SharedHub, rules::HubRule},
};

pub(super) struct World {
    pub(super) mix: Mix,
    pub(super) rng: SmallRng,
    pub(super) upstream: Upstream,
    pub(super) database: Database,
    pub(super) hub: SharedHub,
    pub(super) seats: Vec<Seat>,
    pub(super) flights: Vec<Flight>,
    pub(super) flaws: Flaws,
    /// Where the fanout is.
    fanout: Vec<Position>,
    backup: Option<Database>,
    /// What the store refused and the hub has not heard of.
    pub(super) refused: Vec<Stamp>,
    pub(super) previous: Previous,
    pub(super) mailbox_bytes: usize,
    /// Orders in a list at most.
    pub(super) max_orders: Option<usize>,
    pub(super) off: Option<HubRule>,
    pub(super) trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, mix: Mix, off: Option<HubRule>, trace: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let partitions = 2;
        let tail_bytes =
            if mix.has(Feature::Cap) { [1_500, 3_000, usize::MAX][rng.random_range(0..3)] } else { usize::MAX };
        let small = mix.has(Feature::SmallMailbox);
        let mailbox_bytes = if small { [300, 700, 65_536][rng.random_range(0..3)] } else { 65_536 };
        let max_orders = mix.has(Feature::Bound).then(|| rng.random_range(1..=3));
        let hub = Hub::new(tail_bytes).without(off);
        let mut world = Self {
            upstream: Upstream::new(&mix, partitions),
            database: Database::default(),
            hub: SharedHub::new(hub),
            off,
            seats: Vec::new(),
            flights: Vec::new(),
            flaws: Vec::new(),
            fanout: Vec::new(),
            backup: None,
            refused: Vec::new(),
            previous: Previous::new(),
            mailbox_bytes,
            max_orders,
            trace,
            mix,
            rng,
        };
        let begun = if world.mix.has(Feature::Grow) { partitions - 1 } else { partitions };
        for partition in 0..begun {
            world.fanout_finds(partition);
            world.recorder_finds(partition);
        }
        world
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", what());
        }
    }

    /// One step of the run.
    pub(super) fn step(&mut self) {
        let partition = self.rng.random_range(0..self.upstream.logs.len());
        match self.rng.random::<f64>() {
            x if x < 0.30 => {
                let event = self.upstream.produce(&self.mix, &mut self.rng);
                if self.trace {
                    println!("produced {event:?}");
                }
            }
            x if x < 0.52 => self.fan(partition),
            x if x < 0.66 => {
                let most = self.rng.random_range(1..=4);
                self.record(partition, most);
                if !self.refused.is_empty() && self.rng.random_bool(0.5) {
                    self.hear_refused();
                }
                self.on_progress();
            }
            x if x < 0.70 => self.join(),
            x if x < 0.79 => self.read_socket(),
            x if x < 0.81 => self.leave(),
            x if x < 0.82 => self.speak(),
            x if x < 0.85 => self.something_happens(partition),
            _ => self.read(),
        }
    }

    // ── the log ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn start_of(&self, partition: usize) -> Position {
        Position { partition: partition as i32, epoch: self.upstream.logs[partition].epoch, next_offset: 0 }
    }

    fn fanout_finds(&mut self, partition: usize) {
        let start = self.start_of(partition);
        self.fanout.push(start);
        self.hub.step(|hub| hub.begin(start));
    }

    fn recorder_finds(&mut self, partition: usize) {
        self.database.begin(self.start_of(partition));
    }

    fn fan(&mut self, partition: usize) {
        let Some(at) = self.fanout.get_mut(partition) else { return };
        let log = &self.upstream.logs[partition];
        if at.epoch != log.epoch {
            (at.epoch, at.next_offset) = (log.epoch, 0);
            let at = *at;
            self.hub.step(|hub| hub.gap(at));
            self.say(|| format!("fanout goes on in the new log of {partition}"));
        } else if let Some(event) = log.records.get(at.next_offset as usize) {
            at.next_offset += 1;
            let verdict = self.hub.step(|hub| hub.on_record(event));
            self.say(|| format!("fanout brings {}: {}", event.stamp, verdict_name(verdict.as_ref())));
        }
    }

    fn record(&mut self, partition: usize, most: usize) {
        if partition < self.database.progress.len() {
            self.refused.extend(self.database.record(&self.upstream, partition, most));
            self.say(|| format!("recorder is at {:?}", self.database.progress[partition]));
        }
    }

    fn hear_refused(&mut self) {
        let heard = self.rng.random_range(0..self.refused.len());
        let stamp = self.refused.swap_remove(heard);
        self.hub.step(|hub| hub.refused(stamp));
        self.say(|| format!("hub hears that {stamp} was refused"));
    }

    pub(super) fn on_progress(&mut self) {
        let progress = self.database.progress.clone();
        let trim = self.mix.has(Feature::Trim);
        self.hub.step(|hub| {
            if trim {
                hub.trim(&progress);
            }
            hub.retry_postponed(&progress);
        });
    }

    fn something_happens(&mut self, partition: usize) {
        let lately = self.mix.features.iter().copied().choose(&mut self.rng);
        let chance = self.rng.random::<f64>();
        let position = |positions: &[Position]| positions.get(partition).copied();
        let (fanout, recorder) = (position(&self.fanout), position(&self.database.progress));
        match lately {
            Some(Feature::Rebuild)
                if let (Some(at), Some(stored)) = (fanout, recorder)
                    && at.epoch == stored.epoch =>
            {
                let from = stored.next_offset.min(at.next_offset);
                self.fanout[partition].next_offset = self.rng.random_range(from..=at.next_offset);
                self.say(|| format!("fanout of {partition} is rebuilt at {from} or later"));
            }
            Some(Feature::Gap)
                if let (Some(at), Some(stored)) = (fanout, recorder)
                    && at.epoch == stored.epoch
                    && at.next_offset < stored.next_offset
                    && chance < 0.5 =>
            {
                self.fanout[partition] = stored;
                self.hub.step(|hub| hub.gap(stored));
                self.say(|| format!("fanout skips to {stored:?}"));
            }
            Some(Feature::Restore) if chance < 0.25 => match self.backup.clone() {
                Some(backup) if chance < 0.12 => {
                    self.say(|| format!("database is restored to {:?}", backup.progress));
                    self.database = backup;
                }
                _ => self.backup = Some(self.database.clone()),
            },
            Some(Feature::Recreate) if chance < 0.5 => self.pass_a_week(),
            Some(Feature::NewLog) if chance < 0.2 => {
                self.backup = None;
                let epoch = self.upstream.logs[partition].epoch.0 + 1;
                self.upstream.logs[partition] = Log::new(epoch);
                self.say(|| format!("the log of {partition} is replaced by epoch {epoch}"));
            }
            Some(Feature::Grow) if self.rng.random_bool(0.5) => self.find_partitions(),
            _ => {}
        }
    }

    fn find_partitions(&mut self) {
        let partition = self.upstream.logs.len() - 1;
        if self.fanout.len() == partition && self.rng.random_bool(0.5) {
            self.fanout_finds(partition);
            self.say(|| format!("fanout finds {partition}"));
        } else if self.database.progress.len() == partition {
            self.backup = None;
            self.recorder_finds(partition);
            self.say(|| format!("recorder finds {partition}"));
        }
    }

    /// Markers live so long that by then everything of their time has been read, told and trimmed.
    fn pass_a_week(&mut self) {
        self.drain_logs();
        self.backup = None;
        for flight in std::mem::take(&mut self.flights) {
            self.hub.step(|hub| hub.retry(flight.due));
        }
        let progress = self.database.progress.clone();
        self.hub.step(|hub| hub.trim(&progress));
        for order_id in self.database.expire_markers() {
            self.say(|| format!("the marker of {order_id} expires"));
            self.upstream.forget_version(&order_id);
        }
    }

    /// Fanout and recorder come to the end of every log.
    pub(super) fn drain_logs(&mut self) {
        for partition in 0..self.fanout.len() {
            while self.fanout[partition].epoch != self.upstream.logs[partition].epoch
                || self.fanout[partition].next_offset < self.upstream.logs[partition].end()
            {
                self.fan(partition);
            }
        }
        for partition in 0..self.database.progress.len() {
            self.record(partition, usize::MAX);
        }
        while !self.refused.is_empty() {
            self.hear_refused();
        }
        self.on_progress();
    }

    /// Both find all that is there.
    pub(super) fn find_all_partitions(&mut self) {
        let partition = self.upstream.logs.len() - 1;
        while self.fanout.len() == partition || self.database.progress.len() == partition {
            self.find_partitions();
        }
    }
}

fn verdict_name(verdict: Option<&Verdict>) -> String {
    match verdict {
        None => "ignored".to_owned(),
        Some(Verdict::Applies { .. }) => "applies".to_owned(),
        Some(other) => format!("{other:?}"),
    }
}
