//! Screens that stay open from the first minute to the last, on tokens that are renewed under way.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::Field;
use crate::world::{PATIENCE, Screen, Shop};

/// What a token lasts, and when another is shown.
const TOKEN: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(5);

pub struct Watchers {
    tasks: JoinSet<u64>,
    asked: watch::Sender<Option<Arc<Shop>>>,
    answers: mpsc::Receiver<()>,
    count: usize,
}

impl Watchers {
    pub async fn come(field: &Arc<Field>, count: usize) -> Self {
        let (asked, question) = watch::channel(None);
        let (answer, answers) = mpsc::channel(count);
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let (user, field) = (Shop::user(number), field.clone());
            let token = field.world.token_with(Some(&user), None, TOKEN);
            let screen = Screen::open(field.instances[number % 2].address, &token).await;
            let watcher = Watcher { user, screen, question: question.clone(), answer: answer.clone(), refreshes: 0 };
            tasks.spawn(watcher.watch(field));
        }
        Self { tasks, asked, answers, count }
    }

    /// How many did not come to show the truth.
    pub async fn count(&mut self, truth: Arc<Shop>) -> usize {
        self.asked.send_replace(Some(truth));
        let deadline = Instant::now() + PATIENCE;
        let mut answered = 0;
        while answered < self.count && timeout_at(deadline, self.answers.recv()).await.is_ok_and(|some| some.is_some())
        {
            answered += 1;
        }
        self.count - answered
    }

    /// Ends; answers how many tokens were renewed.
    pub async fn leave(self) -> u64 {
        drop(self.asked);
        self.tasks.join_all().await.into_iter().sum()
    }
}

struct Watcher {
    user: String,
    screen: Screen,
    question: watch::Receiver<Option<Arc<Shop>>>,
    answer: mpsc::Sender<()>,
    refreshes: u64,
}

impl Watcher {
    /// A connection that ends fails its watcher, whose answer is then missing.
    async fn watch(mut self, field: Arc<Field>) -> u64 {
        let mut next_refresh = Instant::now() + REFRESH;
        let mut wanted = None;
        loop {
            tokio::select! {
                asked = self.question.changed() => {
                    if asked.is_err() {
                        return self.refreshes;
                    }
                    wanted = self.question.borrow().as_ref().map(|truth| truth.shown_to(&self.user));
                }
                next = self.screen.next() => {
                    next.unwrap_or_else(|code| panic!("{} was closed: {code:?}, {:?}", self.user, self.screen.frames.last()));
                    self.look();
                }
                () = sleep_until(next_refresh) => {
                    next_refresh += REFRESH;
                    let token = field.world.token_with(Some(&self.user), None, TOKEN);
                    self.screen.send(json!({"type": "refresh", "token": token})).await;
                }
            }
            if wanted.as_ref().is_some_and(|wanted| self.screen.shows(wanted)) {
                wanted = None;
                self.answer.send(()).await.expect("somebody has asked");
            }
        }
    }

    fn look(&mut self) {
        let Some(frame) = self.screen.frames.get(1) else { return };
        assert_ne!(frame["type"], "error", "{frame}");
        self.refreshes += u64::from(frame["type"] == "token_refreshed");
        self.screen.forget_frames();
    }
}
