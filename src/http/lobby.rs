//! Connections that hold no session (yet): bounded, in all and for each address, so that none of them can keep the
//! listener from accepting the next.

use std::{
    cell::Cell,
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

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
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place in the lobby, given up when it is dropped or [leaves](Guest::leave).
#[derive(Debug)]
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    /// `None`: a proxy, which may bring many.
    address: Option<IpAddr>,
    is_in: Cell<bool>,
}

impl Lobby {
    /// A lobby for `max` connections, at most `max_per_address` of one address.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, guests: Mutex::default() })
    }

    /// Lets a connection in; `None`: there is no place. `address` is `None` for a trusted proxy.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Guest> {
        let address = address.map(network_of);
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.all >= self.max {
            return None;
        }
        if let Some(address) = address {
            let many = guests.by_address.entry(address).or_default();
            if *many >= self.max_per_address {
                return None;
            }
            *many += 1;
        }
        guests.all += 1;
        Some(Guest { lobby: self.clone(), address, is_in: Cell::new(true) })
    }

    fn leave(&self, address: Option<IpAddr>) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.all -= 1;
        if let Some(address) = address
            && let Some(many) = guests.by_address.get_mut(&address)
        {
            *many -= 1;
            if *many == 0 {
                guests.by_address.remove(&address);
            }
        }
    }
}

impl Guest {
    /// The connection holds a session now.
    pub(super) fn leave(&self) {
        if self.is_in.replace(false) {
            self.lobby.leave(self.address);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lobby_is_bounded_in_all_and_for_each_address() {
        let lobby = Lobby::new(3, 2);
        let address = |text: &str| Some(text.parse().unwrap());
        let first = lobby.enter(address("192.0.2.1")).unwrap();
        let second = lobby.enter(address("192.0.2.1")).unwrap();
        assert!(lobby.enter(address("192.0.2.1")).is_none());
        let proxy = lobby.enter(None).unwrap();
        assert!(lobby.enter(address("192.0.2.2")).is_none(), "it is full");
        first.leave();
        drop(first);
        assert!(lobby.enter(address("192.0.2.1")).is_some());
        drop((second, proxy));
        let guests = lobby.guests.lock().unwrap();
        assert_eq!((guests.all, guests.by_address.len()), (0, 0));
    }
}
