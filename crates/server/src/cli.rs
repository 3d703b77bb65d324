//! The command line.

use crate::config::units::parse_duration;
use crate::config::{self, Config, ConfigError};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// See what accounts have uploaded, and remove it, whether the server runs or not
    #[command(subcommand)]
    Media(Media),
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

#[derive(Subcommand)]
pub(crate) enum Media {
    /// Show how much accounts have uploaded, and the sum of it
    Usage {
        /// Only this one, such as romeo@example.org
        account: Option<String>,
        /// What the list is sorted by
        #[arg(long, value_enum, default_value_t = Sort::Bytes)]
        sort: Sort,
        /// How many accounts are listed; the sum is of all
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        top: usize,
        /// List all of them
        #[arg(long, conflicts_with = "top")]
        all: bool,
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove files: those of an account, those that are older than so long, or one
    #[command(group(ArgGroup::new("what").required(true).multiple(true).args(["account", "older_than", "single"])))]
    Purge {
        /// Only this one's, such as romeo@example.org; all of them, unless --older-than says otherwise
        account: Option<String>,
        /// Only files that were uploaded longer ago, such as 30d; of all accounts, unless one is named
        #[arg(long, value_name = "AGE", value_parser = parse_duration)]
        older_than: Option<Duration>,
        /// Only this file: its address, or the 24 letters in it that name it
        // `file` is the configuration's.
        #[arg(long = "file", value_name = "ID", conflicts_with_all = ["account", "older_than"])]
        single: Option<String>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Do not ask first
        #[arg(short = 'y', long)]
        yes: bool,
    },
}

/// What a list of accounts is sorted by: the most first, or by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Bytes,
    Files,
    /// Bytes that were uploaded today
    Today,
    Account,
}
