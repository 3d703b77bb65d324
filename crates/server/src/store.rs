//! The store of this server: which engine, with which settings.

use crate::config::Config;
use posthaste_engine_embedded::{Embedded, EmbeddedOptions, OpenError};
use std::sync::Arc;

/// Opens the store. Blocks while its newest journal is read.
pub(crate) fn open(config: &Config) -> Result<Arc<Embedded>, OpenError> {
    Embedded::open(&config.storage.directory, options(config))
}

fn options(config: &Config) -> EmbeddedOptions {
    let storage = &config.storage;
    EmbeddedOptions {
        memtable_bytes: storage.write_buffer,
        cache_bytes: storage.cache,
        free_disk_floor_bytes: storage.free_disk_floor,
        max_undurable_bytes: storage.undurable,
        round_interval: storage.commit_interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_without_a_configuration_are_the_engines_own() {
        let ours = options(&Config::defaults());
        assert_eq!(
            format!("{ours:?}"),
            format!("{:?}", EmbeddedOptions::default())
        );
    }
}
