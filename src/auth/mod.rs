//! Who is it: from what a request carries to a [`Principal`].
//!
//! In the order of the data: [`present`] finds the token in the request, a [`Verifier`] checks it, and [`origin`] says whether
//! the page it comes from may connect. A [`Signer`] makes tokens for tools and tests. No sockets, no clock: the time is an argument.
//! Called by `http` and the command line.

mod claims;
mod error;
mod keys;
pub mod origin;
pub mod present;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::{MAX_ORDERS, Principal};
pub use error::{Flaw, TokenError};
pub use origin::{OriginPolicy, OriginRequest};
pub use sign::{Grant, Signer};
pub use verify::{MAX_TOKEN_BYTES, Verifier};
