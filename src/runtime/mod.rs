//! What runs: threads and tasks with a name, an owner and an end, and how long they pause.

mod backoff;
mod component;

pub use backoff::Backoff;
pub(crate) use component::pause;
pub use component::{Component, Overdue};
