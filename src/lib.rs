//! Ordercast shows every viewer the true status of their order, live.

pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod dev;
pub mod event;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod protocol;
pub mod session;
pub mod store;
pub mod telemetry;
