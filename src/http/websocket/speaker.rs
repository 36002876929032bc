//! What speaks on a connection: the seam between the transport and whoever decides. Names no socket.

use std::{task::Context, time::Instant};

use actix_web::web::Bytes;

use crate::{
    protocol::CloseCause,
    session::{Inbound, Now},
};

/// One end of a conversation over a WebSocket. The transport owns it, polls it, and tells it the end.
///
/// Everything is called from one task. A panic in any of it ends this connection as `internal_error` and no other.
pub trait Speaker: Unpin + 'static {
    /// Takes what the client sent.
    fn on_inbound(&mut self, inbound: Inbound<'_>, now: Now);

    /// Acts on whatever else has come and on the deadlines that have passed. Keeps the waker of `cx` for what comes,
    /// unless there is output.
    fn poll(&mut self, now: Now, cx: &mut Context<'_>);

    /// Takes finished frames to write, at most about `limit` bytes unless a single frame is longer.
    fn take_output(&mut self, limit: usize) -> Option<Bytes>;

    /// Whether the client is to be read on: not while answers to what it sent would pile up.
    fn wants_inbound(&self) -> bool {
        true
    }

    /// When [`poll`](Self::poll) wants to be called at the latest.
    fn deadline(&self, now: Now) -> Instant;

    /// Whether nothing is left to do but to write the output and to end the connection. After
    /// [`Inbound::Broken`] the connection does not wait for it.
    fn has_ended(&self) -> bool;

    /// Why it ends, once that is known.
    fn cause(&self) -> Option<CloseCause>;

    /// The connection is over, for this reason. Called once, last.
    fn on_end(&mut self, cause: CloseCause);
}
