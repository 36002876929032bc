//! The report as one page, with nothing from elsewhere: no script, no font, no picture.

use std::fmt::Write;

use super::{Report, chart, millis, text};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn of(report: &Report) -> String {
    let title = format!("ordercast load {}: {} sessions", report.scenario, report.sessions);
    let verdict = if !report.faults.is_empty() {
        "<p class=\"bad\">Something was wrong.</p>"
    } else if report.interrupted {
        "<p class=\"doubt\">Interrupted before its end.</p>"
    } else {
        "<p class=\"good\">Nothing missing, double, out of order or foreign.</p>"
    };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>\
         <h1>{title}</h1><p class=\"when\">{}, Ordercast {}</p>{verdict}",
        report.date, report.version
    );
    list(&mut page, "bad", &report.faults);
    let doubts: Vec<String> =
        report.doubts.iter().map(|doubt| format!("Latencies not to be trusted: {doubt}")).collect();
    list(&mut page, "doubt", &doubts);
    cards(&mut page, report);
    curves(&mut page, report);
    rounds(&mut page, report);
    let _ = write!(page, "<h2>All figures</h2><pre>{}</pre>", escaped(&text::of(report)));
    let _ = write!(page, "<h2>Command</h2><pre>{}</pre></main></body></html>", escaped(&report.command));
    page
}

fn list(page: &mut String, class: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = write!(page, "<ul class=\"{class}\">");
    items.iter().for_each(|item| *page += &format!("<li>{}</li>", escaped(item)));
    *page += "</ul>";
}

fn cards(page: &mut String, report: &Report) {
    let mut cards: Vec<(String, String)> = vec![("deliveries".to_owned(), report.tally.deliveries.to_string())];
    if let Some(cpu) = report.cpu_per_delivery {
        cards.push(("CPU a delivery".to_owned(), text::spread(cpu, " µs")));
    }
    if let Some(ratio) = report.cpu_ratio {
        cards.push(("times the floor".to_owned(), text::spread(ratio, " ×")));
    }
    if report.latency.count > 0 {
        cards.push(("p50".to_owned(), millis(report.latency.p50)));
        cards.push(("p99".to_owned(), millis(report.latency.p99)));
    }
    if let Some(opening) = &report.opening {
        if let Some(kib) = opening.kib_per_session {
            cards.push(("memory a session".to_owned(), format!("{kib:.2} KiB")));
        }
        if let Some(cpu) = opening.cpu_micros_per_session {
            cards.push(("CPU to open one".to_owned(), format!("{cpu:.1} µs")));
        }
    }
    for figure in &report.figures {
        cards.push((figure.label(), format!("{} {}", text::number(figure.value), figure.unit)));
    }
    *page += "<dl class=\"cards\">";
    for (name, value) in cards {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    *page += "</dl>";
}

fn curves(page: &mut String, report: &Report) {
    let mut curves = Vec::new();
    if report.latency.count > 0 {
        curves.push(("from due to the client", &report.latency));
        curves.push(("of it until the broker has it", &report.acknowledged));
    }
    if let Some(floor) = &report.floor_latency {
        curves.push(("raw floor", floor));
    }
    let opening = report.storms.last().or(report.opening.as_ref()).filter(|_| curves.is_empty());
    if let Some(opening) = opening {
        curves.push(("from connecting to the first snapshot", &opening.snapshot));
    }
    if !curves.is_empty() {
        let _ = write!(page, "<h2>Latency</h2><div class=\"scroll\">{}</div>", chart::of(&curves));
    }
}

fn rounds(page: &mut String, report: &Report) {
    if report.rounds.is_empty() {
        return;
    }
    *page += "<h2>Rounds</h2><div class=\"scroll\"><table><thead><tr><th>round</th><th>deliveries</th><th>a second</th>\
              <th>CPU each</th><th>memory</th><th>p50</th><th>p99</th><th>floor: CPU each</th><th>p99</th></tr></thead><tbody>";
    for window in &report.rounds {
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let cpu = window.cpu_per_delivery(f64::from(report.shard.1)).map(|micros| format!("{micros:.2} µs"));
        let memory = window.resident_kib.map(|kib| format!("{:.1} MiB", kib as f64 / 1024.0));
        let beside = window.beside.as_ref();
        let floor = beside.and_then(|beside| beside.cpu_per_delivery()).map(|micros| format!("{micros:.2} µs"));
        let cells = [
            escaped(&window.name),
            window.deliveries.to_string(),
            format!("{:.0}", window.a_second()),
            or_none(cpu),
            or_none(memory),
            millis(window.latency.p50),
            millis(window.latency.p99),
            or_none(floor),
            or_none(beside.map(|beside| millis(beside.latency.p99))),
        ];
        *page += "<tr>";
        cells.iter().for_each(|cell| *page += &format!("<td>{cell}</td>"));
        *page += "</tr>";
    }
    *page += "</tbody></table></div>";
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_line_holds_is_text() {
        assert_eq!(escaped("--json \"<a>&b\""), "--json &quot;&lt;a&gt;&amp;b&quot;");
    }
}
