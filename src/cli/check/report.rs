//! What a check found, written down: a few lines for people, one JSON object for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    board::{Latency, Standing},
    plan::{Kind, Plan},
};

/// The result of a check that came to its end.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) run: String,
    pub(super) urls: usize,
    pub(super) viewers: usize,
    pub(super) users: usize,
    pub(super) orders: usize,
    pub(super) late_events: usize,
    pub(super) duplicate_events: usize,
    pub(super) late_after: Duration,
    pub(super) standing: Standing,
    pub(super) latency: Option<Latency>,
    /// How long after the last event and disturbance all screens were right; `None`: they were not.
    pub(super) converged_after: Option<Duration>,
    /// Why viewers were told not to come back.
    pub(super) stopped: Vec<String>,
}

impl Report {
    pub(super) fn count_kind(plan: &Plan, kind: Kind) -> usize {
        plan.events.iter().filter(|event| event.kind == kind).count()
    }

    /// What is wrong, if anything is.
    pub(super) fn faults(&self) -> Vec<String> {
        let tally = &self.standing.tally;
        let mut faults = Vec::new();
        if self.converged_after.is_none() {
            let Standing { live, missing, surplus, .. } = self.standing;
            faults.push(format!(
                "the screens did not converge: {missing} missing, {surplus} too many, {live} of {} sessions live",
                self.viewers
            ));
        }
        faults.extend(self.stopped.iter().map(|reason| format!("a session was told not to come back: {reason}")));
        for (count, what) in [
            (tally.out_of_order, "updates were out of order"),
            (tally.duplicate, "updates came twice"),
            (tally.foreign, "orders were shown to somebody they do not name"),
        ] {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        faults
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Standing { tally, .. } = &self.standing;
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("{name:<14}{value}\n");
        line(
            "events",
            format!(
                "{} ({} late, {} duplicate) of {} orders",
                self.standing.acknowledged, self.late_events, self.duplicate_events, self.orders
            ),
        );
        line(
            "sessions",
            format!(
                "{} by {} viewers of {} users at {} url(s); {} connections broken on purpose",
                tally.sessions, self.viewers, self.users, self.urls, self.standing.disturbed
            ),
        );
        line("deliveries", tally.deliveries.to_string());
        line("missing", self.standing.missing.to_string());
        line("too many", self.standing.surplus.to_string());
        line("out of order", tally.out_of_order.to_string());
        line("duplicate", tally.duplicate.to_string());
        line("foreign", tally.foreign.to_string());
        line("late", format!("{} (over {})", tally.late, humantime::format_duration(self.late_after)));
        line("stale", format!("said {} times", tally.stale));
        if let Some(Latency { p50, p99, max }) = self.latency {
            line("latency", format!("p50 {}, p99 {}, max {}", millis(p50), millis(p99), millis(max)));
        }
        let converged = match self.converged_after {
            Some(after) => format!("yes, {} after the last disturbance", millis(after)),
            None => "no".to_owned(),
        };
        line("converged", converged);
        text.trim_end().to_owned()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Standing { tally, .. } = &self.standing;
        let ms = |duration: Duration| json!(duration.as_micros() as f64 / 1e3);
        json!({
            "run": self.run,
            "events": self.standing.acknowledged,
            "late_events": self.late_events,
            "duplicate_events": self.duplicate_events,
            "orders": self.orders,
            "users": self.users,
            "viewers": self.viewers,
            "urls": self.urls,
            "sessions": tally.sessions,
            "broken_on_purpose": self.standing.disturbed,
            "deliveries": tally.deliveries,
            "missing": self.standing.missing,
            "too_many": self.standing.surplus,
            "out_of_order": tally.out_of_order,
            "late": tally.late,
            "duplicate": tally.duplicate,
            "foreign": tally.foreign,
            "stale": tally.stale,
            "p50_ms": self.latency.map(|latency| ms(latency.p50)),
            "p99_ms": self.latency.map(|latency| ms(latency.p99)),
            "max_ms": self.latency.map(|latency| ms(latency.max)),
            "converged": self.converged_after.is_some(),
            "converged_after_ms": self.converged_after.map(ms),
            "faults": self.faults(),
        })
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::audit::Tally;

    fn report(tally: Tally, missing: u64, converged: bool) -> Report {
        let standing = Standing { acknowledged: 40, live: 4, missing, surplus: 0, disturbed: 3, tally };
        Report {
            run: "r".to_owned(),
            urls: 2,
            viewers: 4,
            users: 2,
            orders: 5,
            late_events: 1,
            duplicate_events: 2,
            late_after: Duration::from_secs(1),
            standing,
            latency: None,
            converged_after: converged.then_some(Duration::from_millis(5)),
            stopped: Vec::new(),
        }
    }

    #[test]
    fn late_is_told_and_no_fault_all_else_is() {
        let late = Tally { late: 9, stale: 1, ..Tally::default() };
        assert!(report(late, 0, true).faults().is_empty());
        assert!(report(Tally::default(), 2, false).faults()[0].contains("2 missing"));
        let wrong = Tally { out_of_order: 1, duplicate: 1, foreign: 1, ..Tally::default() };
        assert_eq!(report(wrong, 0, true).faults().len(), 3);
        let stopped = Report { stopped: vec!["x (401)".to_owned()], ..report(Tally::default(), 0, true) };
        assert_eq!(stopped.faults().len(), 1);
    }

    #[test]
    fn the_text_names_every_figure() {
        let report = Report { latency: Some(Latency::default()), ..report(Tally::default(), 0, true) };
        let text = report.text();
        for name in ["events", "deliveries", "missing", "out of order", "late", "duplicate", "p50", "p99", "converged"]
        {
            assert!(text.contains(name), "{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert_eq!(report.json()["converged"], true);
    }
}
