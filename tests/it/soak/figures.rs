//! What an instance takes, measured every second, told every round, judged at the end.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{Field, hostile::Tally};
use crate::world::{Instance, scrape, value_of};

const EVERY: Duration = Duration::from_secs(1);

pub struct Figures {
    begun: Instant,
    /// File handles of each instance before the load.
    pub idle: [usize; 2],
    samples: Arc<Mutex<Vec<[Sample; 2]>>>,
    rounds: Vec<Round>,
}

pub struct Round {
    pub events: usize,
    pub connections: usize,
    pub missed: usize,
    pub settled_in: Duration,
}

#[derive(Clone, Copy)]
struct Sample {
    resident_kib: usize,
    handles: usize,
    threads: usize,
    sessions: usize,
}

impl Sample {
    /// `None` where this machine was too busy to ask in time.
    async fn take(instance: &Instance) -> Option<Self> {
        let sessions = value_of(&scrape(instance.operations).await.ok()?, "ordercast_sessions_open")?;
        Some(Self {
            resident_kib: instance.resident_bytes() / 1024,
            handles: instance.handles(),
            threads: instance.threads(),
            sessions: sessions as usize,
        })
    }
}

impl Figures {
    /// How many more file handles than before the load an instance may keep after it: connections to brokers and database.
    pub const MORE_HANDLES: usize = 24;
    /// How much more of each an instance may hold in the last quarter than in the one before, by the median: a twentieth of the
    /// memory and 4 MiB, and what chance does to the number of sessions.
    const MORE_RESIDENT_KIB: usize = 4096;
    const MORE_SESSIONS: usize = 32;
    const MORE_THREADS: usize = 2;

    pub fn begin(field: &Field) -> Self {
        let idle = field.instances.each_ref().map(Instance::handles);
        Self { begun: Instant::now(), idle, samples: Arc::default(), rounds: Vec::new() }
    }

    /// Measures until it is told to stop.
    pub fn sample(&self, field: &Arc<Field>) -> CancellationToken {
        let (stop, samples, field) = (CancellationToken::new(), self.samples.clone(), Arc::downgrade(field));
        let stopped = stop.clone();
        tokio::spawn(async move {
            while stopped.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                let Some(field) = field.upgrade() else { return };
                let [one, two] = &field.instances;
                if let (Some(one), Some(two)) = (Sample::take(one).await, Sample::take(two).await) {
                    samples.lock().unwrap().push([one, two]);
                }
            }
        });
        stop
    }

    pub fn end_round(&mut self, round: Round) {
        let seconds = self.begun.elapsed().as_secs();
        eprintln!(
            "{:>3}:{:02}  {} events, {} connections of the crowd, missed {}, all true after {:.1} s",
            seconds / 60,
            seconds % 60,
            round.events,
            round.connections,
            round.missed,
            round.settled_in.as_secs_f64(),
        );
        let samples = self.samples.lock().unwrap().clone();
        let of_round = &samples[samples.len().saturating_sub(60)..];
        for (number, name) in ["one", "two"].iter().enumerate() {
            eprintln!("        {name}: {}", told(of_round, number));
        }
        self.rounds.push(round);
    }

    /// Tells all of it; what is wrong with it is the answer.
    pub fn report(&self, tally: &Tally, refreshes: u64, is_judged: bool) -> Vec<String> {
        let samples = self.samples.lock().unwrap().clone();
        let (_, second) = samples.split_at(samples.len() / 2);
        let (third, last) = second.split_at(second.len() / 2);
        let mut wrong = Vec::new();
        for (number, name) in ["one", "two"].iter().enumerate() {
            eprintln!("{name}, third quarter: {}\n     last quarter:  {}", told(third, number), told(last, number));
            let mut judge = |what: &str, figure: fn(&Sample) -> usize, more: usize| {
                let (before, after) = (median(third, number, figure), median(last, number, figure));
                if is_judged && after > before + more {
                    wrong.push(format!("{name}: {what} grew from {before} to {after}, by more than {more}"));
                }
            };
            let resident = median(third, number, |sample| sample.resident_kib);
            judge("resident memory (KiB)", |sample| sample.resident_kib, resident / 20 + Self::MORE_RESIDENT_KIB);
            judge("file handles", |sample| sample.handles, Self::MORE_SESSIONS);
            judge("threads", |sample| sample.threads, Self::MORE_THREADS);
            judge("sessions", |sample| sample.sessions, Self::MORE_SESSIONS);
        }
        if !is_judged {
            eprintln!("too short to say whether anything grows");
        }
        let missed: usize = self.rounds.iter().map(|round| round.missed).sum();
        let asked = self.rounds.len() * (super::CROWD + super::WATCHERS);
        eprintln!(
            "{asked} times a good screen was compared with the truth: {missed} missed; {refreshes} tokens renewed"
        );
        eprint!("{tally}");
        if missed > 0 {
            wrong.push(format!("{missed} screens missed something"));
        }
        wrong.extend(tally.wrong());
        wrong
    }
}

fn told(samples: &[[Sample; 2]], number: usize) -> String {
    let figure = |figure| median(samples, number, figure);
    format!(
        "{:.1} MiB resident, {} file handles, {} threads, {} sessions",
        figure(|sample| sample.resident_kib) as f64 / 1024.0,
        figure(|sample| sample.handles),
        figure(|sample| sample.threads),
        figure(|sample| sample.sessions),
    )
}

fn median(samples: &[[Sample; 2]], number: usize, figure: fn(&Sample) -> usize) -> usize {
    let mut figures: Vec<usize> = samples.iter().map(|pair| figure(&pair[number])).collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
