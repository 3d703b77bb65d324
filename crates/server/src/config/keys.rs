//! The table of all keys: name, documentation, default, bounds. Nothing else lists them.

use super::value::{Key, Value};
use super::{Config, Host};
use posthaste_im::config::Keep;
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

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Every section but the hosts', in the order the example shows them.
pub(crate) const SECTIONS: &[Section] = &[
    LISTEN, TLS, HTTP, LOGIN, ACCOUNTS, MESSAGES, SESSIONS, CONTACT, LIMITS, STORAGE, SERVER, LOG,
    ADMIN,
];

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
            name: "https",
            doc: &[
                "The same over TLS. A client that asks for XMPP there (ALPN xmpp-client) gets it, so that",
                "one port 443 serves both.",
            ],
            reload: false,
            value: Value::Addresses {
                default: &[],
                field: |c| &mut c.listen.https,
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
    doc: &["Certificates. The files are read again on reload, so renewing one needs no restart."],
    keys: &[
        Key {
            name: "certificate",
            doc: &["The certificate chain in PEM, for every host that names none of its own."],
            reload: false,
            value: Value::OptionalPlace {
                example: "/etc/letsencrypt/live/example.org/fullchain.pem",
                field: |c| &mut c.tls.certificate,
            },
        },
        Key {
            name: "private_key",
            doc: &["Its private key in PEM."],
            reload: false,
            value: Value::OptionalPlace {
                example: "/etc/letsencrypt/live/example.org/privkey.pem",
                field: |c| &mut c.tls.private_key,
            },
        },
        Key {
            name: "client_ca",
            doc: &["Authorities whose client certificates may log in (SASL EXTERNAL), in PEM."],
            reload: false,
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
            reload: false,
            value: Value::Switch {
                default: true,
                field: |c| &mut c.tls.self_signed,
            },
        },
    ],
};

const HTTP: Section = Section {
    name: "http",
    doc: &["The HTTP listeners: WebSocket (RFC 7395) and host-meta (XEP-0156)."],
    keys: &[
        Key {
            name: "public_websocket",
            doc: &[
                "The WebSocket address that host-meta tells clients, {host} standing for their host, such as",
                "\"wss://chat.example.org/xmpp-websocket\". Left empty, it is built from each request.",
            ],
            reload: false,
            value: Value::Text {
                default: "",
                check: check_websocket,
                field: |c| &mut c.http.public_websocket,
            },
        },
        Key {
            name: "origins",
            doc: &["Web origins that may open a WebSocket; [] allows every one."],
            reload: false,
            value: Value::Texts {
                check: check_origin,
                field: |c| &mut c.http.origins,
            },
        },
    ],
};

const LOGIN: Section = Section {
    name: "login",
    doc: &["Logging in."],
    keys: &[Key {
        name: "plaintext_on_loopback",
        doc: &["Whether clients on this machine may log in without TLS. For development only."],
        reload: false,
        value: Value::Switch {
            default: false,
            field: |c| &mut c.login.plaintext_on_loopback,
        },
    }],
};

const ACCOUNTS: Section = Section {
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

const MESSAGES: Section = Section {
    name: "messages",
    doc: &["The log of messages behind every account."],
    keys: &[Key {
        name: "keep",
        doc: &[
            "How long a message is kept once it is delivered. Undelivered ones stay in any case.",
        ],
        reload: true,
        value: Value::Retention {
            default: Keep::Delivered,
            field: |c| &mut c.messages.keep,
        },
    }],
};

const SESSIONS: Section = Section {
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

const CONTACT: Section = Section {
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
                check: check_uri,
                field: |c| &mut c.contact.abuse,
            },
        },
        Key {
            name: "admin",
            doc: &["Whoever runs the server."],
            reload: true,
            value: Value::Texts {
                check: check_uri,
                field: |c| &mut c.contact.admin,
            },
        },
        Key {
            name: "feedback",
            doc: &["For praise and complaints."],
            reload: true,
            value: Value::Texts {
                check: check_uri,
                field: |c| &mut c.contact.feedback,
            },
        },
        Key {
            name: "sales",
            doc: &["For orders."],
            reload: true,
            value: Value::Texts {
                check: check_uri,
                field: |c| &mut c.contact.sales,
            },
        },
        Key {
            name: "security",
            doc: &["To report holes to."],
            reload: true,
            value: Value::Texts {
                check: check_uri,
                field: |c| &mut c.contact.security,
            },
        },
        Key {
            name: "support",
            doc: &["For help."],
            reload: true,
            value: Value::Texts {
                check: check_uri,
                field: |c| &mut c.contact.support,
            },
        },
    ],
};

