//! Two recorders at work at once: a key that is not the order id, or a partition that was added, brings the records of
//! one order to both.

use std::sync::Arc;

use ordercast::store::{Batch, Store, StoreError};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    databases::Database,
    drafts::{Draft, batch, by_name, erase, part, set, short, steps},
};

/// Applies until nobody else is in the way.
pub(super) async fn insist(store: &Arc<dyn Store>, batch: &Batch) {
    loop {
        match store.apply(batch).await {
            Ok(_) => return,
            Err(StoreError::Contended) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// One recorder's records of a partition, in batches of random size.
fn record(store: Arc<dyn Store>, partition: i32, drafts: Vec<Draft>, seed: u64) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(seed);
        let mut next = 0;
        let mut rest = &drafts[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(random.random_range(1..=rest.len().min(12)));
            insist(&store, &batch([part(partition, next, now.iter().cloned())])).await;
            next += now.len() as i64;
            rest = later;
        }
    })
}

pub(super) async fn two_recorders_of_one_order_lose_no_step(database: &Database) {
    const VERSIONS: u64 = 30;
    let names: Vec<String> = (0..8).map(|order| format!("A-{order}")).collect();
    database.open(2).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut drafts: Vec<Draft> =
        (1..=VERSIONS).flat_map(|version| names.iter().map(move |name| set(name, version, "x"))).collect();
    drafts.shuffle(&mut random);
    let other = drafts.split_off(drafts.len() / 2);
    let recorders = [record(database.store.clone(), 0, drafts, 1), record(database.another_store(), 1, other, 2)];
    for recorder in recorders {
        recorder.await.unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let snapshot = by_name(&database.store, &names).await;
    for name in &names {
        assert_eq!(steps(&snapshot, name), (1..=VERSIONS).collect::<Vec<_>>(), "{name}");
        assert_eq!(short(&snapshot, name), Some((VERSIONS, "x".into())), "{name}");
    }
    assert_eq!(database.count("order_viewers").await, names.len() as u64);
}

pub(super) async fn an_order_is_never_both_there_and_erased(database: &Database) {
    const ORDERS: usize = 150;
    database.open(2).await;
    let drafts = |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        (0..ORDERS)
            .flat_map(|order| {
                let name = format!("A-{order}");
                let mut drafts = vec![set(&name, random.random_range(1..4), "x")];
                if random.random_bool(0.6) {
                    drafts.push(erase(&name));
                }
                if random.random_bool(0.3) {
                    drafts.push(set(&name, random.random_range(1..6), "x"));
                }
                drafts
            })
            .collect::<Vec<_>>()
    };
    let recorders =
        [record(database.store.clone(), 0, drafts(1), 3), record(database.another_store(), 1, drafts(2), 4)];
    for recorder in recorders {
        recorder.await.unwrap();
    }
    assert_eq!(database.count("orders join erased_orders using (order_id)").await, 0);
    assert_eq!(database.count("orders").await + database.count("erased_orders").await, ORDERS as u64);
    assert_eq!(database.count("order_viewers").await, database.count("orders").await);
    assert_eq!(database.count("orders where user_id = ''").await, 0);
}
