//! Many people who watch, each as a page does: they come, stay for a while, lose the connection, and come back.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{PATIENCE, Screen, Shop, World};

/// Viewers who come and go until they are asked what they see.
pub struct Crowd {
    viewers: JoinSet<usize>,
    addresses: watch::Sender<Vec<SocketAddr>>,
    asked: watch::Sender<Option<Arc<Shop>>>,
}

impl Crowd {
    /// The heartbeat interval that instances have to be given: a viewer takes a socket that is silent for two for dead.
    pub const HEARTBEAT: &str = "1s";

    /// One viewer for each of the first `size` users of a shop.
    pub fn come(world: &World, size: usize, addresses: &[SocketAddr]) -> Self {
        Self::come_issued(world, size, addresses, 0)
    }

    /// The same with tokens whose `iat` is so many seconds from now.
    pub fn come_issued(world: &World, size: usize, addresses: &[SocketAddr], issued: i64) -> Self {
        let (addresses, seen) = watch::channel(addresses.to_vec());
        let (asked, question) = watch::channel(None);
        let mut viewers = JoinSet::new();
        for number in 0..size {
            let user = Shop::user(number);
            let viewer = Viewer {
                token: world.token_issued(&user, issued),
                user,
                rng: SmallRng::seed_from_u64(number as u64),
                addresses: seen.clone(),
                asked: question.clone(),
            };
            viewers.spawn(viewer.live());
        }
        Self { viewers, addresses, asked }
    }

    /// From now on these are the instances there are.
    pub fn go_to(&self, addresses: &[SocketAddr]) {
        self.addresses.send_replace(addresses.to_vec());
    }

    /// Waits until every screen shows the truth and says that it is fresh; answers how often they connected in all.
    pub async fn settle(self, truth: Shop) -> usize {
        let (connections, missed) = self.count(Arc::new(truth)).await;
        assert_eq!(missed, 0, "every screen ends at the truth");
        connections
    }

    /// The same, and how many screens did not come to show it.
    pub async fn count(mut self, truth: Arc<Shop>) -> (usize, usize) {
        self.asked.send_replace(Some(truth));
        let (mut connections, mut missed) = (0, 0);
        while let Some(settled) = self.viewers.join_next().await {
            match settled {
                Ok(many) => connections += many,
                Err(_) => missed += 1,
            }
        }
        (connections, missed)
    }
}

struct Viewer {
    user: String,
    token: String,
    rng: SmallRng,
    addresses: watch::Receiver<Vec<SocketAddr>>,
    asked: watch::Receiver<Option<Arc<Shop>>>,
}

impl Viewer {
    async fn live(mut self) -> usize {
        let mut connections = 0;
        let (mut deadline, mut shown) = (None, None);
        loop {
            let truth = self.asked.borrow().clone();
            if truth.is_some() {
                let deadline = deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                assert!(Instant::now() < *deadline, "{} finds no instance that keeps it", self.user);
            }
            let address = {
                let addresses = self.addresses.borrow();
                addresses[self.rng.random_range(0..addresses.len())]
            };
            // Some come back and say what they show, others are pages that were loaded anew.
            let connecting = async {
                match shown.clone() {
                    Some(shown) => Screen::reconnect(address, &self.token, shown).await,
                    None => Screen::connect(address, &format!("token={}", self.token)).await,
                }
            };
            let Ok(Ok(mut screen)) = timeout(Duration::from_secs(5), connecting).await else {
                tokio::time::sleep(Duration::from_millis(self.rng.random_range(50..300))).await;
                continue;
            };
            connections += 1;
            let stay = Instant::now() + Duration::from_millis(self.rng.random_range(300..4_000));
            match truth {
                None => self.watch(&mut screen, stay).await,
                Some(truth) => {
                    let wanted = truth.shown_to(&self.user);
                    if self.watch_for(&mut screen, &wanted, deadline.unwrap_or(stay)).await {
                        return connections;
                    }
                }
            }
            shown = (screen.has_snapshot() && self.rng.random_bool(0.5)).then_some(screen.orders);
        }
    }

    /// Watches until it is time to go, or the connection is lost. Nothing foreign is ever shown.
    async fn watch(&self, screen: &mut Screen, until: Instant) {
        while let Ok(true) = timeout_at(until, self.look(screen)).await {}
    }

    /// Whether the screen came to show this, and said that it is fresh; `false` if the connection was lost.
    async fn watch_for(&self, screen: &mut Screen, wanted: &BTreeMap<String, (String, u64)>, until: Instant) -> bool {
        loop {
            if screen.shows(wanted) {
                return true;
            }
            match timeout_at(until, self.look(screen)).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_) => panic!(
                    "{} shows {:#?}\nwanted {wanted:#?}\nstale {:?}, the last frames {:#?}",
                    self.user,
                    screen.orders,
                    screen.stale,
                    &screen.frames[screen.frames.len().saturating_sub(8)..]
                ),
            }
        }
    }

    /// Takes one frame; `false` if the connection is lost, or silent for too long.
    async fn look(&self, screen: &mut Screen) -> bool {
        if !matches!(timeout(Duration::from_secs(3), screen.next()).await, Ok(Ok(()))) {
            return false;
        }
        for (id, order) in &screen.orders {
            let named = order["details"]["named"].as_array().unwrap();
            assert!(named.contains(&json!(self.user)), "{} is shown {id}: {order}", self.user);
        }
        true
    }
}
