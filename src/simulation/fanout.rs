//! The fanout of one instance, its readings of progress, and what is due once a second.

use std::sync::Arc;

use super::{
    broker::Polled,
    instance::{Clock, Instance},
    topic::Topic,
};
use crate::{domain::decode::Decoded, log::freshness, store::ProgressReading};

impl Instance {
    /// One round of the fanout's thread.
    pub(super) fn follow(&mut self, topic: &Topic, clock: Clock, broker: bool, most: usize, first: usize) {
        let now = clock.instant();
        if let Some(progress) = self.progress.as_ref().filter(|_| std::mem::take(&mut self.progress_for_fanout)) {
            self.fanout_state.on_progress(progress);
        }
        if let Some(ends) = self.ends_for_fanout.take() {
            self.fanout_state.on_ends(&ends);
        }
        if let Some(view) = self.view.as_ref().filter(|_| std::mem::take(&mut self.log_for_fanout)) {
            let seeks = self.fanout_state.on_log(view, now);
            if !seeks.is_empty() {
                self.hub.step(|hub| seeks.into_iter().for_each(|seek| seek.tell(hub)));
                self.giver.restart();
                self.fanout.assign(self.fanout_state.assign());
            }
        }
        let mut gathered = self.giver.gather();
        for turn in 0..most {
            let Some(polled) = broker.then(|| self.fanout.poll(topic, first + turn)).flatten() else { break };
            match polled {
                Polled::Record(record) => {
                    let stamp = record.stamp;
                    let Some(log) = self.fanout_state.on_record(stamp.partition, stamp.offset) else {
                        gathered.pass_over();
                        continue;
                    };
                    let event = topic.decode(&record, log.epoch);
                    let decoded = event.clone().map(|event| Decoded { event, occurred_at_unreadable: false });
                    gathered.add(record, &log, &decoded);
                    match event {
                        Ok(event) => drop(self.hub.step(|hub| hub.on_record(&Arc::new(event)))),
                        Err(_) => self.hub.step(|hub| hub.advance(stamp.partition, stamp.offset + 1)),
                    }
                }
                Polled::End(partition) => {
                    if let Some(end) = self.fanout_state.on_end_of_partition(partition) {
                        self.hub.step(|hub| hub.advance(partition, end));
                    }
                }
                // What matters of it shows in positions and watermarks.
                Polled::OutOfRange => {}
            }
        }
        gathered.give();
        let positions = self.fanout.positions();
        self.giver.passed(&positions);
        let positions = self.fanout_state.on_positions(positions);
        self.hub.step(|hub| positions.iter().for_each(|(partition, offset)| hub.advance(*partition, *offset)));
        if self.fanout_state.is_stuck(now) {
            self.giver.restart();
            self.fanout.assign(self.fanout_state.assign());
        }
        self.fanout_state.on_own_halts(self.recorder.halts.clone());
        let reasons = self.fanout_state.reasons(now);
        if let Some(staleness) = freshness::change(self.staleness, reasons, clock.wall()) {
            self.staleness = staleness;
        }
        self.ready |= self.fanout_state.has_caught_up();
    }

    /// Progress was read, or could not be.
    pub(super) fn on_reading(&mut self, reading: Option<ProgressReading>, clock: Clock) {
        self.reading = false;
        if let Some(reading) = reading {
            let view = self.listener.on_reading(&self.hub, reading, clock.instant(), self.reads.oldest());
            self.progress = Some(Arc::new(view));
            self.progress_for_fanout = true;
        }
    }

    /// Once a second: doubts that last are told, and a screen is audited.
    pub(super) fn maintain(&mut self, now: u64, draw: Option<usize>) {
        while self.next_second <= now {
            self.next_second += 1_000;
            self.hub.step(|hub| hub.second_passed());
        }
        self.hub.step(|hub| hub.audit_drawn(draw));
    }
}
