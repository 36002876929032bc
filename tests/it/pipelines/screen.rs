//! What a user's screen shows, frame by frame, as a client keeps it: it shows what the last frame said.

use std::{collections::BTreeMap, future::poll_fn, sync::Arc, task::Poll};

use ordercast::protocol::Delivery;
use ordercast::{
    domain::{UserId, Viewer},
    hub::{Joining, Mailbox, SessionKey, SharedHub},
};
use serde_json::Value;

use super::instance::PATIENCE;

pub(super) struct Screen {
    hub: Arc<SharedHub>,
    key: SessionKey,
    mailbox: Arc<Mailbox>,
    /// Order → status.
    pub(super) orders: BTreeMap<String, String>,
    /// Whether a full snapshot has come.
    pub(super) live: bool,
}

impl Screen {
    pub(super) fn join(hub: &Arc<SharedHub>, user: &str) -> Self {
        let mailbox = Arc::new(Mailbox::new(1 << 20));
        let viewer = Viewer::User { id: UserId::parse(user).unwrap(), only: None };
        let joining = Joining { viewer, mailbox: mailbox.clone(), start: true, place: None, identity: None };
        let key = hub.step(|hub| hub.join(joining)).unwrap();
        Self { hub: hub.clone(), key, mailbox, orders: BTreeMap::new(), live: false }
    }

    /// Reads frames until the screen shows this status of the order; `None`: does not show it.
    pub(super) async fn until(&mut self, order: &str, status: Option<&str>) {
        self.wait(
            |screen| screen.live && screen.orders.get(order).map(String::as_str) == status,
            |screen| format!("{order} as {status:?} expected, shown {:?}", screen.orders),
        )
        .await;
    }

    /// Reads frames until the first snapshot is complete.
    pub(super) async fn until_live(&mut self) {
        self.wait(|screen| screen.live, |_| "no snapshot".into()).await;
    }

    /// Whether the last snapshot was proved.
    pub(super) fn is_proven(&self) -> bool {
        self.mailbox.is_proven()
    }

    async fn wait(&mut self, done: impl Fn(&Self) -> bool, failed: impl Fn(&Self) -> String) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.take_all();
            if done(self) {
                return;
            }
            let mailbox = self.mailbox.clone();
            let mut kept = None;
            let next = poll_fn(|cx| match mailbox.poll_take(cx) {
                Delivery::Nothing => Poll::Pending,
                delivery => {
                    kept = Some(delivery);
                    Poll::Ready(())
                }
            });
            let came = tokio::time::timeout_at(deadline, next).await.is_ok();
            assert!(came, "{}", failed(self));
            kept.into_iter().for_each(|delivery| self.take(delivery));
        }
    }

    fn take_all(&mut self) {
        loop {
            match self.mailbox.take() {
                Delivery::Nothing => return,
                delivery => self.take(delivery),
            }
        }
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Snapshot(snapshot) => {
                if !snapshot.partial {
                    self.orders.clear();
                    self.live = true;
                }
                for (order, view) in snapshot.orders {
                    self.orders.insert(order.to_string(), view.state.status.to_string());
                }
                for order in snapshot.removed {
                    self.orders.remove(order.as_str());
                }
            }
            Delivery::Updates(frames) => {
                for frame in frames {
                    self.show(&serde_json::from_slice(frame.bytes()).unwrap());
                }
            }
            other => panic!("an unexpected delivery: {other:?}"),
        }
    }

    fn show(&mut self, frame: &Value) {
        let order = frame["order_id"].as_str().unwrap().to_owned();
        match frame["type"].as_str() {
            Some("order_status") => drop(self.orders.insert(order, frame["status"].as_str().unwrap().to_owned())),
            Some("removed") => drop(self.orders.remove(&order)),
            other => panic!("an unexpected frame: {other:?}"),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.hub.step(|hub| hub.leave(self.key));
    }
}
