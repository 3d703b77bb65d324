//! TLS for clients: handshakes, and what a finished handshake proves (RFC 6120 §5, XEP-0368,
//! RFC 5929, RFC 9266).
//!
//! The configuration of a connection is chosen after its ClientHello, so a connection knows for
//! certain which certificate it showed, whatever a reload does meanwhile.
//! Left out: tls-unique (broken, RFC 9266 §1), early data (it can be replayed).

mod certificate;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

pub use store::TlsStore;

/// TLS ciphertext that may wait inside a connection for a peer that does not read. The gate's own
/// bound on output is above it; this one only must not be rustls' 64 KiB a connection.
const CIPHERTEXT_BYTES: usize = 32 * 1024;

/// ALPN protocol of XMPP client connections (XEP-0368 §3).
pub(crate) const ALPN_XMPP: &[u8] = b"xmpp-client";
/// ALPN protocol of HTTP/1.1.
pub(crate) const ALPN_HTTP: &[u8] = b"http/1.1";

/// What a handshake is for; decides the ALPN protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsUse {
    /// After STARTTLS: the protocol is known, ALPN plays no part.
    StartTls,
    /// Direct TLS on a port of XMPP alone.
    Xmpp,
    /// A port for HTTP, and XMPP by ALPN.
    Http,
}

/// What a finished TLS handshake proves and binds to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The host the client named in SNI.
    pub server_name: Option<String>,
    /// The host whose certificate was shown.
    pub certificate_host: String,
    /// Channel binding `tls-exporter` (RFC 9266 §4.2); only with TLS 1.3, where it is unique
    /// without further conditions.
    pub exporter: Option<[u8; 32]>,
    /// Channel binding `tls-server-end-point` (RFC 5929 §4); `None` where the certificate's
    /// signature algorithm leaves it undefined.
    pub server_end_point: Option<Arc<[u8]>>,
    /// Addresses in a client certificate that a configured authority vouches for, for EXTERNAL.
    pub client_addresses: Vec<String>,
    /// The client showed a certificate, but it is not (or no longer) to be trusted.
    pub client_certificate_refused: bool,
    /// The negotiated ALPN protocol is HTTP or XMPP, or none was negotiated.
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Runs the server side of a handshake. Bound its time.
///
/// # Errors
/// What the peer or the network did; rustls has sent the alert.
pub(crate) async fn accept(
    tcp: TcpStream,
    store: &TlsStore,
    purpose: TlsUse,
    stream_host: Option<&str>,
) -> io::Result<(Box<TlsStream<TcpStream>>, TlsFacts)> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
    let server_name = start.client_hello().server_name().map(str::to_owned);
    let host = store.host(server_name.as_deref().or(stream_host));
    let config = Arc::clone(host.config(purpose));
    let limit = |connection: &mut tokio_rustls::rustls::ServerConnection| {
        connection.set_buffer_limit(Some(CIPHERTEXT_BYTES));
    };
    let stream = Box::new(start.into_stream_with(config, limit).await?);
    let (_, connection) = stream.get_ref();
    let mut facts = TlsFacts {
        server_name,
        certificate_host: host.name().to_owned(),
        exporter: exporter(connection),
        server_end_point: host.end_point().cloned(),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        ..TlsFacts::default()
    };
    if let Some(chain) = connection.peer_certificates() {
        name_client(&mut facts, store, chain);
    }
    Ok((stream, facts))
}

fn exporter(connection: &tokio_rustls::rustls::ServerConnection) -> Option<[u8; 32]> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
        .ok()
}

fn name_client(facts: &mut TlsFacts, store: &TlsStore, chain: &[CertificateDer<'_>]) {
    if store.trusts_client(chain) {
        facts.client_addresses = certificate::client_addresses(&chain[0]);
    } else {
        facts.client_certificate_refused = true;
    }
}
