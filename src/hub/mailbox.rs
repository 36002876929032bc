//! A session's bounded outbound state, keyed by order: the only thing that the hub and a session both touch.
//!
//! The hub puts in, under its own lock; the session takes out as its socket drains. A newer update replaces a pending
//! one of the same order, so a reader that is behind skips versions but always gets the newest.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use super::WakeQueue;
use crate::{
    domain::OrderId,
    protocol::{
        CloseCause, Delivery, Message, PendingSnapshot, StaleReason, StaleReasons, delivery::ENTRY_OVERHEAD_BYTES,
        outbound,
    },
};

/// Announcements that wait for a slow reader; of more, the oldest go. They are shared, so they cost a session little.
const MAX_ANNOUNCEMENTS: usize = 8;

/// The mailbox of one session.
#[derive(Debug)]
pub struct Mailbox {
    limit_bytes: usize,
    wakes: Option<Arc<WakeQueue>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Taken before the entries: what it says of an order is older than an entry of that order.
    snapshot: Option<PendingSnapshot>,
    entries: IndexMap<OrderId, Entry, DefaultHashBuilder>,
    entry_bytes: usize,
    /// What has been added to the snapshot since it was put in, at most: what is taken out again still counts.
    merged_bytes: usize,
    overflowed: bool,
    verified: bool,
    /// Why an order on its screen could not be proved for too long.
    stale_orders: StaleReasons,
    not_visible: Vec<OrderId>,
    /// An overflow took `not_visible` away: the hub is to answer again.
    unanswered: bool,
    /// Outlive what is forgotten: nobody can read them anew.
    announcements: Vec<Message>,
    /// A snapshot was taken, so other frames may follow.
    begun: bool,
    closed: Option<CloseCause>,
    /// Set by the first put after a take; spares further wake-ups.
    notified: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Entry {
    /// The client has the order on its screen from an earlier frame.
    on_screen: bool,
    /// A `removed` goes first.
    reset: bool,
    update: Option<Message>,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES + self.update.as_ref().map_or(0, Message::len)
    }
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is pending.
    Queued,
    /// It is pending in the place of an older one.
    Replaced,
    /// It is pending in the place of the first that the client would have seen of the order, whose step it misses now.
    ReplacedFirst,
    /// It did not fit: the mailbox is empty now and takes no updates until a snapshot is put in.
    Overflowed,
}

/// What the client will not hear, because the mailbox was cleared.
#[derive(Debug)]
pub(super) struct Forgotten {
    /// A full snapshot.
    pub(super) full_snapshot: bool,
    /// The orders that something was said of.
    pub(super) orders: Vec<OrderId>,
    /// Whether that was part of it, which orders of a `subscribe` are not visible.
    pub(super) not_visible: bool,
}

impl Mailbox {
    /// An empty mailbox. A single entry always fits, so `limit_bytes` is a bound for many.
    pub fn new(limit_bytes: usize) -> Self {
        Self::woken_by(None, limit_bytes)
    }

    /// The mailbox of a session that its worker wakes, who hears of it by this queue; `None`: it is woken on its own.
    pub fn woken_by(wakes: Option<Arc<WakeQueue>>, limit_bytes: usize) -> Self {
        Self { limit_bytes, wakes, inner: Mutex::default() }
    }

    pub(super) fn wakes(&self) -> Option<&Arc<WakeQueue>> {
        self.wakes.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic, so a poisoned lock guards sound data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next delivery, or keeps the waker of `cx` until there is one.
    pub fn poll_take(&self, cx: &Context<'_>) -> Delivery {
        let mut inner = self.lock();
        let delivery = inner.take();
        if matches!(delivery, Delivery::Nothing) {
            inner.notified = false;
            match &inner.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => inner.waker = Some(cx.waker().clone()),
            }
        }
        delivery
    }

    /// Takes the next delivery without waiting for one.
    pub fn take(&self) -> Delivery {
        self.lock().take()
    }

    /// Bytes of pending updates.
    pub fn pending_bytes(&self) -> usize {
        self.lock().pending_bytes()
    }

