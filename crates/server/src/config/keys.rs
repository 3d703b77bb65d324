//! The table of all keys: name, documentation, default, bounds. Nothing else lists them.

use super::value::{Keep, Key, Value};
use super::{Config, Host};
use std::time::Duration;

/// A `[section]` of the file.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) keys: &'static [Key<Config>],
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every section but the hosts', in the order the example shows them.
pub(crate) const SECTIONS: &[Section] = &[LISTEN, TLS, STORAGE, LOG, ADMIN];

const LISTEN: Section = Section {
    name: "listen",
    doc: &["The addresses to listen on; [] switches a listener off."],
    keys: &[
        Key {
            name: "c2s",
            doc: &["Clients, starting in the clear and securing the stream by STARTTLS."],
            reload: false,
            value: Value::Addresses {
                default: &["0.0.0.0:5222", "[::]:5222"],
                field: |c| &mut c.listen.c2s,
            },
        },
        Key {
            name: "c2s_tls",
            doc: &["Clients, with TLS from the first byte (XEP-0368)."],
            reload: false,
            value: Value::Addresses {
                default: &["0.0.0.0:5223", "[::]:5223"],
                field: |c| &mut c.listen.c2s_tls,
            },
        },
        Key {
            name: "http",
            doc: &[
                "WebSocket clients at /xmpp-websocket, and host-meta (XEP-0156).",
                "Put a TLS proxy in front where it is not loopback.",
            ],
            reload: false,
            value: Value::Addresses {
                default: &["127.0.0.1:5280"],
                field: |c| &mut c.listen.http,
            },
        },
        Key {
            name: "metrics",
            doc: &["Prometheus metrics at /metrics. Keep it from strangers."],
            reload: false,
            value: Value::Addresses {
                default: &["127.0.0.1:9280"],
                field: |c| &mut c.listen.metrics,
            },
        },
    ],
};

const TLS: Section = Section {
    name: "tls",
    doc: &["Certificates. They are read again on reload, so renewing one needs no restart."],
    keys: &[
        Key {
            name: "certificate",
            doc: &["The certificate chain in PEM, for every host that names none of its own."],
            reload: true,
            value: Value::OptionalPlace {
                example: "/etc/letsencrypt/live/example.org/fullchain.pem",
                field: |c| &mut c.tls.certificate,
            },
        },
        Key {
            name: "private_key",
            doc: &["Its private key in PEM."],
            reload: true,
            value: Value::OptionalPlace {
                example: "/etc/letsencrypt/live/example.org/privkey.pem",
                field: |c| &mut c.tls.private_key,
            },
        },
        Key {
            name: "client_ca",
            doc: &["Authorities whose client certificates may log in (SASL EXTERNAL), in PEM."],
            reload: true,
            value: Value::OptionalPlace {
                example: "/etc/posthaste/client-ca.pem",
                field: |c| &mut c.tls.client_ca,
            },
        },
        Key {
            name: "self_signed",
            doc: &[
                "Whether a host without a certificate gets one signed by itself, made once and kept in",
                "the storage directory. Clients warn of it, so it is for trying things out.",
            ],
            reload: true,
            value: Value::Switch {
                default: true,
                field: |c| &mut c.tls.self_signed,
            },
        },
    ],
};

const STORAGE: Section = Section {
    name: "storage",
    doc: &["Where messages and accounts are kept."],
    keys: &[
        Key {
            name: "directory",
            doc: &["The folder that holds everything this server must not lose."],
            reload: false,
            value: Value::Place {
                default: "data",
                field: |c| &mut c.storage.directory,
            },
        },
        Key {
            name: "memory",
            doc: &["Memory for the store's caches and write buffers."],
            reload: false,
            value: Value::Size {
                default: 64 * MIB,
                min: 8 * MIB,
                max: 1 << 40,
                field: |c| &mut c.storage.memory,
            },
        },
        Key {
            name: "free_disk_floor",
            doc: &[
                "With less than this free on the disk, nothing more is stored: senders get an error they can",
                "act on, and what is stored stays whole.",
            ],
            reload: false,
            value: Value::Size {
                default: 256 * MIB,
                min: 16 * MIB,
                max: 1024 * GIB,
                field: |c| &mut c.storage.free_disk_floor,
            },
        },
    ],
};

const LOG: Section = Section {
    name: "log",
    doc: &["The log goes to standard error. It never holds message content or credentials."],
    keys: &[
        Key {
            name: "level",
            doc: &["error, warn, info, debug or trace; or by part: \"info,posthaste_gate=debug\"."],
            reload: true,
            value: Value::Text {
                default: "info",
                check: crate::log::check_level,
                field: |c| &mut c.log.level,
            },
        },
        Key {
            name: "format",
            doc: &["How a line looks."],
            reload: false,
            value: Value::Choice {
                default: "text",
                of: &["text", "json"],
                field: |c| &mut c.log.format,
            },
        },
    ],
};

const ADMIN: Section = Section {
    name: "admin",
    doc: &["The local socket behind `posthaste user`, `status` and `reload`."],
    keys: &[Key {
        name: "socket",
        doc: &["Its path; left out, it is admin.sock in the storage directory."],
        reload: false,
        value: Value::OptionalPlace {
            example: "/run/posthaste/admin.sock",
            field: |c| &mut c.admin.socket,
        },
    }],
};

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
        reload: true,
        value: Value::OptionalPlace {
            example: "/etc/posthaste/example.org.crt",
            field: |h| &mut h.certificate,
        },
    },
    Key {
        name: "private_key",
        doc: &["Its private key in PEM."],
        reload: true,
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
            example: Keep::For(Duration::from_secs(30 * 86_400)),
            field: |h| &mut h.keep,
        },
    },
];
