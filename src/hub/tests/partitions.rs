//! Events without versions of one order in two partitions: which of them counts is decided by who records it first.

use super::*;
use crate::domain::Verdict;

/// A hub that follows two partitions, and the rows of a recorder that reads them in an order of its own.
struct Two {
    hub: Hub,
    rows: HashMap<OrderId, History>,
    progress: [i64; 2],
}

fn at_partition(partition: i32, offset: i64) -> Stamp {
    Stamp { partition, ..stamp(offset) }
}

/// The record says of order `A-1`, which is this user's: it goes by log order.
fn event(partition: i32, offset: i64, user_id: &str) -> OrderEvent {
    let stamp = at_partition(partition, offset);
    let state = OrderState {
        order_id: order("A-1"),
        user_id: user(user_id),
        viewers: Box::default(),
        status: "x".into(),
        terminal: false,
        version: Version { kind: VersionKind::Log(EPOCH), number: offset as u64 + 1 },
        stamp,
        occurred_at: at(0),
        details: None,
        event_id: None,
    };
    OrderEvent { order_id: order("A-1"), stamp, change: Change::Set(Arc::new(state)) }
}

impl Two {
    fn new() -> Self {
        let mut hub = Hub::new(usize::MAX);
        for partition in 0..2 {
            hub.begin(Position { partition, ..position(0) });
        }
        Self { hub, rows: HashMap::new(), progress: [0, 0] }
    }

    fn live(&mut self, id: &str) -> Seat {
        let viewer = Viewer::User { id: user(id), only: None };
        let mailbox = Arc::new(Mailbox::new(65_536));
        let joining = Joining { viewer, mailbox: mailbox.clone(), start: true, place: None, identity: None };
        let seat = Seat { key: self.hub.join(joining).unwrap(), mailbox };
        self.answer();
        seat.hear();
        seat
    }

    /// The recorder comes to this event. Whether it puts it aside.
    fn record(&mut self, event: &OrderEvent) -> bool {
        let (history, verdict) = History::fold(self.rows.remove(&event.order_id), event, |_| true);
        self.rows.extend(history.map(|history| (event.order_id.clone(), history)));
        self.progress[event.stamp.partition as usize] = event.stamp.offset + 1;
        matches!(verdict, Verdict::Unordered)
    }

    /// All that is due is read where the recorder is.
    fn answer(&mut self) -> Vec<Reconciled> {
        let due = self.hub.take_due_reads(usize::MAX);
        let named = due.sessions.iter().flat_map(|read| read.orders.iter().cloned());
        let query = SnapshotQuery {
            users: due.sessions.iter().filter_map(|read| read.user.clone()).collect(),
            orders: due.orders.iter().map(|read| read.order_id.clone()).chain(named).collect(),
            ..SnapshotQuery::default()
        };
        let positions =
            (0..).zip(self.progress).map(|(partition, next_offset)| Position { partition, ..position(next_offset) });
        let snapshot = Snapshot::new(&query, positions.collect(), self.rows.clone());
        let hub = &mut self.hub;
        let mut outcomes: Vec<_> = due.sessions.iter().map(|read| hub.reconcile(read, &snapshot, at(0))).collect();
        outcomes.extend(due.orders.iter().map(|read| hub.prove(read, &snapshot, at(0))));
        outcomes
    }
}

#[test]
fn an_event_of_another_partition_than_its_order_changes_no_screen_whatever_its_offset() {
    let mut two = Two::new();
    let ann = two.live("ann");
    let home = event(0, 5, "ann");
    assert!(!two.record(&home));
    two.hub.on_record(&home);
    two.answer();
    ann.hear();
    for offset in [1, 9] {
        let astray = event(1, offset, "ann");
        assert!(matches!(two.hub.on_record(&astray), Some(Verdict::Unordered)));
        assert!(two.record(&astray));
        two.hub.refused(astray.stamp);
        two.answer();
        assert_eq!(ann.hear(), [""; 0], "{offset}");
    }
    two.hub.on_record(&event(0, 6, "ann"));
    assert_eq!(ann.hear(), ["A-1 v7"]);
}

