//! How accounts are stored. Every value starts with its version; a golden test holds each shape.

use bytes::Bytes;
use posthaste_proto::sasl::{Digest, Hash, HtBinding, StoredKeys};

use super::SECRET_BYTES;
use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};

/// The newest version of each value here.
const VERSION: u8 = 1;

/// The value of a name in the list of accounts: only its version.
pub(super) const LISTED: &[u8] = &[VERSION];

/// Bytes of a token's seed.
pub(super) const SEED_BYTES: usize = 32;

/// The account itself: when it was made.
pub(super) fn encode_account(created: Timestamp) -> Bytes {
    let mut writer = Writer::new(VERSION, 8);
    writer.u64(created.millis());
    writer.finish()
}

/// An account that is disabled: since when, for whoever looks into the store.
pub(super) fn encode_disabled(since: Timestamp) -> Bytes {
    let mut writer = Writer::new(VERSION, 8);
    writer.u64(since.millis());
    writer.finish()
}

/// When the account's password was changed last: who knew the former one is out.
pub(super) fn encode_password_changed(at: Timestamp) -> Bytes {
    let mut writer = Writer::new(VERSION, 8);
    writer.u64(at.millis());
    writer.finish()
}

/// Reads what changing a password stores.
pub(crate) fn decode_password_changed(value: Bytes) -> Result<Timestamp, Corrupt> {
    let (_, mut reader) = Reader::open("password change", value, VERSION)?;
    let at = Timestamp(reader.u64()?);
    reader.end()?;
    Ok(at)
}

pub(super) fn encode_secret(secret: &[u8; SECRET_BYTES]) -> Bytes {
    let mut writer = Writer::new(VERSION, SECRET_BYTES);
    writer.rest(secret);
    writer.finish()
}

pub(super) fn decode_secret(value: Bytes) -> Result<[u8; SECRET_BYTES], Corrupt> {
    let (_, reader) = Reader::open("secret", value, VERSION)?;
    let wrong = reader.corrupt("its length is not a secret's");
    reader.rest().as_ref().try_into().map_err(|_| wrong)
}

pub(super) fn encode_keys(keys: &StoredKeys) -> Bytes {
    let mut writer = Writer::new(VERSION, 180);
    writer
        .u32(keys.iterations)
        .bytes(&keys.salt)
        .bytes(keys.stored_key.as_slice())
        .bytes(keys.server_key.as_slice());
    writer.finish()
}

pub(super) fn decode_keys(hash: Hash, value: Bytes) -> Result<StoredKeys, Corrupt> {
    let (_, mut reader) = Reader::open("credential", value, VERSION)?;
    let iterations = reader.u32()?;
    let salt = reader.bytes()?;
    let mut key = || {
        let bytes = reader.bytes()?;
        let wrong = reader.corrupt("a key in it has another hash's length");
        Digest::from_stored(hash, &bytes).ok_or(wrong)
    };
    let (stored_key, server_key) = (key()?, key()?);
    reader.end()?;
    Ok(StoredKeys {
        hash,
        salt: salt.as_ref().into(),
        iterations,
        stored_key,
        server_key,
    })
}

/// The FAST tokens of one client (XEP-0484 §6.1): the one in use, and one given to it since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientTokens {
    pub(super) current: Option<Slot>,
    pub(super) new: Option<Slot>,
}

/// One token. What is stored does not contain it: it is derived from the seed and the secret of
/// the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) mechanism: HtBinding,
    pub(super) seed: [u8; SEED_BYTES],
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    /// The highest count of a use that was told.
    pub(super) count: Option<u64>,
}

impl ClientTokens {
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::new(VERSION, 128);
        for slot in [&self.current, &self.new] {
            match slot {
                None => writer.u8(0),
                Some(slot) => slot.encode(&mut writer),
            };
        }
        writer.finish()
    }

    pub(super) fn decode(value: Bytes) -> Result<ClientTokens, Corrupt> {
        let (_, mut reader) = Reader::open("token", value, VERSION)?;
        let tokens = ClientTokens {
            current: Slot::decode(&mut reader)?,
            new: Slot::decode(&mut reader)?,
        };
        reader.end()?;
        Ok(tokens)
    }
}

