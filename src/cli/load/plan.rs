//! What a run is to do: the arguments and the settings together, refused where they cannot be.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use ulid::Ulid;
use url::Url;

use super::{
    names::{Names, Place},
    options::{Against, Load, Scenario},
    process,
    publisher::{self, Press},
    roster::Roster,
    schedule::Schedule,
    tokens::Tokens,
    transport::{Target, Transport},
    worker::Route,
};
use crate::{
    auth::Signer,
    cli::{context::Context, error::CommandError, event, watch::websocket_url},
    config::{Kafka, Need, Settings},
};

/// Files a process needs beside its sessions.
const OTHER_FILES: u64 = 128;
/// Tokens are good for this long beyond what is planned.
const TOKEN_RESERVE: Duration = Duration::from_secs(3_600);
/// Where the settings name none, and none of those an order ends in by default.
const STATUSES: [&str; 4] = ["created", "paid", "packed", "shipped"];
const BUNCH: u32 = 5;
const DEFAULT_SECONDS: u32 = 10;
const DEFAULT_ROUNDS: u32 = 5;

/// A run, before it begins.
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) run: String,
    pub(super) kafka: Kafka,
    pub(super) roster: Arc<Roster>,
    pub(super) schedule: Schedule,
    pub(super) statuses: Vec<String>,
    pub(super) padding: usize,
    pub(super) destinations: Vec<(SocketAddr, Target)>,
    pub(super) sources: Vec<IpAddr>,
    pub(super) transport: Transport,
    pub(super) threads: u32,
    pub(super) stalling: u32,
    pub(super) connect_rate: Option<f64>,
    pub(super) seconds: Option<u32>,
    pub(super) warm_up: Duration,
    pub(super) rounds: u32,
    pub(super) events: u64,
    pub(super) pids: Vec<u32>,
    pub(super) against: Option<Against>,
    pub(super) at: Option<u64>,
    pub(super) settle: Duration,
    pub(super) keep: bool,
}

impl Plan {
    /// Of these arguments and the settings of the context.
    pub(super) fn new(load: &Load, context: &Context) -> Result<Self, CommandError> {
        let (shard, shards) = load.shard;
        let sessions = load.sessions / shards + u32::from(shard < load.sessions % shards);
        load.refuse_contradictions(sessions)?;
        let settings = settings(load, context)?;
        let urls = urls(load, context)?;
        let destinations = urls.iter().map(destination).collect::<Result<Vec<_>, _>>()?;
        let sources: Vec<IpAddr> = load.source_addresses.iter().flat_map(|addresses| addresses.0.clone()).collect();
        refuse_more_than_the_system_gives(sessions, &destinations, &sources)?;
        let tokens = tokens(load, &settings)?;
        if let Some(count) = tokens.count().filter(|count| *count < sessions as usize) {
            return Err(CommandError::Usage(format!(
                "--tokens: {count} tokens are not enough for {sessions} sessions"
            )));
        }
        let orders = load.orders_per_session.unwrap_or(match load.scenario {
            Scenario::Burst => BUNCH,
            Scenario::Idle => 0,
            _ => 1,
        });
        let bunch = if load.scenario == Scenario::Burst { BUNCH } else { 1 };
        let run = Ulid::generate().to_string().to_lowercase()[16..].to_owned();
        let roster = Arc::new(Roster::new(Names::new(&run), tokens, sessions, orders, load.viewers));
        let schedule = Schedule::new(load.rate, load.shard, sessions, orders.max(1), bunch);
        let once = schedule.once() as f64 / load.rate * f64::from(shards);
        let plan = Self {
            scenario: load.scenario,
            run,
            kafka: settings.kafka.clone(),
            roster,
            schedule,
            statuses: match settings.lifecycle.statuses.as_slice() {
                [] => STATUSES.map(str::to_owned).into(),
                known => known.to_vec(),
            },
            padding: load.padding as usize,
            destinations,
            sources,
            transport: load.transport,
            threads: load.threads.min(sessions),
            stalling: if load.scenario == Scenario::Stall { load.stalled } else { 0 },
            connect_rate: load.connect_rate.map(|rate| rate / f64::from(shards)),
            seconds: load.seconds,
            warm_up: load.warm_up.map_or_else(
                || Duration::from_secs_f64((once + 1.0).clamp(3.0, 60.0)),
                |seconds| Duration::from_secs(seconds.into()),
            ),
            rounds: load.rounds.unwrap_or(if load.against.is_some() { DEFAULT_ROUNDS } else { 1 }),
            events: load.events / u64::from(shards),
            pids: load.pid.clone(),
            against: load.against,
            at: load.at.map(|at| u64::try_from(at.as_millis()).unwrap_or(0).saturating_mul(1_000_000)),
            settle: load.settle,
            keep: load.keep,
        };
        plan.refuse_what_the_service_would(&settings)?;
        Ok(plan)
    }

    /// How long a round counts.
    pub(super) fn seconds(&self) -> u32 {
        self.seconds.unwrap_or(DEFAULT_SECONDS)
    }

    /// What the publisher needs.
    pub(super) fn press(&self) -> Press {
        Press {
            roster: self.roster.clone(),
            schedule: self.schedule.clone(),
            topic: self.kafka.topic.clone(),
            statuses: self.statuses.clone(),
            padding: self.padding,
        }
    }

