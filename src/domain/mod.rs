//! The order event: what one record of the topic says, and how records become the truth of an order.
//!
//! Pure: no clock, no broker, no SQL. Fanout and recorder share every line of it, so both accept the same records
//! and reach the same state. Read in the order of the data: a record is [decoded](decode) into an [`OrderEvent`], which
//! [`fold`] applies to what is known of its order.

pub mod decode;
pub mod fold;
pub mod ids;
pub mod lifecycle;
pub mod order;
pub mod progress;
pub mod snapshot;
pub mod time;
pub mod timeline;
pub mod version;
pub mod viewer;

pub use decode::{Decoded, Decoder, LogContext, RawRecord, Refusal, RefusalCode};
pub use fold::{Known, Marker, Verdict, judge};
pub use ids::{OrderId, UserId};
pub use lifecycle::Lifecycle;
pub use order::{Change, OrderEvent, OrderState};
pub use progress::{Halt, Halts, LastRecord, Progress};
pub use snapshot::{ListPart, ListPlace, Listed, Position, Snapshot, SnapshotQuery};
pub use time::Timestamp;
pub use timeline::{History, Step, Timeline};
pub use version::{Epoch, Rev, Stamp, Version, VersionKind};
pub use viewer::{Holder, LinkId, OrderList, Viewer};
