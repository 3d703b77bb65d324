//! `posthaste`: an XMPP server that keeps what it has acknowledged.
//!
//! `cli.rs` lists the commands, `config/keys.rs` every configuration key.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod certificate;
mod cli;
mod config;
mod lock;
mod log;
mod metrics;
mod password;

mod store;
mod system;
mod wiring;

use crate::cli::{Cli, Command, Source};
use crate::config::{Config, ConfigError};
use anyhow::Context as _;
use clap::Parser as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the configuration is looked for when no file is named, in this order.
const PLACES: [&str; 2] = ["posthaste.toml", "/etc/posthaste/posthaste.toml"];

fn main() -> ExitCode {
    // Everything this process creates is private to its owner.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the last resort; if it is gone too, the exit code must do.
            let _ = writeln!(std::io::stderr(), "posthaste: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    match cli.command.unwrap_or(Command::Run) {
        Command::CheckConfig => {
            let config = configuration(&cli.source)?;
            say(format_args!("{} is good", config.origins.file))
        }
        Command::ExampleConfig if cli.source.dev => {
            say(format_args!("{}", config::DEVELOPMENT.trim_end()))
        }
        Command::ExampleConfig => say(format_args!("{}", config::example().trim_end())),
        Command::Version => say(format_args!("posthaste {}", env!("CARGO_PKG_VERSION"))),
        _ => {
            configuration(&cli.source)?;
            anyhow::bail!("not yet")
        }
    }
}

/// Reads the configuration that `source` names.
fn configuration(source: &Source) -> Result<Config, ConfigError> {
    if source.dev {
        return config::parse(
            config::DEVELOPMENT,
            "the development configuration",
            Path::new(""),
        );
    }
    let file = source.file.clone().unwrap_or_else(|| {
        let there = PLACES
            .iter()
            .map(PathBuf::from)
            .find(|place| place.exists());
        there.unwrap_or_else(|| PathBuf::from(PLACES[0]))
    });
    config::load(&file)
}

/// Prints a line on standard output.
fn say(line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
