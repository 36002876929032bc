//! The simulator of `ordercast dev`: a shop whose orders never stand still.
//!
//! An outsider: it looks at the orders over `GET /orders` and publishes to the topic, as a shop would. It remembers nothing,
//! so what others do to its orders, and what an earlier run left, is simply where it goes on. What happens next is decided in
//! [`shop`].

pub(super) mod shop;

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};

use super::tokens::Tokens;
use crate::{
    domain::{Timestamp, UserId},
    log::kafka::producer::{Outgoing, ProduceError, Producer},
};
use shop::{Customer, Event, Seen};

/// The customer of the page and of `dev.json`.
pub(super) const CUSTOMER: &str = "demo";
/// The merchant of the page.
pub(super) const MERCHANT: &str = "teahouse";

/// Who orders. The first one gets every second turn, so that something of theirs changes at least every 10 s.
const CUSTOMERS: [Customer; 4] = [
    Customer { user_id: CUSTOMER, merchant: MERCHANT, orders: 4 },
    Customer { user_id: "ana", merchant: MERCHANT, orders: 3 },
    Customer { user_id: "bo", merchant: "bookshop", orders: 2 },
    Customer { user_id: "chidi", merchant: MERCHANT, orders: 2 },
];
/// Between two turns.
const TURN_INTERVAL: Duration = Duration::from_millis(2_500);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const TOKEN_TTL: Duration = Duration::from_secs(60);

/// Makes orders and moves them.
pub(super) struct Simulator {
    pub(super) client: reqwest::Client,
    /// The base of the HTTP endpoints.
    pub(super) url: String,
    pub(super) tokens: Arc<Tokens>,
    pub(super) producer: Arc<Producer>,
    pub(super) topic: String,
}

/// Why a turn was skipped.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("the orders could not be read: {0}")]
    Read(#[from] reqwest::Error),
    #[error(transparent)]
    Produce(#[from] ProduceError),
}

impl Simulator {
    /// Runs until it is dropped. A turn that fails is skipped: whatever is wrong, the service itself says it better.
    pub(super) async fn run(self) {
        let mut turns = interval(TURN_INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_number = None;
        for turn in 0.. {
            turns.tick().await;
            let outcome = match &mut next_number {
                None => self.begin().await.map(|number| next_number = Some(number)),
                Some(number) => self.take_turn(whose_turn(turn), number).await,
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "the simulator skips a turn");
            }
        }
    }

    /// Looks where the orders of an earlier run stand; where there are none, opens the shop. Returns the next number.
    async fn begin(&self) -> Result<u64, TurnError> {
        let mut found = Vec::new();
        for customer in &CUSTOMERS {
            found.extend(self.orders_of(customer).await?);
        }
        let mut next_number = shop::next_number(&found);
        if found.is_empty() {
            for customer in &CUSTOMERS {
                for event in shop::opening(customer, &mut next_number, Timestamp::now()) {
                    self.publish(&event).await?;
                }
            }
        }
        Ok(next_number)
    }

    async fn take_turn(&self, customer: &Customer, next_number: &mut u64) -> Result<(), TurnError> {
        let orders = self.orders_of(customer).await?;
        self.publish(&shop::next_event(customer, &orders, next_number, Timestamp::now())).await
    }

    async fn orders_of(&self, customer: &Customer) -> Result<Vec<Seen>, TurnError> {
        #[derive(Deserialize)]
        struct Answer {
            orders: Vec<Seen>,
        }
        let user = UserId::parse(customer.user_id).expect("the demo's names are ids");
        let request = self
            .client
            .get(format!("{}/orders", self.url))
            .bearer_auth(self.tokens.token(&user, TOKEN_TTL))
            .timeout(ANSWER_TIMEOUT);
        let answer: Answer = request.send().await?.error_for_status()?.json().await?;
        Ok(answer.orders)
    }

    async fn publish(&self, event: &Event) -> Result<(), TurnError> {
        let value = serde_json::to_vec(event).expect("its keys are strings, and writing to memory succeeds");
        let key = event.order_id.as_bytes();
        let record = Outgoing { key: Some(key), value: Some(&value), ..Outgoing::default() };
        self.producer.produce(&self.topic, &record).await?;
        Ok(())
    }
}

fn whose_turn(turn: usize) -> &'static Customer {
    if turn.is_multiple_of(2) { &CUSTOMERS[0] } else { &CUSTOMERS[1 + turn / 2 % (CUSTOMERS.len() - 1)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_user_has_a_turn_at_least_every_10_s_and_nobody_is_forgotten() {
        let turns: Vec<&str> = (0..24).map(|turn| whose_turn(turn).user_id).collect();
        let per_10_s = 10_000 / TURN_INTERVAL.as_millis() as usize;
        assert!(turns.windows(per_10_s / 2).all(|window| window.contains(&CUSTOMER)));
        assert!(CUSTOMERS.iter().all(|customer| turns.contains(&customer.user_id)));
    }
}
