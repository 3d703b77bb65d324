//! What people are in a room beyond role and affiliation, such as "presenter": the room shows it in their presence.
//!
//! XEP-0317: Hats, version 0.3.1. Owners and admins of a room make hats and give them to users, who may or may not be
//! there, by ad-hoc commands at the room (XEP-0050). An execution is one form: nothing has to be remembered between its
//! being shown and its coming back, so that an id of an execution is only said back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use posthaste_kv::{Kv, Partition, Scan};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::ns;
use posthaste_proto::xep::commands::{Action, Fault, Reply, Request, Status};
use posthaste_proto::xep::data_form::DataForm;
use posthaste_proto::xep::disco::{Identity, Info, Item, Items};
use posthaste_proto::xep::hats::{self, Command, FilledOut, Hat};
use posthaste_proto::xep::muc::Affiliation;
use posthaste_proto::xml::Element;
use sha1::{Digest, Sha1};

use super::occupants::Occupant;
use super::presence::{self, Said};
use super::room::Room;
use super::{broadcast, configured, disco};
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::ext::commands::bad_payload;
use crate::ext::{Answer, Ext};
use crate::tables;
use crate::walk::Walk;

/// The extension. Rooms announce it, not the server.
pub const EXT: Ext = Ext {
    name: "Hats",
    xep: 317,
    version: "0.3.1",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Hats that there are in one room: as many as one finds something in without searching.
const MOST_HATS: u32 = 32;
/// Hats that one user wears: all of them are in each of its presences, to everybody.
const MOST_OF_ONE: u32 = 8;
/// Hats that are worn in one room, by all together: they are in memory as long as the room is, and one answer lists them.
const MOST_WORN: usize = 500;
/// Rows of wearers read at a time; as many as there can be.
const PAGE: usize = MOST_WORN;
const HATS_V1: u8 = 1;
const WEARER_V1: u8 = 1;

/// The hats of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hats {
    /// Which there are, by their URIs.
    all: BTreeMap<String, Hat>,
    /// Who wears which, by their URIs; nobody is listed who wears none.
    worn: BTreeMap<BareJid, BTreeSet<String>>,
}

impl Hats {
    /// The hats of a user.
    fn of(&self, user: &BareJid) -> impl Iterator<Item = &Hat> {
        let worn = self.worn.get(user).into_iter().flatten();
        worn.filter_map(|uri| self.all.get(uri))
    }

    /// Who wears this one.
    fn wearers(&self, uri: &str) -> BTreeSet<BareJid> {
        let wearers = self.worn.iter().filter(|(_, worn)| worn.contains(uri));
        wearers.map(|(user, _)| user.clone()).collect()
    }

    /// How many are worn by all together.
    fn count_worn(&self) -> usize {
        self.worn.values().map(BTreeSet::len).sum()
    }

    /// By what clients see that there are others than they know of; `None` if there are none.
    pub(super) fn hash(&self) -> Option<String> {
        let digest = Sha1::digest(encode_hats(&self.all));
        let hash = || digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (!self.all.is_empty()).then(hash)
    }
}

/// What the room says of an occupant's hats, if it wears some.
pub(super) fn worn(room: &Room, occupant: &Occupant) -> Option<Element> {
    // Most rooms have none: then no address is taken apart.
    if room.hats.worn.is_empty() {
        return None;
    }
    let user = occupant.first()?.jid.to_bare();
    let mut worn = room.hats.of(&user).peekable();
    worn.peek()?;
    Some(hats::to_element(worn))
}

// ---- discovery --------------------------------------------------------------------------------------

/// Is it the node of all commands, or of one of them?
pub(super) fn is_node(node: &str) -> bool {
    node == ns::COMMANDS || Command::of_node(node).is_some()
}

/// XEP-0050 §2.2: the commands, for whoever may run them.
pub(super) fn items(walk: &Walk<'_>) -> Answer {
    managed(walk)?;
    let item = |command: Command| Item {
        jid: walk.home.jid.to_string(),
        node: Some(command.node().to_owned()),
        name: Some(command.name().to_owned()),
    };
    let items = Items {
        node: Some(ns::COMMANDS.to_owned()),
        items: Command::ALL.into_iter().map(item).collect(),
    };
    Ok(Some(items.to_element()))
}

