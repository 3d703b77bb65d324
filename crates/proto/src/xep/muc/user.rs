//! What a room says of its occupants and in their name: the `<x/>` of the namespace `muc#user`.

use smallvec::SmallVec;

use super::{Affiliation, Role, Status, child_text, text_child};
use crate::jid::Jid;
use crate::ns;
use crate::xml::Element;

/// `<x xmlns='http://jabber.org/protocol/muc#user'/>` (XEP-0045 §18.2). Nobody but a room says what is in it, except
/// for invitations, declined ones and passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Whom the presence or message is about.
    pub items: SmallVec<[Item; 1]>,
    /// What it is about.
    pub statuses: SmallVec<[Status; 4]>,
    /// The room is no more.
    pub destroy: Option<Destroy>,
    /// Who is invited.
    pub invites: SmallVec<[Invite; 1]>,
    /// An invitation is not accepted.
    pub decline: Option<Decline>,
    /// The password of the room.
    pub password: Option<String>,
}

impl User {
    /// What a presence says of its occupant.
    pub fn of(item: Item) -> User {
        User {
            items: SmallVec::from([item]),
            ..User::default()
        }
    }

    /// The same with one more status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> User {
        self.statuses.push(status);
        self
    }

    /// Reads the `<x/>`. What makes no sense is left out, and so are statuses that we do not know.
    pub fn read(x: &Element) -> User {
        let named = |name: &'static str| {
            x.children()
                .filter(move |child| child.is(name, ns::MUC_USER))
        };
        User {
            items: named("item").map(Item::read).collect(),
            statuses: named("status")
                .filter_map(|status| Status::parse(status.attr("code")?))
                .collect(),
            destroy: named("destroy").next().map(Destroy::read),
            invites: named("invite").map(Invite::read).collect(),
            decline: named("decline").next().map(Decline::read),
            password: child_text(x, "password"),
        }
    }

    /// The `<x/>`.
    pub fn to_element(&self) -> Element {
        let destroy = self.destroy.as_ref();
        Element::new("x", ns::MUC_USER)
            .with_children(self.items.iter().map(|item| item.to_element(ns::MUC_USER)))
            .with_children(self.invites.iter().map(Invite::to_element))
            .with_children(self.decline.as_ref().map(Decline::to_element))
            .with_children(destroy.map(|destroy| destroy.to_element(ns::MUC_USER)))
            .with_children(self.statuses.iter().map(|status| status.to_element()))
            .with_children(text_child(
                "password",
                ns::MUC_USER,
                self.password.as_deref(),
            ))
    }
}

/// Whom something is about: an occupant, or somebody on one of the room's lists (§18.2, §18.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// How they stand to the room.
    pub affiliation: Option<Affiliation>,
    /// What they may do in it now.
    pub role: Option<Role>,
    /// Who they are: full for an occupant, bare on a list.
    pub jid: Option<Jid>,
    /// What they are called: in a room as [`super::Nick`] has it.
    pub nick: Option<String>,
    /// Who did it.
    pub actor: Option<Actor>,
    /// Why.
    pub reason: Option<String>,
}

impl Item {
    /// How an occupant stands.
    pub fn new(affiliation: Affiliation, role: Role) -> Item {
        Item {
            affiliation: Some(affiliation),
            role: Some(role),
            ..Item::default()
        }
    }

    /// Reads the element, in whichever of the namespaces it is.
    pub fn read(item: &Element) -> Item {
        Item {
            affiliation: item.attr("affiliation").and_then(Affiliation::parse),
            role: item.attr("role").and_then(Role::parse),
            jid: jid_attr(item, "jid"),
            nick: item.attr("nick").map(str::to_owned),
            actor: item.child("actor", item.ns()).map(Actor::read),
            reason: child_text(item, "reason"),
        }
    }

    /// The element in the namespace `muc#user` or `muc#admin`.
    pub fn to_element(&self, ns: &'static str) -> Element {
        Element::new("item", ns)
            .with_attr_opt("affiliation", self.affiliation.map(Affiliation::as_str))
            .with_attr_opt("jid", self.jid.as_ref().map(Jid::as_str))
            .with_attr_opt("nick", self.nick.as_deref())
            .with_attr_opt("role", self.role.map(Role::as_str))
            .with_children(self.actor.as_ref().map(|actor| actor.to_element(ns)))
            .with_children(text_child("reason", ns, self.reason.as_deref()))
    }
}

/// Who kicked, banned, or changed something else (§8.2, §9.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The bare JID, where it may be seen.
    pub jid: Option<Jid>,
    /// The nickname, if the actor is in the room.
    pub nick: Option<String>,
}

impl Actor {
    fn read(actor: &Element) -> Actor {
        Actor {
            jid: jid_attr(actor, "jid"),
            nick: actor.attr("nick").map(str::to_owned),
        }
    }

