//! Clients can keep settings and bookmarks on the server, seen by nobody but their owner.
//!
//! XEP-0049: Private XML Storage, version 1.2. Bookmarks of rooms in it are [`bookmarks`]' to keep.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_kv::Scan;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, bookmarks, stored_xml};
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Private XML Storage",
    xep: 49,
    version: "1.2",
    host_features: &[ns::PRIVATE],
    account_features: &[],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::PRIVATE,
            name: "query",
            asker: Asker::Owner,
            handler: get,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::PRIVATE,
            name: "query",
            asker: Asker::Owner,
            handler: set,
        },
    ],
    host_iqs: &[],
};

/// Elements that one account may store. Clients keep a handful.
pub const MAX_ELEMENTS: usize = 64;

fn get<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        let mut children = query.children();
        // §2.3: one element at a time.
        let (Some(wanted), None) = (children.next(), children.next()) else {
            return Err(StanzaError::not_acceptable().into());
        };
        let found = match walk.get(&key(wanted)).await? {
            Some(value) => stored_xml::decode(value)?,
            None => Element::new(wanted.name().to_owned(), wanted.ns().to_owned()),
        };
        let found = if bookmarks::is_storage(wanted) {
            bookmarks::read(walk, found).await?
        } else {
            found
        };
        Ok(Some(Element::new("query", ns::PRIVATE).with_child(found)))
    }
    .boxed()
}

fn set<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        let known = walk
            .node
            .kv()
            .scan(
                &walk.home.partition,
                Scan::prefix(tables::PRIVATE, MAX_ELEMENTS),
            )
            .await?;
        let mut count = known.len();
        let mut children = query.children().peekable();
        if children.peek().is_none() {
            // §2.2
            return Err(StanzaError::not_acceptable().into());
        }
        for child in children {
            if matches!(child.ns(), "" | ns::PRIVATE | ns::CLIENT) {
                return Err(StanzaError::not_acceptable()
                    .with_text("an element without a namespace of its own")
                    .into());
            }
            let key = key(child);
            count += usize::from(!known.iter().any(|(known, _)| *known == key));
            if count > MAX_ELEMENTS {
                return Err(StanzaError::resource_constraint()
                    .with_text("private storage is full")
                    .into());
            }
            let kept = if bookmarks::is_storage(child) {
                Cow::Owned(bookmarks::write(walk, child).await?)
            } else {
                Cow::Borrowed(child)
            };
            let value = stored_xml::encode(&kept, walk.node.config().stored_xml_bytes)?;
            walk.put(key, value);
        }
        Ok(None)
    }
    .boxed()
}

/// A name has no spaces, so that the two parts cannot be mistaken.
fn key(element: &Element) -> Bytes {
    tables::text_key(
        tables::PRIVATE,
        &format!("{} {}", element.name(), element.ns()),
    )
}
