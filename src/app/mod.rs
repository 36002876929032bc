//! The composition root: builds everything in the order in which it depends on each other, and stops it in reverse.
//!
//! ```text
//! build    settings → metrics, store, hub → listeners bound
//! run      listeners serve (not ready) → schema checked → log watched → progress → recorder, fanout, snapshots, control
//! stop     not ready → sessions told to go → listeners → control, fanout, recorder, snapshots, progress, log watch
//! ```
//!
//! Nothing here decides anything about orders. A component that ends early ends the process, with its name in the log.

mod keys;
mod pipelines;
mod schema;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::web;
use secrecy::ExposeSecret;
use tokio::sync::watch;

use self::pipelines::Pipelines;
use crate::{
    auth::{Origins, RevocationList, Verifier},
    config::{PerUserPolicy, Problem, Settings, SettingsError, WebSocketCarrier},
    control::ControlWriter,
    domain::{
        Timestamp,
        decode::{Decoder, DecoderOptions, FieldPointers, MissingVersion},
    },
    http::{
        answers::Answers,
        operations::{Guard, Operations},
        public::Public,
        rate::RequestRate,
        server::{Listening, PENDING, Transport, bind, serve_operations, serve_public},
        source::TrustedProxies,
    },
    hub::{Hub, SharedHub},
    log::kafka::{KafkaClients, StartError},
    protocol::{StaleReason, Staleness},
    runtime::Component,
    session::SessionConfig,
    store::{
        self, Store,
        gateway::{self, GatewayDependencies, StoreHandle},
    },
    telemetry::Metrics,
    transport::{Instance, SessionLimits, ViewerContext, websocket::Carrier},
};

/// How long a call waits for a connection of the database.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one transaction may take.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that the operations listener takes, from one address or many: monitoring may come through one proxy.
const OPERATIONS_CONNECTIONS: usize = 256;
/// How often the drain looks whether all sessions are gone.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// Routes that `ordercast dev` adds to the public listener.
pub type ExtraRoutes = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// One instance, built and not yet running.
pub struct App {
    settings: Settings,
    metrics: Metrics,
    store: Arc<dyn Store>,
    clients: KafkaClients,
    decoder: Arc<Decoder>,
    hub: Arc<SharedHub>,
    instance: Arc<Instance>,
    revocations: Arc<RevocationList>,
    store_handle: StoreHandle,
    gateway: Component,
    keys: Component,
    /// What lists of sessions call this instance.
    name: String,
    status: Status,
    public: std::net::TcpListener,
    operations: std::net::TcpListener,
    public_state: web::Data<Public>,
    extra_routes: ExtraRoutes,
}

/// What the instance says about itself, from before its pipelines run.
struct Status {
    ready: watch::Sender<bool>,
    staleness: watch::Sender<Staleness>,
    progress_read_at: watch::Sender<Option<Instant>>,
}

/// The instance could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Settings that were not known to be wrong before they were used: all of them.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// A listener.
    #[error("{0}")]
    Listen(#[from] io::Error),
}

