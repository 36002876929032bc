//! How a run ends: everything heals, everything comes to rest, and every screen and row is compared with the truth.

use super::{
    client::Client,
    faults::GO_ON,
    flaws::{Flaw, Flaws},
    world::World,
};
use crate::domain::{Known, Rev};

/// Rounds after which a world that has not come to rest never will.
const ROUNDS: usize = 90;
/// What passes between two rounds.
const ROUND: u64 = 2_000;

impl World {
    /// Lets everything come to rest and says what was wrong.
    pub(super) fn end(mut self) -> (Flaws, u64) {
        self.heal();
        if !self.comes_to_rest() {
            let flaws = self.unrest();
            self.flaws.extend(flaws);
        }
        let Self { database, topic, flaws, .. } = &mut self;
        database.judge(topic, flaws);
        if self.faults.partitioners {
            // Which of two partitions an order follows is decided by who records it. Where a hub took it otherwise and is
            // not told, an audit puts it right, and counts that.
            self.flaws.retain(|(flaw, _)| *flaw != Flaw::Alarm);
        }
        (self.flaws.drain(..).collect(), self.digest())
    }

    fn heal(&mut self) {
        self.say(|| "everything heals".to_owned());
        (self.no_database_until, self.no_broker_until) = (0, 0);
        self.faults.heal();
        self.topic.partitions.iter_mut().for_each(|partition| partition.abort_transactions(u64::MAX));
        for instance in self.instances.iter_mut().flatten() {
            (instance.paused_until, instance.clock_shift) = (0, 0);
            (instance.no_broker_until, instance.no_database_until) = (0, 0);
        }
        self.clients.iter_mut().for_each(|client| client.stalls_until = 0);
        self.down_until.iter_mut().for_each(|until| *until = 0);
        self.rebalances.push(self.now);
    }

    /// Whether all is as it should be, after a while. A partition that is halted stays so until somebody decides: that
    /// every screen says so is seen first.
    fn comes_to_rest(&mut self) -> bool {
        let (mut decided, mut halted_for) = (false, 0);
        for round in 0..ROUNDS {
            self.round();
            if round % 4 == 3 && self.unrest().is_empty() {
                return true;
            }
            halted_for = if self.has_halted() { halted_for + 1 } else { 0 };
            if !decided && round > 20 && halted_for > 3 {
                decided = true;
                self.judge_halt();
                self.decide();
            }
        }
        false
    }

    /// Whether an instance has halted a partition.
    fn has_halted(&self) -> bool {
        self.instances.iter().flatten().any(|instance| !instance.recorder.halts.is_empty())
    }

    /// Every instance says so.
    fn judge_halt(&mut self) {
        if self.clients.iter().any(Client::is_content) {
            self.flaws.push((Flaw::Freshness, "a partition is halted and a screen is called fresh".to_owned()));
        }
    }

    /// Somebody changes the settings and starts all instances again.
    fn decide(&mut self) {
        self.faults.policies = GO_ON;
        for number in 0..self.instances.len() {
            self.instances[number] = None;
        }
        for client in &mut self.clients {
            client.connection = None;
        }
    }

    /// Some time passes, in which everybody has a turn.
    pub(super) fn round(&mut self) {
        self.now += ROUND;
        self.on_time();
        for number in 0..self.instances.len() {
            self.watch_log(number);
            self.read_progress(number);
            self.follow(number);
            self.record(number);
            self.maintain(number);
        }
        for _ in 0..2 {
            for number in 0..self.instances.len() {
                self.write(number);
                self.write(number);
                self.read(number);
            }
            for place in (0..self.calls.len()).rev() {
                if self.calls[place].answer.is_none() {
                    self.execute_call(place);
                }
                if self.calls[place].answer.is_some() {
                    self.hear_call(place);
                }
            }
        }
        for number in 0..self.instances.len() {
            self.read(number);
            self.serve(number);
        }
        for place in 0..self.clients.len() {
            if self.clients[place].connection.is_none() {
                self.connect(place);
            }
            self.attend(place, usize::MAX);
        }
    }

    /// What is not yet as it should be.
    fn unrest(&self) -> Flaws {
        let mut flaws = Flaws::new();
        if !self.database.has_recorded_all(&self.topic) {
            flaws.push((Flaw::Stuck, format!("progress is {:?}", self.database.progress)));
        }
        for (place, client) in self.clients.iter().enumerate() {
            let user = &self.topic.users[client.user];
            if !client.is_content() {
                let connection = client.connection.as_ref().map(|it| (it.session, it.instance, it.is_fresh()));
                let reasons = connection.map(|it| self.instances[it.1].as_ref().map(|it| it.staleness));
                flaws.push((Flaw::Freshness, format!("client {place} ({user}): {connection:?}, {reasons:?}")));
            }
            for order in &self.topic.orders {
                let truth = self.database.rows.get(order).and_then(|history| history.known.order());
                let truth = truth.filter(|state| state.names(user)).map(|state| state.stamp);
                let shown = client
                    .screen
                    .get(order.as_str())
                    .and_then(|seen| seen.rev.parse::<Rev>().ok().map(|rev| rev.stamp));
                if truth != shown {
                    flaws.push((Flaw::Stale, format!("{user} sees {order} as {shown:?}, true is {truth:?}")));
                }
            }
            if self.faults.is_plain() {
                for (order, order_id) in self.topic.orders.iter().enumerate() {
                    let row = self.database.rows.get(order_id).map(|history| &history.known);
                    let shown = row.and_then(Known::order).filter(|state| state.names(user)).map(|state| state.stamp);
                    if !self.topic.was_true(order, user, shown, self.now) {
                        flaws.push((Flaw::Rows, format!("{order_id} is {row:?}, which the log does not say")));
                    }
                }
            }
        }
        flaws
    }
}
