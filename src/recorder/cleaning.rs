//! Erases orders that ended long ago, where `lifecycle.erase_after` says so: stretch by stretch, with pauses, so that nobody
//! waits for it. Every instance does, which does no harm.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{domain::Lifecycle, runtime::Component, store::Store, telemetry::Metrics};

/// Between two stretches.
const PAUSE: Duration = Duration::from_secs(1);
/// Once all orders have been looked at, and after an error.
const REST: Duration = Duration::from_secs(600);

/// What the task works with.
pub struct CleaningDependencies {
    /// Where orders are kept.
    pub store: Arc<dyn Store>,
    /// Which statuses are terminal.
    pub lifecycle: Arc<Lifecycle>,
    /// `lifecycle.erase_after`.
    pub age: Duration,
    /// Counts what is erased.
    pub metrics: Metrics,
}

/// Starts erasing.
pub fn start(dependencies: CleaningDependencies) -> Component {
    Component::task("cleaning", |stop| run(dependencies, stop))
}

async fn run(dependencies: CleaningDependencies, stop: CancellationToken) {
    let mut after = None;
    loop {
        let stretch = dependencies.store.erase_ended(dependencies.age, &dependencies.lifecycle, after.as_ref());
        let Some(erased) = stop.run_until_cancelled(stretch).await else { return };
        let pause = match erased {
            Ok(erased) => {
                dependencies.metrics.orders_cleaned.inc_by(erased.orders);
                after = erased.next;
                if after.is_some() { PAUSE } else { REST }
            }
            Err(error) => {
                tracing::debug!(%error, "orders that ended long ago could not be erased; trying again later");
                REST
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
