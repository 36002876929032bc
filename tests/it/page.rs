//! The demo page in a real Chromium, served by `ordercast dev`.

use tempfile::TempDir;

use crate::{cli::dev, parts::browser};

#[tokio::test]
async fn the_page_shows_the_truth_and_says_when_it_cannot_know_it() {
    let directory = TempDir::new().unwrap();
    let _running = dev(directory.path(), &["--no-simulator"]);
    let handover = std::fs::read(directory.path().join(".ordercast/dev.json")).unwrap();
    let handover: serde_json::Value = serde_json::from_slice(&handover).unwrap();
    let printed = browser::run("./page.mjs", &[handover["url"].as_str().unwrap()]).await;
    assert!(printed.lines().filter(|line| line.starts_with("ok")).count() >= 10, "{printed}");
}
