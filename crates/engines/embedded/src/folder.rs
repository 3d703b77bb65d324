//! The store's folder: who may open it, which format it has, and how it comes to be.
//!
//! ```text
//! <folder>/LOCK           held while the store is open; holds the process id
//! <folder>/store/FORMAT   the version of everything below
//! <folder>/store/fjall/   fjall's own files
//! ```
//! `store` is made as `new` and renamed when it is whole and synced, so a power cut during the
//! first start leaves nothing half made.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// What `FORMAT` holds. Another version is refused; a later one will know how to migrate.
const FORMAT: &str = "posthaste embedded store, format 1\n";
/// How much of a foreign `FORMAT` is shown.
const FORMAT_SHOWN_BYTES: u64 = 100;

/// The lock on a store's folder; the file system gives it back when the process ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `folder` or says who has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("LOCK");
        let io = |error| OpenError::io(&path, error);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message, so whatever is there is good enough.
                let _ = file.read_to_string(&mut pid);
                return Err(OpenError::Locked {
                    folder: folder.to_path_buf(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // Only for the message above. A full disk must not keep the store from opening.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// The path of fjall's files in `folder`, made with `create` when there is no store yet.
pub(crate) fn prepare(
    folder: &Path,
    create: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<PathBuf, OpenError> {
    let store = folder.join("store");
    if !exists(&store)? {
        let new = folder.join("new");
        if exists(&new)? {
            fs::remove_dir_all(&new).map_err(|error| OpenError::io(&new, error))?;
        }
        fs::create_dir(&new).map_err(|error| OpenError::io(&new, error))?;
        create(&new.join("fjall"))?;
        let format = new.join("FORMAT");
        fs::write(&format, FORMAT).map_err(|error| OpenError::io(&format, error))?;
        sync_tree(&new).map_err(|error| OpenError::io(&new, error))?;
        fs::rename(&new, &store).map_err(|error| OpenError::io(&store, error))?;
        sync(folder).map_err(|error| OpenError::io(folder, error))?;
    }
    check_format(&store.join("FORMAT"))?;
    Ok(store.join("fjall"))
}

/// Makes `folder` and syncs the folder that names it.
pub(crate) fn create(folder: &Path) -> Result<(), OpenError> {
    if exists(folder)? {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| OpenError::io(folder, error))?;
    let absolute = std::path::absolute(folder).map_err(|error| OpenError::io(folder, error))?;
    match absolute.parent() {
        Some(parent) => sync(parent).map_err(|error| OpenError::io(parent, error)),
        None => Ok(()),
    }
}

fn check_format(path: &Path) -> Result<(), OpenError> {
    let mut found = String::new();
    File::open(path)
        .and_then(|file| file.take(FORMAT_SHOWN_BYTES).read_to_string(&mut found))
        .map_err(|error| OpenError::io(path, error))?;
    if found == FORMAT {
        return Ok(());
    }
    Err(OpenError::Format {
        path: path.to_path_buf(),
        found: found.trim().to_owned(),
    })
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists()
        .map_err(|error| OpenError::io(path, error))
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(path: &Path) -> Result<(), OpenError> {
        fs::create_dir(path).unwrap();
        fs::write(path.join("file"), b"made").unwrap();
        Ok(())
    }

    #[test]
    fn a_store_is_made_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join("new/fjall");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("half-made"), b"").unwrap();

        let fjall = prepare(dir.path(), make).unwrap();
        assert_eq!(fs::read(fjall.join("file")).unwrap(), b"made");
        assert!(!fjall.join("half-made").exists());
        prepare(dir.path(), |_| panic!("made twice")).unwrap();
    }

    #[test]
    fn another_format_is_refused_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), make).unwrap();
        let format = dir.path().join("store/FORMAT");
        fs::write(&format, "posthaste embedded store, format 2\n").unwrap();
        let error = prepare(dir.path(), make).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
        fs::remove_file(&format).unwrap();
        assert!(matches!(
            prepare(dir.path(), make),
            Err(OpenError::Io { .. })
        ));
    }

    #[test]
    fn a_locked_folder_is_named_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let refused = Lock::take(dir.path()).err().unwrap().to_string();
        assert!(
            refused.contains(&dir.path().display().to_string()),
            "{refused}"
        );
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(lock);
        Lock::take(dir.path()).unwrap();
    }
}
