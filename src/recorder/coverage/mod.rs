//! Is every partition recorded? Whoever has it: what counts is progress in SQL, so a group whose partitions somebody else
//! takes away is noticed on every instance. Sets the recorder's lag, raises an alarm, and names who is in the group.
//!
//! Screens are not told: what the tail still holds is true without SQL. Where it does not reach progress any more, their
//! proof fails. The recorder of this room does not use this, and it changes nothing; `recorder::scheduler::Unrecorded` heals
//! the one cause that can be healed from here, a group that has dealt its partitions out to nobody.

mod standing;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::standing::{Say, Standing, Voice};
use crate::{
    log::{
        kafka::{KafkaClients, group},
        progress::ProgressViews,
        view::LogViews,
    },
    runtime::Component,
    telemetry::Metrics,
};

/// How often log and progress are compared.
const INTERVAL: Duration = Duration::from_secs(1);
/// What a group may take to give a dead recorder's partitions to another, beside `kafka.session_timeout`, at most.
const HAND_OVER: Duration = Duration::from_secs(60);

/// What the watch works with.
pub struct CoverageDependencies {
    /// Makes the client that asks who is in the group.
    pub clients: KafkaClients,
    /// The source topic.
    pub topic: String,
    /// The recorders' consumer group.
    pub group_id: String,
    /// `kafka.session_timeout`.
    pub session_timeout: Duration,
    /// What the topic looks like.
    pub log: LogViews,
    /// How far the recorders are.
    pub progress: ProgressViews,
    /// What is measured.
    pub metrics: Metrics,
}

/// For how long progress of a partition may stand still while there is something to record. A recorder that died is
/// replaced within its session, so that long is no fault.
fn patience(session_timeout: Duration) -> Duration {
    (session_timeout * 3).min(session_timeout + HAND_OVER)
}

/// Starts watching.
pub fn start(dependencies: CoverageDependencies) -> Component {
    let standing = Standing::new(patience(dependencies.session_timeout));
    let watch = Watch { dependencies, standing, voice: Voice::default(), measured: BTreeSet::new() };
    Component::task("recording", |stop| watch.run(stop))
}

struct Watch {
    dependencies: CoverageDependencies,
    standing: Standing,
    voice: Voice,
    /// Partitions that have a lag.
    measured: BTreeSet<i32>,
}

impl Watch {
    /// Inputs: the clock, stop.
    async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let Some(still) = self.compare() else { continue };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.speak(&still) => {}
            }
        }
    }

    /// The partitions that are not recorded.
    fn compare(&mut self) -> Option<BTreeSet<i32>> {
        let (view, stored) = (self.dependencies.log.borrow().clone()?, self.dependencies.progress.borrow().clone()?);
        let found = self.standing.compare(&view, &stored, Instant::now());
        let metrics = &self.dependencies.metrics;
        found.iter().for_each(|(partition, found)| metrics.recorder.set_lag(*partition, found.lag));
        let gone = self.measured.iter().filter(|partition| !found.contains_key(partition));
        gone.for_each(|partition| metrics.recorder.forget_lag(*partition));
        self.measured = found.keys().copied().collect();
        let still: BTreeSet<i32> =
            found.iter().filter(|(_, found)| found.stands_still).map(|(partition, _)| *partition).collect();
        metrics.partitions_not_recorded.set(still.len() as i64);
        Some(still)
    }

    async fn speak(&mut self, still: &BTreeSet<i32>) {
        match self.voice.on(still, Instant::now()) {
            Say::Nothing => {}
            Say::Over => tracing::info!(kafka.group = self.dependencies.group_id, "every partition is recorded again"),
            Say::Alarm => {
                let members = self.members().await;
                tracing::error!(
                    kafka.partitions = ?still,
                    kafka.group = self.dependencies.group_id,
                    kafka.members = members,
                    "partitions are not recorded although there is something to record: another deployment or a foreign \
                     consumer in the group may have taken them, who has them cannot store, or no instance records"
                );
            }
        }
    }

    /// Who is in the group, for a person.
    async fn members(&self) -> String {
        let (tell, told) = oneshot::channel();
        let (clients, group_id) = (self.dependencies.clients.clone(), self.dependencies.group_id.clone());
        let topic = self.dependencies.topic.clone();
        // Blocks until the brokers answer. Who does not wait any more does not need the answer.
        let asking = move || drop(tell.send(group::describe(&clients, &group_id, &topic)));
        match thread::Builder::new().name("group".into()).spawn(asking) {
            Ok(_) => told.await.unwrap_or_else(|_| "not told".to_owned()),
            Err(error) => format!("not told: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_may_stand_still_while_the_group_replaces_who_had_it() {
        let minute = Duration::from_secs(60);
        for (session, patience_of_it) in [(1, 3), (10, 30), (30, 90), (1_800, 1_860)] {
            assert_eq!(patience(session * minute / 60), patience_of_it * minute / 60, "{session} s");
        }
    }
}