    /// Where sessions go to.
    pub(super) fn route(&self) -> Route {
        Route {
            transport: self.transport,
            destinations: self.destinations.clone(),
            sources: self.sources.clone(),
            stalling: self.stalling,
        }
    }

    /// A deployment with fields or statuses of its own would put the events aside.
    fn refuse_what_the_service_would(&self, settings: &Settings) -> Result<(), CommandError> {
        let place = Place { owner: 0, number: 0 };
        let due = super::clock::now();
        let value = publisher::event(&self.press(), place, &self.roster.user(0), 1, due, self.padding);
        event::check(settings, &self.roster.names.order(place), Some(&value))
    }
}

impl Load {
    fn refuse_contradictions(&self, sessions: u32) -> Result<(), CommandError> {
        let refuse = |problem: &str| Err(CommandError::Usage(problem.to_owned()));
        if sessions == 0 {
            return refuse("--sessions: fewer than shards");
        }
        if self.orders_per_session == Some(0) && self.scenario != Scenario::Idle {
            return refuse("--orders-per-session 0: only `idle` needs none");
        }
        if self.against.is_some() {
            if !matches!(self.scenario, Scenario::Steady | Scenario::Burst) {
                return refuse("--against: only `steady` and `burst` are measured beside it");
            }
            if self.pid.is_empty() {
                return refuse("--against: say which process is the server: --pid");
            }
            if self.shard.1 > 1 {
                return refuse("--against: is measured by one process, without --shard");
            }
        }
        if self.scenario == Scenario::Stall && self.stalled >= sessions {
            return refuse("--stalled: somebody has to go on reading");
        }
        if self.viewers > sessions {
            return refuse("--viewers: more than there are sessions");
        }
        for pid in &self.pid {
            if let Err(error) = process::usage(&[*pid]) {
                return Err(CommandError::Usage(format!("--pid: {error}")));
            }
        }
        Ok(())
    }
}

fn settings(load: &Load, context: &Context) -> Result<Settings, CommandError> {
    let secret: &[Need] = if load.tokens.is_some() { &[] } else { &[Need::Secret] };
    let mut settings = if load.brokers.is_empty() {
        context.settings_or_dev(&[&[Need::Brokers], secret].concat())?
    } else {
        context.settings(secret)?
    };
    if !load.brokers.is_empty() {
        settings.kafka.brokers.clone_from(&load.brokers);
    }
    if let Some(topic) = &load.topic {
        settings.kafka.topic.clone_from(topic);
    }
    Ok(settings)
}

fn urls(load: &Load, context: &Context) -> Result<Vec<Url>, CommandError> {
    if !load.url.is_empty() {
        return Ok(load.url.clone());
    }
    let dev = context.dev()?.ok_or_else(|| CommandError::Usage("say where the service is: --url".to_owned()))?;
    Ok(vec![websocket_url(&dev.websocket_url).map_err(CommandError::Failed)?])
}

fn destination(url: &Url) -> Result<(SocketAddr, Target), CommandError> {
    let refuse = |problem: String| CommandError::Usage(format!("--url {url}: {problem}"));
    if url.scheme() != "ws" {
        return Err(refuse("TLS is not spoken here: load what stands behind it, by ws:// or http://".to_owned()));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(refuse("names no host".to_owned()));
    };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (name, port).to_socket_addrs().map_err(|error| refuse(error.to_string()))?;
    let address = addresses.next().ok_or_else(|| refuse("has no address".to_owned()))?;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    Ok((address, Target { host: format!("{host}:{port}"), path }))
}

fn tokens(load: &Load, settings: &Settings) -> Result<Tokens, CommandError> {
    if let Some(file) = &load.tokens {
        return Tokens::read(file, &settings.auth.user_claim, load.shard);
    }
    let signer = Signer::new(&settings.auth)
        .ok_or_else(|| CommandError::Usage("auth.algorithms names none that auth.secret signs with".to_owned()))?;
    let rounds = Duration::from_secs(u64::from(load.seconds.unwrap_or(60) + 60) * u64::from(load.rounds.unwrap_or(10)));
    Ok(Tokens::Signed { signer, good_for: 2 * rounds + TOKEN_RESERVE })
}

fn refuse_more_than_the_system_gives(
    sessions: u32,
    destinations: &[(SocketAddr, Target)],
    sources: &[IpAddr],
) -> Result<(), CommandError> {
    let files = rlimit::increase_nofile_limit(u64::MAX).map_err(CommandError::failed)?;
    if u64::from(sessions) + OTHER_FILES > files {
        return Err(CommandError::Usage(format!(
            "--sessions: {sessions} sessions need more files than the {files} that this process may open: \
             raise the limit (ulimit -n), or use several processes (--shard)"
        )));
    }
    let ports = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().and_then(|range| {
        let mut ends = range.split_whitespace().map(|end| end.parse::<usize>().ok());
        Some(ends.next()??.abs_diff(ends.next()??))
    });
    let ports = ports.unwrap_or(28_000);
    // A source address that is named is bound before it is known whereto.
    let ways = if sources.is_empty() { destinations.len() } else { sources.len() };
    if sessions as usize > ports * ways {
        return Err(CommandError::Usage(format!(
            "--sessions: {sessions} sessions need more ports than the {ports} of each address: \
             name more addresses (--source-addresses)"
        )));
    }
    Ok(())
}
