//! What a run found, for people, for programs, and as a page.

mod chart;
mod html;
mod opening;
mod text;
mod window;

use std::{fs, path::Path, time::Duration};

use serde::Serialize;

pub(super) use opening::Opening;
pub(super) use window::{Beside, Spread, Window};

use super::{
    latency::{Curve, Latencies},
    machine::Machine,
    options::Scenario,
    plan::Plan,
    publisher::Published,
    tally::{Standing, Tally},
};
use crate::{cli::error::CommandError, domain::Timestamp};

/// Of `--json`: raised when a name in it changes its meaning.
const FORMAT: u32 = 1;

/// The report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) format: u32,
    pub(super) scenario: String,
    pub(super) run: String,
    pub(super) command: String,
    pub(super) date: Timestamp,
    pub(super) version: &'static str,
    pub(super) machine: Machine,
    /// Part, and of how many.
    pub(super) shard: (u32, u32),
    /// Of this process.
    pub(super) sessions: u32,
    pub(super) orders_per_session: u32,
    pub(super) viewers: u32,
    /// Of all shards.
    pub(super) rate: f64,
    pub(super) opening: Option<Opening>,
    pub(super) rounds: Vec<Window>,
    /// How they came back, time after time.
    pub(super) storms: Vec<Opening>,
    /// Microseconds of the server's CPU.
    pub(super) cpu_per_delivery: Option<Spread>,
    pub(super) floor_cpu_per_delivery: Option<Spread>,
    pub(super) cpu_ratio: Option<Spread>,
    pub(super) p99_ratio: Option<Spread>,
    /// From the moment an event was due to the moment its update was read, in microseconds: of all rounds together.
    pub(super) latency: Curve,
    /// From the moment an event was due until the broker had it.
    pub(super) acknowledged: Curve,
    pub(super) floor_latency: Option<Curve>,
    /// What only this scenario tells, by name.
    #[serde(serialize_with = "by_name")]
    pub(super) figures: Vec<Figure>,
    pub(super) resident_kib_after: Option<u64>,
    pub(super) published: u64,
    pub(super) publish_failed: u64,
    pub(super) missing: u64,
    pub(super) tally: Tally,
    pub(super) interrupted: bool,
    /// What was wrong.
    pub(super) faults: Vec<String>,
    /// Why latencies are not to be trusted.
    pub(super) doubts: Vec<String>,
    /// How many sessions are to end, in whatever way that is right.
    #[serde(skip)]
    pub(super) expects_ends: bool,
    #[serde(skip)]
    failure: Option<String>,
    #[serde(skip)]
    all: Latencies,
    #[serde(skip)]
    all_acknowledged: Latencies,
    #[serde(skip)]
    all_floor: Latencies,
}

/// A number with a name for programs, and its unit for people.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    name: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

impl Figure {
    /// The name for people.
    pub(super) fn label(&self) -> String {
        self.name.replace('_', " ")
    }
}

