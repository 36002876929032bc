//! Watches where the log ends, whatever transactions are open: the high watermarks, which say what has been acknowledged to
//! producers. They serve the proof of being up to date alone ([`freshness`](crate::log::freshness)); where to read, what is
//! behind and what the log is go by the stable ends of [`log_watch`](super::log_watch), beyond which nobody may read.
//!
//! A thread and a client of its own: which end a client is told is decided when it is made.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    KafkaClients, StartError,
    inquirer::{Inquirer, Place},
};
use crate::{
    config,
    log::view::{LogEndViews, LogEnds},
    runtime::{Component, pause},
};

/// How often the ends are asked for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How soon they are asked for again where answers take long.
const BREATH: Duration = Duration::from_millis(100);

/// Starts watching.
pub fn start(clients: &KafkaClients, settings: &config::Kafka) -> Result<(Component, LogEndViews), StartError> {
    let inquirer = Inquirer::new(clients.clone(), clients.end_inquirer(), "log-ends", &settings.topic)?;
    let (views, receiver) = watch::channel(None);
    // A proof has to come several times within the time for which it is one.
    let interval = INTERVAL.min(settings.stale_after / 4);
    let watcher = Watcher { inquirer, views, interval };
    let component = Component::thread("log-ends", move |stop| watcher.run(&stop))?;
    Ok((component, receiver))
}

struct Watcher {
    inquirer: Inquirer,
    views: watch::Sender<Option<Arc<LogEnds>>>,
    interval: Duration,
}

impl Watcher {
    /// Inputs: the clock, stop.
    fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let begun = Instant::now();
            self.inquirer.serve();
            self.look();
            let next = (begun + self.interval).max(Instant::now() + BREATH);
            while !stop.is_cancelled() && Instant::now() < next {
                pause(stop, next);
            }
        }
    }

    fn look(&mut self) {
        let leaders = match self.inquirer.leaders() {
            Ok(leaders) => leaders,
            // The watch of the log asks the same of the same brokers, and tells.
            Err(error) => return tracing::debug!(%error, "the brokers do not tell about the topic; still asking"),
        };
        let queried_at = Instant::now();
        let ends = self.inquirer.offsets(&leaders, Place::End);
        if !ends.is_empty() {
            self.views.send_replace(Some(Arc::new(LogEnds { ends, queried_at })));
        }
    }
}
