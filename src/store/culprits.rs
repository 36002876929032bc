//! Finds the events whose data the database refuses, by trials that are rolled back. Rare: decode should have refused
//! them.

use super::{RejectedEvent, StoreError};
use crate::domain::OrderEvent;

/// How many are looked for at once. Each costs a trial per halving; the recorder comes again for more.
const MOST_AT_ONCE: usize = 8;

/// Tries events against the stored rows without keeping anything.
pub(super) trait Trial {
    /// The outer error ends the search; the inner one is what the database said of the data.
    async fn try_events(&mut self, events: &[&OrderEvent]) -> Result<Result<(), String>, StoreError>;
}

/// The events that a refused batch is refused for, in log order; none if its events are not the reason.
///
/// Whether an event is written may depend on those before it, so what is sought is the shortest refused beginning: its
/// last event is a culprit, and is left out from there on.
pub(super) async fn find(
    trial: &mut impl Trial,
    mut events: Vec<&OrderEvent>,
) -> Result<Vec<RejectedEvent>, StoreError> {
    let mut culprits = Vec::new();
    let mut accepted = 0;
    while culprits.len() < MOST_AT_ONCE && accepted < events.len() {
        let Err(mut message) = trial.try_events(&events).await? else { break };
        let mut refused = events.len();
        while refused - accepted > 1 {
            let middle = accepted + (refused - accepted) / 2;
            match trial.try_events(events.get(..middle).unwrap_or_default()).await? {
                Ok(()) => accepted = middle,
                Err(said) => (refused, message) = (middle, said),
            }
        }
        culprits.push(RejectedEvent { stamp: events.remove(accepted).stamp, message });
    }
    Ok(culprits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Change, Epoch, OrderId, Stamp};

    /// Refuses what contains one of these offsets, unless the offset 100 comes after it.
    struct Refusing(&'static [i64]);

    impl Trial for Refusing {
        async fn try_events(&mut self, events: &[&OrderEvent]) -> Result<Result<(), String>, StoreError> {
            let hides = events.iter().any(|event| event.stamp.offset == 100);
            let bad = events.iter().find(|event| self.0.contains(&event.stamp.offset));
            Ok(bad.filter(|_| !hides).map_or(Ok(()), |event| Err(format!("refused {}", event.stamp.offset))))
        }
    }

    async fn culprits(refused: &'static [i64], offsets: impl Iterator<Item = i64>) -> Vec<(i64, String)> {
        let events: Vec<OrderEvent> = offsets
            .map(|offset| OrderEvent {
                order_id: OrderId::parse("A-1").unwrap(),
                stamp: Stamp { epoch: Epoch(1), partition: 0, offset },
                change: Change::Erase,
            })
            .collect();
        let found = find(&mut Refusing(refused), events.iter().collect()).await.unwrap();
        found.into_iter().map(|culprit| (culprit.stamp.offset, culprit.message)).collect()
    }

    #[tokio::test]
    async fn the_refused_events_are_found_among_good_ones() {
        assert_eq!(culprits(&[], 0..50).await, []);
        assert_eq!(culprits(&[7], 7..8).await, [(7, "refused 7".into())]);
        assert_eq!(culprits(&[0, 31, 49], 0..50).await.iter().map(|found| found.0).collect::<Vec<_>>(), [0, 31, 49]);
        assert_eq!(culprits(&[3], 0..101).await, [], "a later event hides it: nothing is refused");
        const ALL: &[i64] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
        assert_eq!(culprits(ALL, 0..20).await.len(), MOST_AT_ONCE);
    }
}
