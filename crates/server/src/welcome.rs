//! What a server says once it serves: a line of the log, and in development how to begin.

use crate::config::Config;
use crate::server::Server;
use crate::{media, say, wiring};
use posthaste_gate::ListenerKind;
use std::net::SocketAddr;

/// Warns of hosts whose certificate no client trusts by itself.
pub(crate) fn warn_of_self_signed(config: &Config) {
    let shared = config.tls.certificate.is_some();
    for host in &config.hosts {
        if host.certificate.is_none() && !shared {
            tracing::warn!(
                host = %host.domain,
                "this host has no certificate but one signed by itself: clients will warn of it"
            );
        }
    }
}

/// Says that clients are served, and where.
pub(crate) fn announce(
    server: &Server,
    addresses: &[(ListenerKind, SocketAddr)],
) -> anyhow::Result<()> {
    let metrics = server.metrics.get().map(Vec::as_slice).unwrap_or_default();
    tracing::info!(listening = ?wiring::listening(addresses), ?metrics, "serving");
    if server.is_development() {
        let guide = guide(&server.config(), addresses, metrics);
        say(format_args!("{guide}"))?;
    }
    Ok(())
}

/// How to begin, for somebody who has never seen this server.
fn guide(
    config: &Config,
    addresses: &[(ListenerKind, SocketAddr)],
    metrics: &[SocketAddr],
) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "posthaste".to_owned());
    let host = config
        .hosts
        .first()
        .map_or("localhost", |host| host.domain.as_str());
    let of = |wanted: ListenerKind| {
        let found = addresses.iter().find(|(kind, _)| *kind == wanted);
        found.map(|(_, address)| *address)
    };
    let mut lines = vec![
        String::new(),
        format!(
            "Posthaste {} serves {host} on this machine.",
            env!("CARGO_PKG_VERSION")
        ),
        format!(
            "Everything it keeps is in {}.",
            config.storage.directory.display()
        ),
        String::new(),
    ];
    if let Some(address) = of(ListenerKind::Xmpp) {
        lines.push(format!("  XMPP with STARTTLS   {address}"));
    }
    if let Some(address) = of(ListenerKind::XmppTls) {
        lines.push(format!("  XMPP over TLS        {address}"));
    }
    if let Some(address) = of(ListenerKind::Http) {
        lines.push(format!(
            "  WebSocket            ws://{address}{}",
            posthaste_gate::WEB_SOCKET_PATH
        ));
    }
    let first = config.hosts.first();
    if let Some(base) = first.and_then(|host| media::base(config, host, addresses)) {
        lines.push(format!(
            "  pictures and files   {base}{} (media.public_url gives other machines an address)",
            posthaste_im::media::PATH
        ));
    }
    for address in metrics {
        lines.push(format!("  metrics              http://{address}/metrics"));
    }
    lines.extend([
        String::new(),
        "Make an account (or let your client register one):".to_owned(),
        format!("  {program} --dev user add romeo@{host}"),
        String::new(),
        "Connect; the certificate is signed by itself, so your client will ask whether to trust it:".to_owned(),
    ]);
    if let Some(address) = of(ListenerKind::Xmpp) {
        let (ip, port) = (address.ip(), address.port());
        lines.extend([
            format!("  profanity    /connect romeo@{host} server {ip} port {port} tls trust"),
            format!(
                "  Gajim, Dino  log in as romeo@{host}; if it asks for a server: {ip}, port {port}"
            ),
        ]);
    }
    lines.extend([String::new(), "Ctrl-C stops it.".to_owned()]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_newcomer_is_told_where_to_connect_and_how_to_get_an_account() {
        let config =
            crate::config::parse(crate::config::DEVELOPMENT, "dev", Path::new("")).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = [
            (ListenerKind::Xmpp, address(5222)),
            (ListenerKind::XmppTls, address(5223)),
            (ListenerKind::Http, address(5280)),
        ];
        let guide = guide(&config, &addresses, &[address(9280)]);
        for part in [
            "serves localhost on this machine",
            "  XMPP with STARTTLS   127.0.0.1:5222\n",
            "  XMPP over TLS        127.0.0.1:5223\n",
            "  WebSocket            ws://127.0.0.1:5280/",
            "  pictures and files   http://127.0.0.1:5280/media (",
            "  metrics              http://127.0.0.1:9280/metrics\n",
            " --dev user add romeo@localhost\n",
            "/connect romeo@localhost server 127.0.0.1 port 5222 tls trust\n",
        ] {
            assert!(guide.contains(part), "no {part:?} in {guide}");
        }
    }
}
