//! The configuration: one TOML file in which every key has a safe default.
//!
//! `keys.rs` is the table of all keys: their defaults, bounds and documentation. The reader, the
//! generated example and `reload` all work from that table, so they cannot disagree. A mistake is
//! reported with file, line and key, and all mistakes of a file are reported together.

mod check;
mod example;
mod keys;
mod read;
mod reload;
pub(crate) mod units;
mod value;

pub(crate) use example::{DEVELOPMENT, example};
pub(crate) use keys::{domain_of, known_host};
pub(crate) use read::{load, parse};
pub(crate) use reload::{Changes, changes};

use posthaste_im::config::Keep;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Secret;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) hosts: Vec<Host>,
    pub(crate) components: Vec<Component>,
    pub(crate) server: ServerKeys,
    pub(crate) listen: Listen,
    pub(crate) tls: Tls,
    pub(crate) http: Http,
    pub(crate) login: Login,
    pub(crate) accounts: Accounts,
    pub(crate) messages: Messages,
    pub(crate) pubsub: PubSub,
    pub(crate) rooms: Rooms,
    pub(crate) sessions: Sessions,
    pub(crate) devices: Devices,
    pub(crate) push: Push,
    pub(crate) contact: Contact,
    pub(crate) external_services: ExternalServices,
    pub(crate) s2s: S2s,
    pub(crate) limits: Limits,
    pub(crate) media: Media,
    pub(crate) s3: S3,
    pub(crate) storage: Storage,
    pub(crate) log: Log,
    pub(crate) admin: Admin,
    /// Where each value was written, for complaints that come later than reading.
    pub(crate) origins: Origins,
}

/// A domain that is served, and what it does differently from the rest of the server.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) domain: BareJid,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) private_key: Option<PathBuf>,
    pub(crate) registration: Option<bool>,
    pub(crate) keep: Option<Keep>,
    pub(crate) admins: Vec<String>,
    pub(crate) public_vcards: Option<bool>,
    pub(crate) pubsub: String,
    pub(crate) rooms: String,
    pub(crate) upload: String,
}

impl Host {
    /// The domain of its publish-subscribe service, if it has one. What is no domain is complained of by the table.
    pub(crate) fn pubsub_domain(&self) -> Option<BareJid> {
        self.service_domain(&self.pubsub)
    }

    /// The domain of its rooms, if it has any.
    pub(crate) fn rooms_domain(&self) -> Option<BareJid> {
        self.service_domain(&self.rooms)
    }

    /// The domain at which its clients ask where to upload files, if they can.
    pub(crate) fn upload_domain(&self) -> Option<BareJid> {
        self.service_domain(&self.upload)
    }

    fn service_domain(&self, pattern: &str) -> Option<BareJid> {
        let domain = pattern.replace('*', self.domain.as_str());
        BareJid::new(None, &domain).ok()
    }

    fn new(domain: &str) -> Result<Self, String> {
        let domain =
            BareJid::new(None, domain).map_err(|error| format!("is not a domain: {error}"))?;
        let mut host = Self {
            domain,
            certificate: None,
            private_key: None,
            registration: None,
            keep: None,
            admins: Vec::new(),
            public_vcards: None,
            pubsub: String::new(),
            rooms: String::new(),
            upload: String::new(),
        };
        for key in keys::HOST_KEYS {
            key.value.reset(&mut host);
        }
        Ok(host)
    }

    /// The name of its section, as complaints write it.
    pub(crate) fn key(&self) -> String {
        format!("host.\"{}\"", self.domain)
    }

    /// The host of a configuration that names none.
    fn local() -> Self {
        Self::new("localhost").expect("localhost is a domain")
    }
}

/// An external component (XEP-0114): a program with a domain of its own.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) domain: BareJid,
    pub(crate) secret: Secret,
    pub(crate) name: String,
}

impl Component {
    fn new(domain: &str) -> Result<Self, String> {
        let domain =
            BareJid::new(None, domain).map_err(|error| format!("is not a domain: {error}"))?;
        Ok(Self {
            domain,
            secret: Secret::default(),
            name: String::new(),
        })
    }

    /// The name of its section, as complaints write it.
    pub(crate) fn key(&self) -> String {
        format!("component.\"{}\"", self.domain)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ServerKeys {
    pub(crate) threads: u64,
    pub(crate) drain_timeout: Duration,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Listen {
    pub(crate) c2s: Vec<SocketAddr>,
    pub(crate) c2s_tls: Vec<SocketAddr>,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
    pub(crate) components: Vec<SocketAddr>,
    pub(crate) s2s: Vec<SocketAddr>,
    pub(crate) s2s_tls: Vec<SocketAddr>,
    pub(crate) metrics: Vec<SocketAddr>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) private_key: Option<PathBuf>,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) self_signed: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Http {
    pub(crate) public_websocket: String,
    pub(crate) public_bosh: String,
    pub(crate) origins: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) mechanisms: Vec<String>,
    pub(crate) fast: bool,
    pub(crate) attempts: u64,
    pub(crate) plaintext_on_loopback: bool,
}

/// What an account may be and have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) registration: bool,
    pub(crate) registrations_per_address: u64,
    pub(crate) public_vcards: bool,
    pub(crate) admins: Vec<String>,
    pub(crate) password_iterations: u64,
    pub(crate) token_lifetime: u32,
    pub(crate) token_rotation: Duration,
    pub(crate) roster_items: u64,
    pub(crate) blocked_addresses: u64,
    pub(crate) stored_xml_size: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Messages {
    pub(crate) keep: Keep,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            keep: Keep::Days(30),
        }
    }
}

