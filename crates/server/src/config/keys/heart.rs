//! The keys of what happens to stanzas: accounts, messages, sessions, contact addresses.

use super::{DAY_SECONDS, GIB, KIB, MIB, Section, secs};
use crate::config::value::{Key, Value};
use posthaste_im::config::Keep;
use posthaste_im::devices::MOST_DEVICES;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::keys::{DEFAULT_ITERATIONS, MAX_ITERATIONS, MIN_ITERATIONS};

pub(super) const ACCOUNTS: Section = Section {
    name: "accounts",
    doc: &["What an account may be and have."],
    keys: &[
        Key {
            name: "registration",
            doc: &["Whether strangers may make accounts from their clients (XEP-0077)."],
            reload: true,
            value: Value::Switch {
                default: false,
                field: |c| &mut c.accounts.registration,
            },
        },
        Key {
            name: "registrations_per_address",
            doc: &["Accounts that one IP address may make in a day."],
            reload: true,
            value: Value::Count {
                default: 10,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.accounts.registrations_per_address,
            },
        },
        Key {
            name: "password_iterations",
            doc: &[
                "Rounds of PBKDF2 for new passwords: what guessing one costs whoever steals the store.",
            ],
            reload: true,
            value: Value::Count {
                default: DEFAULT_ITERATIONS as u64,
                min: MIN_ITERATIONS as u64,
                max: MAX_ITERATIONS as u64,
                field: |c| &mut c.accounts.password_iterations,
            },
        },
        Key {
            name: "token_lifetime",
            doc: &[
                "How long a device may stay away and still log in by its token (XEP-0484), in whole days.",
            ],
            reload: true,
            value: Value::Days {
                default: 60,
                max: 3_650,
                field: |c| &mut c.accounts.token_lifetime,
            },
        },
        Key {
            name: "token_rotation",
            doc: &["How old a token may get before its next use brings a new one, in whole hours."],
            reload: true,
            value: Value::Period {
                default: secs(DAY_SECONDS),
                min: secs(3_600),
                max: secs(365 * DAY_SECONDS),
                field: |c| &mut c.accounts.token_rotation,
            },
        },
        Key {
            name: "public_vcards",
            doc: &[
                "Whether anyone may read an account's vCard (XEP-0054); else only who may see its presence does,",
                "and others get no more than an avatar that is published for everybody.",
            ],
            reload: true,
            value: Value::Switch {
                default: false,
                field: |c| &mut c.accounts.public_vcards,
            },
        },
        Key {
            name: "admins",
            doc: &[
                "Accounts that administer the whole server from any client (XEP-0133), such as",
                "\"admin@example.org\"; they may also shut it down.",
            ],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_account,
                field: |c| &mut c.accounts.admins,
            },
        },
        Key {
            name: "roster_items",
            doc: &["Contacts in one roster."],
            reload: true,
            value: Value::Count {
                default: 5_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.accounts.roster_items,
            },
        },
        Key {
            name: "blocked_addresses",
            doc: &["Addresses one account may block."],
            reload: true,
            value: Value::Count {
                default: 5_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.accounts.blocked_addresses,
            },
        },
        Key {
            name: "stored_xml_size",
            doc: &["One stored vCard, or one element of private storage."],
            reload: true,
            value: Value::Size {
                default: 256 * KIB,
                min: KIB,
                max: 4 * MIB,
                field: |c| &mut c.accounts.stored_xml_size,
            },
        },
    ],
};

pub(super) const MESSAGES: Section = Section {
    name: "messages",
    doc: &["The log of messages behind every account."],
    keys: &[Key {
        name: "keep",
        doc: &[
            "How long a message is kept once it is delivered. Undelivered ones stay in any case.",
            "It is the archive from which other devices of a person fetch what they missed (XEP-0313):",
            "with \"delivered\" whatever one device has taken is gone for the others.",
        ],
        reload: true,
        value: Value::Retention {
            default: Keep::Days(30),
            field: |c| &mut c.messages.keep,
        },
    }],
};

