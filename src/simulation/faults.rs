//! What goes wrong: every seed has its own choice of faults, so that some runs have few of them and come far.

use rand::{Rng, rngs::SmallRng, seq::IteratorRandom};

use super::world::World;
use crate::{
    config::{OnLogGap, OnLogRegression},
    log::Policies,
};

const HALT: Policies = Policies { on_gap: OnLogGap::Halt, on_regression: OnLogRegression::Halt };
pub(super) const GO_ON: Policies = Policies { on_gap: OnLogGap::Continue, on_regression: OnLogRegression::Reset };

/// What may happen in a run.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    crashes: bool,
    pauses: bool,
    rebalances: bool,
    pub(super) database_errors: bool,
    database_outages: bool,
    broker_outages: bool,
    cuts: bool,
    pub(super) slow_looks: bool,
    /// Every look takes almost three seconds, to the very end.
    pub(super) slow_brokers: bool,
    transactions: bool,
    pub(super) refused_dead_letters: bool,
    clock_jumps: bool,
    pub(super) leaves: bool,
    stalls: bool,
    pub(super) rejects: bool,
    pub(super) restores: bool,
    pub(super) replaces: bool,
    pub(super) expires: bool,
    /// Producers do not agree where an order belongs, and every other order has no versions.
    pub(super) partitioners: bool,
    /// Only new versions are published, none late, twice or bad.
    pub(super) calm: bool,
    pub(super) policies: Policies,
    pub(super) tail_bytes: usize,
    pub(super) mailbox_bytes: usize,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Crash,
    Pause,
    Rebalance,
    DatabaseOutage,
    BrokerOutage,
    Cut,
    ClockJump,
    Restore,
    Replace,
    Expire,
    Transaction,
    Stall,
}

impl Faults {
    pub(super) fn of(rng: &mut SmallRng) -> Self {
        let replaces = rng.random_bool(0.1);
        let mut faults = Self {
            crashes: rng.random_bool(0.5),
            pauses: rng.random_bool(0.5),
            rebalances: rng.random_bool(0.5),
            database_errors: rng.random_bool(0.5),
            database_outages: rng.random_bool(0.4),
            broker_outages: rng.random_bool(0.4),
            cuts: rng.random_bool(0.4),
            slow_looks: rng.random_bool(0.5),
            // For as long as nobody has looked, records of a replaced log pass for those of the log before.
            slow_brokers: rng.random_bool(0.2) && !replaces,
            transactions: rng.random_bool(0.4),
            refused_dead_letters: rng.random_bool(0.3),
            clock_jumps: rng.random_bool(0.3),
            leaves: rng.random_bool(0.7),
            stalls: rng.random_bool(0.4),
            rejects: rng.random_bool(0.2),
            restores: rng.random_bool(0.15),
            replaces,
            // Nobody can read back a record that has expired, and so know the log for another one.
            expires: !replaces && rng.random_bool(0.15),
            partitioners: false,
            calm: rng.random_bool(0.2),
            policies: if rng.random_bool(0.5) { HALT } else { GO_ON },
            tail_bytes: [2_000, 6_000, 1 << 20][rng.random_range(0..3)],
            mailbox_bytes: [600, 65_536, 65_536][rng.random_range(0..3)],
        };
        // Which partition is to be first, a log or a database that is put back would decide anew.
        faults.partitioners = !faults.restores && !replaces && rng.random_bool(0.15);
        faults
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&mut self) {
        (self.database_errors, self.slow_looks, self.refused_dead_letters) = (false, false, false);
        self.leaves = false;
    }

    /// Whether what is true of an order follows from the log alone.
    pub(super) fn is_plain(&self) -> bool {
        !self.rejects && !self.replaces && !self.expires && !self.partitioners
    }

