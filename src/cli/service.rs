//! What the commands that run the service share: the process around it.

use std::process::exit;

use tokio::sync::oneshot;

use super::{error::CommandError, output::say, signals::Signals};
use crate::{
    config::{Log, Settings},
    telemetry::{Destination, start_logging},
};

/// Files a process needs beside its sockets: listeners, brokers, the database, itself.
const OTHER_FILES: u64 = 512;

/// Logs as the settings say.
pub(super) fn log_to(destination: Destination, log: &Log) -> Result<(), CommandError> {
    start_logging(log, destination).map_err(CommandError::failed)
}

/// Takes as many open files as the system gives and says so when they are too few for the sessions allowed.
pub(super) fn take_open_files(settings: &Settings) {
    let wanted = u64::try_from(settings.session.max_total).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(
            files.limit = limit,
            files.wanted = wanted,
            "the open-file limit is too low for session.max_total: raise it (ulimit -n) or lower the setting"
        ),
        Err(error) => tracing::warn!(%error, "the open-file limit could not be raised"),
    }
}

/// Runs a service to its end. It is given what resolves when it should stop; a second signal ends the process at once.
pub(super) fn run<T, F: Future<Output = T>>(service: impl FnOnce(Stop) -> F) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::failed)?;
    runtime.block_on(async {
        let mut signals = Signals::listen().map_err(CommandError::failed)?;
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            signals.next().await;
            // A service that has ended needs not be told.
            let _ = stop.send(());
            signals.next().await;
            say("interrupted again: ending at once");
            exit(1);
        });
        Ok(service(Stop(stopped)).await)
    })
}

/// Resolves when the service should stop.
pub(super) struct Stop(oneshot::Receiver<()>);

impl Stop {
    /// Waits for it.
    pub(super) async fn wait(self) {
        if self.0.await.is_err() {
            // Nobody can ask any more.
            std::future::pending().await
        }
    }
}
