//! How a room's rows are written.

use bytes::Bytes;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::xep::muc::config::{Allowed, PresenceBroadcast, WhoIs};
use posthaste_proto::xep::muc::{Affiliation, Role, RoomConfig};
use smallvec::SmallVec;

use super::occupants::{Occupant, Seat, Views};
use super::room::{Affiliate, Room, Subject};
use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};

const ROOM_V1: u8 = 1;
const SUBJECT_V1: u8 = 1;
const AFFILIATE_V1: u8 = 1;
const OCCUPANT_V1: u8 = 1;
/// Sessions of one occupant that are read back; more than may enter.
const MOST_SEATS: u32 = 1000;

/// The row of the room itself.
pub(super) fn encode_room(room: &Room) -> Bytes {
    let config = &room.config;
    let flags = [
        room.locked,
        config.persistent,
        config.public,
        config.members_only,
        config.moderated,
        config.password.is_some(),
        config.whois == WhoIs::Anyone,
        config.change_subject,
        config.allow_invites,
        config.archiving,
        config.voice_requests,
    ];
    let flags = flags
        .iter()
        .rev()
        .fold(0, |all, is| all << 1 | u32::from(*is));
    let mut value = Writer::new(ROOM_V1, 128);
    value
        .text(room.creator.as_str())
        .u64(room.created_at.millis())
        .u32(flags)
        .u8(private_messages(config.private_messages))
        .u8(roles(config.presence_broadcast))
        .u8(roles(config.member_list))
        .u32(config.max_users.unwrap_or(u32::MAX))
        .u32(config.max_history.unwrap_or(u32::MAX))
        .u32(config.voice_request_seconds)
        .u32(config.slow_mode_seconds)
        .text(&config.name)
        .text(&config.description)
        .text(&config.lang)
        .text(config.password.as_deref().unwrap_or_default())
        .text(&config.pubsub);
    value.finish()
}

/// Reads what [`encode_room`] writes.
pub(super) fn room(value: Bytes) -> Result<Room, Corrupt> {
    let (_, mut value) = Reader::open("room", value, ROOM_V1)?;
    let creator = value.text()?;
    let creator = BareJid::parse(&creator).map_err(|_| value.corrupt("no address"))?;
    let created_at = Timestamp(value.u64()?);
    let flags = value.u32()?;
    let is = |bit: u32| flags & 1 << bit != 0;
    let private_messages = match value.u8()? {
        0 => Allowed::Anyone,
        1 => Allowed::Participants,
        2 => Allowed::Moderators,
        3 => Allowed::Nobody,
        _ => return Err(value.corrupt("a number in it is not known here")),
    };
    let (presence_broadcast, member_list) = (of_roles(value.u8()?), of_roles(value.u8()?));
    let limit = |number: u32| (number != u32::MAX).then_some(number);
    let (max_users, max_history) = (limit(value.u32()?), limit(value.u32()?));
    let (voice_request_seconds, slow_mode_seconds) = (value.u32()?, value.u32()?);
    let config = RoomConfig {
        persistent: is(1),
        public: is(2),
        members_only: is(3),
        moderated: is(4),
        whois: if is(6) {
            WhoIs::Anyone
        } else {
            WhoIs::Moderators
        },
        change_subject: is(7),
        allow_invites: is(8),
        archiving: is(9),
        voice_requests: is(10),
        private_messages,
        presence_broadcast,
        member_list,
        max_users,
        max_history,
        voice_request_seconds,
        slow_mode_seconds,
        name: value.text()?,
        description: value.text()?,
        lang: value.text()?,
        password: Some(value.text()?).filter(|_| is(5)),
        pubsub: value.text()?,
    };
    value.end()?;
    let mut room = Room::new(creator, created_at, config);
    room.locked = is(0);
    Ok(room)
}

fn private_messages(allowed: Allowed) -> u8 {
    match allowed {
        Allowed::Anyone => 0,
        Allowed::Participants => 1,
        Allowed::Moderators => 2,
        Allowed::Nobody => 3,
    }
}

fn roles(of: PresenceBroadcast) -> u8 {
    u8::from(of.moderators) | u8::from(of.participants) << 1 | u8::from(of.visitors) << 2
}

