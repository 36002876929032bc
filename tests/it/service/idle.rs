//! An instance that has nothing to do does next to nothing.

use std::time::{Duration, Instant};

use crate::world::{Service, World};

/// How long it is watched; a busy machine makes it wake less often, never more.
const WATCHED: Duration = Duration::from_secs(10);
/// More than any of its threads wakes in a second; one that polls every ten milliseconds wakes a hundred times.
const WAKES_PER_SECOND: f64 = 40.0;

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_of_an_idle_instance_wakes_often_and_none_waits_for_what_it_may_have_to_send() {
    let world = World::create().await;
    let mut service = Service::start(&world).await;
    // What a start leaves behind is over.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, began) = (service.waits_of_threads(), Instant::now());
    tokio::time::sleep(WATCHED).await;
    let (after, seconds) = (service.waits_of_threads(), began.elapsed().as_secs_f64());
    let mut wakes: Vec<(f64, &String)> = after
        .iter()
        .map(|(thread, waits)| ((waits - before.get(thread).unwrap_or(waits)) as f64 / seconds, thread))
        .collect();
    wakes.sort_by(|one, other| other.0.total_cmp(&one.0));
    assert!(wakes.len() > 10, "{wakes:?}");
    let busy: Vec<_> = wakes.iter().filter(|(wakes, _)| *wakes > WAKES_PER_SECOND).collect();
    assert!(busy.is_empty(), "wakes a second: {busy:?} of {wakes:?}");
    // rdkafka's own threads, which spin for a millisecond ten times a second.
    let spinning: Vec<_> =
        after.keys().filter(|name| name.starts_with("producer") || name.starts_with("admin")).collect();
    assert!(spinning.is_empty(), "{spinning:?}");
    service.terminate();
    assert!(service.ended().await.success());
}
