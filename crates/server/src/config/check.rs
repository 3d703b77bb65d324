//! Mistakes that no single value shows: pairs that do not fit, addresses given twice, files that
//! cannot be used.

use super::keys::is_place;
use super::{Complaint, Config, Host};
use crate::media::is_loopback;
use posthaste_gate::{GateError, HostCertificate, TlsConfig, TlsStore};
use posthaste_im::config::Keep;
use posthaste_media::Credentials;
use posthaste_proto::jid::BareJid;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A Unix socket's path must fit into `sockaddr_un` with its closing nought.
const SOCKET_PATH_MOST: usize = 107;

/// Every such mistake in `config`.
pub(super) fn check(config: &Config) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    check_certificates(config, &mut complaints);
    check_addresses(config, &mut complaints);
    check_admins(config, &mut complaints);
    check_components(config, &mut complaints);
    check_services(config, &mut complaints);
    check_media(config, &mut complaints);
    if complaints.is_empty() {
        check_files(config, &mut complaints);
    }
    if config.login.mechanisms.is_empty() {
        // A FAST token is only ever given to somebody who has logged in by another mechanism.
        let what = "is empty, so nobody could ever log in";
        complaints.push(config.origins.blame("login.mechanisms", what));
    }
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
        let key = host.key();
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

fn check_components(config: &Config, complaints: &mut Vec<Complaint>) {
    for component in &config.components {
        if config
            .hosts
            .iter()
            .any(|host| host.domain == component.domain)
        {
            let what = "is a host of this server; a component has a domain of its own";
            complaints.push(config.origins.blame(&component.key(), what));
        }
        if component.secret.expose().is_empty() {
            let what = "wants a secret, or anyone could stand for it";
            complaints.push(config.origins.blame(&component.key(), what));
        }
    }
}

/// Another server's word does not make an administrator of ours.
fn check_admins(config: &Config, complaints: &mut Vec<Complaint>) {
    let of_host = |host: &Host| (format!("{}.admins", host.key()), host.admins.clone());
    let of_server = ("accounts.admins".to_owned(), config.accounts.admins.clone());
    for (key, admins) in config.hosts.iter().map(of_host).chain([of_server]) {
        let is_ours = |admin: &&String| {
            let jid = BareJid::parse(admin);
            jid.is_ok_and(|jid| {
                config
                    .hosts
                    .iter()
                    .any(|host| host.domain == jid.domain_jid())
            })
        };
        for stranger in admins.iter().filter(|admin| !is_ours(admin)) {
            let what = format!("{stranger} is not an account of any of the hosts");
            complaints.push(config.origins.blame(&key, what));
        }
    }
}

/// An address leads to one place.
fn check_services(config: &Config, complaints: &mut Vec<Complaint>) {
    let hosts = config.hosts.iter().map(|host| host.domain.clone());
    let components = config.components.iter().map(|it| it.domain.clone());
    let mut taken: Vec<BareJid> = hosts.chain(components).collect();
    for host in &config.hosts {
        let services = [
            ("pubsub", host.pubsub_domain()),
            ("rooms", host.rooms_domain()),
            ("upload", host.upload_domain()),
        ];
        for (name, domain) in services {
            let Some(domain) = domain else { continue };
            if taken.contains(&domain) {
                let what =
                    format!("{domain} is the domain of a host, a component or another service");
                let key = format!("{}.{name}", host.key());
                complaints.push(config.origins.blame(&key, what));
            }
            taken.push(domain);
        }
    }
}