/// The instance stopped for another reason than having been asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component could not be started.
    #[error("{0}")]
    Start(#[from] StartError),
    /// A listener broke.
    #[error("a listener broke: {0}")]
    Listen(#[from] io::Error),
    /// A component ended although nobody had asked it to.
    #[error("the {0} ended early")]
    EndedEarly(&'static str),
}

impl App {
    /// Builds an instance and takes its addresses. Has to be called within the tokio runtime that will run it.
    pub fn build(settings: Settings, extra_routes: ExtraRoutes) -> Result<Self, BuildError> {
        let metrics = Metrics::new(Timestamp::now());
        let Tools { decoder, verifier, store, clients } = Tools::of(&settings)?;
        let hub = Arc::new(SharedHub::new(Hub::new(settings.hub.tail_bytes)));
        let keys = keys::start(settings.auth.clone(), verifier.clone(), metrics.clone());
        let unproved = Staleness { reasons: [StaleReason::CatchingUp].into_iter().collect(), since: Timestamp::now() };
        let (ready, ready_seen) = watch::channel(false);
        let (staleness, staleness_seen) = watch::channel(unproved);
        let (progress_read_at, _) = watch::channel(None);
        let instance = Arc::new(Instance::new(staleness_seen));
        let revocations = Arc::new(RevocationList::new(settings.auth.leeway));
        let (store_handle, requests) = StoreHandle::open();
        let gateway_dependencies = GatewayDependencies { store: store.clone(), topic: settings.kafka.topic.clone() };
        let public_state = web::Data::new(Public {
            viewers: Arc::new(ViewerContext {
                hub: hub.clone(),
                instance: instance.clone(),
                verifier,
                revocations: revocations.clone(),
                config: Arc::new(session_config(&settings)),
                limits: session_limits(&settings),
                metrics: metrics.sessions.clone(),
                outside: metrics.outside.clone(),
            }),
            ready: ready_seen,
            store: store_handle.clone(),
            origins: Origins::new(&settings.http),
            proxies: TrustedProxies::new(&settings.http.trusted_proxies),
            rate: Arc::new(RequestRate::new(settings.session.max_handshakes_per_second)),
            answers: Answers::new(settings.http.answer_bytes, settings.session.send_timeout, metrics.answers.clone()),
        });
        Ok(Self {
            public: bind(settings.http.listen, "http.listen")?,
            operations: bind(settings.operations.listen, "operations.listen")?,
            status: Status { ready, staleness, progress_read_at },
            settings,
            metrics,
            store,
            clients,
            decoder,
            hub,
            instance,
            revocations,
            store_handle,
            gateway: gateway::start(gateway_dependencies, requests),
            keys,
            name: ulid::Ulid::generate().to_string(),
            public_state,
            extra_routes,
        })
    }

    /// The address of the public listener.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// The address of the operations listener.
    pub fn operations_address(&self) -> io::Result<SocketAddr> {
        self.operations.local_addr()
    }

    /// Tells when the instance has caught up with the log, and knows what is revoked, for the first time.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.status.ready.subscribe()
    }

    /// What this instance counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store, for `dev`, which prepares the schema itself.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Runs until `stop` resolves, then leaves in good order: within `shutdown.spread` and `shutdown.grace` together.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let (kafka, clients) = (&self.settings.kafka, self.clients.clone());
        let control = Arc::new(ControlWriter::new(&clients, &kafka.control_topic));
        let (mut public, mut operations) = self.serve(control.clone())?;
        tracing::info!(http.listen = %public.address, operations.listen = %operations.address, "listening");
        for origin in self.settings.http.allowed_origins.iter().filter(|origin| origin.is_anybodys()) {
            tracing::warn!(
                http.allowed_origins = %origin,
                "anybody can make a page of this origin: where it is listed, the token alone keeps strangers out"
            );
        }
        let mut pipelines = None;
        let outcome = tokio::select! {
            () = stop => Ok(()),
            error = self.run_pipelines(&mut pipelines, clients, control) => Err(error),
            () = self.gateway.ended() => Err(RunError::EndedEarly(self.gateway.name())),
            () = self.keys.ended() => Err(RunError::EndedEarly(self.keys.name())),
            ended = public.ended() => Err(ended.map_or_else(RunError::Listen, |()| RunError::EndedEarly("public listener"))),
            ended = operations.ended() => Err(ended.map_or_else(RunError::Listen, |()| RunError::EndedEarly("operations listener"))),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "stopping because a component failed");
        }
        let deadline = Instant::now() + self.settings.shutdown.spread + self.settings.shutdown.grace;
        self.drain_sessions(deadline - self.settings.shutdown.grace / 2).await;
        public.stop().await;
        if let Some(pipelines) = pipelines {
            pipelines.stop(deadline).await;
        }
        operations.stop().await;
        match &outcome {
            Ok(()) => tracing::info!("stopped"),
            // Said again, because the end of a log is looked at first.
            Err(error) => tracing::error!(%error, "stopped"),
        }
        outcome
    }

    /// Starts the pipelines once the database fits, and ends when one of them does, or cannot be started.
    async fn run_pipelines(
        &self,
        running: &mut Option<Pipelines>,
        clients: KafkaClients,
        control: Arc<ControlWriter>,
    ) -> RunError {
        schema::wait_until_current(&*self.store).await;
        match Pipelines::start(self, clients, control) {
            Ok(pipelines) => RunError::EndedEarly(running.insert(pipelines).ended_early().await),
            Err(error) => error,
        }
    }

    fn serve(&self, control: Arc<ControlWriter>) -> Result<(Listening, Listening), RunError> {
        let extra = self.extra_routes.clone();
        let session = &self.settings.session;
        let transport = Transport {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_sessions: session.max_total,
            max_waiting: PENDING,
            // As many as may begin in two seconds: with a slow network they overlap.
            max_waiting_per_address: session.max_handshakes_per_second.get() as usize * 2,
            proxies: TrustedProxies::new(&self.settings.http.trusted_proxies),
            keep_alive: self.settings.http.keep_alive,
            send_timeout: session.send_timeout,
            websocket: carrier(&self.settings),
            rate: self.public_state.rate.clone(),
            metrics: self.metrics.clone(),
        };
        let inner = Transport {
            workers: 1,
            max_sessions: 0,
            max_waiting: OPERATIONS_CONNECTIONS,
            max_waiting_per_address: OPERATIONS_CONNECTIONS,
            rate: Arc::new(RequestRate::new(session.max_handshakes_per_second)),
            ..transport.clone()
        };
        let public =
            serve_public(self.public.try_clone()?, self.public_state.clone(), transport, move |config| extra(config))?;
        let read_at = self.status.progress_read_at.subscribe();
        let operations = Operations {
            instance: self.instance.clone(),
            ready: self.status.ready.subscribe(),
            database_answers: Box::new(move || read_at.borrow().is_some_and(|at| at.elapsed() < ACQUIRE_TIMEOUT)),
            metrics: self.metrics.clone(),
            name: self.name.clone(),
            hub: self.hub.clone(),
            revocations: self.revocations.clone(),
            control,
            store: self.store_handle.clone(),
            guard: Guard::new(self.settings.operations.token.as_ref(), self.operations.local_addr()?),
        };
        Ok((public, serve_operations(self.operations.try_clone()?, web::Data::new(operations), inner)?))
    }

    /// Tells every session to go, each at its own time, and waits for them, but not for ever for a client that does
    /// nothing.
    async fn drain_sessions(&self, deadline: Instant) {
        tracing::info!(sessions = self.hub.step(|hub| hub.sessions()), "leaving");
        self.instance.begin_drain(self.settings.shutdown.spread);
        self.hub.step(Hub::nudge_all);
        while self.hub.step(|hub| hub.sessions()) > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_INTERVAL).await;
        }
    }
}

/// What settings are made into, and what shows only then whether they can be used.
struct Tools {
    decoder: Arc<Decoder>,
    verifier: Arc<Verifier>,
    store: Arc<dyn Store>,
    clients: KafkaClients,
}

impl Tools {
    /// Makes all, or says of all what is wrong. Connects to nothing.
    fn of(settings: &Settings) -> Result<Self, SettingsError> {
        let decoder = Decoder::new(&decoder_options(settings)).map_err(|wrong| {
            wrong.iter().map(|it| Problem::at(&it.key, &it.key, format!("{:?} {}", it.value, it.problem))).collect()
        });
        let verifier = Verifier::new(&settings.auth).map_err(|error| error.problems);
        let url = settings.database.url.as_ref().map_or("", |url| url.expose_secret());
        let store = store::connect(url, store_limits(settings))
            .map_err(|error| vec![Problem::at("database.url", "database.url", error)]);
        let clients = KafkaClients::new(&settings.kafka).map_err(|error| error.problems);
        match (decoder, verifier, store, clients) {
            (Ok(decoder), Ok(verifier), Ok(store), Ok(clients)) => {
                Ok(Self { decoder: Arc::new(decoder), verifier: Arc::new(verifier), store, clients })
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

#[cfg(test)]
mod tests;
