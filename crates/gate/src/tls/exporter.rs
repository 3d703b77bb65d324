//! Channel binding `tls-exporter` (RFC 9266 §4.2) for connections of rustls' unbuffered interface,
//! which has no exporter of its own.
//!
//! rustls hands out the exporter's secret, and nothing else, through the interface made for key
//! logs, to one connection's own observer; it is forgotten as soon as the binding is computed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::crypto::tls13::OkmBlock;
use tokio_rustls::rustls::{KeyLog, ServerConfig, SupportedCipherSuite, Tls13CipherSuite};

/// The name of the exporter's secret among those of a connection.
const SECRET: &str = "EXPORTER_SECRET";

/// What a value for channel binding is derived for.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Observes the handshake of one connection.
#[derive(Default)]
pub(super) struct Exporter {
    secret: Mutex<Option<OkmBlock>>,
}

impl Exporter {
    /// An observer, and `config` for the connection that it observes.
    pub(super) fn observing(config: &ServerConfig) -> (Arc<Exporter>, Arc<ServerConfig>) {
        let exporter = Arc::new(Exporter::default());
        let mut config = config.clone();
        config.key_log = Arc::clone(&exporter) as Arc<dyn KeyLog>;
        (exporter, Arc::new(config))
    }

    /// The binding of the connection, if it is one of TLS 1.3: only there it is unique without
    /// further conditions.
    pub(super) fn binding(&self, suite: SupportedCipherSuite) -> Option<[u8; 32]> {
        let secret = self
            .secret
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let SupportedCipherSuite::Tls13(suite) = suite else {
            return None;
        };
        export(suite, &secret)
    }
}

/// `TLS-Exporter(label, "", 32)` of RFC 8446 §7.5.
fn export(suite: &Tls13CipherSuite, secret: &OkmBlock) -> Option<[u8; 32]> {
    let nothing = suite.common.hash_provider.start().finish();
    let length = nothing.as_ref().len();
    let derived = {
        let mut block = [0; OkmBlock::MAX_LEN];
        let out = block.get_mut(..length)?;
        expand_label(suite, secret, LABEL, nothing.as_ref(), out)?;
        OkmBlock::new(out)
    };
    let mut binding = [0; 32];
    expand_label(suite, &derived, b"exporter", nothing.as_ref(), &mut binding)?;
    Some(binding)
}

/// `HKDF-Expand-Label` of RFC 8446 §7.1.
fn expand_label(
    suite: &Tls13CipherSuite,
    secret: &OkmBlock,
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    let info = [
        &length[..],
        &label_length,
        PREFIX,
        label,
        &context_length,
        context,
    ];
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    expander.expand_slice(&info, out).ok()
}

impl KeyLog for Exporter {
    fn will_log(&self, label: &str) -> bool {
        label == SECRET
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == SECRET && secret.len() <= OkmBlock::MAX_LEN {
            let mut kept = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some(OkmBlock::new(secret));
        }
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exporter").finish_non_exhaustive()
    }
}