    fn to_element(&self, ns: &'static str) -> Element {
        Element::new("actor", ns)
            .with_attr_opt("jid", self.jid.as_ref().map(Jid::as_str))
            .with_attr_opt("nick", self.nick.as_deref())
    }
}

/// The room is no more (§10.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destroy {
    /// Where to go instead.
    pub venue: Option<Jid>,
    /// The password there.
    pub password: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Destroy {
    /// Reads the element, in whichever of the namespaces it is.
    pub fn read(destroy: &Element) -> Destroy {
        Destroy {
            venue: jid_attr(destroy, "jid"),
            password: child_text(destroy, "password"),
            reason: child_text(destroy, "reason"),
        }
    }

    /// The element in the namespace `muc#user` or `muc#owner`.
    pub fn to_element(&self, ns: &'static str) -> Element {
        Element::new("destroy", ns)
            .with_attr_opt("jid", self.venue.as_ref().map(Jid::as_str))
            .with_children(text_child("password", ns, self.password.as_deref()))
            .with_children(text_child("reason", ns, self.reason.as_deref()))
    }
}

/// A mediated invitation (§7.8.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invite {
    /// Who invites: the room says it.
    pub from: Option<Jid>,
    /// Who is invited: the inviter says it.
    pub to: Option<Jid>,
    /// Why.
    pub reason: Option<String>,
    /// The room continues a one-to-one chat (§7.9).
    pub continues: Option<Continue>,
}

/// A room continues a one-to-one chat (§7.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continue {
    /// The thread of that chat.
    pub thread: Option<String>,
}

impl Invite {
    fn read(invite: &Element) -> Invite {
        let continues = |element: &Element| Continue {
            thread: element.attr("thread").map(str::to_owned),
        };
        Invite {
            from: jid_attr(invite, "from"),
            to: jid_attr(invite, "to"),
            reason: child_text(invite, "reason"),
            continues: invite.child("continue", ns::MUC_USER).map(continues),
        }
    }

    fn to_element(&self) -> Element {
        let continues = self.continues.as_ref().map(|continues| {
            Element::new("continue", ns::MUC_USER)
                .with_attr_opt("thread", continues.thread.as_deref())
        });
        addressed("invite", self.from.as_ref(), self.to.as_ref())
            .with_children(text_child("reason", ns::MUC_USER, self.reason.as_deref()))
            .with_children(continues)
    }
}

/// An invitation is declined (§7.8.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decline {
    /// Who declines: the room says it.
    pub from: Option<Jid>,
    /// Who invited: the invitee says it.
    pub to: Option<Jid>,
    /// Why.
    pub reason: Option<String>,
}

impl Decline {
    fn read(decline: &Element) -> Decline {
        Decline {
            from: jid_attr(decline, "from"),
            to: jid_attr(decline, "to"),
            reason: child_text(decline, "reason"),
        }
    }

    fn to_element(&self) -> Element {
        addressed("decline", self.from.as_ref(), self.to.as_ref()).with_children(text_child(
            "reason",
            ns::MUC_USER,
            self.reason.as_deref(),
        ))
    }
}

fn addressed(name: &'static str, from: Option<&Jid>, to: Option<&Jid>) -> Element {
    Element::new(name, ns::MUC_USER)
        .with_attr_opt("from", from.map(Jid::as_str))
        .with_attr_opt("to", to.map(Jid::as_str))
}

fn jid_attr(element: &Element, name: &str) -> Option<Jid> {
    element.attr(name).and_then(|jid| Jid::parse(jid).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> User {
        let xml = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x>");
        User::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    fn written(user: &User) -> String {
        String::from_utf8(user.to_element().to_bytes(ns::CLIENT)).unwrap()
    }

    #[test]
    fn what_the_xep_shows_is_read_and_written() {
        for inside in [
            "<item affiliation='none' role='none'><actor nick='Fluellen'/>\
             <reason>Avaunt, you cullion!</reason></item><status code='110'/><status code='307'/>",
            "<item affiliation='owner' jid='hag66@shakespeare.lit/pda' nick='oldhag' role='moderator'/>\
             <status code='303'/>",
            "<item affiliation='none' role='none'/><destroy jid='coven@chat.shakespeare.lit'>\
             <reason>Macbeth doth come.</reason></destroy>",
            "<invite from='crone1@shakespeare.lit/desktop'><reason>Hey Hecate!</reason>\
             <continue thread='e0ffe42b28561960'/></invite><password>cauldronburn</password>",
            "<decline to='crone1@shakespeare.lit'><reason>Too busy.</reason></decline>",
        ] {
            let user = read(inside);
            let whole = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x>");
            assert_eq!(written(&user), whole);
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let user =
            read("<item affiliation='king' role='' jid='@'/><status code='1'/><status/><hat/>");
        assert_eq!(user, User::of(Item::default()));
    }
}
