//! From the configuration to what the other crates want to be given.

use crate::certificate::{CertificateError, self_signed};
use crate::config::{
    Complaint, Component, Config, Contact, Host, Limits, Login, S2s, domain_of, known_host,
};
use crate::media;
use posthaste_gate::{
    ComponentConfig, GateConfig, GateError, HostCertificate, HttpConfig, ListenerConfig,
    ListenerKind, LoginConfig, ServersConfig, TlsConfig,
};
use posthaste_im::accounts::Settings;
use posthaste_im::config::{HostConfig, PushContent, ServiceDomain, ServiceKind};
use posthaste_im::ext::external_services::{ExternalServices, Service};
use posthaste_im::ext::muc::Creators;
use posthaste_im::session::QueueLimits;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Mechanism;
use std::net::SocketAddr;
use std::time::Duration;

/// What the gate is opened with. Makes the self-signed certificates that are missing.
pub(crate) fn gate_config(config: &Config) -> Result<GateConfig, CertificateError> {
    let listen = &config.listen;
    let listeners = [
        (ListenerKind::Xmpp, &listen.c2s),
        (ListenerKind::XmppTls, &listen.c2s_tls),
        (ListenerKind::Http, &listen.http),
        (ListenerKind::Https, &listen.https),
        (ListenerKind::Components, &listen.components),
        (ListenerKind::Servers, &listen.s2s),
        (ListenerKind::ServersTls, &listen.s2s_tls),
    ];
    let is_of_servers = |kind| matches!(kind, ListenerKind::Servers | ListenerKind::ServersTls);
    let listeners = listeners
        .into_iter()
        .filter(|(kind, _)| config.s2s.enabled || !is_of_servers(*kind));
    let listeners = listeners.flat_map(|(kind, addresses)| {
        let listener = move |address: &_| ListenerConfig {
            address: *address,
            kind,
        };
        addresses.iter().map(listener)
    });
    let address = |text: &String| Some(text.clone()).filter(|address| !address.is_empty());
    Ok(GateConfig {
        listeners: listeners.collect(),
        tls: Some(tls_config(config)?),
        http: HttpConfig {
            public_websocket: address(&config.http.public_websocket),
            public_bosh: address(&config.http.public_bosh),
            origins: config.http.origins.clone(),
        },
        login: login_config(&config.login),
        components: components(config),
        servers: config.s2s.enabled.then(|| servers_config(&config.s2s)),
        plaintext_on_loopback: config.login.plaintext_on_loopback,
        limits: gate_limits(&config.limits),
    })
}

fn components(config: &Config) -> Vec<ComponentConfig> {
    let component = |component: &Component| ComponentConfig {
        domain: component.domain.clone(),
        secret: component.secret.clone(),
    };
    config.components.iter().map(component).collect()
}

fn tls_config(config: &Config) -> Result<TlsConfig, CertificateError> {
    let folder = config.storage.directory.join("tls");
    let hosts = config.hosts.iter().map(|host| {
        let own = host.certificate.as_ref().zip(host.private_key.as_ref());
        let shared = config
            .tls
            .certificate
            .as_ref()
            .zip(config.tls.private_key.as_ref());
        let (certificate, key) = match own.or(shared) {
            Some((certificate, key)) => (certificate.clone(), key.clone()),
            None => {
                let files = self_signed(&folder, host.domain.as_str())?;
                (files.certificate, files.private_key)
            }
        };
        Ok(HostCertificate {
            // What clients say in SNI is the ASCII form.
            host: idna::domain_to_ascii(host.domain.as_str())
                .unwrap_or_else(|_| host.domain.to_string()),
            certificate,
            key,
        })
    });
    Ok(TlsConfig {
        hosts: hosts.collect::<Result<_, _>>()?,
        client_authorities: config.tls.client_ca.clone(),
    })
}

