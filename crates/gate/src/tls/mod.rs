//! TLS: handshakes, and what a finished handshake proves (RFC 6120 §5, XEP-0368, RFC 5929,
//! RFC 9266).
//!
//! The configuration of a connection is chosen after its ClientHello, so a connection knows for
//! certain which certificate it showed, whatever a reload does meanwhile.
//! Left out: tls-unique (broken, RFC 9266 §1), early data (it can be replayed).

mod any_certificate;
mod certificate;
mod exporter;
mod servers;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::{TlsConnector, client};

pub(crate) use servers::Trust;
pub use store::TlsStore;
pub(crate) use stream::TlsStream;

use crate::pool;
use exporter::Exporter;

/// ALPN protocol of XMPP client connections (XEP-0368 §3).
pub(crate) const ALPN_XMPP: &[u8] = b"xmpp-client";
/// ALPN protocol of XMPP server connections (XEP-0368 §3).
pub(crate) const ALPN_SERVER: &[u8] = b"xmpp-server";
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
    /// After STARTTLS with another server.
    ServerStartTls,
    /// Direct TLS with another server.
    Server,
}

impl TlsUse {
    fn is_of_servers(self) -> bool {
        matches!(self, TlsUse::ServerStartTls | TlsUse::Server)
    }
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
    /// The certificates that another server has shown, not verified: [`Trust`] does that.
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
    /// The negotiated ALPN protocol is HTTP or XMPP, or none was negotiated.
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Runs the server side of a handshake. Bound its time.
///
/// # Errors
/// What the peer or the network did; the peer has been sent the alert.
pub(crate) async fn accept(
    mut tcp: TcpStream,
    store: &TlsStore,
    purpose: TlsUse,
    stream_host: Option<&str>,
) -> io::Result<(Box<TlsStream>, TlsFacts)> {
    let mut incoming = Vec::new();
    let server_name = named_host(&mut tcp, &mut incoming).await?;
    let host = store.host(server_name.as_deref().or(stream_host));
    let (exporter, config) = Exporter::observing(host.config(purpose));
    let mut stream = Box::new(TlsStream::new(tcp, config, incoming)?);
    poll_fn(|context| stream.poll_handshake(context)).await?;
    let state = stream.state();
    let mut facts = TlsFacts {
        server_name,
        certificate_host: host.name().to_owned(),
        exporter: state
            .negotiated_cipher_suite()
            .and_then(|suite| exporter.binding(suite)),
        server_end_point: host.end_point().cloned(),
        alpn: state.alpn_protocol().map(<[u8]>::to_vec),
        ..TlsFacts::default()
    };
    match state.peer_certificates() {
        Some(chain) if purpose.is_of_servers() => facts.server_chain = owned(chain),
        Some(chain) => name_client(&mut facts, store, chain),
        None => {}
    }
    Ok((stream, facts))
}

/// Runs the client side of a handshake with the server of `domain`, on behalf of our host `own`. Any
/// certificate is taken; the ones shown are answered. Bound its time.
///
/// # Errors
/// What the peer or the network did, or a domain that no certificate can name.
pub(crate) async fn connect(
    tcp: TcpStream,
    store: &TlsStore,
    purpose: TlsUse,
    own: &str,
    domain: &str,
) -> io::Result<(Box<client::TlsStream<TcpStream>>, TlsFacts)> {
    let host = store.host(Some(own));
    let config = Arc::clone(host.connecting(purpose));
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
    let name = ServerName::try_from(ascii).map_err(io::Error::other)?;
    let connector = TlsConnector::from(config);
    let stream = Box::new(connector.connect(name, tcp).await?);
    let (_, connection) = stream.get_ref();
    let facts = TlsFacts {
        certificate_host: host.name().to_owned(),
        server_chain: connection.peer_certificates().map_or_else(Vec::new, owned),
        ..TlsFacts::default()
    };
    Ok((stream, facts))
}

fn owned(chain: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|it| it.clone().into_owned()).collect()
}

/// Reads a ClientHello to the end of `incoming`, and answers the host it names. It is taken
/// seriously only afterwards, by the connection that gets all of `incoming`.
async fn named_host(tcp: &mut TcpStream, incoming: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut acceptor = Acceptor::default();
    let mut read = 0;
    loop {
        let received = poll_fn(|context| stream::poll_receive(tcp, incoming, context)).await?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while read < incoming.len() {
            read += acceptor.read_tls(&mut &incoming[read..])?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(hello)) => {
                    let name = hello.client_hello().server_name().map(str::to_owned);
                    return Ok(name);
                }
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    // Whether the peer learns the reason makes no difference to us.
                    let _ = tcp.write_all(&bytes).await;
                    return Err(stream::invalid(error));
                }
            }
        }
        pool::settle(incoming, 0);
    }
}

fn name_client(facts: &mut TlsFacts, store: &TlsStore, chain: &[CertificateDer<'_>]) {
    if store.trusts_client(chain) {
        facts.client_addresses = certificate::client_addresses(&chain[0]);
    } else {
        facts.client_certificate_refused = true;
    }
}
