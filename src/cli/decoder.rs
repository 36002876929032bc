//! The decoder as the settings want it.

use crate::{
    config::{self, Problem, Settings, SettingsError},
    event::decode::{Decoder, DecoderOptions, FieldPointers, MissingVersion},
};

/// The decoder of these settings, or every problem it has with them.
pub(crate) fn decoder(settings: &Settings) -> Result<Decoder, SettingsError> {
    let fields = settings.event.fields.clone();
    let options = DecoderOptions {
        fields: FieldPointers {
            order_id: fields.order_id,
            user_id: fields.user_id,
            status: fields.status,
            version: fields.version,
            occurred_at: fields.occurred_at,
            details: fields.details,
            event_id: fields.event_id,
            viewers: fields.viewers,
        },
        missing_version: match settings.kafka.missing_version {
            config::MissingVersion::Offset => MissingVersion::Offset,
            config::MissingVersion::DeadLetter => MissingVersion::DeadLetter,
        },
        statuses: settings.lifecycle.statuses.clone(),
        terminal: settings.lifecycle.terminal.clone(),
    };
    Decoder::new(&options).map_err(|problems| SettingsError {
        problems: problems
            .into_iter()
            .map(|problem| {
                let message = format!("{:?} {}", problem.value, problem.problem);
                Problem::at(&problem.key, &problem.key, message)
            })
            .collect(),
    })
}
