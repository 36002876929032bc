//! HTTP: the public listener with its WebSockets, and the operations listener.
//!
//! A connection takes a place in the [`pending`]; `line` bounds what is read of it, and `conduct` each of its requests, on both
//! listeners alike. A request then goes from `access` (which page, which token) to the route of its transport
//! (`upgrade`, `events`, `poll`) or to `orders`; whoever is turned away gets a [`refusal`].

mod access;
pub mod answers;
mod claims;
mod conduct;
mod entry;
mod events;
mod front;
mod headers;
mod line;
pub mod operations;
mod orders;
mod page;
pub mod pending;
mod poll;
pub mod public;
pub mod rate;
pub mod refusal;
pub mod server;
mod socket;
pub mod source;
mod tickets;
pub mod upgrade;
