//! `posthaste-load` sizes an XMPP server: log-ins, idle sessions, chat, offline messages, rooms and files, each measured
//! with what it costs the server's process.
//!
//! Every run is bounded in count and time and ends by itself. A process may open only so many files (`ulimit -n`);
//! for more connections start several with different `--first`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connection;
mod crowd;
mod login;
mod report;
mod sasl;
mod scenario;
mod server_process;
mod stamp;
mod target;
mod transport;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Report;

/// Loads an XMPP server that is yours, and measures it.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Threads of the load generator.
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
}

#[derive(Subcommand, Debug)]
enum Scenario {
    /// Make the accounts that the other scenarios use (XEP-0077).
    Register(scenario::register::Register),
    /// Log-ins per second.
    Login(scenario::login::LogIn),
    /// Memory and CPU time of idle sessions.
    Idle(scenario::idle::Idle),
    /// Messages between online users: rate, CPU time, latency.
    Chat(scenario::chat::Chat),
    /// Messages to users who are away: storing, then delivering them.
    Offline(scenario::offline::Offline),
    /// Files: uploads (XEP-0363) and downloads, at full speed or paced.
    Media(scenario::media::Media),
    /// Chat rooms (XEP-0045): joining, memory, deliveries, latency.
    Rooms(scenario::rooms::Rooms),
}

fn main() -> ExitCode {
    match execute(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "posthaste-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads.clamp(1, 64))
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(&arguments.scenario))?;
    report.print(arguments.json)?;
    Ok(())
}

async fn run(scenario: &Scenario) -> anyhow::Result<Report> {
    match scenario {
        Scenario::Register(options) => Box::pin(scenario::register::run(options)).await,
        Scenario::Login(options) => Box::pin(scenario::login::run(options)).await,
        Scenario::Idle(options) => Box::pin(scenario::idle::run(options)).await,
        Scenario::Chat(options) => Box::pin(scenario::chat::run(options)).await,
        Scenario::Offline(options) => Box::pin(scenario::offline::run(options)).await,
        Scenario::Media(options) => Box::pin(scenario::media::run(options)).await,
        Scenario::Rooms(options) => Box::pin(scenario::rooms::run(options)).await,
    }
}
