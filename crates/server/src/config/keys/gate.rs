//! The keys of what owns sockets: listeners, certificates, HTTP, log-in, limits.

use super::{GIB, KIB, MIB, Section, millis, secs};
use crate::config::value::{Key, Value};
use posthaste_proto::sasl::Mechanism;

pub(super) const LISTEN: Section = Section {
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
            name: "components",
            doc: &[
                "External components (XEP-0114), such as \"127.0.0.1:5347\". They speak in the clear: keep it to",
                "loopback or a private network.",
            ],
            reload: false,
            value: Value::Addresses {
                default: &[],
                field: |c| &mut c.listen.components,
            },
        },
        Key {
            name: "s2s",
            doc: &[
                "Other servers, starting in the clear and securing the stream by STARTTLS; see [s2s], which has",
                "to be enabled.",
            ],
            reload: false,
            value: Value::Addresses {
                default: &["0.0.0.0:5269", "[::]:5269"],
                field: |c| &mut c.listen.s2s,
            },
        },
        Key {
            name: "s2s_tls",
            doc: &["Other servers, with TLS from the first byte (XEP-0368)."],
            reload: false,
            value: Value::Addresses {
                default: &["0.0.0.0:5270", "[::]:5270"],
                field: |c| &mut c.listen.s2s_tls,
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

pub(super) const TLS: Section = Section {
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

pub(super) const HTTP: Section = Section {
    name: "http",
    doc: &["The HTTP listeners: WebSocket (RFC 7395), BOSH (XEP-0124) and host-meta (XEP-0156)."],
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
            name: "public_bosh",
            doc: &[
                "The address of BOSH (XEP-0124) that host-meta tells clients, such as",
                "\"https://chat.example.org/http-bind\". Left empty, it is built from each request, or not told if",
                "public_websocket is set.",
            ],
            reload: false,
            value: Value::Text {
                default: "",
                check: check_bosh,
                field: |c| &mut c.http.public_bosh,
            },
        },
        Key {
            name: "origins",
            doc: &["Web origins that may open a WebSocket or use BOSH; [] allows every one."],
            reload: false,
            value: Value::Texts {
                default: &[],
                check: check_origin,
                field: |c| &mut c.http.origins,
            },
        },
    ],
};

pub(super) const LOGIN: Section = Section {
    name: "login",
    doc: &[
        "Logging in. How often it may fail is bounded for each address and each account besides.",
    ],
    keys: &[
        Key {
            name: "mechanisms",
            doc: &[
                "The SASL mechanisms offered, as far as the connection allows: the -PLUS forms and EXTERNAL",
                "want TLS, and EXTERNAL wants tls.client_ca.",
            ],
            reload: false,
            value: Value::Texts {
                default: &[
                    "EXTERNAL",
                    "SCRAM-SHA-512-PLUS",
                    "SCRAM-SHA-256-PLUS",
                    "SCRAM-SHA-1-PLUS",
                    "SCRAM-SHA-512",
                    "SCRAM-SHA-256",
                    "SCRAM-SHA-1",
                    "PLAIN",
                ],
                check: check_mechanism,
                field: |c| &mut c.login.mechanisms,
            },
        },
        Key {
            name: "fast",
            doc: &[
                "Whether clients get tokens with which they log in again in one round trip (XEP-0484).",
            ],
            reload: false,
            value: Value::Switch {
                default: true,
                field: |c| &mut c.login.fast,
            },
        },
        Key {
            name: "attempts",
            doc: &["Failed log-ins on one stream before it is closed."],
            reload: false,
            value: Value::Count {
                default: 5,
                min: 1,
                max: 20,
                field: |c| &mut c.login.attempts,
            },
        },
        Key {
            name: "plaintext_on_loopback",
            doc: &[
                "Whether connections from this machine may log in without TLS: for development, or for a",
                "proxy on this machine that has ended the TLS of WebSocket clients.",
            ],
            reload: false,
            value: Value::Switch {
                default: false,
                field: |c| &mut c.login.plaintext_on_loopback,
            },
        },
    ],
};

pub(super) const LIMITS: Section = Section {
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
                default: 1_024,
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

fn check_websocket(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with("wss://") || text.starts_with("ws://") {
        return Ok(());
    }
    Err(format!("{text:?} does not begin with wss:// or ws://"))
}

fn check_bosh(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with("https://") || text.starts_with("http://") {
        return Ok(());
    }
    Err(format!("{text:?} does not begin with https:// or http://"))
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

/// HT mechanisms are FAST's, which has a key of its own.
fn check_mechanism(name: &str) -> Result<(), String> {
    match Mechanism::from_name(name) {
        Some(Mechanism::Ht(_)) | None => Err(format!("{name:?} is not a mechanism of this server")),
        Some(_) => Ok(()),
    }
}