fn of_roles(bits: u8) -> PresenceBroadcast {
    PresenceBroadcast {
        moderators: bits & 1 != 0,
        participants: bits & 2 != 0,
        visitors: bits & 4 != 0,
    }
}

/// The row of the subject.
pub(super) fn encode_subject(subject: &Subject) -> Bytes {
    let mut value = Writer::new(SUBJECT_V1, 8 + subject.stanza.len());
    value.u64(subject.at.millis()).rest(&subject.stanza);
    value.finish()
}

/// Reads what [`encode_subject`] writes.
pub(super) fn subject(value: Bytes) -> Result<Subject, Corrupt> {
    let (_, mut value) = Reader::open("room's subject", value, SUBJECT_V1)?;
    Ok(Subject {
        at: Timestamp(value.u64()?),
        stanza: value.rest(),
    })
}

/// The row of somebody who is something to the room.
pub(super) fn encode_affiliate(affiliate: &Affiliate) -> Bytes {
    let mut value = Writer::new(AFFILIATE_V1, 32);
    value
        .u8(affiliation_number(affiliate.affiliation))
        .text(affiliate.nick.as_deref().unwrap_or_default())
        .text(affiliate.reason.as_deref().unwrap_or_default());
    value.finish()
}

/// Reads what [`encode_affiliate`] writes.
pub(super) fn affiliate(value: Bytes) -> Result<Affiliate, Corrupt> {
    let (_, mut value) = Reader::open("affiliation", value, AFFILIATE_V1)?;
    let text = |text: String| Some(text.into_boxed_str()).filter(|text| !text.is_empty());
    let affiliate = Affiliate {
        affiliation: numbered_affiliation(&mut value)?,
        nick: text(value.text()?),
        reason: text(value.text()?),
    };
    value.end()?;
    Ok(affiliate)
}

/// The row of an occupant while the server restarts.
pub(super) fn encode_occupant(occupant: &Occupant) -> Bytes {
    let mut value = Writer::new(OCCUPANT_V1, 128);
    let role = match occupant.role {
        Role::None => 0,
        Role::Visitor => 1,
        Role::Participant => 2,
        Role::Moderator => 3,
    };
    value
        .u8(affiliation_number(occupant.affiliation))
        .u8(role)
        .u8(u8::from(occupant.is_quiet))
        .u32(u32::try_from(occupant.seats.len()).unwrap_or(u32::MAX));
    for seat in &occupant.seats {
        value.text(seat.jid.as_str()).bytes(&seat.presence);
    }
    value.finish()
}

/// Reads what [`encode_occupant`] writes.
pub(super) fn occupant(room: &Room, address: FullJid, value: Bytes) -> Result<Occupant, Corrupt> {
    let (_, mut value) = Reader::open("occupant", value, OCCUPANT_V1)?;
    let affiliation = numbered_affiliation(&mut value)?;
    let role = match value.u8()? {
        0 => Role::None,
        1 => Role::Visitor,
        2 => Role::Participant,
        3 => Role::Moderator,
        _ => return Err(value.corrupt("a role in it is not known here")),
    };
    let is_quiet = match value.u8()? {
        0 => false,
        1 => true,
        _ => return Err(value.corrupt("neither quiet nor not")),
    };
    let seats = (0..value.count(MOST_SEATS)?).map(|_| {
        let jid = value.text()?;
        let jid = FullJid::parse(&jid).map_err(|_| value.corrupt("no address"))?;
        let presence = value.bytes()?;
        Ok(Seat { jid, presence })
    });
    let seats = seats.collect::<Result<SmallVec<[Seat; 1]>, Corrupt>>()?;
    let Some(first) = seats.first() else {
        return Err(value.corrupt("nobody is there"));
    };
    let id = room.occupant_id(&first.jid.to_bare());
    value.end()?;
    Ok(Occupant {
        address,
        id,
        affiliation,
        role,
        is_quiet,
        seats,
        views: Views::default(),
    })
}

