//! Kafka: the only room that makes its clients, and knows what they say about themselves.
//!
//! [`log_watch`] and [`log_ends`] look at the source topic from outside, by an inquirer; [`client`] configures who reads and writes, and every one
//! that reads is driven by its [`reader`].

pub mod bulk;
pub(crate) mod client;
pub(crate) mod compaction;
pub mod embedded;
pub(crate) mod events;
pub(crate) mod group;
mod inquirer;
mod lifetime;
pub mod log_ends;
pub mod log_watch;
pub(crate) mod metadata;
pub(crate) mod polling;
pub mod producer;
mod proof;
pub(crate) mod reach;
pub(crate) mod reader;
pub(crate) mod rebalance;
pub(crate) mod record;
mod repeats;
pub mod rights;
mod secrets;
pub mod topics;

pub use client::KafkaClients;
pub(crate) use client::KafkaError;
pub use log_watch::StartError;
