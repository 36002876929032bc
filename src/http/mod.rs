//! HTTP: the public listener with its WebSockets, and the operations listener.
//!
//! A request goes from [`access`] (which page, which token) to `websocket` or `orders`; whoever is turned away gets a
//! [`refusal`].

mod access;
pub mod instance;
pub mod lobby;
pub mod operations;
mod orders;
pub mod public;
pub mod rate;
pub mod refusal;
pub mod server;
mod socket;
pub mod source;
mod tickets;
pub mod websocket;