#[test]
fn where_the_recorder_came_first_to_the_other_partition_screens_end_with_that() {
    let mut two = Two::new();
    let ann = two.live("ann");
    let (here, there) = (event(1, 3, "ann"), event(0, 9, "ann"));
    // Shown, and proved before anything is recorded.
    assert!(matches!(two.hub.on_record(&here), Some(Verdict::Applies { .. })));
    assert!(matches!(two.hub.on_record(&there), Some(Verdict::Unordered)));
    two.answer();
    assert_eq!(ann.hear().first().unwrap(), "A-1 v4");
    assert!(!two.record(&there));
    assert!(two.record(&here));
    // A read sees it before the hub is told, and that is no fault of the hub.
    two.hub.audit(ann.key);
    assert_eq!(two.answer(), [Reconciled::Done(vec![])]);
    assert_eq!(ann.hear(), ["some: A-1 v10/1"]);
    two.hub.refused(here.stamp);
    two.answer();
    assert_eq!(ann.hear(), [""; 0]);
}

#[test]
fn who_lost_an_order_to_an_event_that_does_not_count_gets_it_back_and_nobody_else_is_asked_for() {
    let mut two = Two::new();
    let bob = two.live("bob");
    let (first, astray) = (event(0, 0, "bob"), event(1, 0, "ann"));
    // The hub reads them in one order, the recorder in the other.
    assert!(matches!(two.hub.on_record(&astray), Some(Verdict::Applies { .. })));
    two.hub.on_record(&first);
    two.answer();
    bob.hear();
    assert_eq!(two.hub.shown_orders(bob.key), 0, "the tail says that it is ann's");
    two.record(&first);
    two.record(&astray);
    two.hub.refused(astray.stamp);
    let due = two.hub.take_due_reads(usize::MAX);
    assert_eq!((due.sessions.len(), due.orders.len()), (0, 1), "one order is read, not every screen");
    two.hub.retry(due);
    two.answer();
    assert_eq!(bob.hear(), ["some: A-1 v1/1"]);
}

#[test]
fn a_refusal_of_what_never_was_here_doubts_nothing_and_of_what_was_forgotten_everything() {
    let mut two = Two::new();
    let ann = two.live("ann");
    two.hub.on_record(&event(0, 2, "ann"));
    two.hub.advance(0, 9);
    two.answer();
    // Refused by decode here as well, or before anything was followed.
    two.hub.refused(at_partition(0, 5));
    assert!(!two.hub.has_due_reads() && ann.mailbox.is_proven());
    two.hub.trim(&[Position { partition: 0, ..position(7) }]);
    two.hub.refused(at_partition(0, 5));
    assert!(two.hub.has_due_reads() && !ann.mailbox.is_proven());

    let mut late = Two::new();
    late.hub.begin(Position { partition: 0, ..position(50) });
    let ann = late.live("ann");
    late.hub.refused(at_partition(0, 5));
    assert!(!late.hub.has_due_reads(), "{:?}", ann.hear());
}

#[test]
fn of_one_version_in_two_partitions_the_recorder_s_is_shown_in_the_end_and_nothing_was_wrong() {
    let versioned = |(partition, offset, number): (i32, i64, u64)| {
        let mut event = event(partition, offset, "ann");
        if let Change::Set(state) = &mut event.change {
            Arc::get_mut(state).unwrap().version = Version { kind: VersionKind::Field, number };
        }
        event
    };
    // What the hub is told last, and what the recorder takes instead.
    for (told, recorded, is_wrong) in
        [((1, 0, 2), (0, 1, 2), false), ((1, 0, 2), (0, 1, 3), true), ((0, 1, 2), (0, 2, 2), true)]
    {
        let mut two = Two::new();
        let ann = two.live("ann");
        let first = versioned((0, 0, 1));
        two.hub.on_record(&first);
        two.record(&first);
        two.answer();
        ann.hear();
        two.hub.on_record(&versioned(told));
        assert_eq!(ann.hear(), ["A-1 v2"]);
        two.record(&versioned(recorded));
        two.progress = [3, 1];
        two.hub.advance(0, 3);
        two.hub.advance(1, 1);
        two.hub.audit(ann.key);
        let [Reconciled::Done(corrections)] = &two.answer()[..] else { panic!("one session was audited") };
        assert_eq!(corrections.len(), usize::from(is_wrong), "{told:?}, {recorded:?}: {corrections:?}");
        assert_eq!(ann.hear(), [format!("some: A-1 v{}/2", recorded.2)]);
    }
}
