//! `ordercast healthcheck`: for containers without curl.
//!
//! It asks for *ready* by default, because what waits for a healthy container (a proxy, a rolling update) wants one that
//! serves. An outage of Kafka or SQL does not take readiness away, so it makes no container unhealthy; only catching up at
//! the start and leaving do. Whatever restarts containers that fail the check should ask with `--live`.

use std::time::Duration;

use clap::Args;

use super::{block_on, context::Context, error::CommandError, output::print};
use crate::dev::reachable;

/// Container runtimes give a check 30 s by default; a process that takes this long to answer is not well.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Arguments of `ordercast healthcheck`.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Ask only whether the process answers, not whether it is ready to serve
    #[arg(long)]
    live: bool,
}

impl Healthcheck {
    /// Asks the instance that listens on `operations.listen` of this machine.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let listen = context.settings(&[])?.operations.listen;
        if listen.port() == 0 {
            let reason = "operations.listen has port 0, so the port the instance took is not known here";
            return Err(CommandError::Usage(reason.to_owned()));
        }
        let question = if self.live { "live" } else { "ready" };
        let url = format!("http://{}/health/{question}", reachable(listen));
        let (status, body) = block_on(ask(&url))?.map_err(|error| no_answer(&url, &error))?;
        if !status.is_success() {
            return Err(CommandError::Failed(format!("not {question}: {url} answers {}: {body}", status.as_u16())));
        }
        print(question)
    }
}

async fn ask(url: &str) -> reqwest::Result<(reqwest::StatusCode, String)> {
    // A proxy of the environment must not stand between a container and itself.
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let answer = client.get(url).send().await?;
    Ok((answer.status(), answer.text().await?))
}

fn no_answer(url: &str, error: &reqwest::Error) -> CommandError {
    let reason = if error.is_timeout() { "no answer in time" } else { "nobody listens there" };
    CommandError::Failed(format!("{url}: {reason}"))
}
