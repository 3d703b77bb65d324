//! What a crash left in the staging folder.
//!
//! Whatever an account's rows know of is erased by its name ([`Store::erase`]); here goes what nobody can use any
//! more: files that no upload has touched for longer than one may take, and uploads in parts to S3 of which the
//! service still waits for the end.

use std::path::Path;
use std::time::{Duration, SystemTime};

use posthaste_im::media::ObjectName;

use super::{Claim, Objects, Store, StoreError, files, in_background};

/// What a sweep has cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Staged files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads in parts that the service was told to forget.
    pub parts: u64,
}

/// What lies in the staging folder under one name.
struct Remains {
    object: ObjectName,
    /// Its bytes, if they are of no use any more.
    useless_bytes: Option<u64>,
    /// It is a mark without its file: a power cut may bring the one back and not the other.
    is_lone_mark: bool,
    /// It was on its way to S3.
    has_parts: bool,
}

impl Store {
    /// Clears what is left of uploads that nobody has touched for `age`, which is longer than an upload may take.
    /// What somebody is writing stays.
    ///
    /// # Errors
    /// The disk or the service fails: the first time that it did; what could be cleared is.
    pub async fn sweep(&self, age: Duration) -> Result<Swept, StoreError> {
        let swept = self.clear(age).await;
        self.noted(swept)
    }

    async fn clear(&self, age: Duration) -> Result<Swept, StoreError> {
        let staging = self.shared.staging.clone();
        let remains = in_background(move || remains(&staging, age)).await?;
        let (mut swept, mut done) = (Swept::default(), Ok(()));
        let mut is_service_away = false;
        for remains in remains {
            let Ok(claim) = Claim::take(&self.shared, &remains.object) else {
                continue;
            };
            if let (true, false, Objects::S3(s3)) =
                (remains.has_parts, is_service_away, &self.objects)
            {
                match s3.abandon_parts(&claim).await {
                    Ok(was_there) => swept.parts += u64::from(was_there),
                    Err(error) => {
                        // The others would wait for it as long.
                        is_service_away = matches!(error, StoreError::Remote { .. });
                        done = done.and(Err(error));
                    }
                }
            }
            if let Some(bytes) = remains.useless_bytes {
                let is_gone = in_background(move || {
                    // An upload may have begun since we looked.
                    if remains.is_lone_mark && files::exists(&claim.staged()) {
                        return Ok(false);
                    }
                    claim.remove_staged().map(|()| true)
                });
                match is_gone.await {
                    Ok(true) => {
                        swept.files += 1;
                        swept.bytes += bytes;
                    }
                    Ok(false) => {}
                    Err(error) => done = done.and(Err(error)),
                }
            }
        }
        done.map(|()| swept)
    }
}

/// What one sweep looks at; there is another one soon.
const REMAINS_MOST: usize = 10_000;

fn remains(staging: &Path, age: Duration) -> Result<Vec<Remains>, StoreError> {
    let mut found = Vec::new();
    let now = SystemTime::now();
    for entry in std::fs::read_dir(staging)? {
        if found.len() >= REMAINS_MOST {
            break;
        }
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // What is not ours stays.
        let (object, kind) = name.split_once('.').unwrap_or((name, ""));
        let Some(object) = ObjectName::parse(object) else {
            continue;
        };
        let described = match entry.metadata() {
            Ok(described) => described,
            // It was finished meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let touched = described.modified()?;
        let is_old = now.duration_since(touched).is_ok_and(|past| past > age);
        match kind {
            // With a file beside it, that one counts.
            "mark" if !files::exists(&staging.join(object.as_str())) => found.push(Remains {
                object,
                useless_bytes: Some(described.len()),
                is_lone_mark: true,
                has_parts: false,
            }),
            "" if is_old => found.push(Remains {
                object,
                useless_bytes: Some(described.len()),
                is_lone_mark: false,
                has_parts: false,
            }),
            "parts" => found.push(Remains {
                object,
                useless_bytes: None,
                is_lone_mark: false,
                has_parts: true,
            }),
            _ => {}
        }
    }
    Ok(found)
}
