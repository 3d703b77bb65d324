//! What an account keeps of a group: how things stood when it last heard of it, and how far its owner has read.

use bytes::Bytes;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::groups::{Activity, MAX_MENTIONS, MAX_POSITION_BYTES};
use posthaste_proto::xml::Element;

use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::tables;

/// One group of an account: one row, overwritten by what is newer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How things stand.
    pub activity: Activity,
    /// When the newest message was heard of, by this home's clock; orders it among the chats.
    pub at: Timestamp,
}

/// What a notice has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Something was said that was not known of, by somebody else.
    pub is_news: bool,
    /// And it was for the owner by name.
    pub is_mention: bool,
    /// Something is to be written.
    pub is_any: bool,
}

const VERSION: u8 = 1;

impl Group {
    /// Takes in a notice. It says how things stand, so that one that comes twice or late changes nothing.
    pub fn hear(&mut self, mut heard: Activity, now: Timestamp) -> Change {
        let before = self.clone();
        let own = &mut self.activity;
        let (count, read) = (own.count, own.read.max(heard.read));
        if heard.count >= count {
            // The room does not know what was read in private: what is beyond is its to say, what is read is not.
            heard.mentions.retain(|mention| *mention > read);
            *own = heard;
        }
        own.read = read;
        own.mentions.retain(|mention| *mention > read);
        if own.count > count {
            self.at = now;
        }
        let own = &self.activity;
        let is_news = own.count > count && own.count > own.read;
        Change {
            is_news,
            is_mention: is_news && own.mentions.iter().any(|mention| *mention > count),
            is_any: *self != before,
        }
    }

    /// The owner has seen everything.
    pub fn read_all(&mut self) {
        self.activity.read = self.activity.count;
        self.activity.mentions.clear();
    }

    /// Messages that the owner has not seen.
    pub fn unread(&self) -> u64 {
        self.activity.count.saturating_sub(self.activity.read)
    }

    /// What the inbox says of it beyond XEP-0430 (§7).
    pub fn line(&self) -> Element {
        Element::new("group", ns::GROUPS)
            .with_attr("mentions", self.activity.mentions.len().to_string())
            .with_attr_opt("by", self.activity.by.clone())
    }

    /// The key of a group.
    pub fn key(room: &BareJid) -> Bytes {
        tables::text_key(tables::GROUP, room.as_str())
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let Activity {
            last,
            count,
            by,
            read,
            mentions,
        } = &self.activity;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut writer = Writer::new(VERSION, 128);
        writer
            .u64(*count)
            .u64(*read)
            .u64(self.at.millis())
            .text(&text(last))
            .text(&text(by))
            .u32(u32::try_from(mentions.len()).unwrap_or(u32::MAX));
        for mention in mentions {
            writer.u64(*mention);
        }
        writer.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(value: Bytes) -> Result<Group, Corrupt> {
        let (_, mut reader) = Reader::open("group", value, VERSION)?;
        let (count, read, at) = (reader.u64()?, reader.u64()?, Timestamp(reader.u64()?));
        let (last, by) = (reader.text()?, reader.text()?);
        if last.len() > MAX_POSITION_BYTES {
            return Err(reader.corrupt("its position is too long"));
        }
        let some = |text: String| (!text.is_empty()).then_some(text);
        let mut mentions = Vec::new();
        for _ in 0..reader.count(u32::try_from(MAX_MENTIONS).unwrap_or(u32::MAX))? {
            mentions.push(reader.u64()?);
        }
        reader.end()?;
        Ok(Group {
            activity: Activity {
                last: some(last),
                count,
                by: some(by),
                read,
                mentions,
            },
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn activity(count: u64, read: u64, mentions: &[u64]) -> Activity {
        Activity {
            last: (count > 0).then(|| format!("p{count}")),
            count,
            by: (count > 0).then(|| "hecate".into()),
            read,
            mentions: mentions.to_vec(),
        }
    }

    #[test]
    fn a_stored_group_looks_like_this() {
        let group = Group {
            activity: activity(3, 1, &[2]),
            at: Timestamp(9),
        };
        assert_eq!(
            &group.encode()[..],
            b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x09\0\0\0\x02p3\0\0\0\x06hecate\0\0\0\x01\0\0\0\0\0\0\0\x02"
        );
        assert_eq!(Group::decode(group.encode()).unwrap(), group);
    }

    #[test]
    fn news_are_what_others_have_said_since() {
        let mut group = Group::default();
        let mut hear = |count, read, mentions: &[u64]| {
            let change = group.hear(activity(count, read, mentions), Timestamp(count));
            (change.is_news, change.is_mention, group.unread())
        };
        assert_eq!(hear(2, 0, &[]), (true, false, 2));
        assert_eq!(hear(2, 0, &[]), (false, false, 2));
        assert_eq!(hear(3, 0, &[3]), (true, true, 3));
        assert_eq!(hear(1, 0, &[]), (false, false, 3));
        // The owner has answered.
        assert_eq!(hear(4, 4, &[]), (false, false, 0));
        assert_eq!(hear(5, 4, &[3]), (true, false, 1));
    }

    proptest! {
        /// In whichever order notices come, and however often, the end is the same.
        #[test]
        fn notices_may_come_late_or_twice(
            steps in proptest::collection::vec((0u64..4, 0u64..40, any::<bool>()), 1..20),
            order in proptest::collection::vec(0usize..20, 0..60),
        ) {
            let (mut count, mut read, mut mentions) = (0, 0, Vec::new());
            let mut notices = Vec::new();
            for (said, seen, mention) in steps {
                count += said;
                read = seen.min(count).max(read);
                if mention && said > 0 {
                    mentions.push(count);
                }
                mentions.retain(|mention| *mention > read);
                notices.push(activity(count, read, &mentions[mentions.len().saturating_sub(MAX_MENTIONS)..]));
            }
            let mut group = Group::default();
            for place in order {
                group.hear(notices[place % notices.len()].clone(), Timestamp(1));
            }
            let last = notices.pop().unwrap();
            group.hear(last.clone(), Timestamp(1));
            prop_assert_eq!(group.activity, last);
        }
    }
}