fn gate_limits(limits: &Limits) -> posthaste_gate::Limits {
    posthaste_gate::Limits {
        connections: size(limits.connections),
        connections_per_address: size(limits.connections_per_address),
        handshake_timeout: limits.handshake_timeout,
        negotiation_timeout: limits.negotiation_timeout,
        element_bytes_before_login: size(limits.element_size_before_login),
        stanza_bytes: size(limits.stanza_size),
        idle_probe: limits.idle_probe,
        probe_timeout: limits.probe_timeout,
        element_grace: limits.element_grace,
        element_bytes_per_second: count(limits.element_size_per_second),
        write_stall: limits.write_stall,
        outbound_bytes: size(limits.outbound_size),
        bytes_per_second: Some(count(limits.size_per_second)).filter(|rate| *rate > 0),
        burst_bytes: count(limits.burst_size),
        stanzas_per_turn: size(limits.stanzas_per_turn),
        linger: limits.linger,
        http_requests_per_connection: size(limits.http_requests_per_connection),
    }
}

fn servers_config(s2s: &S2s) -> ServersConfig {
    // What is no entry was refused when the file was read.
    let hosts = s2s.hosts.iter().filter_map(|text| known_host(text).ok());
    let domains = |texts: &[String]| texts.iter().filter_map(|it| domain_of(it).ok()).collect();
    ServersConfig {
        dialback: s2s.dialback,
        authorities: s2s.authorities.clone(),
        hosts: hosts.collect(),
        nameservers: s2s.nameservers.clone(),
        allow: domains(&s2s.allow),
        deny: domains(&s2s.deny),
        queue_stanzas: size(s2s.queue_stanzas),
        queue_bytes: size(s2s.queue_size),
        total_bytes: size(s2s.queues_size),
        streams: size(s2s.domains),
        queue_time: s2s.queue_time,
        idle: s2s.idle_timeout,
        longest_pause: s2s.longest_pause,
        ack_timeout: s2s.ack_timeout,
        connect_timeout: s2s.connect_timeout,
        bytes_per_second: count(s2s.size_per_second),
        burst_bytes: count(s2s.burst_size),
    }
}

fn login_config(login: &Login) -> LoginConfig {
    let is_named = |mechanism: Mechanism| {
        let named = login.mechanisms.iter().any(|name| name == mechanism.name());
        // The HT mechanisms are governed by `fast`.
        named || matches!(mechanism, Mechanism::Ht(_))
    };
    let all = Mechanism::ALL.into_iter();
    LoginConfig {
        mechanisms: all.filter(|mechanism| is_named(*mechanism)).collect(),
        fast: login.fast,
        attempts: count(login.attempts),
    }
}

/// The addresses in use, such as `xmpp 127.0.0.1:5222`.
pub(crate) fn listening(addresses: &[(ListenerKind, SocketAddr)]) -> Vec<String> {
    let name = |kind| match kind {
        ListenerKind::Xmpp => "xmpp",
        ListenerKind::XmppTls => "xmpp-tls",
        ListenerKind::Http => "http",
        ListenerKind::Https => "https",
        ListenerKind::Components => "components",
        ListenerKind::Servers => "s2s",
        ListenerKind::ServersTls => "s2s-tls",
    };
    let each = addresses
        .iter()
        .map(|(kind, address)| format!("{} {address}", name(*kind)));
    each.collect()
}

/// Where the listeners are to be. With a port of 0 they turn out to be elsewhere.
pub(crate) fn configured(config: &Config) -> Vec<(ListenerKind, SocketAddr)> {
    let listen = &config.listen;
    let of = |kind, addresses: &[SocketAddr]| -> Vec<_> {
        addresses.iter().map(|address| (kind, *address)).collect()
    };
    [
        of(ListenerKind::Https, &listen.https),
        of(ListenerKind::Http, &listen.http),
    ]
    .concat()
}

