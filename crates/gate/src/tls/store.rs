//! The certificates of the virtual hosts, read again without a restart.
//!
//! A reload replaces every host whose files are good and keeps the old certificate of every other:
//! a half-written file never takes a host off the air.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use idna::AsciiDenyList;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::any_certificate::AnyCertificate;
use super::servers::ServerConfigs;
use super::{ALPN_HTTP, ALPN_XMPP, TlsUse, certificate};
use crate::config::{HostCertificate, TlsConfig};
use crate::error::GateError;

/// The certificates in use.
pub struct TlsStore {
    config: TlsConfig,
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    current: RwLock<Arc<Current>>,
}

/// What one reading of the files gave.
#[derive(Clone)]
struct Current {
    hosts: HashMap<String, Arc<HostTls>>,
    default: Arc<HostTls>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// One host's certificate, ready for handshakes.
pub(crate) struct HostTls {
    name: String,
    end_point: Option<Arc<[u8]>>,
    start_tls: Arc<ServerConfig>,
    xmpp: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    servers: ServerConfigs,
}

impl TlsStore {
    /// Reads every certificate.
    ///
    /// # Errors
    /// The first file that cannot be read or used; at the start there is no older one to keep.
    pub fn open(config: TlsConfig) -> Result<TlsStore, GateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let ticketer = aws_lc_rs::Ticketer::new().map_err(|error| GateError::Unusable {
            file: "TLS session tickets".into(),
            reason: error.to_string(),
        })?;
        let clients = read_authorities(&config, &provider)?;
        let reader = Reader {
            provider: &provider,
            ticketer: &ticketer,
            clients: clients.as_ref(),
        };
        let mut hosts = HashMap::new();
        let mut default = None;
        for host in &config.hosts {
            let read = Arc::new(reader.host(host)?);
            default.get_or_insert_with(|| Arc::clone(&read));
            hosts.insert(host.host.to_ascii_lowercase(), read);
        }
        let default = default.ok_or_else(|| GateError::Unusable {
            file: "certificates".into(),
            reason: "none is configured".to_owned(),
        })?;
        let current = RwLock::new(Arc::new(Current {
            hosts,
            default,
            clients,
        }));
        Ok(TlsStore {
            config,
            provider,
            ticketer,
            current,
        })
    }

