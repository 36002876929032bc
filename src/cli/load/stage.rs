//! What every scenario is made of: sessions are opened, events published, a window measured, screens awaited.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    bottleneck::{self, Busy},
    clock::{self, SECOND, nanos},
    crowd::Crowd,
    floor::{self, Round},
    latency::Latencies,
    options::Against,
    plan::Plan,
    process::{self, Usage},
    progress::Progress,
    publisher::{Job, Published, Publisher},
    report::{Beside, Opening, Report, Window},
    worker::Command,
};
use crate::{
    cli::error::CommandError,
    log::kafka::{KafkaClients, topics::Topics},
};

/// Between the command to publish and the first event, so that everybody knows.
const NOTICE: u64 = SECOND / 5;
/// Events flow for so long before a window counts.
const LEAD: u64 = SECOND;
/// Sessions that make no headway for so long do not come any more.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a scenario does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// Somebody asked for what there is.
    Interrupted,
    Failed(CommandError),
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(CommandError::failed(error))
    }
}

/// A run under way.
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) crowd: Crowd,
    pub(super) report: Report,
    pub(super) progress: Progress,
    pub(super) publisher: Publisher,
    floor: Option<floor::Standing>,
    pub(super) clients: KafkaClients,
    interrupted: CancellationToken,
    /// When the process was told to be gone, its figures are no more.
    pub(super) server_is_gone: bool,
}

impl Stage {
    pub(super) fn build(plan: Plan, interrupted: CancellationToken) -> Result<Self, CommandError> {
        let clients = KafkaClients::new(&plan.kafka)?;
        let publisher = Publisher::start(plan.press(), &clients).map_err(CommandError::failed)?;
        let crowd = Crowd::start(&plan.roster, plan.route(), plan.threads).map_err(CommandError::failed)?;
        let report = Report::new(&plan);
        let progress = Progress::new();
        Ok(Self { plan, crowd, report, progress, publisher, floor: None, clients, interrupted, server_is_gone: false })
    }

    /// What the server has used so far; `None` where nobody said which process it is.
    pub(super) fn server(&self) -> Result<Option<Usage>, Stop> {
        if self.plan.pids.is_empty() {
            return Ok(None);
        }
        match process::usage(&self.plan.pids) {
            Ok(usage) => Ok(Some(usage)),
            Err(error) => {
                Err(Stop::Failed(CommandError::Failed(format!("the server is gone, or not to be looked at: {error}"))))
            }
        }
    }

    /// Waits until then, and tells how it goes meanwhile.
    pub(super) async fn pause_until(&mut self, moment: u64) -> Result<(), Stop> {
        while clock::now() < moment {
            let step = clock::until(moment).min(Duration::from_secs(1));
            tokio::select! {
                () = tokio::time::sleep(step) => {}
                () = self.interrupted.cancelled() => return Err(Stop::Interrupted),
            }
            self.tell();
        }
        Ok(())
    }

    /// Waits for the next look, and says once a second how it stands.
    async fn pause(&mut self, told_at: &mut u64) -> Result<(), Stop> {
        if clock::now() > *told_at + SECOND {
            *told_at = clock::now();
            self.tell();
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => Ok(()),
            () = self.interrupted.cancelled() => Err(Stop::Interrupted),
        }
    }

    fn tell(&mut self) {
        let (live, all) = (self.crowd.live(), self.plan.roster.sessions);
        let (sent, deliveries) = (self.publisher.sent(), self.crowd.deliveries());
        self.progress.tell(&format!("{live} of {all} sessions, {sent} events, {deliveries} deliveries"));
    }

    /// Opens every session that is not there and waits for its first snapshot.
    pub(super) async fn open(&mut self, phase: &str, together: bool) -> Result<Opening, Stop> {
        self.progress.phase(phase);
        let (before, begun) = (self.server()?, clock::now());
        let refused_before: u64 = self.crowd.findings().tally.refused.values().sum();
        let a_second = self.plan.connect_rate;
        let together = together && a_second.is_none();
        self.crowd.ask(|| Command::Open { a_second, together });
        let all = u64::from(self.plan.roster.sessions);
        let (mut best, mut best_at) = (0, clock::now());
        let mut told_at = 0;
        while self.crowd.live() < all {
            if self.crowd.live() > best {
                (best, best_at) = (self.crowd.live(), clock::now());
            }
            if clock::until(best_at + nanos(OPEN_TIMEOUT)).is_zero() {
                return Err(Stop::Failed(self.not_opened(all)));
            }
            self.pause(&mut told_at).await?;
        }
        let took = clock::now().saturating_sub(begun);
        let findings = self.crowd.findings();
        let refused = findings.tally.refused.values().sum::<u64>().saturating_sub(refused_before);
        Ok(Opening::new(all, took, before, self.server()?, findings.openings.curve(), refused))
    }

