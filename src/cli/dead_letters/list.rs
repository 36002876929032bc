//! `ordercast dead-letters list`.

use clap::Args;

use super::{
    Desk,
    filter::Filter,
    table::{Replays, json_line, table},
};
use crate::{
    cli::{
        error::CommandError,
        output::{print, say},
    },
    recorder::dead_letters::Letter,
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
    pub(super) async fn run(self, desk: &Desk) -> Result<(), CommandError> {
        let replays = desk.store.replays(&desk.settings.kafka.topic).await.map_err(CommandError::failed)?;
        let replays: Replays = replays.into_iter().map(|replay| (replay.record, replay)).collect();
        let mut letters = desk.letters()?;
        let mut newest = Newest { letters: Vec::new(), limit: self.limit, count: 0 };
        while let Some(letter) = letters.next().await.map_err(CommandError::failed)? {
            if self.filter.takes(&letter) {
                newest.add(letter);
            }
        }
        newest.cut();
        let Newest { letters, count, .. } = newest;
        if self.json {
            letters.iter().try_for_each(|letter| print(json_line(letter, &replays)))?;
        } else if !letters.is_empty() {
            print(table(&letters, &replays))?;
        }
        match count - letters.len() {
            0 if count == 0 => say("no dead letters"),
            0 => {}
            older => say(format_args!("{older} older: --limit {count} shows them, too")),
        }
        Ok(())
    }
}

/// The newest of all that come, with memory for about twice as many.
struct Newest {
    letters: Vec<Letter>,
    limit: usize,
    count: usize,
}

impl Newest {
    fn add(&mut self, letter: Letter) {
        self.count += 1;
        self.letters.push(letter);
        if self.letters.len() >= self.limit.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.letters.sort_by_key(|letter| (letter.put_aside_at, letter.record));
        let older = self.letters.len().saturating_sub(self.limit);
        self.letters.drain(..older);
    }
}
