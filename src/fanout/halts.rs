//! Which partitions are halted, by the three who can say so: positions, which tell at once; stored progress, which tells of
//! recorders elsewhere; and the recorder of this instance, which knows before anything is stored. Pure.

use crate::{domain::Halts, protocol::StaleReasons};

/// The halted partitions, by who says so. A partition is halted if anybody does.
#[derive(Debug, Default)]
pub(super) struct HaltSources {
    /// By comparing progress with the log.
    pub(super) compared: Halts,
    /// By the store.
    pub(super) stored: Halts,
    /// By this instance's own recorder.
    pub(super) own: Halts,
}

impl HaltSources {
    /// What screens are told.
    pub(super) fn reasons(&self) -> StaleReasons {
        let halts = self.compared.values().chain(self.stored.values()).chain(self.own.values());
        halts.map(|halt| halt.stale_reason()).collect()
    }
}
