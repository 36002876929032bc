//! The keys in use, which change while tokens are checked: files are read again, a key set is fetched. Who fetches is told
//! here that a key is wanted, at most once in [`MIN_INTERVAL_MILLIS`] for names nobody knows. Pure but for its locks.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{Flaw, TokenError, keys::Keys};
use crate::domain::Timestamp;

/// Shortest time from one fetch to the next that an unknown `kid` asks for: anybody can write one into a token.
const MIN_INTERVAL_MILLIS: i64 = 5_000;

/// How long a request waits for a key to be fetched.
const FETCH_PATIENCE: Duration = Duration::from_secs(4);

pub(super) struct Keyring {
    keys: RwLock<Option<Arc<Keys>>>,
    /// Only where keys are fetched.
    remote: Option<Remote>,
    fetches: watch::Sender<()>,
}

struct Remote {
    wanted: Notify,
    last: Mutex<Option<Fetch>>,
}

#[derive(Clone, Copy)]
struct Fetch {
    at: Timestamp,
    succeeded: bool,
}

impl Keyring {
    /// Keys of the settings.
    pub(super) fn given(keys: Keys) -> Self {
        Self { keys: RwLock::new(Some(Arc::new(keys))), remote: None, fetches: watch::Sender::new(()) }
    }

    /// Keys that are still to be fetched.
    pub(super) fn remote() -> Self {
        let remote = Remote { wanted: Notify::new(), last: Mutex::new(None) };
        Self { keys: RwLock::new(None), remote: Some(remote), fetches: watch::Sender::new(()) }
    }

    pub(super) fn replace(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
    }

    /// The keys to check a token with this `kid` with. A key server out of reach is never the token's fault.
    pub(super) fn keys_for(&self, kid: Option<&str>, now: Timestamp) -> Result<Arc<Keys>, TokenError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(remote) = &self.remote else { return keys.ok_or(TokenError::KeysUnavailable) };
        match keys {
            Some(keys) if kid.is_none_or(|kid| keys.has(kid)) => Ok(keys),
            Some(_) if remote.is_settled(now) => Err(TokenError::Invalid(Flaw::Signature)),
            _ => Err(TokenError::KeysUnavailable),
        }
    }

    /// A fetch has begun: who wants a key meanwhile waits for this one, and is no reason for another.
    pub(super) fn on_fetching(&self, now: Timestamp) {
        if let Some(remote) = &self.remote {
            *remote.lock() = Some(Fetch { at: now, succeeded: false });
        }
    }

    /// The fetch that began at `now` has ended.
    pub(super) fn on_fetched(&self, succeeded: bool, now: Timestamp) {
        if let Some(remote) = &self.remote {
            *remote.lock() = Some(Fetch { at: now, succeeded });
        }
        self.fetches.send_replace(());
    }

    /// Fetches that end from now on.
    pub(super) fn fetches(&self) -> Fetches {
        Fetches(self.fetches.subscribe())
    }

    pub(super) async fn wanted(&self) {
        match &self.remote {
            Some(remote) => remote.wanted.notified().await,
            None => std::future::pending().await,
        }
    }
}

pub(super) struct Fetches(watch::Receiver<()>);

impl Fetches {
    /// Waits for the end of a fetch, for a moment: without one in time everything is as it was.
    pub(super) async fn wait(&mut self) {
        let _ = timeout(FETCH_PATIENCE, self.0.changed()).await;
    }
}

impl Remote {
    /// Whether the set that is here is the newest that may be had now; if not, it is asked for.
    fn is_settled(&self, now: Timestamp) -> bool {
        let last = *self.lock();
        let is_recent =
            last.is_some_and(|fetch| (0..MIN_INTERVAL_MILLIS).contains(&(now.as_millis() - fetch.at.as_millis())));
        if !is_recent {
            self.wanted.notify_one();
        }
        is_recent && last.is_some_and(|fetch| fetch.succeeded)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Fetch>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
