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
pub struct PendingConnections {
    max: usize,
    max_per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, OfAddress>,
    /// Those who could give way, by when they began to rest.
    resting: BTreeMap<RestNumber, Resting>,
    rests: RestNumber,
}

/// Guests of one address.
#[derive(Debug, Default)]
struct OfAddress {
    all: usize,
    resting: BTreeSet<RestNumber>,
}

/// Counts up with each rest that begins.
type RestNumber = u64;

#[derive(Debug)]
struct Resting {
    address: Option<IpAddr>,
    call: Arc<Call>,
}

/// How a connection is told, from any thread, that its place is another's.
#[derive(Debug, Default)]
struct Call {
    gave_way: AtomicBool,
    waker: AtomicWaker,
}

/// How somebody came in.
#[derive(Debug)]
pub(super) struct Entered {
    /// The newcomer's place.
    pub(super) permit: Permit,
    /// Whether somebody had to give way for it.
    pub(super) displaced: bool,
}

/// A connection's place among those that are pending, given up when it is dropped or [leaves](Permit::leave).
#[derive(Debug)]
pub(super) struct Permit {
    pending: Arc<PendingConnections>,
    /// `None`: a proxy, which may bring many.
    address: Option<IpAddr>,
    call: Arc<Call>,
    resting: Cell<Option<RestNumber>>,
    is_in: Cell<bool>,
}

