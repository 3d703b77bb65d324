//! What an operator may set about sockets: addresses, certificates and every bound of the gate.
//!
//! The server crate fills these structs from its configuration file; tests fill them by hand.
//! Each limit has a default that is safe on the open internet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::{Mechanism, Secret};

/// Everything the gate needs to open its doors.
#[derive(Clone, Debug, Default)]
pub struct GateConfig {
    /// The sockets to listen on. Port 0 lets the system choose; [`crate::Gate::addresses`] tells which.
    pub listeners: Vec<ListenerConfig>,
    /// Certificates; `None` leaves STARTTLS unoffered and makes the TLS listeners an error.
    pub tls: Option<TlsConfig>,
    /// The HTTP port: WebSocket, BOSH and host-meta.
    pub http: HttpConfig,
    /// What clients may log in with.
    pub login: LoginConfig,
    /// The external components (XEP-0114) that may connect.
    pub components: Vec<ComponentConfig>,
    /// Streams with other servers; `None`: there are no other servers.
    pub servers: Option<ServersConfig>,
    /// Peers on a loopback address may authenticate without TLS: for development, or for a proxy on
    /// this machine that has ended the TLS of WebSocket clients.
    pub plaintext_on_loopback: bool,
    /// The bounds.
    pub limits: Limits,
}

/// One listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where to listen. An IPv6 address takes IPv6 only: list `0.0.0.0` and `[::]` to take both.
    pub address: SocketAddr,
    /// What is spoken there.
    pub kind: ListenerKind,
}

/// What a listening socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// XMPP over TCP, upgraded by STARTTLS (RFC 6120 §5); usually port 5222.
    Xmpp,
    /// XMPP over TLS from the first byte (XEP-0368); usually port 5223.
    XmppTls,
    /// External components (XEP-0114), without TLS: loopback or a private network.
    Components,
    /// XMPP between servers, upgraded by STARTTLS (RFC 6120 §5); usually port 5269.
    Servers,
    /// XMPP between servers over TLS from the first byte (XEP-0368); usually port 5270.
    ServersTls,
    /// HTTP without TLS: development, or behind a reverse proxy that ends TLS.
    Http,
    /// HTTP over TLS. A client that negotiates the ALPN protocol `xmpp-client` here gets XMPP
    /// instead, so that one port 443 serves both (XEP-0368 §3).
    Https,
}

/// Certificates and keys.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// One certificate for each virtual host. The first serves clients that name no host of ours.
    pub hosts: Vec<HostCertificate>,
    /// PEM file of the authorities whose client certificates SASL EXTERNAL accepts;
    /// `None` does not ask clients for certificates.
    pub client_authorities: Option<PathBuf>,
}

/// The certificate of one virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The host's domain, as clients name it in SNI and in the stream's `to`.
    pub host: String,
    /// PEM file: the host's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file: the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// What clients may log in with.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// The SASL mechanisms enabled; each is offered where the connection allows it. The HT
    /// mechanisms among them count only with `fast`.
    pub mechanisms: Vec<Mechanism>,
    /// Whether FAST tokens are given and taken (XEP-0484).
    pub fast: bool,
    /// Failed or aborted log-ins on one stream before it is closed (RFC 6120 §6.4.5).
    pub attempts: u32,
}

impl Default for LoginConfig {
    fn default() -> Self {
        LoginConfig {
            mechanisms: Mechanism::ALL.to_vec(),
            fast: true,
            attempts: 5,
        }
    }
}

/// One external component.
#[derive(Clone, Debug)]
pub struct ComponentConfig {
    /// The domain that it stands for.
    pub domain: BareJid,
    /// What it proves to know.
    pub secret: Secret,
}

/// Streams with other servers (RFC 6120, XEP-0220).
#[derive(Clone, Debug)]
pub struct ServersConfig {
    /// Whether a call to the domain's own address (XEP-0220) is proof enough where a certificate is not: it is as strong
    /// as the DNS.
    pub dialback: bool,
    /// PEM file of the authorities whose certificates other servers may show; `None`: those of the system.
    pub authorities: Option<PathBuf>,
    /// Where the servers of some domains are; these are not looked up.
    pub hosts: Vec<KnownHost>,
    /// Name servers to ask; empty: those of the system.
    pub nameservers: Vec<SocketAddr>,
    /// The only domains to talk to, with all below them; empty: all.
    pub allow: Vec<String>,
    /// Domains not to talk to, with all below them.
    pub deny: Vec<String>,
    /// Stanzas that may wait for one domain, sent and not acknowledged ones included.
    pub queue_stanzas: usize,
    /// Bytes that may wait for one domain.
    pub queue_bytes: usize,
    /// Bytes that may wait for all domains.
    pub total_bytes: usize,
    /// Domains, each with one of ours, that may have a queue at once.
    pub streams: usize,
    /// How long a message waits before it is given back to its sender. What is not worth storing waits a minute at most.
    pub queue_time: Duration,
    /// Silence after which a stream of ours is closed; others' streams are closed after twice that time.
    pub idle: Duration,
    /// The longest pause between two attempts to reach a server.
    pub longest_pause: Duration,
    /// Time for another server to acknowledge what it was sent; after that the connection counts as lost.
    pub ack_timeout: Duration,
    /// Time to reach a server and open a stream to it.
    pub connect_timeout: Duration,
    /// What another server may send on one stream, in bytes a second on average; past it reading is delayed.
    pub bytes_per_second: u32,
    /// How many bytes it may send at once before that average holds.
    pub burst_bytes: u32,
}