pub(super) const PUBSUB: Section = Section {
    name: "pubsub",
    doc: &["What accounts publish: pictures, moods, bookmarks, keys (XEP-0163)."],
    keys: &[
        Key {
            name: "nodes",
            doc: &[
                "Nodes of one account. Each device with end-to-end encryption takes one or two.",
            ],
            reload: true,
            value: Value::Count {
                default: 500,
                min: 10,
                max: 10_000,
                field: |c| &mut c.pubsub.nodes,
            },
        },
        Key {
            name: "items",
            doc: &["Items of one node. The oldest make room for new ones."],
            reload: true,
            value: Value::Count {
                default: 10_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.pubsub.items,
            },
        },
        Key {
            name: "item_size",
            doc: &["The payload of one item."],
            reload: true,
            value: Value::Size {
                default: 256 * KIB,
                min: KIB,
                max: 4 * MIB,
                field: |c| &mut c.pubsub.item_size,
            },
        },
        Key {
            name: "account_size",
            doc: &["All items of one account."],
            reload: true,
            value: Value::Size {
                default: 64 * MIB,
                min: MIB,
                max: 64 * GIB,
                field: |c| &mut c.pubsub.account_size,
            },
        },
        Key {
            name: "subscribers",
            doc: &["Subscribers of one node, apart from those who see its owner's presence."],
            reload: true,
            value: Value::Count {
                default: 10_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.pubsub.subscribers,
            },
        },
        Key {
            name: "service_nodes",
            doc: &[
                "Nodes of a host's publish-subscribe service; one account creates at most as many as it may have itself.",
            ],
            reload: true,
            value: Value::Count {
                default: 10_000,
                min: 1,
                max: 100_000,
                field: |c| &mut c.pubsub.service_nodes,
            },
        },
    ],
};

pub(super) const ROOMS: Section = Section {
    name: "rooms",
    doc: &["Rooms in which many talk with each other (XEP-0045)."],
    keys: &[
        Key {
            name: "creators",
            doc: &[
                "Who may make rooms: \"everyone\", also from other servers, \"accounts\" of the host, or \"admins\".",
            ],
            reload: true,
            value: Value::Choice {
                default: "accounts",
                of: &["everyone", "accounts", "admins"],
                field: |c| &mut c.rooms.creators,
            },
        },
        Key {
            name: "per_account",
            doc: &["Rooms that one account has made and that still exist."],
            reload: true,
            value: Value::Count {
                default: 100,
                min: 0,
                max: 10_000,
                field: |c| &mut c.rooms.per_account,
            },
        },
        Key {
            name: "occupants",
            doc: &[
                "Clients in one room at a time. Each costs about half a kilobyte, and a stanza with every message.",
            ],
            reload: true,
            value: Value::Count {
                default: 5_000,
                min: 2,
                max: 100_000,
                field: |c| &mut c.rooms.occupants,
            },
        },
        Key {
            name: "shown",
            doc: &[
                "Users in a room of whose coming and going everybody there is told. Whoever enters beyond it sees them and is not",
                "seen until they become a moderator, so that a crowd does not drown in presences; what they say is heard by all.",
            ],
            reload: true,
            value: Value::Count {
                default: 250,
                min: 0,
                max: 100_000,
                field: |c| &mut c.rooms.shown,
            },
        },
        Key {
            name: "affiliations",
            doc: &["Members, banned users and reserved nicknames of one room."],
            reload: true,
            value: Value::Count {
                default: 10_000,
                min: 10,
                max: 100_000,
                field: |c| &mut c.rooms.affiliations,
            },
        },
        Key {
            name: "history",
            doc: &["Messages of the past that whoever enters a room is sent, at most."],
            reload: true,
            value: Value::Count {
                default: 50,
                min: 0,
                max: 500,
                field: |c| &mut c.rooms.history,
            },
        },
        Key {
            name: "message_rate",
            doc: &[
                "Messages a second of one user to one room and those in it, ten seconds' worth of them at once;",
                "0 for any number.",
            ],
            reload: true,
            value: Value::Count {
                default: 10,
                min: 0,
                max: 1_000,
                field: |c| &mut c.rooms.message_rate,
            },
        },
        Key {
            name: "room_message_rate",
            doc: &[
                "Messages a second that all users together say to everybody in one room, ten seconds' worth of",
                "them at once; 0 for any number.",
            ],
            reload: true,
            value: Value::Count {
                default: 200,
                min: 0,
                max: 10_000,
                field: |c| &mut c.rooms.room_message_rate,
            },
        },
        Key {
            name: "presence_rate",
            doc: &[
                "Presences a second of one user in one room (entering, another nickname or status), ten seconds'",
                "worth of them at once; 0 for any number.",
            ],
            reload: true,
            value: Value::Count {
                default: 3,
                min: 0,
                max: 1_000,
                field: |c| &mut c.rooms.presence_rate,
            },
        },
    ],
};

