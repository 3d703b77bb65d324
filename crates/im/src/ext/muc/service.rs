//! The service as an addressee: `conference.example.org` says which rooms there are (§6.1 to §6.4).

use posthaste_kv::Ticket;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, MessageType, Stanza};
use posthaste_proto::xep::disco::{Identity, Info, Item};
use posthaste_proto::xml::Element;

use super::{Outcome, directory, search};
use crate::ext::Answer;
use crate::ext::disco::page_of_items;
use crate::node::Node;
use crate::router::Envelope;

/// Rooms in one answer, beyond which whoever asks goes on with the next page (XEP-0059).
const MAX_PAGE: usize = 100;
/// §7.4: the `id` of a message comes back to whoever sent it.
const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";

/// A stanza to the service itself.
pub async fn receive(node: &Node, to: &Jid, stanza: Stanza) -> Outcome {
    let kind = match stanza.kind {
        // It has no presence to share and reads no messages.
        Kind::Presence(_)
        | Kind::Message(MessageType::Error)
        | Kind::Iq(IqType::Result | IqType::Error) => return Ok((Ticket::DURABLE, Vec::new())),
        Kind::Message(_) => return Err((stanza, StanzaError::service_unavailable().into())),
        Kind::Iq(kind) => kind,
    };
    match answer(node, to, kind, &stanza).await {
        Ok(answer) => {
            let reply = Envelope::new(stanza.result(answer));
            Ok((Ticket::DURABLE, vec![reply]))
        }
        Err(error) => Err((stanza, error)),
    }
}

async fn answer(node: &Node, to: &Jid, kind: IqType, stanza: &Stanza) -> Answer {
    let payload = stanza.payload()?;
    if to.resource().is_some() {
        return Err(StanzaError::service_unavailable().into());
    }
    match (kind, payload.ns(), payload.name()) {
        (IqType::Get, ns::PING, "ping") => Ok(None),
        (IqType::Get, ns::DISCO_INFO, "query") => info(&payload),
        (IqType::Get, ns::DISCO_ITEMS, "query") => items(node, &to.to_bare(), &payload).await,
        (IqType::Get, ns::CHANNEL_SEARCH, "search") => {
            search::answer(node, &to.to_bare(), &payload).await
        }
        _ => Err(StanzaError::service_unavailable().into()),
    }
}

fn info(query: &Element) -> Answer {
    if query.attr("node").is_some_and(|node| !node.is_empty()) {
        return Err(StanzaError::item_not_found().into());
    }
    let features = [
        ns::DISCO_INFO,
        ns::DISCO_ITEMS,
        ns::CHANNEL_SEARCH,
        ns::MUC,
        ns::PING,
        ns::RSM,
        // Every room has them (XEP-0421 §4).
        ns::OCCUPANT_ID,
        STABLE_ID,
    ];
    let info = Info {
        identities: vec![Identity::new("conference", "text", Some("Rooms"))],
        features: features.map(str::to_owned).to_vec(),
        ..Info::default()
    };
    Ok(Some(info.to_element()))
}

async fn items(node: &Node, service: &BareJid, query: &Element) -> Answer {
    if query.attr("node").is_some_and(|node| !node.is_empty()) {
        return Err(StanzaError::item_not_found().into());
    }
    let listed = directory::public(node, service).await?;
    let item = |(jid, name): &(BareJid, String)| Item {
        jid: jid.as_str().to_owned(),
        node: None,
        name: Some(name.clone()).filter(|name| !name.is_empty()),
    };
    page_of_items(query, &listed, |(jid, _)| jid.as_str(), MAX_PAGE, item)
}
