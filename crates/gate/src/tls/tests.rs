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
    client: io::Result<tokio_rustls::client::TlsStream<TcpStream>>,
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
