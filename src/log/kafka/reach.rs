//! Whether the brokers can be reached, as all clients of a process together see it: one line when none answers any more,
//! one a minute, one when it is over; and why, for whoever asked in vain.
//!
//! Clients say what failed where. Whether the brokers answer is found out by who asks them anyway, once a second: `log_watch`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// How often an outage that lasts is told.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);
/// librdkafka repeats a failure that stays the same every 30 s only, so one that is older is over.
const LIFE: Duration = Duration::from_secs(45);
/// A broker that fails again after this long is away while others answer, and was not just restarted.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether this error says that no broker has answered at all.
pub(crate) fn is_silence(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let silent = [
        Code::AllBrokersDown,
        Code::Authentication,
        Code::BrokerTransportFailure,
        Code::MessageTimedOut,
        Code::OperationTimedOut,
        Code::RequestTimedOut,
        Code::Resolve,
    ];
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    code.is_some_and(|code| silent.contains(&code))
}

/// What is known of the brokers.
#[derive(Debug)]
pub(crate) struct Reach {
    /// As `kafka.brokers` names them.
    brokers: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last failure of each broker, by its address.
    failures: BTreeMap<String, Failure>,
    outage: Option<Outage>,
    /// So it is Kafka, and understands us.
    has_answered: bool,
}

#[derive(Debug)]
struct Failure {
    why: Why,
    first: Instant,
    last: Instant,
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    told_at: Instant,
}

/// Why a broker cannot be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Why {
    text: String,
    /// Whether waiting cannot cure it.
    is_lasting: bool,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It passes by itself, or may.
    Warning,
    /// Somebody has to do something.
    Error,
    Over,
}

impl Line {
    fn write(self) {
        let text = self.text;
        match self.kind {
            Kind::Warning => tracing::warn!("{text}"),
            Kind::Error => tracing::error!("{text}"),
            Kind::Over => tracing::info!("{text}"),
        }
    }
}

impl Reach {
    pub(crate) fn new(brokers: &[String]) -> Self {
        Self { brokers: brokers.join(", "), state: Mutex::default() }
    }

    /// Takes what librdkafka says of a failure, if it is about a broker. Says whether it was.
    pub(crate) fn on_failure(&self, message: &str, now: Instant) -> bool {
        let Some((broker, reason)) = broker_and_reason(message) else { return false };
        if let Some(broker) = broker {
            self.with(|state| state.fail(broker, why(reason, state.has_answered), now));
        }
        true
    }

    /// The brokers have answered.
    pub(crate) fn on_answer(&self, now: Instant) {
        let lines = self.with(|state| state.answer(now));
        lines.into_iter().for_each(Line::write);
    }

    /// No broker has answered.
    pub(crate) fn on_silence(&self, now: Instant) {
        let line = self.with(|state| state.silence(&self.brokers, now));
        line.into_iter().for_each(Line::write);
    }

    /// Whether something failed lately, so that silence can be the brokers'.
    pub(crate) fn is_silent(&self) -> bool {
        let now = Instant::now();
        self.with(|state| state.failures.values().any(|failure| now.saturating_duration_since(failure.last) < LIFE))
    }

    /// Who does not answer, and why, as one clause: for an error whose reader can do something about it.
    pub(crate) fn why(&self) -> String {
        self.with(|state| nobody_answers(&self.brokers, state, Instant::now()).0)
    }

