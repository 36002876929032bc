//! Lines of the log that somebody outside can cause: so many of each kind a second, and what a client sent cut short.
//!
//! Whoever writes such a line asks [`OutsideLog::admits`] first, and shows a client's words through [`shown`]; in the room
//! `http` every line is one (`tests/it/house.rs`). What is left out is counted, and told by the next line of its kind.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::{counter::Counter, family::Family};

use super::metrics::Kind;

/// Bytes of what a client sent that a line shows at most.
const MAX_SHOWN_BYTES: usize = 200;
/// A page of an origin that may not connect tries again and again: it is told once in so long.
const ORIGIN_INTERVAL: Duration = Duration::from_secs(60);
/// Origins remembered for that.
const MAX_ORIGINS: usize = 128;
const SECOND: Duration = Duration::from_secs(1);

/// A kind of line that somebody outside can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutsideLine {
    /// A page may not connect.
    ForeignOrigin,
    /// A token was refused, and why.
    RefusedToken,
    /// A session ended.
    SessionEnded,
    /// A connection could not be prepared.
    SocketOptions,
    /// An operator did something.
    Operator,
    /// The control topic did not take what an operator wanted.
    ControlTopic,
}

impl OutsideLine {
    const ALL: [Self; 6] = [
        Self::ForeignOrigin,
        Self::RefusedToken,
        Self::SessionEnded,
        Self::SocketOptions,
        Self::Operator,
        Self::ControlTopic,
    ];

    fn kind(self) -> &'static str {
        match self {
            Self::ForeignOrigin => "foreign_origin",
            Self::RefusedToken => "refused_token",
            Self::SessionEnded => "session_ended",
            Self::SocketOptions => "socket_options",
            Self::Operator => "operator",
            Self::ControlTopic => "control_topic",
        }
    }

    /// Lines in a second.
    fn limit(self) -> u32 {
        match self {
            // An instance that leaves ends all its sessions within seconds, and each has its line as far as that goes.
            Self::SessionEnded => 1_000,
            Self::Operator => 100,
            Self::ForeignOrigin | Self::RefusedToken | Self::SocketOptions | Self::ControlTopic => 10,
        }
    }
}

/// Says which of these lines are written.
#[derive(Debug)]
pub struct OutsideLog {
    windows: [Mutex<Window>; OutsideLine::ALL.len()],
    /// Origins told, and when.
    origins: Mutex<HashMap<Box<str>, Instant>>,
    left_out: Family<Kind, Counter>,
}

/// The second under way.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

/// How many lines of its kind were left out before the one that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut(u64);

