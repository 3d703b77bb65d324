//! Whatever a store holds: reading it gives a value or an error, and what was read is written as it was.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use posthaste_im::codec;
use posthaste_im::conversations::Conversation;
use posthaste_im::devices::DeviceRecord;
use posthaste_im::ext::push::registration::Registration;
use posthaste_im::log::{Cursor, Entry};
use posthaste_im::roster::{RosterItem, RosterSummary, stored_subscription};
use posthaste_im::tables;
use posthaste_proto::jid::BareJid;

fuzz_target!(|value: &[u8]| {
    let bytes = Bytes::copy_from_slice(value);
    if let Ok(entry) = Entry::decode(bytes.clone()) {
        let _ = codec::stanza(&entry.stanza);
        assert_eq!(Entry::decode(entry.encode()).as_ref(), Ok(&entry));
    }
    if let Ok(cursor) = Cursor::decode(bytes.clone()) {
        assert_eq!(cursor.encode(), value);
    }
    let contact = BareJid::parse("romeo@montague.example").expect("it is an address");
    if let Ok(item) = RosterItem::decode(contact.clone(), bytes.clone()) {
        assert_eq!(stored_subscription(value), Ok(item.subscription));
        assert_eq!(
            RosterItem::decode(contact, item.encode()).as_ref(),
            Ok(&item)
        );
    }
    if let Ok(conversation) = Conversation::decode(bytes.clone()) {
        assert_eq!(conversation.encode(), value);
    }
    if let Ok(device) = DeviceRecord::decode(bytes.clone()) {
        assert_eq!(device.encode(), value);
    }
    let _ = Registration::decode(bytes.clone());
    if let Ok(summary) = RosterSummary::decode(bytes) {
        assert_eq!(summary.encode(), value);
    }
    let _ = tables::listed_account(value);
    let _ = tables::key_id(tables::LOG, value);
});
