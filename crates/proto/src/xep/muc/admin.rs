//! What moderators, admins and owners ask of a room: the namespace `muc#admin`.
//!
//! XEP-0045 §8 to §10, schema in §18.3.

use super::{Affiliation, Item, MAX_REASON_BYTES, Nick, Role};
use crate::error::StanzaError;
use crate::jid::{BareJid, Jid};
use crate::ns;
use crate::xml::Element;

/// Most changes in one request: it is done wholly or not at all, in one commit.
pub const MAX_CHANGES: usize = 256;

/// Which of the room's lists is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Everybody with this affiliation, whether inside or not; never [`Affiliation::None`].
    Affiliation(Affiliation),
    /// Every occupant with this role; never [`Role::None`].
    Role(Role),
}

impl List {
    /// Reads the `<query/>` of an IQ of type `get`.
    ///
    /// # Errors
    /// `bad-request` unless it asks for exactly one list that there is: §5.2 keeps none of the unaffiliated, and whoever
    /// has no role is no occupant.
    pub fn read(query: &Element) -> Result<List, StanzaError> {
        let mut items = items(query);
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(StanzaError::bad_request().with_text("ask for one list"));
        };
        match (read_affiliation(item)?, read_role(item)?) {
            (Some(affiliation), None) if affiliation != Affiliation::None => {
                Ok(List::Affiliation(affiliation))
            }
            (None, Some(role)) if role != Role::None => Ok(List::Role(role)),
            _ => Err(StanzaError::bad_request().with_text("there is no such list")),
        }
    }
}

/// One thing that is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub what: What,
    /// Why; at most [`MAX_REASON_BYTES`].
    pub reason: Option<String>,
}

/// What is to be changed. Never a role and an affiliation at once (§17.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The role of all occupants who go by this nickname (§8.2 to §8.5, §9.6 to §9.8).
    Role {
        /// Who.
        nick: Nick,
        /// To what; [`Role::None`] to kick.
        role: Role,
    },
    /// The affiliation of a user (§9.1 to §9.5, §10.3 to §10.8).
    Affiliation {
        /// Who.
        whom: Whom,
        /// To what.
        affiliation: Affiliation,
        /// What becomes of the nickname that is kept for the user (§9.5).
        reserved: Reserved,
    },
}

/// Whose affiliation is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The user's, or everybody's of a domain (§9.2). A full JID means its bare one (§10.3).
    Jid(BareJid),
    /// COMPAT(clients that cannot see JIDs): the user's who goes by this nickname. §9.1 leaves the translation to the
    /// client, which cannot do it in a room whose JIDs it does not know.
    Nick(Nick),
}

/// What becomes of a reserved nickname (§9.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// What it was.
    Unchanged,
    /// This one.
    Set(Nick),
    /// None.
    Cleared,
}

impl Change {
    /// Reads the `<query/>` of an IQ of type `set`: at least one change and at most [`MAX_CHANGES`].
    ///
    /// # Errors
    /// `bad-request` if an item asks for nothing, for a role and an affiliation at once (§17.4), or for none that there
    /// is, or names nobody; `jid-malformed` if an address is none; `policy-violation` if there are too many changes or a
    /// reason is too long.
    pub fn read(query: &Element) -> Result<Vec<Change>, StanzaError> {
        if items(query).nth(MAX_CHANGES).is_some() {
            return Err(StanzaError::policy_violation().with_text("too many changes at once"));
        }
        let changes = items(query)
            .map(read_change)
            .collect::<Result<Vec<_>, _>>()?;
        if changes.is_empty() {
            return Err(StanzaError::bad_request());
        }
        Ok(changes)
    }
}

fn read_change(item: &Element) -> Result<Change, StanzaError> {
    let reason = super::child_text(item, "reason").filter(|reason| !reason.is_empty());
    if reason
        .as_ref()
        .is_some_and(|reason| reason.len() > MAX_REASON_BYTES)
    {
        return Err(StanzaError::policy_violation().with_text("the reason is too long"));
    }
    let what = match (read_affiliation(item)?, read_role(item)?) {
        (None, Some(role)) => What::Role {
            nick: read_nick(item)?.ok_or_else(StanzaError::bad_request)?,
            role,
        },
        (Some(affiliation), None) => read_affiliation_change(item, affiliation)?,
        _ => return Err(StanzaError::bad_request()),
    };
    Ok(Change { what, reason })
}

fn read_affiliation_change(item: &Element, affiliation: Affiliation) -> Result<What, StanzaError> {
    let Some(jid) = item.attr("jid") else {
        return Ok(What::Affiliation {
            whom: Whom::Nick(read_nick(item)?.ok_or_else(StanzaError::bad_request)?),
            affiliation,
            reserved: Reserved::Unchanged,
        });
    };
    let jid = Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())?;
    let reserved = match item.attr("nick") {
        None => Reserved::Unchanged,
        Some("") => Reserved::Cleared,
        Some(_) => read_nick(item)?.map_or(Reserved::Cleared, Reserved::Set),
    };
    Ok(What::Affiliation {
        whom: Whom::Jid(jid.to_bare()),
        affiliation,
        reserved,
    })
}

fn items(query: &Element) -> impl Iterator<Item = &Element> {
    query
        .children()
        .filter(|child| child.is("item", ns::MUC_ADMIN))
}

fn read_affiliation(item: &Element) -> Result<Option<Affiliation>, StanzaError> {
    let read = |word| Affiliation::parse(word).ok_or_else(StanzaError::bad_request);
    item.attr("affiliation").map(read).transpose()
}