/// XEP-0050 §2.2: what a node is that [`is_node`] knows.
pub(super) fn info(walk: &Walk<'_>, node: &str) -> Answer {
    managed(walk)?;
    let (kind, name) = match Command::of_node(node) {
        Some(command) => ("command-node", command.name()),
        None => ("command-list", "Commands"),
    };
    let info = Info {
        node: Some(node.to_owned()),
        identities: vec![Identity::new("automation", kind, Some(name))],
        features: vec![ns::COMMANDS.to_owned(), ns::DATA_FORMS.to_owned()],
        ..Info::default()
    };
    Ok(Some(info.to_element()))
}

// ---- commands ---------------------------------------------------------------------------------------

/// The hats, for one of the room's owners or admins.
fn managed<'w>(walk: &'w Walk<'_>) -> Result<&'w Hats, StanzaError> {
    disco::check_visible(walk)?;
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let from = walk.stanza.from.as_ref();
    let user = from.ok_or_else(StanzaError::bad_request)?.to_bare();
    if room.affiliation(&user) < Affiliation::Admin {
        return Err(StanzaError::forbidden().with_text("a room's hats are its admins' matter"));
    }
    Ok(&room.hats)
}

/// A command is run, or its form comes back.
pub(super) fn command(walk: &mut Walk<'_>, payload: &Element) -> Answer {
    let request = Request::read(payload)?;
    let known = managed(walk)?;
    let command = Command::of_node(&request.node).ok_or_else(StanzaError::item_not_found)?;
    let question = command.form(known.all.values());
    let is_first = request.session.is_none();
    let mut reply = Reply {
        node: request.node,
        session: request.session.unwrap_or_else(|| walk.node.random_name()),
        status: Status::Completed,
        actions: Vec::new(),
        notes: Vec::new(),
        payload: None,
    };
    match (request.action, question, request.form) {
        (Action::Cancel, ..) if !is_first => reply.status = Status::Canceled,
        (Action::Cancel | Action::Prev | Action::Next, ..) => {
            return Err(StanzaError::from(Fault::BadAction).into());
        }
        (_, None, _) => reply.payload = Some(table(known, command)),
        // As XEP-0317 has it, whoever knows what to say need not ask for the form.
        (_, Some(_), Some(form)) => carry_out(walk, command, &form)?,
        (Action::Execute, Some(question), None) if is_first => {
            reply.status = Status::Executing;
            reply.actions.push(Action::Complete);
            reply.payload = Some(question.to_element());
        }
        (_, Some(_), None) => return Err(StanzaError::from(Fault::BadPayload).into()),
    }
    Ok(Some(reply.to_element()))
}

fn table(known: &Hats, command: Command) -> Element {
    if command == Command::List {
        return hats::list(known.all.values());
    }
    let users = known.worn.keys();
    hats::list_assigned(users.flat_map(|user| known.of(user).map(move |hat| (user, hat))))
}

/// Does what the form says, wholly or not at all.
fn carry_out(walk: &mut Walk<'_>, command: Command, form: &DataForm) -> Result<(), WalkError> {
    let said = FilledOut::read(form);
    match command {
        Command::Create => create(walk, &said),
        Command::Destroy => destroy(walk, said.uri),
        Command::Assign => assign(walk, &whom(walk, &said)?, said.uri),
        Command::Unassign => unassign(walk, &whom(walk, &said)?, said.uri),
        // They ask for no form.
        Command::List | Command::ListAssigned => Ok(()),
    }
}

/// A user, who may be away. The room and its occupants' addresses are none, nor is a server.
fn whom(walk: &Walk<'_>, said: &FilledOut<'_>) -> Result<BareJid, StanzaError> {
    let user = BareJid::parse(said.jid).ok();
    user.filter(|user| user.local().is_some() && *user != walk.home.jid)
        .ok_or_else(|| bad_payload("hats are worn by users, who have addresses without a resource"))
}

fn known<'h>(walk: &'h mut Walk<'_>) -> Result<&'h mut Hats, StanzaError> {
    let room = walk.home.room.as_deref_mut();
    Ok(&mut room.ok_or_else(StanzaError::item_not_found)?.hats)
}

fn full(why: &str) -> StanzaError {
    StanzaError::resource_constraint().with_text(why)
}

