//! One run: topic, database, group, instances and clients, moved by chance, one step at a time. Time passes between steps.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IteratorRandom};

use super::{
    broker::Group,
    client::Client,
    database::{Answer, Ask, Database},
    faults::Faults,
    flaws::{Flaw, Flaws},
    instance::{Clock, Instance},
    rules::{Rule, Switches},
    seats::{Arrival, HEARTBEAT, Heard, rules},
    topic::{BEGINNING, Topic},
};
use crate::{
    domain::{Stamp, Timestamp},
    session::SessionConfig,
};

/// How old what a fresh screen shows may be: the time in which freshness is proved, and the pace at which chance lets
/// everybody have a turn.
const MOMENT: u64 = 15_000;
/// For how long a screen may show what was never true without saying so: the patience with point reads, likewise.
const BOUND: u64 = 40_000;
/// How long a token is good.
const TOKEN_LIFE: i64 = 20 * 60 * 1_000;

/// A statement on its way: to the database, and back.
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) instance: usize,
    /// Who asked; nobody, if 0.
    pub(super) life: u64,
    pub(super) ask: Ask,
    pub(super) answer: Option<Answer>,
}

pub(super) struct World {
    pub(super) rng: SmallRng,
    base: Instant,
    pub(super) now: u64,
    pub(super) topic: Topic,
    pub(super) database: Database,
    pub(super) backup: Option<Database>,
    pub(super) no_database_until: u64,
    pub(super) no_broker_until: u64,
    pub(super) group: Group,
    /// When the group notices who is there.
    pub(super) rebalances: Vec<u64>,
    /// The dead-letter topic: partition and offset of each dead letter.
    pub(super) kept: Vec<(i32, i64)>,
    pub(super) instances: Vec<Option<Instance>>,
    pub(super) down_until: Vec<u64>,
    pub(super) calls: Vec<Call>,
    pub(super) clients: Vec<Client>,
    pub(super) faults: Faults,
    pub(super) switches: Switches,
    session_rules: Arc<SessionConfig>,
    numbers: u64,
    pub(super) flaws: Flaws,
    /// All that happened, in short.
    digest: DefaultHasher,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, off: Option<Rule>, trace: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let faults = Faults::of(&mut rng);
        let instances = if rng.random_bool(0.3) { 3 } else { 2 };
        let partitions = rng.random_range(1..=3);
        let mut world = Self {
            topic: Topic::new(partitions, 4),
            rng,
            base: Instant::now(),
            now: 0,
            database: Database::default(),
            backup: None,
            no_database_until: 0,
            no_broker_until: 0,
            group: Group::default(),
            rebalances: vec![0],
            kept: Vec::new(),
            instances: (0..instances).map(|_| None).collect(),
            down_until: vec![0; instances],
            calls: Vec::new(),
            clients: (0..3).map(Client::new).collect(),
            faults,
            switches: Switches::without(off),
            session_rules: rules(),
            numbers: 0,
            flaws: Flaws::new(),
            digest: DefaultHasher::new(),
            trace,
        };
        for instance in 0..instances {
            world.start(instance);
        }
        let faults = world.faults.clone();
        world.say(|| format!("{faults:?}"));
        world
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>7} {}", self.now, what());
        }
    }

    pub(super) fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.digest);
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn clock(&self, instance: usize) -> Clock {
        let shift = self.instances[instance].as_ref().map_or(0, |instance| instance.clock_shift);
        Clock { base: self.base, now: self.now, shift }
    }

    /// The instance, if it runs.
    pub(super) fn running(&mut self, instance: usize) -> Option<&mut Instance> {
        let now = self.now;
        self.instances[instance].as_mut().filter(|instance| instance.paused_until <= now)
    }

    pub(super) fn start(&mut self, instance: usize) {
        let (life, now) = (self.next_number(), self.now);
        let (policies, tail_bytes) = (self.faults.policies, self.faults.tail_bytes);
        self.instances[instance] = Some(Instance::new(life, now, policies, tail_bytes, &self.switches));
        self.say(|| format!("instance {instance} starts"));
    }

    /// One step of the run.
    pub(super) fn step(&mut self) {
        if self.rng.random_bool(0.02) {
            for _ in 0..self.rng.random_range(1..8) {
                self.round();
            }
        }
        self.now += self.rng.random_range(0..60);
        self.on_time();
        let instance = self.rng.random_range(0..self.instances.len());
        let action = self.rng.random_range(0..100);
        self.note((self.now, action, self.calls.len(), self.kept.len()));
        match action {
            0..10 => self.produce(),
            10..16 => self.watch_log(instance),
            16..28 => self.follow(instance),
            28..39 => self.record(instance),
            39..48 => self.write(instance),
            48..58 => self.execute(),
            58..67 => self.hear(),
            67..71 => self.read_progress(instance),
            71..77 => self.read(instance),
            77..86 => self.serve(instance),
            86..93 => self.live(),
            93..96 => self.maintain(instance),
            _ => self.something_happens(),
        }
    }

    /// What is due happens.
    pub(super) fn on_time(&mut self) {
        for instance in 0..self.instances.len() {
            if self.instances[instance].is_none() && self.down_until[instance] <= self.now {
                self.start(instance);
                let later = self.now + self.rng.random_range(0..3_000);
                self.rebalances.push(later);
            }
        }
        let now = self.now;
        if self.no_broker_until <= now {
            self.topic.partitions.iter_mut().for_each(|partition| partition.abort_transactions(now));
        }
        if self.rebalances.extract_if(.., |at| *at <= now).count() > 0 {
            self.rebalance();
        }
    }

    pub(super) fn has_broker(&self, instance: usize) -> bool {
        let cut = self.instances[instance].as_ref().is_some_and(|instance| instance.no_broker_until > self.now);
        self.no_broker_until <= self.now && !cut
    }

    fn rebalance(&mut self) {
        let there = |instance: &usize| {
            let runs = self.instances[*instance].as_ref().is_some_and(|running| running.paused_until <= self.now);
            runs && self.has_broker(*instance)
        };
        let members: Vec<usize> = (0..self.instances.len()).filter(there).collect();
        let Self { group, rng, topic, .. } = self;
        group.rebalance(members, topic.partitions.len(), rng);
        let members = self.group.members().to_vec();
        self.say(|| format!("the group is {members:?}"));
    }

    // ── the log ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn produce(&mut self) {
        if self.no_broker_until <= self.now {
            let Self { topic, rng, faults, .. } = self;
            topic.produce(rng, self.now, faults);
            self.say_last();
        }
    }

    fn say_last(&mut self) {
        if self.trace {
            let ends: Vec<String> = self
                .topic
                .partitions
                .iter()
                .filter_map(|partition| partition.slots.last()?.as_ref())
                .map(|record| format!("{} {:?}", record.stamp, record.value.as_deref().map(String::from_utf8_lossy)))
                .collect();
            self.say(|| format!("the log ends with {ends:?}"));
        }
    }

    pub(super) fn watch_log(&mut self, number: usize) {
        let (clock, broker) = (self.clock(number), self.has_broker(number));
        let (mut delay, mut lost) = (0, None);
        if self.faults.slow_looks {
            delay = if self.rng.random_bool(0.3) { self.rng.random_range(0..6_000) } else { 0 };
            lost = self.rng.random_bool(0.2).then(|| self.rng.random_range(0..3));
        }
        if self.faults.slow_brokers {
            delay += 2_900;
        }
        let now = self.now;
        let Some(instance) = self.instances[number].as_mut().filter(|instance| instance.paused_until <= now) else {
            return;
        };
        instance.watch_log(&self.topic, clock, broker, delay, lost);
        instance.watch_ends(&self.topic, clock, broker, delay, lost);
    }

    pub(super) fn follow(&mut self, number: usize) {
        let (clock, broker) = (self.clock(number), self.has_broker(number));
        let (most, first) = (self.rng.random_range(1..8), self.rng.random_range(0..8));
        let now = self.now;
        let Some(instance) = self.instances[number].as_mut().filter(|instance| instance.paused_until <= now) else {
            return;
        };
        instance.follow(&self.topic, clock, broker, most, first);
    }

    pub(super) fn record(&mut self, number: usize) {
        let (clock, broker) = (self.clock(number), self.has_broker(number));
        let most = self.rng.random_range(0..8);
        let now = self.now;
        let Self { instances, topic, group, rng, .. } = self;
        let Some(instance) = instances[number].as_mut().filter(|instance| instance.paused_until <= now) else { return };
        let Instance { recorder, view, progress, .. } = instance;
        let news = std::mem::take(&mut instance.news_for_recorder);
        let mut around = super::recorder::Surroundings {
            topic,
            group,
            view: view.as_ref(),
            progress: progress.as_ref(),
            broker,
            clock,
            rng,
        };
        if recorder.step(number, news, most, &mut around) {
            instance.next_look = now;
        }
    }

    pub(super) fn write(&mut self, number: usize) {
        let delivers = self.has_broker(number) && !(self.faults.refused_dead_letters && self.rng.random_bool(0.3));
        let now = self.now;
        let Self { instances, kept, rng, .. } = self;
        let Some(instance) = instances[number].as_mut().filter(|instance| instance.paused_until <= now) else { return };
        let life = instance.life;
        if let Some((side, ask)) = instance.recorder.write(now, delivers, kept, rng) {
            let call = self.call(number, life, ask);
            if let Some(instance) = &mut self.instances[number] {
                instance.recorder.on_asked(side, call);
            }
        }
    }

    // ── the database ───────────────────────────────────────────────────────────────────────────────────────────────

    fn call(&mut self, instance: usize, life: u64, ask: Ask) -> u64 {
        let number = self.next_number();
        self.say(|| format!("{instance} asks {number}: {ask:?}"));
        self.calls.push(Call { number, instance, life, ask, answer: None });
        number
    }

    /// The database comes to some statement, or the way to it is broken.
    pub(super) fn execute(&mut self) {
        let waiting = self.calls.iter().enumerate().filter(|(_, call)| call.answer.is_none()).map(|(place, _)| place);
        let Some(place) = waiting.choose(&mut self.rng) else { return };
        self.execute_call(place);
    }

    pub(super) fn execute_call(&mut self, place: usize) {
        let chance = self.rng.random::<f64>();
        let Self { calls, database, topic, switches, now, .. } = self;
        let call = &mut calls[place];
        let cut = self.instances[call.instance].as_ref().is_some_and(|instance| instance.no_database_until > *now);
        if self.no_database_until > *now || cut {
            if chance < 0.5 {
                call.answer = Some(call.ask.unanswered());
            }
            return;
        }
        if self.faults.database_errors && chance < 0.05 {
            call.answer = Some(call.ask.unanswered());
            // Who asked has given up, and the statement may run yet.
            if matches!(call.ask, Ask::Apply(_) | Ask::Relocate(_)) && chance < 0.02 {
                let orphan = Call { number: 0, life: 0, answer: None, ask: call.ask.clone(), instance: call.instance };
                calls.push(orphan);
            }
            return;
        }
        let torn = self.faults.database_errors && chance > 0.9;
        let answer = database.execute(&call.ask, topic, switches.off, torn);
        if let (Ask::Apply(batch), Answer::Applied(Ok(_))) = (&call.ask, &answer) {
            Database::judge_batch(batch, topic, &self.kept, &mut self.flaws);
        }
        let (number, progress) = (call.number, database.progress.values().map(|at| at.next_offset).collect::<Vec<_>>());
        let text = self.trace.then(|| format!("{number} is answered {answer:?}; progress {progress:?}"));
        let lost = self.faults.database_errors && (0.05..0.09).contains(&chance);
        call.answer = Some(if lost { call.ask.unanswered() } else { answer });
        self.note((number, &progress));
        self.say(|| format!("{}{}", text.unwrap_or_default(), if lost { ", and nobody hears it" } else { "" }));
    }

    /// Some answer comes to who asked.
    pub(super) fn hear(&mut self) {
        let answered = self.calls.iter().enumerate().filter(|(_, call)| call.answer.is_some());
        let Some(place) = answered.map(|(place, _)| place).choose(&mut self.rng) else { return };
        self.hear_call(place);
    }

    /// Whether the answer has left the network.
    pub(super) fn hear_call(&mut self, place: usize) -> bool {
        let number = self.calls[place].instance;
        let (life, clock) = (self.calls[place].life, self.clock(number));
        let now = self.now;
        let Self { calls, instances, group, rng, .. } = self;
        let alive = instances[number].as_mut().filter(|instance| instance.life == life);
        if alive.as_ref().is_some_and(|instance| instance.paused_until > now) {
            return false;
        }
        let Call { number, answer, .. } = calls.swap_remove(place);
        let (Some(instance), Some(answer)) = (alive, answer) else { return true };
        match answer {
            Answer::Progress(reading) => instance.on_reading(reading.ok(), clock),
            Answer::Snapshot(snapshot) => instance.on_snapshot(number, snapshot, now),
            answer => instance.recorder.on_answer(number, answer, clock, group, rng),
        }
        true
    }

    pub(super) fn read_progress(&mut self, number: usize) {
        let now = self.now;
        let Some(instance) = self.running(number) else { return };
        if instance.reading || now < instance.next_reading {
            return;
        }
        (instance.reading, instance.next_reading) = (true, now + 1_000);
        let (life, after) = (instance.life, instance.listener.after());
        self.call(number, life, Ask::Progress(after));
    }

    pub(super) fn read(&mut self, number: usize) {
        let now = self.now;
        if let Some(instance) = self.running(number) {
            instance.gather(now);
        }
        let flights = self.running(number).map_or(0, |instance| instance.flights.len());
        for place in (0..flights).rev() {
            let (call, clock) = (self.next_number(), self.clock(number));
            let mut flaws = Flaws::new();
            let Some(instance) = self.running(number) else { return };
            let life = instance.life;
            let ask = instance.fly(place, call, clock, &mut flaws);
            if self.alarms() {
                self.flaws.append(&mut flaws);
            }
            if let Some(ask) = ask {
                self.say(|| format!("{number} asks {call}: {ask:?}"));
                self.calls.push(Call { number: call, instance: number, life, ask, answer: None });
            }
        }
    }

    /// Whether a correction is a fault. What the database refused is seen to be missing before the hub hears why.
    fn alarms(&self) -> bool {
        !self.faults.rejects && !self.faults.restores && !self.faults.replaces && !self.faults.expires
    }

    pub(super) fn maintain(&mut self, number: usize) {
        let draw = self.rng.random_bool(0.1).then(|| self.rng.random_range(0..1_000));
        let now = self.now;
        if let Some(instance) = self.running(number) {
            instance.maintain(now, draw);
        }
    }

    // ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The sessions of an instance have a turn.
    pub(super) fn serve(&mut self, number: usize) {
        let clock = self.clock(number);
        let most = if self.rng.random_bool(0.5) { usize::MAX } else { self.rng.random_range(1..8) };
        let Some(instance) = self.running(number) else { return };
        let sessions: Vec<u64> = instance.seats.keys().copied().collect();
        for session in sessions {
            let mut flaws = Flaws::new();
            let Some(instance) = self.running(number) else { return };
            let (written, ended) = instance.serve(session, most, clock, &mut flaws);
            self.flaws.append(&mut flaws);
            self.note((session, format!("{written:?}"), ended));
            self.say(|| format!("{number} writes to {session}: {written:?}, ended {ended}"));
            let of_session = |client: &&mut Client| client.connection.as_ref().is_some_and(|it| it.session == session);
            if let Some(connection) =
                self.clients.iter_mut().find(of_session).and_then(|client| client.connection.as_mut())
            {
                connection.wire.extend(written);
                connection.ended |= ended;
            }
        }
    }

    /// Some client lives on.
    fn live(&mut self) {
        let place = self.rng.random_range(0..self.clients.len());
        let most = if self.rng.random_bool(0.5) { usize::MAX } else { self.rng.random_range(0..4) };
        if self.clients[place].connection.is_none() {
            self.connect(place);
        } else if self.faults.leaves && self.rng.random_bool(0.03) {
            self.hang_up(place);
        } else {
            self.attend(place, most);
        }
    }

    /// A client reads, answers, and gives a connection up that is silent for too long.
    pub(super) fn attend(&mut self, place: usize, most: usize) {
        let now = self.now;
        let Self { clients, topic, flaws, instances, .. } = self;
        let client = &mut clients[place];
        if client.stalls_until > now {
            return;
        }
        client.read(most, topic, now, flaws);
        let Some(connection) = &mut client.connection else { return };
        let gone = connection.ended && connection.wire.is_empty();
        let silent = connection.wire.is_empty() && now > connection.heard_at + HEARTBEAT * 5 / 2;
        let says = std::mem::take(&mut connection.says);
        let pongs = std::mem::take(&mut connection.pongs);
        let seat = instances[connection.instance].as_mut().and_then(|it| it.seats.get_mut(&connection.session));
        if let Some(seat) = seat {
            seat.heard.extend(says.into_iter().map(Heard::Text));
            seat.heard.extend((0..pongs.min(1)).map(|_| Heard::Pong));
        }
        let shows: Vec<(String, String)> =
            client.screen.iter().map(|(order, seen)| (order.clone(), seen.rev.clone())).collect();
        self.note((place, &shows));
        self.say(|| format!("client {place} shows {shows:?}"));
        if gone || silent {
            self.hang_up(place);
        } else {
            self.judge_silence(place);
        }
    }

    /// The connection of a client ends; the session hears of it, if it is there.
    pub(super) fn hang_up(&mut self, place: usize) {
        self.clients[place].wrong_since.clear();
        let Some(connection) = self.clients[place].connection.take() else { return };
        self.say(|| format!("client {place} leaves session {}", connection.session));
        let bye = if self.rng.random_bool(0.5) { Heard::Close } else { Heard::Lost };
        let instance = self.instances[connection.instance].as_mut();
        if let Some(seat) = instance.and_then(|it| it.seats.get_mut(&connection.session)) {
            seat.heard.extend([bye, Heard::Lost]);
        }
        self.clients[place].not_before = self.now + self.rng.random_range(0..2_000);
    }

    pub(super) fn connect(&mut self, place: usize) {
        if self.now < self.clients[place].not_before {
            return;
        }
        let now = self.now;
        let serves = |instance: &Option<Instance>| {
            instance.as_ref().is_some_and(|instance| instance.ready && instance.paused_until <= now)
        };
        let serving = (0..self.instances.len()).filter(|number| serves(&self.instances[*number]));
        let Some(number) = serving.choose(&mut self.rng) else { return };
        let clock = self.clock(number);
        let expires_at = Timestamp::from_millis(BEGINNING + now as i64 + TOKEN_LIFE).unwrap();
        if expires_at <= clock.wall() {
            return;
        }
        let session = self.next_number();
        let claims = !self.clients[place].screen.is_empty() && self.rng.random_bool(0.8);
        let (mailbox_bytes, rules) = (self.faults.mailbox_bytes, self.session_rules.clone());
        let user = self.topic.users[self.clients[place].user].clone();
        self.say(|| format!("client {place} ({user}) connects to {number} as {session}, claims {claims}"));
        self.clients[place].connect(session, number, now, claims);
        if let Some(instance) = self.running(number) {
            let arrival = Arrival { session, user, waits_for_sync: claims, mailbox_bytes, expires_at };
            instance.open(arrival, rules, clock);
        }
    }

    /// A screen that is called fresh shows what was true a moment ago, or does not for long.
    fn judge_silence(&mut self, place: usize) {
        let Self { clients, topic, flaws, now, faults, .. } = self;
        let client = &mut clients[place];
        if !client.is_content() || !faults.is_plain() {
            client.wrong_since.clear();
            return;
        }
        let user = &topic.users[client.user];
        for (order, order_id) in topic.orders.iter().enumerate() {
            let shown = client.screen.get(order_id.as_str()).and_then(|seen| seen.rev.parse::<Stamp>().ok());
            if topic.was_true(order, user, shown, now.saturating_sub(MOMENT)) {
                client.wrong_since.remove(&order);
            } else if *client.wrong_since.entry(order).or_insert(*now) + BOUND < *now {
                let text = format!("at {now} {user} sees {order_id} as {shown:?} and is told that it is fresh");
                flaws.push((Flaw::Silent, text));
            }
        }
    }
}
