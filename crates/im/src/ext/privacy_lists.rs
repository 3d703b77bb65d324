//! Old clients that know privacy lists only see and edit the same block list that newer ones do.
//!
//! XEP-0016: Privacy Lists, version 1.7, as far as one block list can express it: there is one list, under the name that
//! a client gave it, and it is the default list as long as it blocks anybody. Its items deny everything to JIDs; a last
//! item that allows the rest says what holds anyway. Whatever else lists can express (roster groups, subscriptions,
//! allowing some only, blocking some kinds of stanzas only, a second list) is refused with `feature-not-implemented`, and
//! nothing of such a list is kept. Pushes go to the sessions that have used privacy lists, not to all.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Stanza};
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, blocking};
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::session::What;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Privacy Lists",
    xep: 16,
    version: "1.7",
    host_features: &[ns::PRIVACY],
    account_features: &[],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::PRIVACY,
            name: "query",
            asker: Asker::Owner,
            handler: get,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::PRIVACY,
            name: "query",
            asker: Asker::Owner,
            handler: set,
        },
    ],
    host_iqs: &[],
};

const VERSION: u8 = 1;
/// Bytes of a list's name; clients call theirs a word or two.
pub const MAX_NAME_BYTES: usize = 256;
/// The name of a block list that no client of this kind has made.
const NAME: &str = "blocked";

/// What a session has said about privacy lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// It has used them, and is told of changes.
    pub interested: bool,
    /// It has made the list its active one.
    pub active: bool,
}

fn encode(name: &str) -> Bytes {
    let mut value = Writer::new(VERSION, name.len());
    value.rest(name.as_bytes());
    value.finish()
}

fn decode(value: Bytes) -> Result<String, Corrupt> {
    let (_, value) = Reader::open("privacy list's name", value, VERSION)?;
    Ok(String::from_utf8_lossy(&value.rest()).into_owned())
}

/// The name of the list, if anybody is blocked: without entries there is no list.
async fn list_name(walk: &Walk<'_>) -> Result<Option<String>, WalkError> {
    match walk.home.blocked.entries() {
        [] => Ok(None),
        _ => Ok(Some(given_name(walk).await?)),
    }
}

async fn given_name(walk: &Walk<'_>) -> Result<String, WalkError> {
    let name = walk.get(tables::PRIVACY_NAME).await?;
    let name = name.map(decode).transpose()?;
    Ok(name.unwrap_or_else(|| NAME.to_owned()))
}

fn element(name: &'static str) -> Element {
    Element::new(name, ns::PRIVACY)
}

fn named(kind: &'static str, name: &str) -> Element {
    element(kind).with_attr("name", name)
}

/// The attendee's record of this, which only a session has.
fn using<'w>(walk: &'w mut Walk<'_>) -> Result<&'w mut Use, StanzaError> {
    let attendee = walk
        .session
        .and_then(|session| walk.home.attendee_mut(session))
        .ok_or_else(StanzaError::not_allowed)?;
    attendee.privacy.interested = true;
    Ok(&mut attendee.privacy)
}

// ---- reading ------------------------------------------------------------------------------------------

fn get<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        let is_active = using(walk)?.active;
        let list = list_name(walk).await?;
        let mut asked = query.children();
        let answer = match (asked.next(), asked.next()) {
            (None, _) => names(list.as_deref(), is_active),
            (Some(one), None) if one.is("list", ns::PRIVACY) => {
                let name = one.attr("name").ok_or_else(StanzaError::bad_request)?;
                if list.as_deref() != Some(name) {
                    return Err(StanzaError::item_not_found().into());
                }
                element("query").with_child(shown(name, walk.home.blocked.entries()))
            }
            // §2.3: one at a time.
            _ => return Err(StanzaError::bad_request().into()),
        };
        Ok(Some(answer))
    }
    .boxed()
}

