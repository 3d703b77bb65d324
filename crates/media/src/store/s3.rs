//! Objects in a bucket of an S3-compatible service.
//!
//! Credentials are for writing, reading and erasing objects, no more. What is large goes in parts, so that a request
//! that fails costs one part and not the file. The name of such an upload is written beside the staged file before
//! its first part: so one that a crash has ended is ended at the service too ([`super::Store::sweep`]), apart from one
//! that the service has begun and we had not written down yet, for which a rule of the bucket's life cycle helps
//! (docs/operating.md).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{Certificate, ClientOptions};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};
use posthaste_im::media::ObjectName;
use posthaste_proto::sasl::Secret;
use tokio::sync::Semaphore;

use super::check::Check;
use super::files::{self, Reading};
use super::staged::Sealed;
use super::{Claim, Content, StoreError, in_background, place};

/// Bytes of a part, and of the largest object that goes in one piece. S3 wants 5 MiB at least and 10,000 parts at
/// most: 80 GiB.
const PART_BYTES: usize = 8 << 20;
/// Parts of one object on their way at the same time.
const PARTS_AT_ONCE: usize = 3;
/// Parts of all objects in memory: 128 MiB.
const PARTS_IN_MEMORY: usize = 16;

/// A service on the same continent has answered by then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence of the service, or a part of 8 MiB on its way at 140 KB/s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts after the first one: about two seconds of a service that refuses connections.
const RETRIES: usize = 4;
/// No further attempt begins after this.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Which bucket, and how to get there.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The name of the bucket, which has to be there.
    pub bucket: String,
    /// Its region; services with none want any word.
    pub region: String,
    /// The service's address, such as `https://minio.example.org:9000`; `None` for Amazon's of the region.
    pub endpoint: Option<String>,
    /// Who we are.
    pub credentials: Credentials,
    /// The bucket stands in the path of addresses, not in their host name.
    pub path_style: bool,
    /// The endpoint may be plain HTTP.
    pub allow_http: bool,
    /// Certificates of the authorities to trust besides the machine's own, in PEM.
    pub authorities: Option<PathBuf>,
}

/// Who we are to the service.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A pair of keys.
    Keys {
        /// The access key.
        id: String,
        /// The secret key.
        secret: Secret,
        /// Of credentials that last only for a while.
        token: Option<Secret>,
    },
    /// What the environment says, as Amazon's own programs read it: a pair of keys, or the role of a container.
    Environment,
}

/// What of the environment counts: everything else is said by our own settings.
const ENVIRONMENT: [(&str, AmazonS3ConfigKey); 8] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

/// What has to be there of it, one of these; with less the service would be asked as nobody we know.
const ENOUGH: [&[&str]; 4] = [
    &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
    &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"],
    &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
    &[
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ],
];

