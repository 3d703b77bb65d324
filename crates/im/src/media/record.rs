//! What is stored of files.

use bytes::Bytes;
use posthaste_proto::jid::BareJid;

use super::{ObjectName, Slot};
use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};

const RECORD_VERSION: u8 = 1;
const OWNER_VERSION: u8 = 1;
const USAGE_VERSION: u8 = 1;
const OBJECT_VERSION: u8 = 1;

/// SHA-256 of a file's bytes.
pub type Digest = [u8; 32];

/// What a file is for (XEP-0363 §5), which decides how long it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be sent.
    #[default]
    Message,
    /// An avatar or the like: kept until it is removed.
    Profile,
    /// It goes at this moment.
    Ephemeral(Timestamp),
    /// Kept until it is removed.
    Permanent,
}

impl Purpose {
    /// From when on it must not be there.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Purpose::Ephemeral(until) => Some(until),
            Purpose::Message | Purpose::Profile | Purpose::Permanent => None,
        }
    }

    pub(super) fn write(self, value: &mut Writer) {
        let (kind, until) = match self {
            Purpose::Message => (0, Timestamp(0)),
            Purpose::Profile => (1, Timestamp(0)),
            Purpose::Ephemeral(until) => (2, until),
            Purpose::Permanent => (3, Timestamp(0)),
        };
        value.u8(kind).u64(until.millis());
    }

    pub(super) fn read(value: &mut Reader) -> Result<Purpose, Corrupt> {
        let kind = value.u8()?;
        let until = Timestamp(value.u64()?);
        match kind {
            0 => Ok(Purpose::Message),
            1 => Ok(Purpose::Profile),
            2 => Ok(Purpose::Ephemeral(until)),
            3 => Ok(Purpose::Permanent),
            _ => Err(value.corrupt("a purpose that is none")),
        }
    }
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its bytes are coming, or have stopped coming.
    Uploading,
    /// It is there.
    Stored,
}

/// To whom a file was sent, as far as its uploader's home can know ([`super::Keep::Delivered`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Those to whom it was sent and who may not have it; [`Sent::FOR_GOOD`] when that will never be known.
    pub waiting: u32,
    /// When the last of them got it.
    pub delivered: Option<Timestamp>,
}

impl Sent {
    /// It was sent to somebody of whom nobody will hear, or to too many.
    pub const FOR_GOOD: u32 = u32::MAX;
}

/// A file as its account knows it (row `media/<file id>` of the account).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How far it is.
    pub state: State,
    /// Where its bytes lie, or will.
    pub object: ObjectName,
    /// How many they are.
    pub size: u64,
    /// What they are; zeros while they are coming.
    pub digest: Digest,
    /// What its sender calls it.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// What it is for.
    pub purpose: Purpose,
    /// When the upload began.
    pub created: Timestamp,
    /// Until when its slot could be used.
    pub slot_expires: Timestamp,
    /// To whom it was sent.
    pub sent: Sent,
}

impl Record {
    pub(super) fn of(slot: &Slot, object: ObjectName, now: Timestamp) -> Record {
        Record {
            state: State::Uploading,
            object,
            size: slot.size,
            digest: Digest::default(),
            name: slot.name.clone(),
            content_type: slot.content_type.clone(),
            purpose: slot.purpose,
            created: now,
            slot_expires: slot.expires,
            sent: Sent::default(),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut value = Writer::new(RECORD_VERSION, 128);
        value
            .u8(u8::from(self.state == State::Stored))
            .text(self.object.as_str())
            .u64(self.size)
            .bytes(&self.digest)
            .text(&self.name)
            .text(&self.content_type);
        self.purpose.write(&mut value);
        value
            .u64(self.created.millis())
            .u64(self.slot_expires.millis())
            .u32(self.sent.waiting);
        write_moment(&mut value, self.sent.delivered);
        value.finish()
    }

    pub(super) fn decode(value: Bytes) -> Result<Record, Corrupt> {
        let (_, mut value) = Reader::open("uploaded file's record", value, RECORD_VERSION)?;
        let state = match value.u8()? {
            0 => State::Uploading,
            _ => State::Stored,
        };
        let record = Record {
            state,
            object: read_object(&mut value)?,
            size: value.u64()?,
            digest: read_digest(&mut value)?,
            name: value.text()?,
            content_type: value.text()?,
            purpose: Purpose::read(&mut value)?,
            created: Timestamp(value.u64()?),
            slot_expires: Timestamp(value.u64()?),
            sent: Sent {
                waiting: value.u32()?,
                delivered: read_moment(&mut value)?,
            },
        };
        value.end()?;
        Ok(record)
    }
}

/// A file as whoever has its address knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Who has uploaded it.
    pub account: BareJid,
    /// Where its bytes lie.
    pub object: ObjectName,
    /// How many they are.
    pub size: u64,
    /// What they are.
    pub digest: Digest,
    /// What its sender calls it.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// When it was uploaded.
    pub created: Timestamp,
    /// From when on it must not be there.
    pub until: Option<Timestamp>,
}

