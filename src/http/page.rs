//! One page of `GET /orders`: which orders of a list it holds, and its JSON, written as the socket takes it.
//!
//! Orders are encoded one by one, when all that came before has left. A small page is one write, with its length.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};

use super::{
    answers::{Next, OnItsWay},
    refusal::Refusal,
};
use crate::{
    domain::{ListPlace, OrderId, Timestamp},
    protocol::{
        OrderView, StaleReasons,
        snapshot::{path_of_older, sort_newest_first},
    },
};

/// Bytes of the orders of one page at most, in memory and as JSON.
const PAGE_BYTES: usize = 256 * 1024;
/// Bytes handed to the socket at once; one order may exceed them.
const WRITE_BYTES: usize = 16 * 1024;

/// Reads the place of an order in the list, to read on from: `<occurred_at in ms>:<order id, percent-encoded>`.
pub(super) fn parse_place(text: &str) -> Result<ListPlace, Refusal> {
    let refusal = Refusal::BadRequest("\"after\" is not a place in the list");
    let (changed_at, order_id) = text.split_once(':').ok_or(refusal)?;
    let changed_at = changed_at.parse().map_err(|_| refusal)?;
    let order_id = OrderId::parse(order_id).map_err(|_| refusal)?;
    Ok(ListPlace { changed_at, order_id })
}

/// The orders of one page, and whether more come after it.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) orders: VecDeque<OrderView>,
    pub(super) more: bool,
    /// The list was read as far as this page goes, and to here.
    list_end: Option<ListPlace>,
}

impl Cut {
    /// Cuts a page of at most `max_orders` out of a list that was read to `list_end`, behind a place in it. Whatever is
    /// not on it is let go: what is known of orders behind the end would hide those between.
    pub(super) fn of(
        mut list: Vec<OrderView>,
        after: Option<&ListPlace>,
        list_end: Option<ListPlace>,
        max_orders: usize,
    ) -> Self {
        let is_behind = |place: Option<&ListPlace>, order: &OrderView| place.map(|place| place.precedes(&order.state));
        list.retain(|order| {
            is_behind(after, order) != Some(false) && is_behind(list_end.as_ref(), order) != Some(true)
        });
        sort_newest_first(&mut list);
        let (mut many, mut bytes) = (0, 0);
        for order in list.iter().take(max_orders) {
            bytes += order.json_bytes();
            if many > 0 && bytes > PAGE_BYTES {
                break;
            }
            many += 1;
        }
        let list_end = list_end.filter(|_| list.len() == many);
        let more = list.len() > many || list_end.is_some();
        list.truncate(many);
        Self { orders: list.into(), more, list_end }
    }
}

/// A page on its way.
#[derive(Debug)]
pub(super) struct Page {
    answer: OnItsWay,
    /// Where the page before it ended.
    after: Option<ListPlace>,
    /// The list goes on behind the orders of this page.
    more: bool,
    list_end: Option<ListPlace>,
    last: Option<ListPlace>,
    /// Bytes of orders.
    written: usize,
    is_done: bool,
}

impl Page {
    /// A page of these orders, which `answer` holds from now on.
    pub(super) fn new(answer: OnItsWay, cut: Cut, after: Option<ListPlace>, now: Instant) -> Result<Self, Refusal> {
        answer.hold(cut.orders, now)?;
        Ok(Self { answer, after, more: cut.more, list_end: cut.list_end, last: None, written: 0, is_done: false })
    }