fn by_name<S: serde::Serializer>(figures: &[Figure], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().map(|figure| (figure.name, figure.value)))
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        let scenario = match plan.scenario {
            Scenario::Steady => "steady",
            Scenario::Burst => "burst",
            Scenario::Storm => "storm",
            Scenario::Stall => "stall",
            Scenario::Drain => "drain",
            Scenario::Idle => "idle",
            Scenario::Backlog => "backlog",
        };
        Self {
            format: FORMAT,
            scenario: scenario.to_owned(),
            run: plan.run.clone(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            date: Timestamp::now(),
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::this(),
            shard: (plan.schedule.shard + 1, plan.schedule.shards),
            sessions: plan.roster.sessions,
            orders_per_session: plan.roster.orders,
            viewers: plan.roster.viewers,
            rate: plan.schedule.rate,
            opening: None,
            rounds: Vec::new(),
            storms: Vec::new(),
            cpu_per_delivery: None,
            floor_cpu_per_delivery: None,
            cpu_ratio: None,
            p99_ratio: None,
            latency: Curve::default(),
            acknowledged: Curve::default(),
            floor_latency: None,
            figures: Vec::new(),
            resident_kib_after: None,
            published: 0,
            publish_failed: 0,
            missing: 0,
            tally: Tally::default(),
            interrupted: false,
            faults: Vec::new(),
            doubts: Vec::new(),
            expects_ends: false,
            failure: None,
            all: Latencies::new(),
            all_acknowledged: Latencies::new(),
            all_floor: Latencies::new(),
        }
    }

    pub(super) fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    pub(super) fn note_published(&mut self, published: &Published) {
        self.published += published.sent;
        self.publish_failed += published.failed;
        if published.failure.is_some() {
            self.failure.clone_from(&published.failure);
        }
    }

    /// A window is over.
    pub(super) fn note_window(
        &mut self,
        latencies: &Latencies,
        published: &Published,
        doubts: impl Iterator<Item = String>,
    ) {
        self.all.add(latencies);
        self.all_acknowledged.add(&published.acknowledged);
        self.doubts.extend(doubts);
    }

    /// A round of the floor is over.
    pub(super) fn note_floor(&mut self, latencies: &Latencies, doubts: impl Iterator<Item = String>) {
        self.all_floor.add(latencies);
        self.doubts.extend(doubts);
    }

    /// Sums up.
    pub(super) fn finish(&mut self, tally: Tally, standing: Standing) {
        (self.tally, self.missing) = (tally, standing.missing);
        self.latency = self.all.curve();
        self.acknowledged = self.all_acknowledged.curve();
        self.floor_latency = Some(self.all_floor.curve()).filter(|curve| curve.count > 0);
        let spread = |of: &dyn Fn(&Window) -> Option<f64>| Spread::of(self.rounds.iter().filter_map(of).collect());
        let shards = f64::from(self.shard.1);
        (self.cpu_per_delivery, self.floor_cpu_per_delivery, self.cpu_ratio, self.p99_ratio) = (
            spread(&|window| window.cpu_per_delivery(shards)),
            spread(&|window| window.beside.as_ref()?.cpu_per_delivery()),
            spread(&|window| window.cpu_ratio()),
            spread(&|window| window.p99_ratio()),
        );
        let faults = self.faults_of_the_tally(standing);
        self.faults.extend(faults);
    }

    fn faults_of_the_tally(&self, standing: Standing) -> Vec<String> {
        let tally = &self.tally;
        let mut faults = Vec::new();
        let mut fault = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        let why = self.failure.as_deref().map_or(String::new(), |failure| format!(": {failure}"));
        fault(self.publish_failed, &format!("events did not get into the log{why}"));
        if !self.expects_ends {
            fault(self.missing, "versions were published and are not shown");
            fault(standing.stale, "sessions say at the end that they may be stale");
            fault(tally.lost, "sessions ended without a word");
            let closes: u64 = tally.closes.values().sum();
            let codes: Vec<String> = tally.closes.keys().map(u16::to_string).collect();
            fault(closes, &format!("sessions were closed, with {}", codes.join(", ")));
        }
        fault(tally.duplicate, "updates came twice");
        fault(tally.out_of_order, "updates were out of order");
        fault(tally.foreign, "orders were shown to somebody they do not name");
        fault(tally.unreadable, "messages could not be read");
        faults
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("its keys are strings, and writing to memory succeeds")
    }

    pub(super) fn text(&self) -> String {
        text::of(self)
    }

    pub(super) fn html(&self) -> String {
        html::of(self)
    }
}

/// Writes a report where an argument says.
pub(super) fn write(file: &Path, what: &str, argument: &str) -> Result<(), CommandError> {
    fs::write(file, what).map_err(|error| CommandError::Failed(format!("{argument} {}: {error}", file.display())))
}

/// As people read it.
pub(super) fn millis(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1e3)
}

/// As people read it.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