fn names(list: Option<&str>, is_active: bool) -> Element {
    let query = element("query");
    let Some(name) = list else { return query };
    let active = is_active.then(|| named("active", name));
    query
        .with_children(active)
        .with_child(named("default", name))
        .with_child(named("list", name))
}

fn shown(name: &str, jids: &[Jid]) -> Element {
    let item = |(number, jid): (usize, &Jid)| {
        element("item")
            .with_attr("type", "jid")
            .with_attr("value", jid.as_str())
            .with_attr("action", "deny")
            .with_attr("order", (number + 1).to_string())
    };
    named("list", name).with_children(jids.iter().enumerate().map(item))
}

// ---- changing -----------------------------------------------------------------------------------------

fn set<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        using(walk)?;
        let mut children = query.children();
        let (Some(child), None) = (children.next(), children.next()) else {
            // §2.1: one thing at a time.
            return Err(StanzaError::bad_request().into());
        };
        let name = child.attr("name");
        match (child.name(), name) {
            ("active", name) => activate(walk, name).await?,
            ("default", name) => make_default(walk, name).await?,
            ("list", Some(name)) if child.children().next().is_none() => remove(walk, name).await?,
            ("list", Some(name)) => edit(walk, name, child).await?,
            _ => return Err(StanzaError::bad_request().into()),
        }
        Ok(None)
    }
    .boxed()
}

/// §2.4: the list holds for every session in any case; which one has chosen it is remembered.
async fn activate(walk: &mut Walk<'_>, name: Option<&str>) -> Result<(), WalkError> {
    if name.is_some() && list_name(walk).await?.as_deref() != name {
        return Err(StanzaError::item_not_found().into());
    }
    using(walk)?.active = name.is_some();
    Ok(())
}

/// §2.5: the list is the default as long as there is one.
async fn make_default(walk: &mut Walk<'_>, name: Option<&str>) -> Result<(), WalkError> {
    let list = list_name(walk).await?;
    match (name, list) {
        (Some(name), Some(list)) if name == list => Ok(()),
        (Some(_), _) => Err(StanzaError::item_not_found().into()),
        (None, None) => Ok(()),
        (None, Some(_)) if is_used_elsewhere(walk) => Err(StanzaError::conflict().into()),
        (None, Some(_)) => Err(refused(
            "the block list always applies; remove it to block nobody",
        )),
    }
}

/// Is there another session, to which the list applies, too?
fn is_used_elsewhere(walk: &Walk<'_>) -> bool {
    walk.session
        .is_some_and(|own| walk.home.others(own).next().is_some())
}

/// §2.8.
async fn remove(walk: &mut Walk<'_>, name: &str) -> Result<(), WalkError> {
    if list_name(walk).await?.as_deref() != Some(name) {
        return Err(StanzaError::item_not_found().into());
    }
    if is_used_elsewhere(walk) {
        return Err(StanzaError::conflict().into());
    }
    let all = walk.home.blocked.entries().to_vec();
    walk.delete(tables::PRIVACY_NAME);
    blocking::unblock_these(walk, &all, &[]).await?;
    push(walk, name);
    Ok(())
}

/// §2.6: the items are the whole list.
async fn edit(walk: &mut Walk<'_>, name: &str, list: &Element) -> Result<(), WalkError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(StanzaError::not_acceptable()
            .with_text("a list has a short name")
            .into());
    }
    if let Some(other) = list_name(walk).await?.filter(|other| other != name) {
        return Err(refused(&format!(
            "there is one list here, and it is {other:?}"
        )));
    }
    let wanted = denied(list)?;
    let blocked = walk.home.blocked.entries();
    let is_new = |jid: &&Jid| !blocked.contains(jid);
    let added: Vec<Jid> = wanted.iter().filter(is_new).cloned().collect();
    let freed: Vec<Jid> = blocked
        .iter()
        .filter(|jid| !wanted.contains(jid))
        .cloned()
        .collect();
    walk.put(tables::PRIVACY_NAME, encode(name));
    if !freed.is_empty() {
        blocking::unblock_these(walk, &freed, &freed).await?;
    }
    if !added.is_empty() {
        blocking::block_these(walk, &added).await?;
    }
    push(walk, name);
    Ok(())
}

