//! Everything `ordercast dev` adds to the service.

mod handover;

pub use handover::{Handover, Published, UnreadableHandover};

/// Where `ordercast dev` keeps its files unless it is told otherwise.
pub const DEFAULT_DATA_DIR: &str = ".ordercast";
