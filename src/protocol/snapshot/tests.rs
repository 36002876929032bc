//! Pages: what they hold together is the snapshot, and none is longer than it may be.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    domain::{
        Epoch, History, OrderEvent,
        decode::{Decoder, DecoderOptions, LogContext, MAX_DETAILS_BYTES, RawRecord},
        ids::MAX_ID_CHARS,
        timeline::MAX_STEPS,
        version::MAX_VERSION,
    },
    protocol::{
        ServerMessage,
        message::MAX_FRAME_BYTES,
        outbound::{order_status, removed},
    },
};

const LOG: LogContext = LogContext { epoch: Epoch(u64::MAX), accepts_unversioned: true };
const SMALLEST: usize = 4_096;

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap()
}

static DECODER: LazyLock<Decoder> = LazyLock::new(|| Decoder::new(&DecoderOptions::default()).unwrap());

/// What decode makes of a record, so that nothing is larger here than it lets through.
fn decoded(value: &Value, offset: i64) -> OrderEvent {
    let value = value.to_string();
    let record = RawRecord {
        partition: i32::MAX,
        offset,
        timestamp_millis: None,
        received_at: now(),
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    DECODER.decode(&record, &LOG).unwrap().event
}

/// An order after so many events, each with this status, the last with these details.
fn order(id: &str, status: &str, pad: usize, steps: usize) -> OrderView {
    let events = (0..steps as i64).map(|step| {
        let pad = if step + 1 == steps as i64 { pad } else { 0 };
        let event = serde_json::json!({
            "order_id": id, "user_id": "u-1", "status": status, "version": MAX_VERSION - 100 + step.unsigned_abs(),
            "occurred_at": "2026-11-21T10:00:00Z", "event_id": id, "details": {"pad": "x".repeat(pad)},
        });
        decoded(&event, i64::MAX - 100 + step)
    });
    let history = events.fold(None, |history, event| History::fold(history, &event, |_| true).0).unwrap();
    OrderView { state: history.known.order().unwrap().clone(), timeline: history.timeline }
}

fn pages(orders: Vec<OrderView>, removed: Vec<OrderId>, limits: PageLimits) -> Vec<Message> {
    SnapshotPages::new(now(), true, orders, removed, limits).collect()
}

fn json(page: &Message) -> Value {
    serde_json::from_slice(page.bytes()).unwrap()
}

fn ids(pages: &[Message], list: &str) -> Vec<String> {
    let items = pages.iter().flat_map(|page| json(page)[list].as_array().unwrap().clone());
    items.map(|item| item["order_id"].as_str().or(item.as_str()).unwrap().to_owned()).collect()
}

fn numbered(many: usize, prefix: &str) -> Vec<OrderId> {
    (0..many).map(|n| OrderId::parse(&format!("{prefix}{n:04}")).unwrap()).collect()
}

#[test]
fn forty_orders_with_large_details_make_frames_that_every_gateway_passes() {
    let large = (0..40).map(|n| order(&format!("A-{n:02}"), "paid", 16_000, 1)).collect();
    let pages = pages(large, Vec::new(), PageLimits { orders: 500, bytes: 32_768 });
    assert!(pages.iter().all(|page| page.len() <= 32_768), "{:?}", pages.iter().map(Message::len).collect::<Vec<_>>());
    assert_eq!(pages.len(), 20, "as many as fit go together");
    assert_eq!(ids(&pages, "orders"), (0..40).rev().map(|n| format!("A-{n:02}")).collect::<Vec<_>>());
}

#[test]
fn a_page_ends_at_its_orders_or_at_its_bytes_and_the_last_says_so() {
    let three = || (0..3).map(|n| order(&format!("A-{n}"), "paid", 1_500, 1)).collect::<Vec<_>>();
    let by_orders = pages(three(), numbered(2, "R-"), PageLimits { orders: 2, bytes: 65_536 });
    let by_bytes = pages(three(), numbered(2, "R-"), PageLimits { orders: 500, bytes: SMALLEST });
    for pages in [by_orders, by_bytes] {
        let lists: Vec<usize> = pages.iter().map(|page| json(page)["orders"].as_array().unwrap().len()).collect();
        assert_eq!(lists, [2, 1]);
        let marks = |name| pages.iter().map(|page| json(page)[name].as_bool().unwrap()).collect::<Vec<_>>();
        assert_eq!((marks("first"), marks("complete")), (vec![true, false], vec![false, true]));
        assert_eq!(ids(&pages, "removed"), ["R-0000", "R-0001"]);
    }
    let empty = pages(Vec::new(), Vec::new(), PageLimits { orders: 500, bytes: SMALLEST });
    assert_eq!((empty.len(), &json(&empty[0])["complete"]), (1, &Value::Bool(true)));
}

#[test]
fn two_thousand_long_ids_to_remove_are_cut_into_pages_too() {
    let long = "\u{1f680}".repeat(MAX_ID_CHARS - 4);
    let removed = numbered(2_000, &long);
    let pages = pages(Vec::new(), removed.clone(), PageLimits { orders: 500, bytes: 32_768 });
    assert!(pages.len() > 1 && pages.iter().all(|page| page.len() <= 32_768));
    assert!(pages.iter().rev().skip(1).all(|page| page.len() > 32_768 - 600), "as many as fit go together");
    assert_eq!(self::ids(&pages, "removed"), removed.iter().map(OrderId::to_string).collect::<Vec<_>>());
}

/// Where one order alone is larger than a page, it is one frame, and still within what the wire allows.
#[test]
fn no_frame_is_longer_than_the_wire_allows() {
    let (id, status) = ("\u{1f680}".repeat(MAX_ID_CHARS), "\u{1f680}".repeat(64));
    let pad = MAX_DETAILS_BYTES - r#"{"pad":""}"#.len();
    let largest = order(&id, &status, pad, MAX_STEPS + 10);
    assert_eq!(largest.timeline.steps().len(), MAX_STEPS);
    let update = order_status(&largest.state, Some(&largest.state));
    let small = order("\u{1f681}", "paid", 0, 1);
    let pages = pages(vec![largest, small], numbered(9, "R-"), PageLimits { orders: 500, bytes: SMALLEST });
    let [first, alone] = &pages[..] else { panic!("{} pages", pages.len()) };
    assert_eq!(ids(&pages[..1], "orders"), ["\u{1f681}"]);
    assert!(first.len() <= SMALLEST && json(first)["removed"].as_array().unwrap().len() == 9);
    assert!(alone.len() > SMALLEST && alone.len() <= MAX_FRAME_BYTES, "{} bytes", alone.len());
    let id = OrderId::parse(&id).unwrap();
    let error = ServerMessage::Error { code: "order_not_visible", message: "x", id: None, order_id: Some(&id) };
    let announcement = "\u{1}".repeat(1_024);
    let announcement = ServerMessage::Announcement { content: &announcement, timestamp: now() };
    for frame in [update, removed(&id), error.message(), announcement.message()] {
        assert!(frame.len() <= MAX_FRAME_BYTES, "{}", frame.len());
    }
}

#[test]
fn no_empty_page_goes_before_an_order_that_is_larger_than_a_page() {
    let limits = PageLimits { orders: 500, bytes: SMALLEST };
    let pages = pages(vec![order("A-1", "paid", 16_000, 1)], Vec::new(), limits);
    assert_eq!((pages.len(), ids(&pages, "orders")), (1, vec!["A-1".to_owned()]));
}

/// Texts that JSON makes longer: by quoting, and by what UTF-8 takes.
fn text(most: usize) -> impl Strategy<Value = String> {
    let character = prop::sample::select(vec!["a", "\"", "\\", "é", "\u{2028}", "\u{1f680}"]);
    (character, 1..=most).prop_map(|(character, many)| character.repeat(many))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_together_are_the_snapshot_and_only_a_single_order_exceeds_their_bytes(
        sizes in prop::collection::vec((text(128), text(64), 0..16_000_usize, 1..60_usize), 0..8),
        gone in prop::collection::vec(text(128), 0..300),
        limits in (1..8_usize, SMALLEST..65_536),
    ) {
        let mut orders: Vec<OrderView> =
            sizes.iter().map(|(id, status, pad, steps)| order(id, status, *pad, *steps)).collect();
        let removed: Vec<OrderId> = gone.iter().map(|id| OrderId::parse(id).unwrap()).collect();
        let limits = PageLimits { orders: limits.0, bytes: limits.1 };
        let pages = pages(orders.clone(), removed.clone(), limits);
        sort_newest_first(&mut orders);
        let (mut shown, mut gone) = (Vec::new(), Vec::new());
        for page in &pages {
            let message = json(page);
            let (orders, removed) = (message["orders"].as_array().unwrap(), message["removed"].as_array().unwrap());
            let most = if orders.len() == 1 && removed.is_empty() { MAX_FRAME_BYTES } else { limits.bytes };
            prop_assert!(orders.len() <= limits.orders);
            prop_assert!(page.len() <= most, "{} bytes, {} at most", page.len(), most);
            shown.extend(orders.iter().cloned());
            gone.extend(removed.iter().cloned());
        }
        prop_assert_eq!(shown, orders.iter().map(|view| serde_json::to_value(view).unwrap()).collect::<Vec<_>>());
        prop_assert_eq!(gone, removed.iter().map(|id| Value::from(id.as_str())).collect::<Vec<_>>());
    }
}

#[test]
fn the_last_page_of_a_list_that_was_cut_says_so_and_where_the_rest_is() {
    let longest = "\u{1f4e6}".repeat(MAX_ID_CHARS);
    let end = ListPlace { changed_at: -62_135_596_800_000, order_id: OrderId::parse(&longest).unwrap() };
    for bytes in [SMALLEST, 32_768] {
        let limits = PageLimits { orders: 500, bytes };
        let orders: Vec<OrderView> = (0..60).map(|n| order(&format!("A-{n}"), "paid", 300, 2)).collect();
        let cut: Vec<Message> =
            SnapshotPages::new(now(), false, orders, Vec::new(), limits).truncated_at(&end).collect();
        assert!(cut.iter().all(|page| page.len() <= bytes));
        let (last, others) = cut.split_last().unwrap();
        assert!(others.iter().all(|page| json(page).get("truncated").is_none()));
        let last = json(last);
        assert_eq!((&last["complete"], &last["truncated"]), (&true.into(), &true.into()));
        let older = last["older"].as_str().unwrap();
        let (_, place) = older.split_once("/orders?after=").unwrap();
        assert!(place.starts_with("-62135596800000:%F0%9F%93%A6%F0"), "{place}");
    }
    let whole = pages(Vec::new(), Vec::new(), PageLimits { orders: 500, bytes: SMALLEST });
    assert!(json(&whole[0]).get("truncated").is_none() && json(&whole[0]).get("older").is_none());
}

#[test]
fn a_page_that_is_exactly_as_long_as_it_may_be_is_one_page() {
    let limits = |bytes| PageLimits { orders: 500, bytes };
    // In the last page, what is said of its end is longer.
    let last = MORE.len().max(COMPLETE.len()) - COMPLETE.len();
    let orders = || (0..12).map(|n| order(&format!("A-{n}"), "paid", 500, 2)).collect::<Vec<_>>();
    let length = pages(orders(), vec![], limits(usize::MAX))[0].len() + HEADER_BYTES + last;
    assert_eq!(pages(orders(), vec![], limits(length)).len(), 1);
    let cut = pages(orders(), vec![], limits(length - 1));
    assert_eq!((ids(&cut[..1], "orders").len(), ids(&cut[1..], "orders").len()), (11, 1));

    let length = pages(vec![], numbered(600, "A-"), limits(usize::MAX))[0].len() + HEADER_BYTES + last;
    assert_eq!(pages(vec![], numbered(600, "A-"), limits(length)).len(), 1);
    let cut = pages(vec![], numbered(600, "A-"), limits(length - 1));
    assert_eq!((ids(&cut[..1], "removed").len(), ids(&cut[1..], "removed").len()), (599, 1));
}

#[test]
fn it_is_done_with_its_last_message_and_not_before() {
    let mut snapshot =
        SnapshotPages::new(now(), true, vec![], numbered(3, &"A".repeat(100)), PageLimits { orders: 1, bytes: 300 });
    let mut done = Vec::new();
    while snapshot.next().is_some() {
        done.push(snapshot.is_done());
    }
    assert!(done.len() > 1);
    assert_eq!(done.iter().position(|done| *done), Some(done.len() - 1));
    assert!(snapshot.next().is_none(), "nor does it begin anew");
}
