//! The contact list: what one entry is, how it is stored, and how it looks on the wire.
//!
//! RFC 6121 §2, versioning (§2.6) included. Pure: reading and writing the store, pushes and
//! subscriptions are [`crate::contacts`]'. Nothing of a roster
//! stays in memory with an idle session; it is read when presence or the roster itself needs it.
//!
//! Versions: every change of a roster gets a number that is larger than all before it, and each
//! entry remembers the number of its last change. A removed entry stays behind as a tombstone, so
//! that a client that comes back with an old version is told only what has changed since.

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xml::Element;

use crate::codec::{Corrupt, Reader, Writer};
use crate::subscription::{State, Subscription};

/// Most strangers whose unanswered questions are kept. Beyond it further ones are dropped, so that
/// nobody fills another's disk by asking from many addresses.
pub const MAX_PENDING_IN: usize = 500;
/// Longest name of an entry and of a group, in bytes; as long as a part of a JID may be.
pub const MAX_NAME_BYTES: usize = 1_023;
/// Most groups one entry may be in.
pub const MAX_GROUPS: u8 = 64;
/// Tombstones kept. With more removals than this since a client's version it gets the whole roster.
pub const MAX_TOMBSTONES: u32 = 256;

/// One entry of a roster, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterItem {
    /// The contact.
    pub jid: BareJid,
    /// The user's name for the contact.
    pub name: Option<Box<str>>,
    /// The groups the user has put the contact in, without repeats.
    pub groups: Vec<Box<str>>,
    /// Who sees whom.
    pub subscription: Subscription,
    /// Whether the entry is in the roster at all, in a tombstone, or only a stranger's question.
    pub listing: Listing,
    /// The roster version that last changed the entry.
    pub changed: u64,
}

/// Whether the user's clients are shown an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// In the roster.
    Listed,
    /// A contact has asked and is not in the roster (RFC 6121 §3.1.3: such an entry is never
    /// shown); nothing else is known.
    Hidden,
    /// Was in the roster; kept so that clients can be told.
    Removed,
}

impl RosterItem {
    /// An entry that is not in the roster yet.
    pub fn unknown(jid: BareJid) -> Self {
        RosterItem {
            jid,
            name: None,
            groups: Vec::new(),
            subscription: Subscription::default(),
            listing: Listing::Hidden,
            changed: 0,
        }
    }

    /// The same contact with a new subscription. Anything but the bare question of a stranger
    /// makes it part of the roster (RFC 6121 §3.1.2, §3.1.5, §3.4.2).
    pub fn with_subscription(mut self, subscription: Subscription) -> Self {
        self.subscription = subscription;
        if !matches!(subscription.state, State::None | State::NonePendingIn)
            || subscription.approved
        {
            self.listing = Listing::Listed;
        }
        self
    }

    /// What is left of the entry once the user has removed it.
    pub fn into_tombstone(self) -> Self {
        RosterItem {
            listing: Listing::Removed,
            ..RosterItem::unknown(self.jid)
        }
    }

    /// Whether the user's clients can tell the two apart: only then a push is due.
    pub fn looks_like(&self, other: &RosterItem) -> bool {
        let shown = |item: &RosterItem| {
            (item.listing == Listing::Listed).then(|| {
                (
                    item.subscription.state.attribute(),
                    item.subscription.state.is_pending_out(),
                    item.subscription.approved,
                )
            })
        };
        shown(self) == shown(other)
            && (shown(self).is_none() || (self.name == other.name && self.groups == other.groups))
    }

    /// Nothing worth a row: no listing, no question, no tombstone.
    pub fn is_forgettable(&self) -> bool {
        self.listing == Listing::Hidden && self.subscription == Subscription::default()
    }

    /// The `<item/>` of roster results and pushes (RFC 6121 §2.1.2).
    pub fn to_element(&self) -> Element {
        let item = Element::new("item", ns::ROSTER).with_attr("jid", self.jid.as_str());
        if self.listing != Listing::Listed {
            return item.with_attr("subscription", "remove");
        }
        let Subscription { state, approved } = self.subscription;
        item.with_attr("subscription", state.attribute())
            .with_attr_opt("name", self.name.as_deref())
            .with_attr_opt("ask", state.is_pending_out().then_some("subscribe"))
            .with_attr_opt("approved", approved.then_some("true"))
            .with_children(
                self.groups
                    .iter()
                    .map(|group| Element::new("group", ns::ROSTER).with_text(group)),
            )
    }
}

