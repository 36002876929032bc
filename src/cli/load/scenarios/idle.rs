//! Nothing happens: what an instance takes by itself, and what each session takes besides. A figure of less than two heartbeats
//! would show the first alone.

use super::{Stage, Stop};
use crate::cli::load::clock::{self, SECOND, nanos};

/// At least, where nothing else was asked for.
const SECONDS: u64 = 50;
/// The instance alone is looked at for so long.
const ALONE_SECONDS: u64 = 10;
/// After opening, so that what was begun has ended.
const REST: u64 = 5 * SECOND;

pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.progress.phase("the instance alone");
    let alone = stage.plan.seconds.map_or(ALONE_SECONDS, |seconds| ALONE_SECONDS.min(seconds.into()));
    let fixed = cpu_millis_a_second(stage, alone * SECOND).await?;
    stage.begin().await?;
    if stage.plan.roster.orders > 0 {
        stage.warm_up().await?;
    }
    stage.progress.phase("resting");
    stage.pause_until(clock::now() + REST).await?;
    let resting = stage.server()?;
    let two_heartbeats = stage.crowd.heartbeat().map_or(0, |heartbeat| 2 * nanos(heartbeat));
    let long = stage.plan.seconds.map_or(two_heartbeats.max(SECONDS * SECOND), |seconds| u64::from(seconds) * SECOND);
    if long < two_heartbeats {
        stage.report.doubts.push("shorter than two heartbeats: what a session takes is not told by it".to_owned());
    }
    stage.progress.phase("idle");
    let all = cpu_millis_a_second(stage, long).await?;
    let sessions = f64::from(stage.plan.roster.sessions);
    if let (Some(fixed), Some(all)) = (fixed, all) {
        stage.report.figure("alone_cpu", fixed, "ms of CPU a second, without sessions");
        stage.report.figure("idle_cpu", all, "ms of CPU a second, with them");
        stage.report.figure("idle_cpu_each", (all - fixed).max(0.0) * 1e3 / sessions, "µs of CPU a second and session");
    }
    let before = stage.report.opening.as_ref().and_then(|opening| opening.resident_kib_before);
    if let (Some(before), Some(after), Some(resting)) = (before, stage.server()?, resting) {
        let each = |kib: u64| (kib as f64 - before as f64) / sessions;
        stage.report.figure("memory_each", each(after.resident_kib.max(resting.resident_kib)), "KiB a session");
    }
    Ok(())
}

async fn cpu_millis_a_second(stage: &mut Stage, long: u64) -> Result<Option<f64>, Stop> {
    let (before, begun) = (stage.server()?, clock::now());
    stage.pause_until(begun + long).await?;
    let seconds = clock::now().saturating_sub(begun) as f64 / SECOND as f64;
    let both = before.zip(stage.server()?);
    Ok(both.map(|(before, after)| (after.cpu_micros - before.cpu_micros) as f64 / 1e3 / seconds))
}