/// Files that could never be uploaded, and a store that could never be reached.
fn check_media(config: &Config, complaints: &mut Vec<Complaint>) {
    let (media, s3) = (&config.media, &config.s3);
    let mut blame = |key: &str, what: String| complaints.push(config.origins.blame(key, what));
    for (key, size) in [
        ("media.account_size", media.account_size),
        ("media.daily_size", media.daily_size),
    ] {
        if media.enabled && size < media.file_size {
            let what = "is less than media.file_size, so that such a file could never be uploaded";
            blame(key, what.to_owned());
        }
    }
    if media.enabled
        && media.keep == Keep::Delivered
        && media.keep_after_delivery > media.keep_undelivered
    {
        let what = "is more than media.keep_undelivered, after which files go in any case";
        blame("media.keep_after_delivery", what.to_owned());
    }
    if !media.enabled || media.store != "s3" {
        return;
    }
    if s3.bucket.is_empty() {
        let what = "is empty; media.store = \"s3\" wants the name of a bucket that is there";
        blame("s3.bucket", what.to_owned());
    }
    let is_open = s3.endpoint.starts_with("http://") && !is_loopback(&s3.endpoint);
    if is_open && !s3.allow_http {
        let what = "would send every file over the network for all to read: write https://, or say s3.allow_http = true where the network is yours alone";
        blame("s3.endpoint", what.to_owned());
    }
    let host = s3.endpoint.split_once("://").map(|(_, host)| host);
    let host = host.map(|host| format!("{}.{}", s3.bucket, host.trim_end_matches('/')));
    if !s3.path_style && host.is_some_and(|host| !is_place(&host)) {
        let what = "is off, and the bucket's name before s3.endpoint makes no host name";
        blame("s3.path_style", what.to_owned());
    }
    // What the server's environment says is not known to a command that somebody runs beside it.
    if let Some(Err(what)) = s3.credentials.as_deref().map(Credentials::read) {
        blame("s3.credentials", what);
    }
    // What is in it shows at the start.
    if let Some(Err(source)) = s3.authorities.as_deref().map(std::fs::read) {
        let file = s3.authorities.clone().unwrap_or_default();
        blame(
            "s3.authorities",
            GateError::Read { file, source }.to_string(),
        );
    }
}