/// What the heart is told, whose HTTP port is at these addresses.
pub(crate) fn heart_config(
    config: &Config,
    listening: &[(ListenerKind, SocketAddr)],
) -> posthaste_im::config::Config {
    let (accounts, sessions) = (&config.accounts, &config.sessions);
    let hosts = config.hosts.iter().map(|host| HostConfig {
        domain: host.domain.clone(),
        keep: host.keep.unwrap_or(config.messages.keep),
        registration: host.registration.unwrap_or(accounts.registration),
        public_vcards: host.public_vcards.unwrap_or(accounts.public_vcards),
        services: services(host),
        media_base: media::base(config, host, listening),
        admins: admins(&host.admins),
    });
    posthaste_im::config::Config {
        hosts: hosts.collect(),
        resume_seconds: count(sessions.resume_timeout.as_secs()),
        queue: QueueLimits {
            bytes: size(sessions.queue_size),
            items: size(sessions.queue_items),
        },
        sessions_per_account: size(sessions.per_account),
        push_content: push_content(config.push.content),
        devices_per_account: size(config.devices.per_account),
        device_days: config.devices.forget_after,
        roster_items: size(accounts.roster_items),
        pubsub: posthaste_im::ext::pubsub::Limits {
            nodes: size(config.pubsub.nodes),
            items_per_node: count(config.pubsub.items),
            item_bytes: size(config.pubsub.item_size),
            bytes: config.pubsub.account_size,
            subscribers_per_node: count(config.pubsub.subscribers),
            service_nodes: size(config.pubsub.service_nodes),
        },
        rooms: posthaste_im::ext::muc::Limits {
            creators: room_creators(config.rooms.creators),
            rooms_per_user: size(config.rooms.per_account),
            occupants: size(config.rooms.occupants),
            shown: size(config.rooms.shown),
            affiliations: size(config.rooms.affiliations),
            history: count(config.rooms.history),
            rates: posthaste_im::ext::muc::pace::Rates {
                messages: count(config.rooms.message_rate),
                room_messages: count(config.rooms.room_message_rate),
                presences: count(config.rooms.presence_rate),
            },
        },
        media: media::limits(&config.media),
        stored_xml_bytes: size(accounts.stored_xml_size),
        blocked_addresses: size(accounts.blocked_addresses),
        accounts: Settings {
            iterations: count(accounts.password_iterations),
            token_days: accounts.token_lifetime,
            token_rotation_hours: whole(accounts.token_rotation, 3_600),
            registrations_per_day: count(accounts.registrations_per_address),
        },
        contacts: contacts(&config.contact),
        reports_to: BareJid::parse(&config.contact.reports_to).ok(),
        admins: admins(&accounts.admins),
        components: listed_components(config),
        external_services: external_services(&config.external_services),
    }
}

fn services(host: &Host) -> Vec<ServiceDomain> {
    let service =
        |kind, domain: Option<BareJid>| domain.map(|domain| ServiceDomain { domain, kind });
    let all = [
        service(ServiceKind::PubSub, host.pubsub_domain()),
        service(ServiceKind::Rooms, host.rooms_domain()),
        service(ServiceKind::Upload, host.upload_domain()),
    ];
    all.into_iter().flatten().collect()
}

fn listed_components(config: &Config) -> Vec<posthaste_im::config::Component> {
    let component = |component: &Component| posthaste_im::config::Component {
        domain: component.domain.clone(),
        name: Some(component.name.clone()).filter(|name| !name.is_empty()),
    };
    config.components.iter().map(component).collect()
}

/// The table of keys has read each of them once.
fn admins(texts: &[String]) -> Vec<BareJid> {
    let read = texts.iter().filter_map(|text| BareJid::parse(text).ok());
    read.collect()
}

fn external_services(keys: &crate::config::ExternalServices) -> ExternalServices {
    // The table of keys has read each of them once.
    let services = keys
        .services
        .iter()
        .filter_map(|uri| Service::parse(uri).ok());
    ExternalServices {
        services: services.collect(),
        secret: Some(keys.secret.clone()).filter(|secret| !secret.expose().is_empty()),
        credentials_seconds: count(keys.credentials_lifetime.as_secs()),
    }
}

/// The table of keys admits these words only.
fn room_creators(word: &str) -> Creators {
    match word {
        "everyone" => Creators::Everyone,
        "admins" => Creators::Admins,
        _ => Creators::Accounts,
    }
}

/// The table of keys admits these words only.
fn push_content(word: &str) -> PushContent {
    match word {
        "count" => PushContent::Count,
        "sender" => PushContent::Sender,
        "body" => PushContent::Body,
        _ => PushContent::Nothing,
    }
}