// ---- roster sets ------------------------------------------------------------------------------

/// What a client's roster set asks for (RFC 6121 §2.3, §2.4, §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterSet {
    /// Add the contact, or give it this name and these groups.
    Update {
        /// The contact.
        jid: BareJid,
        /// Its new name.
        name: Option<Box<str>>,
        /// Its new groups.
        groups: Vec<Box<str>>,
    },
    /// Remove the contact and end both subscriptions.
    Remove(BareJid),
}

impl RosterSet {
    /// Reads the `<query/>` of a roster set.
    ///
    /// # Errors
    /// Those of RFC 6121 §2.3.3: `bad-request` for other than one item, a missing or bad JID and
    /// repeated groups; `not-acceptable` for names and groups that are too long or empty.
    pub fn parse(query: &Element) -> Result<RosterSet, StanzaError> {
        let mut items = query
            .children()
            .filter(|child| child.is("item", ns::ROSTER));
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(StanzaError::bad_request().with_text("a roster set carries one item"));
        };
        let jid = item.attr("jid").ok_or_else(StanzaError::bad_request)?;
        let jid = BareJid::parse(jid).map_err(|_| StanzaError::jid_malformed())?;
        // Clients may send any subscription value; all but `remove` are ignored (§2.1.2.5).
        if item.attr("subscription") == Some("remove") {
            return Ok(RosterSet::Remove(jid));
        }
        let name = item.attr("name").filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.len() > MAX_NAME_BYTES) {
            return Err(StanzaError::not_acceptable().with_text("the name is too long"));
        }
        Ok(RosterSet::Update {
            jid,
            name: name.map(Box::from),
            groups: groups_of(item)?,
        })
    }
}

fn groups_of(item: &Element) -> Result<Vec<Box<str>>, StanzaError> {
    let mut groups: Vec<Box<str>> = Vec::new();
    for group in item
        .children()
        .filter(|child| child.is("group", ns::ROSTER))
    {
        let group = group.text();
        if group.is_empty() || group.len() > MAX_NAME_BYTES {
            return Err(
                StanzaError::not_acceptable().with_text("a group's name is empty or too long")
            );
        }
        if groups.iter().any(|known| **known == *group) {
            return Err(StanzaError::bad_request().with_text("a group is named twice"));
        }
        if groups.len() == usize::from(MAX_GROUPS) {
            return Err(StanzaError::not_acceptable().with_text("too many groups"));
        }
        groups.push(group.into());
    }
    Ok(groups)
}

// ---- versions -----------------------------------------------------------------------------------

/// The roster as a whole: its version and how far back its tombstones reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterSummary {
    /// The number of the last change; 0 for a roster that was never touched.
    pub current: u64,
    /// A client with a version below this may have missed removals.
    pub horizon: u64,
    /// Tombstones now stored.
    pub tombstones: u32,
    /// Entries now in the roster.
    pub listed: u32,
}

/// What a client that names a version is to be told (RFC 6121 §2.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It has the current roster: an empty result.
    Current,
    /// An empty result, then a push for each entry that changed after this version.
    Pushes(u64),
    /// The whole roster.
    Whole,
}

impl RosterSummary {
    /// Counts one change. Versions follow the clock (milliseconds since 1970), so that a store that
    /// was lost and begun anew never hands out a version that a client remembers.
    pub fn advance(&mut self, now_ms: u64) -> u64 {
        self.current = now_ms.max(self.current + 1);
        self.current
    }

    /// Counts an entry that changed from one listing to another.
    pub fn recount(&mut self, from: Listing, to: Listing) {
        for (listing, count) in [
            (Listing::Listed, &mut self.listed),
            (Listing::Removed, &mut self.tombstones),
        ] {
            *count += u32::from(to == listing);
            *count = count.saturating_sub(u32::from(from == listing));
        }
    }

