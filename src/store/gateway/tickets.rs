//! Using a ticket up, so that what its holder was told is what holds: who was told that it could not be done may show it
//! again, however slow the database was.
//!
//! ```text
//!   asker waits ──► gives up after 5 s, unless it is being done: "unavailable", and nothing is committed
//!        │
//!        └──► it is being done: waits on ──► used, or not good
//!                                        └─► the commit's answer was lost: put back first, then "unavailable"
//! ```

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout_at};

use super::{Answer, Digest};
use crate::store::{Store, StoreError, TicketUse, UsedTicket};

/// No ticket lives longer: what was not put back until then is over.
const LONGEST_LIFE: Duration = Duration::from_secs(30);
const RESTORE_PAUSE: Duration = Duration::from_millis(250);

const OPEN: u8 = 0;
const GIVEN_UP: u8 = 1;
const BEING_DONE: u8 = 2;

/// Whether something may still be done. Asker and answerer agree on it by who is first.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision(Arc<AtomicU8>);

impl Decision {
    /// Nobody waits for it any more. `false`: too late, it is being done.
    pub(super) fn give_up(&self) -> bool {
        let before = self.0.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        before.is_ok() || before == Err(GIVEN_UP)
    }

    /// It is done now. `false`: too late, somebody was told that it was not.
    fn begin(&self) -> bool {
        self.0.compare_exchange(OPEN, BEING_DONE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A ticket that is to be put back, and who hears then that it was not used.
pub(super) struct Undo {
    ticket: UsedTicket,
    told: Option<(Answer<bool>, StoreError)>,
}

/// Uses a ticket up. What is returned is to be [undone](undo).
pub(super) async fn use_up(
    store: &dyn Store,
    digest: Digest,
    decision: &Decision,
    mut answer: Answer<bool>,
) -> Option<Undo> {
    let may_commit = || decision.begin();
    let used = {
        let mut using = pin!(store.use_ticket(&digest, &may_commit));
        tokio::select! {
            used = &mut using => used,
            () = answer.closed() => {
                if decision.give_up() {
                    return None;
                }
                using.await
            }
        }
    };
    let told = match used {
        Ok(TicketUse::Used(ticket)) => {
            // Whoever has gone away was told nothing, and will come again.
            return answer.send(Ok(true)).is_err().then_some(Undo { ticket, told: None });
        }
        Ok(TicketUse::Unknown(ticket, error)) => return Some(Undo { ticket, told: Some((answer, error)) }),
        Ok(TicketUse::NotGood) => Ok(false),
        Ok(TicketUse::Withdrawn) => return None,
        Err(error) => Err(error),
    };
    _ = answer.send(told);
    None
}

/// Puts a ticket back, for as long as it may be good, and only then says that it was not used.
pub(super) async fn undo(store: Arc<dyn Store>, undo: Undo) {
    let deadline = (Instant::now() + LONGEST_LIFE).into();
    let restored = timeout_at(deadline, async {
        while let Err(error) = store.restore_ticket(&undo.ticket).await {
            tracing::debug!(%error, "a ticket could not be put back; trying again");
            sleep(RESTORE_PAUSE).await;
        }
    });
    if restored.await.is_err() {
        tracing::warn!("a ticket could not be put back while it would have been good");
    }
    if let Some((answer, error)) = undo.told {
        _ = answer.send(Err(error));
    }
}
