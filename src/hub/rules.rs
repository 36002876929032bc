//! The rules the hub follows, by name, so that the simulation can switch each off and see that it is needed.

/// One rule; what happens without it is in the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HubRule {
    /// What was folded from nothing is a doubt about the order until a read asked for it.
    Unverified,
    /// States are compared by the record that set them, not by version.
    Stamp,
    /// A record below the tail's end is ignored.
    OffsetGuard,
    /// A reconcile for a session that left does nothing.
    GoneGuard,
    /// A jump forward empties the partition's tail and doubts every screen.
    Gap,
    /// A reconnecting client gets what differs from what it names, compared by stamp.
    SyncRev,
    /// Nothing is settled without start ≤ V ≤ end in every partition.
    Proof,
    /// Who shows an order is found by the order, too.
    OrderIndex,
    /// A record the store refused is struck, and who may have seen it is read again.
    Refused,
    /// A read covers the orders the session shows.
    PointRead,
    /// What the tail knows of an order that nobody shows is heeded before the order is shown.
    Memory,
}

/// A fault on purpose, for tests of what follows one: an order in this status breaks off what is done with it.
#[cfg(test)]
pub(super) fn break_off_at(history: Option<&crate::domain::History>, status: &str) {
    let state = history.and_then(|history| history.known.order());
    assert!(state.is_none_or(|state| &*state.status != status), "on purpose");
}

/// All rules hold, but one that a test has switched off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HubRules {
    #[cfg(test)]
    pub(super) off: Option<HubRule>,
}

impl HubRules {
    #[cfg(test)]
    pub(super) fn hold(self, rule: HubRule) -> bool {
        self.off != Some(rule)
    }

    #[cfg(not(test))]
    pub(super) const fn hold(self, _rule: HubRule) -> bool {
        true
    }
}
