//! Whoever asks is told which software the server is.
//!
//! XEP-0092: Software Version, version 1.1. The operating system is left out: it helps nobody but attackers.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{Answer, Ext, HostIq, HostQuery};

/// The extension.
pub const EXT: Ext = Ext {
    name: "Software Version",
    xep: 92,
    version: "1.1",
    host_features: &[ns::VERSION],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[HostIq {
        kind: IqType::Get,
        ns: ns::VERSION,
        name: "query",
        handler: version,
    }],
};

fn version<'q>(_: &'q HostQuery<'q>, _: Element) -> BoxFuture<'q, Answer> {
    let part = |name, text| Element::new(name, ns::VERSION).with_text(text);
    let query = Element::new("query", ns::VERSION)
        .with_child(part("name", "Posthaste"))
        .with_child(part("version", env!("CARGO_PKG_VERSION")));
    async { Ok(Some(query)) }.boxed()
}
