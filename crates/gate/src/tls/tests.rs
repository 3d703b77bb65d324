//! Handshakes over loopback between a client of rustls and [`super::accept`].

use super::*;

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, OtherNameValue, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::config::{HostCertificate, TlsConfig};

/// Writes a self-signed certificate for `host` and says where.
pub(super) fn certificate(folder: &TempDir, host: &str) -> HostCertificate {
    let certificate = folder.path().join(format!("{host}.pem"));
    let key = folder.path().join(format!("{host}.key"));
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    HostCertificate {
        host: host.to_owned(),
        certificate,
        key,
    }
}

/// A store with one.example and two.example, and clients that trust both.
struct World {
    folder: TempDir,
    config: TlsConfig,
}

impl World {
    fn new() -> World {
        let folder = TempDir::new().unwrap();
        let hosts = vec![
            certificate(&folder, "one.example"),
            certificate(&folder, "two.example"),
        ];
        World {
            folder,
            config: TlsConfig {
                hosts,
                client_authorities: None,
            },
        }
    }

    fn store(&self) -> TlsStore {
        TlsStore::open(self.config.clone()).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        use rustls_pki_types::pem::PemObject;
        let mut roots = RootCertStore::empty();
        for host in &self.config.hosts {
            roots
                .add(CertificateDer::from_pem_file(&host.certificate).unwrap())
                .unwrap();
        }
        roots
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A client with a certificate for `addresses`, signed by an authority; the store trusts that
    /// authority if `trusted`.
    fn client_with_certificate(&mut self, addresses: &[&str], trusted: bool) -> ClientConfig {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority = parameters.self_signed(&authority_key).unwrap();
        let other = CertificateParams::new(Vec::new()).unwrap();
        let mut other = other;
        other.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let stranger = other.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let file = self.folder.path().join("authorities.pem");
        fs::write(
            &file,
            if trusted {
                authority.pem()
            } else {
                stranger.pem()
            },
        )
        .unwrap();
        self.config.client_authorities = Some(file);

        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        for address in addresses {
            let name = OtherNameValue::Utf8String((*address).to_owned());
            leaf.subject_alt_names
                .push(SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], name)));
        }
        let key = KeyPair::generate().unwrap();
        let signed = leaf
            .signed_by(&key, &Issuer::from_params(&parameters, &authority_key))
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![signed.der().clone()], key)
            .unwrap()
    }
}

/// What both sides know after a handshake.
struct Outcome {
    facts: io::Result<TlsFacts>,
    client: io::Result<client::TlsStream<TcpStream>>,
}

async fn handshake(store: &TlsStore, client: ClientConfig, name: &str, purpose: TlsUse) -> Outcome {
    let client = Arc::new(client);
    shake(store, &client, name, purpose).await
}

async fn shake(
    store: &TlsStore,
    client: &Arc<ClientConfig>,
    name: &str,
    purpose: TlsUse,
) -> Outcome {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connecting = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect(name, tcp).await?;
        // The server's tickets come with its first bytes.
        stream.read_u8().await?;
        Ok(stream)
    };
    let serving = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let (mut stream, facts) = accept(tcp, store, purpose, None).await?;
        stream.write_u8(b' ').await?;
        stream.flush().await?;
        Ok((stream, facts))
    };
    let (client, server) = tokio::join!(connecting, serving);
    Outcome {
        facts: server.map(|(_, facts)| facts),
        client,
    }
}

#[tokio::test]
async fn the_client_gets_the_certificate_of_the_host_it_names() {
    let world = World::new();
    for host in ["one.example", "two.example"] {
        // The client verifies the name itself.
        let outcome = handshake(
            &world.store(),
            world.client(&[&TLS13]),
            host,
            TlsUse::StartTls,
        )
        .await;
        assert_eq!(outcome.facts.unwrap().certificate_host, host);
        outcome.client.unwrap();
    }
}

#[tokio::test]
async fn a_reloaded_certificate_is_shown_to_the_next_client() {
    let world = World::new();
    let store = world.store();
    let before = handshake(
        &store,
        world.client(&[&TLS13]),
        "one.example",
        TlsUse::StartTls,
    )
    .await;
    certificate(&world.folder, "one.example");
    store.reload().unwrap();
    // The roots are read again: this client trusts the new certificate only.
    let after = handshake(
        &store,
        world.client(&[&TLS13]),
        "one.example",
        TlsUse::StartTls,
    )
    .await;
    after.client.unwrap();
    assert_ne!(
        before.facts.unwrap().server_end_point.unwrap(),
        after.facts.unwrap().server_end_point.unwrap()
    );
}

