//! The wire, version 1: what goes over a socket in either direction, and how a session ends.
//!
//! Knows nobody: types, their JSON and their frames. The AsyncAPI document in `docs/` describes the same for others.

pub mod close;
pub mod frame;
pub mod inbound;
pub mod outbound;
pub mod ping;
pub mod snapshot;
pub mod stale;

pub use close::{ClientCode, CloseCause};
pub use frame::Frame;
pub use inbound::{ClientMessage, MessageError};
pub use outbound::ServerMessage;
pub use ping::PingForm;
pub use snapshot::{OrderView, PageLimits, SnapshotPages};
pub use stale::{StaleReason, StaleReasons, Staleness};

/// Version of the wire, as `welcome` names it.
pub const VERSION: u32 = 1;