fn no_such_hat() -> StanzaError {
    StanzaError::item_not_found().with_text("there is no such hat here")
}

fn create(walk: &mut Walk<'_>, said: &FilledOut<'_>) -> Result<(), WalkError> {
    let hat = Hat::new(said.uri, said.title, Some(said.hue));
    let hat = hat.map_err(|bad| bad_payload(&bad.to_string()))?;
    let hats = known(walk)?;
    match hats.all.get(said.uri) {
        None if hats.all.len() >= MOST_HATS as usize => {
            return Err(full("the room has as many hats as it may have").into());
        }
        Some(same) if *same == hat => return Ok(()),
        _ => {}
    }
    let wearers = hats.wearers(said.uri);
    hats.all.insert(hat.uri.clone(), hat);
    hats_changed(walk)?;
    show(walk, &wearers)
}

fn destroy(walk: &mut Walk<'_>, uri: &str) -> Result<(), WalkError> {
    let hats = known(walk)?;
    if hats.all.remove(uri).is_none() {
        return Err(no_such_hat().into());
    }
    let wearers = hats.wearers(uri);
    for user in &wearers {
        take(walk, user, uri)?;
    }
    hats_changed(walk)?;
    show(walk, &wearers)
}

fn assign(walk: &mut Walk<'_>, user: &BareJid, uri: &str) -> Result<(), WalkError> {
    let hats = known(walk)?;
    if !hats.all.contains_key(uri) {
        return Err(no_such_hat().into());
    }
    let (count, own) = (hats.count_worn(), hats.worn.get(user));
    if own.is_some_and(|own| own.contains(uri)) {
        return Ok(());
    }
    if own.is_some_and(|own| own.len() >= MOST_OF_ONE as usize) {
        return Err(full("nobody wears more hats than this user does").into());
    }
    if count >= MOST_WORN {
        return Err(full("no more hats can be worn in this room").into());
    }
    let own = hats.worn.entry(user.clone()).or_default();
    own.insert(uri.to_owned());
    let value = encode_wearer(own);
    walk.put(wearer_key(user), value);
    show(walk, &BTreeSet::from([user.clone()]))
}

fn unassign(walk: &mut Walk<'_>, user: &BareJid, uri: &str) -> Result<(), WalkError> {
    if !take(walk, user, uri)? {
        return Err(StanzaError::item_not_found()
            .with_text("this user does not wear this hat")
            .into());
    }
    show(walk, &BTreeSet::from([user.clone()]))
}

/// Takes a hat from a user, in memory and in the store. Was it worn?
fn take(walk: &mut Walk<'_>, user: &BareJid, uri: &str) -> Result<bool, StanzaError> {
    let hats = known(walk)?;
    let Some(own) = hats.worn.get_mut(user) else {
        return Ok(false);
    };
    let was_worn = own.remove(uri);
    if own.is_empty() {
        hats.worn.remove(user);
        walk.delete(wearer_key(user));
    } else if was_worn {
        let value = encode_wearer(own);
        walk.put(wearer_key(user), value);
    }
    Ok(was_worn)
}

/// Writes which hats there are, and tells everybody that there are others.
fn hats_changed(walk: &mut Walk<'_>) -> Result<(), StanzaError> {
    let hats = known(walk)?;
    let value = (!hats.all.is_empty()).then(|| encode_hats(&hats.all));
    match value {
        Some(value) => walk.put(tables::ROOM_HATS, value),
        None => walk.delete(tables::ROOM_HATS),
    }
    configured::tell_changed(walk);
    Ok(())
}

/// Everybody sees these users with the hats that they now wear. When a hat of hundreds changes in a room of thousands,
/// clients learn it when they enter next ([`configured::MOST_SHOWN`]).
fn show(walk: &mut Walk<'_>, users: &BTreeSet<BareJid>) -> Result<(), WalkError> {
    let Some((room, out)) = walk.room_and_out().filter(|_| !users.is_empty()) else {
        return Ok(());
    };
    let is_one = |occupant: &&Occupant| {
        let seat = occupant.first();
        seat.is_some_and(|seat| users.contains(&seat.jid.to_bare()))
    };
    let theirs = room.occupants.iter().filter(is_one);
    let theirs: Vec<FullJid> = theirs.map(|it| it.address.clone()).collect();
    let mut left = configured::MOST_SHOWN;
    for address in theirs {
        // Also of those who are not shown now: whoever enters is not to see what was.
        room.occupants.at_mut(&address);
        let Some(occupant) = room.occupants.at(&address) else {
            continue;
        };
        let Some(rest) = left.checked_sub(room.occupants.sessions()) else {
            continue;
        };
        left = rest;
        let stanza = presence::of(room, occupant)?;
        broadcast::presence(room, out, occupant, &stanza, &Said::default());
    }
    Ok(())
}