impl File {
    pub(super) fn of(account: BareJid, record: Record) -> File {
        File {
            account,
            object: record.object,
            size: record.size,
            digest: record.digest,
            name: record.name,
            content_type: record.content_type,
            created: record.created,
            until: record.purpose.until(),
        }
    }
}

/// Whose a file is (row `file` of the file's own partition).
pub(super) fn encode_owner(account: &BareJid) -> Bytes {
    let mut value = Writer::new(OWNER_VERSION, 64);
    value.text(account.as_str());
    value.finish()
}

pub(super) fn decode_owner(value: Bytes) -> Result<BareJid, Corrupt> {
    let (_, mut value) = Reader::open("owner of a file", value, OWNER_VERSION)?;
    let account = value.text()?;
    let account = BareJid::parse(&account).map_err(|_| value.corrupt("no address"))?;
    value.end()?;
    Ok(account)
}

/// Bytes that one or several files of an account have in common (row `media-object/<digest>` of the account).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) object: ObjectName,
    /// Files that have them.
    pub(super) files: u32,
}

impl Shared {
    pub(super) fn encode(&self) -> Bytes {
        let mut value = Writer::new(OBJECT_VERSION, 40);
        value.text(self.object.as_str()).u32(self.files);
        value.finish()
    }

    pub(super) fn decode(value: Bytes) -> Result<Shared, Corrupt> {
        let (_, mut value) = Reader::open("uploaded object", value, OBJECT_VERSION)?;
        let shared = Shared {
            object: read_object(&mut value)?,
            files: value.u32()?,
        };
        value.end()?;
        Ok(shared)
    }
}

/// How much an account has uploaded (row `media-usage`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files, those that are coming included.
    pub files: u32,
    /// Of these, how many are coming.
    pub open: u32,
    /// Slots whose files are gone and that have not expired yet.
    pub used: u32,
    /// Bytes, each counted once; those that are to come included.
    pub bytes: u64,
    /// The day since the epoch (UTC) that `day_bytes` is about.
    pub day: u32,
    /// Bytes of the uploads that began on that day.
    pub day_bytes: u64,
}

impl Usage {
    pub(super) fn encode(&self) -> Bytes {
        let mut value = Writer::new(USAGE_VERSION, 32);
        value
            .u32(self.files)
            .u32(self.open)
            .u32(self.used)
            .u64(self.bytes)
            .u32(self.day)
            .u64(self.day_bytes);
        value.finish()
    }

    pub(super) fn decode(value: Bytes) -> Result<Usage, Corrupt> {
        let (_, mut value) = Reader::open("usage of media", value, USAGE_VERSION)?;
        let usage = Usage {
            files: value.u32()?,
            open: value.u32()?,
            used: value.u32()?,
            bytes: value.u64()?,
            day: value.u32()?,
            day_bytes: value.u64()?,
        };
        value.end()?;
        Ok(usage)
    }
}

fn write_moment(value: &mut Writer, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => value.u8(1).u64(moment.millis()),
        None => value.u8(0),
    };
}

