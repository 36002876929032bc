//! What is given, and what can be taken of it.

use super::*;
use crate::{
    domain::{Change, Epoch, OrderEvent, OrderId, Stamp, decode::RefusalCode},
    log::kafka::record::KafkaTimestamp,
};

const LOG: LogContext = LogContext { epoch: Epoch(7), accepts_unversioned: true };

/// A record at this place.
struct At(i32, i64);

impl Original for At {
    fn place(&self) -> (i32, i64) {
        (self.0, self.1)
    }

    fn size(&self) -> usize {
        100
    }

    fn digest(&self) -> u64 {
        1_000 + self.1 as u64
    }

    fn copy(&self) -> OwnedRecord {
        let (partition, offset) = self.place();
        OwnedRecord {
            partition,
            offset,
            timestamp: KafkaTimestamp::NotAvailable,
            key: None,
            value: None,
            headers: None,
        }
    }
}

fn give(giver: &mut Giver, places: &[(i32, i64)]) {
    let mut gathered = giver.gather();
    for (partition, offset) in places {
        let stamp = Stamp { epoch: LOG.epoch, partition: *partition, offset: *offset };
        let event = OrderEvent { order_id: OrderId::parse("A-1").unwrap(), stamp, change: Change::Erase };
        let decoded = match offset % 10 {
            9 => Err(Refusal { code: RefusalCode::NotJson, message: "no".to_owned() }),
            _ => Ok(Decoded { event, occurred_at_unreadable: false }),
        };
        gathered.add(At(*partition, *offset), &LOG, &decoded);
    }
    gathered.give();
}

fn seam(taker: &Taker, partition: i32, next: i64) -> Option<Seam> {
    taker.seams(&[(partition, next)]).remove(&partition)
}

/// Offsets of what can be taken from there on, and the place behind it; `None` if that is not there any more.
fn take(taker: &Taker, partition: i32, place: Place) -> Option<(Vec<i64>, Place)> {
    let stretches = taker.take(partition, place, usize::MAX)?;
    let behind = stretches.iter().fold(place, |place, _| place.next());
    let offset = |given: &Given| match given {
        Given::Event(decoded, _) => decoded.event.stamp.offset,
        Given::Refused(_, record) => record.offset,
    };
    Some((stretches.iter().flat_map(|stretch| stretch.records.iter().map(offset)).collect(), behind))
}

#[test]
fn who_comes_to_the_last_record_of_a_stretch_goes_on_with_the_next() {
    let (mut giver, mut taker) = channel();
    taker.claim([0, 1]);
    give(&mut giver, &[(0, 5), (1, 70), (0, 6)]);
    give(&mut giver, &[(0, 8), (0, 9)]);
    assert_eq!(seam(&taker, 0, 5).map(|seam| seam.record), Some(LastRecord { offset: 6, digest: 1_006 }));
    let behind_6 = seam(&taker, 0, 6).unwrap().next;
    assert_eq!(seam(&taker, 0, 7).map(|seam| seam.record.offset), Some(9));
    assert_eq!(seam(&taker, 0, 10), None, "nothing that is still to come");
    let (taken, behind_9) = take(&taker, 0, behind_6).unwrap();
    assert_eq!(taken, [8, 9]);
    assert_eq!(take(&taker, 0, behind_9), Some((vec![], behind_9)), "nothing yet");
    give(&mut giver, &[(0, 10)]);
    assert_eq!(take(&taker, 0, behind_9), Some((vec![10], behind_9.next())));
    assert_eq!(take(&taker, 0, behind_9), None, "it was taken");
    assert_eq!(seam(&taker, 1, 0).map(|seam| seam.record.offset), Some(70));
}

#[test]
fn nothing_is_kept_of_partitions_that_nobody_claims_and_nothing_goes_on_where_something_is_missing() {
    let (mut giver, mut taker) = channel();
    give(&mut giver, &[(0, 1)]);
    taker.claim([0]);
    assert_eq!(seam(&taker, 0, 0), None);
    give(&mut giver, &[(0, 2)]);
    let behind_2 = seam(&taker, 0, 0).unwrap().next;
    // Given back and taken again, with a batch in between.
    taker.claim([1]);
    give(&mut giver, &[(0, 3)]);
    taker.claim([0]);
    give(&mut giver, &[(0, 4)]);
    assert_eq!(take(&taker, 0, behind_2), None);
    assert_eq!(seam(&taker, 0, 0).map(|seam| seam.record.offset), Some(4));
}

#[test]
fn a_client_that_is_told_where_to_read_or_passes_a_record_over_begins_anew() {
    let (mut giver, mut taker) = channel();
    taker.claim([0]);
    give(&mut giver, &[(0, 1)]);
    let behind_1 = seam(&taker, 0, 0).unwrap().next;
    giver.restart();
    assert_eq!(take(&taker, 0, behind_1), Some((vec![], behind_1)), "until something comes");
    give(&mut giver, &[(0, 2)]);
    assert_eq!(take(&taker, 0, behind_1), None);
    let behind_2 = seam(&taker, 0, 0).unwrap().next;
    let mut gathered = giver.gather::<At>();
    gathered.pass_over();
    gathered.give();
    give(&mut giver, &[(0, 4)]);
    assert_eq!(take(&taker, 0, behind_2), None);
}

#[test]
fn what_is_not_taken_in_time_is_dropped_from_the_oldest_on() {
    let (mut giver, mut taker) = channel();
    taker.claim([0, 1]);
    give(&mut giver, &[(0, 0)]);
    let behind_0 = seam(&taker, 0, 0).unwrap().next;
    let most = MAX_RECORDS as i64 / 2;
    (1..=most).for_each(|offset| give(&mut giver, &[(0, offset)]));
    assert_eq!(take(&taker, 0, behind_0).unwrap().0.len() as i64, most);
    give(&mut giver, &[(0, most + 1)]);
    let behind = seam(&taker, 0, 0).unwrap().next;
    (0..=most).for_each(|offset| give(&mut giver, &[(0, most + 2 + offset)]));
    assert_eq!(take(&taker, 0, behind), None);
    assert_eq!(seam(&taker, 0, 0).map(|seam| seam.record.offset), Some(most + 3));
}

#[test]
fn positions_move_on_without_records_once_a_record_has_come() {
    let (mut giver, mut taker) = channel();
    taker.claim([0]);
    giver.gather::<At>().give();
    giver.passed(&[(0, 7)]);
    give(&mut giver, &[(0, 8)]);
    let behind_8 = seam(&taker, 0, 0).unwrap().next;
    giver.passed(&[(0, 9)]);
    assert_eq!(take(&taker, 0, behind_8), Some((vec![], behind_8)), "no news");
    giver.passed(&[(0, 11), (1, 3)]);
    let markers = taker.take(0, behind_8, 10).unwrap();
    assert_eq!(markers.iter().map(|stretch| (stretch.next_offset, stretch.last)).collect::<Vec<_>>(), [(11, None)]);
}

#[test]
fn giving_does_not_wait_for_whoever_takes() {
    let (mut giver, mut taker) = channel();
    taker.claim([0]);
    give(&mut giver, &[(0, 1)]);
    let behind_1 = seam(&taker, 0, 0).unwrap().next;
    let shared = giver.shared.clone();
    let held = shared.lock();
    give(&mut giver, &[(0, 2)]);
    give(&mut giver, &[(0, 3)]);
    drop(held);
    assert_eq!(take(&taker, 0, behind_1).unwrap().0, Vec::<i64>::new());
    give(&mut giver, &[(0, 4)]);
    assert_eq!(take(&taker, 0, behind_1).unwrap().0, [2, 3, 4]);
}