const LIMITS: Section = Section {
    name: "limits",
    doc: &["What one client, one address or all together may cost."],
    keys: &[
        Key {
            name: "connections",
            doc: &["Connections at once; more are closed at once. Bounds file descriptors."],
            reload: false,
            value: Value::Count {
                default: 1_000_000,
                min: 1,
                max: 10_000_000,
                field: |c| &mut c.limits.connections,
            },
        },
        Key {
            name: "connections_per_address",
            doc: &[
                "Connections at once from one IPv4 address or one IPv6 /64. Mobile carriers put thousands of",
                "people behind one address.",
            ],
            reload: false,
            value: Value::Count {
                default: 2_000,
                min: 1,
                max: 10_000_000,
                field: |c| &mut c.limits.connections_per_address,
            },
        },
        Key {
            name: "handshake_timeout",
            doc: &["Time for a TLS handshake, and for the head of an HTTP request."],
            reload: false,
            value: Value::Period {
                default: secs(15),
                min: secs(1),
                max: secs(300),
                field: |c| &mut c.limits.handshake_timeout,
            },
        },
        Key {
            name: "negotiation_timeout",
            doc: &["Time from the connection to a bound session, TLS and log-in included."],
            reload: false,
            value: Value::Period {
                default: secs(60),
                min: secs(5),
                max: secs(600),
                field: |c| &mut c.limits.negotiation_timeout,
            },
        },
        Key {
            name: "element_size_before_login",
            doc: &["One element before log-in (RFC 6120 forbids less than 10000 bytes)."],
            reload: false,
            value: Value::Size {
                default: 16 * KIB,
                min: 10_000,
                max: MIB,
                field: |c| &mut c.limits.element_size_before_login,
            },
        },
        Key {
            name: "stanza_size",
            doc: &["One stanza after log-in."],
            reload: false,
            value: Value::Size {
                default: 256 * KIB,
                min: 10_000,
                max: 4 * MIB,
                field: |c| &mut c.limits.stanza_size,
            },
        },
        Key {
            name: "idle_probe",
            doc: &["Silence after which a client is asked whether it is still there."],
            reload: false,
            value: Value::Period {
                default: secs(300),
                min: secs(10),
                max: secs(86_400),
                field: |c| &mut c.limits.idle_probe,
            },
        },
        Key {
            name: "probe_timeout",
            doc: &[
                "Time to answer that, and to acknowledge what was sent, before the connection counts as lost.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(60),
                min: secs(5),
                max: secs(3_600),
                field: |c| &mut c.limits.probe_timeout,
            },
        },
        Key {
            name: "element_grace",
            doc: &[
                "Time an unfinished element may take at any speed; after that it has to have come in at",
                "element_size_per_second.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(30),
                min: secs(1),
                max: secs(600),
                field: |c| &mut c.limits.element_grace,
            },
        },
        Key {
            name: "element_size_per_second",
            doc: &["The least speed of an unfinished element past its grace."],
            reload: false,
            value: Value::Size {
                default: 64,
                min: 1,
                max: MIB,
                field: |c| &mut c.limits.element_size_per_second,
            },
        },
        Key {
            name: "write_stall",
            doc: &[
                "Time a client may take nothing of what waits for it before the connection counts as lost.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(60),
                min: secs(5),
                max: secs(3_600),
                field: |c| &mut c.limits.write_stall,
            },
        },
        Key {
            name: "outbound_size",
            doc: &[
                "Output kept in memory for a client that does not read; the rest waits in the log.",
            ],
            reload: false,
            value: Value::Size {
                default: 64 * KIB,
                min: 4 * KIB,
                max: 64 * MIB,
                field: |c| &mut c.limits.outbound_size,
            },
        },
        Key {
            name: "size_per_second",
            doc: &[
                "What a session may send a second on average; past it reading is delayed, nothing is lost.",
                "\"0 B\" sets no bound.",
            ],
            reload: false,
            value: Value::Size {
                default: 128 * KIB,
                min: 0,
                max: GIB,
                field: |c| &mut c.limits.size_per_second,
            },
        },
        Key {
            name: "burst_size",
            doc: &["What it may send at once before that average holds."],
            reload: false,
            value: Value::Size {
                default: MIB,
                min: KIB,
                max: GIB,
                field: |c| &mut c.limits.burst_size,
            },
        },
        Key {
            name: "stanzas_per_turn",
            doc: &["Stanzas handled for one client before others have their turn."],
            reload: false,
            value: Value::Count {
                default: 64,
                min: 1,
                max: 10_000,
                field: |c| &mut c.limits.stanzas_per_turn,
            },
        },
        Key {
            name: "linger",
            doc: &["Time for a client to take the last bytes of a stream that was closed."],
            reload: false,
            value: Value::Period {
                default: secs(2),
                min: millis(100),
                max: secs(60),
                field: |c| &mut c.limits.linger,
            },
        },
        Key {
            name: "http_requests_per_connection",
            doc: &["Requests on one HTTP connection before it is closed."],
            reload: false,
            value: Value::Count {
                default: 1_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.limits.http_requests_per_connection,
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
        Key {
            name: "cache",
            doc: &["Memory for what was read from the disk."],
            reload: false,
            value: Value::Size {
                default: 32 * MIB,
                min: MIB,
                max: 1024 * GIB,
                field: |c| &mut c.storage.cache,
            },
        },
        Key {
            name: "write_buffer",
            doc: &[
                "Memory for what goes to the disk's tables next; up to four of them at once. The store is",
                "made with this and keeps it.",
            ],
            reload: false,
            value: Value::Size {
                default: 16 * MIB,
                min: 4 * MIB,
                max: 4 * GIB,
                field: |c| &mut c.storage.write_buffer,
            },
        },
        Key {
            name: "undurable",
            doc: &["Senders are held back while more than this is on its way to the disk."],
            reload: false,
            value: Value::Size {
                default: 8 * MIB,
                min: MIB,
                max: GIB,
                field: |c| &mut c.storage.undurable,
            },
        },
        Key {
            name: "commit_interval",
            doc: &[
                "The least time between two syncs of the disk under load. Longer ones share a sync between",
                "more messages and let acknowledgements wait longer.",
            ],
            reload: false,
            value: Value::Period {
                default: millis(1),
                min: millis(0),
                max: secs(1),
                field: |c| &mut c.storage.commit_interval,
            },
        },
    ],
};

const SERVER: Section = Section {
    name: "server",
    doc: &["The process."],
    keys: &[Key {
        name: "threads",
        doc: &["Worker threads; 0 for one on each core."],
        reload: false,
        value: Value::Count {
            default: 0,
            min: 0,
            max: 1_024,
            field: |c| &mut c.server.threads,
        },
    }],
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
];

fn check_websocket(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with("wss://") || text.starts_with("ws://") {
        return Ok(());
    }
    Err(format!("{text:?} does not begin with wss:// or ws://"))
}

fn check_origin(text: &str) -> Result<(), String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains('/') => Ok(()),
        _ => Err(format!(
            "{text:?} is not an origin; write for example \"https://chat.example.org\""
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
