//! What the sessions of one thread show, judged message by message. Pure.

use std::sync::Arc;

use super::{
    message::{Said, Update},
    names::Place,
    roster::Roster,
};

/// The version came with a snapshot: an update may say the same again.
const BY_SNAPSHOT: u32 = 1 << 31;

/// What an update was to the screen it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Newer; so many versions before it were never shown.
    New { merged: u32 },
    /// The version that was shown.
    Duplicate,
    /// Below the version that was shown.
    Older,
    /// Nothing of the run, or of another user.
    Foreign,
    /// An order that a user had before the run.
    Theirs,
}

/// One screen after the other: the newest version of each of its orders.
pub(super) struct Screens {
    roster: Arc<Roster>,
    versions: Vec<u32>,
    slots: usize,
}

impl Screens {
    /// So many empty ones.
    pub(super) fn new(roster: Arc<Roster>, sessions: usize) -> Self {
        let slots = roster.slots() as usize;
        Self { roster, versions: vec![0; sessions * slots], slots }
    }

    /// Takes an update of the `screen`, which is that of `session`.
    pub(super) fn on_update(&mut self, screen: usize, session: u32, update: &Update<'_>) -> Seen {
        let Some(shown) = self.shown(screen, session, update.order_id) else {
            return if self.may_be_theirs(update.order_id) { Seen::Theirs } else { Seen::Foreign };
        };
        let before = *shown & !BY_SNAPSHOT;
        let by_snapshot = *shown & BY_SNAPSHOT != 0;
        if update.version < before {
            return Seen::Older;
        }
        if update.version == before && !by_snapshot {
            return Seen::Duplicate;
        }
        *shown = update.version;
        Seen::New { merged: update.version.saturating_sub(before + 1) }
    }

    /// Takes a page of a snapshot, or that an order was removed. Returns how many foreign orders it showed.
    pub(super) fn on_said(&mut self, screen: usize, session: u32, said: &Said<'_>) -> u64 {
        let mut foreign = 0;
        match said {
            Said::Snapshot { partial, first, orders, removed, .. } => {
                if *first && !*partial {
                    self.versions[screen * self.slots..][..self.slots].fill(BY_SNAPSHOT);
                }
                for order in orders {
                    let version = u32::try_from(order.version).unwrap_or(u32::MAX) & !BY_SNAPSHOT;
                    match self.shown(screen, session, order.order_id.as_bytes()) {
                        Some(shown) => *shown = version | BY_SNAPSHOT,
                        None => foreign += u64::from(!self.may_be_theirs(order.order_id.as_bytes())),
                    }
                }
                removed.iter().for_each(|order| self.forget(screen, session, order));
            }
            Said::Removed { order_id } => self.forget(screen, session, order_id),
            _ => {}
        }
        foreign
    }

    /// How many versions a screen is behind what was published.
    pub(super) fn missing(&self, screen: usize, session: u32) -> u64 {
        let shown = &self.versions[screen * self.slots..][..self.slots];
        let behind = |(slot, shown): (usize, &u32)| {
            let published = self.roster.version(self.roster.place(session, slot as u32));
            u64::from(published.saturating_sub(shown & !BY_SNAPSHOT))
        };
        shown.iter().enumerate().map(behind).sum()
    }

    /// Users who were not made for the run have orders of their own.
    fn may_be_theirs(&self, order_id: &[u8]) -> bool {
        self.roster.tokens.count().is_some() && self.roster.names.place(order_id).is_none()
    }

    fn forget(&mut self, screen: usize, session: u32, order: &str) {
        if let Some(shown) = self.shown(screen, session, order.as_bytes()) {
            *shown = BY_SNAPSHOT;
        }
    }

    fn shown(&mut self, screen: usize, session: u32, order_id: &[u8]) -> Option<&mut u32> {
        let place: Place = self.roster.names.place(order_id)?;
        let slot = self.roster.slot(session, place)? as usize;
        Some(&mut self.versions[screen * self.slots + slot])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::{message::Shown, names::Names, tokens::Tokens};

    fn screens() -> Screens {
        Screens::new(Arc::new(Roster::new(Names::new("r"), Tokens::none(), 4, 1, 1)), 2)
    }

    fn update(order_id: &str, version: u32) -> Update<'_> {
        Update { order_id: order_id.as_bytes(), version, due: None }
    }

    fn snapshot(version: u64) -> Said<'static> {
        let orders = vec![Shown { order_id: "load-r-2-0".into(), version }];
        Said::Snapshot { partial: false, first: true, complete: true, orders, removed: Vec::new() }
    }

    #[test]
    fn versions_grow_and_what_does_not_is_told_apart() {
        let mut screens = screens();
        let mut takes = |order, version| screens.on_update(1, 2, &update(order, version));
        assert_eq!(takes("load-r-2-0", 1), Seen::New { merged: 0 });
        assert_eq!(takes("load-r-2-0", 4), Seen::New { merged: 2 });
        assert_eq!(takes("load-r-2-0", 4), Seen::Duplicate);
        assert_eq!(takes("load-r-2-0", 3), Seen::Older);
        assert_eq!(takes("load-r-3-0", 1), Seen::Foreign);
        assert_eq!(takes("A-1", 1), Seen::Foreign);
    }

    #[test]
    fn a_snapshot_may_be_said_again_once_and_replaces_what_was_shown() {
        let mut screens = screens();
        assert_eq!(screens.on_said(1, 2, &snapshot(5)), 0);
        assert_eq!(screens.on_update(1, 2, &update("load-r-2-0", 5)), Seen::New { merged: 0 });
        assert_eq!(screens.on_update(1, 2, &update("load-r-2-0", 5)), Seen::Duplicate);
        screens.on_said(1, 2, &Said::Removed { order_id: "load-r-2-0".into() });
        assert_eq!(screens.on_update(1, 2, &update("load-r-2-0", 1)), Seen::New { merged: 0 });
        let mut other = screens;
        assert_eq!(other.on_said(0, 1, &snapshot(1)), 1, "that is not the order of session 1");
    }

    #[test]
    fn what_was_published_and_is_not_shown_is_missing() {
        let mut screens = screens();
        let place = Place { owner: 2, number: 0 };
        for _ in 0..3 {
            screens.roster.next_version(place);
        }
        assert_eq!((screens.missing(1, 2), screens.missing(0, 1)), (3, 0));
        screens.on_update(1, 2, &update("load-r-2-0", 2));
        assert_eq!(screens.missing(1, 2), 1);
        screens.on_said(1, 2, &snapshot(3));
        assert_eq!(screens.missing(1, 2), 0);
    }
}
