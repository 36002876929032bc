//! One run: log, recorder, fanout, hub, sessions and clients, moved by chance, one atomic step at a time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use hashbrown::{HashMap, HashSet};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IteratorRandom};

use super::{
    client::{Client, Flaw, Flaws, Previous, Seen, Wire},
    database::{Database, terminal_since},
    mix::{Feature, Mix},
    upstream::{Log, Upstream},
};
use crate::{
    event::{OrderId, Position, Snapshot, SnapshotQuery, Stamp, Timestamp, Viewer},
    hub::{Delivery, DueReads, Hub, Joining, Mailbox, Reconciled, SessionKey, SharedHub, rules::Rule},
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
    refused: Vec<Stamp>,
    previous: Previous,
    mailbox_bytes: usize,
    off: Option<Rule>,
    trace: bool,
}

/// A session and its client.
pub(super) struct Seat {
    pub(super) key: SessionKey,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) client: Client,
    /// What the client said and the server has not heard yet.
    pub(super) said: Option<Said>,
    /// The mailbox overflowed, and the session has not asked for a restart yet.
    overflowed: bool,
    /// Nothing was there at the last look, so the session waits to be woken.
    waits: bool,
    waker: Arc<WakeFlag>,
}

/// What a client says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Sync(HashMap<OrderId, Option<Stamp>>),
    /// Without claims.
    SyncAll,
    Subscribe(Option<Vec<OrderId>>),
}

/// A statement on its way: first to the database, then back.
pub(super) struct Flight {
    due: DueReads,
    snapshot: Option<Snapshot>,
}