fn affiliation_number(affiliation: Affiliation) -> u8 {
    match affiliation {
        Affiliation::Outcast => 0,
        Affiliation::None => 1,
        Affiliation::Member => 2,
        Affiliation::Admin => 3,
        Affiliation::Owner => 4,
    }
}

fn numbered_affiliation(value: &mut Reader) -> Result<Affiliation, Corrupt> {
    match value.u8()? {
        0 => Ok(Affiliation::Outcast),
        1 => Ok(Affiliation::None),
        2 => Ok(Affiliation::Member),
        3 => Ok(Affiliation::Admin),
        4 => Ok(Affiliation::Owner),
        _ => Err(value.corrupt("an affiliation in it is not known here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::parse(text).unwrap()
    }

    /// No part of a value is read as the whole of it.
    fn is_refused_when_cut<T>(value: &Bytes, read: impl Fn(Bytes) -> Result<T, Corrupt>) {
        for end in 0..value.len() {
            assert!(read(value.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn a_room_of_version_1_stays_readable() {
        let config = RoomConfig {
            name: "N".to_owned(),
            description: "D".to_owned(),
            lang: "en".to_owned(),
            persistent: true,
            password: Some("p".to_owned()),
            whois: WhoIs::Anyone,
            private_messages: Allowed::Moderators,
            presence_broadcast: PresenceBroadcast {
                visitors: false,
                ..PresenceBroadcast::ALL
            },
            max_users: Some(7),
            pubsub: "x".to_owned(),
            voice_request_seconds: 8,
            slow_mode_seconds: 9,
            ..RoomConfig::default()
        };
        let mut before = Room::new(jid("a@b"), Timestamp(5), config);
        before.locked = true;
        let golden = b"\x01\0\0\0\x03a@b\0\0\0\0\0\0\0\x05\0\0\x06\x67\x02\x03\x07\0\0\0\x07\xff\xff\xff\xff\
            \0\0\0\x08\0\0\0\x09\0\0\0\x01N\0\0\0\x01D\0\0\0\x02en\0\0\0\x01p\0\0\0\x01x";
        let value = encode_room(&before);
        assert_eq!(&value[..], golden);
        let after = room(Bytes::from_static(golden)).unwrap();
        assert_eq!(after.config, before.config);
        assert!(after.locked && after.creator == before.creator);
        assert_eq!(after.created_at, before.created_at);
        is_refused_when_cut(&value, room);
    }

    #[test]
    fn the_other_rows_of_version_1_stay_readable() {
        let about = Subject {
            at: Timestamp(6),
            stanza: Bytes::from_static(b"<message/>"),
        };
        assert_eq!(
            &encode_subject(&about)[..],
            b"\x01\0\0\0\0\0\0\0\x06<message/>"
        );
        assert_eq!(subject(encode_subject(&about)), Ok(about));
        let banned = Affiliate {
            affiliation: Affiliation::Outcast,
            nick: None,
            reason: Some("why".into()),
        };
        let value = encode_affiliate(&banned);
        assert_eq!(&value[..], b"\x01\0\0\0\0\0\0\0\0\x03why");
        assert_eq!(affiliate(value.clone()), Ok(banned));
        is_refused_when_cut(&value, affiliate);
        let address = FullJid::parse("coven@c/hag").unwrap();
        let seat = Seat {
            jid: FullJid::parse("a@b/c").unwrap(),
            presence: Bytes::from_static(b"<presence/>"),
        };
        let room = Room::new(jid("a@b"), Timestamp(5), RoomConfig::default());
        let there = Occupant {
            address: address.clone(),
            id: room.occupant_id(&jid("a@b")),
            affiliation: Affiliation::Owner,
            role: Role::Moderator,
            is_quiet: false,
            seats: [seat].into(),
            views: Views::default(),
        };
        let value = encode_occupant(&there);
        assert_eq!(
            &value[..],
            b"\x01\x04\x03\0\0\0\0\x01\0\0\0\x05a@b/c\0\0\0\x0b<presence/>"
        );
        assert_eq!(occupant(&room, address.clone(), value.clone()), Ok(there));
        is_refused_when_cut(&value, |value| occupant(&room, address.clone(), value));
    }
}
