//! A person says whose messages are archived.
//!
//! XEP-0441: Message Archive Management Preferences, version 0.2.0. "Never" keeps a message from staying: it waits for a
//! recipient that is away like any other, and is gone once it has been delivered. What is archived already stays.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_kv::{Kv, Partition};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xep::mam::{ByDefault, Prefs};
use posthaste_proto::xml::Element;

use super::super::{AccountIq, Answer, Asker, Ext};
use super::refusal;
use crate::codec::{Corrupt, Reader, Writer};
use crate::contacts;
use crate::error::WalkError;
use crate::roster::Listing;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Message Archive Management Preferences",
    xep: 441,
    version: "0.2.0",
    host_features: &[],
    account_features: &[],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::MAM,
            name: "prefs",
            asker: Asker::Owner,
            handler: get,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::MAM,
            name: "prefs",
            asker: Asker::Owner,
            handler: set,
        },
    ],
    host_iqs: &[],
};

/// Addresses in both lists together. They are in memory while the account is in use.
const MAX_LISTED: usize = 1000;

const VERSION: u8 = 1;

/// The preferences of a home, if its owner has any.
///
/// # Errors
/// The store's.
pub async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Option<Box<Prefs>>, WalkError> {
    let value = kv.get(partition, tables::ARCHIVE_PREFS).await?;
    Ok(value.map(decode).transpose()?.map(Box::new))
}

/// Takes a message out of the archive that its owner does not want there. After [`crate::weight::weigh`].
///
/// # Errors
/// The store's.
pub async fn weigh(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if !walk.weight.archive {
        return Ok(());
    }
    let Some(prefs) = &walk.home.archive_prefs else {
        return Ok(());
    };
    let (from, to) = (&walk.stanza.from, &walk.stanza.to);
    let is_own = |jid: &Jid| jid.to_bare() == walk.home.jid;
    let target = match from {
        Some(from) if !is_own(from) => from,
        _ => match to {
            Some(to) => to,
            None => return Ok(()),
        },
    };
    let is_listed = |list: &[Jid]| {
        // §2.3.1: an entry without a resource means all of them.
        list.iter()
            .any(|listed| listed == target || listed.as_str() == target.bare_str())
    };
    walk.weight.archive = if is_listed(&prefs.never) {
        false
    } else if is_listed(&prefs.always) {
        true
    } else {
        match prefs.default {
            ByDefault::Always => true,
            ByDefault::Never => false,
            ByDefault::Roster => {
                let contact = target.to_bare();
                contact == walk.home.jid
                    || contacts::find(walk, &contact).await?.listing == Listing::Listed
            }
        }
    };
    Ok(())
}

fn get<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async {
        let prefs = walk.home.archive_prefs.as_deref();
        Ok(Some(prefs.cloned().unwrap_or_default().to_element()))
    }
    .boxed()
}

fn set<'w>(walk: &'w mut Walk<'_>, payload: Element) -> BoxFuture<'w, Answer> {
    async move {
        let prefs = Prefs::read(&payload).map_err(refusal)?;
        if prefs.always.len() + prefs.never.len() > MAX_LISTED {
            return Err(StanzaError::resource_constraint()
                .with_text("too many addresses")
                .into());
        }
        let answer = prefs.to_element();
        let key = Bytes::from_static(tables::ARCHIVE_PREFS);
        // The many who want what is usual take no space.
        if prefs == Prefs::default() {
            walk.delete(key);
            walk.home.archive_prefs = None;
        } else {
            walk.put(key, encode(&prefs));
            walk.home.archive_prefs = Some(Box::new(prefs));
        }
        Ok(Some(answer))
    }
    .boxed()
}

fn encode(prefs: &Prefs) -> Bytes {
    let mut writer = Writer::new(VERSION, 64);
    writer.u8(match prefs.default {
        ByDefault::Always => 0,
        ByDefault::Never => 1,
        ByDefault::Roster => 2,
    });
    for list in [&prefs.always, &prefs.never] {
        writer.u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
        for jid in list {
            writer.text(jid.as_str());
        }
    }
    writer.finish()
}

fn decode(value: Bytes) -> Result<Prefs, Corrupt> {
    let (_, mut reader) = Reader::open("archive preferences", value, VERSION)?;
    let default = match reader.u8()? {
        0 => ByDefault::Always,
        1 => ByDefault::Never,
        2 => ByDefault::Roster,
        _ => return Err(reader.corrupt("its default is none")),
    };
    let mut list = || {
        let count = reader.count(u32::try_from(MAX_LISTED).unwrap_or(u32::MAX))?;
        (0..count)
            .map(|_| {
                let jid = reader.text()?;
                Jid::parse(&jid).map_err(|_| reader.corrupt("a JID in it is none"))
            })
            .collect::<Result<Vec<Jid>, Corrupt>>()
    };
    let (always, never) = (list()?, list()?);
    reader.end()?;
    Ok(Prefs {
        default,
        always,
        never,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_preferences_look_like_this() {
        let prefs = Prefs {
            default: ByDefault::Roster,
            always: vec![Jid::parse("a@b").unwrap()],
            never: vec![Jid::parse("c@d/e").unwrap()],
        };
        let bytes = encode(&prefs);
        assert_eq!(
            &bytes[..],
            b"\x01\x02\0\0\0\x01\0\0\0\x03a@b\0\0\0\x01\0\0\0\x05c@d/e"
        );
        assert_eq!(decode(bytes.clone()).unwrap(), prefs);
        for end in 0..bytes.len() {
            assert!(decode(bytes.slice(..end)).is_err());
        }
    }
}
