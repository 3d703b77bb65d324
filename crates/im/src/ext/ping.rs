//! A client can ask whether the server, or its account on it, still answers.
//!
//! XEP-0199: XMPP Ping, version 2.0.1. Pings to other clients are ordinary IQs and need nothing here.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, HostIq, HostQuery};
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "XMPP Ping",
    xep: 199,
    version: "2.0.1",
    host_features: &[ns::PING],
    account_features: &[],
    account_iqs: &[AccountIq {
        kind: IqType::Get,
        ns: ns::PING,
        name: "ping",
        asker: Asker::Owner,
        handler: pong_for_account,
    }],
    host_iqs: &[HostIq {
        kind: IqType::Get,
        ns: ns::PING,
        name: "ping",
        handler: pong,
    }],
};

fn pong<'q>(_: &'q HostQuery<'q>, _: Element) -> BoxFuture<'q, Answer> {
    async { Ok(None) }.boxed()
}

fn pong_for_account<'w>(_: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async { Ok(None) }.boxed()
}
