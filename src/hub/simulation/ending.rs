//! How a run ends: everything comes to rest, and every screen is compared with the truth.

use super::{
    client::{Flaw, Flaws},
    world::World,
};
use crate::{
    domain::History,
    hub::{Hub, registry::SessionPhase},
};

/// Rounds after which a world that has not come to rest never will.
const ROUNDS: usize = 60;

impl World {
    /// Lets everything come to rest and says what was wrong.
    pub(super) fn end(mut self) -> Flaws {
        self.find_all_partitions();
        self.drain_logs();
        let mut rounds = 0;
        while self.settle() {
            rounds += 1;
            if rounds == ROUNDS {
                self.flaws.push((Flaw::Stuck, "it goes on and on".to_owned()));
                break;
            }
        }
        self.judge_screens();
        self.judge_hub();
        self.flaws
    }

    /// One round of all that is still to do. Whether there was anything.
    fn settle(&mut self) -> bool {
        let mut busy = false;
        for place in 0..self.seats.len() {
            busy |= self.seats[place].said.is_some();
            self.hear(place);
            while self.take(place) {
                busy = true;
            }
            self.receive(place, usize::MAX);
        }
        self.on_progress();
        busy |= self.send_reads(usize::MAX);
        for place in (0..self.flights.len()).rev() {
            busy = true;
            self.run_statement(place);
            self.answer(place, true);
        }
        busy
    }

    fn judge_screens(&mut self) {
        for seat in &self.seats {
            let screen = &seat.client.screen;
            let flaw = |flaw, text: String| (flaw, format!("{:?} {:?}: {text}", seat.key, seat.client.viewer));
            let truth = |order: &str| {
                let history = self.database.rows.get(order)?;
                history.known.order().filter(|state| seat.client.sees(state)).map(|state| (state, history))
            };
            for (order, seen) in screen {
                match truth(order) {
                    None => self.flaws.push(flaw(Flaw::Foreign, format!("{order} {seen:?}"))),
                    Some((state, _)) if state.version.number != seen.version => {
                        self.flaws.push(flaw(Flaw::Stale, format!("{seen:?}, true is {state:?}")));
                    }
                    Some((state, _)) if state.rev().to_string() != seen.rev => {
                        self.flaws.push(flaw(Flaw::Content, format!("{seen:?}, true is {state:?}")));
                    }
                    Some((_, history)) if is_untold(history, seen.untold_since.as_deref()) => {
                        self.flaws.push(flaw(Flaw::Untold, format!("{seen:?}, true is {:?}", history.timeline)));
                    }
                    Some(_) => {}
                }
            }
            for order in self.upstream.orders.iter().filter(|order| !screen.contains_key(order.as_str())) {
                if let Some((state, _)) = truth(order.as_str())
                    && (!state.terminal && self.max_orders.is_none() || seat.client.names(order))
                {
                    self.flaws.push(flaw(Flaw::Stale, format!("misses {state:?}")));
                }
            }
            if !seat.mailbox.is_proven() {
                self.flaws.push(flaw(Flaw::Unverified, "although all has been read".to_owned()));
            }
        }
    }

    fn judge_hub(&mut self) {
        let keys: Vec<_> = self.seats.iter().map(|seat| seat.key).collect();
        let flaws = self.hub.step(|hub| {
            let mut flaws = hub.contradictions();
            if hub.sessions() != keys.len() {
                flaws.push((Flaw::Zombie, format!("{} sessions of {}", hub.sessions(), keys.len())));
            }
            keys.into_iter().for_each(|key| hub.leave(key));
            if !hub.registry.is_empty() {
                flaws.push((Flaw::Zombie, format!("left over: {:?}", hub.registry)));
            }
            flaws
        });
        self.flaws.extend(flaws);
    }
}

/// Whether the client saw only updates of an order although it had earlier steps.
fn is_untold(history: &History, since: Option<&str>) -> bool {
    let Some(since) = since.and_then(|rev| rev.parse::<crate::domain::Rev>().ok().map(|rev| rev.stamp)) else {
        return false;
    };
    let earlier = |stamp: crate::domain::Stamp| (stamp.epoch.0, stamp.offset) < (since.epoch.0, since.offset);
    history.timeline.steps().iter().any(|step| earlier(step.stamp))
}

impl Hub {
    /// Where the registry's indexes disagree once everything is at rest.
    fn contradictions(&self) -> Flaws {
        let mut flaws = Flaws::new();
        for (key, session) in &self.registry.sessions {
            if session.phase != SessionPhase::Live {
                flaws.push((Flaw::Stuck, format!("{key:?} is {:?}", session.phase)));
            }
            for (order_id, shown) in &session.shown {
                let order = self.registry.orders.get(order_id);
                if order.is_none_or(|order| !order.sessions.contains(&key) || shown.rev != Some(order.state.rev())) {
                    flaws.push((Flaw::Zombie, format!("{key:?} shows {order_id} as {shown:?}, the hub has {order:?}")));
                }
            }
        }
        for (order_id, order) in &self.registry.orders {
            let shows =
                |key| self.registry.sessions.get(key).is_some_and(|session| session.shown.contains_key(order_id));
            if order.sessions.is_empty() || !order.sessions.iter().all(|key| shows(*key)) {
                flaws.push((Flaw::Zombie, format!("{order_id} is shown by nobody: {order:?}")));
            }
            if order.unverified {
                flaws.push((Flaw::Unverified, format!("{order_id} was never read: {order:?}")));
            }
        }
        flaws
    }
}