impl Slot {
    fn encode<'w>(&self, writer: &'w mut Writer) -> &'w mut Writer {
        writer
            .u8(code(self.mechanism))
            .rest(&self.seed)
            .u64(self.issued.millis())
            .u64(self.expires.millis())
            .u8(u8::from(self.count.is_some()))
            .u64(self.count.unwrap_or_default())
    }

    fn decode(reader: &mut Reader) -> Result<Option<Slot>, Corrupt> {
        let mechanism = match reader.u8()? {
            0 => return Ok(None),
            1 => HtBinding::None,
            2 => HtBinding::Exporter,
            3 => HtBinding::EndPoint,
            _ => return Err(reader.corrupt("its mechanism is not known here")),
        };
        let mut seed = [0; SEED_BYTES];
        for word in seed.chunks_exact_mut(8) {
            word.copy_from_slice(&reader.u64()?.to_be_bytes());
        }
        let (issued, expires) = (Timestamp(reader.u64()?), Timestamp(reader.u64()?));
        let counted = reader.u8()? != 0;
        let count = reader.u64()?;
        Ok(Some(Slot {
            mechanism,
            seed,
            issued,
            expires,
            count: counted.then_some(count),
        }))
    }
}

/// 0 is no token.
fn code(mechanism: HtBinding) -> u8 {
    match mechanism {
        HtBinding::None => 1,
        HtBinding::Exporter => 2,
        HtBinding::EndPoint => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn version_1_of_every_value_is_what_it_was() {
        assert_eq!(
            hex(&encode_account(Timestamp(0x1234))),
            "010000000000001234"
        );
        assert_eq!(
            hex(&encode_disabled(Timestamp(0x5678))),
            "010000000000005678"
        );
        let changed = encode_password_changed(Timestamp(0x1234));
        assert_eq!(hex(&changed), "010000000000001234");
        assert_eq!(decode_password_changed(changed).unwrap(), Timestamp(0x1234));
        let keys = StoredKeys {
            hash: Hash::Sha1,
            salt: [7; 4].into(),
            iterations: 4096,
            stored_key: Digest::from_stored(Hash::Sha1, &[8; 20]).unwrap(),
            server_key: Digest::from_stored(Hash::Sha1, &[9; 20]).unwrap(),
        };
        let golden = format!(
            "0100001000{}00000014{}00000014{}",
            "0000000407070707",
            "08".repeat(20),
            "09".repeat(20),
        );
        assert_eq!(hex(&encode_keys(&keys)), golden);
        assert_eq!(decode_keys(Hash::Sha1, encode_keys(&keys)).unwrap(), keys);
        assert!(decode_keys(Hash::Sha256, encode_keys(&keys)).is_err());
        let tokens = ClientTokens {
            current: None,
            new: Some(Slot {
                mechanism: HtBinding::Exporter,
                seed: [5; 32],
                issued: Timestamp(1),
                expires: Timestamp(2),
                count: Some(3),
            }),
        };
        let golden = format!(
            "010002{}{}{}01{}",
            "05".repeat(32),
            "0000000000000001",
            "0000000000000002",
            "0000000000000003"
        );
        assert_eq!(hex(&tokens.encode()), golden);
        assert_eq!(ClientTokens::decode(tokens.encode()).unwrap(), tokens);
        let secret = encode_secret(&[6; 32]);
        assert_eq!(hex(&secret), format!("01{}", "06".repeat(32)));
        assert_eq!(decode_secret(secret).unwrap(), [6; 32]);
    }

    #[test]
    fn damaged_values_are_refused() {
        for bytes in [
            &[][..],
            &[2],
            &[1],
            &[1, 9, 9],
            &[1, 2, 0, 0],
            &[0; 80],
            &[1; 200],
        ] {
            let value = Bytes::copy_from_slice(bytes);
            assert!(ClientTokens::decode(value.clone()).is_err(), "{bytes:?}");
            assert!(decode_keys(Hash::Sha1, value.clone()).is_err(), "{bytes:?}");
            assert!(decode_secret(value).is_err(), "{bytes:?}");
        }
    }
}
