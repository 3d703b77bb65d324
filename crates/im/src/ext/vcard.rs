//! People can publish a card with their name and picture, and everybody can read it.
//!
//! XEP-0054: vcard-temp, version 1.3.0. The hashes that announce a new picture (XEP-0153) are put into presence by
//! clients and pass through. The content is not checked beyond its size.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, avatar, stored_xml};
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "vcard-temp",
    xep: 54,
    version: "1.3.0",
    host_features: &[ns::VCARD],
    account_features: &[ns::VCARD],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::VCARD,
            name: "vCard",
            asker: Asker::Anyone,
            handler: get,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::VCARD,
            name: "vCard",
            asker: Asker::Anyone,
            handler: set,
        },
    ],
    host_iqs: &[],
};

fn get<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async {
        let card = walk.get(tables::VCARD).await?;
        let card = card.map(stored_xml::decode).transpose()?;
        let from = walk.stanza.from.as_ref();
        let who = from.ok_or_else(StanzaError::bad_request)?.to_bare();
        match avatar::show(walk, card, &who).await? {
            Some(card) => Ok(Some(card)),
            None if walk.is_from_owner() => Err(StanzaError::item_not_found().into()),
            // §3.3: as if there were no such account, so that nobody finds out which ones there are.
            None => Err(StanzaError::service_unavailable().into()),
        }
    }
    .boxed()
}

fn set<'w>(walk: &'w mut Walk<'_>, card: Element) -> BoxFuture<'w, Answer> {
    async move {
        if !walk.is_from_owner() {
            // §3.2
            return Err(StanzaError::forbidden().into());
        }
        let card = avatar::take(walk, card).await?;
        let value = stored_xml::encode(&card, walk.node.config().stored_xml_bytes)?;
        walk.put(tables::VCARD, value);
        Ok(None)
    }
    .boxed()
}
