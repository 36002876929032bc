//! All connections are lost at once, and everybody comes back: how long until all have their first snapshot, and what it takes.

use super::{Stage, Stop};
use crate::cli::load::worker::Command;

pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.begin().await?;
    stage.warm_up().await?;
    for round in 1..=stage.plan.rounds {
        stage.crowd.ask(|| Command::Drop);
        let storm = stage.open(&format!("storm {round}"), true).await?;
        stage.report.storms.push(storm);
    }
    stage.converge().await.map(drop)
}