    fn with<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        step(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn fail(&mut self, broker: &str, why: Why, now: Instant) {
        let failure = self.failures.entry(broker.to_owned());
        let failure = failure.or_insert_with(|| Failure { why: why.clone(), first: now, last: now, told_at: None });
        (failure.why, failure.last) = (why, now);
    }

    fn answer(&mut self, now: Instant) -> Vec<Line> {
        self.has_answered = true;
        self.failures.retain(|_, failure| now.saturating_duration_since(failure.last) < LIFE);
        if let Some(outage) = self.outage.take() {
            // Kept as the cause should it begin again; what lasts while others answer is counted from here.
            for failure in self.failures.values_mut() {
                failure.first = failure.last;
            }
            let seconds = now.saturating_duration_since(outage.since).as_secs();
            return vec![Line { text: format!("the brokers answer again, after {seconds} s"), kind: Kind::Over }];
        }
        let is_due = |failure: &Failure| {
            failure.last.saturating_duration_since(failure.first) >= PATIENCE
                && failure.told_at.is_none_or(|at| now.saturating_duration_since(at) >= REMINDER_INTERVAL)
        };
        let due = self.failures.iter_mut().filter(|(_, failure)| is_due(failure));
        due.map(|(broker, failure)| {
            failure.told_at = Some(now);
            Line { text: format!("a broker, {broker}, {}; others answer", failure.why.text), kind: Kind::Warning }
        })
        .collect()
    }

    fn silence(&mut self, brokers: &str, now: Instant) -> Option<Line> {
        let outage = self.outage.get_or_insert(Outage { since: now, told_at: now });
        if outage.told_at != now && now.saturating_duration_since(outage.told_at) < REMINDER_INTERVAL {
            return None;
        }
        outage.told_at = now;
        let (text, is_lasting) = nobody_answers(brokers, self, now);
        let kind = if is_lasting { Kind::Error } else { Kind::Warning };
        Some(Line { text: format!("{text}; still trying"), kind })
    }
}

/// The clause, and whether waiting cannot cure it.
fn nobody_answers(brokers: &str, state: &State, now: Instant) -> (String, bool) {
    let lately = |failure: &Failure| now.saturating_duration_since(failure.last) < LIFE;
    let failures: Vec<_> = state.failures.iter().filter(|(_, failure)| lately(failure)).collect();
    let why = match failures.as_slice() {
        [] => String::new(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, failure)| failure.why == first.why) => {
            format!(": {}", first.why.text)
        }
        all => {
            let each: Vec<_> = all.iter().map(|(broker, failure)| format!("{broker} {}", failure.why.text)).collect();
            format!(": {}", each.join("; "))
        }
    };
    let is_lasting = !failures.is_empty() && failures.iter().all(|(_, failure)| failure.why.is_lasting);
    (format!("no broker of kafka.brokers ({brokers}) answers{why}"), is_lasting)
}

/// Splits `[thrd:…]: host:port/id: reason`. `None`: it is not about a broker; without an address: about one that it names
/// otherwise.
fn broker_and_reason(message: &str) -> Option<(Option<&str>, &str)> {
    let message =
        message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(message, |(_, rest)| rest);
    let (name, reason) = message.split_once(": ")?;
    if name.starts_with("GroupCoordinator") || name.starts_with("TxnCoordinator") {
        return Some((None, reason));
    }
    let (address, id) = name.rsplit_once('/')?;
    let is_id = id == "bootstrap" || id.parse::<i32>().is_ok();
    let address = address.rsplit_once("://").map_or(address, |(_, address)| address);
    is_id.then_some((Some(address), reason))
}

