//! Snapshots as a client puts them together: page by page, in the sequence the wire allows.

use std::collections::BTreeSet;

/// What a client knows of the snapshot whose pages are coming in.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    has_begun: bool,
    in_between: bool,
    /// Orders of a full snapshot so far.
    listed: Option<BTreeSet<String>>,
}

impl Pages {
    /// Whether a page has come at all.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether another page has to be next.
    pub(crate) fn is_in_between(&self) -> bool {
        self.in_between
    }

    /// A page begins. `may_be_partial`: the first snapshot may be, because the client spoke before it. Returns what is
    /// wrong.
    pub(crate) fn begin(&mut self, first: bool, partial: bool, may_be_partial: bool) -> Option<&'static str> {
        let wrong = if first == self.in_between {
            Some("a page is missing, or comes twice")
        } else if !self.has_begun && partial && !may_be_partial {
            Some("the first snapshot is a partial one")
        } else {
            None
        };
        if first {
            self.listed = (!partial).then(BTreeSet::new);
        }
        self.has_begun = true;
        wrong
    }

    /// The page lists an order.
    pub(crate) fn list(&mut self, order_id: &str) {
        if let Some(listed) = &mut self.listed {
            listed.insert(order_id.to_owned());
        }
    }

    /// The page ends. Returns the orders that stay, if that was the last of a full snapshot.
    pub(crate) fn end(&mut self, complete: bool) -> Option<BTreeSet<String>> {
        self.in_between = !complete;
        if complete { self.listed.take() } else { None }
    }
}
