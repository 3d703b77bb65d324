//! Whether what is read is what was stored.

use posthaste_im::media::Digest;
use sha2::{Digest as _, Sha256};

use super::StoreError;

/// Looks at the bytes of an object as they pass: that there are neither fewer nor more of them than there should be,
/// and that they are the right ones, if their digest is known.
#[derive(Debug)]
pub(super) struct Check {
    left: u64,
    digest: Option<(Box<Sha256>, Digest)>,
}

impl Check {
    /// So many bytes, whatever they are.
    pub(super) fn length(length: u64) -> Check {
        Check {
            left: length,
            digest: None,
        }
    }

    /// So many bytes with this digest.
    pub(super) fn digest(length: u64, digest: Digest) -> Check {
        Check {
            left: length,
            digest: Some((Box::new(Sha256::new()), digest)),
        }
    }

    /// Bytes that are to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Looks at the next bytes. Only what was found right may be handed on: with the last bytes comes the verdict on
    /// all of them.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(StoreError::Mismatch);
        };
        self.left = left;
        let Some((hash, expected)) = &mut self.digest else {
            return Ok(());
        };
        hash.update(bytes);
        if left == 0 && Digest::from(hash.finalize_reset()) != *expected {
            return Err(StoreError::Mismatch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn the_last_bytes_are_handed_on_only_if_all_were_right() {
        let mut check = Check::digest(6, digest(b"abcdef"));
        assert!(check.pass(b"abc").is_ok());
        assert_eq!(check.left(), 3);
        assert!(check.pass(b"def").is_ok());
        let mut check = Check::digest(6, digest(b"abcdef"));
        assert!(check.pass(b"abX").is_ok());
        assert!(matches!(check.pass(b"def"), Err(StoreError::Mismatch)));
    }

    #[test]
    fn more_than_there_should_be_is_wrong() {
        let mut check = Check::length(3);
        assert!(matches!(check.pass(b"abcd"), Err(StoreError::Mismatch)));
    }
}
