//! Events at an even rate, round by round, each followed by one of the floor where that was asked for. `burst` is the same with
//! bunches of events.

use super::{Scenario, Stage, Stop};

pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.begin().await?;
    stage.warm_up().await?;
    let seconds = stage.plan.seconds();
    for round in 1..=stage.plan.rounds {
        let mut window = stage.window(&format!("round {round}"), seconds).await?;
        window.beside = stage.beside(&format!("floor {round}"), seconds).await?;
        stage.report.rounds.push(window);
    }
    if stage.plan.scenario == Scenario::Burst {
        let sum = |of: fn(&super::super::report::Window) -> u64| stage.report.rounds.iter().map(of).sum::<u64>() as f64;
        let (deliveries, reads) = (sum(|window| window.deliveries), sum(|window| window.reads));
        let bursts = deliveries / f64::from(stage.plan.schedule.bunch);
        stage.report.figure("updates_per_read", deliveries / reads.max(1.0), "");
        stage.report.figure("reads_per_burst", reads / bursts.max(1.0), "");
    }
    Ok(())
}
