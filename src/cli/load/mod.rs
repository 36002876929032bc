//! `ordercast load`: how much does this deployment take? Publishes synthetic events at a fixed rate, holds the sessions that
//! see them, and tells latencies, what the server used for it, and whether anything was wrong.
//!
//! [`plan`] decides what is to be done, [`scenarios`] do it on a [`stage`], with a [`publisher`] and a [`crowd`] of sessions;
//! [`floor`] is what the figures are compared with, [`report`] writes them down.

mod bottleneck;
mod clock;
mod crowd;
mod floor;
mod latency;
mod machine;
mod message;
mod names;
mod options;
mod plan;
mod process;
mod progress;
mod publisher;
mod queue;
mod report;
mod roster;
mod scenarios;
mod schedule;
mod screen;
mod seat;
mod stage;
mod tally;
mod tokens;
mod transport;
mod worker;

pub(super) use floor::Floor;
pub(super) use options::Load;

use tokio_util::sync::CancellationToken;

use super::{
    block_on,
    context::Context,
    error::CommandError,
    output::{print, say},
    signals::Signals,
};
use plan::Plan;
use report::Report;
use stage::{Stage, Stop};

impl Load {
    /// Loads, reports, and erases what it published. Fails where anything was wrong.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let plan = Plan::new(&self, context)?;
        let report = block_on(perform(plan))??;
        if let Some(file) = &self.html {
            report::write(file, &report.html(), "--html")?;
        }
        match self.json.as_deref() {
            Some(file) if file == std::path::Path::new("-") => print(report.json())?,
            Some(file) => {
                report::write(file, &report.json(), "--json")?;
                print(report.text())?;
            }
            None => print(report.text())?,
        }
        match report.faults.as_slice() {
            [] => Ok(()),
            faults => Err(CommandError::Failed(faults.join("\n"))),
        }
    }
}

async fn perform(plan: Plan) -> Result<Report, CommandError> {
    let interrupted = CancellationToken::new();
    let mut signals = Signals::listen().map_err(CommandError::failed)?;
    let told = interrupted.clone();
    tokio::spawn(async move {
        signals.next().await;
        told.cancel();
        signals.next().await;
        say("interrupted again: its orders are not erased");
        std::process::exit(1);
    });
    let mut stage = Stage::build(plan, interrupted)?;
    let outcome = scenarios::run(&mut stage).await;
    let report = match outcome {
        Ok(()) => stage.close().await,
        Err(Stop::Interrupted) => stage.close_early().await,
        Err(Stop::Failed(error)) => {
            let erased = stage.leave().await;
            return Err(match erased {
                Ok(()) => error,
                Err(erasing) => CommandError::Failed(format!("{error}\n{erasing}")),
            });
        }
    };
    stage.leave().await?;
    Ok(report)
}
