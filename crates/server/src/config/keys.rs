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
pub(crate) const SECTIONS: &[Section] = &[LISTEN, TLS, HTTP, LOGIN, LIMITS, STORAGE, LOG, ADMIN];

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
            example: Keep::For(Duration::from_secs(30 * 86_400)),
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
