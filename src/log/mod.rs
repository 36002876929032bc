//! A partitioned log as the pipelines see it: what it looks like, whether it is still the one that progress was made in,
//! and whether what is shown of it is up to date. [`kafka`] is the one that there is.
//!
//! ```text
//!   kafka::log_watch, kafka::log_ends ── views ──► continuity: is it the log we know?      fanout, recorder
//!                                    └───► freshness: is what is shown up to date?  fanout
//!   fanout ── what it has read ──► hand_over ──► recorder
//! ```

pub mod continuity;
pub mod freshness;
pub mod hand_over;
pub mod kafka;
pub mod progress;
pub(crate) mod rules;
pub mod view;

pub use continuity::Policies;
