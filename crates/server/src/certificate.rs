//! Certificates signed by themselves, for hosts that were given none: made once, then kept, so
//! that a client that has accepted one is not asked again.

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where a certificate and its private key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

/// Why there is no self-signed certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("no certificate can name the host {host:?}: {reason}")]
    Unnameable { host: String, reason: String },
    #[error("cannot keep the certificate {}: {source}", file.display())]
    Unwritable {
        file: PathBuf,
        source: std::io::Error,
    },
}

/// The self-signed certificate of `host` in `folder`, made now if it is not there yet.
pub(crate) fn self_signed(folder: &Path, host: &str) -> Result<Files, CertificateError> {
    // A domain has no slash, so it is a file name.
    let files = Files {
        certificate: folder.join(format!("{host}.crt")),
        private_key: folder.join(format!("{host}.key")),
    };
    // The certificate is written last, so it is there only when both are.
    if files.certificate.exists() {
        return Ok(files);
    }
    let (certificate, private_key) = make(host)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| CertificateError::Unwritable {
            file: folder.to_owned(),
            source,
        })?;
    write_whole(&files.private_key, &private_key)?;
    write_whole(&files.certificate, &certificate)?;
    Ok(files)
}

fn make(host: &str) -> Result<(String, String), CertificateError> {
    let unnameable = |reason: String| CertificateError::Unnameable {
        host: host.to_owned(),
        reason,
    };
    let name = idna::domain_to_ascii(host).map_err(|error| unnameable(error.to_string()))?;
    let name = name.trim_matches(['[', ']']).to_owned();
    let failed = |error: rcgen::Error| unnameable(error.to_string());
    let mut params = CertificateParams::new(vec![name.clone()]).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    // Whoever trusts it has looked at it; an end would only make them look again.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a file that is there whole or not at all, whenever the power goes.
fn write_whole(path: &Path, text: &str) -> Result<(), CertificateError> {
    let unfinished = path.with_added_extension("new");
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|source| CertificateError::Unwritable {
        file: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_gate::{HostCertificate, TlsConfig, TlsStore};

    #[test]
    fn a_certificate_is_made_once_and_the_gate_can_use_it() {
        let folder = tempfile::tempdir().unwrap();
        for host in ["localhost", "bücher.example", "127.0.0.1"] {
            let files = self_signed(folder.path(), host).unwrap();
            let text = std::fs::read_to_string(&files.certificate).unwrap();
            assert_eq!(self_signed(folder.path(), host).unwrap(), files);
            assert_eq!(std::fs::read_to_string(&files.certificate).unwrap(), text);
            let config = TlsConfig {
                hosts: vec![HostCertificate {
                    host: host.to_owned(),
                    certificate: files.certificate,
                    key: files.private_key,
                }],
                client_authorities: None,
            };
            TlsStore::open(config).unwrap();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = self_signed(&file.join("tls"), "localhost").unwrap_err();
        assert!(error.to_string().contains("file/tls"), "{error}");
    }
}
