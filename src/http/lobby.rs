//! Connections that hold no session (yet): bounded, in all and for each address, so that none of them can keep the
//! listener from accepting the next. Where places run out, those that only wait for another request give way, oldest first.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;

use super::source::network_of;

/// Who is in a handshake, or between two requests.
#[derive(Debug)]
pub struct Lobby {
    max: usize,
    max_per_address: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    all: usize,
    by_address: HashMap<IpAddr, Neighbours>,
    /// Those who could give way, by when they began to rest.
    resting: BTreeMap<Turn, Resting>,
    turns: Turn,
}

/// Guests of one address.
#[derive(Debug, Default)]
struct Neighbours {
    all: usize,
    resting: BTreeSet<Turn>,
}

/// Counts up with each rest that begins.
type Turn = u64;

#[derive(Debug)]
struct Resting {
    address: Option<IpAddr>,
    call: Arc<Call>,
}

/// How a guest is told, from any thread, that its place is another's.
#[derive(Debug, Default)]
struct Call {
    gave_way: AtomicBool,
    waker: AtomicWaker,
}

/// How somebody came in.
#[derive(Debug)]
pub(super) struct Entrance {
    /// The newcomer's place.
    pub(super) place: Place,
    /// Whether somebody had to give way for it.
    pub(super) displaced: bool,
}

/// A connection's place in the lobby, given up when it is dropped or [leaves](Place::leave).
#[derive(Debug)]
pub(super) struct Place {
    lobby: Arc<Lobby>,
    /// `None`: a proxy, which may bring many.
    address: Option<IpAddr>,
    call: Arc<Call>,
    resting: Cell<Option<Turn>>,
    is_in: Cell<bool>,
}

