//! Mistakes that no single value shows: pairs that do not fit, addresses given twice.

use super::{Complaint, Config};
use std::collections::HashMap;
use std::path::PathBuf;

/// A Unix socket's path must fit into `sockaddr_un` with its closing nought.
const SOCKET_PATH_MOST: usize = 107;

/// Every such mistake in `config`.
pub(super) fn check(config: &Config) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    check_certificates(config, &mut complaints);
    check_addresses(config, &mut complaints);
    let socket = config.admin_socket();
    if socket.as_os_str().len() > SOCKET_PATH_MOST {
        let what = format!(
            "{} is longer than the {SOCKET_PATH_MOST} bytes a socket's path may have; choose a shorter one",
            socket.display()
        );
        complaints.push(config.origins.blame("admin.socket", what));
    }
    complaints
}

fn check_certificates(config: &Config, complaints: &mut Vec<Complaint>) {
    let mut pair = |key: &str, certificate: Option<&PathBuf>, private_key: Option<&PathBuf>| match (
        certificate,
        private_key,
    ) {
        (Some(_), None) => complaints.push(
            config
                .origins
                .blame(&format!("{key}.certificate"), "wants private_key beside it"),
        ),
        (None, Some(_)) => complaints.push(
            config
                .origins
                .blame(&format!("{key}.private_key"), "wants certificate beside it"),
        ),
        _ => {}
    };
    pair(
        "tls",
        config.tls.certificate.as_ref(),
        config.tls.private_key.as_ref(),
    );
    for host in &config.hosts {
        let key = format!("host.\"{}\"", host.domain);
        pair(&key, host.certificate.as_ref(), host.private_key.as_ref());
    }
    let bare = config.hosts.iter().find(|host| host.certificate.is_none());
    if let (Some(host), None, false) = (bare, &config.tls.certificate, config.tls.self_signed) {
        let what = format!(
            "is off, and the host {} has no certificate; give tls.certificate or the host's own",
            host.domain
        );
        complaints.push(config.origins.blame("tls.self_signed", what));
    }
}

fn check_addresses(config: &Config, complaints: &mut Vec<Complaint>) {
    let listen = &config.listen;
    let mut taken = HashMap::new();
    for (key, addresses) in [
        ("listen.c2s", &listen.c2s),
        ("listen.c2s_tls", &listen.c2s_tls),
        ("listen.http", &listen.http),
        ("listen.metrics", &listen.metrics),
    ] {
        // Port 0 is "any free port", so it may stand in several places.
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if let Some(other) = taken.insert(*address, key) {
                complaints.push(
                    config
                        .origins
                        .blame(key, format!("{address} is given in {other} too")),
                );
            }
        }
    }
    if listen.c2s.is_empty() && listen.c2s_tls.is_empty() && listen.http.is_empty() {
        complaints.push(config.origins.blame(
            "listen.c2s",
            "and c2s_tls and http are all empty, so no client could ever connect",
        ));
    }
}