/// librdkafka's reason in words that say what to do, where more is known than it says.
fn why(reason: &str, has_answered: bool) -> Why {
    let (reason, state) = reason.split_once(" (after ").unwrap_or((reason, ""));
    let reason = reason.trim();
    let passing = |text: String| Why { text, is_lasting: false };
    let lasting = |text: String| Why { text, is_lasting: true };
    if let Some(size) = between(reason, "Invalid response size ", " ") {
        return lasting(not_kafka(size.parse().unwrap_or_default()).to_owned());
    }
    if let Some((_, error)) = reason.strip_prefix("Connect to ").and_then(|rest| rest.split_once(" failed: ")) {
        return passing(error.to_lowercase());
    }
    if let Some((_, error)) = reason.strip_prefix("Failed to resolve ").and_then(|rest| rest.rsplit_once("': ")) {
        return passing(format!("its name cannot be resolved ({})", error.to_lowercase()));
    }
    if let Some(error) = reason.strip_prefix("SASL authentication error: ") {
        return lasting(format!("refuses the credentials of kafka.properties (sasl.…): {error}"));
    }
    // What was closed before it had answered anything, or asked for a login and got none. A broker that goes does so, too.
    let is_early = !has_answered && (state.contains("APIVERSION_QUERY") || reason.contains("requesting ApiVersion"));
    if reason.contains("isconnected") && (is_early || reason.contains("security.protocol")) {
        return lasting(
            "closes the connection at once: it is no Kafka, or wants TLS or SASL (kafka.properties security.protocol)"
                .to_owned(),
        );
    }
    if reason.contains("wrong version number") || reason.contains("connecting to a PLAINTEXT broker listener") {
        return lasting("does not speak TLS, which kafka.properties security.protocol asks for".to_owned());
    }
    if let Some(error) = reason.strip_prefix("SSL handshake failed: ") {
        return lasting(format!("TLS is not established: {error}"));
    }
    if reason.contains("Timed out") || reason.contains("timed out") {
        return passing("no answer in time".to_owned());
    }
    passing(reason.to_owned())
}

