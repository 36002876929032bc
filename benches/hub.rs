//! What the hub costs per record, per reconcile and per delivery.
#![allow(missing_docs)]

use std::{cell::RefCell, hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hashbrown::HashMap;
use ordercast::protocol::Delivery;
use ordercast::{
    domain::{
        Change, Epoch, History, Known, OrderEvent, OrderId, OrderState, Position, Snapshot, SnapshotQuery, Stamp,
        Timeline, Timestamp, UserId, Version, VersionKind, Viewer,
        decode::{Decoder, DecoderOptions, LogContext, RawRecord},
    },
    hub::{Hub, Joining, Mailbox, SessionKey},
};

const EPOCH: Epoch = Epoch(1);
const TAIL_BYTES: usize = 256 * 1024 * 1024;

fn order(n: u64) -> OrderId {
    OrderId::parse(&format!("A-{n:08}")).expect("an id")
}

fn user(n: u64) -> UserId {
    UserId::parse(&format!("u-{n:08}")).expect("an id")
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000).expect("a moment")
}

fn state(order_n: u64, user_n: u64, number: u64, offset: i64) -> Arc<OrderState> {
    Arc::new(OrderState {
        order_id: order(order_n),
        user_id: user(user_n),
        viewers: Box::default(),
        status: "shipped".into(),
        terminal: false,
        version: Version { kind: VersionKind::Field, number },
        stamp: Stamp { epoch: EPOCH, partition: 0, offset },
        occurred_at: now(),
        details: serde_json::value::RawValue::from_string(DETAILS.to_owned()).ok(),
        event_id: None,
    })
}

const DETAILS: &str = r#"{"carrier":"DHL","tracking":"JD0146","eta":"2026-11-23T16:00:00Z"}"#;

fn event(state: Arc<OrderState>) -> OrderEvent {
    OrderEvent { order_id: state.order_id.clone(), stamp: state.stamp, change: Change::Set(state) }
}

fn position(next_offset: i64) -> Position {
    Position { partition: 0, epoch: EPOCH, next_offset }
}

fn hub() -> Hub {
    let mut hub = Hub::new(TAIL_BYTES);
    hub.begin(position(0));
    hub
}

fn join(hub: &mut Hub, user_n: u64) -> (SessionKey, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox::new(65_536));
    let viewer = Viewer::User { id: user(user_n), only: None };
    let joining = Joining { viewer, mailbox: mailbox.clone(), start: true, place: None, identity: None };
    (hub.join(joining).expect("there is no limit"), mailbox)
}

/// Answers all due reads with `rows`, as a database at the end of the log would.
fn answer(hub: &mut Hub, rows: &[Arc<OrderState>]) {
    let due = hub.take_due_reads(usize::MAX);
    let next_offset = hub.end(0).map_or(0, |end| end.next_offset);
    let query = SnapshotQuery {
        users: due.sessions.iter().filter_map(|read| read.user.clone()).collect(),
        orders: due.orders.iter().map(|read| read.order_id.clone()).collect(),
        ..SnapshotQuery::default()
    };
    let snapshot = Snapshot::new(&query, vec![position(next_offset)], histories(rows));
    for read in &due.sessions {
        hub.reconcile(read, &snapshot, now());
    }
    for read in &due.orders {
        hub.prove(read, &snapshot, now());
    }
}

fn histories(rows: &[Arc<OrderState>]) -> HashMap<OrderId, History> {
    let history = |state: &Arc<OrderState>| History {
        known: Known::Order(state.clone()),
        timeline: Arc::new(Timeline::of(state)),
    };
    rows.iter().map(|state| (state.order_id.clone(), history(state))).collect()
}

/// 15,000 sessions of as many users, each with one order; users 0 and up.
fn full_house() -> (Hub, Vec<Arc<Mailbox>>) {
    let mut hub = hub();
    let mailboxes = (0..15_000).map(|n| join(&mut hub, n).1).collect();
    let rows: Vec<_> = (0..15_000).map(|n| state(n, n, 1, 0)).collect();
    hub.advance(0, 1);
    answer(&mut hub, &rows);
    (hub, mailboxes)
}

fn drain(mailbox: &Mailbox) {
    while !matches!(mailbox.take(), Delivery::Nothing) {}
}

/// Events of 200,000 orders nobody here watches; a trim every 10,000 keeps the tail as long as five seconds do.
fn unwatched(criterion: &mut Criterion) {
    let (mut hub, _mailboxes) = full_house();
    let orders: Vec<(OrderId, UserId)> =
        (0..200_000).map(|n| (order(1_000_000 + n), user(1_000_000 + n / 3))).collect();
    let mut offset = 1;
    let mut next_event = move || {
        let (order_id, user_id) = &orders[(offset * 7919) as usize % orders.len()];
        let stamp = Stamp { epoch: EPOCH, partition: 0, offset };
        offset += 1;
        let state = OrderState {
            order_id: order_id.clone(),
            user_id: user_id.clone(),
            viewers: Box::default(),
            status: "shipped".into(),
            terminal: false,
            version: Version { kind: VersionKind::Field, number: offset as u64 },
            stamp,
            occurred_at: now(),
            details: None,
            event_id: None,
        };
        OrderEvent { order_id: order_id.clone(), stamp, change: Change::Set(Arc::new(state)) }
    };
    criterion.bench_function("on_record/unwatched", |bench| {
        bench.iter_batched(
            || (0..10_000).map(|_| next_event()).collect::<Vec<_>>(),
            |events| {
                for event in &events {
                    black_box(hub.on_record(event));
                }
                let end = events.last().map_or(0, |event| event.stamp.offset);
                hub.trim(&[position(end - 40_000)]);
                events
            },
            BatchSize::PerIteration,
        );
    });
}

