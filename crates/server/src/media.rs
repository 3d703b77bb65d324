//! Uploaded files in this server: from the configuration to their store, their addresses, and the rounds that clear
//! what is due.

use crate::config::{Config, Host, Media, S3};
use posthaste_gate::ListenerKind;
use posthaste_im::config::Keep;
use posthaste_im::media::{self, Limits, Round};
use posthaste_im::node::Node;
use posthaste_media::{Backend, Credentials, S3Settings, Settings, Store, StoreError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// Between two rounds over the accounts that have files: a file whose time has come stays at most so much longer.
const ROUND_PAUSE: Duration = Duration::from_secs(60);
/// Between two steps of one round, so that it leaves the disk to others.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at the staging folder.
const STAGING_PAUSE: Duration = Duration::from_secs(600);
/// What may lie there longer than an upload may take, until it is nobody's any more.
const STAGING_GRACE: Duration = Duration::from_secs(3_600);
/// Steps of rounds that have not ended by then do not hold up the end of the server.
const LAST_STEP: Duration = Duration::from_secs(5);
/// Until the object store is asked again whether it is there, doubled each time.
const PROBE_LEAST: Duration = Duration::from_secs(10);
const PROBE_MOST: Duration = Duration::from_secs(600);

/// Where files lie that are not in a bucket, and those that are coming.
pub(crate) fn folder(config: &Config) -> PathBuf {
    config.storage.directory.join("media")
}

/// What the store of files is opened with; `None` when there is none. What the configuration says of S3 was checked.
fn settings(config: &Config) -> Result<Option<Settings>, StoreError> {
    if !config.media.enabled {
        return Ok(None);
    }
    Ok(Some(Settings {
        directory: folder(config),
        free_disk_floor: config.storage.free_disk_floor,
        backend: match config.media.store {
            "s3" => Backend::S3(s3_settings(&config.s3)?),
            _ => Backend::Local,
        },
    }))
}

fn s3_settings(s3: &S3) -> Result<S3Settings, StoreError> {
    let endpoint = s3.endpoint.trim_end_matches('/');
    let credentials = match &s3.credentials {
        // It was read once when the configuration was checked; it may be gone since.
        Some(file) => Credentials::read(file),
        None => Credentials::from_environment(),
    };
    Ok(S3Settings {
        bucket: s3.bucket.clone(),
        region: s3.region.clone(),
        endpoint: Some(endpoint.to_owned()).filter(|endpoint| !endpoint.is_empty()),
        credentials: credentials
            .map_err(|what| StoreError::Settings(format!("s3.credentials {what}")))?,
        path_style: s3.path_style,
        allow_http: s3.allow_http || is_loopback(endpoint),
        authorities: s3.authorities.clone(),
    })
}

/// Whether an address of HTTP leads to this machine and nowhere else.
pub(crate) fn is_loopback(address: &str) -> bool {
    let host = address.split_once("://").map_or(address, |(_, host)| host);
    let host = host.trim_end_matches('/');
    if let Ok(socket) = host.parse::<SocketAddr>() {
        return socket.ip().is_loopback();
    }
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host == "localhost" || host == "127.0.0.1" || host == "[::1]"
}

/// What may be uploaded, for the heart.
pub(crate) fn limits(media: &Media) -> Limits {
    let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Limits {
        file_bytes: media.file_size,
        account_bytes: media.account_size,
        account_files: count(media.account_files),
        day_bytes: media.daily_size,
        open_uploads: count(media.open_uploads),
        slot_seconds: count(media.slot_lifetime.as_secs()),
        upload_seconds: count(media.upload_time.as_secs()),
        keep: match media.keep {
            Keep::Forever => media::Keep::Forever,
            Keep::Days(days) => media::Keep::Days(days),
            Keep::Delivered => media::Keep::Delivered {
                after: media.keep_after_delivery,
                most: media.keep_undelivered,
            },
        },
    }
}

/// What the addresses of a host's files begin with; `None` when nobody could fetch them.
pub(crate) fn base(
    config: &Config,
    host: &Host,
    listening: &[(ListenerKind, SocketAddr)],
) -> Option<String> {
    if !config.media.enabled {
        return None;
    }
    let public = config.media.public_url.trim_end_matches('/');
    let name =
        idna::domain_to_ascii(host.domain.as_str()).unwrap_or_else(|_| host.domain.to_string());
    if !public.is_empty() {
        return Some(public.replace("{host}", &name));
    }
    let address = |wanted| {
        let found = listening.iter().find(|(kind, _)| *kind == wanted);
        found.map(|(_, address)| *address)
    };
    if let Some(address) = address(ListenerKind::Https) {
        // Its certificate names the host, so the address has to.
        return Some(with_port("https", &name, address.port(), 443));
    }
    let address = address(ListenerKind::Http)?;
    if address.ip().is_loopback() {
        // The host's name may lead elsewhere.
        return Some(format!("http://{address}"));
    }
    Some(with_port("http", &name, address.port(), 80))
}

fn with_port(scheme: &str, host: &str, port: u16, usual: u16) -> String {
    if port == usual {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

/// Warns of addresses that lead clients elsewhere to their own machines.
pub(crate) fn warn_of_loopback(config: &Config, listening: &[(ListenerKind, SocketAddr)]) {
    let is_public = |address: &SocketAddr| !address.ip().is_loopback();
    if !listening.iter().any(|(_, address)| is_public(address)) {
        return;
    }
    for host in &config.hosts {
        if base(config, host, listening).is_some_and(|base| is_loopback(&base)) {
            tracing::warn!(
                host = %host.domain,
                "files can be uploaded from this machine only: say in media.public_url where listen.http is reached from outside, or open listen.https"
            );
        }
    }
}

/// Opens the store.
pub(crate) async fn open(config: &Config) -> Result<Option<Arc<Store>>, StoreError> {
    let Some(settings) = settings(config)? else {
        return Ok(None);
    };
    Store::open(settings)
        .await
        .map(|store| Some(Arc::new(store)))
}

/// What looks after the files while the server runs.
pub(crate) struct Caretaker {
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Caretaker {
    pub(crate) fn start(node: &Arc<Node>, store: &Arc<Store>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let rounds = sweep(Arc::clone(node), Arc::clone(store), stopped.clone());
        let staging = clear_staging(Arc::clone(node), Arc::clone(store), stopped);
        Self {
            stop,
            tasks: [tokio::spawn(rounds), tokio::spawn(staging)],
        }
    }

    /// Lets each end its step; what it has not done is done after the next start.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let latest = Instant::now() + LAST_STEP;
        for mut task in self.tasks {
            if timeout_at(latest, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// Waits, unless the server stops; then no.
async fn has_time(pause: Duration, stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = sleep(pause) => true,
        // Also when nobody is left who could say it.
        _ = stopped.wait_for(|stopped| *stopped) => false,
    }
}

/// Again and again: files whose time has come go, and their bytes are erased.
async fn sweep(node: Arc<Node>, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let mut round = Round::default();
    loop {
        match media::sweep(&node, &mut round).await {
            Ok(doomed) => {
                for doomed in doomed {
                    erase(&node, &store, doomed).await;
                    if *stopped.borrow() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "files whose time has come could not be looked for");
                round = Round::default();
            }
        }
        let pause = if round.is_over() {
            ROUND_PAUSE
        } else {
            STEP_PAUSE
        };
        if !has_time(pause, &mut stopped).await {
            return;
        }
    }
}

/// Erases what the heart does not know any more. What cannot be erased now comes again in the next round.
async fn erase(node: &Node, store: &Store, mut doomed: media::Doomed) {
    let mut erased = Vec::new();
    for object in doomed.objects {
        match store.erase(&object).await {
            Ok(()) => erased.push(object),
            Err(StoreError::Busy) => {}
            // The store has said so.
            Err(_) => break,
        }
    }
    doomed.objects = erased;
    if let Err(error) = media::erased(node, &doomed).await {
        tracing::warn!(%error, "files that were erased will be erased again");
    }
}

/// Looks whether the object store is there, so that the log says so before a user does; then clears what crashes left
/// in the staging folder, now and then.
async fn clear_staging(node: Arc<Node>, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let mut pause = PROBE_LEAST;
    while !store.probe().await {
        if !has_time(pause, &mut stopped).await {
            return;
        }
        pause = (pause * 2).min(PROBE_MOST);
    }
    loop {
        let seconds = u64::from(node.config().media.upload_seconds);
        // The store has said what is wrong, if anything is.
        if let Ok(swept) = store
            .sweep(Duration::from_secs(seconds) + STAGING_GRACE)
            .await
            && swept != posthaste_media::Swept::default()
        {
            tracing::info!(?swept, "remains of uploads were cleared");
        }
        if !has_time(STAGING_PAUSE, &mut stopped).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    fn config(text: &str) -> Config {
        parse(text, "test", Path::new("")).unwrap()
    }

    fn base_of(text: &str, listening: &[(ListenerKind, &str)]) -> Option<String> {
        let config = config(text);
        let listening: Vec<_> = listening
            .iter()
            .map(|(kind, address)| (*kind, address.parse().unwrap()))
            .collect();
        base(&config, &config.hosts[0], &listening)
    }

    #[test]
    fn files_are_where_the_listeners_are_unless_it_is_said_otherwise() {
        let host = "[host.'example.org']\n";
        let both = [
            (ListenerKind::Http, "0.0.0.0:5280"),
            (ListenerKind::Https, "0.0.0.0:5443"),
        ];
        let told = |text: &str, listening| base_of(text, listening).unwrap_or_default();
        assert_eq!(told(host, &both), "https://example.org:5443");
        assert_eq!(told(host, &both[..1]), "http://example.org:5280");
        let usual = [(ListenerKind::Https, "[::]:443")];
        assert_eq!(told(host, &usual), "https://example.org");
        let near = [(ListenerKind::Http, "127.0.0.1:5280")];
        assert_eq!(told("", &near), "http://127.0.0.1:5280");
        let public = "[media]\npublic_url = 'https://files.{host}/'\n[host.'bücher.example']\n";
        assert_eq!(told(public, &near), "https://files.xn--bcher-kva.example");
        assert_eq!(base_of(host, &[]), None);
        assert_eq!(base_of("[media]\nenabled = false\n", &both), None);
    }

    #[test]
    fn a_mistyped_placeholder_is_no_address() {
        let text = "[media]\npublic_url = 'https://files.{hosts}'\n";
        let error = parse(text, "test", Path::new("")).err().unwrap();
        let error = error.to_string();
        assert!(error.contains("something else than {host}"), "{error}");
    }

    #[test]
    fn plain_http_to_the_service_is_for_this_machine_unless_it_is_said() {
        for (address, expected) in [
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000/", true),
            ("http://[::1]:9000", true),
            ("http://localhost", true),
            ("http://10.0.0.1:9000", false),
            ("http://localhost.example:9000", false),
            ("http://minio:9000", false),
        ] {
            assert_eq!(is_loopback(address), expected, "{address}");
        }
    }

    #[test]
    fn the_limits_without_a_configuration_are_the_hearts_own() {
        let ours = limits(&Config::defaults().media);
        assert_eq!(format!("{ours:?}"), format!("{:?}", Limits::default()));
    }

    #[test]
    fn how_long_files_stay_is_as_it_was_said() {
        let keep = |text: &str| limits(&config(text).media).keep;
        assert_eq!(keep("[media]\nkeep = '7d'\n"), media::Keep::Days(7));
        assert_eq!(keep("[media]\nkeep = 'forever'\n"), media::Keep::Forever);
        let delivered = "[media]\nkeep = 'delivered'\nkeep_after_delivery = '2d'\n";
        assert_eq!(
            keep(delivered),
            media::Keep::Delivered { after: 2, most: 90 }
        );
    }

    #[test]
    fn credentials_that_are_gone_since_the_check_are_not_looked_for_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let keys = "aws_access_key_id = AKIA\naws_secret_access_key = hush\n";
        let file = folder.path().join("keys");
        std::fs::write(&file, keys).unwrap();
        let text = "[media]\nstore = 's3'\n[s3]\nbucket = 'files'\ncredentials = 'keys'\n";
        let config = parse(text, "test", folder.path()).unwrap();
        assert!(matches!(settings(&config), Ok(Some(_))));
        std::fs::remove_file(&file).unwrap();
        let Err(StoreError::Settings(what)) = settings(&config) else {
            panic!("opened without its credentials");
        };
        assert!(what.starts_with("s3.credentials cannot read "), "{what}");
    }
}
