//! What may happen in a run, and how often.

/// Something that goes wrong, or merely happens, beside events, sessions and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// The tail's byte cap is small.
    Cap,
    /// The tail is trimmed to the recorder's very progress.
    Trim,
    /// Two events of one version have different contents.
    Content,
    /// Clients come back, or speak up, naming what they show.
    Sync,
    /// Sessions leave, with reads under way.
    Leave,
    /// The fanout is rebuilt further back.
    Rebuild,
    /// The fanout skips records.
    Gap,
    /// The database is restored from an older backup.
    Restore,
    /// The store refuses what decode had accepted.
    Rejected,
    /// The markers of erased orders expire, and versions start again.
    Recreate,
    /// The log is replaced by a new one.
    NewLog,
    /// Some events have no version of their own.
    Kinds,
    /// Some events, and all of every other order, have no version of their own, and stand in any partition. Nothing is
    /// erased.
    Partitioners,
    /// Mailboxes hold two or three updates.
    SmallMailbox,
    /// Clients narrow and widen what they see.
    Subscribe,
    /// Some viewers are links, or users whose token lists orders.
    Links,
    /// Sessions go on with tokens that list other orders.
    Refresh,
    /// Statements fail, are split, or are answered before the fanout has come to where they were read.
    BadReads,
    /// A partition is added.
    Grow,
    /// Lists hold one to three orders.
    Bound,
}

/// A mix of features, and the rates of a run.
#[derive(Debug, Clone)]
pub(super) struct Mix {
    pub(super) name: &'static str,
    pub(super) features: Vec<Feature>,
    pub(super) steps: usize,
    pub(super) orders: usize,
    /// How often an event is a late one.
    pub(super) late: f64,
    /// How often a read step audits a live session.
    pub(super) audit: f64,
}

use Feature::{
    BadReads, Bound, Cap, Content, Gap, Grow, Kinds, Leave, Links, NewLog, Partitioners, Rebuild, Recreate, Refresh,
    Rejected, Restore, SmallMailbox, Subscribe, Sync, Trim,
};

/// What the small model of the design calls everything.
const MODEL: [Feature; 9] = [Cap, Trim, Content, Sync, Leave, Rebuild, Gap, Restore, Rejected];

impl Mix {
    pub(super) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Everything happens.
    pub(super) fn everything() -> Self {
        let more = [Recreate, NewLog, Kinds, SmallMailbox, Subscribe, Links, Refresh, BadReads, Grow, Bound];
        let features = MODEL.into_iter().chain(more).collect();
        Self { name: "everything", features, steps: 200, orders: 4, late: 0.25, audit: 0.05 }
    }

    /// What the model has, and no more.
    pub(super) fn model() -> Self {
        Self { name: "model", features: MODEL.to_vec(), steps: 160, orders: 4, late: 0.25, audit: 0.05 }
    }

    /// Mostly late events, and no audits to hide behind.
    pub(super) fn late() -> Self {
        Self { name: "late", features: MODEL.to_vec(), steps: 120, orders: 3, late: 0.6, audit: 0.0 }
    }

    /// Everything happens, nobody audits.
    pub(super) fn unaudited() -> Self {
        Self { name: "unaudited", orders: 3, late: 0.45, audit: 0.0, ..Self::everything() }
    }

    /// Clients that talk much and read little.
    pub(super) fn talkative() -> Self {
        let features =
            vec![Cap, Content, Sync, Subscribe, Links, Refresh, SmallMailbox, Rejected, BadReads, Leave, Bound];
        Self { name: "talkative", features, steps: 200, orders: 4, late: 0.25, audit: 0.02 }
    }

    /// Producers that do not agree where an order belongs, and much else; nobody audits. Not a log that is replaced, or a
    /// database that is put back: who is to be first then, each partition decides anew.
    pub(super) fn partitioners() -> Self {
        let features = vec![
            Partitioners,
            NewLog,
            Cap,
            Trim,
            Content,
            Sync,
            Leave,
            Gap,
            SmallMailbox,
            Subscribe,
            Links,
            Refresh,
            BadReads,
            Grow,
        ];
        Self { name: "partitioners", features, ..Self::unaudited() }
    }

    /// Only these features, nobody audits.
    pub(super) fn of(name: &'static str, features: &[Feature]) -> Self {
        Self { name, features: features.to_vec(), ..Self::late() }
    }
}