fn decoded_and_unwatched(criterion: &mut Criterion) {
    let (mut hub, _mailboxes) = full_house();
    let decoder = Decoder::new(&DecoderOptions::default()).expect("the defaults are sound");
    let log = LogContext { epoch: EPOCH, accepts_unversioned: true };
    let mut offset = 1;
    criterion.bench_function("decode_and_on_record/unwatched", |bench| {
        bench.iter_batched(
            || {
                let first = offset;
                offset += 10_000;
                (first..offset).map(|at| (at, key(at), value(at))).collect::<Vec<_>>()
            },
            |records| {
                for (offset, key, value) in &records {
                    let record = RawRecord {
                        partition: 0,
                        offset: *offset,
                        timestamp_millis: Some(1_795_000_000_000),
                        received_at: now(),
                        key: Some(key.as_bytes()),
                        value: Some(value.as_bytes()),
                        headers: &[],
                    };
                    let decoded = decoder.decode(&record, &log).expect("the record is good");
                    black_box(hub.on_record(&decoded.event));
                }
                let end = records.last().map_or(0, |record| record.0);
                hub.trim(&[position(end - 40_000)]);
                records
            },
            BatchSize::PerIteration,
        );
    });
}

fn key(offset: i64) -> String {
    format!("A-{:08}", 1_000_000 + offset * 7919 % 200_000)
}

fn value(offset: i64) -> String {
    let (order, user) = (key(offset), 1_000_000 + offset * 7919 % 200_000 / 3);
    format!(
        r#"{{"order_id":"{order}","user_id":"u-{user:08}","status":"shipped","version":{offset},"occurred_at":"2026-11-21T09:30:00.000Z","details":{DETAILS}}}"#
    )
}

/// One order of one user with so many sessions.
fn watched(criterion: &mut Criterion) {
    for sessions in [1, 100, 10_000] {
        let mut hub = hub();
        let mailboxes: Vec<_> = (0..sessions).map(|_| join(&mut hub, 1).1).collect();
        hub.advance(0, 1);
        answer(&mut hub, &[state(1, 1, 1, 0)]);
        mailboxes.iter().for_each(|mailbox| drain(mailbox));
        let (hub, mut offset) = (RefCell::new(hub), 1);
        criterion.bench_function(&format!("on_record/watched_by_{sessions}"), |bench| {
            bench.iter_batched(
                || {
                    mailboxes.iter().for_each(|mailbox| drain(mailbox));
                    hub.borrow_mut().trim(&[position(offset)]);
                    offset += 1;
                    event(state(1, 1, offset as u64, offset - 1))
                },
                |event| black_box(hub.borrow_mut().on_record(&event)),
                BatchSize::PerIteration,
            );
        });
    }
}

/// A session with three orders comes and is answered, among 15,000.
fn reconcile(criterion: &mut Criterion) {
    let (hub, _mailboxes) = full_house();
    let hub = RefCell::new(hub);
    let rows: Vec<_> = (0..3).map(|n| state(900_000 + n, 900_000, 2, 0)).collect();
    criterion.bench_function("reconcile/3_orders_among_15000_sessions", |bench| {
        bench.iter_batched(
            || {
                let mut hub = hub.borrow_mut();
                let (key, mailbox) = join(&mut hub, 900_000);
                let due = hub.take_due_reads(usize::MAX);
                let query = SnapshotQuery { users: vec![user(900_000)], ..SnapshotQuery::default() };
                (key, mailbox, due, Snapshot::new(&query, vec![position(1)], histories(&rows)))
            },
            |(key, mailbox, due, snapshot)| {
                let mut hub = hub.borrow_mut();
                let outcome = hub.reconcile(&due.sessions[0], &snapshot, now());
                hub.leave(key);
                (mailbox, snapshot, outcome)
            },
            BatchSize::PerIteration,
        );
    });
}

/// Everything that happens between a record and the socket but the socket.
fn put_and_take(criterion: &mut Criterion) {
    let mut hub = hub();
    let (_, mailbox) = join(&mut hub, 1);
    hub.advance(0, 1);
    answer(&mut hub, &[state(1, 1, 1, 0)]);
    drain(&mailbox);
    let hub = RefCell::new(hub);
    for burst in [1, 5] {
        let mut offset = hub.borrow().end(0).map_or(0, |end| end.next_offset);
        criterion.bench_function(&format!("put_and_take/burst_of_{burst}"), |bench| {
            bench.iter_batched(
                || {
                    hub.borrow_mut().trim(&[position(offset)]);
                    let first = offset;
                    offset += burst;
                    (first..offset).map(|at| event(state(1, 1, at as u64 + 1, at))).collect::<Vec<_>>()
                },
                |events| {
                    let mut hub = hub.borrow_mut();
                    events.iter().for_each(|event| _ = hub.on_record(event));
                    (mailbox.take(), events)
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn configured() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).sample_size(30)
}

criterion_group! {
    name = benches;
    config = configured();
    targets = unwatched, decoded_and_unwatched, watched, reconcile, put_and_take
}
criterion_main!(benches);