    /// What the holder of version `ver` lacks.
    pub fn since(&self, ver: &str) -> Since {
        match ver.parse::<u64>() {
            Ok(ver) if ver == self.current => Since::Current,
            Ok(ver) if ver < self.current && ver >= self.horizon && ver > 0 => Since::Pushes(ver),
            _ => Since::Whole,
        }
    }
}

// ---- stored values --------------------------------------------------------------------------------

const ITEM_V1: u8 = 1;
const SUMMARY_V1: u8 = 1;

const TO: u8 = 1;
const ASKED_OUT: u8 = 2;
const FROM: u8 = 4;
const ASKED_IN: u8 = 8;
const APPROVED: u8 = 16;
const LISTED: u8 = 32;
const REMOVED: u8 = 64;

impl RosterItem {
    /// The stored value. The contact's JID is in the key.
    pub fn encode(&self) -> Bytes {
        let name = self.name.as_deref().unwrap_or("");
        let mut value = Writer::new(ITEM_V1, 17 + name.len());
        value.u8(self.bits()).u64(self.changed).text(name);
        value.u8(u8::try_from(self.groups.len()).expect("at most MAX_GROUPS are ever parsed"));
        for group in &self.groups {
            value.text(group);
        }
        value.finish()
    }

    /// Reads a stored value.
    ///
    /// # Errors
    /// If the value has an unknown version or is damaged.
    pub fn decode(jid: BareJid, value: Bytes) -> Result<RosterItem, Corrupt> {
        let (_, mut value) = Reader::open("roster item", value, ITEM_V1)?;
        let bits = value.u8()?;
        let changed = value.u64()?;
        let name = value.text()?;
        let groups = (0..value.u8()?)
            .map(|_| value.text().map(Box::from))
            .collect::<Result<Vec<_>, _>>()?;
        value.end()?;
        Ok(RosterItem {
            jid,
            name: (!name.is_empty()).then(|| name.into()),
            groups,
            subscription: subscription_of(bits)?,
            listing: match bits & (LISTED | REMOVED) {
                0 => Listing::Hidden,
                LISTED => Listing::Listed,
                REMOVED => Listing::Removed,
                _ => return Err(BAD_BITS),
            },
            changed,
        })
    }

    fn bits(&self) -> u8 {
        let Subscription { state, approved } = self.subscription;
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(state.sees_contact(), TO)
            | bit(state.is_pending_out(), ASKED_OUT)
            | bit(state.is_seen_by_contact(), FROM)
            | bit(state.is_pending_in(), ASKED_IN)
            | bit(approved, APPROVED)
            | bit(self.listing == Listing::Listed, LISTED)
            | bit(self.listing == Listing::Removed, REMOVED)
    }
}

const BAD_BITS: Corrupt = Corrupt {
    what: "roster item",
    why: "its subscription makes no sense",
};

/// The subscription in a stored roster value, without reading the rest: what presence needs of
/// each entry.
///
/// # Errors
/// If the value has an unknown version or is damaged.
pub fn stored_subscription(value: &[u8]) -> Result<Subscription, Corrupt> {
    match value {
        [ITEM_V1, bits, ..] => subscription_of(*bits),
        _ => Err(Corrupt {
            what: "roster item",
            why: "its version is not known here",
        }),
    }
}

fn subscription_of(bits: u8) -> Result<Subscription, Corrupt> {
    let state = match bits & (TO | ASKED_OUT | FROM | ASKED_IN) {
        0 => State::None,
        b if b == ASKED_OUT => State::NonePendingOut,
        b if b == ASKED_IN => State::NonePendingIn,
        b if b == ASKED_OUT | ASKED_IN => State::NonePendingOutIn,
        b if b == TO => State::To,
        b if b == TO | ASKED_IN => State::ToPendingIn,
        b if b == FROM => State::From,
        b if b == FROM | ASKED_OUT => State::FromPendingOut,
        b if b == TO | FROM => State::Both,
        _ => return Err(BAD_BITS),
    };
    Ok(Subscription {
        state,
        approved: bits & APPROVED != 0,
    })
}