#[tokio::test]
async fn alpn_decides_between_xmpp_and_http_and_refuses_others() {
    let world = World::new();
    let store = world.store();
    type Chosen = Result<Option<&'static [u8]>, ()>;
    let table: [(&[&[u8]], TlsUse, Chosen); 7] = [
        (&[ALPN_XMPP], TlsUse::Xmpp, Ok(Some(ALPN_XMPP))),
        (&[], TlsUse::Xmpp, Ok(None)),
        (&[b"h2", ALPN_HTTP], TlsUse::Xmpp, Err(())),
        (&[ALPN_XMPP], TlsUse::Http, Ok(Some(ALPN_XMPP))),
        (&[b"h2", ALPN_HTTP], TlsUse::Http, Ok(Some(ALPN_HTTP))),
        (&[b"h2"], TlsUse::Http, Err(())),
        (&[b"h2"], TlsUse::StartTls, Ok(None)),
    ];
    for (offered, purpose, expected) in table {
        let mut client = world.client(&[&TLS12, &TLS13]);
        client.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let outcome = handshake(&store, client, "one.example", purpose).await;
        let chosen = outcome.facts.map(|facts| facts.alpn).map_err(|_| ());
        assert_eq!(
            chosen,
            expected.map(|alpn| alpn.map(<[u8]>::to_vec)),
            "{offered:?} {purpose:?}"
        );
    }
}

#[tokio::test]
async fn both_sides_compute_the_same_exporter_and_only_tls_1_3_has_one() {
    let world = World::new();
    let store = world.store();
    let outcome = handshake(&store, world.client(&[&TLS13]), "one.example", TlsUse::Xmpp).await;
    let client = outcome.client.unwrap();
    let (_, session) = client.get_ref();
    let theirs = session
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
        .unwrap();
    assert_eq!(outcome.facts.unwrap().exporter, Some(theirs));

    let old = handshake(&store, world.client(&[&TLS12]), "one.example", TlsUse::Xmpp).await;
    let facts = old.facts.unwrap();
    assert_eq!(facts.exporter, None);
    assert!(facts.server_end_point.is_some());
}

#[tokio::test]
async fn a_client_resumes_with_its_ticket_even_after_a_reload() {
    let world = World::new();
    let store = world.store();
    for version in [&TLS12, &TLS13] {
        let mut client = world.client(&[version]);
        client.resumption = Resumption::in_memory_sessions(8);
        let client = Arc::new(client);
        let first = shake(&store, &client, "one.example", TlsUse::Xmpp).await;
        assert_ne!(
            first.client.unwrap().get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed)
        );
        store.reload().unwrap();
        let second = shake(&store, &client, "one.example", TlsUse::Xmpp).await;
        assert_eq!(
            second.client.unwrap().get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed)
        );
    }
}

#[tokio::test]
async fn a_trusted_client_certificate_names_the_client() {
    let mut world = World::new();
    let client = world.client_with_certificate(&["romeo@one.example"], true);
    let outcome = handshake(&world.store(), client, "one.example", TlsUse::Xmpp).await;
    let facts = outcome.facts.unwrap();
    assert_eq!(facts.client_addresses, ["romeo@one.example"]);
    assert!(!facts.client_certificate_refused);
}

