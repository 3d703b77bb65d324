//! TLS between servers: both sides show certificates, any is taken in the handshake, and afterwards [`Trust`] says which
//! domains they vouch for (RFC 6120 §13.7.2). A certificate that vouches for nothing is no reason to hang up where
//! dialback may do instead.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::{
    Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::any_certificate::AnyCertificate;
use super::store::read_certificates;
use super::{ALPN_SERVER, certificate};
use crate::config::ServersConfig;
use crate::error::GateError;

/// One host's certificate, ready for handshakes with other servers.
pub(super) struct ServerConfigs {
    pub(super) accept_start_tls: Arc<ServerConfig>,
    pub(super) accept: Arc<ServerConfig>,
    pub(super) connect_start_tls: Arc<ClientConfig>,
    pub(super) connect: Arc<ClientConfig>,
}

impl ServerConfigs {
    pub(super) fn new(
        provider: &Arc<CryptoProvider>,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<ServerConfigs, Error> {
        let any = Arc::new(AnyCertificate::new(provider, None));
        let mut accept = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(any.clone())
            .with_single_cert(chain.to_vec(), key.clone_key())?;
        let mut connect = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(any)
            .with_client_auth_cert(chain.to_vec(), key.clone_key())?;
        accept.session_storage = Arc::new(NoServerSessionStorage {});
        accept.send_tls13_tickets = 0;
        // A resumed session shows no certificates, and what we know of a peer is what it shows.
        connect.resumption = Resumption::disabled();
        let (mut accept_direct, mut connect_direct) = (accept.clone(), connect.clone());
        accept_direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
        connect_direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
        Ok(ServerConfigs {
            accept_start_tls: Arc::new(accept),
            accept: Arc::new(accept_direct),
            connect_start_tls: Arc::new(connect),
            connect: Arc::new(connect_direct),
        })
    }
}

/// Whose certificates count.
#[derive(Debug)]
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    as_client: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    /// Reads the authorities.
    ///
    /// # Errors
    /// The file cannot be read or used, or the system has none.
    pub(crate) fn open(config: &ServersConfig) -> Result<Trust, GateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let file = match &config.authorities {
            Some(file) => {
                for authority in read_certificates(file)? {
                    roots.add(authority).map_err(|error| GateError::Unusable {
                        file: file.clone(),
                        reason: error.to_string(),
                    })?;
                }
                file.clone()
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(system.certs);
                "the system's certificate authorities".into()
            }
        };
        let roots = Arc::new(roots);
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let as_client = builder.build().map_err(|error| GateError::Unusable {
            file,
            reason: error.to_string(),
        })?;
        Ok(Trust {
            roots,
            provider,
            as_client,
        })
    }

    /// Does this chain, now, vouch for `domain`?
    pub(crate) fn vouches(&self, chain: &[CertificateDer<'_>], domain: &str) -> bool {
        let [end_entity, intermediates @ ..] = chain else {
            return false;
        };
        self.is_signed(end_entity, intermediates) && names(end_entity, domain)
    }

    /// Public authorities make certificates for servers, some also for clients, and a server that connects to us may
    /// show either.
    fn is_signed(&self, end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> bool {
        let now = UnixTime::now();
        let algorithms = self.provider.signature_verification_algorithms.all;
        let as_server = ParsedCertificate::try_from(end_entity).and_then(|parsed| {
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, others, now, algorithms)
        });
        let as_client = || self.as_client.verify_client_cert(end_entity, others, now);
        as_server.is_ok() || as_client().is_ok()
    }
}

fn names(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let ascii = idna::domain_to_ascii(domain).unwrap_or_default();
    let by_dns = || {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let name = ServerName::try_from(ascii.as_str()).ok()?;
        verify_server_name(&parsed, &name).ok()
    };
    by_dns().is_some() || certificate::names_server(certificate, domain)
}
