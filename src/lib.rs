//! Ordercast shows every viewer the true status of their order, live.
//!
//! ```text
//!                      Kafka topic order-status
//!            every partition │             │ shared by the instances
//!                            ▼             ▼
//!                         fanout       recorder            ingest
//!            decode once     │             │ decode again, in batches
//!                            ▼             ▼
//!                          hub ◄──────── SQL               hub, store
//!       tail, registry, mailboxes   snapshots
//!                            │
//!                            ▼
//!                         session ──► socket               session, http
//! ```
//!
//! Two pipelines read one log. Pushing never waits for SQL, and SQL never waits for a socket. A snapshot, read from SQL in one
//! statement and completed from the hub's tail, is the truth a screen is made of and compared with.
//!
//! The rooms, in the order of the data. Who follows the list has followed an event from the broker to the browser.
//!
//! | room | what lives there | may name |
//! | --- | --- | --- |
//! | [`event`] | what one record says, and the fold that makes records the truth of an order; pure | – |
//! | [`ingest`] | Kafka: fanout, recorder, snapshots, dead letters, the embedded broker | `event`, `store`, `hub`, `protocol`, `config`, `telemetry` |
//! | [`store`] | what is asked of SQL, in two dialects | `event` |
//! | [`hub`] | tail, registry, mailboxes, reconcile; one lock, no I/O | `event`, `protocol` |
//! | [`protocol`] | the wire: messages, frames, close causes | `event` |
//! | [`session`] | everything a session decides, without a socket | `event`, `protocol`, the hub's deliveries |
//! | [`auth`] | from a token to whom it speaks for | `event`, `config` |
//! | [`http`] | both listeners, the handshake, the WebSocket transport | `event`, `hub`, `protocol`, `session`, `auth`, `config`, `telemetry` |
//!
//! Around them:
//!
//! | room | what lives there | may name |
//! | --- | --- | --- |
//! | [`config`] | settings, all checked before anything is opened | – |
//! | [`telemetry`] | logs, and every metric's name | `event`, `protocol`, `config` |
//! | [`app`] | builds an instance in the order of dependence, stops it in reverse | all |
//! | [`dev`] | Kafka, a database, a shop and a page in one process, for trying out | all |
//! | [`cli`] | the command line | all |
//!
//! `tests/it/house.rs` holds these arrows.

// The order of these groups is the order above.
pub mod domain;
pub mod protocol;

pub mod log;

pub mod fanout;
pub mod hub;
pub mod recorder;
pub mod store;

pub mod control;
pub mod snapshots;

pub mod session;

pub mod auth;
pub mod http;
pub mod transport;

pub mod config;
pub mod runtime;
pub mod telemetry;

pub mod app;
pub mod dev;

pub mod cli;

#[cfg(test)]
mod simulation;