impl Default for ServersConfig {
    fn default() -> Self {
        ServersConfig {
            dialback: true,
            authorities: None,
            hosts: Vec::new(),
            nameservers: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            // A lively evening with one domain; a server that is away longer gets the rest as it comes back.
            queue_stanzas: 10_000,
            queue_bytes: 8 * 1024 * 1024,
            total_bytes: 64 * 1024 * 1024,
            streams: 10_000,
            // Long enough for a restart or an update of the other server, short enough to hear of it the same day.
            queue_time: Duration::from_secs(3_600),
            idle: Duration::from_secs(600),
            longest_pause: Duration::from_secs(60),
            ack_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            bytes_per_second: 1024 * 1024,
            burst_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Where a server of a domain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// The domain.
    pub domain: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS begins with the first byte there.
    pub direct_tls: bool,
}

/// The HTTP port.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// The WebSocket address that host-meta tells clients, with `{host}` for the host they asked,
    /// for example `wss://chat.example.org/xmpp-websocket`. `None` builds it from the request's own `Host`.
    pub public_websocket: Option<String>,
    /// The address of BOSH that host-meta tells clients, as above. With `None` it is built from the
    /// request's `Host`, or not told if the WebSocket's address is set.
    pub public_bosh: Option<String>,
    /// Web origins that may open a WebSocket or use BOSH; empty allows every origin. Log-in happens inside the
    /// stream, so a foreign page gains nothing by connecting.
    pub origins: Vec<String>,
}

/// The bounds of the gate: what one peer, one address or all of them together may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of all kinds at once; more are closed at once. Bounds file descriptors.
    pub connections: usize,
    /// Connections from one IPv4 address or one IPv6 /64 at once. Mobile carriers put thousands of
    /// people behind one address, so this bounds an accident or an attack, not a household.
    pub connections_per_address: usize,
    /// Time for one TLS handshake, and for the headers of one HTTP request.
    pub handshake_timeout: Duration,
    /// Time from the accepted connection to a bound session, TLS and log-in included (RFC 6120
    /// §13.12 asks for one). Long enough to type a password, short enough to free the socket.
    pub negotiation_timeout: Duration,
    /// Bytes of one element before log-in: enough for any SASL exchange (RFC 6120 §13.12 forbids
    /// less than 10,000).
    pub element_bytes_before_login: usize,
    /// Bytes of one stanza after log-in.
    pub stanza_bytes: usize,
    /// Silence after which the gate asks whether the client is still there: `<r/>` where stream
    /// management is on, a ping over WebSocket, else a space, whose loss the kernel notices.
    pub idle_probe: Duration,
    /// Time to react to that question; also how long the kernel may keep unacknowledged bytes
    /// before it declares the connection dead (TCP_USER_TIMEOUT).
    pub probe_timeout: Duration,
    /// Time an unfinished element may take at any speed. After that it has to have come in at
    /// `element_bytes_per_second`, or the connection counts as lost.
    pub element_grace: Duration,
    /// The least average speed of an unfinished element past its grace: what a bad mobile network
    /// still gives. It bounds how long the largest stanza may lie unfinished in memory (4 minutes).
    pub element_bytes_per_second: u32,
    /// Time that output may wait for a client that does not read, without a byte taken.
    pub write_stall: Duration,
    /// Bytes of output kept in memory for a client that does not read. Past this, the rest waits
    /// in the log, and nothing more is read from this client.
    pub outbound_bytes: usize,
    /// What a session may send, in bytes a second on average; past it reading is delayed, nothing
    /// is lost. `None`: no bound.
    pub bytes_per_second: Option<u32>,
    /// How many bytes a session may send at once before that average holds.
    pub burst_bytes: u32,
    /// Stanzas handled for one client before others have their turn.
    pub stanzas_per_turn: usize,
    /// Time to wait, after the stream is closed, for the peer to take the last bytes and close.
    pub linger: Duration,
    /// Requests on one HTTP connection before it has to be made anew.
    pub http_requests_per_connection: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1_000_000,
            connections_per_address: 2_000,
            handshake_timeout: Duration::from_secs(15),
            negotiation_timeout: Duration::from_secs(60),
            element_bytes_before_login: 16 * 1024,
            stanza_bytes: 256 * 1024,
            idle_probe: Duration::from_secs(300),
            probe_timeout: Duration::from_secs(60),
            element_grace: Duration::from_secs(30),
            element_bytes_per_second: 1_024,
            write_stall: Duration::from_secs(60),
            outbound_bytes: 64 * 1024,
            bytes_per_second: Some(128 * 1024),
            burst_bytes: 1024 * 1024,
            stanzas_per_turn: 64,
            linger: Duration::from_secs(2),
            http_requests_per_connection: 1_000,
        }
    }
}
