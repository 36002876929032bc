//! The arguments of `ordercast load`, each checked by itself. What they come to together is [`Plan`](super::plan::Plan)'s.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use url::Url;

use super::transport::Transport;
use crate::{cli::watch::websocket_url, config::parse_broker, domain::Timestamp};

/// Arguments of `ordercast load`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Load {
    /// What to do
    #[arg(value_enum, default_value = "steady")]
    pub(super) scenario: Scenario,
    /// An instance or load balancer: ws://HOST:PORT/order-status, or http://HOST:PORT; may be repeated [default: the
    /// `ordercast dev` of this directory]
    #[arg(long, value_parser = websocket_url)]
    pub(super) url: Vec<Url>,
    /// Brokers, instead of kafka.brokers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_broker)]
    pub(super) brokers: Vec<String>,
    /// Topic, instead of kafka.topic
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// Sessions, each of a user of its own; of all shards together
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) sessions: u32,
    /// Events a second; of all shards together
    #[arg(long, default_value_t = 500.0, value_parser = rate)]
    pub(super) rate: f64,
    /// How long each round counts [default: 10; `idle`: two heartbeats, 50 at least]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) seconds: Option<u32>,
    /// Seconds of events before anything counts [default: until every order has had one, 3 to 60]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(super) warm_up: Option<u32>,
    /// How often it is measured [default: 1; with --against 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) rounds: Option<u32>,
    /// Orders of each user [default: 1; `burst`: 5; `idle`: none]
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(super) orders_per_session: Option<u32>,
    /// Users who see each order: so many deliveries has an event
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65))]
    pub(super) viewers: u32,
    /// Bytes that each event's details are longer than those of a small one
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=15_000))]
    pub(super) padding: u32,
    /// Sessions opened in a second [default: as they come, 256 at once and thread; `storm`: all at once]
    #[arg(long, value_name = "SESSIONS", value_parser = rate)]
    pub(super) connect_rate: Option<f64>,
    /// `backlog`: records published as fast as they are taken
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) events: u64,
    /// `stall`: sessions that stop reading
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) stalled: u32,
    /// A server's process on this machine, whose CPU and memory are told; may be repeated. `drain` sends it SIGTERM
    #[arg(long)]
    pub(super) pid: Vec<u32>,
    /// Measure this, too, round by round, and tell how many times as much the service takes
    #[arg(long, value_enum)]
    pub(super) against: Option<Against>,
    /// This process is one of several, on any machines: 2/6 holds the second sixth of the sessions and publishes to them
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "1/1")]
    pub(super) shard: (u32, u32),
    /// When to begin publishing (RFC 3339), so that shards do it together; sessions are opened before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) at: Option<Timestamp>,
    /// Addresses to connect from, one or a range such as 127.0.1.1-127.0.1.20, separated by commas: each has ports of its own
    #[arg(long, value_delimiter = ',', value_parser = addresses)]
    pub(super) source_addresses: Vec<Addresses>,
    /// Threads that hold sessions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) threads: u32,
    /// Tokens, one a line, instead of signed ones: of a user each
    #[arg(long, value_name = "FILE")]
    pub(super) tokens: Option<PathBuf>,
    /// How sessions are held
    #[arg(long, value_enum, default_value = "websocket")]
    pub(super) transport: Transport,
    /// How long screens may take to be complete after the last event
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(super) settle: Duration,
    /// Leave the orders where they are, instead of erasing them by tombstones
    #[arg(long)]
    pub(super) keep: bool,
    /// Write the report as JSON; `-`: to stdout, in the place of the text
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Events at an even rate, one session at a time
    Steady,
    /// Five events at once to one session, at the same rate of events
    Burst,
    /// All connections are lost, and everybody comes back
    Storm,
    /// Some readers stop reading: what do the others notice?
    Stall,
    /// The server leaves: what do its sessions hear? By SIGTERM to --pid, or to be sent by hand
    Drain,
    /// Nothing happens: what does a session take?
    Idle,
    /// Many records at once: when are all screens complete and fresh?
    Backlog,
}

/// What to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Against {
    /// The raw floor: a process that writes the same bytes to as many sockets, and does nothing else
    Floor,
}

/// A range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses(pub(super) Vec<IpAddr>);

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("is not a number from 0.001 to 10000000".to_owned()),
    }
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('/').and_then(|(of, all)| Some((of.parse::<u32>().ok()?, all.parse::<u32>().ok()?)));
    match parts {
        Some((of, all)) if (1..=all).contains(&of) && all <= 10_000 => Ok((of - 1, all)),
        _ => Err("is not a part of a whole such as 2/6".to_owned()),
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "is not a time such as 2026-11-21T09:30:00Z".to_owned())
}

fn addresses(text: &str) -> Result<Addresses, String> {
    const MAX: u32 = 65_536;
    let wrong = || "is not an address, or a range of IPv4 such as 127.0.1.1-127.0.1.20".to_owned();
    match text.split_once('-') {
        None => text.parse().map(|address| Addresses(vec![address])).map_err(|_| wrong()),
        Some((first, last)) => {
            let number = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from).map_err(|_| wrong());
            let (first, last) = (number(first)?, number(last)?);
            if last < first || last - first >= MAX {
                return Err(wrong());
            }
            Ok(Addresses((first..=last).map(|number| IpAddr::V4(number.into())).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_rates_and_ranges_are_what_they_say() {
        assert_eq!(shard("2/6"), Ok((1, 6)));
        assert!(["0/6", "7/6", "1", "a/b", "1/0"].iter().all(|text| shard(text).is_err()));
        assert!(["0", "-1", "NaN", "inf", "x", ""].iter().all(|text| rate(text).is_err()));
        assert_eq!(rate("8000"), Ok(8_000.0));
        assert_eq!(addresses("127.0.1.1-127.0.1.20").unwrap().0.len(), 20);
        assert_eq!(addresses("::1").unwrap().0.len(), 1);
        assert!(
            ["127.0.1.2-127.0.1.1", "127.0.0.1-", "x", "0.0.0.0-255.255.255.255"]
                .iter()
                .all(|text| addresses(text).is_err())
        );
    }
}