/// Who answers with what would be an answer of this size.
fn not_kafka(size: i32) -> &'static str {
    match size.to_be_bytes() {
        [b'H', b'T', b'T', b'P'] => "what answers there is an HTTP server, not Kafka",
        [b'E', 0, 0, _] => "what answers there is PostgreSQL, not Kafka",
        [0x15, 3, ..] => "it wants TLS: set kafka.properties security.protocol",
        // A quarter of a gigabyte, or text.
        [first, ..] if first >= 16 => "what answers there is not Kafka",
        _ => "an answer is larger than kafka.properties receive.message.max.bytes, or what answers there is not Kafka",
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: \
                           Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)";

    fn state(messages: &[&str], now: Instant) -> State {
        let mut state = State::default();
        for message in messages {
            let (broker, reason) = broker_and_reason(message).expect(message);
            state.fail(broker.expect(message), why(reason, false), now);
        }
        state
    }

    #[test]
    fn an_outage_is_told_when_it_begins_once_a_minute_and_when_it_is_over() {
        let start = Instant::now();
        let mut state = state(&[REFUSED], start);
        let told: Vec<u64> = (0..150)
            .filter(|second| {
                let now = start + Duration::from_secs(*second);
                state.fail("127.0.0.1:1", why("Connect to x failed: Connection refused", false), now);
                state.silence("127.0.0.1:1", now).is_some()
            })
            .collect();
        assert_eq!(told, [0, 60, 120]);
        let over = state.answer(start + Duration::from_secs(150));
        assert_eq!(over, [Line { text: "the brokers answer again, after 150 s".into(), kind: Kind::Over }]);
        assert_eq!(state.answer(start + Duration::from_secs(151)), []);
        let again = state.silence("127.0.0.1:1", start + Duration::from_secs(300)).unwrap();
        assert_eq!(again.text, "no broker of kafka.brokers (127.0.0.1:1) answers; still trying");
    }

    #[test]
    fn one_broker_that_stays_away_while_others_answer_is_told_once_a_minute() {
        let start = Instant::now();
        let mut state = State::default();
        let told: Vec<u64> = (0..150)
            .filter(|second| {
                let now = start + Duration::from_secs(*second);
                // As librdkafka repeats itself.
                if second % 30 == 0 {
                    state.fail("b:9092", why("Connect to b failed: Connection refused", false), now);
                }
                let lines = state.answer(now);
                assert!(lines.iter().all(|line| line.text == "a broker, b:9092, connection refused; others answer"));
                !lines.is_empty()
            })
            .collect();
        assert_eq!(told, [30, 90]);
        assert!(state.answer(start + Duration::from_secs(900)).is_empty() && state.failures.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_in_words_that_can_be_acted_on() {
        let now = Instant::now();
        for (messages, told, kind) in [
            (&[REFUSED][..], "(127.0.0.1:1) answers: connection refused; still", Kind::Warning),
            (
                &["a:1/bootstrap: Failed to resolve 'a:1': Name or service not known (after 2ms in state CONNECT)"],
                "answers: its name cannot be resolved (name or service not known); still",
                Kind::Warning,
            ),
            (
                &["ssl://[::1]:1/4: Receive failed: Invalid response size 1213486160 (0..100000000): increase \
                   receive.message.max.bytes (after 1ms in state APIVERSION_QUERY)"],
                "is an HTTP server, not Kafka",
                Kind::Error,
            ),
            (
                &["a:1/1: Receive failed: Invalid response size 1157627904 (0..100000000): increase x"],
                "is PostgreSQL, not Kafka",
                Kind::Error,
            ),
            (&["a:1/1: Receive failed: Invalid response size 352518912 (0..1): x"], "it wants TLS", Kind::Error),
            (&["a:1/1: Receive failed: Invalid response size -2 (0..1): x"], "there is not Kafka", Kind::Error),
            (
                &["a:1/1: Receive failed: Invalid response size 100000001 (0..1): x"],
                "larger than kafka.properties receive.message.max.bytes",
                Kind::Error,
            ),
            (
                &["a:1/1: SASL authentication error: Authentication failed (after 3ms in state AUTH_REQ)"],
                "refuses the credentials of kafka.properties (sasl.…): Authentication failed; still",
                Kind::Error,
            ),
            (
                &["a:1/1: Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol \
                   configuration (connecting to a SSL listener?) or broker version is < 0.10"],
                "closes the connection at once",
                Kind::Error,
            ),
            (
                &["a:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 2ms in state \
                   APIVERSION_QUERY)"],
                "closes the connection at once",
                Kind::Error,
            ),
            (
                &["a:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 900ms in state UP)"],
                "answers: Disconnected: connection closed by peer",
                Kind::Warning,
            ),
            (
                &["a:1/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10"],
                "no answer in time",
                Kind::Warning,
            ),
            (
                &[
                    "a:1/bootstrap: Connect to x failed: Connection refused",
                    "b:2/1: Connect to y failed: No route to host",
                ],
                "answers: a:1 connection refused; b:2 no route to host; still",
                Kind::Warning,
            ),
        ] {
            let line = state(messages, now).silence("127.0.0.1:1", now).unwrap();
            assert!(line.text.contains(told), "{}", line.text);
            assert_eq!(line.kind, kind, "{}", line.text);
        }
    }

    #[test]
    fn a_broker_that_has_answered_and_goes_in_the_middle_of_a_greeting_is_kafka_nevertheless() {
        let (reach, now) = (Reach::new(&["a:1".to_owned()]), Instant::now());
        reach.on_answer(now);
        let going = "a:1/1: Disconnected: connection closed by peer (after 2ms in state APIVERSION_QUERY)";
        assert!(reach.on_failure(going, now));
        let line = reach.with(|state| state.silence("a:1", now)).unwrap();
        assert!(line.text.contains("Disconnected: connection closed by peer"), "{}", line.text);
        assert_eq!(line.kind, Kind::Warning);
    }

    #[test]
    fn only_what_is_about_a_broker_is_taken() {
        let reach = Reach::new(&["a:1".to_owned()]);
        let now = Instant::now();
        assert!(reach.on_failure("GroupCoordinator: a:1: Connect to ipv4#a:1 failed: Connection refused", now));
        assert!(!reach.on_failure("JoinGroup failed: Broker: Group authorization failed", now));
        assert!(!reach.on_failure("1/1 brokers are down", now));
        assert_eq!(reach.why(), "no broker of kafka.brokers (a:1) answers");
        assert!(reach.on_failure(REFUSED, now));
        assert_eq!(reach.why(), "no broker of kafka.brokers (a:1) answers: connection refused");
    }
}