/// XEP-0157 §2: the field names of the form.
fn contacts(contact: &Contact) -> Vec<(String, String)> {
    let kinds = [
        ("abuse-addresses", &contact.abuse),
        ("admin-addresses", &contact.admin),
        ("feedback-addresses", &contact.feedback),
        ("sales-addresses", &contact.sales),
        ("security-addresses", &contact.security),
        ("status-addresses", &contact.status),
        ("support-addresses", &contact.support),
    ];
    let pairs = kinds
        .into_iter()
        .flat_map(|(kind, uris)| uris.iter().map(move |uri| (kind.to_owned(), uri.clone())));
    pairs.collect()
}

/// A complaint about the key that an error of the gate goes back to.
pub(crate) fn blame(config: &Config, error: &GateError) -> Complaint {
    let listen = &config.listen;
    let key = match error {
        GateError::Listen { address, .. } | GateError::NoCertificate { address } => [
            ("listen.c2s", &listen.c2s),
            ("listen.c2s_tls", &listen.c2s_tls),
            ("listen.http", &listen.http),
            ("listen.https", &listen.https),
            ("listen.components", &listen.components),
            ("listen.s2s", &listen.s2s),
            ("listen.s2s_tls", &listen.s2s_tls),
        ]
        .into_iter()
        .find_map(|(key, addresses)| addresses.contains(address).then_some(key)),
        GateError::Read { file, .. } | GateError::Unusable { file, .. } => {
            (config.s2s.authorities.as_ref() == Some(file)).then_some("s2s.authorities")
        }
    };
    config.origins.blame(key.unwrap_or("tls"), error)
}

/// On a machine whose words are too small, the most that it can count is the limit.
pub(crate) fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The table of keys bounds these far below.
fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A duration in whole units of `seconds`, at least one.
fn whole(duration: Duration, seconds: u64) -> u32 {
    count((duration.as_secs() / seconds).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_im::config::Keep;

    #[test]
    fn the_heart_without_a_configuration_has_its_own_defaults() {
        let ours = heart_config(&Config::defaults(), &[]);
        let theirs = posthaste_im::config::Config {
            hosts: ours.hosts.clone(),
            ..Default::default()
        };
        assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    }

    #[test]
    fn a_host_overrides_what_holds_for_all() {
        let text = "[accounts]\nregistration = true\n[messages]\nkeep = '7d'\n\
                    [host.'a.example']\n[host.'b.example']\nregistration = false\nkeep = 'forever'\n";
        let config = crate::config::parse(text, "test", std::path::Path::new("")).unwrap();
        let heart = heart_config(&config, &[]);
        let (a, b) = (
            heart.host("a.example").unwrap(),
            heart.host("b.example").unwrap(),
        );
        assert_eq!((a.registration, a.keep), (true, Keep::Days(7)));
        assert_eq!((b.registration, b.keep), (false, Keep::Forever));
    }

    #[test]
    fn the_log_in_without_a_configuration_is_the_gates_own() {
        let ours = login_config(&Config::defaults().login);
        assert_eq!(
            format!("{ours:#?}"),
            format!("{:#?}", LoginConfig::default())
        );
    }

    #[test]
    fn only_the_mechanisms_that_are_named_are_offered() {
        let text = "[login]\nmechanisms = ['SCRAM-SHA-256']\nfast = false\nattempts = 2\n";
        let config = crate::config::parse(text, "test", std::path::Path::new("")).unwrap();
        let login = login_config(&config.login);
        let names = login
            .mechanisms
            .iter()
            .filter(|m| !matches!(m, Mechanism::Ht(_)));
        assert_eq!(
            names.map(|m| m.name()).collect::<Vec<_>>(),
            ["SCRAM-SHA-256"]
        );
        assert_eq!((login.fast, login.attempts), (false, 2));
    }

    #[test]
    fn federation_is_off_and_without_a_configuration_it_would_be_the_gates_own() {
        let config = Config::defaults();
        assert!(!config.s2s.enabled);
        let ours = servers_config(&config.s2s);
        let theirs = ServersConfig::default();
        assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    }

    #[test]
    fn the_limits_without_a_configuration_are_the_gates_own() {
        let ours = gate_limits(&Config::defaults().limits);
        let theirs = posthaste_gate::Limits::default();
        assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    }
}
