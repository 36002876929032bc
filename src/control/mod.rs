//! What one instance must tell the others: revocations, kicks and announcements, through a small compacted topic.
//!
//! Every instance reads it from the beginning before it is ready, so a revocation holds across restarts. Operators'
//! requests only [send](ControlWriter); the effect, on the instance that was asked too, comes from [reading](start).
//!
//! ```text
//!   operator ─► ControlWriter ─► Kafka ─► reader ─► fold ─┬─► RevocationList: whose token is checked from now on
//!                                  ▲                      └─► hub: sessions that are open
//!                                  └── sweep: tombstones for what matters no more
//! ```

mod fold;
mod message;
mod reader;
mod sweep;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use self::{fold::Fold, reader::Reader};
pub use self::{
    message::{Announcement, ControlMessage, Kick, MAX_CONTENT_CHARS},
    writer::ControlWriter,
};
use crate::{
    auth::RevocationList,
    hub::SharedHub,
    log::kafka::{KafkaClients, StartError, reader::Reader as KafkaReader, topics::Topics},
    runtime::Component,
    telemetry::ControlMetrics,
};

/// What control works with.
#[derive(Clone)]
pub struct ControlDependencies {
    /// Makes its clients.
    pub clients: KafkaClients,
    /// `kafka.control_topic`.
    pub topic: String,
    /// What is revoked, kept current here.
    pub revocations: Arc<RevocationList>,
    /// Whose sessions end or are told.
    pub hub: Arc<SharedHub>,
    /// Takes back what matters no more.
    pub writer: Arc<ControlWriter>,
    /// What is counted.
    pub metrics: Arc<ControlMetrics>,
}

/// Reader and sweep share how far the topic was read.
#[derive(Debug, Default)]
struct SharedFold(Mutex<Fold>);

impl SharedFold {
    fn step<T>(&self, step: impl FnOnce(&mut Fold) -> T) -> T {
        // A step is complete before anything can panic.
        step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts reading and sweeping. The receiver says whether the topic was read to its end once: a latch. Has to be called
/// within the runtime.
pub fn start(dependencies: ControlDependencies) -> Result<([Component; 2], watch::Receiver<bool>), StartError> {
    let (caught_up, caught_up_seen) = watch::channel(false);
    let fold = Arc::<SharedFold>::default();
    let reader = Reader::new(
        KafkaReader::new("control", &dependencies.topic, dependencies.clients.control_client()?),
        Topics::new(&dependencies.clients),
        dependencies.clone(),
        fold.clone(),
        caught_up,
    );
    let runtime = tokio::runtime::Handle::current();
    let reader = Component::thread("control", move |stop| reader.run(&stop, &runtime))?;
    let sweep = Component::task("control-sweep", |stop| sweep::run(dependencies, fold, stop));
    Ok(([reader, sweep], caught_up_seen))
}