impl PendingConnections {
    /// Room for `max` connections, at most `max_per_address` of one address.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, counts: Mutex::default() })
    }

    /// Lets a connection in; `None`: there is no place. `address` is `None` for a trusted proxy.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Entered> {
        let address = address.map(network_of);
        let displaced = self.take_place(address)?;
        let (resting, is_in) = (Cell::new(None), Cell::new(true));
        let permit = Permit { pending: self.clone(), address, call: Arc::default(), resting, is_in };
        Some(Entered { permit, displaced })
    }

    /// Takes one more place, for which somebody may have to give way; says whether. `None`: there is no place.
    fn take_place(&self, address: Option<IpAddr>) -> Option<bool> {
        let mut counts = self.counts();
        let crowded = address.and_then(|address| counts.by_address.get(&address));
        let displaced = match crowded.filter(|of_address| of_address.all >= self.max_per_address) {
            Some(of_address) => Some(*of_address.resting.first()?),
            None if counts.all >= self.max => Some(*counts.resting.first_key_value()?.0),
            None => None,
        };
        if let Some(number) = displaced {
            counts.displace(number);
        }
        counts.all += 1;
        if let Some(address) = address {
            counts.by_address.entry(address).or_default().all += 1;
        }
        Some(displaced.is_some())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn leave(&mut self, address: Option<IpAddr>) {
        self.all -= 1;
        if let Some(address) = address
            && let Some(of_address) = self.by_address.get_mut(&address)
        {
            of_address.all -= 1;
            if of_address.all == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// `None`: it had to give way.
    fn stop_resting(&mut self, number: RestNumber) -> Option<Resting> {
        let resting = self.resting.remove(&number)?;
        if let Some(of_address) = resting.address.and_then(|address| self.by_address.get_mut(&address)) {
            of_address.resting.remove(&number);
        }
        Some(resting)
    }

    fn displace(&mut self, number: RestNumber) {
        let Some(Resting { address, call }) = self.stop_resting(number) else { return };
        self.leave(address);
        call.gave_way.store(true, Ordering::Release);
        call.waker.wake();
    }
}

impl Permit {
    /// From now on it may have to give way; `waker` is woken then.
    pub(super) fn rest(&self, waker: &Waker) {
        if !self.is_in.get() || self.resting.get().is_some() {
            return;
        }
        self.call.waker.register(waker);
        let mut counts = self.pending.counts();
        counts.rests += 1;
        let number = counts.rests;
        counts.resting.insert(number, Resting { address: self.address, call: self.call.clone() });
        if let Some(of_address) = self.address.and_then(|address| counts.by_address.get_mut(&address)) {
            of_address.resting.insert(number);
        }
        self.resting.set(Some(number));
    }

    /// Somebody speaks again; `false`: too late, it had to give way.
    pub(super) fn rise(&self) -> bool {
        let Some(number) = self.resting.take() else { return true };
        let stays = self.pending.counts().stop_resting(number).is_some();
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
            self.pending.counts().leave(self.address);
        }
    }

    /// The connection has left, and holds no session any more. Says whether somebody had to give way; `None`: there is no
    /// place for it.
    pub(super) fn come_back(&self) -> Option<bool> {
        let displaced = self.pending.take_place(self.address)?;
        self.is_in.set(true);
        Some(displaced)
    }
}

impl Drop for Permit {
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

    fn enter(pending: &Arc<PendingConnections>, address: Option<IpAddr>) -> Option<Permit> {
        pending.enter(address).map(|entrance| entrance.permit)
    }

    fn rest(permit: &Permit) {
        permit.rest(Waker::noop());
    }

    fn is_empty(pending: &PendingConnections) -> bool {
        let counts = pending.counts();
        counts.all == 0 && counts.by_address.is_empty() && counts.resting.is_empty()
    }

    #[test]
    fn pending_connections_are_bounded_in_all_and_for_each_address() {
        let pending = PendingConnections::new(3, 2);
        let first = enter(&pending, address("192.0.2.1")).unwrap();
        let second = enter(&pending, address("192.0.2.1")).unwrap();
        assert!(enter(&pending, address("192.0.2.1")).is_none());
        let proxy = enter(&pending, None).unwrap();
        assert!(enter(&pending, address("192.0.2.2")).is_none(), "it is full");
        first.leave();
        drop(first);
        assert!(enter(&pending, address("192.0.2.1")).is_some());
        drop((second, proxy));
        assert!(is_empty(&pending));
    }

    #[test]
    fn who_only_waits_gives_way_oldest_first_and_nobody_else_does() {
        let pending = PendingConnections::new(3, 9);
        let busy = enter(&pending, None).unwrap();
        let (older, newer) = (enter(&pending, address("192.0.2.1")).unwrap(), enter(&pending, None).unwrap());
        rest(&older);
        rest(&newer);
        let places: Vec<_> = (0..2).map(|_| pending.enter(address("192.0.2.2")).unwrap()).collect();
        assert!(places.iter().all(|entrance| entrance.displaced));
        assert!(older.gave_way() && newer.gave_way() && !busy.gave_way());
        assert!(!older.rise(), "it is too late to speak");
        assert!(pending.enter(None).is_none(), "nobody waits any more");
        drop((older, newer, busy, places));
        assert!(is_empty(&pending));
    }

    #[test]
    fn who_speaks_again_goes_to_the_end_of_the_row() {
        let pending = PendingConnections::new(2, 9);
        let (one, other) = (enter(&pending, None).unwrap(), enter(&pending, None).unwrap());
        rest(&one);
        rest(&other);
        assert!(one.rise());
        rest(&one);
        let third = enter(&pending, None).unwrap();
        assert!(other.gave_way() && !one.gave_way());
        drop((one, other, third));
        assert!(is_empty(&pending));
    }

    #[test]
    fn a_crowded_address_makes_room_among_its_own() {
        let pending = PendingConnections::new(9, 2);
        let foreign = enter(&pending, address("192.0.2.1")).unwrap();
        rest(&foreign);
        let own = [(); 2].map(|()| enter(&pending, address("2001:db8::1")).unwrap());
        assert!(pending.enter(address("2001:db8::2")).is_none());
        rest(&own[1]);
        let newcomer = pending.enter(address("2001:db8::2")).unwrap();
        assert!(newcomer.displaced && own[1].gave_way() && !foreign.gave_way());
        drop((foreign, own, newcomer));
        assert!(is_empty(&pending));
    }
}
