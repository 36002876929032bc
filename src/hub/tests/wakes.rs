//! A waiting session is woken exactly when something was put in, and never under the hub's lock.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Wake, Waker},
};

use futures_util::FutureExt;

use super::*;
use crate::{hub::SharedHub, protocol::StaleReasons};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A session of ann's that waits, and the hub behind its lock.
fn waiting() -> (SharedHub, Seat, Scene, Arc<Count>) {
    let mut scene = Scene::new();
    let ann = scene.live("ann");
    scene.hub.take_woken();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    assert!(matches!(ann.mailbox.poll_take(&Context::from_waker(&waker)), Delivery::Nothing));
    let hub = SharedHub::new(std::mem::replace(&mut scene.hub, Hub::new(0)));
    (hub, ann, scene, count)
}

fn wakes(count: &Count) -> usize {
    count.0.load(Ordering::Relaxed)
}

#[test]
fn a_waiting_session_is_woken_once_by_many_puts() {
    let (hub, ann, mut scene, count) = waiting();
    for number in [1, 2, 3] {
        let event = scene.set("A-1", number, &["ann"]);
        hub.step(|hub| _ = hub.on_record(&event));
    }
    assert_eq!(wakes(&count), 1);
    let waker = Waker::from(count.clone());
    let cx = Context::from_waker(&waker);
    assert!(matches!(ann.mailbox.poll_take(&cx), Delivery::Updates(_)));
    assert!(matches!(ann.mailbox.poll_take(&cx), Delivery::Nothing));
    let event = scene.set("A-1", 4, &["ann"]);
    hub.step(|hub| _ = hub.on_record(&event));
    assert_eq!(wakes(&count), 2);
}

#[test]
fn nobody_is_woken_for_nothing() {
    let (hub, ann, mut scene, count) = waiting();
    let (foreign, late) = (scene.set("B-1", 1, &["bob"]), scene.set("B-1", 1, &["bob"]));
    hub.step(|hub| {
        hub.on_record(&foreign);
        hub.on_record(&late);
        hub.trim(&[]);
        hub.audit(ann.key);
    });
    assert_eq!(wakes(&count), 0);
}

#[test]
fn a_session_is_woken_when_what_it_shows_becomes_proven() {
    let mailbox = Mailbox::new(65_536);
    assert!(mailbox.set_verified(true) && mailbox.is_proven());
    assert!(!mailbox.set_verified(true), "nothing changed");
}

#[test]
fn a_session_is_woken_when_a_doubt_comes_and_when_it_goes() {
    let mailbox = Mailbox::new(65_536);
    let doubt = StaleReasons::from_iter([StaleReason::DatabaseUnavailable]);
    for stale in [doubt, StaleReasons::NONE, doubt] {
        mailbox.poll_take(&Context::from_waker(Waker::noop()));
        assert!(mailbox.set_stale_orders(stale), "{stale:?}");
        mailbox.poll_take(&Context::from_waker(Waker::noop()));
        assert!(!mailbox.set_stale_orders(stale), "nothing changed");
    }
}

#[test]
fn whoever_waited_last_is_woken_and_for_what_is_pending_already_nobody_again() {
    let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mailbox = Mailbox::new(65_536);
    for count in [&first, &second] {
        let waker = Waker::from(count.clone());
        assert!(matches!(mailbox.poll_take(&Context::from_waker(&waker)), Delivery::Nothing));
    }
    assert!(mailbox.put_announcement(&Message::text("{}")));
    assert!(!mailbox.put_removed(&order("A-1")).1);
    mailbox.wake();
    assert_eq!((wakes(&first), wakes(&second)), (0, 1));
}

#[test]
fn whoever_reads_is_told_that_a_read_is_due() {
    let hub = SharedHub::new(Hub::new(usize::MAX));
    assert!(hub.reads_due().now_or_never().is_none(), "nothing is due");
    let mailbox = Arc::new(Mailbox::new(65_536));
    let viewer = Viewer::User { id: user("ann"), only: None };
    hub.step(|hub| _ = hub.join(Joining { viewer, mailbox, start: true, place: None, identity: None }));
    assert!(hub.reads_due().now_or_never().is_some());
    assert_eq!(hub.step(|hub| hub.take_due_reads(10)).len(), 1);
}

#[test]
fn what_concerns_everybody_wakes_everybody() {
    let (hub, _ann, _scene, count) = waiting();
    hub.step(Hub::nudge_all);
    assert_eq!(wakes(&count), 1);
}