impl Credentials {
    /// Reads the file that Amazon's programs call "shared credentials": the lines `aws_access_key_id = …`,
    /// `aws_secret_access_key = …` and perhaps `aws_session_token = …` of its first profile.
    ///
    /// # Errors
    /// A sentence's end that says what is wrong with it, without what is in it.
    pub fn read(file: &Path) -> Result<Credentials, String> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Credentials::parse(&text).ok_or_else(|| {
            format!(
                "{} has no lines `aws_access_key_id = …` and `aws_secret_access_key = …`",
                file.display()
            )
        })
    }

    fn parse(text: &str) -> Option<Credentials> {
        let value = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut found = lines.filter(|(key, _)| key.trim() == name);
            let (_, value) = found.next()?;
            Some(value.trim()).filter(|value| !value.is_empty())
        };
        Some(Credentials::Keys {
            id: value("aws_access_key_id")?.to_owned(),
            secret: Secret::from(value("aws_secret_access_key")?),
            token: value("aws_session_token").map(Secret::from),
        })
    }

    /// What this process was started with.
    ///
    /// # Errors
    /// A sentence's end that says that there are none.
    pub fn from_environment() -> Result<Credentials, String> {
        if is_enough(|name| variable(name).is_some()) {
            return Ok(Credentials::Environment);
        }
        let ways = ENOUGH.map(|names| names.join(" with ")).join(", or ");
        Err(format!("is not given, and the environment has not {ways}"))
    }

    fn give_to(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        match self {
            Credentials::Keys { id, secret, token } => {
                let builder = builder
                    .with_access_key_id(id)
                    .with_secret_access_key(secret.expose());
                match token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            Credentials::Environment => {
                ENVIRONMENT
                    .into_iter()
                    .fold(builder, |builder, (name, key)| match variable(name) {
                        Some(value) => builder.with_config(key, value),
                        None => builder,
                    })
            }
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_enough(is_set: impl Fn(&str) -> bool) -> bool {
    ENOUGH
        .iter()
        .any(|names| names.iter().all(|name| is_set(name)))
}

/// The bucket.
pub(super) struct S3 {
    bucket: Arc<AmazonS3>,
    memory: Arc<Semaphore>,
}

// Not derived: what is inside knows the credentials.
impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").finish_non_exhaustive()
    }
}

impl S3 {
    pub(super) fn connect(settings: &S3Settings) -> Result<S3, StoreError> {
        let mut client = ClientOptions::new()
            // A download takes as long as its reader does; what must not last is silence.
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(SILENCE_TIMEOUT)
            .with_allow_http(settings.allow_http);
        for certificate in authorities(settings.authorities.as_deref())? {
            client = client.with_root_certificate(certificate);
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_allow_http(settings.allow_http)
            // Erasing many at once is what services have not, or have with tricks of their own.
            .with_disable_bulk_delete(true)
            .with_client_options(client)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(200),
                    max_backoff: Duration::from_secs(5),
                    base: 2.0,
                },
                max_retries: RETRIES,
                retry_timeout: RETRY_TIMEOUT,
            });
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(address(endpoint, settings));
        }
        let bucket = settings.credentials.give_to(builder).build();
        let bucket = bucket.map_err(|error| StoreError::Settings(describe(&error)))?;
        Ok(S3 {
            bucket: Arc::new(bucket),
            memory: Arc::new(Semaphore::new(PARTS_IN_MEMORY)),
        })
    }

    /// Whether we may do there what we need to, by doing it.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        let key = Key::from("posthaste-probe");
        let written = self.bucket.put(&key, Bytes::from_static(b"probe").into());
        written.await?;
        let read = self.bucket.get(&key).await?;
        read.bytes().await?;
        self.bucket.delete(&key).await.map_err(StoreError::from)
    }

    pub(super) async fn keep(&self, sealed: Sealed) -> Result<(), StoreError> {
        if let Err(error) = self.send(&sealed).await {
            // Bytes that are wrong by now are not gone on with.
            if !matches!(error, StoreError::Mismatch) {
                sealed.leave().await;
            }
            return Err(error);
        }
        in_background(move || {
            files::remove(&sealed.claim.parts())?;
            sealed.claim.remove_staged()
        })
        .await
    }

    async fn send(&self, sealed: &Sealed) -> Result<(), StoreError> {
        // What an earlier attempt has left there.
        self.abandon_parts(&sealed.claim).await?;
        let key = key(&sealed.claim.object);
        let reading = sealed.read(PART_BYTES).await?;
        if sealed.size() <= PART_BYTES as u64 {
            self.keep_whole(&key, reading).await
        } else {
            let kept = self.keep_in_parts(&key, &sealed.claim, reading).await;
            if let Err(error) = kept {
                if let Err(error) = self.abandon_parts(&sealed.claim).await {
                    tracing::debug!(%error, "an upload in parts is ended later");
                }
                return Err(error);
            }
            Ok(())
        }
    }

    async fn keep_whole(&self, key: &Key, mut reading: Reading) -> Result<(), StoreError> {
        let _permit = self.memory.acquire().await.map_err(closed)?;
        let bytes = in_background(move || reading.read()).await?;
        let kept = self.bucket.put(key, bytes.into()).await;
        kept.map(drop).map_err(StoreError::from)
    }

    async fn keep_in_parts(
        &self,
        key: &Key,
        claim: &Claim,
        reading: Reading,
    ) -> Result<(), StoreError> {
        let id = self.bucket.create_multipart(key).await?;
        let (note, name) = (claim.parts(), id.clone());
        in_background(move || Ok(write_down(&note, &name)?)).await?;
        let memory = Arc::clone(&self.memory);
        let parts = stream::try_unfold((0, reading), move |(index, mut reading)| {
            let memory = Arc::clone(&memory);
            async move {
                if reading.left() == 0 {
                    return Ok(None);
                }
                let permit = memory.acquire_owned().await.map_err(closed)?;
                let read = in_background(move || reading.read().map(|bytes| (bytes, reading)));
                let (bytes, reading) = read.await?;
                Ok::<_, StoreError>(Some(((index, bytes, permit), (index + 1, reading))))
            }
        });
        let sent = parts.map_ok(|(index, bytes, permit)| {
            let (bucket, key, id) = (Arc::clone(&self.bucket), key.clone(), id.clone());
            async move {
                let sent = bucket.put_part(&key, &id, index, bytes.into()).await;
                drop(permit);
                sent.map_err(StoreError::from)
            }
        });
        let sent: Vec<PartId> = sent.try_buffered(PARTS_AT_ONCE).try_collect().await?;
        // Only now, and not before all bytes were found right, is there such an object.
        let done = self.bucket.complete_multipart(key, &id, sent).await;
        done.map(drop).map_err(StoreError::from)
    }

    /// Has the service forget an upload in parts that will not go on; whether there was one.
    pub(super) async fn abandon_parts(&self, claim: &Claim) -> Result<bool, StoreError> {
        let note = claim.parts();
        let read = in_background(move || Ok(std::fs::read(note)?)).await;
        // A note that was not written to its end names none, and no part has been sent then.
        let id = match read.map(String::from_utf8) {
            Ok(Ok(id)) if !id.contains(char::is_control) => id,
            Ok(_) => String::new(),
            Err(StoreError::NotFound) => return Ok(false),
            Err(error) => return Err(error),
        };
        if !id.is_empty() {
            let key = key(&claim.object);
            match self.bucket.abort_multipart(&key, &id).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let note = claim.parts();
        in_background(move || Ok(files::remove(&note)?)).await
    }

    pub(super) async fn read(
        &self,
        object: &ObjectName,
        range: std::ops::Range<u64>,
        check: Check,
    ) -> Result<Content, StoreError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let found = self.bucket.get_opts(&key(object), options).await;
        let found = found.map_err(failed)?;
        if found.range != range {
            return Err(StoreError::Mismatch);
        }
        let pieces = found.into_stream();
        let checked = stream::unfold(Some((pieces, check)), |state| async move {
            let (mut pieces, mut check) = state?;
            if check.left() == 0 {
                return None;
            }
            let piece = match pieces.next().await {
                Some(Ok(piece)) => check.pass(&piece).map(|()| piece),
                Some(Err(error)) => Err(failed(error)),
                None => Err(StoreError::Mismatch),
            };
            let state = piece.is_ok().then_some((pieces, check));
            Some((piece, state))
        });
        Ok(checked.boxed())
    }

    pub(super) async fn erase(&self, object: &ObjectName) -> Result<(), StoreError> {
        match self.bucket.delete(&key(object)).await {
            Ok(()) => Ok(()),
            Err(error) => match failed(error) {
                StoreError::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }
}

fn key(object: &ObjectName) -> Key {
    Key::from(place(object))
}

/// Where the bucket is: with its name in the host, the endpoint is one of its own.
fn address(endpoint: &str, settings: &S3Settings) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !settings.path_style => {
            format!("{scheme}://{}.{host}", settings.bucket)
        }
        _ => endpoint.to_owned(),
    }
}

