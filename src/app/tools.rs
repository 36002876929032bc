//! What settings are made into.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret;

use super::ACQUIRE_TIMEOUT;
use crate::{
    auth::Verifier,
    config::{PerUserPolicy, Problem, Settings, SettingsError, WebSocketCarrier},
    domain::decode::{Decoder, DecoderOptions, FieldPointers, MissingVersion},
    log::kafka::KafkaClients,
    session::SessionConfig,
    store::{self, Store},
    transport::{SessionLimits, websocket::Carrier},
};

/// How long one transaction may take.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// What settings are made into, and what shows only then whether they can be used.
pub(super) struct Tools {
    pub(super) decoder: Arc<Decoder>,
    /// `None` where nobody shows a token.
    pub(super) verifier: Option<Verifier>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clients: KafkaClients,
}

impl Tools {
    /// Makes all, or says of all what is wrong. Connects to nothing.
    pub(super) fn of(settings: &Settings) -> Result<Self, SettingsError> {
        let decoder = Decoder::new(&decoder_options(settings)).map_err(|wrong| {
            wrong.iter().map(|it| Problem::at(&it.key, &it.key, format!("{:?} {}", it.value, it.problem))).collect()
        });
        let verifier = settings.pipelines.push.then(|| Verifier::new(&settings.auth)).transpose();
        let verifier = verifier.map_err(|error| error.problems);
        let url = settings.database.url.as_ref().map_or("", |url| url.expose_secret());
        let store = store::connect(url, store_limits(settings))
            .map_err(|error| vec![Problem::at("database.url", "database.url", error)]);
        let clients = KafkaClients::new(&settings.kafka).map_err(|error| error.problems);
        match (decoder, verifier, store, clients) {
            (Ok(decoder), Ok(verifier), Ok(store), Ok(clients)) => {
                Ok(Self { decoder: Arc::new(decoder), verifier, store, clients })
            }
            (decoder, verifier, store, clients) => {
                let wrong: [Option<Vec<Problem>>; 4] = [decoder.err(), verifier.err(), store.err(), clients.err()];
                Err(SettingsError { problems: wrong.into_iter().flatten().flatten().collect() })
            }
        }
    }
}

/// How much of the database an instance takes.
pub fn store_limits(settings: &Settings) -> store::PoolLimits {
    store::PoolLimits {
        max_connections: settings.database.max_connections,
        acquire_timeout: ACQUIRE_TIMEOUT,
        transaction_timeout: TRANSACTION_TIMEOUT,
    }
}

/// The rules of every session.
pub fn session_config(settings: &Settings) -> SessionConfig {
    let session = &settings.session;
    SessionConfig {
        heartbeat_interval: session.heartbeat_interval,
        snapshot_timeout: session.snapshot_timeout,
        snapshot_page: session.snapshot_page,
        snapshot_bytes: session.snapshot_bytes,
        complete_after: session.complete_after,
    }
}

/// What every session may take.
pub fn session_limits(settings: &Settings) -> SessionLimits {
    let session = &settings.session;
    SessionLimits {
        mailbox_bytes: session.mailbox_bytes,
        max_per_user: session.max_per_user,
        max_per_link: session.max_per_link,
        closes_oldest: session.per_user_policy == PerUserPolicy::CloseOldest,
        max_total: session.max_total,
        send_timeout: session.send_timeout,
    }
}

/// What carries a WebSocket.
pub fn carrier(settings: &Settings) -> Carrier {
    match settings.http.websocket {
        WebSocketCarrier::Raw => Carrier::Socket,
        WebSocketCarrier::Actix => Carrier::Body,
    }
}

/// How the settings want events decoded.
pub fn decoder_options(settings: &Settings) -> DecoderOptions {
    let fields = settings.event.fields.clone();
    DecoderOptions {
        fields: FieldPointers {
            order_id: fields.order_id,
            user_id: fields.user_id,
            status: fields.status,
            version: fields.version,
            occurred_at: fields.occurred_at,
            details: fields.details,
            event_id: fields.event_id,
            viewers: fields.viewers,
            deleted: fields.deleted,
        },
        trim: settings.event.trim,
        missing_version: match settings.kafka.missing_version {
            crate::config::MissingVersion::Offset => MissingVersion::Offset,
            crate::config::MissingVersion::DeadLetter => MissingVersion::DeadLetter,
        },
        statuses: settings.lifecycle.statuses.clone(),
        terminal: settings.lifecycle.terminal.clone(),
    }
}
