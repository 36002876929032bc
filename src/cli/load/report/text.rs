//! The report as a few lines.

use std::fmt::Write;

use super::{Opening, Report, Spread, Window, millis};
use crate::cli::load::latency::Curve;

/// One name and its value per line.
pub(super) fn of(report: &Report) -> String {
    let mut text = Lines(String::new());
    let shard = match report.shard {
        (_, 1) => String::new(),
        (part, all) => format!(", part {part} of {all}"),
    };
    text.line("scenario", format!("{}, run {}{shard}", report.scenario, report.run));
    if report.interrupted {
        text.line("interrupted", "before its end: this is what there is".to_owned());
    }
    let machine = &report.machine;
    text.line(
        "machine",
        format!("{} cores of {}, {} GiB, Linux {}", machine.cores, machine.cpu, machine.memory_gib, machine.kernel),
    );
    text.line(
        "sessions",
        format!("{}, {} orders each, {} viewers an order", report.sessions, report.orders_per_session, report.viewers),
    );
    if let Some(opening) = &report.opening {
        of_opening(&mut text, "opened", opening);
    }
    text.line("events", format!("{} published, {} a second asked for", report.published, report.rate));
    for (number, storm) in report.storms.iter().enumerate() {
        of_opening(&mut text, &format!("storm {}", number + 1), storm);
    }
    for window in &report.rounds {
        of_window(&mut text, window, f64::from(report.shard.1));
    }
    for figure in &report.figures {
        text.line(&figure.label(), format!("{} {}", number(figure.value), figure.unit).trim_end().to_owned());
    }
    if let Some(cpu) = report.cpu_per_delivery {
        text.line("CPU/delivery", spread(cpu, " µs"));
    }
    if let (Some(floor), Some(ratio)) = (report.floor_cpu_per_delivery, report.cpu_ratio) {
        text.line("floor", spread(floor, " µs"));
        text.line("CPU ÷ floor", spread(ratio, " ×"));
    }
    if let Some(ratio) = report.p99_ratio {
        text.line("p99 ÷ floor", spread(ratio, " ×"));
    }
    if report.latency.count > 0 {
        text.line("latency", curve(&report.latency));
        text.line("broker", curve(&report.acknowledged));
    }
    if let Some(floor) = &report.floor_latency {
        text.line("of the floor", curve(floor));
    }
    if let Some(kib) = report.resident_kib_after {
        text.line("memory", format!("{:.1} MiB at the end", kib as f64 / 1024.0));
    }
    of_tally(&mut text, report);
    for doubt in &report.doubts {
        text.line("not trusted", doubt.clone());
    }
    text.0.trim_end().to_owned()
}

struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, value: String) {
        // Writing to memory succeeds.
        let _ = writeln!(self.0, "{name:<18}{value}");
    }
}

fn of_opening(text: &mut Lines, name: &str, opening: &Opening) {
    let mut line =
        format!("{} in {:.1} s, snapshot after {}", opening.sessions, opening.seconds, curve(&opening.snapshot));
    if opening.refused > 0 {
        line += &format!("; {} refused and tried again", opening.refused);
    }
    text.line(name, line);
    if let (Some(cpu), Some(kib), Some(all)) =
        (opening.cpu_micros_per_session, opening.kib_per_session, opening.resident_kib)
    {
        let mib = all as f64 / 1024.0;
        text.line("", format!("{cpu:.1} µs of CPU and {kib:.2} KiB a session; {mib:.1} MiB together"));
    }
}

fn of_window(text: &mut Lines, window: &Window, shards: f64) {
    let mut line = format!("{} of {} deliveries, {:.0}/s", window.deliveries, window.due, window.a_second());
    if let Some(cpu) = window.cpu_per_delivery(shards) {
        line += &format!(", {cpu:.2} µs");
    }
    line += &format!(", p50 {}, p99 {}", millis(window.latency.p50), millis(window.latency.p99));
    if let Some(beside) = &window.beside {
        let micros = beside.cpu_per_delivery().unwrap_or_default();
        line += &format!("; floor {micros:.2} µs, p99 {}", millis(beside.latency.p99));
    }
    text.line(&window.name, line);
}

fn of_tally(text: &mut Lines, report: &Report) {
    let tally = &report.tally;
    text.line("deliveries", tally.deliveries.to_string());
    text.line("missing", report.missing.to_string());
    text.line("duplicate", tally.duplicate.to_string());
    text.line("out of order", tally.out_of_order.to_string());
    text.line("foreign", tally.foreign.to_string());
    if tally.merged > 0 {
        text.line("merged", format!("{} versions that a newer one overtook", tally.merged));
    }
    if tally.stale > 0 {
        text.line("stale", format!("said {} times", tally.stale));
    }
    if !tally.closes.is_empty() || tally.lost > 0 || tally.cut > 0 {
        let codes = tally.closes.iter().map(|(code, count)| format!("{count} × {code}"));
        let others = [(tally.lost, "without a word"), (tally.cut, "of those who did not read")];
        let others = others.into_iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}"));
        text.line("ended", codes.chain(others).collect::<Vec<_>>().join(", "));
    }
    if !tally.refused.is_empty() {
        let refused: Vec<String> = tally.refused.iter().map(|(why, count)| format!("{count} × {why}")).collect();
        text.line("refused", refused.join(", "));
    }
}

pub(super) fn curve(curve: &Curve) -> String {
    format!(
        "p50 {}, p99 {}, p99.9 {}, max {}",
        millis(curve.p50),
        millis(curve.p99),
        millis(curve.p999),
        millis(curve.max)
    )
}

pub(super) fn spread(Spread { median, min, max }: Spread, unit: &str) -> String {
    if min == max { format!("{median:.2}{unit}") } else { format!("{median:.2}{unit} ({min:.2}–{max:.2})") }
}

pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}
