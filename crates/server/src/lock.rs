//! The lock on the storage directory: one process at a time, so a second start cannot harm the
//! first one's data.
//!
//! The lock is the kernel's (`flock`), so it goes with the process however that ends; the file's
//! content only tells who holds it.

use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "server.lock";

/// The storage directory, held by this process until dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Why the storage directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("the storage directory {} is in use by another posthaste{}; stop it first, or give this one a directory of its own (storage.directory)", directory.display(), holder(.pid))]
    Held {
        directory: PathBuf,
        pid: Option<u32>,
    },
    #[error("cannot use the storage directory {}: {source}", directory.display())]
    Unusable {
        directory: PathBuf,
        source: std::io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

impl DirectoryLock {
    /// Makes the directory if need be, readable by its owner only, and takes it.
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable {
            directory: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(unusable)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join(FILE_NAME))
            .map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = read_pid(&mut file);
                return Err(LockError::Held {
                    directory: directory.to_owned(),
                    pid,
                });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        write_pid(&mut file).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // A process number has at most ten digits; more is not ours.
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("deep/data");
        let first = DirectoryLock::take(&directory).unwrap();
        let second = DirectoryLock::take(&directory).unwrap_err();
        assert!(matches!(second, LockError::Held { pid, .. } if pid == Some(std::process::id())));
        assert!(
            second
                .to_string()
                .contains("in use by another posthaste (process ")
        );
        drop(first);
        DirectoryLock::take(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DirectoryLock::take(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