impl RosterSummary {
    /// The stored value.
    pub fn encode(&self) -> Bytes {
        let mut value = Writer::new(SUMMARY_V1, 24);
        value
            .u64(self.current)
            .u64(self.horizon)
            .u32(self.tombstones)
            .u32(self.listed);
        value.finish()
    }

    /// Reads a stored value.
    ///
    /// # Errors
    /// If the value has an unknown version or is damaged.
    pub fn decode(value: Bytes) -> Result<RosterSummary, Corrupt> {
        let (_, mut value) = Reader::open("roster summary", value, SUMMARY_V1)?;
        let summary = RosterSummary {
            current: value.u64()?,
            horizon: value.u64()?,
            tombstones: value.u32()?,
            listed: value.u32()?,
        };
        value.end()?;
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_proto::error::Condition;
    use proptest::prelude::*;

    fn juliet() -> BareJid {
        BareJid::parse("juliet@capulet.lit").unwrap()
    }

    fn query(inner: &str) -> Element {
        let xml = format!("<query xmlns='jabber:iq:roster'>{inner}</query>");
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()
    }

    fn refused(inner: &str) -> Condition {
        RosterSet::parse(&query(inner)).unwrap_err().condition
    }

    #[test]
    fn a_roster_set_names_one_contact() {
        let set = RosterSet::parse(&query(
            "<item jid='Juliet@capulet.lit' name='Juliet' subscription='both'><group>Friends</group><group>Verona</group></item>",
        ));
        let groups = vec!["Friends".into(), "Verona".into()];
        assert_eq!(
            set.unwrap(),
            RosterSet::Update {
                jid: juliet(),
                name: Some("Juliet".into()),
                groups
            }
        );
        let set = RosterSet::parse(&query(
            "<item jid='juliet@capulet.lit' subscription='remove'/>",
        ));
        assert_eq!(set.unwrap(), RosterSet::Remove(juliet()));
    }

    #[test]
    fn a_bad_roster_set_gets_the_error_of_rfc_6121() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let groups: String = (0..=MAX_GROUPS)
            .map(|n| format!("<group>{n}</group>"))
            .collect();
        for (inner, condition) in [
            (String::new(), Condition::BadRequest),
            (
                "<item jid='a@b'/><item jid='c@d'/>".to_owned(),
                Condition::BadRequest,
            ),
            ("<item name='nobody'/>".to_owned(), Condition::BadRequest),
            ("<item jid='@'/>".to_owned(), Condition::JidMalformed),
            (
                "<item jid='a@b'><group>x</group><group>x</group></item>".to_owned(),
                Condition::BadRequest,
            ),
            (
                "<item jid='a@b'><group/></item>".to_owned(),
                Condition::NotAcceptable,
            ),
            (
                format!("<item jid='a@b'><group>{long}</group></item>"),
                Condition::NotAcceptable,
            ),
            (
                format!("<item jid='a@b' name='{long}'/>"),
                Condition::NotAcceptable,
            ),
            (
                format!("<item jid='a@b'>{groups}</item>"),
                Condition::NotAcceptable,
            ),
        ] {
            assert_eq!(
                refused(&inner),
                condition,
                "{}",
                &inner[..inner.len().min(60)]
            );
        }
    }

    #[test]
    fn an_item_shows_what_the_rfc_says() {
        let item = RosterItem {
            name: Some("Juliet".into()),
            groups: vec!["Friends".into()],
            ..RosterItem::unknown(juliet()).with_subscription(State::FromPendingOut.into())
        };
        let shown = item.to_element();
        assert_eq!(shown.attr("jid"), Some("juliet@capulet.lit"));
        assert_eq!(shown.attr("subscription"), Some("from"));
        assert_eq!(shown.attr("ask"), Some("subscribe"));
        assert_eq!(shown.attr("approved"), None);
        assert_eq!(shown.attr("name"), Some("Juliet"));
        assert_eq!(shown.child("group", ns::ROSTER).unwrap().text(), "Friends");
        assert_eq!(
            item.into_tombstone().to_element().attr("subscription"),
            Some("remove")
        );
    }

