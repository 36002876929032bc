//! How fast batches are applied. `cargo test --release -- --ignored --nocapture throughput`

use std::time::Instant;

use crate::store::{
    databases::Database,
    drafts::{Draft, apply, set},
};

/// Orders that live side by side and take five steps each.
fn step(n: usize) -> Draft {
    const OPEN: usize = 20_000;
    let (order, version) = (n / (OPEN * 5) * OPEN + n % OPEN, n / OPEN % 5 + 1);
    let status = ["created", "paid", "packed", "shipped", "delivered"][version - 1];
    let draft = set(&format!("A-{order}"), version as u64, status)
        .of(&format!("u-{}", order % 5000))
        .seen_by(&[&format!("m-{}", order % 50)])
        .details(r#"{"carrier":"DHL","tracking":"JD0146","eta":"2026-11-23T16:00:00Z"}"#);
    if version == 5 { draft.terminal() } else { draft }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn throughput_of_batches() {
    for size in [100, 1_000, 5_000] {
        let database = Database::postgres().await;
        database.open(1).await;
        let total = 200_000.min(size * 200);
        let started = Instant::now();
        for from in (0..total).step_by(size) {
            apply(&database.store, 0, from as i64, (from..from + size).map(step)).await;
        }
        let taken = started.elapsed();
        let rate = total as f64 / taken.as_secs_f64();
        println!("batches of {size}: {rate:.0} events/s, {:?} a batch", taken / (total / size) as u32);
        database.drop().await;
    }
}
