//! What an operator decides of the heart's behaviour. The server crate reads it from its file.

use posthaste_proto::jid::BareJid;

use crate::accounts;
use crate::ext::external_services::ExternalServices;
use crate::ext::{muc, pubsub};
use crate::media;
use crate::session::QueueLimits;

/// How long messages stay in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until they are delivered.
    Delivered,
    /// So many days, and in any case until they are delivered.
    Days(u32),
    /// For good.
    Forever,
}

/// An external component, as discovery shows it.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its domain.
    pub domain: BareJid,
    /// Words for people.
    pub name: Option<String>,
}

impl Config {
    /// The components that a host lists: those below its domain, and those that are below none.
    pub fn components_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Component> {
        let is_below = |component: &Component, host: &str| {
            let rest = component.domain.as_str().strip_suffix(host);
            rest.is_some_and(|rest| rest.ends_with('.'))
        };
        self.components.iter().filter(move |component| {
            let mut hosts = self.hosts.iter().map(|host| host.domain.as_str());
            is_below(component, host) || !hosts.any(|host| is_below(component, host))
        })
    }
}

/// One virtual host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its domain, as a bare JID without a local part.
    pub domain: BareJid,
    /// Retention of its accounts' logs.
    pub keep: Keep,
    /// May anyone make an account by in-band registration (XEP-0077), and change a password or remove it by it?
    pub registration: bool,
    /// May anyone read its accounts' vCards (XEP-0054), or only who may see their presence?
    pub public_vcards: bool,
    /// The services beside it.
    pub services: Vec<ServiceDomain>,
    /// Who administers it by commands (XEP-0133), beside those of the whole server.
    pub admins: Vec<BareJid>,
    /// What the addresses of its files begin with, such as `https://example.org:5443`, without a slash at the end;
    /// `None` when nobody could fetch them, so that nothing can be uploaded.
    pub media_base: Option<String>,
}

impl HostConfig {
    /// The services beside it that do something.
    pub fn announced_services(&self) -> impl Iterator<Item = &ServiceDomain> {
        let can_upload = self.media_base.is_some();
        let services = self.services.iter();
        services.filter(move |service| can_upload || service.kind != ServiceKind::Upload)
    }
}

/// What a push notification tells the push service, and whoever carries it further (XEP-0357 §9). Each tells what those
/// before it tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PushContent {
    /// That there is something.
    Nothing,
    /// How many messages wait.
    Count,
    /// Who sent the last one.
    Sender,
    /// Its text.
    Body,
}

/// A service of ours with a domain of its own beside a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDomain {
    /// Its domain, as a bare JID without a local part.
    pub domain: BareJid,
    /// What it does.
    pub kind: ServiceKind,
}

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Publish-subscribe (XEP-0060).
    PubSub,
    /// Rooms to chat in (XEP-0045).
    Rooms,
    /// Places to upload files to (XEP-0363).
    Upload,
}

/// Settings of the heart.
#[derive(Clone, Debug)]
pub struct Config {
    /// The virtual hosts, at least one.
    pub hosts: Vec<HostConfig>,
    /// How long a session waits for its client to resume it (XEP-0198 §5), in seconds; 0 turns resumption off.
    pub resume_seconds: u32,
    /// Bounds of each session's queue.
    pub queue: QueueLimits,
    /// Sessions of one account at the same time; each costs memory on every message.
    pub sessions_per_account: usize,
    /// Devices of one account that have a cursor of their own, at most [`crate::devices::MOST_DEVICES`]. Each keeps what it
    /// has not taken in the log.
    pub devices_per_account: usize,
    /// A device that is not seen for so many days is forgotten.
    pub device_days: u32,
    /// What push notifications tell.
    pub push_content: PushContent,
    /// Contacts in one roster.
    pub roster_items: usize,
    /// Bytes of one stored vCard or private XML element.
    pub stored_xml_bytes: usize,
    /// Addresses one account may block.
    pub blocked_addresses: usize,
    /// Passwords, FAST tokens and registration.
    pub accounts: accounts::Settings,
    /// What pubsub nodes may hold.
    pub pubsub: pubsub::Limits,
    /// What rooms may grow to.
    pub rooms: muc::Limits,
    /// What may be uploaded.
    pub media: media::Limits,
    /// Addresses for XEP-0157, as (kind such as `abuse-addresses`, URI).
    pub contacts: Vec<(String, String)>,
    /// Who is told what users report when they block somebody (XEP-0377).
    pub reports_to: Option<BareJid>,
    /// Who administers the whole server by commands (XEP-0133). Only accounts of our hosts count.
    pub admins: Vec<BareJid>,
    /// External components (XEP-0114), for discovery.
    pub components: Vec<Component>,
    /// Services outside XMPP that clients are told of (XEP-0215).
    pub external_services: ExternalServices,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hosts: Vec::new(),
            // Ten minutes bridge a tunnel or a change of networks.
            resume_seconds: 600,
            queue: QueueLimits {
                // Enough for a screenful of history and a burst; what does not fit is in the log.
                bytes: 128 * 1024,
                items: 1000,
            },
            sessions_per_account: 50,
            // A phone, a tablet, some computers and browsers, and their predecessors.
            devices_per_account: 20,
            // As long as a FAST token: by then it has to show its password again anyway.
            device_days: 60,
            push_content: PushContent::Nothing,
            roster_items: 5000,
            stored_xml_bytes: 256 * 1024,
            blocked_addresses: 5000,
            accounts: accounts::Settings::default(),
            pubsub: pubsub::Limits::default(),
            rooms: muc::Limits::default(),
            media: media::Limits::default(),
            contacts: Vec::new(),
            reports_to: None,
            admins: Vec::new(),
            components: Vec::new(),
            external_services: ExternalServices::default(),
        }
    }
}

impl Config {
    /// The settings of a domain, if it is one of ours.
    pub fn host(&self, domain: &str) -> Option<&HostConfig> {
        self.hosts
            .iter()
            .find(|host| host.domain.as_str() == domain)
    }

    /// The service with this domain, and the host that it stands beside.
    pub fn service(&self, domain: &str) -> Option<(&HostConfig, &ServiceDomain)> {
        self.hosts
            .iter()
            .flat_map(|host| host.services.iter().map(move |service| (host, service)))
            .find(|(_, service)| service.domain.as_str() == domain)
    }

    /// Is it the domain of a host or service of ours?
    pub fn is_ours(&self, domain: &str) -> bool {
        self.host(domain).is_some() || self.service(domain).is_some()
    }
}