#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    pub(super) fn new(seed: u64, mix: Mix, off: Option<Rule>, trace: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let partitions = 2;
        let tail_bytes =
            if mix.has(Feature::Cap) { [1_500, 3_000, usize::MAX][rng.random_range(0..3)] } else { usize::MAX };
        let small = mix.has(Feature::SmallMailbox);
        let mailbox_bytes = if small { [300, 700, 65_536][rng.random_range(0..3)] } else { 65_536 };
        let mut hub = Hub::new(tail_bytes);
        (hub.rules.off, hub.registry.rules.off) = (off, off);
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

    fn say(&self, what: impl FnOnce() -> String) {
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

    // ── sessions ───────────────────────────────────────────────────────────────────────────────────────────────────

    fn some_orders(&mut self) -> Vec<OrderId> {
        let many = self.rng.random_range(1..=2);
        self.upstream.orders.iter().cloned().choose_multiple(&mut self.rng, many)
    }

    fn join(&mut self) {
        if self.seats.len() >= 4 {
            return;
        }
        let id = self.upstream.users.iter().choose(&mut self.rng).expect("there are users").clone();
        let kind = if self.mix.has(Feature::Links) { self.rng.random::<f64>() } else { 1.0 };
        let orders = Arc::new(self.some_orders().into_iter().collect());
        let viewer = match kind {
            x if x < 0.15 => Viewer::Link { orders },
            x if x < 0.30 => Viewer::User { id, only: Some(orders) },
            _ => Viewer::User { id, only: None },
        };
        self.sit_down(viewer, BTreeMap::new(), true);
    }

    fn sit_down(&mut self, viewer: Viewer, screen: BTreeMap<String, Seen>, start: bool) {
        let mailbox = Arc::new(Mailbox::new(self.mailbox_bytes));
        let joining =
            Joining { viewer: viewer.clone(), mailbox: mailbox.clone(), start, max_per_user: None, badge: None };
        let key = self.hub.step(|hub| hub.join(joining)).expect("there is no limit");
        self.say(|| format!("{key:?} joins: {viewer:?}, start {start}, shows {screen:?}"));
        let client = Client::new(viewer, screen);
        let waker = Arc::default();
        self.seats.push(Seat { key, mailbox, client, said: None, overflowed: false, waits: false, waker });
    }

    /// A session ends; with [`Feature::Sync`] its client comes back, with what it shows, and says so or not.
    fn leave(&mut self) {
        if self.seats.is_empty() || !(self.mix.has(Feature::Leave) || self.mix.has(Feature::Sync)) {
            return;
        }
        let place = self.rng.random_range(0..self.seats.len());
        let seat = self.seats.swap_remove(place);
        self.hub.step(|hub| hub.leave(seat.key));
        self.say(|| format!("{:?} leaves", seat.key));
        if self.mix.has(Feature::Sync) {
            let claims = seat.client.claims();
            let wait = self.rng.random_bool(0.8);
            self.sit_down(seat.client.viewer, seat.client.screen, !wait);
            let came_back = self.seats.last_mut().expect("it sat down just now");
            if wait || self.rng.random_bool(0.5) {
                came_back.client.has_synced = true;
                came_back.said = Some(Said::Sync(claims));
            }
        }
    }

    /// A client says something, or the server hears what it said.
    fn speak(&mut self) {
        let orders = self.some_orders();
        let (sync, subscribe) = (self.mix.has(Feature::Sync), self.mix.has(Feature::Subscribe));
        let chance = self.rng.random::<f64>();
        let Some(place) = (0..self.seats.len()).choose(&mut self.rng) else { return };
        if self.seats[place].said.is_some() {
            return self.hear(place);
        }
        let seat = &mut self.seats[place];
        seat.said = match chance {
            x if x < 0.35 && sync => {
                let mut claims = seat.client.claims();
                if x < 0.1 {
                    claims.insert(orders[0].clone(), None);
                }
                seat.client.has_synced = true;
                Some(Said::Sync(claims))
            }
            x if x < 0.4 && sync => Some(Said::SyncAll),
            x if x < 0.8 && subscribe => Some(Said::Subscribe(Some(orders))),
            _ if subscribe => Some(Said::Subscribe(None)),
            _ => None,
        };
        let seat = &self.seats[place];
        self.say(|| format!("{:?} says {:?}", seat.key, seat.said));
        if self.rng.random_bool(0.5) {
            self.hear(place);
        }
    }

    /// The server hears what a client said.
    pub(super) fn hear(&mut self, place: usize) {
        let seat = &mut self.seats[place];
        let key = seat.key;
        let Some(said) = seat.said.take() else { return };
        self.hub.step(|hub| match &said {
            Said::Sync(claims) => hub.sync(key, claims.clone()),
            Said::SyncAll => hub.restart(key),
            Said::Subscribe(orders) => hub.subscribe(key, orders.clone()),
        });
        if let Said::Subscribe(orders) = &said {
            let orders = orders.clone().map(|orders| orders.into_iter().collect::<HashSet<_>>());
            seat.client.wire.push_back(Wire::Subscribed(orders));
        }
        self.say(|| format!("{key:?} is heard: {said:?}"));
    }

    /// A session moves what its mailbox holds to the wire, and its client reads some of it.
    fn read_socket(&mut self) {
        let Some(place) = (0..self.seats.len()).choose(&mut self.rng) else { return };
        if self.seats[place].said.is_some() && self.rng.random_bool(0.5) {
            return self.hear(place);
        }
        for _ in 0..self.rng.random_range(0..=3) {
            self.take(place);
        }
        let most = if self.rng.random_bool(0.5) { usize::MAX } else { self.rng.random_range(0..3) };
        self.receive(place, most);
    }

    pub(super) fn receive(&mut self, place: usize, most: usize) {
        let Self { seats, upstream, previous, flaws, .. } = self;
        seats[place].client.receive(most, upstream, previous, flaws);
    }

    /// A session takes one delivery, if it was woken or knows that there may be more. Whether there was one.
    pub(super) fn take(&mut self, place: usize) -> bool {
        let page_orders = self.rng.random_range(1..=3);
        let limit = self.mailbox_bytes;
        let seat = &mut self.seats[place];
        if std::mem::take(&mut seat.overflowed) {
            let key = seat.key;
            self.hub.step(|hub| hub.restart(key));
            self.say(|| format!("{key:?} restarts"));
            return true;
        }
        if seat.waits && !seat.waker.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        seat.waits = false;
        let waker = Waker::from(seat.waker.clone());
        let bytes = seat.mailbox.pending_bytes();
        let wire = &mut seat.client.wire;
        let delivery = seat.mailbox.poll_take(&Context::from_waker(&waker));
        if self.trace {
            println!("{:?} takes {delivery:?}", seat.key);
        }
        match delivery {
            Delivery::Nothing => seat.waits = true,
            Delivery::Snapshot(snapshot) => wire.extend(snapshot.into_pages(page_orders).map(Wire::Frame)),
            Delivery::NotVisible(_) => {}
            Delivery::Updates(frames) => {
                let updates =
                    frames.iter().filter(|frame| !frame.payload().starts_with(b"{\"type\":\"removed")).count();
                if bytes > limit && updates > 1 {
                    self.flaws.push((Flaw::Unbounded, format!("{bytes} bytes in {} frames", frames.len())));
                }
                wire.extend(frames.into_iter().map(Wire::Frame));
            }
            Delivery::Overflowed => seat.overflowed = true,
        }
        !seat.waits
    }

    // ── reads ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A statement is sent, runs, fails, or is answered.
    fn read(&mut self) {
        let bad = self.mix.has(Feature::BadReads);
        let chance = self.rng.random::<f64>();
        if self.rng.random_bool(self.mix.audit)
            && let Some(seat) = self.seats.iter().choose(&mut self.rng)
        {
            let key = seat.key;
            self.hub.step(|hub| hub.audit(key));
            self.say(|| format!("{key:?} is audited"));
        }
        if chance < 0.35 || self.flights.is_empty() {
            let most = self.rng.random_range(1..=8);
            self.send_reads(most);
            return;
        }
        let place = self.rng.random_range(0..self.flights.len());
        if bad && chance < 0.40 {
            let mut flight = self.flights.swap_remove(place);
            let half = flight.due.split_half();
            self.hub.step(|hub| hub.retry(half));
            self.flights.push(Flight { snapshot: None, ..flight });
        } else if bad && chance < 0.44 {
            let flight = self.flights.swap_remove(place);
            self.hub.step(|hub| hub.retry(flight.due));
        } else if self.flights[place].snapshot.is_none() {
            self.run_statement(place);
        } else {
            let impatient = bad && chance > 0.95;
            self.answer(place, impatient);
        }
    }

    /// Sends what is due. Whether there was anything.
    pub(super) fn send_reads(&mut self, most: usize) -> bool {
        let due = self.hub.step(|hub| hub.take_due_reads(most));
        let sent = !due.is_empty();
        if sent {
            self.say(|| format!("asked: {due:?}"));
            self.flights.push(Flight { due, snapshot: None });
            if self.rng.random_bool(0.5) {
                self.run_statement(self.flights.len() - 1);
            }
        }
        sent
    }

    /// The database answers.
    pub(super) fn run_statement(&mut self, place: usize) {
        let flight = &mut self.flights[place];
        let named = flight.due.sessions.iter().flat_map(|read| &read.orders);
        let query = SnapshotQuery {
            users: flight.due.sessions.iter().filter_map(|read| read.user.clone()).collect(),
            orders: flight.due.orders.iter().map(|read| &read.order_id).chain(named).cloned().collect(),
            terminal_since: Some(terminal_since()),
        };
        flight.snapshot = Some(self.database.snapshot(&query));
    }

    /// The hub gets an answer, if it has come to where that was read or is tired of waiting.
    pub(super) fn answer(&mut self, place: usize, impatient: bool) {
        let proof_off = self.off == Some(Rule::Proof);
        let Some(snapshot) = self.flights[place].snapshot.as_ref() else { return };
        if !impatient && !proof_off && !self.hub.step(|hub| hub.has_reached(snapshot)) {
            return;
        }
        let flight = self.flights.swap_remove(place);
        let snapshot = flight.snapshot.expect("it was there just now");
        let now = Timestamp::from_millis(0).expect("1970 is a moment");
        let outcomes: Vec<Reconciled> = self.hub.step(|hub| {
            let sessions = flight.due.sessions.iter().map(|read| (Some(read), None));
            let orders = flight.due.orders.iter().map(|read| (None, Some(read)));
            let reads = sessions.chain(orders).collect::<Vec<_>>();
            reads
                .into_iter()
                .map(|(session, order)| match (session, order) {
                    (Some(read), _) => hub.reconcile(read, &snapshot, now),
                    (_, Some(read)) => hub.prove(read, &snapshot, now),
                    _ => Reconciled::Gone,
                })
                .collect()
        });
        self.say(|| format!("answered at {:?}: {:?} {outcomes:?}", snapshot.positions(), flight.due));
    }
}

fn verdict_name(verdict: Option<&crate::event::Verdict>) -> String {
    match verdict {
        None => "ignored".to_owned(),
        Some(crate::event::Verdict::Applies { .. }) => "applies".to_owned(),
        Some(other) => format!("{other:?}"),
    }
}