// ---- rows -------------------------------------------------------------------------------------------

fn wearer_key(user: &BareJid) -> Bytes {
    tables::text_key(tables::ROOM_WEARER, user.as_str())
}

/// The hats of a room as they are stored.
///
/// # Errors
/// The store's, or what is stored cannot be read.
pub(super) async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Hats, WalkError> {
    let mut hats = Hats::default();
    let Some(value) = kv.get(partition, tables::ROOM_HATS).await? else {
        return Ok(hats);
    };
    hats.all = decode_hats(value)?;
    let wearers = Scan::prefix(tables::ROOM_WEARER, PAGE);
    for (key, value) in kv.scan(partition, wearers).await? {
        let user = tables::key_text(tables::ROOM_WEARER, &key).map(BareJid::parse);
        if let Some(Ok(user)) = user {
            hats.worn.insert(user, decode_wearer(value)?);
        }
    }
    Ok(hats)
}

/// Which hats there are.
fn encode_hats(all: &BTreeMap<String, Hat>) -> Bytes {
    let mut value = Writer::new(HATS_V1, 64 * all.len());
    value.u32(u32::try_from(all.len()).unwrap_or(u32::MAX));
    for hat in all.values() {
        let hue = hat.hue.as_deref().unwrap_or_default();
        value.text(&hat.uri).text(&hat.title).text(hue);
    }
    value.finish()
}

fn decode_hats(value: Bytes) -> Result<BTreeMap<String, Hat>, Corrupt> {
    let (_, mut value) = Reader::open("hats of a room", value, HATS_V1)?;
    let count = value.count(MOST_HATS)?;
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let (uri, title) = (value.text()?, value.text()?);
        let hue = Some(value.text()?).filter(|hue| !hue.is_empty());
        all.insert(uri.clone(), Hat { uri, title, hue });
    }
    value.end()?;
    Ok(all)
}

/// Which hats a user wears.
fn encode_wearer(worn: &BTreeSet<String>) -> Bytes {
    let mut value = Writer::new(WEARER_V1, 64);
    value.u32(u32::try_from(worn.len()).unwrap_or(u32::MAX));
    for uri in worn {
        value.text(uri);
    }
    value.finish()
}

fn decode_wearer(value: Bytes) -> Result<BTreeSet<String>, Corrupt> {
    let (_, mut value) = Reader::open("hats of a user", value, WEARER_V1)?;
    let count = value.count(MOST_OF_ONE)?;
    let worn = (0..count).map(|_| value.text()).collect::<Result<_, _>>()?;
    value.end()?;
    Ok(worn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_of_version_1_stay_readable() {
        let hats = [
            Hat::new("urn:a", "A", Some("7.5")).unwrap(),
            Hat::new("urn:b", "B", None).unwrap(),
        ];
        let hats = hats.map(|hat| (hat.uri.clone(), hat)).into();
        let golden = b"\x01\0\0\0\x02\0\0\0\x05urn:a\0\0\0\x01A\0\0\0\x037.5\0\0\0\x05urn:b\0\0\0\x01B\0\0\0\0";
        assert_eq!(&encode_hats(&hats)[..], golden);
        assert_eq!(decode_hats(Bytes::from_static(golden)), Ok(hats));
        assert!(decode_hats(Bytes::from_static(b"\x01\0\0\0\x21")).is_err());
        let worn = ["urn:a", "urn:b"].map(str::to_owned).into();
        let golden = b"\x01\0\0\0\x02\0\0\0\x05urn:a\0\0\0\x05urn:b";
        assert_eq!(&encode_wearer(&worn)[..], golden);
        assert_eq!(decode_wearer(Bytes::from_static(golden)), Ok(worn));
        assert!(decode_wearer(Bytes::from_static(b"\x01\0\0\0\x09")).is_err());
    }
}
