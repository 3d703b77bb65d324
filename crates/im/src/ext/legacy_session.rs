//! Old clients start a session after binding a resource: they are told that it is started.
//!
//! RFC 3921 §3. RFC 6121 §1.4 took it out; a server answers with a result and does nothing.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, HostIq, HostQuery};
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Session Establishment",
    xep: 0,
    version: "RFC 3921",
    host_features: &[],
    account_features: &[],
    account_iqs: &[AccountIq {
        kind: IqType::Set,
        ns: ns::SESSION,
        name: "session",
        asker: Asker::Owner,
        handler: for_account,
    }],
    host_iqs: &[HostIq {
        kind: IqType::Set,
        ns: ns::SESSION,
        name: "session",
        handler: for_host,
    }],
};

fn for_account<'w>(_: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async { Ok(None) }.boxed()
}

fn for_host<'q>(_: &'q HostQuery<'q>, _: Element) -> BoxFuture<'q, Answer> {
    async { Ok(None) }.boxed()
}
