//! `ordercast dead-letters replay`: never twice by accident. What is sent is noted before and after, so that a replay
//! which was cut off is known.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use clap::Args;

use super::{
    Sources,
    filter::{Filter, PartitionOffset},
    table::{Replays, line},
};
use crate::{
    cli::{
        error::CommandError,
        output::{print, say},
    },
    domain::Epoch,
    log::kafka::producer::Producer,
    recorder::dead_letters::{ListedDeadLetter, replay},
};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `ordercast dead-letters replay`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    /// These records, as `list` shows them: PARTITION:OFFSET
    #[arg(value_name = "RECORD")]
    records: Vec<PartitionOffset>,
    #[command(flatten)]
    filter: Filter,
    /// All there are
    #[arg(long)]
    all: bool,
    /// Send those, too, that were sent before
    #[arg(long)]
    again: bool,
    /// Only show what would be sent
    #[arg(long)]
    dry_run: bool,
}

/// What became of those that were meant.
#[derive(Default)]
struct Tally {
    sent: usize,
    sent_before: usize,
    unknown: usize,
}

impl Replay {
    /// Sends them, in the order in which they became dead letters.
    pub(super) async fn run(self, sources: &Sources) -> Result<(), CommandError> {
        self.check()?;
        let topic = &sources.settings.kafka.topic;
        let replays = sources.store.replays(topic).await.map_err(CommandError::failed)?;
        let replays: Replays = replays.into_iter().map(|replay| (replay.record, replay)).collect();
        let epochs = sources.store.progress(topic, i64::MAX).await.map_err(CommandError::failed)?.progress;
        let epochs = epochs.iter().map(|progress| (progress.partition, progress.epoch())).collect();
        let producer = Producer::new(&sources.clients, DELIVERY_TIMEOUT);
        let sending = Sending { sources, producer, epochs, again: self.again };

        let mut dead_letters = sources.dead_letters()?;
        let (mut tally, mut met, mut missing) = (Tally::default(), HashSet::new(), self.records.clone());
        while let Some(dead_letter) = dead_letters.next().await.map_err(CommandError::failed)? {
            if !self.means(&dead_letter) {
                continue;
            }
            missing.retain(|place| *place != PartitionOffset::of(&dead_letter));
            // A replay that was refused again is the same record.
            if !met.insert(dead_letter.first()) {
                continue;
            }
            match replays.get(&dead_letter.first()) {
                Some(before) if !self.again => match before.sent_to {
                    Some(_) => tally.sent_before += 1,
                    None => tally.unknown += 1,
                },
                _ if self.dry_run => {
                    print(line(&dead_letter))?;
                    tally.sent += 1;
                }
                _ => match sending.send(&dead_letter).await? {
                    true => tally.sent += 1,
                    false => tally.sent_before += 1,
                },
            }
        }
        self.conclude(&tally, &missing)
    }

    fn check(&self) -> Result<(), CommandError> {
        let refuse = |reason: &str| Err(CommandError::Usage(reason.to_owned()));
        match (self.records.is_empty() && self.filter.is_empty(), self.all) {
            (true, false) => refuse("say which: RECORDs (PARTITION:OFFSET), filters such as --code, or --all"),
            (false, true) => refuse("--all cannot be used together with RECORDs or filters"),
            _ => Ok(()),
        }
    }

    fn means(&self, dead_letter: &ListedDeadLetter) -> bool {
        (self.records.is_empty() || self.records.contains(&PartitionOffset::of(dead_letter)))
            && self.filter.takes(dead_letter)
    }

    fn conclude(&self, tally: &Tally, missing: &[PartitionOffset]) -> Result<(), CommandError> {
        let Tally { sent, sent_before, unknown } = tally;
        print(if self.dry_run { format!("{sent} would be sent") } else { format!("{sent} sent") })?;
        if *sent_before > 0 {
            say(format_args!("{sent_before} sent before: --again sends them once more"));
        }
        if *unknown > 0 {
            say(format_args!(
                "{unknown} perhaps sent before, by a replay that was cut off: look, then send with --again"
            ));
        }
        if !missing.is_empty() {
            let missing = missing.iter().map(PartitionOffset::to_string).collect::<Vec<_>>().join(", ");
            return Err(CommandError::Failed(format!("no such dead letter: {missing}")));
        }
        // Who names records wants just those sent.
        if *sent == 0 && !self.records.is_empty() {
            return Err(CommandError::Failed("nothing was sent".to_owned()));
        }
        Ok(())
    }
}

struct Sending<'a> {
    sources: &'a Sources,
    producer: Producer,
    /// The life of each partition's log now.
    epochs: HashMap<i32, Epoch>,
    again: bool,
}

impl Sending<'_> {
    /// Sends one and prints where it went. False: another replay was faster.
    async fn send(&self, dead_letter: &ListedDeadLetter) -> Result<bool, CommandError> {
        let (store, topic, first) = (&self.sources.store, &self.sources.settings.kafka.topic, dead_letter.first());
        let epoch = store.epoch_of(topic, dead_letter.record).await.map_err(CommandError::failed)?;
        let same_log = epoch.is_none() || epoch == self.epochs.get(&dead_letter.record.partition).copied();
        if !store.begin_replay(topic, first, self.again).await.map_err(CommandError::failed)? {
            return Ok(false);
        }
        let place = PartitionOffset::of(dead_letter);
        match replay(&self.producer, topic, dead_letter, same_log).await {
            Ok(sent) => {
                store
                    .end_replay(topic, first, Some((sent.partition, sent.offset)))
                    .await
                    .map_err(CommandError::failed)?;
                print(format_args!("{place} sent as {}:{}", sent.partition, sent.offset))?;
                Ok(true)
            }
            Err(error) if error.is_refusal() => {
                store.end_replay(topic, first, None).await.map_err(CommandError::failed)?;
                Err(CommandError::Failed(format!("{place} was not sent to {topic}: {error}")))
            }
            Err(error) => Err(CommandError::Failed(format!(
                "{place} was sent to {topic}, and nobody knows whether it arrived: {error}"
            ))),
        }
    }
}
