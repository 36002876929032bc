//! What the connections of one actix worker share: who of them is to be woken, by the hub or by time. One task for all of
//! them does it.

use std::{
    cell::{RefCell, RefMut},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::BytesMut;
use tokio::time::{Sleep, sleep_until};

use super::alarms::{AlarmKey, Alarms};
use crate::hub::WakeQueue;

/// Read from a client at once. What clients say is short.
const READ_BYTES: usize = 8 * 1024;

/// One worker.
#[derive(Debug)]
pub struct Worker {
    wakes: Arc<WakeQueue>,
    alarms: RefCell<Alarms>,
    read_buffer: RefCell<Box<[u8]>>,
    write_buffer: RefCell<BytesMut>,
}

impl Worker {
    /// Starts the task, which ends with the worker that calls this, or with the last that knows it.
    pub fn start() -> Rc<Self> {
        let worker = Rc::new(Self {
            wakes: Arc::default(),
            alarms: RefCell::new(Alarms::new(Instant::now())),
            read_buffer: RefCell::new(vec![0; READ_BYTES].into()),
            write_buffer: RefCell::default(),
        });
        #[expect(clippy::disallowed_methods, reason = "it belongs to this worker, and goes on after a panic")]
        actix_web::rt::spawn(run(Rc::downgrade(&worker)));
        worker
    }

    /// Where the hub leaves the sessions of this worker that it has put something into.
    pub fn wakes(&self) -> &Arc<WakeQueue> {
        &self.wakes
    }

    /// Wakes whoever is to be woken now, and has the task of `cx` woken for the next.
    fn wake_sessions(&self, sleep: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) {
        self.wakes.take(cx).iter().for_each(|mailbox| mailbox.wake());
        loop {
            let Some(at) = self.alarms.borrow().next() else { return };
            if sleep.deadline() != at.into() {
                sleep.as_mut().reset(at.into());
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            let due = self.alarms.borrow_mut().take_due(Instant::now());
            due.into_iter().for_each(Waker::wake);
        }
    }

    /// Where bytes of a client come in. To be given back before anybody else reads.
    pub(super) fn read_buffer(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.read_buffer.borrow_mut(), |buffer| &mut buffer[..])
    }

    /// An empty buffer, where what goes to a client is put together. To be given back before anybody else writes.
    pub(super) fn write_buffer(&self) -> RefMut<'_, BytesMut> {
        let mut buffer = self.write_buffer.borrow_mut();
        // Somebody who panicked may have left something.
        buffer.clear();
        buffer
    }
}

/// Inputs: sessions that the hub names, alarms. All sessions of the worker depend on this task, so a panic, which the hook of
/// panics has told, does not end it.
async fn run(worker: Weak<Worker>) {
    let mut sleep: Pin<Box<Sleep>> = Box::pin(sleep_until(Instant::now().into()));
    poll_fn(|cx| {
        let Some(worker) = worker.upgrade() else { return Poll::Ready(()) };
        if catch_unwind(AssertUnwindSafe(|| worker.wake_sessions(&mut sleep, cx))).is_err() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

impl Drop for Worker {
    /// The task sees it.
    fn drop(&mut self) {
        self.wakes.wake_worker();
    }
}

/// A connection's deadline. It may move at any time: only one that comes earlier than what is set costs anything.
#[derive(Debug)]
pub(super) struct Alarm {
    worker: Rc<Worker>,
    key: Option<AlarmKey>,
}

impl Alarm {
    pub(super) fn new(worker: Rc<Worker>) -> Self {
        Self { worker, key: None }
    }

    /// Ready at `at`; before, the task is woken by then, or earlier.
    pub(super) fn poll(&mut self, at: Instant, now: Instant, cx: &Context<'_>) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        let mut alarms = self.worker.alarms.borrow_mut();
        if let Some(key) = self.key {
            if alarms.covers(key, at, cx.waker()) {
                return Poll::Pending;
            }
            alarms.unset(key);
        }
        let before = alarms.next();
        self.key = Some(alarms.set(at, cx.waker()));
        if alarms.next() != before {
            self.worker.wakes.wake_worker();
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.worker.alarms.borrow_mut().unset(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[actix_web::test]
    async fn an_alarm_wakes_its_task_and_can_be_moved() {
        let worker = Worker::start();
        let mut alarm = Alarm::new(worker);
        let began = Instant::now();
        let (mut at, mut polls) = (began + Duration::from_secs(3600), 0);
        poll_fn(|cx| {
            polls += 1;
            if polls == 1 {
                assert!(alarm.poll(at, Instant::now(), cx).is_pending());
                at = began + Duration::from_millis(120);
            }
            alarm.poll(at, Instant::now(), cx)
        })
        .await;
        assert!(began.elapsed() >= Duration::from_millis(120) && polls < 5, "{polls}");
    }
}
