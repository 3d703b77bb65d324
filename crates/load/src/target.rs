//! Which server is loaded, from which local addresses, and as which accounts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, ValueEnum};

use crate::sasl::{Mechanism, SaltedPasswords};
use crate::transport::Trust;

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// No encryption.
    None,
    /// RFC 6120 §5: upgrade after the first stream header.
    Starttls,
    /// XEP-0368: TLS from the first byte.
    Direct,
}

/// The server to load and the accounts to use; the same for every scenario.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetOptions {
    /// Address of the server's client port; loopback, unless --remote says otherwise.
    #[arg(long, default_value = "127.0.0.1:5222")]
    server: SocketAddr,
    /// The served domain.
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// Encryption of the connection. Certificates are not verified.
    #[arg(long, value_enum, default_value = "none")]
    tls: Tls,
    /// SASL mechanism.
    #[arg(long, value_enum, default_value = "scram-sha-1")]
    mechanism: Mechanism,
    /// Accounts are PREFIX0, PREFIX1, …
    #[arg(long, default_value = "load")]
    prefix: String,
    /// The password of every account.
    #[arg(long, default_value = "a long and winding load")]
    password: String,
    /// Spread connections over 127.0.0.2, 127.0.0.3, …: one address has ports for about 28,000.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=250))]
    sources: u8,
    /// Allow a server that is not on loopback: only for a machine that is yours to load.
    #[arg(long)]
    remote: bool,
    /// Process ids of the server, for its memory and CPU time (read from /proc).
    #[arg(long, value_delimiter = ',')]
    pub(crate) server_pid: Vec<u32>,
}

/// What every connection of a run shares.
pub(crate) struct Target {
    pub(crate) server: SocketAddr,
    pub(crate) domain: String,
    pub(crate) tls: Tls,
    pub(crate) mechanism: Mechanism,
    pub(crate) salted: SaltedPasswords,
    pub(crate) trust: Trust,
    /// Servers that are not on loopback may be loaded, too.
    pub(crate) remote: bool,
    prefix: String,
    password: String,
    sources: u8,
    next_source: AtomicUsize,
}

impl Target {
    /// Checks the options and prepares what connections share.
    pub(crate) fn new(options: &TargetOptions) -> anyhow::Result<Arc<Target>> {
        anyhow::ensure!(
            options.remote || options.server.ip().is_loopback(),
            "{} is not on loopback; say --remote if that server is yours to load",
            options.server
        );
        Ok(Arc::new(Target {
            server: options.server,
            domain: options.domain.clone(),
            tls: options.tls,
            mechanism: options.mechanism,
            salted: SaltedPasswords::default(),
            trust: Trust::any(b"xmpp-client")?,
            remote: options.remote,
            prefix: options.prefix.clone(),
            password: options.password.clone(),
            sources: options.sources,
            next_source: AtomicUsize::new(0),
        }))
    }

    /// The local part of account number `index`.
    pub(crate) fn local_part(&self, index: usize) -> String {
        format!("{}{index}", self.prefix)
    }

    /// The bare JID of account number `index`.
    pub(crate) fn bare_jid(&self, index: usize) -> String {
        format!("{}{index}@{}", self.prefix, self.domain)
    }

    /// The password of all accounts.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The next local address to connect from; `None` leaves the choice to the system.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        let loopback_v4 = matches!(self.server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if !loopback_v4 || self.sources == 1 {
            return None;
        }
        let turn = self.next_source.fetch_add(1, Ordering::Relaxed) % usize::from(self.sources);
        let last = u8::try_from(turn).unwrap_or(0).saturating_add(2);
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetOptions,
    }

    fn target(words: &[&str]) -> anyhow::Result<Arc<Target>> {
        Target::new(&Line::try_parse_from(["load"].iter().chain(words))?.target)
    }

    #[test]
    fn a_server_that_is_not_on_loopback_must_be_asked_for() {
        assert!(target(&["--server", "192.0.2.1:5222"]).is_err());
        assert!(target(&["--server", "192.0.2.1:5222", "--remote"]).is_ok());
        assert!(target(&["--server", "[::1]:5222"]).is_ok());
    }

    #[test]
    fn connections_take_turns_at_their_local_addresses() {
        let target = target(&["--sources", "2"]).unwrap();
        let turns: Vec<_> = (0..3)
            .filter_map(|_| target.source())
            .map(|at| at.ip())
            .collect();
        assert_eq!(turns[0], turns[2]);
        assert_ne!(turns[0], turns[1]);
    }
}
