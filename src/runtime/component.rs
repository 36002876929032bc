//! A part of the instance that runs on its own: a thread or a task, with a name, an owner and an end.

use std::{
    io,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Owns a running thread or task. One that ends without having been asked to is a fault: see [`ended`](Self::ended).
#[derive(Debug)]
pub struct Component {
    name: &'static str,
    stop: CancellationToken,
    ended: CancellationToken,
    /// `None` of a task.
    thread: Option<Thread>,
}

/// A component did not end in the time it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {component} did not end in time")]
pub struct Overdue {
    /// Its name.
    pub component: &'static str,
}

impl Component {
    /// Runs on an OS thread of its own, which is [woken](pause) when it is asked to end.
    pub(crate) fn thread(name: &'static str, run: impl FnOnce(CancellationToken) + Send + 'static) -> io::Result<Self> {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (asked, over) = (stop.clone(), ended.clone().drop_guard());
        let running = thread::Builder::new().name(name.into()).spawn(move || {
            let _over = over;
            run(asked);
        })?;
        Ok(Self { name, stop, ended, thread: Some(running.thread().clone()) })
    }

    /// Runs as a task of the current runtime.
    pub(crate) fn task<F: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let component = Self { name, stop: CancellationToken::new(), ended: CancellationToken::new(), thread: None };
        let ended = component.ended.clone().drop_guard();
        let run = run(component.stop.clone());
        tokio::spawn(async move {
            let _ended = ended;
            run.await;
        });
        component
    }

    /// What logs call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until it has ended, for whatever reason, a panic included. Cancel safe.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn ask_to_end(&self) {
        self.stop.cancel();
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    /// Asks it to end and waits for that.
    pub async fn stop(&self, within: Duration) -> Result<(), Overdue> {
        self.ask_to_end();
        timeout(within, self.ended.cancelled()).await.map_err(|_| Overdue { component: self.name })
    }
}

/// A component whose owner is gone has nobody to end it.
impl Drop for Component {
    fn drop(&mut self) {
        self.ask_to_end();
    }
}

/// On a thread of its own: sleeps until then, until it is to end, or until somebody wakes it.
pub(crate) fn pause(stop: &CancellationToken, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    if !left.is_zero() && !stop.is_cancelled() {
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_component_ends_when_it_is_asked_and_tells_when_it_was_not() {
        let task = Component::task("task", |stop| async move { stop.cancelled().await });
        assert_eq!(task.stop(Duration::from_secs(10)).await, Ok(()));

        let thread = Component::thread("thread", |_stop| panic!("on purpose")).expect("a thread");
        thread.ended().await;

        let asleep = Component::thread("asleep", |stop| {
            let until = Instant::now() + Duration::from_secs(3600);
            while !stop.is_cancelled() {
                pause(&stop, until);
            }
        });
        assert_eq!(asleep.expect("a thread").stop(Duration::from_secs(60)).await, Ok(()));

        let deaf = Component::task("deaf", |_stop| std::future::pending());
        assert_eq!(deaf.stop(Duration::ZERO).await, Err(Overdue { component: "deaf" }));
    }
}
