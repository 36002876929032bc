//! The `ordercast` binary. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ordercast::cli::run(std::env::args_os(), std::env::vars_os())
}