fn read_moment(value: &mut Reader) -> Result<Option<Timestamp>, Corrupt> {
    Ok(match value.u8()? {
        0 => None,
        _ => Some(Timestamp(value.u64()?)),
    })
}

fn read_object(value: &mut Reader) -> Result<ObjectName, Corrupt> {
    let name = value.text()?;
    ObjectName::parse(&name).ok_or_else(|| value.corrupt("no name of an object"))
}

fn read_digest(value: &mut Reader) -> Result<Digest, Corrupt> {
    let bytes = value.bytes()?;
    Digest::try_from(&bytes[..]).map_err(|_| value.corrupt("no SHA-256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn text(text: &str) -> String {
        format!("{:08x}{}", text.len(), hex(text.as_bytes()))
    }

    const OBJECT: &str = "abcdefghijklmnopqrstuvw7";

    fn record() -> Record {
        Record {
            state: State::Stored,
            object: ObjectName::parse(OBJECT).unwrap(),
            size: 5,
            digest: [6; 32],
            name: "très cool.jpg".to_owned(),
            content_type: "image/jpeg".to_owned(),
            purpose: Purpose::Ephemeral(Timestamp(7)),
            created: Timestamp(8),
            slot_expires: Timestamp(9),
            sent: Sent {
                waiting: 10,
                delivered: Some(Timestamp(11)),
            },
        }
    }

    /// What is on disk today can be read tomorrow: these bytes never change.
    #[test]
    fn stored_values_stay_as_they_are() {
        let golden = [
            "0101".to_owned(),
            text(OBJECT),
            "0000000000000005".to_owned(),
            format!("00000020{}", "06".repeat(32)),
            text("très cool.jpg"),
            text("image/jpeg"),
            "020000000000000007".to_owned(),
            "00000000000000080000000000000009".to_owned(),
            "0000000a01000000000000000b".to_owned(),
        ]
        .concat();
        assert_eq!(hex(&record().encode()), golden);
        assert_eq!(Record::decode(record().encode()), Ok(record()));

        let account = BareJid::parse("romeo@example.org").unwrap();
        let golden = ["01", &text("romeo@example.org")].concat();
        assert_eq!(hex(&encode_owner(&account)), golden);
        assert_eq!(decode_owner(encode_owner(&account)), Ok(account));

        let shared = Shared {
            object: ObjectName::parse(OBJECT).unwrap(),
            files: 2,
        };
        let golden = ["01", &text(OBJECT), "00000002"].concat();
        assert_eq!(hex(&shared.encode()), golden);
        assert_eq!(Shared::decode(shared.encode()), Ok(shared));

        let usage = Usage {
            files: 1,
            open: 2,
            used: 3,
            bytes: 4,
            day: 5,
            day_bytes: 6,
        };
        let golden = "010000000100000002000000030000000000000004000000050000000000000006";
        assert_eq!(hex(&usage.encode()), golden);
        assert_eq!(Usage::decode(usage.encode()), Ok(usage));
    }

    #[test]
    fn every_purpose_and_state_comes_back() {
        for purpose in [Purpose::Message, Purpose::Profile, Purpose::Permanent] {
            for state in [State::Uploading, State::Stored] {
                let other = Record {
                    state,
                    purpose,
                    sent: Sent::default(),
                    ..record()
                };
                assert_eq!(Record::decode(other.encode()), Ok(other));
            }
        }
    }

    #[test]
    fn damaged_values_are_refused() {
        let good = record().encode();
        for cut in 0..good.len() {
            assert!(Record::decode(good.slice(..cut)).is_err(), "{cut}");
        }
        for bytes in [&[][..], &[2], &[1], &[1; 200], &[0; 80]] {
            let value = Bytes::copy_from_slice(bytes);
            assert!(Record::decode(value.clone()).is_err(), "{bytes:?}");
            assert!(decode_owner(value.clone()).is_err(), "{bytes:?}");
            assert!(Shared::decode(value.clone()).is_err(), "{bytes:?}");
            assert!(Usage::decode(value).is_err(), "{bytes:?}");
        }
    }
}
