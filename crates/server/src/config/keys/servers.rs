//! The keys of federation: streams with other servers.

use super::{GIB, KIB, MIB, Section, secs};
use crate::config::value::{Key, Value};
use posthaste_gate::KnownHost;
use posthaste_proto::jid::BareJid;

pub(super) const S2S: Section = Section {
    name: "s2s",
    doc: &[
        "Federation: people on other servers. It is off until it is switched on: whoever talks to the whole",
        "network needs a certificate that others trust and DNS records, and hears from its spammers.",
    ],
    keys: &[
        Key {
            name: "enabled",
            doc: &[
                "Whether this server talks to others. Without it listen.s2s and listen.s2s_tls stay closed.",
            ],
            reload: false,
            value: Value::Switch {
                default: false,
                field: |c| &mut c.s2s.enabled,
            },
        },
        Key {
            name: "dialback",
            doc: &[
                "Whether a server without a trusted certificate may prove itself by a call back to its address",
                "(XEP-0220), which is as safe as the DNS. Streams are encrypted in any case.",
            ],
            reload: false,
            value: Value::Switch {
                default: true,
                field: |c| &mut c.s2s.dialback,
            },
        },
        Key {
            name: "authorities",
            doc: &[
                "The authorities whose certificates count, in PEM; without it those of the system.",
            ],
            reload: false,
            value: Value::OptionalPlace {
                example: "/etc/posthaste/server-ca.pem",
                field: |c| &mut c.s2s.authorities,
            },
        },
        Key {
            name: "hosts",
            doc: &[
                "Where the servers of some domains are, instead of asking the DNS: \"DOMAIN HOST:PORT\", or",
                "\"DOMAIN tls://HOST:PORT\" for TLS from the first byte.",
            ],
            reload: false,
            value: Value::Texts {
                default: &[],
                check: |text| known_host(text).map(drop),
                field: |c| &mut c.s2s.hosts,
            },
        },
        Key {
            name: "nameservers",
            doc: &["The name servers to ask; [] means those of the system."],
            reload: false,
            value: Value::Addresses {
                default: &[],
                field: |c| &mut c.s2s.nameservers,
            },
        },
        Key {
            name: "allow",
            doc: &["The only domains to talk to, with all below them; [] means all."],
            reload: false,
            value: Value::Texts {
                default: &[],
                check: check_domain,
                field: |c| &mut c.s2s.allow,
            },
        },
        Key {
            name: "deny",
            doc: &["Domains not to talk to, with all below them."],
            reload: false,
            value: Value::Texts {
                default: &[],
                check: check_domain,
                field: |c| &mut c.s2s.deny,
            },
        },
        Key {
            name: "queue_time",
            doc: &[
                "How long a message waits for a server that cannot be reached, over restarts too, before its",
                "sender gets it back. What is not worth storing waits a minute at most.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(3_600),
                min: secs(1),
                max: secs(7 * 86_400),
                field: |c| &mut c.s2s.queue_time,
            },
        },
        Key {
            name: "queue_stanzas",
            doc: &[
                "Stanzas that may wait for one domain; more are refused to their senders at once.",
            ],
            reload: false,
            value: Value::Count {
                default: 10_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.s2s.queue_stanzas,
            },
        },
        Key {
            name: "queue_size",
            doc: &["And their size."],
            reload: false,
            value: Value::Size {
                default: 8 * MIB,
                min: 64 * KIB,
                max: GIB,
                field: |c| &mut c.s2s.queue_size,
            },
        },
        Key {
            name: "queues_size",
            doc: &["What may wait for all domains together."],
            reload: false,
            value: Value::Size {
                default: 64 * MIB,
                min: 64 * KIB,
                max: 64 * GIB,
                field: |c| &mut c.s2s.queues_size,
            },
        },
        Key {
            name: "domains",
            doc: &[
                "Domains, each with one of ours, that something may wait for or a stream be open to.",
            ],
            reload: false,
            value: Value::Count {
                default: 10_000,
                min: 1,
                max: 1_000_000,
                field: |c| &mut c.s2s.domains,
            },
        },
        Key {
            name: "idle_timeout",
            doc: &[
                "Silence after which a stream is closed; others close theirs, or we do after twice that time.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(600),
                min: secs(1),
                max: secs(86_400),
                field: |c| &mut c.s2s.idle_timeout,
            },
        },
        Key {
            name: "connect_timeout",
            doc: &["Time to find a server, connect and open a stream."],
            reload: false,
            value: Value::Period {
                default: secs(30),
                min: secs(1),
                max: secs(600),
                field: |c| &mut c.s2s.connect_timeout,
            },
        },
        Key {
            name: "longest_pause",
            doc: &[
                "The longest pause between two attempts to reach a server; it starts at a second.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(60),
                min: secs(1),
                max: secs(3_600),
                field: |c| &mut c.s2s.longest_pause,
            },
        },
        Key {
            name: "ack_timeout",
            doc: &[
                "Time for a server to acknowledge what it was sent before the connection counts as lost.",
            ],
            reload: false,
            value: Value::Period {
                default: secs(60),
                min: secs(1),
                max: secs(3_600),
                field: |c| &mut c.s2s.ack_timeout,
            },
        },
        Key {
            name: "size_per_second",
            doc: &[
                "What a server may send on one stream on average; reading it waits beyond that.",
            ],
            reload: false,
            value: Value::Size {
                default: MIB,
                min: KIB,
                max: GIB,
                field: |c| &mut c.s2s.size_per_second,
            },
        },
        Key {
            name: "burst_size",
            doc: &["What it may send at once before that holds."],
            reload: false,
            value: Value::Size {
                default: 4 * MIB,
                min: KIB,
                max: GIB,
                field: |c| &mut c.s2s.burst_size,
            },
        },
    ],
};

/// Reads an entry of `s2s.hosts`.
pub(crate) fn known_host(text: &str) -> Result<KnownHost, String> {
    let wrong = || format!("{text:?} is not of the form \"example.org host.example.org:5269\"");
    let (domain, place) = text.split_once(' ').ok_or_else(wrong)?;
    let domain = domain_of(domain)?;
    let place = place.trim();
    let (place, direct_tls) = match place.strip_prefix("tls://") {
        Some(place) => (place, true),
        None => (place, false),
    };
    let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok(KnownHost {
        domain,
        host: host.to_owned(),
        port,
        direct_tls,
    })
}

/// The domain as addresses have it.
pub(crate) fn domain_of(text: &str) -> Result<String, String> {
    let domain = BareJid::new(None, text);
    let domain = domain.map_err(|error| format!("{text:?} is not a domain: {error}"))?;
    Ok(domain.as_str().to_owned())
}

fn check_domain(text: &str) -> Result<(), String> {
    domain_of(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_host_is_read_with_its_port_and_kind_of_tls() {
        let known = known_host("Capulet.Test 127.0.0.1:5270").unwrap();
        assert_eq!((known.domain.as_str(), known.port), ("capulet.test", 5270));
        let known = known_host("capulet.test tls://[::1]:1").unwrap();
        assert_eq!((known.host.as_str(), known.direct_tls), ("[::1]", true));
        for bad in [
            "",
            "capulet.test",
            "capulet.test a",
            "a@b c:1",
            "a :1",
            "a b:0",
            "a b:x",
        ] {
            assert!(known_host(bad).is_err(), "{bad}");
        }
    }
}
