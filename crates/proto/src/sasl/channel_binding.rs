//! Tying an authentication to the TLS connection it happens on (RFC 5056), so that a man in the
//! middle with a stolen or forged certificate cannot pass it on.

use zeroize::Zeroize;

/// A channel binding type that we support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingType {
    /// `tls-exporter`, RFC 9266: keying material of this very connection.
    TlsExporter,
    /// `tls-server-end-point`, RFC 5929 §4: the hash of the server's certificate.
    TlsServerEndPoint,
}

impl BindingType {
    /// Every type, strongest first.
    pub const ALL: [BindingType; 2] = [BindingType::TlsExporter, BindingType::TlsServerEndPoint];

    /// The registered unique prefix.
    pub fn name(self) -> &'static str {
        match self {
            BindingType::TlsExporter => "tls-exporter",
            BindingType::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    /// The type of that name; `None` for those we do not support, `tls-unique` among them.
    pub fn from_name(name: &str) -> Option<BindingType> {
        BindingType::ALL
            .into_iter()
            .find(|binding| binding.name() == name)
    }
}

/// The label under which `tls-exporter` data is exported (RFC 9266 §2), with no context.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// How many bytes are exported for `tls-exporter` (RFC 9266 §2).
pub const EXPORTER_BYTES: usize = 32;

/// The channel bindings that a connection can offer. Empty without TLS, and where TLS ends at a
/// proxy in front of us.
#[derive(Clone, Default)]
pub struct ChannelBindings {
    /// The exported keying material: TLS 1.3, or TLS 1.2 with the extended master secret.
    pub exporter: Option<[u8; EXPORTER_BYTES]>,
    /// The hash of the certificate the server showed, with the hash function that RFC 5929 §4.1
    /// names for its signature algorithm.
    pub server_end_point: Option<Box<[u8]>>,
}

impl ChannelBindings {
    /// No binding at all.
    pub fn none() -> ChannelBindings {
        ChannelBindings::default()
    }

    /// The data of that type, if the connection has it.
    pub fn get(&self, binding: BindingType) -> Option<&[u8]> {
        match binding {
            BindingType::TlsExporter => self.exporter.as_ref().map(|bytes| &bytes[..]),
            BindingType::TlsServerEndPoint => self.server_end_point.as_deref(),
        }
    }

    /// The types the connection has, strongest first.
    pub fn types(&self) -> impl Iterator<Item = BindingType> + '_ {
        BindingType::ALL
            .into_iter()
            .filter(|binding| self.get(*binding).is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.types().next().is_none()
    }
}

impl Drop for ChannelBindings {
    fn drop(&mut self) {
        self.exporter.zeroize();
    }
}

impl std::fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.types()).finish()
    }
}
