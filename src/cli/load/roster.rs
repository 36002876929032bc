//! Who takes part in a run: users, their tokens, their orders, and how far each order has been published. Shared by the
//! publisher and all who read.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    names::{Names, Place},
    tokens::Tokens,
};
use crate::domain::UserId;

/// The run, as everybody in it knows it.
pub(super) struct Roster {
    pub(super) names: Names,
    pub(super) tokens: Tokens,
    /// Sessions of this process; each has a user of its own.
    pub(super) sessions: u32,
    /// Orders of each user.
    pub(super) orders: u32,
    /// Users who see an order, its owner among them: the owner and those at the next places.
    pub(super) viewers: u32,
    /// The newest version of each order that was given to the producer.
    published: Vec<AtomicU32>,
}

impl Roster {
    pub(super) fn new(names: Names, tokens: Tokens, sessions: u32, orders: u32, viewers: u32) -> Self {
        let published = (0..sessions as usize * orders as usize).map(|_| AtomicU32::new(0)).collect();
        Self { names, tokens, sessions, orders, viewers: viewers.min(sessions), published }
    }

    /// The user of a session.
    pub(super) fn user(&self, place: u32) -> UserId {
        self.tokens.user(place).unwrap_or_else(|| self.names.user(place))
    }

    /// The further users who see an order.
    pub(super) fn further_viewers(&self, owner: u32) -> Vec<UserId> {
        (1..self.viewers).map(|step| self.user((owner + step) % self.sessions)).collect()
    }

    /// Orders that a session shows when all is published.
    pub(super) fn slots(&self) -> u32 {
        self.orders * self.viewers
    }

    /// Which of a session's orders this is; `None`: it is not to see it.
    pub(super) fn slot(&self, session: u32, place: Place) -> Option<u32> {
        if place.owner >= self.sessions || place.number >= self.orders {
            return None;
        }
        let step = (session + self.sessions - place.owner) % self.sessions;
        (step < self.viewers).then_some(step * self.orders + place.number)
    }

    /// The other way round.
    pub(super) fn place(&self, session: u32, slot: u32) -> Place {
        let owner = (session + self.sessions - slot / self.orders) % self.sessions;
        Place { owner, number: slot % self.orders }
    }

    /// The next version of an order, which is published from now on.
    pub(super) fn next_version(&self, place: Place) -> u32 {
        self.version_of(place).fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The newest version of an order; 0: there is none.
    pub(super) fn version(&self, place: Place) -> u32 {
        self.version_of(place).load(Ordering::Relaxed)
    }

    fn version_of(&self, place: Place) -> &AtomicU32 {
        &self.published[place.owner as usize * self.orders as usize + place.number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_sees_its_own_orders_and_those_of_the_places_before() {
        let roster = Roster::new(Names::new("r"), Tokens::none(), 5, 2, 3);
        let seen: Vec<u32> =
            (0..5).filter(|owner| roster.slot(1, Place { owner: *owner, number: 1 }).is_some()).collect();
        assert_eq!(seen, [0, 1, 4]);
        for slot in 0..roster.slots() {
            assert_eq!(roster.slot(1, roster.place(1, slot)), Some(slot));
        }
        assert_eq!(roster.slot(1, Place { owner: 1, number: 2 }), None);
        assert_eq!(roster.slot(1, Place { owner: 7, number: 0 }), None);
        let others: Vec<String> = roster.further_viewers(4).iter().map(ToString::to_string).collect();
        assert_eq!(others, ["load-r-u0", "load-r-u1"]);
    }

    #[test]
    fn versions_grow_from_one() {
        let roster = Roster::new(Names::new("r"), Tokens::none(), 2, 1, 1);
        let place = Place { owner: 1, number: 0 };
        assert_eq!((roster.version(place), roster.next_version(place), roster.next_version(place)), (0, 1, 2));
        assert_eq!(roster.version(place), 2);
    }
}