#[tokio::test]
async fn an_untrusted_client_certificate_is_refused_without_refusing_the_client() {
    let mut world = World::new();
    let client = world.client_with_certificate(&["romeo@one.example"], false);
    let outcome = handshake(&world.store(), client, "one.example", TlsUse::Xmpp).await;
    outcome.client.unwrap();
    let facts = outcome.facts.unwrap();
    assert!(facts.client_addresses.is_empty());
    assert!(facts.client_certificate_refused);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_welcome_where_one_is_asked_for() {
    let mut world = World::new();
    let _ = world.client_with_certificate(&[], true);
    let client = world.client(&[&TLS13]);
    let outcome = handshake(&world.store(), client, "one.example", TlsUse::Xmpp).await;
    outcome.client.unwrap();
    let facts = outcome.facts.unwrap();
    assert!(facts.client_addresses.is_empty());
    assert!(!facts.client_certificate_refused);
}

/// Both ends of a TLS connection whose bytes towards the server go through a relay that forwards
/// `piece` bytes at a time.
async fn both_ends(
    version: &'static SupportedProtocolVersion,
    piece: usize,
) -> (client::TlsStream<TcpStream>, io::Result<Box<TlsStream>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let store = world.store();
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (front, back) = (relay.local_addr().unwrap(), server.local_addr().unwrap());
    tokio::spawn(async move {
        let (client, _) = relay.accept().await.unwrap();
        let server = TcpStream::connect(back).await.unwrap();
        server.set_nodelay(true).unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; piece];
        loop {
            let read = from_client.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            to_server.write_all(&buffer[..read]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let connector = TlsConnector::from(Arc::new(world.client(&[version])));
    let connecting = async {
        let tcp = TcpStream::connect(front).await.unwrap();
        let name = ServerName::try_from("one.example").unwrap();
        connector.connect(name, tcp).await.unwrap()
    };
    let serving = async {
        let (tcp, _) = server.accept().await.unwrap();
        accept(tcp, &store, TlsUse::Xmpp, None).await
    };
    let (client, served) = tokio::join!(connecting, serving);
    (client, served.map(|(stream, _)| stream))
}

#[tokio::test]
async fn any_split_into_reads_gives_the_same_bytes_and_an_announced_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for (version, piece) in [(&TLS13, 1), (&TLS13, 7), (&TLS12, 3), (&TLS13, 100_000)] {
        let (mut client, server) = both_ends(version, piece).await;
        let mut server = server.unwrap();
        let said: Vec<u8> = (0..40_000u32).map(|at| at.to_le_bytes()[0]).collect();
        let expected = said.clone();
        let talking = async {
            client.write_all(&said).await.unwrap();
            client.shutdown().await.unwrap();
            // The other direction stays open.
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let listening = async {
            let mut heard = Vec::new();
            while heard.len() < 10_000 {
                let read = poll_fn(|context| server.poll_read_to(context, &mut heard)).await;
                assert_ne!(read.unwrap(), 0);
            }
            server.read_to_end(&mut heard).await.unwrap();
            server.write_all(&heard).await.unwrap();
            server.shutdown().await.unwrap();
            heard
        };
        let (answer, heard) = tokio::join!(talking, listening);
        assert!(heard == expected, "{piece}");
        assert!(answer == expected, "{piece}");
        assert_eq!(server.buffered(), 0);
    }
}

#[tokio::test]
async fn what_waits_for_a_peer_that_does_not_read_is_bounded() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut client, server) = both_ends(&TLS13, 1_000).await;
    let mut server = server.unwrap();
    let flood = vec![b'x'; 1024 * 1024];
    let mut written = 0;
    // The kernels of both sides and the relay take some MiB; then nothing more is taken.
    let filled = async {
        loop {
            written += server.write(&flood).await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_millis(300), filled)
        .await
        .unwrap_err();
    assert!(
        server.buffered() <= pool::WIDE_BYTES,
        "{}",
        server.buffered()
    );
    let mut heard = vec![0; written];
    let (heard, flushed) = tokio::join!(client.read_exact(&mut heard), server.flush());
    assert_eq!(heard.unwrap(), written);
    flushed.unwrap();
    assert_eq!(server.buffered(), 0);
}

#[tokio::test]
async fn much_goes_both_ways_as_it_was_and_leaves_no_buffers_behind() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for version in [&TLS13, &TLS12] {
        let (client, server) = both_ends(version, 50_000).await;
        let mut server = server.unwrap();
        let said: Vec<u8> = (0..3_000_000u32)
            .map(|at| (at / 3).to_le_bytes()[0])
            .collect();
        let (mut heard, mut answer) = (vec![0; said.len()], vec![0; said.len()]);
        let (mut from, mut to) = tokio::io::split(client);
        let talking = async { to.write_all(&said).await.unwrap() };
        let listening = async {
            // In pieces that fit to nothing.
            for piece in heard.chunks_mut(10_007) {
                server.read_exact(piece).await.unwrap();
            }
        };
        tokio::join!(talking, listening);
        assert!(heard == said);
        assert_eq!(server.buffered(), 0);
        let answering = async {
            let head = io::IoSlice::new(&said[..300]);
            let rest = io::IoSlice::new(&said[300..100_000]);
            let mut at = server.write_vectored(&[head, rest]).await.unwrap();
            while at < said.len() {
                at += server.write(&said[at..]).await.unwrap();
            }
            server.flush().await.unwrap();
        };
        let listening = async { from.read_exact(&mut answer).await.unwrap() };
        tokio::join!(answering, listening);
        assert!(answer == said);
        assert_eq!(server.buffered(), 0);
    }
}

#[tokio::test]
async fn what_is_no_tls_is_answered_with_an_alert_and_a_cut_is_no_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    let store = world.store();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    client
        .write_all(b"<stream:stream to='one.example'>")
        .await
        .unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    accept(tcp, &store, TlsUse::Xmpp, None).await.unwrap_err();
    let mut alert = Vec::new();
    let _ = client.read_to_end(&mut alert).await;
    // RFC 8446 §5.1, §6: an alert record with a fatal alert in it.
    assert_eq!((alert[0], alert[5]), (21, 2), "{alert:?}");

    let (client, server) = both_ends(&TLS13, 1_000).await;
    let mut server = server.unwrap();
    let (mut tcp, _) = client.into_inner();
    // A record of application data that nobody has encrypted.
    tcp.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
    tcp.write_all(&[0; 20]).await.unwrap();
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    server.write_u8(b'x').await.unwrap_err();
    server.shutdown().await.unwrap();

    let (client, server) = both_ends(&TLS13, 1_000).await;
    let mut server = server.unwrap();
    drop(client.into_inner());
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// The budget of an idle session with TLS is 8,200 bytes; this and what rustls keeps behind it
/// (about 1 KiB, and twice 600 bytes of key schedule) are its part of TLS.
#[test]
fn a_tls_stream_is_small() {
    let bytes = size_of::<TlsStream>();
    assert!(bytes <= 1_280, "{bytes}");
}
