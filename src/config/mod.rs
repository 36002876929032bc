//! Settings: typed, one file per section, all checked before anything is opened.
//!
//! Layers: defaults, the settings file, the environment. [`Sources`] holds them as values, so nothing here reads a global. A command
//! calls [`load`] with what it [needs](Need) and ends with exit code 2 on a [`SettingsError`], which lists every problem at once.

mod auth;
mod check;
mod database;
mod database_url;
mod event;
mod http;
mod hub;
mod kafka;
mod librdkafka;
mod lifecycle;
mod log;
mod operations;
mod origin;
mod pipelines;
mod problem;
mod properties;
mod reader;
mod render;
mod rule;
mod session;
mod shown;
mod shutdown;
mod sources;
#[cfg(test)]
mod tests;

pub use auth::{Algorithm, Auth, MIN_SECRET_BYTES, SecretFiles, is_safe_key_set_url};
pub use check::Need;
pub use database::Database;
pub use event::{Event, Fields};
pub use http::{Http, WebSocketCarrier};
pub use hub::Hub;
pub use kafka::{Kafka, MissingVersion, NotABroker, OnLogGap, OnLogRegression, parse_broker};
pub use lifecycle::Lifecycle;
pub use log::{Log, LogFormat};
pub use operations::Operations;
pub use origin::{AllowedOrigin, NotAnOrigin, WebOrigin, host_and_port};
pub use pipelines::Pipelines;
pub use problem::{Problem, SettingsError};
pub use properties::{Property, RESERVED_PROPERTIES, allowed_for, is_harmless};
pub use render::effective_toml;
pub use session::{MAX_SNAPSHOT_BYTES, MIN_MAILBOX_BYTES, PerUserPolicy, Session};
pub use shutdown::Shutdown;
pub use sources::{SettingsFile, Sources, variable};

use reader::{Entry, Reader};

/// Everything that can be set. Fields are named as the keys are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What an instance does.
    pub pipelines: Pipelines,
    /// The public listener.
    pub http: Http,
    /// The listener for health checks and metrics.
    pub operations: Operations,
    /// The log the events come from.
    pub kafka: Kafka,
    /// Where orders are kept.
    pub database: Database,
    /// Which tokens are good.
    pub auth: Auth,
    /// Where in a record the fields stand.
    pub event: Event,
    /// What one socket may take.
    pub session: Session,
    /// How much of the log stays in memory.
    pub hub: Hub,
    /// The statuses orders go through.
    pub lifecycle: Lifecycle,
    /// How an instance leaves.
    pub shutdown: Shutdown,
    /// What is logged, and how.
    pub log: Log,
}

/// The settings of `sources`, checked for a command with these `needs`.
pub fn load(sources: &Sources, needs: &[Need]) -> Result<Settings, SettingsError> {
    read(sources, needs).map(|(settings, _)| settings)
}

/// Every setting as `(key, default)`, the default as the environment writes it, in the order of the sections.
pub fn defaults() -> Vec<(String, Option<String>)> {
    let (_, entries) = read(&Sources::default(), &[]).expect("nothing given breaks no rule");
    entries.into_iter().map(|entry| (entry.key(), entry.default)).collect()
}

/// What may be a mistake and stops nothing, for people.
pub fn warnings(sources: &Sources) -> Vec<String> {
    let mut reader = Reader::new(sources);
    if reader.problems.is_empty() {
        read_all(&mut reader);
    }
    reader.warnings
}

fn read(sources: &Sources, needs: &[Need]) -> Result<(Settings, Vec<Entry>), SettingsError> {
    let mut reader = Reader::new(sources);
    // A layer that could not be read would make its settings look missing.
    if !reader.problems.is_empty() {
        return Err(SettingsError { problems: reader.problems });
    }
    let settings = read_all(&mut reader);
    check::check(&settings, needs, &mut reader);
    if reader.problems.is_empty() {
        Ok((settings, reader.entries))
    } else {
        Err(SettingsError { problems: reader.problems })
    }
}

fn read_all(reader: &mut Reader) -> Settings {
    let settings = Settings {
        pipelines: Pipelines::read(reader.section("")),
        http: Http::read(reader.section("http")),
        operations: Operations::read(reader.section("operations")),
        kafka: Kafka::read(reader.section("kafka")),
        database: Database::read(reader.section("database")),
        auth: Auth::read(reader.section("auth")),
        event: Event::read(reader),
        session: Session::read(reader.section("session")),
        hub: Hub::read(reader.section("hub")),
        lifecycle: Lifecycle::read(reader.section("lifecycle")),
        shutdown: Shutdown::read(reader.section("shutdown")),
        log: Log::read(reader.section("log")),
    };
    reader.refuse_unknown();
    settings
}
