//! `posthaste`: an XMPP server that keeps what it has acknowledged.
//!
//! `cli.rs` lists the commands, `config/keys.rs` every configuration key, `run.rs` is the life of a
//! server. It wires the other crates together and has no logic of messaging of its own.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod certificate;
mod cli;
mod commands;
mod config;
mod desk;
mod generation;
mod lock;
mod log;
mod media;
mod metrics;
mod password;
mod run;
mod server;
mod signals;
mod store;
mod system;
mod welcome;
mod wiring;

use crate::cli::{Cli, Command};
use anyhow::Context as _;
use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

/// jemalloc needs the least memory for each connection and gives idle memory back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Everything this process creates is private to its owner.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the last resort; if it is gone too, the exit code must do.
            let _ = writeln!(std::io::stderr(), "posthaste: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    let Cli { source, command } = cli;
    match command.unwrap_or(Command::Run) {
        Command::Run => run::run(source.read()?, source),
        Command::User(command) => commands::user(&source.read()?, command),
        Command::Media(command) => commands::media(&source.read()?, command),
        Command::CheckConfig => say(format_args!("{} is good", source.read()?.origins.file)),
        Command::ExampleConfig if source.dev => {
            say(format_args!("{}", config::DEVELOPMENT.trim_end()))
        }
        Command::ExampleConfig => say(format_args!("{}", config::example().trim_end())),
        Command::Reload => commands::reload(&source.read()?),
        Command::Status { json } => commands::status(&source.read()?, json),
        Command::Version => say(format_args!("posthaste {}", env!("CARGO_PKG_VERSION"))),
    }
}

/// Prints a line on standard output.
fn say(line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
