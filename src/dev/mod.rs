//! Everything `ordercast dev` adds to the service: an embedded broker, settings that need no setting, a page, orders that
//! move, and a text that says where it all is. The service itself is the one that `serve` runs.

mod address;
mod directory;
mod files;
mod greeting;
mod handover;
mod page;
mod preset;
mod simulator;
mod tokens;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_web::web;
use tokio::sync::watch;

use crate::{
    app::{App, BuildError, RunError, decoder_options},
    auth::Signer,
    config::{Property, Settings, SettingsError, Sources},
    domain::{UserId, decode::Decoder},
    log::kafka::{
        KafkaClients,
        embedded::{EMBEDDED_PROPERTIES, EmbeddedBroker},
        producer::Producer,
    },
    store::StoreError,
    telemetry::report_panics,
};
pub use address::reachable;
use directory::DataDirectory;
pub use directory::DirectoryError;
use greeting::Greeting;
pub use handover::{Handover, Published, UnreadableHandover};
use page::Page;
use simulator::{
    CUSTOMER, MERCHANT, Simulator,
    shop::{CANCELLED, JOURNEY},
};
use tokens::Tokens;

/// Where `ordercast dev` keeps its files unless it is told otherwise.
pub const DEFAULT_DATA_DIR: &str = ".ordercast";

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The printed token is for trying things out, and the secret lies beside it.
const PRINTED_TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// What `ordercast dev` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files are kept.
    pub data_dir: PathBuf,
    /// The port of the page.
    pub port: Option<u16>,
    /// Whether orders move by themselves.
    pub simulator: bool,
    /// How this program is called from the current directory, for lines to copy.
    pub command: String,
}