fn authorities(file: Option<&Path>) -> Result<Vec<Certificate>, StoreError> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let unusable = |error: String| StoreError::Settings(format!("{}: {error}", file.display()));
    let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))
}

/// Writes down which upload in parts is under way, durably.
fn write_down(note: &Path, id: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = options.mode(files::FILE_MODE).open(note)?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    match note.parent() {
        Some(folder) => files::sync_folder(folder),
        None => Ok(()),
    }
}

fn closed<E>(_: E) -> StoreError {
    StoreError::Io(std::io::Error::other("the store is closed"))
}

/// An error of reading: that an object is not there is an answer.
fn failed(error: Error) -> StoreError {
    let what = describe(&error);
    match error {
        Error::NotFound { .. } if !what.contains("NoSuchBucket") => StoreError::NotFound,
        _ => error.into(),
    }
}

/// Of writing; nothing of ours is "not found" then but the bucket.
impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        StoreError::Remote {
            what: describe(&error),
            is_refusal: matches!(
                error,
                Error::NotFound { .. }
                    | Error::PermissionDenied { .. }
                    | Error::Unauthenticated { .. }
            ),
        }
    }
}

/// Longest description.
const DESCRIPTION_CHARS: usize = 400;

/// What happened, with the cause below it and the service's error code; not the rest of its answer, which may say
/// more than belongs in a log.
fn describe(error: &Error) -> String {
    let text = error.to_string();
    let (said, document) = text.split_at(text.find('<').unwrap_or(text.len()));
    let code = document
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    let mut what: String = said.trim().chars().take(DESCRIPTION_CHARS).collect();
    if let Some((code, _)) = code {
        what = format!("{what} {}", code.chars().take(64).collect::<String>());
    }
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    let cause = cause.map(ToString::to_string).unwrap_or_default();
    if !cause.contains('<') && !what.contains(&cause) {
        what = format!("{what}: {cause}");
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_amazons_programs_write_them() {
        let text = "[default]\naws_access_key_id = AKIA\naws_secret_access_key=s/e=cret\n";
        let Some(Credentials::Keys { id, secret, token }) = Credentials::parse(text) else {
            panic!("not read");
        };
        assert_eq!((id.as_str(), secret.expose()), ("AKIA", "s/e=cret"));
        assert!(token.is_none());
        for text in ["", "[default]\naws_access_key_id = AKIA\n"] {
            assert!(Credentials::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn half_a_way_to_credentials_is_none_and_all_of_it_is_passed_on() {
        for names in ENOUGH {
            assert!(is_enough(|name| names.contains(&name)), "{names:?}");
            for missing in names {
                let has = |name: &str| names.contains(&name) && name != *missing;
                assert!(!is_enough(has), "{names:?} without {missing}");
                let passed = ENVIRONMENT.iter().any(|(name, _)| name == missing);
                assert!(passed, "{missing}");
            }
        }
    }

    #[test]
    fn neither_settings_nor_the_store_show_the_secret() {
        let settings = S3Settings {
            bucket: "files".to_owned(),
            region: "here".to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            credentials: Credentials::parse(
                "aws_access_key_id = AKIA\naws_secret_access_key = hush\naws_session_token = hush",
            )
            .unwrap(),
            path_style: true,
            allow_http: true,
            authorities: None,
        };
        let store = S3::connect(&settings).unwrap();
        let shown = format!("{settings:?} {store:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn of_a_services_answer_only_the_code_is_told() {
        let error = Error::Generic {
            store: "S3",
            source: "403: <Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>"
                .into(),
        };
        let what = describe(&error);
        assert!(what.contains("InvalidAccessKeyId"), "{what}");
        assert!(
            !what.contains("AKIA<") && !what.contains("AWSAccessKeyId>"),
            "{what}"
        );
    }
}
