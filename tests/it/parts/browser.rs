//! A real Chromium: runs a script of `tests/browser` and brings back what it printed.

use std::process::Stdio;
use std::time::Duration;

use super::repository;

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Runs `tests/browser/<script>` in a fresh browser and answers what it printed; panics with all it said when it fails.
pub async fn run(script: &str, arguments: &[&str]) -> String {
    let mut node = tokio::process::Command::new("node");
    node.arg("run.mjs").arg(script).args(arguments).current_dir(repository("tests/browser"));
    node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(TIME_LIMIT, node.output()).await else {
        panic!("{script}: not done after {TIME_LIMIT:?}")
    };
    let output = output.expect("node starts");
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{printed}\n{said}", output.status);
    printed.into_owned()
}
