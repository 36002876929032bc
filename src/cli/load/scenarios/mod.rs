//! The scenarios, one file each: what is done on a [`Stage`], in which order.

mod backlog;
mod drain;
mod idle;
mod stall;
mod steady;
mod storm;

use super::{
    options::Scenario,
    stage::{Stage, Stop},
};

/// Runs the scenario of the plan.
pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    match stage.plan.scenario {
        Scenario::Steady | Scenario::Burst => steady::run(stage).await,
        Scenario::Storm => storm::run(stage).await,
        Scenario::Stall => stall::run(stage).await,
        Scenario::Drain => drain::run(stage).await,
        Scenario::Idle => idle::run(stage).await,
        Scenario::Backlog => backlog::run(stage).await,
    }
}
