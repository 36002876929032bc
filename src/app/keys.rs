//! Keeps the keys that verify tokens current: reads key and secret files again when they change, fetches the key set of `auth.jwks_url`.
//! Whatever goes wrong, the last good keys stay in use.

use std::{path::Path, sync::Arc, time::Duration};

use reqwest::redirect;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    auth::Verifier,
    config::{Auth, is_safe_key_set_url},
    domain::Timestamp,
    runtime::Component,
    telemetry::Metrics,
};

/// How often key files are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(2);
/// How often a key set is fetched that nobody asks for.
const FETCH_INTERVAL: Duration = Duration::from_secs(300);
/// The same while the last fetch failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_REDIRECTS: usize = 3;
const MAX_SET_BYTES: usize = 256 * 1024;

/// Starts what the settings ask for.
pub(super) fn start(auth: Auth, verifier: Arc<Verifier>, metrics: Metrics) -> Component {
    Component::task("keys", |stop| async move {
        match auth.jwks_url.clone() {
            Some(url) => KeySet { url, auth, verifier, metrics }.run(stop).await,
            None => KeyFiles { auth, verifier, metrics }.watch(&stop).await,
        }
    })
}

struct KeyFiles {
    auth: Auth,
    verifier: Arc<Verifier>,
    metrics: Metrics,
}

impl KeyFiles {
    /// Inputs: the clock, stop. What a file holds is compared, not when it was written: a mounted secret is swapped as a
    /// link.
    async fn watch(&self, stop: &CancellationToken) {
        // Nothing has been seen yet: a change since the settings were read must not be missed.
        let mut seen = None;
        loop {
            let now = self.digest().await;
            if seen != Some(now) {
                let is_change = seen.replace(now).is_some();
                self.reread(is_change);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FILES_INTERVAL) => {}
            }
        }
    }

    fn reread(&self, is_change: bool) {
        let reread = self.verifier.reread_files();
        if is_change {
            self.metrics.key_file_reads.inc();
        }
        match reread {
            Ok(()) if is_change => tracing::info!("the key files have changed and were read again"),
            Ok(()) => {}
            Err(error) => {
                self.metrics.key_file_failures.inc();
                tracing::error!(%error, "the key files have changed and cannot be used; the keys stay");
            }
        }
    }

    /// Of all that the files hold; a secret is not kept a second time.
    async fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for path in self.auth.key_files() {
            let content = tokio::fs::read(path).await.ok();
            digest.update(content.as_ref().map_or(u64::MAX, |content| content.len() as u64).to_be_bytes());
            digest.update(content.unwrap_or_default());
        }
        digest.finalize().into()
    }
}

struct KeySet {
    url: Url,
    auth: Auth,
    verifier: Arc<Verifier>,
    metrics: Metrics,
}

/// Why no key set was had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", without_address(.0))]
    Http(reqwest::Error),
    #[error("the answer is larger than {MAX_SET_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Unusable(&'static str),
}

/// Its address may hold what nobody else should see, and reqwest repeats it.
impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// What went wrong, and the cause that lies deepest, which is what somebody can do something about.
fn without_address(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl KeySet {
    /// Inputs: the clock, keys that are wanted, stop. One fetch at a time.
    async fn run(self, stop: CancellationToken) {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return tracing::error!(%error, "no client could be made to fetch keys with"),
        };
        if let Some(path) = &self.auth.jwks_cache_file {
            self.recall(path).await;
        }
        loop {
            let begun = Timestamp::now();
            self.verifier.on_fetching(begun);
            self.metrics.key_fetches.inc();
            let fetched = tokio::select! {
                () = stop.cancelled() => return,
                fetched = self.fetch(&client) => fetched,
            };
            if let Err(error) = &fetched {
                self.metrics.key_fetch_failures.inc();
                tracing::warn!(error = %error, "the key set of auth.jwks_url was not had; the keys stay as they are");
            }
            self.verifier.on_fetched(fetched.is_ok(), begun);
            let pause = if fetched.is_ok() { FETCH_INTERVAL } else { RETRY_INTERVAL };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.verifier.key_wanted() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn client(&self) -> reqwest::Result<reqwest::Client> {
        let follow = redirect::Policy::custom(|attempt| {
            let is_safe = is_safe_key_set_url(attempt.url());
            if attempt.previous().len() > MAX_REDIRECTS || !is_safe { attempt.stop() } else { attempt.follow() }
        });
        reqwest::Client::builder().redirect(follow).timeout(FETCH_TIMEOUT).build()
    }

    async fn fetch(&self, client: &reqwest::Client) -> Result<(), FetchError> {
        let mut answer = client.get(self.url.clone()).send().await?.error_for_status()?;
        if !answer.status().is_success() {
            return Err(FetchError::Unusable("the answer redirects too often, or to where keys must not come from"));
        }
        let mut set = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if set.len() + chunk.len() > MAX_SET_BYTES {
                return Err(FetchError::TooLarge);
            }
            set.extend_from_slice(&chunk);
        }
        self.verifier.take_key_set(&set).map_err(FetchError::Unusable)?;
        if let Some(path) = &self.auth.jwks_cache_file {
            keep(path, &set).await;
        }
        Ok(())
    }

    /// Begins with the keys of an earlier process.
    async fn recall(&self, path: &Path) {
        let Ok(set) = tokio::fs::read(path).await else { return };
        match self.verifier.take_key_set(&set) {
            Ok(()) => tracing::info!("beginning with the key set that was kept"),
            Err(error) => tracing::warn!(error, "the key set that was kept cannot be used"),
        }
    }
}

/// Replaces the file as a whole, so that nobody reads half a set.
async fn keep(path: &Path, set: &[u8]) {
    if tokio::fs::read(path).await.is_ok_and(|kept| kept == set) {
        return;
    }
    let new = path.with_added_extension("new");
    let kept = async {
        tokio::fs::write(&new, set).await?;
        tokio::fs::rename(&new, path).await
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "the key set could not be kept in auth.jwks_cache_file");
    }
}
