//! Who is it: from what a request carries to a [`Principal`].
//!
//! In the order of the data: a [`Presentation`] finds the token in the request, a [`Verifier`] checks it (a [`Ticket`] stands for one), and [`Origins`] say whether
//! the page it comes from may connect; a [`RevocationList`] says what operators took back. A [`Signer`] makes tokens for tools
//! and tests. No sockets, no clock: the time is an argument. Called by `http`, `control` and the command line.

mod claims;
mod error;
mod keyring;
mod keys;
mod origin;
mod present;
mod revocation;
mod sign;
#[cfg(test)]
mod tests;
mod ticket;
mod verify;

pub use claims::{MAX_ORDERS, Principal};
pub use error::{Flaw, TokenError, UNREADABLE};
pub use origin::{OriginRequest, Origins};
pub use present::{Presentation, SUBPROTOCOL};
pub use revocation::{Revocation, RevocationList, Revocations, Subject};
pub use sign::{Grant, Signer};
pub use ticket::{Ticket, TicketDigest};
pub use verify::{MAX_TOKEN_BYTES, Verifier};