    #[test]
    fn a_strangers_question_is_not_shown_until_it_is_answered() {
        let asked = RosterItem::unknown(juliet()).with_subscription(State::NonePendingIn.into());
        assert_eq!(asked.listing, Listing::Hidden);
        assert!(asked.looks_like(&RosterItem::unknown(juliet())));
        let answered = asked.clone().with_subscription(State::From.into());
        assert_eq!(answered.listing, Listing::Listed);
        assert!(!asked.looks_like(&answered));
        assert!(!asked.is_forgettable());
        assert!(asked.with_subscription(State::None.into()).is_forgettable());
    }

    #[test]
    fn a_question_from_a_listed_contact_needs_no_push() {
        let listed = RosterItem {
            listing: Listing::Listed,
            ..RosterItem::unknown(juliet())
        };
        assert!(
            listed.looks_like(
                &listed
                    .clone()
                    .with_subscription(State::NonePendingIn.into())
            )
        );
        assert!(
            !listed.looks_like(
                &listed
                    .clone()
                    .with_subscription(State::NonePendingOut.into())
            )
        );
    }

    #[test]
    fn a_client_is_told_what_it_lacks() {
        let version = RosterSummary {
            current: 100,
            horizon: 50,
            ..RosterSummary::default()
        };
        assert_eq!(version.since("100"), Since::Current);
        assert_eq!(version.since("99"), Since::Pushes(99));
        assert_eq!(version.since("50"), Since::Pushes(50));
        assert_eq!(version.since("49"), Since::Whole);
        assert_eq!(version.since("101"), Since::Whole);
        assert_eq!(version.since(""), Since::Whole);
        assert_eq!(version.since("ver7"), Since::Whole);
    }

    #[test]
    fn versions_grow_even_when_the_clock_goes_back() {
        let mut version = RosterSummary::default();
        assert_eq!(version.advance(1_000), 1_000);
        assert_eq!(version.advance(10), 1_001);
        assert_eq!(version.advance(1_001), 1_002);
    }

    #[test]
    fn stored_values_of_version_1_stay_readable() {
        let item = RosterItem {
            jid: juliet(),
            name: Some("Jul".into()),
            groups: vec!["A".into(), "B".into()],
            subscription: Subscription {
                state: State::To,
                approved: true,
            },
            listing: Listing::Listed,
            changed: 0x0102_0304_0506_0708,
        };
        let golden =
            b"\x01\x31\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x03Jul\x02\0\0\0\x01A\0\0\0\x01B";
        assert_eq!(&item.encode()[..], golden);
        assert_eq!(
            RosterItem::decode(juliet(), Bytes::from_static(golden)),
            Ok(item)
        );

        let summary = RosterSummary {
            current: 258,
            horizon: 3,
            tombstones: 4,
            listed: 5,
        };
        let golden = b"\x01\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0\x05";
        assert_eq!(&summary.encode()[..], golden);
        assert_eq!(
            RosterSummary::decode(Bytes::from_static(golden)),
            Ok(summary)
        );
    }

    proptest! {
        #[test]
        fn stored_items_come_back(
            name in prop::option::of(".{1,40}"), groups in prop::collection::vec(".{0,20}", 0..4),
            state in prop::sample::select(State::ALL.to_vec()), approved: bool, changed: u64,
            listing in prop::sample::select(vec![Listing::Listed, Listing::Hidden, Listing::Removed]),
        ) {
            let item = RosterItem {
                jid: juliet(),
                name: name.map(Into::into),
                groups: groups.into_iter().map(Into::into).collect(),
                subscription: Subscription { state, approved },
                listing,
                changed,
            };
            let value = item.encode();
            prop_assert_eq!(stored_subscription(&value), Ok(item.subscription));
            prop_assert_eq!(RosterItem::decode(juliet(), value), Ok(item));
        }

        #[test]
        fn damaged_values_are_errors_not_panics(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = RosterItem::decode(juliet(), value.clone().into());
            let _ = RosterSummary::decode(value.into());
        }
    }
}
