//! When somebody was last there, for those who may see their presence; and how long the server has been running.
//!
//! XEP-0012: Last Activity, version 2.0. The answer of a connected client is the client's.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_kv::Kv;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind};
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, HostIq, HostQuery};
use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::contacts;
use crate::error::WalkError;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Last Activity",
    xep: 12,
    version: "2.0",
    host_features: &[ns::LAST_ACTIVITY],
    account_features: &[ns::LAST_ACTIVITY],
    account_iqs: &[AccountIq {
        kind: IqType::Get,
        ns: ns::LAST_ACTIVITY,
        name: "query",
        asker: Asker::Anyone,
        handler: since_seen,
    }],
    host_iqs: &[HostIq {
        kind: IqType::Get,
        ns: ns::LAST_ACTIVITY,
        name: "query",
        handler: uptime,
    }],
};

const VERSION: u8 = 1;
/// Bytes of a status text that is kept; longer ones are not.
const MAX_STATUS_BYTES: usize = 1_024;

/// When an account's last resource went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The moment.
    pub at: Timestamp,
    /// What its last presence said.
    pub status: String,
}

impl Seen {
    fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION, 8 + self.status.len());
        value.u64(self.at.millis()).rest(self.status.as_bytes());
        value.finish()
    }

    fn decode(value: Bytes) -> Result<Seen, Corrupt> {
        let (_, mut value) = Reader::open("last activity", value, VERSION)?;
        let at = Timestamp(value.u64()?);
        let status = String::from_utf8_lossy(&value.rest()).into_owned();
        Ok(Seen { at, status })
    }
}

/// A session is no longer available, as the walk's stanza says: if it was the last one, the moment is kept.
pub fn note(walk: &mut Walk<'_>) {
    if walk
        .home
        .sessions
        .iter()
        .any(|attendee| attendee.available.is_some())
    {
        return;
    }
    let status = walk
        .stanza
        .child("status", ns::CLIENT)
        .and_then(|status| status.to_element().ok());
    let status = status
        .map(|status| status.text())
        .filter(|text| text.len() <= MAX_STATUS_BYTES);
    let seen = Seen {
        at: walk.now,
        status: status.unwrap_or_default(),
    };
    walk.put(tables::SEEN, seen.encode());
}

/// When the account's last resource went, if that is known.
///
/// # Errors
/// The store's.
pub async fn seen(walk: &Walk<'_>) -> Result<Option<Seen>, WalkError> {
    Ok(walk
        .get(tables::SEEN)
        .await?
        .map(Seen::decode)
        .transpose()?)
}

/// As [`seen`], the moment only, of a home that is not being walked through.
///
/// # Errors
/// The store's.
pub async fn last_seen(kv: &dyn Kv, account: &BareJid) -> Result<Option<Timestamp>, WalkError> {
    let partition = tables::partition(account)?;
    let seen = kv.get(&partition, tables::SEEN).await?;
    Ok(seen.map(Seen::decode).transpose()?.map(|seen| seen.at))
}

/// §3, §4: refuses the question, also one to a resource, from whoever may not see the owner's presence.
///
/// # Errors
/// `forbidden`, or the store's.
pub async fn check(walk: &Walk<'_>) -> Result<(), WalkError> {
    let asks = walk.stanza.kind == Kind::Iq(IqType::Get)
        && walk.stanza.child("query", ns::LAST_ACTIVITY).is_some();
    let Some(from) = walk.stanza.from.as_ref().filter(|_| asks) else {
        return Ok(());
    };
    if contacts::may_see_presence(walk, &from.to_bare()).await? {
        return Ok(());
    }
    Err(StanzaError::forbidden().into())
}

fn since_seen<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async {
        check(walk).await?;
        if walk
            .home
            .sessions
            .iter()
            .any(|attendee| attendee.available.is_some())
        {
            return Ok(Some(answer(0)));
        }
        // An account that was never there has no last time.
        let seen = seen(walk).await?.ok_or_else(StanzaError::item_not_found)?;
        Ok(Some(
            answer(walk.now.since(seen.at)).with_text(&seen.status),
        ))
    }
    .boxed()
}

fn uptime<'q>(query: &'q HostQuery<'q>, _: Element) -> BoxFuture<'q, Answer> {
    async { Ok(Some(answer(query.node.now().since(query.node.started_at)))) }.boxed()
}

fn answer(millis: u64) -> Element {
    Element::new("query", ns::LAST_ACTIVITY).with_attr("seconds", (millis / 1_000).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let seen = Seen {
            at: Timestamp(258),
            status: "Heading Home".to_owned(),
        };
        let golden = b"\x01\0\0\0\0\0\0\x01\x02Heading Home";
        assert_eq!(&seen.encode()[..], golden);
        assert_eq!(Seen::decode(Bytes::from_static(golden)), Ok(seen));
        assert!(Seen::decode(Bytes::from_static(b"\x01\0")).is_err());
    }
}
