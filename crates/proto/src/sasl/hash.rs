//! The three hash functions of SCRAM behind one value.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A hash function that a SCRAM mechanism is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-1 (RFC 5802); HMAC-SHA-1 is not affected by SHA-1's collisions.
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Every hash, weakest first.
    pub const ALL: [Hash; 3] = [Hash::Sha1, Hash::Sha256, Hash::Sha512];

    /// Length of a digest in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    /// H(parts), the parts being concatenated.
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        match self {
            Hash::Sha1 => digest_with::<Sha1>(parts),
            Hash::Sha256 => digest_with::<Sha256>(parts),
            Hash::Sha512 => digest_with::<Sha512>(parts),
        }
    }

    /// HMAC(key, parts), the parts being concatenated (RFC 2104).
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Digest {
        match self {
            Hash::Sha1 => hmac_with::<Hmac<Sha1>>(key, parts),
            Hash::Sha256 => hmac_with::<Hmac<Sha256>>(key, parts),
            Hash::Sha512 => hmac_with::<Hmac<Sha512>>(key, parts),
        }
    }

    /// PBKDF2 with HMAC of this hash and an output of one digest: the `Hi()` of RFC 5802 §2.2.
    /// Takes time proportional to `iterations`.
    pub fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32) -> Digest {
        let mut digest = Digest::zero(self.digest_bytes());
        let output = &mut digest.bytes[..digest.len];
        match self {
            Hash::Sha1 => pbkdf2::pbkdf2::<Hmac<Sha1>>(password, salt, iterations, output),
            Hash::Sha256 => pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations, output),
            Hash::Sha512 => pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, iterations, output),
        }
        .expect("HMAC takes keys of any length");
        digest
    }
}

fn digest_with<D: sha2::Digest>(parts: &[&[u8]]) -> Digest {
    let mut hasher = D::new();
    for part in parts {
        hasher.update(part);
    }
    Digest::from_slice(&hasher.finalize())
}

fn hmac_with<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Digest::from_slice(&mac.finalize().into_bytes())
}

/// The longest digest: SHA-512's.
const MAX_DIGEST_BYTES: usize = 64;

/// A digest or a key of that length. Compares in constant time, is wiped when dropped and prints
/// only its length.
#[derive(Clone)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST_BYTES],
    len: usize,
}

impl Digest {
    fn zero(len: usize) -> Digest {
        Digest {
            bytes: [0; MAX_DIGEST_BYTES],
            len,
        }
    }

    fn from_slice(slice: &[u8]) -> Digest {
        let mut digest = Digest::zero(slice.len());
        digest.bytes[..slice.len()].copy_from_slice(slice);
        digest
    }

    /// A stored digest; `None` if the length is not the hash's.
    pub fn from_stored(hash: Hash, slice: &[u8]) -> Option<Digest> {
        (slice.len() == hash.digest_bytes()).then(|| Digest::from_slice(slice))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether these are the same bytes, in time that depends on the lengths only.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.as_slice().ct_eq(other).into()
    }

    /// `self XOR other`; `None` if the lengths differ.
    pub(crate) fn xor(&self, other: &[u8]) -> Option<Digest> {
        if other.len() != self.len {
            return None;
        }
        let mut result = self.clone();
        for (byte, other) in result.bytes.iter_mut().zip(other) {
            *byte ^= other;
        }
        Some(result)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        self.matches(other.as_slice())
    }
}

impl Eq for Digest {}

impl Drop for Digest {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn pbkdf2_gives_the_vectors_of_rfc_6070() {
        let salted = |iterations| {
            hex(Hash::Sha1
                .pbkdf2(b"password", b"salt", iterations)
                .as_slice())
        };
        assert_eq!(salted(1), "0c60c80f961f0e71f3a9b524af6012062fe037a6");
        assert_eq!(salted(2), "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957");
        assert_eq!(salted(4096), "4b007901b765489abead49d926f721d065a429c1");
    }

    #[test]
    fn hmac_gives_the_vectors_of_rfc_4231() {
        let mac = |hash: Hash| {
            hex(hash
                .hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])
                .as_slice())
        };
        assert_eq!(
            mac(Hash::Sha256),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(
            mac(Hash::Sha512)
                .starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")
        );
    }

    #[test]
    fn digests_of_other_lengths_never_match() {
        let digest = Hash::Sha1.digest(&[b"x"]);
        assert!(!digest.matches(&digest.as_slice()[..19]));
        assert!(!digest.matches(&[]));
        assert!(digest.xor(&[0; 19]).is_none());
        assert!(Digest::from_stored(Hash::Sha256, digest.as_slice()).is_none());
    }
}