/// `ordercast dev` could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The embedded broker, or a client of it.
    #[error("the embedded broker: {0}")]
    Broker(String),
    /// The service could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The database in the data directory.
    #[error("{0}")]
    Database(#[from] StoreError),
    /// The file that says where everything is.
    #[error("cannot write {}: {error}", path.display())]
    Handover {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A listener's address, or the HTTP client of the simulator.
    #[error("{0}")]
    Network(String),
    /// The service ended early.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// `ordercast dev`, ready to run: its directory is taken and its settings are checked.
pub struct Dev {
    directory: DataDirectory,
    options: Options,
    settings: Settings,
    /// Whether the brokers are to be our own.
    embedded: bool,
}

impl Dev {
    /// Takes the data directory and reads the settings.
    pub fn prepare(sources: Sources, options: Options) -> Result<Self, DevError> {
        let directory = DataDirectory::take(&options.data_dir)?;
        let settings = preset::settings(sources, &directory, &directory.secret()?, options.port)?;
        let embedded = settings.kafka.brokers.is_empty();
        Ok(Self { directory, options, settings, embedded })
    }

    /// The settings in effect.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs until `stop` resolves. Once everything is ready, `say` gets the text that tells how to use it.
    pub async fn run(mut self, stop: impl Future<Output = ()>, say: impl FnOnce(&str)) -> Result<(), DevError> {
        if self.embedded {
            self.start_broker()?;
        }
        let clients = KafkaClients::new(&self.settings.kafka)?;
        let producer = Producer::new(&clients, DELIVERY_TIMEOUT);
        let signer = Signer::new(&self.settings.auth).expect("settings with a secret have an algorithm for it");
        let (producer, tokens) = (Arc::new(producer), Arc::new(Tokens::new(signer)));

        // The page tells the addresses, which are known when the service has taken them.
        let page: Arc<OnceLock<web::Data<Page>>> = Arc::default();
        let mounted = page.clone();
        let routes = move |config: &mut web::ServiceConfig| {
            if let Some(page) = mounted.get() {
                page::routes(config, page.clone());
            }
        };
        let app = App::build(self.settings.clone(), Arc::new(routes))?;
        report_panics(app.metrics().panics.clone());
        app.store().migrate().await?;
        let handover = self.handover(&app, &tokens)?;
        page.get_or_init(|| web::Data::new(self.page(&handover, tokens.clone(), producer.clone())));

        let simulator =
            Simulator { client: client()?, url: handover.url.clone(), tokens, producer, topic: handover.topic.clone() };
        let ready = app.ready();
        tokio::select! {
            ended = app.run_until_stopped(stop) => Ok(ended?),
            Err(error) = self.accompany(ready, &handover, simulator, say) => Err(error),
        }
    }

    fn start_broker(&mut self) -> Result<(), DevError> {
        let kafka = &mut self.settings.kafka;
        let broker = EmbeddedBroker::start(&kafka.topic, &kafka.dead_letter_topic, &kafka.control_topic)
            .map_err(|error| DevError::Broker(error.to_string()))?;
        kafka.brokers = broker.brokers();
        for (name, value) in EMBEDDED_PROPERTIES {
            kafka.properties.entry((*name).to_owned()).or_insert_with(|| Property::preset(value));
        }
        // It ends with the process: clients that are still leaving would complain that it is gone.
        std::mem::forget(broker);
        Ok(())
    }

    /// What runs beside the service, from the moment it is ready until it is dropped.
    async fn accompany(
        &self,
        mut ready: watch::Receiver<bool>,
        handover: &Handover,
        simulator: Simulator,
        say: impl FnOnce(&str),
    ) -> Result<(), DevError> {
        if ready.wait_for(|ready| *ready).await.is_err() {
            // The service ends, and says why.
            return std::future::pending().await;
        }
        let directory = self.directory.path();
        let failed = |error| DevError::Handover { path: Handover::path(directory), error };
        let _published = handover.publish(directory).map_err(failed)?;
        let simulates = self.options.simulator && self.embedded;
        let greeting = Greeting {
            command: &self.options.command,
            handover,
            data_dir: &directory.display().to_string(),
            is_default_dir: directory == Path::new(DEFAULT_DATA_DIR),
            embedded: self.embedded,
            simulator: simulates,
        };
        say(&greeting.text());
        // Invented orders have no business in somebody's own log.
        if simulates {
            simulator.run().await;
        }
        std::future::pending().await
    }

    fn handover(&self, app: &App, tokens: &Tokens) -> Result<Handover, DevError> {
        let reached = |address: io::Result<SocketAddr>| match address {
            Ok(address) => Ok(reachable(address)),
            Err(error) => Err(DevError::Network(error.to_string())),
        };
        let (public, operations) = (reached(app.address())?, reached(app.operations_address())?);
        Ok(Handover {
            url: format!("http://{public}"),
            websocket_url: format!("ws://{public}/order-status"),
            operations_url: format!("http://{operations}"),
            kafka_brokers: self.settings.kafka.brokers.join(","),
            topic: self.settings.kafka.topic.clone(),
            user_id: CUSTOMER.to_owned(),
            token: tokens.token(&user(CUSTOMER), PRINTED_TOKEN_TTL),
        })
    }

    fn page(&self, handover: &Handover, tokens: Arc<Tokens>, producer: Arc<Producer>) -> Page {
        let lifecycle = &self.settings.lifecycle;
        let statuses = if lifecycle.statuses.is_empty() {
            JOURNEY.into_iter().chain([CANCELLED]).map(str::to_owned).collect()
        } else {
            lifecycle.statuses.clone()
        };
        Page {
            tokens,
            customer: user(CUSTOMER),
            merchant: user(MERCHANT),
            statuses,
            terminal: lifecycle.terminal.clone(),
            kafka_brokers: handover.kafka_brokers.clone(),
            topic: handover.topic.clone(),
            operations_url: handover.operations_url.clone(),
            decoder: Decoder::new(&decoder_options(&self.settings)).expect("the service was built with the same"),
            producer,
        }
    }
}

fn client() -> Result<reqwest::Client, DevError> {
    reqwest::Client::builder().no_proxy().build().map_err(|error| DevError::Network(error.to_string()))
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("the demo's names are ids")
}
