//! How a group's rows are written.

use bytes::Bytes;
use posthaste_proto::xep::groups::MAX_MENTIONS;

use super::{Progress, Standing};
use crate::codec::{Corrupt, Reader, Writer};
use crate::log::ArchiveId;

const STANDING_VERSION: u8 = 1;
const PROGRESS_VERSION: u8 = 1;

pub(super) fn encode_standing(group: &Standing) -> Bytes {
    let mut writer = Writer::new(STANDING_VERSION, 20 + group.by.len());
    writer.u64(group.count).u64(group.last.0).text(&group.by);
    writer.finish()
}

pub(super) fn standing(value: Bytes) -> Result<Standing, Corrupt> {
    let (_, mut reader) = Reader::open("group of a room", value, STANDING_VERSION)?;
    let (count, last) = (reader.u64()?, ArchiveId(reader.u64()?));
    let by = reader.text()?.into();
    reader.end()?;
    Ok(Standing {
        count,
        last,
        by,
        ..Standing::default()
    })
}

pub(super) fn encode_progress(progress: &Progress) -> Bytes {
    let Progress {
        delivered,
        displayed,
        read,
        mentions,
    } = progress;
    let mut writer = Writer::new(PROGRESS_VERSION, 28 + 8 * mentions.len());
    writer.u64(delivered.0).u64(displayed.0).u64(*read);
    writer.u32(u32::try_from(mentions.len()).unwrap_or(u32::MAX));
    for mention in mentions {
        writer.u64(*mention);
    }
    writer.finish()
}

pub(super) fn progress(value: Bytes) -> Result<Progress, Corrupt> {
    let (_, mut reader) = Reader::open("member of a group", value, PROGRESS_VERSION)?;
    let (delivered, displayed) = (ArchiveId(reader.u64()?), ArchiveId(reader.u64()?));
    let read = reader.u64()?;
    let mut mentions = Vec::new();
    for _ in 0..reader.count(u32::try_from(MAX_MENTIONS).unwrap_or(u32::MAX))? {
        mentions.push(reader.u64()?);
    }
    reader.end()?;
    Ok(Progress {
        delivered,
        displayed,
        read,
        mentions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_rows_look_like_this() {
        let group = Standing {
            count: 3,
            last: ArchiveId(2),
            by: "hecate".into(),
            ..Standing::default()
        };
        let row = encode_standing(&group);
        assert_eq!(
            &row[..],
            b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\x06hecate"
        );
        let read = standing(row).unwrap();
        assert_eq!(
            (read.count, read.last, &*read.by),
            (3, ArchiveId(2), "hecate")
        );
        let member = Progress {
            delivered: ArchiveId(4),
            displayed: ArchiveId(3),
            read: 2,
            mentions: vec![5],
        };
        let row = encode_progress(&member);
        assert_eq!(
            &row[..],
            b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x05"
        );
        assert_eq!(progress(row).unwrap(), member);
    }
}
