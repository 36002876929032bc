//! Ordercast shows every viewer the true status of their order, live.

pub mod config;
pub mod event;
pub mod hub;
pub mod protocol;
pub mod session;
pub mod store;
