//! A slot: the permission to upload one file, good for minutes and once (XEP-0363 §4).
//!
//! Nothing is stored for it: it says everything that was agreed on, and a tag says that we have said it. That it was
//! used is known by the account's row of the file, which is written when the upload begins.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Hash;
use subtle::ConstantTimeEq;

use super::{FileId, LedgerError, Purpose};
use crate::accounts::AccountError;
use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::node::Node;

const VERSION: u8 = 1;
/// Of HMAC-SHA-256.
const TAG_BYTES: usize = 32;

/// What slots are signed with. Never shown.
#[derive(Clone)]
pub struct SlotKey([u8; 32]);

impl SlotKey {
    /// A key from a secret that nobody else knows.
    pub fn derive(secret: &[u8]) -> SlotKey {
        let derived = Hash::Sha256.hmac(secret, &[b"posthaste media slots"]);
        let mut key = [0; 32];
        key.copy_from_slice(derived.as_slice());
        SlotKey(key)
    }
}

impl std::fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlotKey")
    }
}

/// The key of this node: as long as its accounts are there it is the same.
///
/// # Errors
/// The store failed.
pub async fn slot_key(node: &Node) -> Result<SlotKey, LedgerError> {
    match node.accounts().secret().await {
        Ok(secret) => Ok(SlotKey::derive(secret)),
        Err(AccountError::Store(error)) => Err(error.into()),
        Err(AccountError::Corrupt(corrupt)) => Err(corrupt.into()),
        // The secret is nobody's account, so that nothing else can be wrong with it.
        Err(_) => Err(LedgerError::NoAccount),
    }
}

/// What an account may upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Who uploads.
    pub account: BareJid,
    /// How the file will be called.
    pub id: FileId,
    /// How its sender calls it: one path segment without control characters.
    pub name: String,
    /// Its exact size in bytes.
    pub size: u64,
    /// Its media type; empty when none was said, so that the upload may say any.
    pub content_type: String,
    /// What it is for.
    pub purpose: Purpose,
    /// When the upload must have begun.
    pub expires: Timestamp,
}

/// Why there is no such slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// We have not given it out.
    Forged,
    /// It was good once.
    Expired,
}

impl Slot {
    /// The slot as it stands in the address to upload to: letters, digits, `-` and `_`.
    pub fn sign(&self, key: &SlotKey) -> String {
        let content = self.encode();
        let tag = Hash::Sha256.hmac(&key.0, &[&content]);
        BASE64_URL_SAFE_NO_PAD.encode([&content[..], tag.as_slice()].concat())
    }

    /// Reads a slot of ours.
    ///
    /// # Errors
    /// It is not ours, or too old.
    pub fn verify(token: &str, key: &SlotKey, now: Timestamp) -> Result<Slot, SlotError> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| SlotError::Forged)?;
        let cut = bytes.len().checked_sub(TAG_BYTES);
        let (content, tag) = bytes.split_at(cut.ok_or(SlotError::Forged)?);
        let right = Hash::Sha256.hmac(&key.0, &[content]);
        if !bool::from(right.as_slice().ct_eq(tag)) {
            return Err(SlotError::Forged);
        }
        let slot = Slot::decode(Bytes::copy_from_slice(content)).map_err(|_| SlotError::Forged)?;
        if now > slot.expires {
            return Err(SlotError::Expired);
        }
        Ok(slot)
    }

    fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION, 128);
        value
            .text(self.account.as_str())
            .text(self.id.as_str())
            .text(&self.name)
            .u64(self.size)
            .text(&self.content_type);
        self.purpose.write(&mut value);
        value.u64(self.expires.millis());
        value.finish()
    }

    fn decode(value: Bytes) -> Result<Slot, Corrupt> {
        let (_, mut value) = Reader::open("slot", value, VERSION)?;
        let account = value.text()?;
        let account = BareJid::parse(&account).map_err(|_| value.corrupt("no address"))?;
        let id = value.text()?;
        let slot = Slot {
            account,
            id: FileId::parse(&id).ok_or_else(|| value.corrupt("no file's name"))?,
            name: value.text()?,
            size: value.u64()?,
            content_type: value.text()?,
            purpose: Purpose::read(&mut value)?,
            expires: Timestamp(value.u64()?),
        };
        value.end()?;
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot {
            account: BareJid::parse("romeo@montague.example").unwrap(),
            id: FileId::parse("abcdefghijklmnopqrstuvw7").unwrap(),
            name: "très cool.jpg".to_owned(),
            size: 23_456,
            content_type: "image/jpeg".to_owned(),
            purpose: Purpose::Ephemeral(Timestamp(9)),
            expires: Timestamp(1_000),
        }
    }

    #[test]
    fn a_slot_is_good_until_it_expires_and_as_it_was_signed() {
        let key = SlotKey::derive(b"secret");
        let token = slot().sign(&key);
        assert_eq!(Slot::verify(&token, &key, Timestamp(1_000)), Ok(slot()));
        let late = Slot::verify(&token, &key, Timestamp(1_001));
        assert_eq!(late, Err(SlotError::Expired));
        let other = Slot::verify(&token, &SlotKey::derive(b"other"), Timestamp(0));
        assert_eq!(other, Err(SlotError::Forged));
    }

    #[test]
    fn no_byte_of_it_can_be_changed() {
        let key = SlotKey::derive(b"secret");
        let token = slot().sign(&key);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let read = Slot::verify(&changed, &key, Timestamp(0));
            assert_eq!(read, Err(SlotError::Forged), "{at}");
        }
        for short in ["", "AAAA", &token[..40], "no token!"] {
            assert_eq!(
                Slot::verify(short, &key, Timestamp(0)),
                Err(SlotError::Forged)
            );
        }
    }
}
