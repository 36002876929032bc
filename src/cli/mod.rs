//! The command line: one thin file per subcommand, called by `main`.
//!
//! What a command was asked for goes to stdout, what went wrong to stderr. Exit codes: 0 as asked, 1 failure at run time,
//! 2 usage or settings.

mod check;
mod config;
mod context;
mod dead_letters;
mod dev;
mod error;
mod event;
mod healthcheck;
mod load;
mod migrate;
mod output;
mod publish;
mod reset_order;
mod serve;
mod service;
mod signals;
mod target;
mod token;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use context::Context;
use error::CommandError;
use output::say;

/// The version, with what matters of the build where a problem is reported.
const VERSION: &str = if cfg!(debug_assertions) {
    concat!(env!("CARGO_PKG_VERSION"), " (debug build, wire version 1)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (release build, wire version 1)")
};

/// Shows every customer, merchant and courier the true status of their order, live: Kafka in, WebSocket out.
#[derive(Debug, Parser)]
#[command(name = "ordercast", version = VERSION, max_term_width = 100)]
struct Arguments {
    /// Settings file (TOML); without it the one ORDERCAST_CONFIG names
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service, against Kafka and SQL
    Serve,
    /// Try it: everything in one process, with an embedded broker, a page and orders that move
    Dev(dev::Dev),
    /// Print a token, signed with auth.secret
    Token(token::Token),
    /// Publish an order event, or erase an order
    Publish(publish::Publish),
    /// Erase an order and forget its version, so that its next event is taken whatever its version
    ResetOrder(reset_order::ResetOrder),
    /// Follow the orders a token may see
    Watch(watch::Watch),
    /// Check a running deployment: does every screen end at the truth?
    Check(check::Check),
    /// Load a deployment with events and sessions, and tell what it takes
    Load(Box<load::Load>),
    /// One half of the raw floor that `load --against floor` measures
    #[command(subcommand, hide = true)]
    LoadFloor(load::Floor),
    /// Prepare what serve needs: the database schema and the dead-letter topic
    Migrate,
    /// Print the settings as they take effect, each with where it came from; secrets starred
    Config,
    /// Show the records that could not be used, and send them again
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Ask a running instance whether it is ready: for containers without curl
    Healthcheck(healthcheck::Healthcheck),
}

/// Runs the command that `arguments` (the program's name first) ask for, with the environment it is given.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Help and version come this way, too. Nobody is left to tell when they cannot be printed.
            let _ = answer.print();
            return if answer.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let context = Context::new(arguments.config, environment);
    match execute(arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(message) = error.message() {
                say(message);
            }
            error.exit_code()
        }
    }
}

fn execute(command: Command, context: &Context) -> Result<(), CommandError> {
    match command {
        Command::Serve => serve::run(context),
        Command::Dev(dev) => dev.run(context),
        Command::Token(token) => token.run(context),
        Command::Publish(publish) => publish.run(context),
        Command::ResetOrder(reset) => reset.run(context),
        Command::Watch(watch) => watch.run(context),
        Command::Check(check) => check.run(context),
        Command::Load(load) => load.run(context),
        Command::LoadFloor(floor) => floor.run(),
        Command::Migrate => migrate::run(context),
        Command::Config => config::run(context),
        Command::DeadLetters(command) => command.run(context),
        Command::Healthcheck(healthcheck) => healthcheck.run(context),
    }
}

/// Runs what a command waits for, on this thread.
fn block_on<F: Future>(future: F) -> Result<F::Output, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(CommandError::failed)?.block_on(future))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }
}