    /// Reads the files again. Connections made from now on use what is good among them; open ones
    /// are not touched, and session tickets stay valid.
    ///
    /// # Errors
    /// One for each file that cannot be read or used; what it held before stays in use.
    pub fn reload(&self) -> Result<(), Vec<GateError>> {
        let mut errors = Vec::new();
        let old = self.snapshot();
        let clients = read_authorities(&self.config, &self.provider).unwrap_or_else(|error| {
            errors.push(error);
            old.clients.clone()
        });
        let reader = Reader {
            provider: &self.provider,
            ticketer: &self.ticketer,
            clients: clients.as_ref(),
        };
        let mut new = Current {
            clients: clients.clone(),
            ..(*old).clone()
        };
        for (index, host) in self.config.hosts.iter().enumerate() {
            match reader.host(host) {
                Ok(read) => {
                    let read = Arc::new(read);
                    if index == 0 {
                        new.default = Arc::clone(&read);
                    }
                    new.hosts.insert(host.host.to_ascii_lowercase(), read);
                }
                Err(error) => errors.push(error),
            }
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// The certificate for `name`, in the ASCII form of SNI or the Unicode form of JIDs, or that of
    /// the first host.
    pub(crate) fn host(&self, name: Option<&str>) -> Arc<HostTls> {
        let current = self.snapshot();
        let ascii = name
            .and_then(|name| idna::domain_to_ascii_cow(name.as_bytes(), AsciiDenyList::EMPTY).ok());
        let found = ascii.and_then(|name| current.hosts.get(&*name));
        Arc::clone(found.unwrap_or(&current.default))
    }

    /// Whether a configured authority vouches for this client certificate, now.
    pub(crate) fn trusts_client(&self, chain: &[CertificateDer<'_>]) -> bool {
        let current = self.snapshot();
        match (&current.clients, chain) {
            (Some(clients), [end_entity, intermediates @ ..]) => clients
                .verify_client_cert(end_entity, intermediates, UnixTime::now())
                .is_ok(),
            _ => false,
        }
    }

    fn snapshot(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for TlsStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsStore")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl HostTls {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn end_point(&self) -> Option<&Arc<[u8]>> {
        self.end_point.as_ref()
    }

    pub(crate) fn config(&self, purpose: TlsUse) -> &Arc<ServerConfig> {
        match purpose {
            TlsUse::StartTls => &self.start_tls,
            TlsUse::Xmpp => &self.xmpp,
            TlsUse::Http => &self.http,
            TlsUse::ServerStartTls => &self.servers.accept_start_tls,
            TlsUse::Server => &self.servers.accept,
        }
    }

    /// For connections of ours to other servers.
    pub(crate) fn connecting(&self, purpose: TlsUse) -> &Arc<ClientConfig> {
        match purpose {
            TlsUse::Server => &self.servers.connect,
            _ => &self.servers.connect_start_tls,
        }
    }
}

/// What all hosts read in one go share.
struct Reader<'a> {
    provider: &'a Arc<CryptoProvider>,
    ticketer: &'a Arc<dyn ProducesTickets>,
    clients: Option<&'a Arc<dyn ClientCertVerifier>>,
}

impl Reader<'_> {
    fn host(&self, host: &HostCertificate) -> Result<HostTls, GateError> {
        let chain = read_certificates(&host.certificate)?;
        let key =
            PrivateKeyDer::from_pem_file(&host.key).map_err(|error| pem_error(&host.key, error))?;
        let end_point = certificate::end_point(&chain[0]);
        let unusable = |error: Error| GateError::Unusable {
            file: host.certificate.clone(),
            reason: format!(
                "does not go with the key in {}: {error}",
                host.key.display()
            ),
        };
        let servers = ServerConfigs::new(self.provider, &chain, &key).map_err(unusable)?;
        let base = self.config(chain, key).map_err(unusable)?;
        Ok(HostTls {
            name: host.host.clone(),
            end_point,
            xmpp: with_alpn(&base, &[ALPN_XMPP]),
            http: with_alpn(&base, &[ALPN_HTTP, ALPN_XMPP]),
            start_tls: Arc::new(base),
            servers,
        })
    }

    fn config(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(self.provider))
            .with_safe_default_protocol_versions()?;
        let builder = match self.clients {
            Some(clients) => {
                let any = AnyCertificate::new(self.provider, Some(Arc::clone(clients)));
                builder.with_client_cert_verifier(Arc::new(any))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        // Tickets are the client's to keep: resumption costs us no memory.
        config.ticketer = Arc::clone(self.ticketer);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

fn with_alpn(base: &ServerConfig, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = base.clone();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, GateError> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(file, error))?;
    if certificates.is_empty() {
        return Err(pem_error(file, pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn read_authorities(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, GateError> {
    let Some(file) = &config.client_authorities else {
        return Ok(None);
    };
    let unusable = |reason: String| GateError::Unusable {
        file: file.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in read_certificates(file)? {
        roots
            .add(authority)
            .map_err(|error| unusable(error.to_string()))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| unusable(error.to_string()))?;
    Ok(Some(verifier))
}

fn pem_error(file: &Path, error: pem::Error) -> GateError {
    let file = file.to_owned();
    match error {
        pem::Error::Io(source) => GateError::Read { file, source },
        pem::Error::NoItemsFound => GateError::Unusable {
            file,
            reason: "no certificate or key in PEM form in it".to_owned(),
        },
        other => GateError::Unusable {
            file,
            reason: io::Error::other(other).to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use tempfile::TempDir;

    use crate::tls::tests::certificate;

    fn store(folder: &TempDir) -> TlsStore {
        let hosts = vec![
            certificate(folder, "one.example"),
            certificate(folder, "two.example"),
        ];
        TlsStore::open(TlsConfig {
            hosts,
            client_authorities: None,
        })
        .unwrap()
    }

    #[test]
    fn each_host_has_its_certificate_and_a_stranger_gets_the_first() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder);
        assert_eq!(store.host(Some("TWO.example")).name(), "two.example");
        assert_eq!(store.host(Some("three.example")).name(), "one.example");
        assert_eq!(store.host(None).name(), "one.example");
    }

    #[test]
    fn a_host_is_found_by_both_forms_of_an_international_name() {
        let folder = TempDir::new().unwrap();
        let hosts = vec![
            certificate(&folder, "one.example"),
            certificate(&folder, "xn--bcher-kva.example"),
        ];
        let config = TlsConfig {
            hosts,
            client_authorities: None,
        };
        let store = TlsStore::open(config).unwrap();
        for name in ["xn--bcher-kva.example", "bücher.example", "BÜCHER.example"] {
            assert_eq!(store.host(Some(name)).name(), "xn--bcher-kva.example");
        }
    }

    #[test]
    fn a_broken_new_certificate_keeps_the_old_one_and_names_the_file() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder);
        let old = store.host(Some("one.example")).end_point().cloned();
        let replaced = store.host(Some("two.example")).end_point().cloned();
        certificate(&folder, "two.example");
        fs::write(folder.path().join("one.example.pem"), "-----BEGIN CERT").unwrap();

        let errors = store.reload().unwrap_err();

        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].to_string().contains("one.example.pem"),
            "{}",
            errors[0]
        );
        assert_eq!(store.host(Some("one.example")).end_point().cloned(), old);
        assert_ne!(
            store.host(Some("two.example")).end_point().cloned(),
            replaced
        );
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = TempDir::new().unwrap();
        let store = store(&folder);
        fs::copy(
            folder.path().join("one.example.key"),
            folder.path().join("two.example.key"),
        )
        .unwrap();
        let errors = store.reload().unwrap_err();
        assert!(
            errors[0].to_string().contains("two.example.key"),
            "{}",
            errors[0]
        );
    }

    #[test]
    fn a_missing_file_is_named_at_the_start() {
        let folder = TempDir::new().unwrap();
        let mut host = certificate(&folder, "one.example");
        host.key = folder.path().join("missing.key");
        let hosts = vec![host];
        let error = TlsStore::open(TlsConfig {
            hosts,
            client_authorities: None,
        })
        .unwrap_err();
        assert!(matches!(&error, GateError::Read { file, .. } if file.ends_with("missing.key")));
    }

    #[test]
    fn an_authority_file_without_certificates_is_refused() {
        let folder = TempDir::new().unwrap();
        let hosts = vec![certificate(&folder, "one.example")];
        let empty = folder.path().join("authorities.pem");
        fs::write(&empty, "nothing here").unwrap();
        let config = TlsConfig {
            hosts,
            client_authorities: Some(empty),
        };
        let error = TlsStore::open(config).unwrap_err();
        assert!(error.to_string().contains("authorities.pem"), "{error}");
    }
}
