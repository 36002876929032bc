//! `ordercast dead-letters list`.

use clap::Args;

use super::{
    Sources,
    filter::Filter,
    table::{Replays, json_line, table},
};
use crate::{
    cli::{
        error::CommandError,
        output::{print, say},
    },
    recorder::dead_letters::ListedDeadLetter,
};

/// Arguments of `ordercast dead-letters list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Show this many of the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one JSON object per line, record and all
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints them, oldest first.
    pub(super) async fn run(self, sources: &Sources) -> Result<(), CommandError> {
        let replays = sources.store.replays(&sources.settings.kafka.topic).await.map_err(CommandError::failed)?;
        let replays: Replays = replays.into_iter().map(|replay| (replay.record, replay)).collect();
        let mut dead_letters = sources.dead_letters()?;
        let mut newest = Newest { dead_letters: Vec::new(), limit: self.limit, count: 0 };
        while let Some(dead_letter) = dead_letters.next().await.map_err(CommandError::failed)? {
            if self.filter.takes(&dead_letter) {
                newest.add(dead_letter);
            }
        }
        newest.cut();
        let Newest { dead_letters, count, .. } = newest;
        if self.json {
            dead_letters.iter().try_for_each(|dead_letter| print(json_line(dead_letter, &replays)))?;
        } else if !dead_letters.is_empty() {
            print(table(&dead_letters, &replays))?;
        }
        match count - dead_letters.len() {
            0 if count == 0 => say("no dead letters"),
            0 => {}
            older => say(format_args!("{older} older: --limit {count} shows them, too")),
        }
        Ok(())
    }
}

/// The newest of all that come, with memory for about twice as many.
struct Newest {
    dead_letters: Vec<ListedDeadLetter>,
    limit: usize,
    count: usize,
}

impl Newest {
    fn add(&mut self, dead_letter: ListedDeadLetter) {
        self.count += 1;
        self.dead_letters.push(dead_letter);
        if self.dead_letters.len() >= self.limit.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.dead_letters.sort_by_key(|dead_letter| (dead_letter.put_aside_at, dead_letter.record));
        let older = self.dead_letters.len().saturating_sub(self.limit);
        self.dead_letters.drain(..older);
    }
}
