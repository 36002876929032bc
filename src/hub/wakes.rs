//! Which sessions of one worker are to look into their mailboxes. A thread that has put something in hands them over here, and
//! wakes the worker once for all of them: waking a task of another thread costs a system call, on its own thread next to nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use super::Mailbox;

/// The mailboxes of one worker that have been put into. Bounded by the sessions: each is here once until it has looked.
#[derive(Debug, Default)]
pub struct WakeQueue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    mailboxes: Vec<Arc<Mailbox>>,
    worker: Option<Waker>,
}

impl WakeQueue {
    /// What was handed over since the last call. Keeps the waker of `cx` for what comes.
    pub fn take(&self, cx: &Context<'_>) -> Vec<Arc<Mailbox>> {
        let mut inner = self.lock();
        match &inner.worker {
            Some(worker) if worker.will_wake(cx.waker()) => {}
            _ => inner.worker = Some(cx.waker().clone()),
        }
        std::mem::take(&mut inner.mailboxes)
    }

    /// Hands a mailbox over. `true`: it is the first, so the worker has to be [woken](Self::wake_worker).
    fn push(&self, mailbox: Arc<Mailbox>) -> bool {
        let mut inner = self.lock();
        inner.mailboxes.push(mailbox);
        inner.mailboxes.len() == 1
    }

    /// Lets the worker look here.
    pub fn wake_worker(&self) {
        // Under the lock: the task runs later.
        if let Some(worker) = &self.lock().worker {
            worker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic happens under this lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the sessions of these mailboxes: those of a worker together, and whoever has none on its own.
pub(super) fn wake(mailboxes: Vec<Arc<Mailbox>>) {
    let mut queues: Vec<Arc<WakeQueue>> = Vec::new();
    for mailbox in mailboxes {
        match mailbox.wakes().cloned() {
            Some(queue) => {
                if queue.push(mailbox) {
                    queues.push(queue);
                }
            }
            None => mailbox.wake(),
        }
    }
    queues.iter().for_each(|queue| queue.wake_worker());
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_worker_is_woken_once_for_all_its_sessions_and_finds_each_of_them() {
        let (wakes, queue) = (Arc::new(Wakes::default()), Arc::new(WakeQueue::default()));
        let waker = Waker::from(wakes.clone());
        let cx = Context::from_waker(&waker);
        assert!(queue.take(&cx).is_empty());
        let mailboxes: Vec<_> = (0..9).map(|_| Arc::new(Mailbox::woken_by(Some(queue.clone()), 1_000))).collect();
        wake(mailboxes.clone());
        wake(mailboxes[..2].to_vec());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let found = queue.take(&cx);
        assert_eq!(found.len(), 11);
        wake(mailboxes[..1].to_vec());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2, "it had looked");
    }
}
