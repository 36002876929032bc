//! `log`: what is written to the log, and how.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{
    reader::Section,
    rule::{Rule, one_of},
};

/// The log.
#[derive(Debug, Clone)]
pub struct Log {
    /// Default: `text` on a terminal, else `json`.
    pub format: Option<LogFormat>,
    /// A level, or directives of the crate tracing-subscriber: `info,ordercast::hub=debug`. Default `info`.
    pub level: String,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl Log {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let formats = &[("json", LogFormat::Json), ("text", LogFormat::Text)];
        Self {
            format: section.optional("format", one_of(formats)),
            level: section.value("level", "info", directives()),
        }
    }
}

fn directives() -> Rule<String> {
    Rule::new("off, error, warn, info, debug or trace, or directives such as info,ordercast::hub=debug", |text| {
        // The filter takes a bare word it does not know for a module and logs all of it, so a misspelt level would pass.
        let is_sound = |directive: &str| directive.contains(['=', '[']) || directive.parse::<LevelFilter>().is_ok();
        let is_filter = EnvFilter::builder().parse(text).is_ok() && text.split(',').all(is_sound);
        is_filter.then(|| text.to_owned())
    })
}
