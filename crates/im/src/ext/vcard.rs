//! People can publish a card with their name and picture, and their contacts can read it, or everybody where the host
//! allows it.
//!
//! XEP-0054: vcard-temp, version 1.3.0. The hashes that announce a new picture (XEP-0153) are put into presence by
//! clients and pass through. The content is not checked beyond its size.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, avatar, stored_xml};
use crate::contacts;
use crate::error::WalkError;
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
        let from = walk.stanza.from.as_ref();
        let who = from.ok_or_else(StanzaError::bad_request)?.to_bare();
        let card = match may_read(walk, &who).await? {
            true => walk.get(tables::VCARD).await?,
            // What is left is the picture, if its node is open to them.
            false => None,
        };
        let card = card.map(stored_xml::decode).transpose()?;
        match avatar::show(walk, card, &who).await? {
            Some(card) => Ok(Some(card)),
            None if walk.is_from_owner() => Err(StanzaError::item_not_found().into()),
            // §3.3: as if there were no such account, so that nobody finds out which ones there are.
            None => Err(StanzaError::service_unavailable().into()),
        }
    }
    .boxed()
}

/// A vCard is for those who may see the presence, unless the host's setting says that it is for everybody.
async fn may_read(walk: &Walk<'_>, who: &BareJid) -> Result<bool, WalkError> {
    let config = walk.node.config();
    let host = config.host(walk.home.jid.domain());
    let is_open = host.is_some_and(|host| host.public_vcards);
    Ok(is_open || contacts::may_see_presence(walk, who).await?)
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
