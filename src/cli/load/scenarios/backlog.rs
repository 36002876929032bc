//! Many records at once, while sessions watch: how long until every screen shows the last of them and is called fresh.

use super::{Stage, Stop};
use crate::cli::load::{
    clock::{self, SECOND},
    publisher::Job,
    report,
    worker::Command,
};

pub(super) async fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.begin().await?;
    let events = stage.plan.events;
    stage.progress.phase("publishing the backlog");
    stage.crowd.ask(|| Command::Window { from: clock::now(), to: u64::MAX });
    let (before, begun) = (stage.server()?, clock::now());
    let published = stage.publish(Job::AtOnce { events }).await?;
    stage.progress.phase("waiting for the screens");
    let complete = stage.converge().await?;
    let took = clock::now().saturating_sub(begun) as f64 / SECOND as f64;
    let findings = stage.crowd.findings();
    stage.report.note_window(&findings.latencies, &published, std::iter::empty());
    stage.report.figure("into_the_log", published.sent as f64 / published.took.as_secs_f64(), "events a second");
    if let Some(complete) = complete {
        stage.report.figure("complete_after", report::seconds(complete), "s after the last was in the log");
        stage.report.figure("taken", published.sent as f64 / took, "events a second, until all screens were complete");
    }
    if let Some((before, after)) = before.zip(stage.server()?) {
        let micros = (after.cpu_micros - before.cpu_micros) as f64;
        stage.report.figure("cpu_per_event", micros / published.sent.max(1) as f64, "µs of the server, as far as that");
    }
    Ok(())
}
