//! A client can set its clock by the server's.
//!
//! XEP-0202: Entity Time, version 2.0. The server lives in UTC.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{Answer, Ext, HostIq, HostQuery};

/// The extension.
pub const EXT: Ext = Ext {
    name: "Entity Time",
    xep: 202,
    version: "2.0",
    host_features: &[ns::TIME],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[HostIq {
        kind: IqType::Get,
        ns: ns::TIME,
        name: "time",
        handler: time,
    }],
};

fn time<'q>(query: &'q HostQuery<'q>, _: Element) -> BoxFuture<'q, Answer> {
    let part = |name, text: &str| Element::new(name, ns::TIME).with_text(text);
    let time = Element::new("time", ns::TIME)
        .with_child(part("tzo", "+00:00"))
        .with_child(part("utc", &query.node.now().to_string()));
    async { Ok(Some(time)) }.boxed()
}
