//! `GET /order-status`: the handshake, and the connection that follows it.

mod connection;
mod farewell;
mod frame_guard;
mod membership;
mod upgrade;

pub use self::{
    frame_guard::{FrameGuard, FrameRules, Verdict},
    upgrade::order_status,
};
