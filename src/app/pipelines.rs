//! The pipelines between Kafka, SQL and the hub, as one thing to start and to stop.

use std::{sync::Arc, time::Instant};

use futures_util::future::select_all;
use tokio::sync::watch;

use super::{App, RunError};
use crate::{
    config,
    control::{self, ControlDependencies, ControlWriter},
    domain::{Halts, Timestamp},
    fanout,
    hub::Hub,
    log::{
        Policies,
        hand_over::{self, Giver, Taker},
        kafka::{KafkaClients, log_ends, log_watch},
        progress::ProgressViews,
        view::{LogViews, LookNow},
    },
    protocol::{StaleReasons, Staleness},
    recorder::{
        self,
        cleaning::{self, CleaningDependencies},
        coverage,
    },
    runtime::Component,
    snapshots::{self, ReadsInFlight, audits, progress},
};

/// Components in the order in which they are stopped, each with what feeds it stopped before.
pub(super) struct Pipelines {
    components: Vec<Component>,
}

impl Pipelines {
    pub(super) fn start(
        app: &App,
        clients: KafkaClients,
        control_writer: Arc<ControlWriter>,
    ) -> Result<Self, RunError> {
        let (kafka, runs) = (&app.settings.kafka, app.settings.pipelines);
        let reads = Arc::<ReadsInFlight>::default();
        let (log_watch, log, look_now) = log_watch::start(&clients, kafka)?;
        let (progress, progress_views) = progress::start(progress::ProgressDependencies {
            store: app.store.clone(),
            topic: kafka.topic.clone(),
            hub: app.hub.clone(),
            reads: reads.clone(),
            tail_grace: app.settings.hub.tail_grace,
            records: runs.record,
        });
        let recording = coverage::start(coverage::CoverageDependencies {
            clients: clients.clone(),
            topic: kafka.topic.clone(),
            group_id: kafka.group_id.clone(),
            session_timeout: kafka.session_timeout,
            log: log.clone(),
            progress: progress_views.clone(),
            metrics: app.metrics.clone(),
        });
        let views = Views { log, progress: progress_views };
        let (halts, halts_seen) = watch::channel(Halts::new());
        let (giver, taker) = hand_over::channel();
        let record = match runs.record {
            true => Some(Record::start(app, &clients, &views, look_now, (taker, halts))?),
            false => None,
        };
        let push = match runs.push {
            true => Some(Push::start(app, clients, control_writer, &views, (giver, halts_seen), reads)?),
            false => None,
        };
        let status = match &push {
            Some(push) => {
                let heard = listen(push.status.clone(), push.control_read.clone(), views.progress, app);
                Component::task("status", |stop| async move { _ = stop.run_until_cancelled(heard).await })
            }
            None => {
                let heard = listen_to_views(views, app);
                Component::task("status", |stop| async move { _ = stop.run_until_cancelled(heard).await })
            }
        };
        app.metrics.runs(runs.push, runs.record);
        let (cleaning, recorder) = record.map_or((None, None), |record| (record.cleaning, Some(record.recorder)));
        let (before, after, log_ends) = match push {
            Some(push) => (Some(push.before_recorder), Some(push.snapshots), Some(push.log_ends)),
            None => (None, None, None),
        };
        let components = cleaning
            .into_iter()
            .chain([status, recording])
            .chain(before.into_iter().flatten())
            .chain(recorder.into_iter().flatten())
            .chain(after)
            .chain([progress])
            .chain(log_ends)
            .chain([log_watch]);
        Ok(Self { components: components.collect() })
    }

    /// Waits until a component ends that nobody has asked to, and names it. Cancel safe.
    pub(super) async fn ended_early(&self) -> &'static str {
        let (_, index, _) = select_all(self.components.iter().map(|component| Box::pin(component.ended()))).await;
        self.components[index].name()
    }

    /// Stops everything; what has not ended by the deadline is named and left.
    pub(super) async fn stop(self, deadline: Instant) {
        for component in self.components {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(overdue) = component.stop(left).await {
                tracing::warn!(%overdue, "gave up waiting");
            }
        }
    }
}

/// What is seen of the log and of what is recorded, whatever an instance runs.
struct Views {
    log: LogViews,
    progress: ProgressViews,
}

/// What stores events.
struct Record {
    cleaning: Option<Component>,
    /// The thread that reads, then the task that writes.
    recorder: [Component; 2],
}

impl Record {
    fn start(
        app: &App,
        clients: &KafkaClients,
        views: &Views,
        look_now: LookNow,
        (taker, halts): (Taker, watch::Sender<Halts>),
    ) -> Result<Self, RunError> {
        let kafka = &app.settings.kafka;
        let (writer, thread) = recorder::start(
            recorder::RecorderDependencies {
                clients: clients.clone(),
                topic: kafka.topic.clone(),
                dead_letter_topic: kafka.dead_letter_topic.clone(),
                group_id: kafka.group_id.clone(),
                decoder: app.decoder.clone(),
                store: app.store.clone(),
                log: views.log.clone(),
                look_now,
                progress: views.progress.clone(),
                policies: policies(kafka),
                version_jump: app.settings.event.version_jump,
                stale_after: kafka.stale_after,
                metrics: app.metrics.clone(),
            },
            taker,
            halts,
        )?;
        let cleaning = app.settings.lifecycle.erase_after.map(|age| {
            cleaning::start(CleaningDependencies {
                store: app.store.clone(),
                lifecycle: app.decoder.lifecycle().clone(),
                age,
                metrics: app.metrics.clone(),
            })
        });
        Ok(Self { cleaning, recorder: [thread, writer] })
    }
}