impl Lobby {
    /// A lobby for `max` connections, at most `max_per_address` of one address.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, guests: Mutex::default() })
    }

    /// Lets a connection in; `None`: there is no place. `address` is `None` for a trusted proxy.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Entrance> {
        let address = address.map(network_of);
        let mut guests = self.guests();
        let crowded = address.and_then(|address| guests.by_address.get(&address));
        let displaced = match crowded.filter(|neighbours| neighbours.all >= self.max_per_address) {
            Some(neighbours) => Some(*neighbours.resting.first()?),
            None if guests.all >= self.max => Some(*guests.resting.first_key_value()?.0),
            None => None,
        };
        if let Some(turn) = displaced {
            guests.displace(turn);
        }
        guests.all += 1;
        if let Some(address) = address {
            guests.by_address.entry(address).or_default().all += 1;
        }
        drop(guests);
        let (resting, is_in) = (Cell::new(None), Cell::new(true));
        let place = Place { lobby: self.clone(), address, call: Arc::default(), resting, is_in };
        Some(Entrance { place, displaced: displaced.is_some() })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn leave(&mut self, address: Option<IpAddr>) {
        self.all -= 1;
        if let Some(address) = address
            && let Some(neighbours) = self.by_address.get_mut(&address)
        {
            neighbours.all -= 1;
            if neighbours.all == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// `None`: it had to give way.
    fn stop_resting(&mut self, turn: Turn) -> Option<Resting> {
        let resting = self.resting.remove(&turn)?;
        if let Some(neighbours) = resting.address.and_then(|address| self.by_address.get_mut(&address)) {
            neighbours.resting.remove(&turn);
        }
        Some(resting)
    }

    fn displace(&mut self, turn: Turn) {
        let Some(Resting { address, call }) = self.stop_resting(turn) else { return };
        self.leave(address);
        call.gave_way.store(true, Ordering::Release);
        call.waker.wake();
    }
}

impl Place {
    /// From now on it may have to give way; `waker` is woken then.
    pub(super) fn rest(&self, waker: &Waker) {
        if !self.is_in.get() || self.resting.get().is_some() {
            return;
        }
        self.call.waker.register(waker);
        let mut guests = self.lobby.guests();
        guests.turns += 1;
        let turn = guests.turns;
        guests.resting.insert(turn, Resting { address: self.address, call: self.call.clone() });
        if let Some(neighbours) = self.address.and_then(|address| guests.by_address.get_mut(&address)) {
            neighbours.resting.insert(turn);
        }
        self.resting.set(Some(turn));
    }

    /// Somebody speaks again; `false`: too late, it had to give way.
    pub(super) fn rise(&self) -> bool {
        let Some(turn) = self.resting.take() else { return true };
        let stays = self.lobby.guests().stop_resting(turn).is_some();
        self.is_in.set(stays);
        stays
    }

    /// Whether it had to give way.
    pub(super) fn gave_way(&self) -> bool {
        self.call.gave_way.load(Ordering::Acquire)
    }

    /// The connection holds a session now, or is over.
    pub(super) fn leave(&self) {
        if self.rise() && self.is_in.replace(false) {
            self.lobby.guests().leave(self.address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn enter(lobby: &Arc<Lobby>, address: Option<IpAddr>) -> Option<Place> {
        lobby.enter(address).map(|entrance| entrance.place)
    }

    fn rest(place: &Place) {
        place.rest(Waker::noop());
    }

    fn is_empty(lobby: &Lobby) -> bool {
        let guests = lobby.guests();
        guests.all == 0 && guests.by_address.is_empty() && guests.resting.is_empty()
    }

    #[test]
    fn the_lobby_is_bounded_in_all_and_for_each_address() {
        let lobby = Lobby::new(3, 2);
        let first = enter(&lobby, address("192.0.2.1")).unwrap();
        let second = enter(&lobby, address("192.0.2.1")).unwrap();
        assert!(enter(&lobby, address("192.0.2.1")).is_none());
        let proxy = enter(&lobby, None).unwrap();
        assert!(enter(&lobby, address("192.0.2.2")).is_none(), "it is full");
        first.leave();
        drop(first);
        assert!(enter(&lobby, address("192.0.2.1")).is_some());
        drop((second, proxy));
        assert!(is_empty(&lobby));
    }

    #[test]
    fn who_only_waits_gives_way_oldest_first_and_nobody_else_does() {
        let lobby = Lobby::new(3, 9);
        let busy = enter(&lobby, None).unwrap();
        let (older, newer) = (enter(&lobby, address("192.0.2.1")).unwrap(), enter(&lobby, None).unwrap());
        rest(&older);
        rest(&newer);
        let places: Vec<_> = (0..2).map(|_| lobby.enter(address("192.0.2.2")).unwrap()).collect();
        assert!(places.iter().all(|entrance| entrance.displaced));
        assert!(older.gave_way() && newer.gave_way() && !busy.gave_way());
        assert!(!older.rise(), "it is too late to speak");
        assert!(lobby.enter(None).is_none(), "nobody waits any more");
        drop((older, newer, busy, places));
        assert!(is_empty(&lobby));
    }

    #[test]
    fn who_speaks_again_goes_to_the_end_of_the_row() {
        let lobby = Lobby::new(2, 9);
        let (one, other) = (enter(&lobby, None).unwrap(), enter(&lobby, None).unwrap());
        rest(&one);
        rest(&other);
        assert!(one.rise());
        rest(&one);
        let third = enter(&lobby, None).unwrap();
        assert!(other.gave_way() && !one.gave_way());
        drop((one, other, third));
        assert!(is_empty(&lobby));
    }

    #[test]
    fn a_crowded_address_makes_room_among_its_own() {
        let lobby = Lobby::new(9, 2);
        let foreign = enter(&lobby, address("192.0.2.1")).unwrap();
        rest(&foreign);
        let own = [(); 2].map(|()| enter(&lobby, address("2001:db8::1")).unwrap());
        assert!(lobby.enter(address("2001:db8::2")).is_none());
        rest(&own[1]);
        let newcomer = lobby.enter(address("2001:db8::2")).unwrap();
        assert!(newcomer.displaced && own[1].gave_way() && !foreign.gave_way());
        drop((foreign, own, newcomer));
        assert!(is_empty(&lobby));
    }
}