    /// Why the session is to end now, if it is. Ranks above all deliveries.
    pub fn closed(&self) -> Option<CloseCause> {
        self.lock().closed
    }

    /// Whether the last snapshot that was put in had been proved complete, and nothing was given up since.
    pub fn is_proven(&self) -> bool {
        self.lock().verified
    }

    /// Why this screen in particular may be out of date, whatever is true of the instance.
    pub fn doubts(&self) -> StaleReasons {
        let inner = self.lock();
        let mut doubts = inner.stale_orders;
        if !inner.verified {
            doubts.set(StaleReason::CatchingUp, true);
        }
        doubts
    }

    /// Wakes the session if it waits. Called without the hub's lock.
    pub fn wake(&self) {
        // Under the lock: a task that is woken runs later, and its waker stays for the next time.
        if let Some(waker) = &self.lock().waker {
            waker.wake_by_ref();
        }
    }

    /// Puts an order's new state in. `on_screen`: the client shows the order already, by a frame that was put in
    /// before; `reset`: what it shows must be taken away first, because its version is not lower.
    ///
    /// The second answer is whether the session has to be woken; so with the others.
    pub(super) fn put_update(&self, order_id: &OrderId, on_screen: bool, reset: bool, update: &Message) -> (Put, bool) {
        self.put(order_id, Entry { on_screen, reset, update: Some(update.clone()) })
    }

    /// Puts in that an order, which the client shows, is not to be shown any more.
    pub(super) fn put_removed(&self, order_id: &OrderId) -> (Put, bool) {
        self.put(order_id, Entry { on_screen: true, reset: true, update: None })
    }

    fn put(&self, order_id: &OrderId, entry: Entry) -> (Put, bool) {
        let mut inner = self.lock();
        let put = inner.put(order_id, entry);
        let fits = inner.pending_bytes() <= self.limit_bytes || inner.entries.len() == 1 && inner.merged_bytes == 0;
        (if fits { put } else { inner.overflow() }, inner.notify())
    }

    /// Puts in a snapshot, which stands between all that was and all that comes: what is pending of its orders goes.
    /// The first always fits; a partial one that joins another counts towards the limit.
    pub(super) fn put_snapshot(&self, snapshot: PendingSnapshot) -> (Put, bool) {
        let mut inner = self.lock();
        for order_id in snapshot.orders.keys().chain(&snapshot.removed) {
            inner.drop_entry(order_id);
        }
        let mut put = Put::Queued;
        match &mut inner.snapshot {
            Some(pending) if snapshot.partial => {
                let merged_bytes = pending.merge(snapshot);
                inner.merged_bytes += merged_bytes;
                if inner.pending_bytes() > self.limit_bytes {
                    put = inner.overflow();
                }
            }
            _ => {
                if !snapshot.partial {
                    inner.forget_all();
                }
                inner.snapshot = Some(snapshot);
            }
        }
        (put, inner.notify())
    }

    /// Puts in the orders of a `subscribe` that are not visible now.
    pub(super) fn put_not_visible(&self, orders: Vec<OrderId>) -> bool {
        let mut inner = self.lock();
        inner.not_visible = orders;
        inner.notify()
    }

    /// Ends the session. The first cause counts.
    pub(super) fn put_close(&self, cause: CloseCause) -> bool {
        let mut inner = self.lock();
        inner.closed.get_or_insert(cause);
        inner.notify()
    }

    /// Puts in a frame to be told once, after the first snapshot.
    pub(super) fn put_announcement(&self, announcement: &Message) -> bool {
        let mut inner = self.lock();
        if inner.announcements.len() == MAX_ANNOUNCEMENTS {
            inner.announcements.remove(0);
        }
        inner.announcements.push(announcement.clone());
        inner.notify()
    }

    /// Says whether what the session shows has been proved complete.
    pub(super) fn set_verified(&self, verified: bool) -> bool {
        let mut inner = self.lock();
        let changed = inner.verified != verified;
        inner.verified = verified;
        changed && inner.notify()
    }

