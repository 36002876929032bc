//! Waits for a database whose schema this binary knows.

use std::time::{Duration, Instant};

use crate::{
    store::{Store, StoreError},
    telemetry::Reminder,
};

const FIRST_INTERVAL: Duration = Duration::from_millis(500);
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

/// Ends when the schema is this binary's. Says what it waits for, once per reason and then once a minute: a process that
/// waits can be helped by `ordercast migrate` from elsewhere, one that exits would only be started again.
pub(super) async fn wait_until_current(store: &dyn Store) {
    let mut interval = FIRST_INTERVAL;
    let mut reminder = Reminder::default();
    while let Err(error) = store.check_schema().await {
        if reminder.is_due(&error.to_string(), Instant::now()) {
            match error {
                StoreError::SchemaBehind { .. } | StoreError::SchemaAhead { .. } | StoreError::Encoding { .. } => {
                    tracing::error!(%error, "waiting for a database schema that fits");
                }
                _ if error.needs_somebody() => tracing::error!(%error, "waiting for the database"),
                _ => tracing::warn!(%error, "waiting for the database"),
            }
        }
        tokio::time::sleep(interval).await;
        interval = (interval * 2).min(LONGEST_INTERVAL);
    }
}
