//! `ordercast config`: the settings as they take effect.

use super::{context::Context, error::CommandError, output::print};
use crate::{config::effective_toml, log::kafka::KafkaClients};

/// Prints them as TOML, secrets starred. A command's own needs are not looked at: what is missing shows as not set.
pub(super) fn run(context: &Context) -> Result<(), CommandError> {
    let settings = context.settings(&[])?;
    KafkaClients::new(&settings.kafka)?;
    print(effective_toml(&context.sources()?)?.trim_end())
}
