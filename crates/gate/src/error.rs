//! What can go wrong while the gate is opened or its certificates are read: configuration, or the
//! system. What a peer does wrong becomes a stream error, an HTTP status or a closed connection.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the gate could not be opened, or a certificate not be used.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// We are misconfigured, or another process has the port, or it needs a privilege.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// We are misconfigured: a TLS listener without a certificate.
    #[error("{address} needs TLS, but no certificate is configured")]
    NoCertificate {
        /// The address of the configuration.
        address: SocketAddr,
    },
    /// The file cannot be read: it is missing, or its permissions forbid it.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is readable, but its content cannot be used.
    #[error("{}: {reason}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why, in words for the operator.
        reason: String,
    },
}