/// The JIDs that a list denies, if it does nothing else.
fn denied(list: &Element) -> Result<Vec<Jid>, WalkError> {
    let mut items = list
        .children()
        .map(Item::read)
        .collect::<Result<Vec<_>, StanzaError>>()?;
    items.sort_by_key(|item| item.order);
    if items.windows(2).any(|pair| pair[0].order == pair[1].order) {
        return Err(StanzaError::bad_request()
            .with_text("two items of one order")
            .into());
    }
    // What is let through after all that is denied is what holds anyway.
    if items
        .last()
        .is_some_and(|last| last.subject.is_none() && !last.denies)
    {
        items.pop();
    }
    let denied = items.into_iter().map(|item| match item {
        Item {
            subject: Some(("jid", jid)),
            denies: true,
            is_whole: true,
            ..
        } => Ok(Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())?),
        _ => Err(refused(
            "here a list denies everything to JIDs and allows the rest",
        )),
    });
    let denied = denied.collect::<Result<Vec<Jid>, WalkError>>()?;
    if denied.is_empty() {
        return Err(refused("a list that denies nothing is none"));
    }
    Ok(denied)
}

/// An item as it is written (§2.1).
struct Item<'a> {
    /// Type and value; `None` for what matches everybody.
    subject: Option<(&'a str, &'a str)>,
    denies: bool,
    order: u32,
    /// Are all kinds of stanzas meant?
    is_whole: bool,
}

impl<'a> Item<'a> {
    fn read(item: &'a Element) -> Result<Item<'a>, StanzaError> {
        let order = item.attr("order").and_then(|order| order.parse().ok());
        let denies = match item.attr("action") {
            Some("deny") => true,
            Some("allow") => false,
            _ => return Err(StanzaError::bad_request()),
        };
        let subject = match (item.attr("type"), item.attr("value")) {
            (Some(kind), Some(value)) => Some((kind, value)),
            (None, _) => None,
            (Some(_), None) => return Err(StanzaError::bad_request()),
        };
        Ok(Item {
            subject,
            denies,
            order: order.ok_or_else(StanzaError::bad_request)?,
            is_whole: item.children().next().is_none(),
        })
    }
}

fn refused(why: &str) -> WalkError {
    StanzaError::feature_not_implemented().with_text(why).into()
}

// ---- telling ------------------------------------------------------------------------------------------

/// The block list was changed in another way (XEP-0191): sessions that see it as a privacy list are told.
///
/// # Errors
/// The store's.
pub async fn changed(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if !walk
        .home
        .sessions
        .iter()
        .any(|attendee| attendee.privacy.interested)
    {
        return Ok(());
    }
    let name = given_name(walk).await?;
    push(walk, &name);
    Ok(())
}

/// §2.2, rule 10.
fn push(walk: &mut Walk<'_>, name: &str) {
    let sessions = walk.home.sessions.iter();
    let interested: Vec<_> = sessions
        .filter(|attendee| attendee.privacy.interested)
        .map(|attendee| attendee.session.clone())
        .collect();
    let id = format!("privacy-{:x}", walk.now.millis());
    for session in interested {
        let push = Stanza::iq(IqType::Set)
            .id(id.clone())
            .to(session.jid.clone())
            .with_child(&element("query").with_child(named("list", name)));
        walk.deliver(&session, What::Iq, push.encode(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let golden = b"\x01public";
        assert_eq!(&encode("public")[..], golden);
        assert_eq!(decode(Bytes::from_static(golden)).unwrap(), "public");
        assert!(decode(Bytes::from_static(b"\x02public")).is_err());
    }
}