    fn not_opened(&self, all: u64) -> CommandError {
        let live = self.crowd.live();
        let refused = self.crowd.findings().tally.refused;
        let reasons: Vec<String> = refused.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
        let reasons = if reasons.is_empty() { "no answer".to_owned() } else { reasons.join(", ") };
        CommandError::Failed(format!("{} of {all} sessions could not be opened: {reasons}", all - live))
    }

    /// Opens the sessions for the first time. From here on publishing may begin.
    pub(super) async fn begin(&mut self) -> Result<(), Stop> {
        self.refuse_a_topic_that_is_missing().await?;
        let opening = self.open("opening", false).await?;
        self.report.opening = Some(opening);
        if let Some(at) = self.plan.at {
            self.progress.phase("waiting for the beginning");
            self.pause_until(at).await?;
        }
        Ok(())
    }

    async fn refuse_a_topic_that_is_missing(&self) -> Result<(), Stop> {
        let (clients, topic) = (self.clients.clone(), self.plan.kafka.topic.clone());
        let asked = move || Topics::new(&clients).is_missing(&topic);
        if tokio::task::spawn_blocking(asked).await.map_err(CommandError::failed)? {
            let topic = &self.plan.kafka.topic;
            return Err(Stop::Failed(CommandError::Failed(format!("there is no topic {topic}: --topic"))));
        }
        Ok(())
    }

    /// Events at the rate, for so long, which do not count.
    pub(super) async fn warm_up(&mut self) -> Result<(), Stop> {
        if !self.plan.warm_up.is_zero() {
            self.progress.phase("warming up");
            let from = clock::now() + NOTICE;
            let to = from + nanos(self.plan.warm_up);
            self.publish(Job::Scheduled { from, to }).await?;
        }
        self.converge().await.map(drop)
    }

    /// Publishes, and waits until the broker has everything.
    pub(super) async fn publish(&mut self, job: Job) -> Result<Published, Stop> {
        let published = self.publisher.publish(job);
        self.published(published).await
    }