    /// The page of a list that is true for `as_of`. One that is small enough for a single write is written now.
    pub(super) fn into_body(mut self, as_of: Timestamp, stale: StaleReasons, now: Instant) -> Body {
        let mut begin = format!(r#"{{"as_of":"{as_of}","stale":"#).into_bytes();
        write_json(&mut begin, &stale);
        begin.extend_from_slice(br#","orders":["#);
        if self.answer.held_bytes() <= WRITE_BYTES {
            self.write(&mut begin, now);
        }
        let size = if self.is_done { BodySize::Sized(begin.len() as u64) } else { BodySize::Stream };
        Body { begin: Some(begin), page: self, size }
    }

    /// Appends as much as goes out at once.
    fn write(&mut self, chunk: &mut Vec<u8>, now: Instant) {
        while chunk.len() < WRITE_BYTES && !self.is_done {
            match self.answer.next(now) {
                Next::Order(order) => self.write_order(chunk, &order),
                Next::Done => {
                    self.last = self.list_end.take().or(self.last.take());
                    self.end(chunk, self.more);
                }
                Next::GaveUp => self.end(chunk, true),
            }
        }
    }

    fn write_order(&mut self, chunk: &mut Vec<u8>, order: &OrderView) {
        let end = chunk.len();
        if self.last.is_some() {
            chunk.push(b',');
        }
        write_json(chunk, order);
        self.written += chunk.len() - end;
        if self.last.is_some() && self.written > PAGE_BYTES {
            chunk.truncate(end);
            return self.end(chunk, true);
        }
        self.last = Some(ListPlace::of(&order.state));
    }

    fn end(&mut self, chunk: &mut Vec<u8>, more: bool) {
        chunk.extend_from_slice(br#"],"next":"#);
        let next = more.then(|| match self.last.as_ref().or(self.after.as_ref()) {
            Some(place) => path_of_older(place),
            None => "/orders".to_owned(),
        });
        write_json(chunk, &next);
        chunk.push(b'}');
        self.is_done = true;
    }
}

fn write_json(buffer: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(buffer, value).expect("orders have string keys and writing to memory succeeds");
}

/// What is written of a page.
pub(super) struct Body {
    begin: Option<Vec<u8>>,
    page: Page,
    size: BodySize,
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.size
    }

    /// Called whenever the socket has taken what came before.
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let begin = self.begin.take();
        if begin.is_none() && self.page.is_done {
            return Poll::Ready(None);
        }
        let mut chunk = begin.unwrap_or_default();
        self.page.write(&mut chunk, Instant::now());
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

/// A small answer, such as a single order, written in one piece.
pub(super) struct Single {
    json: Bytes,
    is_written: bool,
    _answer: OnItsWay,
}

impl Single {
    pub(super) fn new(answer: OnItsWay, order: &OrderView, now: Instant) -> Result<Self, Refusal> {
        let mut json = Vec::new();
        write_json(&mut json, order);
        Self::written(answer, json, now)
    }

    /// What is JSON already.
    pub(super) fn written(answer: OnItsWay, json: Vec<u8>, now: Instant) -> Result<Self, Refusal> {
        answer.keep(json.len(), now)?;
        Ok(Self { json: json.into(), is_written: false, _answer: answer })
    }
}

impl MessageBody for Single {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.json.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if std::mem::replace(&mut self.is_written, true) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(std::mem::take(&mut self.json))))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{sync::Arc, time::Duration};

    use futures_util::FutureExt;
    use serde_json::{Value, value::RawValue};

    use super::*;
    use crate::{
        domain::{Epoch, Holder, OrderState, Stamp, Timeline, UserId, Version, VersionKind},
        http::answers::Answers,
        telemetry::Metrics,
    };

    /// An order that happened `age` milliseconds ago.
    pub(in crate::http) fn order(age: i64, details_bytes: usize) -> OrderView {
        let state = OrderState {
            order_id: OrderId::parse(&format!("A/{age:05}")).unwrap(),
            user_id: UserId::parse("u-1").unwrap(),
            viewers: Box::default(),
            status: "paid".into(),
            terminal: false,
            version: Version { kind: VersionKind::Field, number: 1 },
            stamp: Stamp { epoch: Epoch(1), partition: 0, offset: age },
            occurred_at: Timestamp::from_millis(1_000_000 - age).unwrap(),
            details: RawValue::from_string(format!(r#"{{"pad":"{}"}}"#, "x".repeat(details_bytes))).ok(),
            event_id: None,
        };
        let timeline = Arc::new(Timeline::of(&state));
        OrderView { state: Arc::new(state), timeline }
    }

    fn answers() -> Arc<Answers> {
        let at = Timestamp::from_millis(0).unwrap();
        Answers::new(1 << 30, Duration::from_secs(10), Metrics::new(at).answers)
    }

    fn page(answers: &Arc<Answers>, list: &[OrderView], after: Option<ListPlace>, max_orders: usize) -> Body {
        let now = Instant::now();
        let answer = answers.begin(Holder::User(UserId::parse("u-1").unwrap()), now).unwrap();
        let cut = Cut::of(list.to_vec(), after.as_ref(), None, max_orders);
        Page::new(answer, cut, after, now).unwrap().into_body(
            Timestamp::from_millis(0).unwrap(),
            StaleReasons::NONE,
            now,
        )
    }

    fn next(body: &mut Body) -> Option<Bytes> {
        let next = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).now_or_never();
        next.expect("nothing is waited for").transpose().unwrap()
    }

    /// All that is written, as JSON, and its size.
    fn read(mut body: Body) -> (Value, usize) {
        let size = body.size();
        let mut text = Vec::new();
        while let Some(chunk) = next(&mut body) {
            assert!(!chunk.is_empty() && chunk.len() < 3 * WRITE_BYTES, "{}", chunk.len());
            text.extend_from_slice(&chunk);
        }
        if let BodySize::Sized(size) = size {
            assert_eq!(size, text.len() as u64);
        }
        (serde_json::from_slice(&text).unwrap(), text.len())
    }

    fn place(next: &Value) -> Option<ListPlace> {
        let url = url::Url::parse("http://x").unwrap().join(next.as_str()?).unwrap();
        let (name, place) = url.query_pairs().next().unwrap();
        assert_eq!((url.path(), &*name), ("/orders", "after"));
        Some(parse_place(&place).unwrap())
    }

    /// Every page of a list: the ids it shows, and its size.
    fn pages(list: &[OrderView], max_orders: usize) -> Vec<(Vec<String>, usize)> {
        let answers = answers();
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let (page, bytes) = read(page(&answers, list, after.take(), max_orders));
            let orders = page["orders"].as_array().unwrap();
            let ids = orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect();
            pages.push((ids, bytes));
            after = place(&page["next"]);
            if after.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_together_are_the_list_newest_first_each_order_once() {
        // Two at each moment, so that the id decides.
        let list = |many: i64, details: usize| -> Vec<OrderView> {
            (0..many)
                .map(|n| order(n / 2 * 2, details))
                .zip(0..)
                .map(|(mut view, n)| {
                    let state = Arc::get_mut(&mut view.state).unwrap();
                    state.order_id = OrderId::parse(&format!("A/{:05}", 99_999 - n)).unwrap();
                    view
                })
                .collect()
        };
        for (many, details, max_orders, wanted) in
            [(0, 0, 10, 1), (1, 0, 10, 1), (10, 0, 10, 1), (11, 0, 10, 2), (35, 0, 10, 4), (60, 12_000, 500, 3)]
        {
            let mut shuffled = list(many, details);
            shuffled.reverse();
            let pages = pages(&shuffled, max_orders);
            let ids: Vec<&String> = pages.iter().flat_map(|(ids, _)| ids).collect();
            let all: Vec<String> = (0..many).map(|n| format!("A/{:05}", 99_999 - n)).collect();
            assert_eq!(ids, all.iter().collect::<Vec<_>>(), "{many} {details}");
            assert_eq!(pages.len(), wanted, "{many} orders with {details} bytes");
            assert!(pages.iter().all(|(_, bytes)| *bytes <= PAGE_BYTES + 200), "{pages:?}");
        }
    }

    #[test]
    fn a_page_of_a_list_that_was_read_to_an_end_shows_nothing_behind_it_and_goes_on_from_there() {
        let list: Vec<OrderView> = (0..6).map(|n| order(n, 10)).collect();
        let now = Instant::now();
        let of = |list: &[OrderView], end: usize, max_orders| {
            let answer = answers().begin(Holder::User(UserId::parse("u-1").unwrap()), now).unwrap();
            let end = ListPlace::of(&order(end as i64, 10).state);
            let cut = Cut::of(list.to_vec(), None, Some(end), max_orders);
            let body = Page::new(answer, cut, None, now).unwrap();
            let (page, _) = read(body.into_body(Timestamp::from_millis(0).unwrap(), StaleReasons::NONE, now));
            (page["orders"].as_array().unwrap().len(), place(&page["next"]))
        };
        let after = |n: usize| Some(ListPlace::of(&list[n].state));
        assert_eq!(of(&list, 3, 10), (4, after(3)), "what is behind the end may have something before it");
        assert_eq!(of(&list, 3, 2), (2, after(1)));
        assert_eq!(of(&list[..1], 3, 10), (1, after(3)), "what was read has left the list");
        assert_eq!(of(&[], 3, 10), (0, after(3)));
    }

    #[test]
    fn a_page_is_bounded_as_json_too_where_that_is_larger_than_what_is_held() {
        // A step takes more room in JSON than it was thought to.
        let long = "s".repeat(64);
        let list: Vec<OrderView> = (0..300)
            .map(|n| {
                let mut view = order(n, 0);
                let step = view.timeline.steps()[0].clone();
                let steps = (0..50).map(|version| crate::domain::Step {
                    status: long.as_str().into(),
                    version,
                    ..step.clone()
                });
                let steps = serde_json::to_value(steps.collect::<Vec<_>>()).unwrap();
                view.timeline = Arc::new(serde_json::from_value(steps).unwrap());
                view
            })
            .collect();
        let pages = pages(&list, 500);
        assert_eq!(pages.iter().map(|(ids, _)| ids.len()).sum::<usize>(), 300);
        assert!(pages.iter().all(|(_, bytes)| *bytes <= PAGE_BYTES + 200), "{pages:?}");
    }

    #[test]
    fn a_small_page_is_one_write_of_known_length_and_a_large_one_is_written_as_it_is_taken() {
        let answers = answers();
        let mut small = page(&answers, &[order(0, 100)], None, 10);
        assert!(matches!(small.size(), BodySize::Sized(_)));
        assert!(next(&mut small).is_some() && next(&mut small).is_none());
        let list: Vec<OrderView> = (0..20).map(|n| order(n, 12_000)).collect();
        let mut large = page(&answers, &list, None, 500);
        assert_eq!(large.size(), BodySize::Stream);
        let weak: Vec<_> = list.iter().map(|view| Arc::downgrade(&view.state)).collect();
        drop(list);
        let held = || weak.iter().filter(|state| state.strong_count() > 0).count();
        assert_eq!(held(), 20);
        next(&mut large).unwrap();
        assert!(held() < 20, "what is written is let go");
        assert!(held() >= 17, "and nothing is written before it can be sent: {}", held());
        drop(large);
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_page_that_gave_up_its_rest_ends_where_it_is_and_says_where_to_read_on() {
        let list: Vec<OrderView> = (0..20).map(|n| order(n, 12_000)).collect();
        let metrics = Metrics::new(Timestamp::from_millis(0).unwrap());
        for (writes, begun_at) in [(1, None), (0, Some(4)), (0, None)] {
            let bytes: usize = list.iter().map(OrderView::json_bytes).sum();
            let tight = Answers::new(bytes + 8_192, Duration::ZERO, metrics.answers.clone());
            let after = begun_at.map(|n: usize| ListPlace::of(&list[n].state));
            let mut body = page(&tight, &list, after.clone(), 500);
            let mut text = Vec::new();
            for _ in 0..writes {
                text.extend_from_slice(&next(&mut body).unwrap());
            }
            let other = tight.begin(Holder::User(UserId::parse("u-2").unwrap()), Instant::now()).unwrap();
            other.hold(list.clone().into(), Instant::now()).unwrap();
            while let Some(chunk) = next(&mut body) {
                text.extend_from_slice(&chunk);
            }
            let page: Value = serde_json::from_slice(&text).unwrap();
            let shown = page["orders"].as_array().unwrap().len();
            match (writes, after) {
                (1, _) => assert_eq!(place(&page["next"]), Some(ListPlace::of(&list[shown - 1].state))),
                (_, Some(after)) => assert_eq!((shown, place(&page["next"])), (0, Some(after))),
                (_, None) => assert_eq!((shown, page["next"].as_str()), (0, Some("/orders"))),
            }
        }
    }

    #[test]
    fn what_is_no_place_in_the_list_is_refused() {
        for text in ["", "nowhere", "1", ":A", "x:A", "1:", "99999999999999999999:A"] {
            assert!(parse_place(text).is_err(), "{text:?}");
        }
        let place = parse_place("5:A:1 ?").unwrap();
        assert_eq!(path_of_older(&place), "/orders?after=5:A%3A1+%3F");
    }
}
