//! The hub under everything that can happen: random interleavings of log, recorder, fanout, reads, sessions and
//! clients, over the real hub, mailboxes and frames. A client shows what the last frame said; at the end every screen
//! must be the truth, which is the rows of the database.
//!
//! A failing run prints its seed; `ORDERCAST_SIM_SEED=<mix>:<seed> cargo test --lib simulation -- --nocapture` shows it
//! step by step. `ORDERCAST_SIM_RUNS=<n>` asks for another number of runs of each mix.

mod client;
mod database;
mod ending;
mod flights;
mod mix;
mod pages;
mod rules;
mod seats;
mod upstream;
mod world;

use std::collections::BTreeMap;

pub(crate) use self::pages::Pages;
use self::{client::Flaws, mix::Mix, world::World};
use super::rules::HubRule;

/// Runs one seed to its end and says what was wrong.
fn run(mix: &Mix, seed: u64, off: Option<HubRule>, trace: bool) -> Flaws {
    let mut world = World::new(seed, mix.clone(), off, trace);
    for _ in 0..mix.steps {
        world.step();
    }
    world.end()
}

fn asked_for(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every seed must end clean. Each mix has a test of its own, so that they share the machine.
fn stays_clean(mix: &Mix) {
    if let Some(asked) = asked_for("ORDERCAST_SIM_SEED") {
        let (name, seed) = asked.split_once(':').expect("ORDERCAST_SIM_SEED is <mix>:<seed>");
        if name == mix.name {
            let flaws = run(mix, seed.parse().expect("the seed is a number"), None, true);
            assert!(flaws.is_empty(), "{flaws:#?}");
        }
        return;
    }
    let runs: u64 = asked_for("ORDERCAST_SIM_RUNS").map_or(2_000, |runs| runs.parse().expect("a number of runs"));
    let (mut failed, mut tally) = (Vec::new(), BTreeMap::<_, usize>::new());
    for seed in 0..runs {
        let flaws = run(mix, seed, None, false);
        if !flaws.is_empty() {
            flaws.iter().for_each(|(flaw, _)| *tally.entry(*flaw).or_default() += 1);
            failed.push((seed, flaws));
        }
    }
    if let Some((seed, flaws)) = failed.first() {
        let again = format!("ORDERCAST_SIM_SEED={}:{seed} cargo test --lib simulation -- --nocapture", mix.name);
        panic!("{} of {runs} runs failed: {tally:?}; the first: {flaws:#?}\nagain: {again}", failed.len());
    }
}

#[test]
fn every_screen_is_the_truth_in_the_end_whatever_happens() {
    stays_clean(&Mix::everything());
}

#[test]
fn every_screen_is_the_truth_in_the_end_although_nobody_audits() {
    stays_clean(&Mix::unaudited());
}

#[test]
fn every_screen_is_the_truth_in_the_end_with_what_the_model_has() {
    stays_clean(&Mix::model());
}

#[test]
fn every_screen_is_the_truth_in_the_end_with_mostly_late_events() {
    stays_clean(&Mix::late());
}

#[test]
fn every_screen_is_the_truth_in_the_end_with_producers_that_do_not_share_a_partitioner() {
    stays_clean(&Mix::partitioners());
}

#[test]
fn every_screen_is_the_truth_in_the_end_with_clients_that_talk_much_and_read_little() {
    stays_clean(&Mix::talkative());
}
