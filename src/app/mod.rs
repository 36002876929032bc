//! The composition root: builds everything in the order in which it depends on each other, and stops it in reverse.
//!
//! ```text
//! build    settings → metrics, store, hub → listeners bound
//! run      listeners serve (not ready) → schema checked → log watched → progress → recorder, fanout, snapshots, control
//!          (of an instance that only pushes without the recorder; of one that only records without the public listener,
//!          fanout, snapshots and control)
//! stop     not ready → sessions told to go → listeners → control, fanout, recorder, snapshots, progress, log watch
//! ```
//!
//! Nothing here decides anything about orders. A component that ends early ends the process, with its name in the log.

mod keys;
mod pipelines;
mod schema;
mod tools;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::web;
use tokio::sync::watch;

pub use self::tools::{carrier, decoder_options, session_config, session_limits, store_limits};
use self::{pipelines::Pipelines, tools::Tools};
use crate::{
    auth::{Origins, RevocationList, Verifier},
    config::{Settings, SettingsError},
    control::ControlWriter,
    domain::{Timestamp, decode::Decoder},
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
    store::{
        Store,
        gateway::{self, GatewayDependencies, StoreHandle},
    },
    telemetry::Metrics,
    transport::{Instance, ViewerContext},
};

/// How long a call waits for a connection of the database.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
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
    /// What lists of sessions call this instance.
    name: String,
    status: Status,
    /// `None` of an instance that only records.
    front: Option<Front>,
    operations: std::net::TcpListener,
    extra_routes: ExtraRoutes,
}

/// What faces viewers.
struct Front {
    listener: std::net::TcpListener,
    state: web::Data<Public>,
    /// Keeps the keys current by which their tokens are checked.
    keys: Component,
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
        let unproved = Staleness { reasons: [StaleReason::CatchingUp].into_iter().collect(), since: Timestamp::now() };
        let (ready, ready_seen) = watch::channel(false);
        let (staleness, staleness_seen) = watch::channel(unproved);
        let (progress_read_at, _) = watch::channel(None);
        let instance = Arc::new(Instance::new(staleness_seen));
        let revocations = Arc::new(RevocationList::new(settings.auth.leeway));
        let (store_handle, requests) = StoreHandle::open();
        let gateway_dependencies = GatewayDependencies { store: store.clone(), topic: settings.kafka.topic.clone() };
        let face = |verifier: Verifier| {
            let verifier = Arc::new(verifier);
            let keys = keys::start(settings.auth.clone(), verifier.clone(), metrics.clone());
            let state = web::Data::new(Public {
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
                answers: Answers::new(
                    settings.http.answer_bytes,
                    settings.session.send_timeout,
                    metrics.answers.clone(),
                ),
            });
            Ok::<_, io::Error>(Front { listener: bind(settings.http.listen, "http.listen")?, state, keys })
        };
        let front = verifier.map(face).transpose()?;
        Ok(Self {
            front,
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
            name: ulid::Ulid::generate().to_string(),
            extra_routes,
        })
    }

    /// The address of the public listener. An error of an instance that only records, which has none.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let none = || io::Error::other("this instance has no public listener");
        self.front.as_ref().ok_or_else(none)?.listener.local_addr()
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
        tracing::info!(
            pipelines = %self.settings.pipelines,
            http.listen = public.as_ref().map(|public| tracing::field::display(public.address)),
            operations.listen = %operations.address,
            "listening"
        );
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
            name = ended_early(self.front.as_ref().map(|front| &front.keys)) => Err(RunError::EndedEarly(name)),
            ended = broken(public.as_mut()) => Err(ended.map_or_else(RunError::Listen, |()| RunError::EndedEarly("public listener"))),
            ended = operations.ended() => Err(ended.map_or_else(RunError::Listen, |()| RunError::EndedEarly("operations listener"))),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "stopping because a component failed");
        }
        let deadline = Instant::now() + self.settings.shutdown.spread + self.settings.shutdown.grace;
        self.drain_sessions(deadline - self.settings.shutdown.grace / 2).await;
        if let Some(public) = public {
            public.stop().await;
        }
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

    fn serve(&self, control: Arc<ControlWriter>) -> Result<(Option<Listening>, Listening), RunError> {
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
            rate: Arc::new(RequestRate::new(session.max_handshakes_per_second)),
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
        let serve = |Front { listener, state, .. }: &Front| {
            let transport = Transport { rate: state.rate.clone(), ..transport };
            serve_public(listener.try_clone()?, state.clone(), transport, move |config| extra(config))
        };
        let public = self.front.as_ref().map(serve).transpose()?;
        let read_at = self.status.progress_read_at.subscribe();
        let operations = Operations {
            instance: self.instance.clone(),
            ready: self.status.ready.subscribe(),
            pushes: self.settings.pipelines.push,
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

/// Waits until this component ends, if there is one, and names it. Cancel safe.
async fn ended_early(component: Option<&Component>) -> &'static str {
    match component {
        Some(component) => {
            component.ended().await;
            component.name()
        }
        None => std::future::pending().await,
    }
}

/// Waits until this listener ends, if there is one. Cancel safe.
async fn broken(listening: Option<&mut Listening>) -> io::Result<()> {
    match listening {
        Some(listening) => listening.ended().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
