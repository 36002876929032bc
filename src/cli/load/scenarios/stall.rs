//! Some readers stop reading. What the others notice is told by a round before and one meanwhile; those who do not read get
//! large events besides, so that what the kernel takes for them is full, and have to be cut.

use super::{Stage, Stop};
use crate::cli::error::CommandError;
use crate::cli::load::{
    clock::{self, SECOND},
    publisher::{Job, Publisher},
    worker::Command,
};

/// Long enough for a server that cuts after 10 s without progress.
const SECONDS: u32 = 20;
/// To each of them, large events a second, and their bytes.
const STUFFING_RATE: f64 = 10.0;
const STUFFING_BYTES: usize = 8_000;
/// How long a server may take to say that it has cut a connection.
const ANSWER_TIME: u64 = 2 * SECOND;

pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.begin().await?;
    stage.warm_up().await?;
    let seconds = stage.plan.seconds.unwrap_or(SECONDS);
    let calm = stage.window("calm", seconds).await?;
    let stuffer = Publisher::start(stage.plan.press(), &stage.clients).map_err(CommandError::failed)?;
    stage.crowd.ask(|| Command::Stall(true));
    let from = clock::now();
    let owners = stage.plan.stalling;
    let stuffing = stuffer.publish(Job::Stuffing {
        from,
        to: from + (u64::from(seconds) + 1) * SECOND,
        owners,
        a_second: STUFFING_RATE,
        bytes: STUFFING_BYTES,
    });
    let stalled = stage.window("stalled", seconds).await?;
    stage.published(stuffing).await?;
    stage.crowd.ask(|| Command::Stall(false));
    stage.pause_until(clock::now() + ANSWER_TIME).await?;
    let cut = stage.crowd.findings().tally.cut;
    stage.report.figure("not_reading", f64::from(owners), "sessions");
    stage.report.figure("cut", cut as f64, "of them");
    stage.report.figure("p99_over_calm", stalled.latency.p99 as f64 / calm.latency.p99.max(1) as f64, "×");
    stage.report.rounds.extend([calm, stalled]);
    if cut < u64::from(owners) {
        let kept = u64::from(owners) - cut;
        stage.report.fault(format!("{kept} sessions that did not read for {seconds} s were not cut"));
    }
    Ok(())
}