pub(super) const SESSIONS: Section = Section {
    name: "sessions",
    doc: &["Sessions, one for each connected client."],
    keys: &[
        Key {
            name: "per_account",
            doc: &["Sessions of one account at the same time."],
            reload: true,
            value: Value::Count {
                default: 50,
                min: 1,
                max: 10_000,
                field: |c| &mut c.sessions.per_account,
            },
        },
        Key {
            name: "resume_timeout",
            doc: &[
                "How long a client that lost its connection may resume its session (XEP-0198); \"0ms\" for never.",
            ],
            reload: true,
            value: Value::Period {
                default: secs(600),
                min: secs(0),
                max: secs(86_400),
                field: |c| &mut c.sessions.resume_timeout,
            },
        },
        Key {
            name: "queue_size",
            doc: &["What waits in memory for one client; messages beyond it wait in the log."],
            reload: true,
            value: Value::Size {
                default: 128 * KIB,
                min: 16 * KIB,
                max: 64 * MIB,
                field: |c| &mut c.sessions.queue_size,
            },
        },
        Key {
            name: "queue_items",
            doc: &["The same, in stanzas."],
            reload: true,
            value: Value::Count {
                default: 1_000,
                min: 10,
                max: 1_000_000,
                field: |c| &mut c.sessions.queue_items,
            },
        },
    ],
};

pub(super) const DEVICES: Section = Section {
    name: "devices",
    doc: &[
        "Clients that name their installation when they log in (XEP-0388, XEP-0386). Each gets every",
        "message, whichever other one was online when it came.",
    ],
    keys: &[
        Key {
            name: "per_account",
            doc: &[
                "Devices of one account. One more takes the place of the one that was away for longest.",
            ],
            reload: true,
            value: Value::Count {
                default: 20,
                min: 1,
                max: MOST_DEVICES as u64,
                field: |c| &mut c.devices.per_account,
            },
        },
        Key {
            name: "forget_after",
            doc: &[
                "A device that stays away for so long, in whole days, is forgotten with its log-in token.",
                "Until then what it has not got is kept for it.",
            ],
            reload: true,
            value: Value::Days {
                default: 60,
                max: 3_650,
                field: |c| &mut c.devices.forget_after,
            },
        },
    ],
};

pub(super) const PUSH: Section = Section {
    name: "push",
    doc: &[
        "Notifications that wake clients through the push service of their app (XEP-0357). Whoever",
        "runs that service, and the phone's maker, read what is in them.",
    ],
    keys: &[Key {
        name: "content",
        doc: &[
            "What they tell: \"nothing\" but that there is something, the \"count\" of messages, also the",
            "last one's \"sender\", or also its \"body\".",
        ],
        reload: true,
        value: Value::Choice {
            default: "nothing",
            of: &["nothing", "count", "sender", "body"],
            field: |c| &mut c.push.content,
        },
    }],
};

pub(super) const CONTACT: Section = Section {
    name: "contact",
    doc: &[
        "Who is behind this server, as clients show it (XEP-0157): lists of addresses such as",
        "\"mailto:admin@example.org\" or \"xmpp:admin@example.org\".",
    ],
    keys: &[
        Key {
            name: "abuse",
            doc: &["To report abuse to."],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.abuse,
            },
        },
        Key {
            name: "admin",
            doc: &["Whoever runs the server."],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.admin,
            },
        },
        Key {
            name: "feedback",
            doc: &["For praise and complaints."],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.feedback,
            },
        },
        Key {
            name: "sales",
            doc: &["For orders."],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.sales,
            },
        },
        Key {
            name: "security",
            doc: &["To report holes to."],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.security,
            },
        },
        Key {
            name: "status",
            doc: &[
                "Where the state of the service is told, such as \"https://status.example.org\".",
            ],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.status,
            },
        },
        Key {
            name: "support",
            doc: &["For help."],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: check_uri,
                field: |c| &mut c.contact.support,
            },
        },
        Key {
            name: "reports_to",
            doc: &[
                "The account that gets a message when a user blocks somebody for spam or abuse (XEP-0377), such as",
                "\"abuse@example.org\"; empty: reports are only counted.",
            ],
            reload: true,
            value: Value::Text {
                default: "",
                check: |text| match text {
                    "" => Ok(()),
                    text => check_account(text),
                },
                field: |c| &mut c.contact.reports_to,
            },
        },
    ],
};

pub(super) fn check_account(text: &str) -> Result<(), String> {
    match BareJid::parse(text) {
        Ok(jid) if jid.local().is_some() => Ok(()),
        _ => Err(format!(
            "{text:?} is not an account; write for example \"admin@example.org\""
        )),
    }
}

fn check_uri(text: &str) -> Result<(), String> {
    let scheme = text
        .split_once(':')
        .map(|(scheme, rest)| (scheme, !rest.is_empty()));
    match scheme {
        Some((scheme, true)) if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(()),
        _ => Err(format!(
            "{text:?} is not an address; write for example \"mailto:admin@example.org\""
        )),
    }
}