/// What nodes of accounts may hold. Sizes are in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PubSub {
    pub(crate) nodes: u64,
    pub(crate) items: u64,
    pub(crate) item_size: u64,
    pub(crate) account_size: u64,
    pub(crate) subscribers: u64,
    pub(crate) service_nodes: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms {
    pub(crate) creators: &'static str,
    pub(crate) per_account: u64,
    pub(crate) occupants: u64,
    pub(crate) shown: u64,
    pub(crate) affiliations: u64,
    pub(crate) history: u64,
    pub(crate) message_rate: u64,
    pub(crate) room_message_rate: u64,
    pub(crate) presence_rate: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) per_account: u64,
    pub(crate) resume_timeout: Duration,
    pub(crate) queue_size: u64,
    pub(crate) queue_items: u64,
}

/// Clients that name their installation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    pub(crate) per_account: u64,
    pub(crate) forget_after: u32,
}

/// Push notifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Push {
    pub(crate) content: &'static str,
}

/// Who is behind this server (XEP-0157), as URIs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    pub(crate) abuse: Vec<String>,
    pub(crate) admin: Vec<String>,
    pub(crate) feedback: Vec<String>,
    pub(crate) sales: Vec<String>,
    pub(crate) security: Vec<String>,
    pub(crate) status: Vec<String>,
    pub(crate) support: Vec<String>,
    pub(crate) reports_to: String,
}

/// What helps clients outside XMPP (XEP-0215).
#[derive(Clone, Debug, Default)]
pub(crate) struct ExternalServices {
    pub(crate) services: Vec<String>,
    pub(crate) secret: Secret,
    pub(crate) credentials_lifetime: Duration,
}

/// Streams with other servers. Sizes are in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct S2s {
    pub(crate) enabled: bool,
    pub(crate) dialback: bool,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) hosts: Vec<String>,
    pub(crate) nameservers: Vec<SocketAddr>,
    pub(crate) allow: Vec<String>,
    pub(crate) deny: Vec<String>,
    pub(crate) queue_time: Duration,
    pub(crate) queue_stanzas: u64,
    pub(crate) queue_size: u64,
    pub(crate) queues_size: u64,
    pub(crate) domains: u64,
    pub(crate) idle_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) size_per_second: u64,
    pub(crate) burst_size: u64,
}

/// What one peer, one address or all of them together may cost. Sizes are in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: u64,
    pub(crate) connections_per_address: u64,
    pub(crate) handshake_timeout: Duration,
    pub(crate) negotiation_timeout: Duration,
    pub(crate) element_size_before_login: u64,
    pub(crate) stanza_size: u64,
    pub(crate) idle_probe: Duration,
    pub(crate) probe_timeout: Duration,
    pub(crate) element_grace: Duration,
    pub(crate) element_size_per_second: u64,
    pub(crate) write_stall: Duration,
    pub(crate) outbound_size: u64,
    pub(crate) size_per_second: u64,
    pub(crate) burst_size: u64,
    pub(crate) stanzas_per_turn: u64,
    pub(crate) linger: Duration,
    pub(crate) http_requests_per_connection: u64,
}

/// Uploaded files. Sizes are in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) enabled: bool,
    pub(crate) public_url: String,
    pub(crate) file_size: u64,
    pub(crate) account_size: u64,
    pub(crate) account_files: u64,
    pub(crate) daily_size: u64,
    pub(crate) open_uploads: u64,
    pub(crate) slot_lifetime: Duration,
    pub(crate) upload_time: Duration,
    pub(crate) keep: Keep,
    pub(crate) keep_after_delivery: u32,
    pub(crate) keep_undelivered: u32,
    pub(crate) store: &'static str,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            enabled: false,
            public_url: String::new(),
            file_size: 0,
            account_size: 0,
            account_files: 0,
            daily_size: 0,
            open_uploads: 0,
            slot_lifetime: Duration::ZERO,
            upload_time: Duration::ZERO,
            keep: Keep::Days(30),
            keep_after_delivery: 0,
            keep_undelivered: 0,
            store: "",
        }
    }
}

/// The service behind `media.store = "s3"`.
#[derive(Clone, Debug, Default)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) endpoint: String,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) path_style: bool,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) allow_http: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    pub(crate) directory: PathBuf,
    pub(crate) free_disk_floor: u64,
    pub(crate) cache: u64,
    pub(crate) write_buffer: u64,
    pub(crate) undurable: u64,
    pub(crate) commit_interval: Duration,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Admin {
    pub(crate) socket: Option<PathBuf>,
}

impl Config {
    /// Where the admin socket is.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        let given = self.admin.socket.clone();
        given.unwrap_or_else(|| self.storage.directory.join("admin.sock"))
    }
}

/// Which line of which file each key was given on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    pub(crate) file: String,
    lines: HashMap<String, usize>,
}

impl Origins {
    fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            lines: HashMap::new(),
        }
    }

    fn note(&mut self, key: String, line: usize) {
        self.lines.insert(key, line);
    }

    /// A complaint about the value of `key`, at its line if the file gave it one.
    pub(crate) fn blame(&self, key: &str, what: impl fmt::Display) -> Complaint {
        Complaint {
            file: self.file.clone(),
            line: self.lines.get(key).copied(),
            key: Some(key.to_owned()),
            what: what.to_string(),
        }
    }
}

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Complaint {
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) key: Option<String>,
    pub(crate) what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Why there is no configuration. We are misconfigured, in every case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file is missing, unreadable or no configuration file at all.
    #[error("cannot read the configuration file {}: {source}", file.display())]
    Unreadable {
        file: PathBuf,
        source: std::io::Error,
    },
    /// The file was read and has mistakes.
    #[error("{}", lines(.0))]
    Invalid(Vec<Complaint>),
}

fn lines(complaints: &[Complaint]) -> String {
    let lines: Vec<_> = complaints.iter().map(Complaint::to_string).collect();
    lines.join("\n")
}
