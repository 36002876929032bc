//! The server is asked to leave: every session is to hear so by a Close frame.

use std::{process::Command as Process, time::Duration};

use super::{Stage, Stop};
use crate::cli::{
    error::CommandError,
    load::{
        clock::{self, SECOND},
        process, report,
    },
    output::say,
};

/// For somebody to send the signal by hand.
const SIGNAL_TIMEOUT: u64 = 600 * SECOND;
/// With no session ending for so long, those that are left stay.
const QUIET: u64 = 15 * SECOND;
const EXIT_TIMEOUT: u64 = 60 * SECOND;
const LOOK_INTERVAL: u64 = SECOND / 50;

pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.begin().await?;
    stage.warm_up().await?;
    stage.report.expects_ends = true;
    let all = u64::from(stage.plan.roster.sessions);
    stage.progress.phase("leaving");
    let begun = if stage.plan.pids.is_empty() {
        stage.progress.end();
        say("ready: send SIGTERM to the server");
        wait_for_the_first(stage).await?;
        clock::now()
    } else {
        let begun = clock::now();
        stage.plan.pids.iter().try_for_each(|pid| terminate(*pid))?;
        stage.server_is_gone = true;
        begun
    };
    while stage.crowd.ended() < all {
        if clock::until(stage.crowd.last_end().max(begun) + QUIET).is_zero() {
            break;
        }
        stage.pause_until(clock::now() + LOOK_INTERVAL).await?;
    }
    let last = stage.crowd.last_end().saturating_sub(begun);
    stage.report.figure("last_close", report::seconds(Duration::from_nanos(last)), "s after the signal");
    if !stage.plan.pids.is_empty() {
        match exit(stage, begun).await? {
            Some(took) => {
                stage.report.figure("exit", report::seconds(Duration::from_nanos(took)), "s after the signal")
            }
            None => stage.report.fault("the server has not ended a minute after SIGTERM".to_owned()),
        }
    }
    let findings = stage.crowd.findings();
    let told: u64 = findings.tally.closes.values().sum();
    stage.report.figure("told", told as f64, "sessions, by a Close frame");
    if findings.tally.lost > 0 {
        stage.report.fault(format!("{} sessions ended without a Close frame", findings.tally.lost));
    }
    let left = all.saturating_sub(stage.crowd.ended());
    if left > 0 && stage.plan.destinations.len() == 1 {
        stage.report.fault(format!("{left} sessions were not ended"));
    }
    Ok(())
}

async fn wait_for_the_first(stage: &mut Stage) -> Result<(), Stop> {
    let deadline = clock::now() + SIGNAL_TIMEOUT;
    while stage.crowd.ended() == 0 {
        if clock::until(deadline).is_zero() {
            return Err(Stop::Failed(CommandError::Failed("no session ended within ten minutes".to_owned())));
        }
        stage.pause_until(clock::now() + LOOK_INTERVAL).await?;
    }
    Ok(())
}

/// How long all processes took to end.
async fn exit(stage: &mut Stage, begun: u64) -> Result<Option<u64>, Stop> {
    while stage.plan.pids.iter().any(|pid| process::is_there(*pid)) {
        if clock::until(begun + EXIT_TIMEOUT).is_zero() {
            return Ok(None);
        }
        stage.pause_until(clock::now() + LOOK_INTERVAL).await?;
    }
    Ok(Some(clock::now().saturating_sub(begun)))
}

fn terminate(pid: u32) -> Result<(), Stop> {
    // The shell has it built in, whatever is installed.
    let sent = Process::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status()?;
    if sent.success() {
        Ok(())
    } else {
        Err(Stop::Failed(CommandError::Failed(format!("--pid {pid}: cannot be asked to leave"))))
    }
}
