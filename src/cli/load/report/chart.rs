//! Latency curves as a picture: quantiles by their nines, times by their magnitude. Inline SVG, no script.

use std::fmt::Write;

use super::millis;
use crate::cli::load::latency::Curve;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 36.0;
/// Quantile 1 − 10^−nines; and its name.
const TICKS: [(f64, &str); 5] = [(0.301, "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99")];
const FROM_NINES: f64 = 0.301;
const TO_NINES: f64 = 4.0;

/// Some curves by their names, in the order of their colours.
pub(super) fn of(curves: &[(&str, &Curve)]) -> String {
    let points: Vec<Vec<(f64, u64)>> = curves.iter().map(|(_, curve)| seen(curve)).collect();
    let all = || points.iter().flatten().map(|(_, micros)| (*micros).max(1));
    let (least, most) = (all().min().unwrap_or(1) as f64, all().max().unwrap_or(10) as f64);
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let x = |nines: f64| LEFT + (nines - FROM_NINES) / (TO_NINES - FROM_NINES) * (WIDTH - LEFT - RIGHT);
    let y = |micros: f64| HEIGHT - BOTTOM - (micros.max(1.0).log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let names: Vec<&str> = curves.iter().map(|(name, _)| *name).collect();
    let mut svg = format!(
        "<svg class=\"curves\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Latency by quantile: {}\">",
        names.join(", ")
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for power in low as i32..=high as i32 {
        let at = y(10f64.powi(power));
        let label = millis_short(10f64.powi(power));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (nines, name) in TICKS {
        let at = x(nines);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name} %</text>",
            HEIGHT - 12.0
        );
    }
    for (number, points) in points.iter().enumerate() {
        let line: Vec<String> =
            points.iter().map(|(nines, micros)| format!("{:.1},{:.1}", x(*nines), y(*micros as f64))).collect();
        let _ = write!(svg, "<polyline class=\"curve c{number}\" points=\"{}\"/>", line.join(" "));
    }
    svg += "</svg><ul class=\"legend\">";
    for (number, (name, curve)) in curves.iter().enumerate() {
        let _ =
            write!(svg, "<li class=\"c{number}\">{name}: p50 {}, p99 {}</li>", millis(curve.p50), millis(curve.p99));
    }
    svg + "</ul>"
}

/// The points of a curve from the median on.
fn seen(curve: &Curve) -> Vec<(f64, u64)> {
    let median = (FROM_NINES, curve.p50);
    let rest = curve.points.iter().map(|(quantile, micros)| (-(1.0 - quantile).log10(), *micros));
    std::iter::once(median).chain(rest.filter(|(nines, _)| *nines > FROM_NINES && *nines <= TO_NINES + 1e-6)).collect()
}

fn millis_short(micros: f64) -> String {
    if micros >= 1e6 {
        format!("{} s", micros / 1e6)
    } else if micros >= 1e3 {
        format!("{} ms", micros / 1e3)
    } else {
        format!("{micros} µs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::latency::Latencies;

    #[test]
    fn a_curve_goes_from_the_median_to_the_fourth_nine_within_the_picture() {
        let mut latencies = Latencies::new();
        (1..=20_000u64).for_each(|micros| latencies.note(0, micros * 1_000));
        let svg = of(&[("to the client", &latencies.curve()), ("floor", &Curve::default())]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(f64, f64)> = points
            .split(' ')
            .map(|point| point.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
            .collect();
        assert!(points.len() > 30 && points.is_sorted_by_key(|(x, _)| *x), "{points:?}");
        assert!(
            points.iter().all(|(x, y)| (LEFT - 0.1..=WIDTH).contains(x) && (0.0..=HEIGHT).contains(y)),
            "{points:?}"
        );
        assert!((points[0].0 - LEFT).abs() < 0.2 && points.last().unwrap().0 > WIDTH - RIGHT - 1.0, "{points:?}");
    }
}