impl LeftOut {
    /// For the line; `None` where there is nothing to tell.
    pub fn told(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

impl OutsideLog {
    pub(super) fn new(left_out: Family<Kind, Counter>) -> Self {
        for line in OutsideLine::ALL {
            drop(left_out.get_or_create(&Kind { kind: line.kind() }));
        }
        Self { windows: Default::default(), origins: Mutex::default(), left_out }
    }

    /// Whether a line is to be written now.
    pub fn admits(&self, line: OutsideLine) -> Option<LeftOut> {
        self.admits_at(line, Instant::now())
    }

    /// Whether it is to be told now that pages of this origin may not connect: once a minute for each.
    pub fn admits_origin(&self, origin: &str) -> Option<LeftOut> {
        self.admits_origin_at(origin, Instant::now())
    }

    fn admits_at(&self, line: OutsideLine, now: Instant) -> Option<LeftOut> {
        let mut window = lock(&self.windows[line as usize]);
        if window.began.is_none_or(|began| now.duration_since(began) >= SECOND) {
            (window.began, window.written) = (Some(now), 0);
        }
        if window.written == line.limit() {
            return self.leave_out(line, &mut window);
        }
        window.written += 1;
        Some(LeftOut(std::mem::take(&mut window.left_out)))
    }

    fn admits_origin_at(&self, origin: &str, now: Instant) -> Option<LeftOut> {
        let line = OutsideLine::ForeignOrigin;
        let mut origins = lock(&self.origins);
        let is_old = |told: &Instant| now.duration_since(*told) >= ORIGIN_INTERVAL;
        if origins.len() == MAX_ORIGINS {
            origins.retain(|_, told| !is_old(told));
        }
        let is_news = match origins.get(shown(origin)) {
            Some(told) => is_old(told),
            None => origins.len() < MAX_ORIGINS,
        };
        if !is_news {
            return self.leave_out(line, &mut lock(&self.windows[line as usize]));
        }
        let left_out = self.admits_at(line, now)?;
        origins.insert(shown(origin).into(), now);
        Some(left_out)
    }

    fn leave_out(&self, line: OutsideLine, window: &mut Window) -> Option<LeftOut> {
        window.left_out += 1;
        self.left_out.get_or_create(&Kind { kind: line.kind() }).inc();
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As much of what a client sent as a line may show.
pub fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> OutsideLog {
        OutsideLog::new(Family::default())
    }

    fn counted(log: &OutsideLog, line: OutsideLine) -> u64 {
        log.left_out.get_or_create(&Kind { kind: line.kind() }).get()
    }

    #[test]
    fn so_many_lines_of_a_kind_are_written_in_a_second_and_the_next_tells_of_the_rest() {
        let (log, now) = (log(), Instant::now());
        let line = OutsideLine::RefusedToken;
        let written = (0..1_000).filter_map(|_| log.admits_at(line, now)).collect::<Vec<_>>();
        assert_eq!(written, [LeftOut(0); 10]);
        assert_eq!(counted(&log, line), 990);
        assert!(log.admits_at(OutsideLine::Operator, now).is_some(), "another kind has its own");
        assert_eq!(log.admits_at(line, now + SECOND / 2), None);
        assert_eq!(log.admits_at(line, now + SECOND), Some(LeftOut(991)));
        assert_eq!(log.admits_at(line, now + SECOND).and_then(LeftOut::told), None);
    }

    #[test]
    fn an_origin_is_told_once_a_minute_and_the_next_time_says_how_often_it_came() {
        let (log, now) = (log(), Instant::now());
        assert_eq!(log.admits_origin_at("https://a.example", now), Some(LeftOut(0)));
        for second in 1..60 {
            assert_eq!(log.admits_origin_at("https://a.example", now + SECOND * second), None);
        }
        assert_eq!(log.admits_origin_at("https://b.example", now + SECOND * 59), Some(LeftOut(59)));
        assert_eq!(log.admits_origin_at("https://a.example", now + SECOND * 60), Some(LeftOut(0)));
    }

    #[test]
    fn origins_without_end_are_neither_remembered_nor_told_without_end() {
        let (log, now) = (log(), Instant::now());
        let told = |minute: u32| {
            let asked = (0..60_000u32).filter(|number| {
                let origin = format!("https://{minute}-{number}.example/{}", "x".repeat(1_000));
                log.admits_origin_at(&origin, now + ORIGIN_INTERVAL * minute + SECOND * (number / 1_000)).is_some()
            });
            asked.count()
        };
        assert_eq!((told(0), told(1)), (MAX_ORIGINS, MAX_ORIGINS));
        let origins = log.origins.lock().unwrap();
        assert!(origins.keys().all(|origin| origin.len() <= MAX_SHOWN_BYTES) && origins.len() <= MAX_ORIGINS);
    }

    #[test]
    fn what_a_client_sent_is_cut_between_characters() {
        assert_eq!(shown("https://shop.example"), "https://shop.example");
        assert_eq!(shown(&"x".repeat(201)), "x".repeat(200));
        assert_eq!(shown(&"ü".repeat(200)), "ü".repeat(100));
        assert_eq!(shown(&format!("{}🛵", "x".repeat(198))), "x".repeat(198));
    }
}
