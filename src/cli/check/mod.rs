//! `ordercast check`: does every screen of this deployment end at the truth? Publishes synthetic orders for synthetic
//! users, watches them through sessions of its own, which it disturbs, and compares.

mod audit;
mod board;
mod plan;
mod report;
mod run;
mod viewer;

use std::{sync::Arc, time::Duration};

use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;
use url::Url;

use super::{
    block_on,
    context::Context,
    error::CommandError,
    event,
    output::{print, say},
    signals::Signals,
    watch::websocket_url,
};
use crate::{
    auth::{Grant, Signer},
    config::{Need, Settings, parse_broker},
    domain::{Timestamp, UserId},
    log::kafka::{KafkaClients, producer::Producer},
};
use audit::Audit;
use board::Board;
use plan::{Kind, Plan};
use report::Report;
use run::Run;
use viewer::Viewer;

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer than the run its tokens are good.
const TOKEN_RESERVE: Duration = Duration::from_secs(600);
/// Viewers of one user: more than one, so that all of them must show the same.
const VIEWERS_PER_USER: usize = 2;
/// Where the settings name none.
const STATUSES: [&str; 4] = ["created", "paid", "packed", "shipped"];

/// Arguments of `ordercast check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// An instance or load balancer: ws://HOST:PORT/order-status, or http://HOST:PORT; may be repeated [default: the
    /// `ordercast dev` of this directory]
    #[arg(long, value_parser = websocket_url)]
    url: Vec<Url>,
    /// Brokers, instead of kafka.brokers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_broker)]
    brokers: Vec<String>,
    /// Topic, instead of kafka.topic
    #[arg(long)]
    topic: Option<String>,
    /// Orders, each of which changes about once a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    orders: u32,
    /// Sessions, two for each user, spread over the urls
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    viewers: u32,
    /// How long orders change
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long the screens may take to be right afterwards
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    settle: Duration,
    /// An update that took longer than this counts as late
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    late_after: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks, prints the result, and erases what it published. Fails unless every screen ended at the truth.
    pub(super) fn run(mut self, context: &Context) -> Result<(), CommandError> {
        let settings = self.settings(context)?;
        if self.url.is_empty() {
            let dev =
                context.dev()?.ok_or_else(|| CommandError::Usage("say where the service is: --url".to_owned()))?;
            self.url = vec![websocket_url(&dev.websocket_url).map_err(CommandError::Failed)?];
        }
        let signer = Signer::new(&settings.auth)
            .ok_or_else(|| CommandError::Usage("auth.algorithms names none that auth.secret signs with".to_owned()))?;
        let plan = self.plan(&settings);
        refuse_what_the_service_would(&settings, &plan)?;
        let report = block_on(self.check(&settings, &signer, plan))??;
        print(if self.json { report.json().to_string() } else { report.text() })?;
        match report.faults() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(CommandError::Failed(faults.join("\n"))),
        }
    }

    fn settings(&self, context: &Context) -> Result<Settings, CommandError> {
        let mut settings = if self.brokers.is_empty() {
            context.settings_or_dev(&[Need::Brokers, Need::Secret])?
        } else {
            context.settings(&[Need::Secret])?
        };
        if !self.brokers.is_empty() {
            settings.kafka.brokers.clone_from(&self.brokers);
        }
        if let Some(topic) = &self.topic {
            settings.kafka.topic.clone_from(topic);
        }
        Ok(settings)
    }

    fn plan(&self, settings: &Settings) -> Plan {
        let lifecycle = &settings.lifecycle;
        let statuses: Vec<String> = match lifecycle.statuses.as_slice() {
            [] => STATUSES.map(str::to_owned).into(),
            known => known.to_vec(),
        };
        let run = Ulid::generate().to_string().to_lowercase();
        let users = (self.viewers as usize).div_ceil(VIEWERS_PER_USER);
        Plan::new(&run[16..], users, self.orders as usize, self.duration, &statuses, &mut rand::rng())
    }

    async fn check(&self, settings: &Settings, signer: &Signer, plan: Plan) -> Result<Report, CommandError> {
        let mut signals = Signals::listen().map_err(CommandError::failed)?;
        let clients = KafkaClients::new(&settings.kafka)?;
        let producer = Producer::new(&clients, DELIVERY_TIMEOUT);
        let run = self.start(signer, plan, producer, settings.kafka.topic.clone());
        let outcome = tokio::select! {
            outcome = self.judge(&run) => outcome,
            () = signals.next() => Err(CommandError::Failed("interrupted before the screens were compared".to_owned())),
        };
        if outcome.is_err() {
            say("erasing the orders of the check");
        }
        let erased = tokio::select! {
            erased = run.clean_up() => erased,
            () = signals.next() => Err(CommandError::Failed("interrupted again: its orders are not erased".to_owned())),
        };
        match (outcome, erased) {
            (Err(judged), Err(erased)) => Err(CommandError::Failed(format!("{judged}\n{erased}"))),
            (outcome, erased) => outcome.and_then(|report| erased.map(|()| report)),
        }
    }

    fn start(&self, signer: &Signer, plan: Plan, producer: Producer, topic: String) -> Run {
        let viewers = self.viewers as usize;
        let users: Vec<UserId> = (0..viewers).map(|number| plan.users[number / VIEWERS_PER_USER].clone()).collect();
        let audits = (0..viewers).map(|number| Audit::new(number / VIEWERS_PER_USER, self.late_after)).collect();
        let truths = (0..plan.users.len()).map(|user| plan.truth(user)).collect();
        let board = Arc::new(Board::new(plan, audits));
        let (calm, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut run = Run {
            board: board.clone(),
            producer,
            topic,
            truths,
            duration: self.duration,
            settle: self.settle,
            calm: calm.clone(),
            stop: stop.clone(),
            viewers: JoinSet::new(),
        };
        for (number, user) in users.into_iter().enumerate() {
            run.add(Viewer {
                number,
                url: self.url[number % self.url.len()].clone(),
                token: self.token(signer, user),
                board: board.clone(),
                // Each is disturbed a few times, and sees some of the run in peace.
                peace: (self.duration / 4).max(Duration::from_secs(1)),
                calm: calm.clone(),
                stop: stop.clone(),
            });
        }
        run
    }

    async fn judge(&self, run: &Run) -> Result<Report, CommandError> {
        run.connect().await?;
        run.publish().await?;
        let (standing, converged_after) = run.converge().await;
        let plan = run.board.plan();
        Ok(Report {
            run: plan.run.clone(),
            urls: self.url.len(),
            viewers: self.viewers as usize,
            users: plan.users.len(),
            orders: plan.orders.len(),
            late_events: Report::count_kind(plan, Kind::Late),
            duplicate_events: Report::count_kind(plan, Kind::Duplicate),
            late_after: self.late_after,
            standing,
            latency: run.board.latency(),
            converged_after,
            stopped: run.board.stopped(),
        })
    }

    fn token(&self, signer: &Signer, user: UserId) -> String {
        let issued_at = Timestamp::now();
        let good_for = self.duration.saturating_add(self.settle).saturating_add(TOKEN_RESERVE);
        let expires_at = i64::try_from(good_for.as_millis())
            .ok()
            .and_then(|ttl| Timestamp::from_millis(issued_at.as_millis().checked_add(ttl)?));
        signer.sign(&Grant {
            user: Some(user),
            orders: None,
            issued_at,
            expires_at: expires_at.unwrap_or(issued_at),
            token_id: Some(Ulid::generate().to_string()),
        })
    }
}

/// A deployment with fields or statuses of its own would put the check's events aside.
fn refuse_what_the_service_would(settings: &Settings, plan: &Plan) -> Result<(), CommandError> {
    let (Some(order), Some(user)) = (plan.orders.first(), plan.users.first()) else { return Ok(()) };
    let event = event::Event {
        order_id: order,
        user_id: user,
        status: plan.events.first().map_or("", |event| &event.status),
        version: Some(1),
        occurred_at: Timestamp::now(),
        details: None,
        viewers: &[],
    };
    event::check(settings, order, Some(&event.to_bytes()))
}