fn check_addresses(config: &Config, complaints: &mut Vec<Complaint>) {
    let listen = &config.listen;
    let mut taken = HashMap::new();
    for (key, addresses) in [
        ("listen.c2s", &listen.c2s),
        ("listen.c2s_tls", &listen.c2s_tls),
        ("listen.http", &listen.http),
        ("listen.https", &listen.https),
        ("listen.components", &listen.components),
        ("listen.s2s", &listen.s2s),
        ("listen.s2s_tls", &listen.s2s_tls),
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
    let for_clients = [&listen.c2s, &listen.c2s_tls, &listen.http, &listen.https];
    if for_clients.iter().all(|addresses| addresses.is_empty()) {
        complaints.push(config.origins.blame(
            "listen.c2s",
            "and c2s_tls, http, https are all empty, so no client could ever connect",
        ));
    }
}

/// Reads the certificates as the gate will.
fn check_files(config: &Config, complaints: &mut Vec<Complaint>) {
    let own = config.hosts.iter().map(|host| {
        let key = host.key();
        (key, &host.certificate, &host.private_key)
    });
    let shared = (
        "tls".to_owned(),
        &config.tls.certificate,
        &config.tls.private_key,
    );
    let mut good = None;
    for (key, certificate, private_key) in own.chain([shared]) {
        let (Some(certificate), Some(private_key)) = (certificate, private_key) else {
            continue;
        };
        match open(certificate, private_key, None) {
            Ok(()) => good = Some((certificate, private_key)),
            Err(error) => {
                let guilty = match error {
                    GateError::Read { ref file, .. } | GateError::Unusable { ref file, .. }
                        if file == private_key =>
                    {
                        "private_key"
                    }
                    _ => "certificate",
                };
                complaints.push(config.origins.blame(&format!("{key}.{guilty}"), error));
            }
        }
    }
    if let Some(authorities) = &config.tls.client_ca {
        let result = match good {
            Some((certificate, private_key)) => open(certificate, private_key, Some(authorities)),
            // Without a certificate of ours yet, what is in it shows at the start.
            None => File::open(authorities)
                .map(drop)
                .map_err(|source| GateError::Read {
                    file: authorities.clone(),
                    source,
                }),
        };
        if let Err(error) = result {
            complaints.push(config.origins.blame("tls.client_ca", error));
        }
    }
}

fn open(
    certificate: &Path,
    private_key: &Path,
    authorities: Option<&PathBuf>,
) -> Result<(), GateError> {
    let host = HostCertificate {
        host: String::new(),
        certificate: certificate.to_owned(),
        key: private_key.to_owned(),
    };
    let files = TlsConfig {
        hosts: vec![host],
        client_authorities: authorities.cloned(),
    };
    TlsStore::open(files).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use std::path::Path;

    /// The complaints about `text`, one a line.
    fn complaints(text: &str, folder: &Path) -> String {
        match parse(text, "p.toml", folder) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_mistake_is_reported_with_file_line_and_key() {
        let here = Path::new("");
        let long = "x".repeat(120);
        let table: &[(&str, &str)] = &[
            ("[listen\n", "p.toml:1: "),
            (
                "\n[lisen]\n",
                "p.toml:2: lisen: unknown section; there are: listen, ",
            ),
            (
                "[component.'localhost']\nsecret = 'x'\n",
                "p.toml:1: component.\"localhost\": is a host of this server",
            ),
            (
                "[component.'bot.localhost']\n",
                "p.toml:1: component.\"bot.localhost\": wants a secret",
            ),
            (
                "[component.'bot.localhost']\nsecret = 4\n",
                "p.toml:2: component.\"bot.localhost\".secret: wants a text",
            ),
            (
                "[accounts]\nadmins = ['admin@elsewhere.example']\n",
                "p.toml:2: accounts.admins: admin@elsewhere.example is not an account of any of the hosts",
            ),
            (
                "listen = 3\n",
                "p.toml:1: listen: is a section; write [listen] above its keys",
            ),
            (
                "[listen]\nc2 = []\n",
                "p.toml:2: listen.c2: unknown key; there are: c2s, c2s_tls, ",
            ),
            (
                "[listen]\nc2s = \"x\"\n",
                "p.toml:2: listen.c2s: wants a list of addresses",
            ),
            (
                "[listen]\nc2s = [\n 3]\n",
                "p.toml:2: listen.c2s: wants a text in quotes, not an integer",
            ),
            (
                "[listen]\nc2s = [\"localhost\"]\n",
                "p.toml:2: listen.c2s: \"localhost\" is not an address with a port",
            ),
            (
                "[listen]\nhttp = [\"[::1]:1\"]\nmetrics = [\"[::1]:1\"]\n",
                "p.toml:3: listen.metrics: [::1]:1 is given in listen.http too",
            ),
            (
                "[listen]\nc2s = []\nc2s_tls = []\nhttp = []\nhttps = []\n",
                "p.toml:2: listen.c2s: and c2s_tls, http, https are all empty",
            ),
            (
                "[storage]\ncache = \"1 KiB\"\n",
                "p.toml:2: storage.cache: 1 KiB is not within 1 MiB to 1 TiB",
            ),
            (
                "[storage]\ncache = 64\n",
                "p.toml:2: storage.cache: wants a text in quotes, not an integer",
            ),
            (
                "[storage]\ndirectory = \"\"\n",
                "p.toml:2: storage.directory: the path is empty",
            ),
            (
                "[login]\nmechanisms = [\"HT-SHA-256-NONE\"]\n",
                "p.toml:2: login.mechanisms: \"HT-SHA-256-NONE\" is not a mechanism",
            ),
            (
                "[login]\nmechanisms = []\nfast = false\n",
                "p.toml:2: login.mechanisms: is empty, so nobody could ever log in",
            ),
            (
                "[contact]\nadmin = [\"me\"]\n",
                "p.toml:2: contact.admin: \"me\" is not an address",
            ),
            (
                "[messages]\nkeep = \"36h\"\n",
                "p.toml:2: messages.keep: wants whole days",
            ),
            (
                "[host.\"a.example\"]\npubsub = \"a@b\"\n",
                "p.toml:2: host.\"a.example\".pubsub: \"a@b\" is not a domain",
            ),
            (
                "[host.\"a.example\"]\npubsub = \"b.example\"\n[host.\"b.example\"]\n",
                "p.toml:2: host.\"a.example\".pubsub: b.example is the domain of a host",
            ),
            (
                "[media]\npublic_url = \"files.example\"\n",
                "p.toml:2: media.public_url: \"files.example\" does not begin with https://",
            ),
            (
                "[media]\ndaily_size = \"1 MiB\"\n",
                "p.toml:2: media.daily_size: is less than media.file_size",
            ),
            (
                "[media]\nstore = \"s3\"\n[s3]\nbucket = \"\"\n",
                "p.toml:4: s3.bucket: is empty; media.store = \"s3\" wants",
            ),
            (
                "[s3]\nbucket = \"My Bucket\"\n",
                "p.toml:2: s3.bucket: \"My Bucket\" is no name of a bucket",
            ),
            (
                "[media]\nstore = \"s3\"\n[s3]\nbucket = \"abc\"\nendpoint = \"http://10.0.0.1:9000\"\n",
                "p.toml:5: s3.endpoint: would send every file over the network",
            ),
            (
                "[media]\nstore = \"s3\"\n[s3]\nbucket = \"abc\"\ncredentials = \"/nowhere/keys\"\n",
                "p.toml:5: s3.credentials: cannot read /nowhere/keys: ",
            ),
            (
                "[media]\nkeep = \"delivered\"\nkeep_after_delivery = \"36h\"\n",
                "p.toml:3: media.keep_after_delivery: wants whole days",
            ),
            (
                "[devices]\nforget_after = \"36h\"\n",
                "p.toml:2: devices.forget_after: wants whole days",
            ),
            (
                "[media]\nkeep = \"delivered\"\nkeep_undelivered = \"5d\"\n",
                "media.keep_after_delivery: is more than media.keep_undelivered",
            ),
            (
                "[media]\nstore = \"s3\"\n[s3]\nbucket = \"abc\"\nauthorities = \"/nowhere/ca.pem\"\n",
                "p.toml:5: s3.authorities: cannot read /nowhere/ca.pem: ",
            ),
            (
                "[media]\nstore = \"s3\"\n[s3]\nbucket = \"abc\"\nendpoint = \"https://127.0.0.1:9000\"\npath_style = false\n",
                "p.toml:6: s3.path_style: is off, and the bucket's name before s3.endpoint makes no host name",
            ),
            (
                "[s3]\nendpoint = \"https://minio.example/bucket\"\n",
                "p.toml:2: s3.endpoint: \"https://minio.example/bucket\" is not a scheme and a host",
            ),
            (
                "[log]\nlevel = \"loud\"\n",
                "p.toml:2: log.level: \"loud\" is not one of error, ",
            ),
            (
                "[log]\nformat = \"xml\"\n",
                "p.toml:2: log.format: \"xml\" is not one of \"text\", \"json\"",
            ),
            (
                "[tls]\nself_signed = 1\n",
                "p.toml:2: tls.self_signed: wants true or false, not an integer",
            ),
            (
                "[tls]\nself_signed = false\n",
                "p.toml:2: tls.self_signed: is off, and the host localhost has no certificate",
            ),
            (
                "[tls]\ncertificate = \"c.pem\"\n",
                "p.toml:2: tls.certificate: wants private_key beside it",
            ),
            (
                "[tls]\nclient_ca = \"/nowhere/ca.pem\"\n",
                "p.toml:2: tls.client_ca: cannot read /nowhere/ca.pem: ",
            ),
            ("host = 3\n", "p.toml:1: host.\"example.org\": is a section"),
            ("[host]\n", "p.toml:1: host: wants 1 to 1000 hosts"),
            (
                "[host.\"a b\"]\n",
                "p.toml:1: host.\"a b\": is not a domain: ",
            ),
            (
                "[host.\"a.example\"]\n[host.\"A.example\"]\n",
                "is the same host as another",
            ),
            (
                "[host.\"A.example\"]\ncertificate = \"x\"\n",
                "p.toml:2: host.\"a.example\".certificate: wants private_key",
            ),
            (
                "[host.\"a.example\"]\nkeep = \"1h\"\n",
                "p.toml:2: host.\"a.example\".keep: 1h is not within 1d to 36500d",
            ),
            (
                "[host.\"a.example\"]\nkeep = \"some\"\n",
                "p.toml:2: host.\"a.example\".keep: \"some\" is not one of \"delivered\", ",
            ),
        ];
        for (text, expected) in table {
            let complaints = complaints(text, here);
            assert!(complaints.contains(expected), "{text}gave: {complaints}");
        }
        let socket = complaints(&format!("[admin]\nsocket = \"/{long}\"\n"), here);
        assert!(socket.contains("p.toml:2: admin.socket: "), "{socket}");
    }

    #[test]
    fn addresses_over_which_libraries_stumble_are_refused() {
        for wrong in [
            "minio.example:99999",
            "minio.example:",
            "minio.example:+80",
            ":9000",
            "",
            "a:b:c",
            "a|b",
            "a@b",
            "a#b",
            "a b",
            "a..b",
            "1.2.3",
            "1.2.3.256",
            "a.1",
            "0x1.0x",
            "[::1",
            "[1]",
            "[::1]9000",
            "xn--zz--.example",
            "{hosts}.example",
        ] {
            for key in ["[s3]\nendpoint", "[media]\npublic_url"] {
                let complaints = complaints(&format!("{key} = 'https://{wrong}'\n"), Path::new(""));
                assert!(
                    complaints.starts_with("p.toml:2: "),
                    "{key} {wrong}: {complaints}"
                );
            }
        }
        let braces = complaints(
            "[s3]\nendpoint = 'https://{host}.s3.example'\n",
            Path::new(""),
        );
        assert!(braces.contains("is not a scheme and a host"), "{braces}");
        for right in [
            "minio",
            "minio.example.:65535/",
            "my_minio:9000",
            "127.0.0.1:9000",
            "[::1]:9000",
            "a.3com",
            "xn--bcher-kva.example",
        ] {
            for key in ["[s3]\nendpoint", "[media]\npublic_url"] {
                let text = format!("{key} = 'https://{right}'\n");
                assert_eq!(complaints(&text, Path::new("")), "", "{text}");
            }
        }
        let public = "[media]\npublic_url = 'https://files.{host}:8443'\n";
        assert_eq!(complaints(public, Path::new("")), "");
    }

    #[test]
    fn all_mistakes_are_reported_together_in_the_order_of_the_file() {
        let text = "[tls]\nx = 1\n[log]\nlevel = 1\n[listen]\nc2s = 1\n";
        let lines: Vec<_> = complaints(text, Path::new(""))
            .lines()
            .map(|line| line[..9].to_owned())
            .collect();
        assert_eq!(lines, ["p.toml:2:", "p.toml:4:", "p.toml:6:"]);
    }

    #[test]
    fn certificates_that_cannot_be_used_are_found_before_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let files = crate::certificate::self_signed(folder.path(), "localhost").unwrap();
        let text = "[tls]\ncertificate = \"localhost.crt\"\nprivate_key = \"localhost.key\"\nclient_ca = \"localhost.crt\"\n";
        assert_eq!(complaints(text, folder.path()), "");
        std::fs::write(&files.private_key, "nonsense").unwrap();
        assert!(complaints(text, folder.path()).starts_with("p.toml:3: tls.private_key: "));
        std::fs::remove_file(&files.certificate).unwrap();
        assert!(
            complaints(text, folder.path()).starts_with("p.toml:2: tls.certificate: cannot read ")
        );
    }
}
