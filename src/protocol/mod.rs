//! The wire, version 1: what goes over a socket in either direction, and how a session ends.
//!
//! Knows nobody: types and their JSON; what a transport makes of it is its own. The AsyncAPI document in `docs/` describes the same for others.

pub mod close;
pub mod delivery;
pub mod inbound;
pub mod message;
pub mod outbound;
pub mod ping;
pub mod snapshot;
pub mod stale;

pub use close::{ClientCode, CloseCause, Closing};
pub use delivery::{Delivery, PendingSnapshot};
pub use inbound::{Claims, ClientMessage, MessageError};
pub use message::Message;
pub use outbound::ServerMessage;
pub use ping::PingForm;
pub use snapshot::{OrderView, PageLimits, SnapshotPages};
pub use stale::{StaleReason, StaleReasons, Staleness};

/// Version of the wire, as `welcome` names it.
pub const VERSION: u32 = 1;
