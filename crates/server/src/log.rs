//! The log: one line per event on standard error, as text or JSON, its level changeable while
//! running.

use crate::config::Log;
use std::io::IsTerminal as _;
use std::str::FromStr as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

/// Changes the level of the running log.
pub(crate) struct LogControl(reload::Handle<Targets, Registry>);

impl LogControl {
    /// Takes `level`, which the configuration has checked.
    pub(crate) fn set_level(&self, level: &str) {
        // The only error is that the subscriber is gone, and then there is no log to change.
        let _ = self.0.reload(targets(level));
    }
}

/// Starts the log. Called once, before anything logs.
pub(crate) fn start(log: &Log) -> LogControl {
    let (filter, handle) = reload::Layer::new(targets(&log.level));
    let lines = if log.format == "json" {
        fmt::layer().json().with_writer(std::io::stderr).boxed()
    } else {
        let colours = std::io::stderr().is_terminal();
        fmt::layer()
            .with_ansi(colours)
            .with_writer(std::io::stderr)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    LogControl(handle)
}

/// Whether `text` is a level, or a list such as `info,posthaste_gate=debug`.
pub(crate) fn check_level(text: &str) -> Result<(), String> {
    for part in text.split(',') {
        // `Targets` would read a mistyped level as the name of a part of the program.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        // It reads no word at all as a level, too.
        if level.trim().is_empty() || LevelFilter::from_str(level.trim()).is_err() {
            return Err(format!(
                "{level:?} is not one of error, warn, info, debug, trace or off"
            ));
        }
    }
    Targets::from_str(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn targets(level: &str) -> Targets {
    Targets::from_str(level).unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

#[cfg(test)]
mod tests {
    use super::check_level;

    #[test]
    fn levels_are_checked_word_by_word() {
        for good in ["info", "off", "DEBUG", "info,posthaste_gate=debug"] {
            assert_eq!(check_level(good), Ok(()), "{good}");
        }
        for bad in ["", "inof", "info,posthaste_gate=loud", "info,,debug"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
