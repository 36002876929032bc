//! Names follow the rules, and series begin at 0.

use std::{collections::HashMap, time::Duration};

use super::Metrics;
use crate::{
    domain::{Timestamp, Verdict, decode::RefusalCode},
    protocol::{ClientCode, CloseCause, StaleReason, StaleReasons},
};

fn metrics() -> Metrics {
    Metrics::new(Timestamp::from_millis(1_795_253_400_500).unwrap())
}

/// The value of one series.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn names_follow_the_rules() {
    let metrics = metrics();
    metrics.recorder.set_lag(0, 7);
    metrics.sessions.refused("bad_request");
    let text = metrics.encode();
    let declared = |keyword: &str| -> HashMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(keyword)?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (types, helps) = (declared("# TYPE "), declared("# HELP "));
    assert!(types.len() > 25, "{text}");
    for (name, kind) in &types {
        let plain = name.strip_prefix("ordercast_").unwrap_or_else(|| panic!("{name} lacks the prefix"));
        assert!(plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!plain.ends_with("_total") && !plain.ends_with("_count"), "{name}: the suffix is added when written");
        assert!(helps.get(name).is_some_and(|help| help.len() > 10), "{name} has no help");
        let sample = if kind == "counter" { format!("{name}_total") } else { name.clone() };
        assert!(text.lines().any(|line| line.starts_with(&sample)), "{name} shows no series");
    }
    for (name, unit) in declared("# UNIT ") {
        assert!(name.ends_with(&format!("_{unit}")), "{name} does not end with {unit}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_close_cause_refusal_code_and_stale_reason_begins_at_0() {
    let metrics = metrics();
    metrics.sessions.offer("websocket");
    for cause in CloseCause::ALL {
        let series = format!("ordercast_sessions_closed_total{{cause=\"{}\",transport=\"websocket\"}}", cause.reason());
        assert_eq!(value(&metrics, &series), 0.0);
    }
    for code in ClientCode::ALL {
        let series = format!("ordercast_sessions_closed_by_client_total{{code=\"{}\"}}", code.as_str());
        assert_eq!(value(&metrics, &series), 0.0);
    }
    for code in RefusalCode::ALL {
        let refused = format!("ordercast_records_refused_total{{pipeline=\"fanout\",code=\"{code}\"}}");
        assert_eq!(value(&metrics, &refused), 0.0);
        assert_eq!(value(&metrics, &format!("ordercast_dead_letters_total{{code=\"{code}\"}}")), 0.0);
    }
    for reason in StaleReason::ALL {
        assert_eq!(value(&metrics, &format!("ordercast_stale{{reason=\"{}\"}}", reason.as_str())), 0.0);
    }
}

#[test]
fn what_happens_is_counted_where_it_belongs() {
    let metrics = metrics();
    metrics.fanout.judged(&Verdict::Late);
    metrics.recorder.refused(RefusalCode::BadKey);
    metrics.recorder.set_lag(3, 41);
    metrics.sessions.opened("websocket");
    metrics.sessions.opened("websocket");
    metrics.sessions.opened("lines");
    metrics.sessions.closed("websocket", CloseCause::SlowConsumer);
    metrics.snapshots.sent(12);
    metrics.snapshots.answered(340, Duration::from_millis(30));
    let mut stale = StaleReasons::NONE;
    stale.set(StaleReason::CatchingUp, true);
    metrics.sessions.set_stale(stale);
    for (series, wanted) in [
        ("ordercast_records_total{pipeline=\"fanout\",outcome=\"late\"}", 1.0),
        ("ordercast_records_total{pipeline=\"recorder\",outcome=\"late\"}", 0.0),
        ("ordercast_records_total{pipeline=\"recorder\",outcome=\"refused\"}", 1.0),
        ("ordercast_records_refused_total{pipeline=\"recorder\",code=\"bad_key\"}", 1.0),
        ("ordercast_lag_records{pipeline=\"recorder\",partition=\"3\"}", 41.0),
        ("ordercast_sessions_open{transport=\"websocket\"}", 1.0),
        ("ordercast_sessions_closed_total{cause=\"slow_consumer\",transport=\"websocket\"}", 1.0),
        ("ordercast_snapshot_statements_total", 1.0),
        ("ordercast_snapshot_viewers_sum", 12.0),
        ("ordercast_snapshot_duration_seconds_count", 1.0),
        ("ordercast_stale{reason=\"catching_up\"}", 1.0),
        ("ordercast_stale{reason=\"log_gap\"}", 0.0),
        ("ordercast_start_time_seconds", 1_795_253_400.5),
        (concat!("ordercast_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(value(&metrics, series), wanted, "{series}");
    }
    metrics.recorder.forget_lag(3);
    assert!(!metrics.encode().contains("partition=\"3\""));
}
