//! The tail's events by name: of an order, or naming a user. Most names stand in one event of the last seconds, so a
//! name costs no allocation until a second event comes.
//!
//! Names are compared by their hash alone, which spares every new event a look into an older one that has left every
//! cache. Who reads looks into the events anyway, and passes over those of another name.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use crate::event::OrderEvent;

/// Events by the hash of a name.
#[derive(Debug, Default)]
pub(super) struct Listing {
    lists: HashTable<List>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct List {
    hash: u64,
    events: Events,
}

/// In the order in which they came; never none.
#[derive(Debug)]
enum Events {
    One(Arc<OrderEvent>),
    Many(VecDeque<Arc<OrderEvent>>),
}

impl Listing {
    pub(super) fn push(&mut self, name: &impl Hash, event: &Arc<OrderEvent>) {
        let hash = self.hasher.hash_one(name);
        match self.lists.entry(hash, |list| list.hash == hash, |list| list.hash) {
            Entry::Vacant(entry) => _ = entry.insert(List { hash, events: Events::One(event.clone()) }),
            Entry::Occupied(mut entry) => entry.get_mut().events.push(event.clone()),
        }
    }

    /// The events of a name, oldest first, and hardly ever those of another.
    pub(super) fn of(&self, name: &impl Hash) -> impl Iterator<Item = &Arc<OrderEvent>> {
        let hash = self.hasher.hash_one(name);
        self.lists.find(hash, |list| list.hash == hash).into_iter().flat_map(|list| list.events.iter())
    }

    pub(super) fn remove(&mut self, name: &impl Hash, event: &Arc<OrderEvent>) {
        let hash = self.hasher.hash_one(name);
        let Ok(mut entry) = self.lists.find_entry(hash, |list| list.hash == hash) else { return };
        if entry.get_mut().events.remove(event) {
            entry.remove();
        }
    }
}

impl Events {
    fn iter(&self) -> impl Iterator<Item = &Arc<OrderEvent>> {
        let (one, many) = match self {
            Self::One(event) => (Some(event), None),
            Self::Many(events) => (None, Some(events)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn push(&mut self, event: Arc<OrderEvent>) {
        match self {
            Self::One(first) => *self = Self::Many([first.clone(), event].into()),
            Self::Many(events) => events.push_back(event),
        }
    }

    /// Takes an event out. Returns whether none is left.
    fn remove(&mut self, event: &Arc<OrderEvent>) -> bool {
        match self {
            Self::One(only) => Arc::ptr_eq(only, event),
            Self::Many(events) => {
                // Events leave as they came but for strikes and several partitions, so the first is nearly always it.
                if let Some(place) = events.iter().position(|listed| Arc::ptr_eq(listed, event)) {
                    events.remove(place);
                }
                events.is_empty()
            }
        }
    }
}
