//! Where in the tail a name stands: of an order, or of a user whom events name.
//!
//! Links are appended and never taken out: each leads to the link of its bucket before it, and one whose record has left
//! the tail leads nowhere. When there is no room for another, those are swept away and the rest is linked anew. So an
//! event that comes costs one look into the buckets, and one that leaves costs nothing.

use std::hash::{BuildHasher, Hash};

use hashbrown::DefaultHashBuilder;

/// No link.
const NONE: u32 = u32::MAX;
const FEWEST_BUCKETS: usize = 64;
/// What a place costs: its link and bucket, and as many again that are kept free or lead nowhere.
pub(super) const BYTES_PER_PLACE: usize = 2 * (size_of::<Link>() + size_of::<u32>());

/// Records by the hash of a name.
#[derive(Debug)]
pub(super) struct Listing {
    /// The newest link of every bucket. As many as there may be links; a power of two.
    buckets: Vec<u32>,
    /// Oldest first.
    links: Vec<Link>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Link {
    place: Listed,
    /// The lower half of the name's hash.
    hash: u32,
    /// The link before it in its bucket.
    before: u32,
}

/// Which record it is. Without its epoch: a partition has one in the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) offset: i64,
    pub(super) partition: i32,
}

impl Default for Listing {
    fn default() -> Self {
        Self { buckets: vec![NONE; FEWEST_BUCKETS], links: Vec::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl Listing {
    /// Lists a record under a name. Where that needs room, places that are not `alive` any more are forgotten.
    pub(super) fn push(&mut self, name: &impl Hash, place: Listed, alive: impl Fn(Listed) -> bool) {
        if self.links.len() == self.buckets.len() {
            self.sweep(alive);
        }
        let hash = self.hash(name);
        self.links.push(Link { place, hash, before: NONE });
        self.chain(self.links.len() - 1);
    }

    /// The records of a name, oldest first, and hardly ever those of another; perhaps some that have left the tail.
    pub(super) fn of(&self, name: &impl Hash) -> Vec<Listed> {
        let hash = self.hash(name);
        let newest = self.link(self.buckets[self.bucket(hash)]);
        let chain = std::iter::successors(newest, |link| self.link(link.before));
        let mut places: Vec<_> = chain.filter(|link| link.hash == hash).map(|link| link.place).collect();
        places.reverse();
        places
    }

    /// Forgets the places that are not `alive` and makes room for as many as are left.
    pub(super) fn sweep(&mut self, alive: impl Fn(Listed) -> bool) {
        self.links.retain(|link| alive(link.place));
        let buckets = (2 * self.links.len()).next_power_of_two().max(FEWEST_BUCKETS);
        self.buckets.clear();
        self.buckets.resize(buckets, NONE);
        self.buckets.shrink_to(2 * buckets);
        self.links.shrink_to(2 * buckets);
        (0..self.links.len()).for_each(|index| self.chain(index));
    }

    /// Makes a link the newest of its bucket.
    fn chain(&mut self, index: usize) {
        let bucket = self.bucket(self.links[index].hash);
        // As many links as 32 bits can count would take 200 GB.
        let newest = std::mem::replace(&mut self.buckets[bucket], index as u32);
        self.links[index].before = newest;
    }

    fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(index as usize)
    }

    fn hash(&self, name: &impl Hash) -> u32 {
        self.hasher.hash_one(name) as u32
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> Listed {
        Listed { offset, partition: 0 }
    }

    fn offsets(listing: &Listing, name: i64) -> Vec<i64> {
        listing.of(&name).iter().map(|place| place.offset).collect()
    }

    #[test]
    fn places_are_found_by_name_oldest_first_however_many_there_are() {
        let mut listing = Listing::default();
        for offset in 0..10_000 {
            listing.push(&(offset % 1_000), place(offset), |_| true);
        }
        for name in 0..1_000 {
            assert_eq!(offsets(&listing, name), (0..10).map(|round| round * 1_000 + name).collect::<Vec<_>>());
        }
        assert!(offsets(&listing, 1_000).is_empty());
    }

    #[test]
    fn places_are_swept_only_when_there_is_no_room_for_another() {
        let (mut listing, looked_at) = (Listing::default(), std::cell::Cell::new(0));
        for offset in 0..1_000 {
            listing.push(&offset, place(offset), |_| {
                looked_at.set(looked_at.get() + 1);
                true
            });
        }
        assert!(looked_at.get() < 2_000, "{} for 1,000", looked_at.get());
    }

    #[test]
    fn what_has_left_is_swept_away_and_takes_no_room() {
        let mut listing = Listing::default();
        for offset in 0..10_000 {
            listing.push(&(offset % 7), place(offset), |place| place.offset > offset - 20);
        }
        assert!(listing.links.len() <= FEWEST_BUCKETS && listing.buckets.len() == FEWEST_BUCKETS);
        assert!(offsets(&listing, 3).ends_with(&[9_985, 9_992, 9_999]));
        listing.sweep(|place| place.offset == 9_992);
        assert_eq!(offsets(&listing, 3), [9_992]);
    }
}
