//! What runs: threads and tasks with a name, an owner and an end.

mod component;

pub use component::{Component, Overdue};
