//! How many requests an address may begin in a second, and who sends so much that cannot be read that it is not listened to.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock, Reference},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};

use super::source::network_of;

type Limiter<C> = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The rate of each address, an IPv6 host being its /64. A second's worth may come at once.
///
/// Bounded: an address that has been quiet for a second is forgotten, so only those of the last second or two are known.
#[derive(Debug)]
pub struct RequestRate<C: Clock = MonotonicClock> {
    limiter: Limiter<C>,
    clock: C,
    start: C::Instant,
    /// The second since the start in which quiet addresses were last forgotten.
    swept: AtomicU64,
    /// Networks that are not listened to, until this time since the start in nanoseconds.
    shut_out: Mutex<HashMap<IpAddr, u64>>,
}

const SECOND: u64 = 1_000_000_000;

impl RequestRate {
    /// So many a second for each address.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self::with_clock(per_second, MonotonicClock)
    }
}

impl<C: Clock + Clone> RequestRate<C> {
    fn with_clock(per_second: NonZeroU32, clock: C) -> Self {
        let limiter = RateLimiter::new(Quota::per_second(per_second), DashMapStateStore::default(), clock.clone());
        Self { limiter, start: clock.now(), clock, swept: AtomicU64::new(0), shut_out: Mutex::default() }
    }

    /// Takes a request; `false` if it is one too many.
    pub fn admits(&self, address: IpAddr) -> bool {
        let now = self.now();
        let second = now / SECOND;
        if self.swept.swap(second, Ordering::Relaxed) != second {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
            self.shut_out.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, until| *until > now);
        }
        self.limiter.check_key(&network_of(address)).is_ok()
    }

    /// Takes something that could not even be read as a request. With one too many its address is shut out for a second:
    /// there is nobody to be told so by an answer.
    pub fn charge(&self, address: IpAddr) {
        if !self.admits(address) {
            let mut shut_out = self.shut_out.lock().unwrap_or_else(PoisonError::into_inner);
            shut_out.insert(network_of(address), self.now() + SECOND);
        }
    }

    /// Whether connections of this address are not to be taken now.
    pub fn shuts_out(&self, address: IpAddr) -> bool {
        let shut_out = self.shut_out.lock().unwrap_or_else(PoisonError::into_inner);
        shut_out.get(&network_of(address)).is_some_and(|until| self.now() < *until)
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.start).as_u64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_rate_and_an_ipv6_network_one() {
        let clock = FakeRelativeClock::default();
        let rate = RequestRate::with_clock(NonZeroU32::new(3).unwrap(), clock.clone());
        let one = address("192.0.2.1");
        assert_eq!([(); 4].map(|()| rate.admits(one)), [true, true, true, false]);
        assert!(rate.admits(address("192.0.2.2")), "nobody else is held up");
        let network = (1..=4).map(|host| rate.admits(address(&format!("2001:db8::{host}"))));
        assert_eq!(network.collect::<Vec<_>>(), [true, true, true, false]);
        clock.advance(Duration::from_millis(334));
        assert_eq!([(); 2].map(|()| rate.admits(one)), [true, false]);
    }

    #[test]
    fn who_sends_too_much_that_cannot_be_read_is_shut_out_for_a_second_with_its_network() {
        let clock = FakeRelativeClock::default();
        let rate = RequestRate::with_clock(NonZeroU32::new(3).unwrap(), clock.clone());
        let (one, neighbour) = (address("2001:db8::1"), address("2001:db8::2"));
        for _ in 0..3 {
            rate.charge(one);
        }
        assert!(!rate.shuts_out(one), "so many are allowed");
        assert!(!rate.admits(one), "and count as requests");
        rate.charge(one);
        assert!(rate.shuts_out(one) && rate.shuts_out(neighbour) && !rate.shuts_out(address("2001:db9::1")));
        clock.advance(Duration::from_millis(1_001));
        assert!(!rate.shuts_out(one));
        assert!(rate.admits(one));
        assert!(rate.shut_out.lock().unwrap().is_empty(), "it is forgotten");
    }

    #[test]
    fn quiet_addresses_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let rate = RequestRate::with_clock(NonZeroU32::new(3).unwrap(), clock.clone());
        for host in 0..10_000 {
            rate.admits(IpAddr::V4(host.into()));
        }
        assert_eq!(rate.limiter.len(), 10_000);
        clock.advance(Duration::from_secs(2));
        rate.admits(address("192.0.2.1"));
        assert_eq!(rate.limiter.len(), 1);
    }
}
