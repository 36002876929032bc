//! Several instances under everything that can happen: real hubs, the real decisions of fanout, recorder, snapshots and
//! sessions, over one simulated log, database and group, with a clock that only the simulation moves. Instances crash and
//! stand still between any two steps, hand partitions over in the middle of batches, lose answers of the database and the
//! way to the brokers; clients drop, stall and come back to another instance. A judge reads along; at the end everything
//! heals, and every screen must be the truth and say so.
//!
//! A failing run prints its seed; `ORDERCAST_SIM_SEED=cluster:<seed> cargo test --lib cluster_ends -- --nocapture` shows it
//! step by step. `ORDERCAST_SIM_RUNS=<n>` asks for another number of runs.

mod broker;
mod client;
mod database;
mod ending;
mod fanout;
mod faults;
mod flaws;
mod instance;
mod recorder;
mod rules;
mod seats;
mod snapshots;
mod tests;
mod topic;
mod world;

use self::{flaws::Flaws, rules::Rule, world::World};

/// Steps of a run, before everything heals.
const STEPS: usize = 250;

/// Runs one seed to its end: what was wrong, and a digest of all that happened.
fn run(seed: u64, off: Option<Rule>, trace: bool) -> (Flaws, u64) {
    let mut world = World::new(seed, off, trace);
    for _ in 0..STEPS {
        world.step();
    }
    world.end()
}

/// Runs one seed: how many records the recorders that are there in the end have taken over from their fanouts.
fn taken_over(seed: u64) -> u64 {
    let mut world = World::new(seed, None, false);
    for _ in 0..STEPS {
        world.step();
    }
    world.instances.iter().flatten().map(|instance| instance.recorder.taken_over).sum()
}
