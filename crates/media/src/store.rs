//! Where the bytes are.

use std::path::PathBuf;

use thiserror::Error;

/// The object store, and the place where files wait until they are whole.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

/// Why bytes could not be kept or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There are none of this name.
    #[error("there is no such object")]
    NotFound,
    /// The disk, the network or the service.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Store {
    /// Objects as files below `directory`.
    pub fn local(directory: PathBuf) -> Store {
        Store { directory }
    }

    /// Where staged files lie.
    pub fn staging(&self) -> PathBuf {
        self.directory.join("staging")
    }
}