    /// Waits for what is being published.
    pub(super) async fn published(
        &mut self,
        mut published: tokio::sync::oneshot::Receiver<Published>,
    ) -> Result<Published, Stop> {
        loop {
            tokio::select! {
                published = &mut published => {
                    let published = published
                        .map_err(|_| Stop::Failed(CommandError::Failed("the thread that publishes has ended".to_owned())))?;
                    self.report.note_published(&published);
                    return Ok(published);
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => self.tell(),
                () = self.interrupted.cancelled() => return Err(Stop::Interrupted),
            }
        }
    }

    /// Waits until every screen shows what was published and none is stale; says how long it took, or `None` if it is not so
    /// in time.
    pub(super) async fn converge(&mut self) -> Result<Option<Duration>, Stop> {
        self.converge_within(self.plan.settle).await
    }

    pub(super) async fn converge_within(&mut self, settle: Duration) -> Result<Option<Duration>, Stop> {
        let (begun, mut told_at) = (clock::now(), clock::now());
        loop {
            let standing = self.crowd.standing();
            let took = Duration::from_nanos(clock::now().saturating_sub(begun));
            if standing.missing == 0 && standing.stale == 0 {
                return Ok(Some(took));
            }
            if took > settle || standing.live == 0 {
                return Ok(None);
            }
            self.pause(&mut told_at).await?;
        }
    }

    /// Events at the rate, of which those count that are due from a second on, for so long. CPU and deliveries are those
    /// between the same two moments.
    pub(super) async fn window(&mut self, name: &str, seconds: u32) -> Result<Window, Stop> {
        self.progress.phase(name);
        let from = clock::now() + NOTICE;
        let (counts_from, to) = (from + LEAD, from + LEAD + u64::from(seconds) * SECOND);
        self.crowd.ask(|| Command::Window { from: counts_from, to });
        let published = self.publisher.publish(Job::Scheduled { from, to });
        self.pause_until(counts_from).await?;
        let busy = Busy::begin();
        let (at, server) = (clock::now(), self.server()?);
        let (deliveries, reads) = (self.crowd.deliveries(), self.crowd.reads());
        self.pause_until(to).await?;
        let (server_after, took) = (self.server()?, clock::now().saturating_sub(at));
        let (deliveries, reads) = (self.crowd.deliveries() - deliveries, self.crowd.reads() - reads);
        let share = busy.end();
        let published = self.published(published).await?;
        // What is still missing at the end is told then.
        self.converge().await?;
        let findings = self.crowd.findings();
        let schedule = &self.plan.schedule;
        let due = (schedule.before(to - from) - schedule.before(LEAD)) * u64::from(self.plan.roster.viewers);
        let window = Window {
            name: name.to_owned(),
            seconds: took as f64 / SECOND as f64,
            due,
            deliveries,
            reads,
            cpu_micros: server.zip(server_after).map(|(before, after)| after.cpu_micros - before.cpu_micros),
            resident_kib: server_after.map(|usage| usage.resident_kib),
            latency: findings.latencies.curve(),
            acknowledged: published.acknowledged.curve(),
            lateness: published.lateness.curve(),
            busy: share,
            beside: None,
        };
        let doubts = bottleneck::doubts(share, &window.lateness, self.crowd.held(), findings.latencies.count());
        self.report.note_window(&findings.latencies, &published, doubts.iter().map(|doubt| format!("{name}: {doubt}")));
        Ok(window)
    }

    /// The same of the raw floor, where it was asked for.
    pub(super) async fn beside(&mut self, name: &str, seconds: u32) -> Result<Option<Beside>, Stop> {
        if self.plan.against != Some(Against::Floor) {
            return Ok(None);
        }
        let Some(text) = self.crowd.sample().and_then(|text| String::from_utf8(text).ok()) else {
            return Err(Stop::Failed(CommandError::Failed(
                "no update has come that the floor could repeat".to_owned(),
            )));
        };
        let mut floor = match self.floor.take() {
            Some(floor) => floor,
            None => self.start_floor().await?,
        };
        self.progress.phase(name);
        let from = clock::now() + NOTICE;
        let (counts_from, to) = (from + LEAD, from + LEAD + u64::from(seconds) * SECOND);
        let rate = self.plan.schedule.rate * f64::from(self.plan.roster.viewers);
        let round = Round { from, to, counts_from, rate, text };
        floor.begin(&round).await?;
        self.pause_until(counts_from).await?;
        let before = floor.cpu_micros()?;
        self.pause_until(to).await?;
        let cpu_micros = floor.cpu_micros()? - before;
        let outcome = floor.end().await?;
        self.floor = Some(floor);
        let latencies: &Latencies = &outcome.latencies;
        let doubts = bottleneck::doubts(
            bottleneck::Share { reading: outcome.busy, publishing: 0.0 },
            &Default::default(),
            0,
            latencies.count(),
        );
        self.report.note_floor(latencies, doubts.iter().map(|doubt| format!("{name}: {doubt}")));
        Ok(Some(Beside { deliveries: latencies.count(), cpu_micros, latency: latencies.curve() }))
    }

    async fn start_floor(&mut self) -> Result<floor::Standing, Stop> {
        self.progress.phase("opening the raw floor");
        self.tell();
        let pid = self.plan.pids.first().map(u32::to_string).unwrap_or_default();
        let cores = process::cores(&pid).filter(|cores| process::cores("self").as_ref() != Some(cores));
        let (sessions, threads) = (self.plan.roster.sessions, self.plan.threads);
        let standing = floor::Standing::start(sessions, threads, &self.plan.sources, cores.as_deref());
        tokio::select! {
            standing = standing => Ok(standing?),
            () = self.interrupted.cancelled() => Err(Stop::Interrupted),
        }
    }

    /// The report of a run that came to its end.
    pub(super) async fn close(&mut self) -> Report {
        self.progress.end();
        let (findings, standing) = (self.crowd.findings(), self.crowd.standing());
        if !self.server_is_gone
            && let Ok(server) = self.server()
        {
            self.report.resident_kib_after = server.map(|usage| usage.resident_kib);
        }
        self.report.finish(findings.tally, standing);
        self.report.clone()
    }

    /// The report of what there is. What is on its way is given a moment.
    pub(super) async fn close_early(&mut self) -> Report {
        self.publisher.cut_short();
        self.interrupted = CancellationToken::new();
        self.report.interrupted = true;
        // It is told as it is, complete or not.
        let _ = self.converge_within(self.plan.settle.min(Duration::from_secs(5))).await;
        self.close().await
    }

    /// Lets all sessions go, and erases what was published.
    pub(super) async fn leave(&mut self) -> Result<(), CommandError> {
        self.floor = None;
        self.crowd.ask(|| Command::Leave);
        if self.plan.keep || self.publisher.sent() == 0 {
            return Ok(());
        }
        self.publisher.cut_short();
        self.progress.phase("erasing");
        self.progress.tell("its orders, by tombstones");
        let erased = self.publisher.publish(Job::Erasing).await;
        self.progress.end();
        match erased {
            Ok(Published { failed: 0, .. }) => Ok(()),
            Ok(Published { failed, sent, failure, .. }) => Err(CommandError::Failed(format!(
                "{failed} of {sent} orders could not be erased: {}",
                failure.unwrap_or_default()
            ))),
            Err(_) => Err(CommandError::Failed("its orders could not be erased".to_owned())),
        }
    }
}
