//! The command line.

use crate::config::{self, Config, ConfigError};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Where the configuration is looked for when no file is named, in this order.
const PLACES: [&str; 2] = ["posthaste.toml", "/etc/posthaste/posthaste.toml"];

/// An XMPP server that keeps what it has acknowledged.
#[derive(Parser)]
#[command(name = "posthaste", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which configuration a command works with.
#[derive(Args)]
pub(crate) struct Source {
    /// The configuration file; without it ./posthaste.toml, then /etc/posthaste/posthaste.toml
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    pub(crate) file: Option<PathBuf>,
    /// The built-in development configuration: loopback only, open registration, data in ./data
    #[arg(long, global = true, conflicts_with = "file")]
    pub(crate) dev: bool,
}

impl Source {
    /// Reads and checks the configuration.
    pub(crate) fn read(&self) -> Result<Config, ConfigError> {
        if self.dev {
            let name = "the development configuration";
            return config::parse(config::DEVELOPMENT, name, Path::new(""));
        }
        let file = self.file.clone().unwrap_or_else(|| {
            let there = PLACES
                .iter()
                .map(PathBuf::from)
                .find(|place| place.exists());
            there.unwrap_or_else(|| PathBuf::from(PLACES[0]))
        });
        config::load(&file)
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server (what happens without a command)
    Run,
    /// Manage accounts, whether the server runs or not
    #[command(subcommand)]
    User(User),
    /// Say what is wrong with the configuration, without starting anything
    CheckConfig,
    /// Print a configuration file with every key, its meaning and its default
    ExampleConfig,
    /// Have the running server take its changed configuration and certificates
    Reload,
    /// Show how the running server is
    Status {
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the version
    Version,
}

#[derive(Subcommand)]
pub(crate) enum User {
    /// Make an account
    Add(Login),
    /// Give an account a new password
    Passwd(Login),
    /// Remove an account and everything it has
    Remove {
        /// Such as romeo@example.org
        account: String,
    },
    /// Let nobody log in to an account for now; it keeps everything and goes on receiving
    Disable {
        /// Such as romeo@example.org
        account: String,
    },
    /// Open a disabled account again
    Enable {
        /// Such as romeo@example.org
        account: String,
    },
    /// End sessions: one, or all of an address without a resource
    Kick {
        /// Such as romeo@example.org or romeo@example.org/orchard
        address: String,
    },
    /// List the accounts, one address a line
    List {
        /// Only this host's
        host: Option<String>,
    },
}

/// An account and where its password comes from: never the command line, where other users of
/// the machine and the shell's history would see it.
#[derive(Args)]
pub(crate) struct Login {
    /// Such as romeo@example.org. The password is asked for, or read from standard input's first
    /// line where that is not a terminal
    pub(crate) account: String,
    /// Make up a password and print it
    #[arg(long)]
    pub(crate) generate: bool,
}