fn read_role(item: &Element) -> Result<Option<Role>, StanzaError> {
    let read = |word| Role::parse(word).ok_or_else(StanzaError::bad_request);
    item.attr("role").map(read).transpose()
}

fn read_nick(item: &Element) -> Result<Option<Nick>, StanzaError> {
    let read = |nick| Nick::parse(nick).map_err(|_| StanzaError::jid_malformed());
    item.attr("nick").map(read).transpose()
}

/// The answer to a `get`: the list.
pub fn list(items: impl IntoIterator<Item = Item>) -> Element {
    let items = items.into_iter().map(|item| item.to_element(ns::MUC_ADMIN));
    Element::new("query", ns::MUC_ADMIN).with_children(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Condition;

    fn query(inside: &str) -> Element {
        let xml = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{inside}</query>");
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()
    }

    fn refused(inside: &str) -> Condition {
        Change::read(&query(inside)).unwrap_err().condition
    }

    #[test]
    fn each_list_can_be_asked_for_alone() {
        let list = |inside| List::read(&query(inside));
        assert_eq!(
            list("<item affiliation='outcast'/>"),
            Ok(List::Affiliation(Affiliation::Outcast))
        );
        assert_eq!(
            list("<item role='participant'/>"),
            Ok(List::Role(Role::Participant))
        );
        for wrong in [
            "",
            "<item/>",
            "<item role='none'/>",
            "<item affiliation='none'/>",
            "<item role='king'/>",
            "<item role='visitor' affiliation='member'/>",
            "<item role='visitor'/><item role='moderator'/>",
        ] {
            assert_eq!(
                list(wrong).unwrap_err().condition,
                Condition::BadRequest,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_kick_and_a_ban_are_read() {
        let changes = Change::read(&query(
            "<item nick='pistol' role='none'><reason>Avaunt, you cullion!</reason></item>\
             <item affiliation='outcast' jid='earlofcambridge@shakespeare.lit/stabber'/>\
             <item affiliation='outcast' jid='shakespeare.lit'/>\
             <item affiliation='outcast' nick='cambridge'/>",
        ))
        .unwrap();
        let nick = |nick| Nick::parse(nick).unwrap();
        let banned = |whom| What::Affiliation {
            whom,
            affiliation: Affiliation::Outcast,
            reserved: Reserved::Unchanged,
        };
        let jid = |jid| Whom::Jid(BareJid::parse(jid).unwrap());
        let whats: Vec<What> = changes.iter().map(|change| change.what.clone()).collect();
        assert_eq!(
            whats,
            [
                What::Role {
                    nick: nick("pistol"),
                    role: Role::None
                },
                banned(jid("earlofcambridge@shakespeare.lit")),
                banned(jid("shakespeare.lit")),
                banned(Whom::Nick(nick("cambridge"))),
            ]
        );
        assert_eq!(changes[0].reason.as_deref(), Some("Avaunt, you cullion!"));
    }

    #[test]
    fn a_member_may_be_given_a_nick_or_lose_it() {
        let reserved = |nick: &str| {
            let item = format!("<item affiliation='member' jid='hag66@shakespeare.lit'{nick}/>");
            match Change::read(&query(&item)).unwrap().remove(0).what {
                What::Affiliation { reserved, .. } => reserved,
                What::Role { .. } => unreachable!("an affiliation was asked for"),
            }
        };
        assert_eq!(reserved(""), Reserved::Unchanged);
        assert_eq!(reserved(" nick=''"), Reserved::Cleared);
        assert_eq!(
            reserved(" nick='thirdwitch'"),
            Reserved::Set(Nick::parse("thirdwitch").unwrap())
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_as_a_whole() {
        for wrong in [
            "",
            "<item/>",
            "<item nick='pistol'/>",
            "<item role='participant'/>",
            "<item affiliation='member'/>",
            "<item nick='pistol' role='king'/>",
            "<item nick='pistol' role='none' affiliation='outcast'/>",
            "<item nick='a' role='none'/><item nick='b' role=''/>",
        ] {
            assert_eq!(refused(wrong), Condition::BadRequest, "{wrong}");
        }
        assert_eq!(
            refused("<item affiliation='member' jid='a@'/>"),
            Condition::JidMalformed
        );
        assert_eq!(
            refused("<item role='none' nick=' '/>"),
            Condition::JidMalformed
        );
    }

    #[test]
    fn a_request_has_a_bound() {
        let item = "<item nick='pistol' role='none'/>";
        assert_eq!(
            Change::read(&query(&item.repeat(MAX_CHANGES)))
                .unwrap()
                .len(),
            MAX_CHANGES
        );
        assert_eq!(
            refused(&item.repeat(MAX_CHANGES + 1)),
            Condition::PolicyViolation
        );
        let because = |length| {
            let reason = "x".repeat(length);
            query(&format!(
                "<item nick='a' role='none'><reason>{reason}</reason></item>"
            ))
        };
        assert!(Change::read(&because(MAX_REASON_BYTES)).is_ok());
        assert!(Change::read(&because(MAX_REASON_BYTES + 1)).is_err());
    }

    #[test]
    fn a_list_is_what_the_xep_shows() {
        let item = Item {
            affiliation: Some(Affiliation::Outcast),
            jid: Some(Jid::parse("earlofcambridge@shakespeare.lit").unwrap()),
            reason: Some("Treason".to_owned()),
            ..Item::default()
        };
        assert_eq!(
            list([item]),
            query(
                "<item affiliation='outcast' jid='earlofcambridge@shakespeare.lit'><reason>Treason</reason></item>"
            )
        );
    }
}