/// What shows events to viewers.
struct Push {
    status: fanout::FanoutStatus,
    control_read: watch::Receiver<bool>,
    /// What is stopped before the recorder is.
    before_recorder: [Component; 4],
    snapshots: Component,
    log_ends: Component,
}

impl Push {
    fn start(
        app: &App,
        clients: KafkaClients,
        control_writer: Arc<ControlWriter>,
        views: &Views,
        (giver, halts): (Giver, watch::Receiver<Halts>),
        reads: Arc<ReadsInFlight>,
    ) -> Result<Self, RunError> {
        let (kafka, session) = (&app.settings.kafka, &app.settings.session);
        let (log_ends, ends) = log_ends::start(&clients, kafka)?;
        let ([control, control_sweep], control_read) = control::start(ControlDependencies {
            clients: clients.clone(),
            topic: kafka.control_topic.clone(),
            revocations: app.revocations.clone(),
            hub: app.hub.clone(),
            writer: control_writer,
            metrics: app.metrics.control.clone(),
        })?;
        let (fanout, status) = fanout::start(
            fanout::FanoutDependencies {
                clients,
                topic: kafka.topic.clone(),
                decoder: app.decoder.clone(),
                hub: app.hub.clone(),
                log: views.log.clone(),
                ends,
                progress: views.progress.clone(),
                halts,
                policies: policies(kafka),
                tail_bytes: app.settings.hub.tail_bytes,
                stale_after: kafka.stale_after,
                metrics: app.metrics.clone(),
            },
            giver,
        )?;
        let snapshots = snapshots::start(snapshots::SnapshotDependencies {
            store: app.store.clone(),
            topic: kafka.topic.clone(),
            hub: app.hub.clone(),
            reads,
            lifecycle: app.decoder.lifecycle().clone(),
            max_orders: session.max_orders,
            terminal_window: session.terminal_window,
            snapshot_timeout: session.snapshot_timeout,
            metrics: app.metrics.snapshots.clone(),
        });
        let audits = audits::start(app.hub.clone(), session.audits_per_second);
        let before_recorder = [control_sweep, control, audits, fanout];
        Ok(Self { status, control_read, before_recorder, snapshots, log_ends })
    }
}

fn policies(kafka: &config::Kafka) -> Policies {
    Policies { on_gap: kafka.on_log_gap, on_regression: kafka.on_log_regression }
}

/// Passes on what the pipelines say about this instance: to health, metrics and every open session.
fn listen(
    status: fanout::FanoutStatus,
    control_read: watch::Receiver<bool>,
    progress: ProgressViews,
    app: &App,
) -> impl Future<Output = ()> + use<> {
    let (hub, metrics) = (app.hub.clone(), app.metrics.sessions.clone());
    let (ready, staleness) = (app.status.ready.clone(), app.status.staleness.clone());
    let progress_read_at = app.status.progress_read_at.clone();
    let fanout::FanoutStatus { ready: mut is_ready, staleness: mut is_fresh } = status;
    let (mut progress, mut control_read) = (progress, control_read);
    async move {
        loop {
            tokio::select! {
                Ok(()) = is_ready.changed() => become_ready(&ready, &is_ready, &control_read),
                Ok(()) = control_read.changed() => become_ready(&ready, &is_ready, &control_read),
                Ok(()) = is_fresh.changed() => {
                    let now = *is_fresh.borrow_and_update();
                    metrics.set_stale(now.reasons);
                    staleness.send_replace(now);
                    hub.step(Hub::nudge_all);
                }
                Ok(()) = progress.changed() => {
                    progress_read_at.send_replace(progress.borrow_and_update().as_ref().map(|view| view.read_at));
                }
                else => return,
            }
        }
    }
}

/// The same of an instance that only records, which shows nothing that could be stale. It is ready when it has seen the log and
/// what is recorded of it; whether it is given a partition is for the group to say.
fn listen_to_views(views: Views, app: &App) -> impl Future<Output = ()> + use<> {
    let Views { mut log, mut progress } = views;
    let (ready, staleness) = (app.status.ready.clone(), app.status.staleness.clone());
    let progress_read_at = app.status.progress_read_at.clone();
    staleness.send_replace(Staleness { reasons: StaleReasons::NONE, since: Timestamp::now() });
    async move {
        loop {
            let read_at = progress.borrow_and_update().as_ref().map(|view| view.read_at);
            progress_read_at.send_replace(read_at);
            if log.borrow_and_update().is_some() && read_at.is_some() {
                tell_ready(&ready);
            }
            tokio::select! {
                Ok(()) = log.changed() => {}
                Ok(()) = progress.changed() => {}
                else => return,
            }
        }
    }
}

/// A latch: what is shown has caught up with the log, and what is revoked is known.
fn become_ready(ready: &watch::Sender<bool>, caught_up: &watch::Receiver<bool>, control_read: &watch::Receiver<bool>) {
    if *caught_up.borrow() && *control_read.borrow() {
        tell_ready(ready);
    }
}

fn tell_ready(ready: &watch::Sender<bool>) {
    if !ready.send_replace(true) {
        tracing::info!("ready");
    }
}