    fn choose(&self, rng: &mut SmallRng) -> Option<Fault> {
        let all = [
            (self.crashes, Fault::Crash),
            (self.pauses, Fault::Pause),
            (self.rebalances, Fault::Rebalance),
            (self.database_outages, Fault::DatabaseOutage),
            (self.broker_outages, Fault::BrokerOutage),
            (self.cuts, Fault::Cut),
            (self.clock_jumps, Fault::ClockJump),
            (self.restores, Fault::Restore),
            (self.replaces, Fault::Replace),
            (self.expires, Fault::Expire),
            (self.transactions, Fault::Transaction),
            (self.stalls, Fault::Stall),
        ];
        all.into_iter().filter(|(happens, _)| *happens).map(|(_, fault)| fault).choose(rng)
    }
}

impl World {
    pub(super) fn something_happens(&mut self) {
        let Some(fault) = self.faults.choose(&mut self.rng) else { return };
        let number = self.rng.random_range(0..self.instances.len());
        let now = self.now;
        let soon = now + self.rng.random_range(0..8_000);
        let long = now + self.rng.random_range(1_000..45_000);
        let much_longer = now + self.rng.random_range(1_000..100_000);
        match fault {
            Fault::Crash => {
                if self.instances[number].take().is_some() {
                    self.down_until[number] = now + self.rng.random_range(0..10_000);
                    self.rebalances.push(soon);
                    for client in &mut self.clients {
                        if let Some(connection) = client.connection.as_mut().filter(|it| it.instance == number) {
                            connection.ended = true;
                        }
                    }
                }
            }
            Fault::Pause => {
                if let Some(instance) = self.running(number) {
                    instance.paused_until = long;
                    self.rebalances.extend([soon, long + 1_000]);
                }
            }
            Fault::Rebalance => self.rebalances.push(now),
            Fault::DatabaseOutage => self.no_database_until = self.no_database_until.max(long),
            Fault::BrokerOutage => self.no_broker_until = self.no_broker_until.max(long),
            Fault::Cut => {
                let broker = self.rng.random_bool(0.6);
                let Some(instance) = self.running(number) else { return };
                if broker {
                    instance.no_broker_until = much_longer;
                    self.rebalances.extend([soon, much_longer]);
                } else {
                    instance.no_database_until = long;
                }
            }
            Fault::ClockJump => {
                let shift = [-3_600_000, 1_500_000, 0][self.rng.random_range(0..3)];
                if let Some(instance) = self.running(number) {
                    instance.clock_shift = shift;
                }
            }
            Fault::Restore => match self.backup.take() {
                Some(backup) if self.rng.random_bool(0.5) => self.database = backup,
                _ => self.backup = Some(self.database.clone()),
            },
            Fault::Replace => self.replace_log(),
            Fault::Expire => self.expire_log(),
            Fault::Transaction => {
                let place = self.rng.random_range(0..self.topic.partitions.len());
                self.topic.partitions[place].begin_transaction(much_longer);
            }
            Fault::Stall => {
                let place = self.rng.random_range(0..self.clients.len());
                self.clients[place].stalls_until = long;
            }
        }
        self.say(|| format!("{fault:?} of {number}"));
    }

    /// The topic is made anew, once in a run. What was not recorded is lost with it, as the settings allow.
    fn replace_log(&mut self) {
        // Of a log of which nothing was recorded nobody can say that it is another one.
        let known = self.topic.partitions.len() == self.database.progress.len()
            && self.database.progress.values().all(|progress| progress.last_record.is_some());
        if self.topic.partitions[0].life == 0 && known && self.rng.random_bool(0.6) {
            self.topic.replace();
            self.backup = None;
            for instance in self.instances.iter_mut().flatten() {
                instance.fanout.silence();
                instance.recorder.silence();
            }
            self.rebalances.push(self.now + 1_000);
            // Where it is as long as the old one before anybody looks, no position tells that it is another one.
            if self.rng.random_bool(0.5) {
                (0..self.rng.random_range(0..100)).for_each(|_| self.produce());
            }
        }
    }

    /// Retention takes the oldest records, whether they were recorded or not.
    fn expire_log(&mut self) {
        let place = self.rng.random_range(0..self.topic.partitions.len());
        let log = &mut self.topic.partitions[place];
        log.low = self.rng.random_range(log.low..=log.stable_end());
        self.backup = None;
    }
}