    /// Says why the session shows an order that could not be proved for too long.
    pub(super) fn set_stale_orders(&self, stale_orders: StaleReasons) -> bool {
        let mut inner = self.lock();
        let changed = inner.stale_orders != stale_orders;
        inner.stale_orders = stale_orders;
        changed && inner.notify()
    }

    /// Forgets all that is pending, and says of what.
    pub(super) fn clear(&self) -> Forgotten {
        let mut inner = self.lock();
        let entries = inner.entries.drain(..).map(|(order_id, _)| order_id);
        let mut forgotten = Forgotten { full_snapshot: false, orders: entries.collect(), not_visible: false };
        forgotten.not_visible = std::mem::take(&mut inner.unanswered) || !inner.not_visible.is_empty();
        if let Some(snapshot) = inner.snapshot.take() {
            forgotten.full_snapshot = !snapshot.partial;
            forgotten.orders.extend(snapshot.orders.into_keys().chain(snapshot.removed));
        }
        inner.forget_all();
        forgotten
    }
}

impl Inner {
    fn take(&mut self) -> Delivery {
        // Ahead of what may wait at all times for a reader that is behind.
        if self.begun && !self.announcements.is_empty() {
            return Delivery::Updates(std::mem::take(&mut self.announcements));
        }
        if let Some(snapshot) = self.snapshot.take() {
            self.merged_bytes = 0;
            self.begun = true;
            return Delivery::Snapshot(snapshot);
        }
        if !self.not_visible.is_empty() {
            return Delivery::NotVisible(std::mem::take(&mut self.not_visible));
        }
        if std::mem::take(&mut self.overflowed) {
            return Delivery::Overflowed;
        }
        if self.entries.is_empty() {
            return Delivery::Nothing;
        }
        self.entry_bytes = 0;
        let mut frames = Vec::with_capacity(self.entries.len());
        for (order_id, entry) in self.entries.drain(..) {
            if entry.reset && entry.on_screen {
                frames.push(outbound::removed(&order_id));
            }
            frames.extend(entry.update);
        }
        Delivery::Updates(frames)
    }

    fn put(&mut self, order_id: &OrderId, mut entry: Entry) -> Put {
        if entry.update.is_none() && self.take_out_of_snapshot(order_id) {
            return Put::Queued;
        }
        let replaced = self.drop_entry(order_id);
        let mut put = Put::Queued;
        if let Some(before) = replaced {
            // The client's screen is as it was before the older entry, whose reset still has to be told.
            entry.on_screen = before.on_screen;
            entry.reset |= before.reset;
            put = if before.on_screen && !before.reset { Put::Replaced } else { Put::ReplacedFirst };
        }
        if entry.update.is_some() || entry.on_screen {
            self.entry_bytes += entry.bytes();
            self.entries.insert(order_id.clone(), entry);
        }
        put
    }

    /// What was to be seen when a snapshot was made, and is not any more, must not be sent because the snapshot still waits.
    fn take_out_of_snapshot(&mut self, order_id: &OrderId) -> bool {
        let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.orders.contains_key(order_id)) else {
            return false;
        };
        snapshot.put(order_id, None);
        self.drop_entry(order_id);
        true
    }

    fn drop_entry(&mut self, order_id: &OrderId) -> Option<Entry> {
        let entry = self.entries.swap_remove(order_id)?;
        self.entry_bytes -= entry.bytes();
        Some(entry)
    }

    fn pending_bytes(&self) -> usize {
        self.entry_bytes + self.merged_bytes
    }

    fn overflow(&mut self) -> Put {
        self.unanswered |= !self.not_visible.is_empty();
        self.forget_all();
        self.overflowed = true;
        // Until a snapshot comes, which may take as long as the database is away.
        self.verified = false;
        Put::Overflowed
    }

    fn forget_all(&mut self) {
        // Shrinks, too: a burst must not be paid for until the session ends.
        self.entries = IndexMap::default();
        (self.entry_bytes, self.merged_bytes) = (0, 0);
        self.snapshot = None;
        self.overflowed = false;
        self.not_visible = Vec::new();
    }

    fn notify(&mut self) -> bool {
        !std::mem::replace(&mut self.notified, true)
    }
}
