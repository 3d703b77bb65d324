//! The table of all keys: name, documentation, default, bounds. Nothing else lists them.

mod gate;
mod heart;
mod media;
mod process;
mod servers;
mod services;

use super::value::{Key, Value};
use super::{Config, Host};
use gate::{HTTP, LIMITS, LISTEN, LOGIN, TLS};
use heart::check_account;
use heart::{ACCOUNTS, CONTACT, DEVICES, MESSAGES, PUBSUB, PUSH, ROOMS, SESSIONS};
pub(crate) use media::is_place;
use media::{MEDIA, S3};
use posthaste_im::config::Keep;
use posthaste_proto::jid::BareJid;
use process::{ADMIN, LOG, SERVER, STORAGE};
use servers::S2S;
pub(crate) use servers::{domain_of, known_host};
use services::EXTERNAL_SERVICES;
pub(crate) use services::{COMPONENT_DOC, COMPONENT_KEYS};
use std::time::Duration;

/// A `[section]` of the file.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) keys: &'static [Key<Config>],
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const DAY_SECONDS: u64 = 86_400;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Every section but the hosts', in the order the example shows them.
pub(crate) const SECTIONS: &[Section] = &[
    LISTEN,
    TLS,
    HTTP,
    LOGIN,
    ACCOUNTS,
    MESSAGES,
    PUBSUB,
    ROOMS,
    SESSIONS,
    DEVICES,
    PUSH,
    CONTACT,
    EXTERNAL_SERVICES,
    S2S,
    LIMITS,
    MEDIA,
    S3,
    STORAGE,
    SERVER,
    LOG,
    ADMIN,
];

/// What the example says above `[host."…"]`.
pub(crate) const HOST_DOC: &[&str] = &[
    "The domains this server serves, one section each.",
    "What a host leaves out follows the sections above.",
];

/// The keys of a `[host."…"]` section.
pub(crate) const HOST_KEYS: &[Key<Host>] = &[
    Key {
        name: "certificate",
        doc: &["This host's own certificate chain in PEM."],
        reload: false,
        value: Value::OptionalPlace {
            example: "/etc/posthaste/example.org.crt",
            field: |h| &mut h.certificate,
        },
    },
    Key {
        name: "private_key",
        doc: &["Its private key in PEM."],
        reload: false,
        value: Value::OptionalPlace {
            example: "/etc/posthaste/example.org.key",
            field: |h| &mut h.private_key,
        },
    },
    Key {
        name: "registration",
        doc: &["Whether strangers may make accounts on this host."],
        reload: true,
        value: Value::OwnSwitch {
            example: false,
            field: |h| &mut h.registration,
        },
    },
    Key {
        name: "keep",
        doc: &["How long this host's messages are kept."],
        reload: true,
        value: Value::OwnRetention {
            example: Keep::Days(30),
            field: |h| &mut h.keep,
        },
    },
    Key {
        name: "public_vcards",
        doc: &["Whether anyone may read the vCards of this host's accounts."],
        reload: true,
        value: Value::OwnSwitch {
            example: true,
            field: |h| &mut h.public_vcards,
        },
    },
    Key {
        name: "pubsub",
        doc: &[
            "The domain of this host's publish-subscribe service (XEP-0060), where * is the host; \"\" for none.",
        ],
        reload: true,
        value: Value::Text {
            default: "pubsub.*",
            check: check_service,
            field: |h| &mut h.pubsub,
        },
    },
    Key {
        name: "rooms",
        doc: &[
            "The domain of this host's rooms for many (XEP-0045), where * is the host; \"\" for none.",
        ],
        reload: true,
        value: Value::Text {
            default: "conference.*",
            check: check_service,
            field: |h| &mut h.rooms,
        },
    },
    Key {
        name: "upload",
        doc: &[
            "The domain at which this host's clients ask where to upload files (XEP-0363), where * is the host; \"\" for none.",
        ],
        reload: true,
        value: Value::Text {
            default: "upload.*",
            check: check_service,
            field: |h| &mut h.upload,
        },
    },
    Key {
        name: "admins",
        doc: &["Who administers this host from a client, beside accounts.admins."],
        reload: true,
        value: Value::Texts {
            default: &[],
            check: check_account,
            field: |h| &mut h.admins,
        },
    },
];

fn check_service(text: &str) -> Result<(), String> {
    let domain = text.replace('*', "example.org");
    if text.is_empty() || (!domain.contains(['@', '/']) && BareJid::new(None, &domain).is_ok()) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not a domain; write for example \"pubsub.*\""
    ))
}
