//! Pictures, voice and video: a client asks `upload.example.org` where to put a file, and sends others its address.
//!
//! XEP-0363: HTTP File Upload, version 1.2.0. What is known of files is [`crate::media`]'s; the bytes come and go over
//! HTTP, which is the `media` crate's. Who has uploaded files can list and remove them (`docs/protocol/media.md`). A
//! host whose files have no address (there is no HTTP listener) has no such service. Left out: `<header/>` in slots; what permits an upload stands in its address.

mod files;
mod slot;

use posthaste_kv::Ticket;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, MessageType, Stanza};
use posthaste_proto::xep::disco::{Identity, Info, Items};
use posthaste_proto::xep::upload::{PURPOSE_FEATURES, limits_form};
use posthaste_proto::xml::Element;

use super::{Answer, Ext, media_preview};
use crate::config::HostConfig;
use crate::error::WalkError;
use crate::node::Node;
use crate::router::Envelope;

/// The extension.
pub const EXT: Ext = Ext {
    name: "HTTP File Upload",
    xep: 363,
    version: "1.2.0",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// An IQ to the upload service of a host.
pub(super) struct Query<'q> {
    /// The node.
    pub(super) node: &'q Node,
    /// The host that the service stands beside.
    pub(super) host: &'q HostConfig,
    /// What addresses of the host's files begin with.
    pub(super) base: &'q str,
    /// Who asks.
    pub(super) from: &'q Jid,
}

/// A stanza to the service.
pub async fn receive(
    node: &Node,
    to: &Jid,
    stanza: Stanza,
) -> Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)> {
    let kind = match stanza.kind {
        // It has no presence to share and reads no messages.
        Kind::Presence(_)
        | Kind::Message(MessageType::Error)
        | Kind::Iq(IqType::Result | IqType::Error) => return Ok((Ticket::DURABLE, Vec::new())),
        Kind::Message(_) => return Err((stanza, StanzaError::service_unavailable().into())),
        Kind::Iq(kind) => kind,
    };
    if media_preview::is_asked(&stanza) {
        return media_preview::receive(node, stanza).await;
    }
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
    let config = node.config();
    let host = config.service(to.domain()).map(|(host, _)| host);
    let base = host.and_then(|host| host.media_base.as_deref());
    let (Some(host), Some(base), Some(from), None, None) =
        (host, base, &stanza.from, to.local(), to.resource())
    else {
        return Err(StanzaError::service_unavailable().into());
    };
    let query = Query {
        node,
        host,
        base,
        from,
    };
    match (kind, payload.ns(), payload.name()) {
        (IqType::Get, ns::PING, "ping") => Ok(None),
        (IqType::Get, ns::DISCO_INFO, "query") => info(node, &payload),
        (IqType::Get, ns::DISCO_ITEMS, "query") => Ok(Some(Items::default().to_element())),
        (IqType::Get, ns::UPLOAD, "request") => slot::answer(&query, &payload).await,
        (IqType::Get, ns::MEDIA, "files") => files::list(&query, &payload).await,
        (IqType::Set, ns::MEDIA, "delete") => files::delete(&query, &payload).await,
        _ => Err(StanzaError::service_unavailable().into()),
    }
}

/// §3.
fn info(node: &Node, query: &Element) -> Answer {
    if query.attr("node").is_some_and(|node| !node.is_empty()) {
        return Err(StanzaError::item_not_found().into());
    }
    let features = [
        ns::DISCO_INFO,
        ns::DISCO_ITEMS,
        ns::MEDIA,
        ns::PING,
        ns::UPLOAD,
    ];
    let features = features.into_iter().chain(PURPOSE_FEATURES);
    let features = features.chain(media_preview::feature(node));
    let info = Info {
        identities: vec![Identity::new("store", "file", Some("HTTP File Upload"))],
        features: features.map(str::to_owned).collect(),
        forms: vec![limits_form(node.config().media.largest())],
        ..Info::default()
    };
    Ok(Some(info.to_element()))
}
