//! `ordercast dev`: everything in one process, nothing to set up.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{context::Context, error::CommandError, output::print, service};
use crate::{
    app::BuildError,
    dev::{self, DEFAULT_DATA_DIR, DevError},
    telemetry::Destination,
};

/// Arguments of `ordercast dev`.
#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Where orders, the secret of the tokens and dev.json are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// Port of the page, instead of 8080; 0 takes a free one. The operations listener takes a free one then, too
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Leave the orders alone
    #[arg(long)]
    no_simulator: bool,
}

impl Dev {
    /// Runs until SIGTERM or SIGINT.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let options = dev::Options {
            data_dir: self.data_dir,
            port: self.port,
            simulator: !self.no_simulator,
            command: command(),
        };
        let dev = dev::Dev::prepare(context.sources()?, options)?;
        service::log_to(Destination::Stderr, &dev.settings().log)?;
        service::take_open_files(dev.settings());
        // Somebody who does not read what is printed may use the service nevertheless.
        let say = |text: &str| drop(print(text));
        service::run(async |stop| dev.run(stop.wait(), say).await)??;
        Ok(())
    }
}

impl From<DevError> for CommandError {
    fn from(error: DevError) -> Self {
        match error {
            DevError::Settings(error) => Self::Settings(error),
            DevError::Build(BuildError::Listen(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                Self::failed(format_args!("{error}; --port N takes another for the page, --port 0 free ones for both"))
            }
            DevError::Build(error) => error.into(),
            error => Self::failed(error),
        }
    }
}

/// How this program is called from the current directory: by its name where the shell finds it, else by its path.
fn command() -> String {
    let name = "ordercast";
    let Ok(program) = env::current_exe() else { return name.to_owned() };
    let path = env::var_os("PATH").unwrap_or_default();
    let is_this = |directory: PathBuf| directory.join(name).canonicalize().is_ok_and(|found| found == program);
    if env::split_paths(&path).any(is_this) {
        return name.to_owned();
    }
    let here = env::current_dir().unwrap_or_default();
    shortened(&program, &here)
}

fn shortened(program: &Path, here: &Path) -> String {
    match program.strip_prefix(here) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => program.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_below_the_current_directory_is_called_by_the_shorter_path() {
        let program = Path::new("/home/me/ordercast/target/debug/ordercast");
        assert_eq!(shortened(program, Path::new("/home/me/ordercast")), "./target/debug/ordercast");
        assert_eq!(shortened(program, Path::new("/tmp")), "/home/me/ordercast/target/debug/ordercast");
    }
}
