//! `ordercast serve`: the service, against Kafka and SQL.

use std::sync::Arc;

use super::{context::Context, error::CommandError, service};
use crate::{
    app::{App, BuildError},
    config::Need,
    telemetry::{Destination, report_panics},
};

/// Runs an instance until SIGTERM or SIGINT.
pub(super) fn run(context: &Context) -> Result<(), CommandError> {
    let settings = context.settings(&[Need::Brokers, Need::Database, Need::TokenKeys])?;
    service::log_to(Destination::Stdout, &settings.log)?;
    service::take_open_files(&settings);
    service::run(async |stop| {
        let app = App::build(settings, Arc::new(|_| {}))?;
        report_panics(app.metrics().panics.clone());
        app.run_until_stopped(stop.wait()).await.map_err(CommandError::failed)
    })?
}

/// Wrong settings are told apart from a machine that cannot do what they ask.
impl From<BuildError> for CommandError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Settings(error) => Self::Settings(error),
            error => Self::failed(error),
        }
    }
}
