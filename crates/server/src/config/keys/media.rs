//! The keys of uploaded files: what may be uploaded, how long it stays, and where its bytes lie.

use super::{DAY_SECONDS, GIB, KIB, MIB, Section, secs};
use crate::config::value::{DAYS_MOST, Key, Value};
use http::uri::Authority;
use posthaste_im::config::Keep;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const MEDIA: Section = Section {
    name: "media",
    doc: &["Pictures, voice, video: files that clients upload over HTTP (XEP-0363)."],
    keys: &[
        Key {
            name: "enabled",
            doc: &["Whether files can be uploaded and fetched."],
            reload: false,
            value: Value::Switch {
                default: true,
                field: |c| &mut c.media.enabled,
            },
        },
        Key {
            name: "public_url",
            doc: &[
                "What the addresses of files begin with, {host} standing for the host of the uploader, such as",
                "\"https://chat.example.org\": where a proxy that leads /media here is reached. Left empty, it is the",
                "host and the port of listen.https, or of listen.http where there is no other.",
            ],
            reload: true,
            value: Value::Text {
                default: "",
                check: check_public_url,
                field: |c| &mut c.media.public_url,
            },
        },
        Key {
            name: "file_size",
            doc: &["The largest file."],
            reload: true,
            value: Value::Size {
                default: 256 * MIB,
                min: KIB,
                max: 64 * GIB,
                field: |c| &mut c.media.file_size,
            },
        },
        Key {
            name: "account_size",
            doc: &["All files that one account has at a time; what it uploads again counts once."],
            reload: true,
            value: Value::Size {
                default: 10 * GIB,
                min: KIB,
                max: 1024 * GIB,
                field: |c| &mut c.media.account_size,
            },
        },
        Key {
            name: "account_files",
            doc: &["Files that one account has at a time."],
            reload: true,
            value: Value::Count {
                default: 100_000,
                min: 1,
                max: 10_000_000,
                field: |c| &mut c.media.account_files,
            },
        },
        Key {
            name: "daily_size",
            doc: &["What one account uploads in a day."],
            reload: true,
            value: Value::Size {
                default: 2 * GIB,
                min: KIB,
                max: 1024 * GIB,
                field: |c| &mut c.media.daily_size,
            },
        },
        Key {
            name: "open_uploads",
            doc: &["Uploads of one account under way at a time."],
            reload: true,
            value: Value::Count {
                default: 32,
                min: 1,
                max: 10_000,
                field: |c| &mut c.media.open_uploads,
            },
        },
        Key {
            name: "slot_lifetime",
            doc: &["How long a client may wait between asking for an upload and beginning it."],
            reload: true,
            value: Value::Period {
                default: secs(300),
                min: secs(10),
                max: secs(DAY_SECONDS),
                field: |c| &mut c.media.slot_lifetime,
            },
        },
        Key {
            name: "upload_time",
            doc: &[
                "How long an upload may take, interruptions included; then what has come of it is removed.",
            ],
            reload: true,
            value: Value::Period {
                default: secs(6 * 3_600),
                min: secs(1),
                max: secs(7 * DAY_SECONDS),
                field: |c| &mut c.media.upload_time,
            },
        },
        Key {
            name: "keep",
            doc: &[
                "How long files stay: as long as messages do (messages.keep) is long enough for the links in them.",
                "With \"delivered\" a file goes when all whom it was sent to have it, after keep_after_delivery.",
            ],
            reload: true,
            value: Value::Retention {
                default: Keep::Days(30),
                field: |c| &mut c.media.keep,
            },
        },
        Key {
            name: "keep_after_delivery",
            doc: &[
                "Where keep is \"delivered\": how long a file stays after that, to be looked at again, in whole days.",
            ],
            reload: true,
            value: Value::Days {
                default: 7,
                max: DAYS_MOST,
                field: |c| &mut c.media.keep_after_delivery,
            },
        },
        Key {
            name: "keep_undelivered",
            doc: &[
                "Where keep is \"delivered\": when a file goes even if somebody has not got it, in whole days.",
            ],
            reload: true,
            value: Value::Days {
                default: 90,
                max: DAYS_MOST,
                field: |c| &mut c.media.keep_undelivered,
            },
        },
        Key {
            name: "store",
            doc: &[
                "Where files lie: \"local\" is the folder media in storage.directory, \"s3\" is what [s3] says.",
                "Files do not move by themselves when this changes: docs/operating.md says how they do.",
            ],
            reload: false,
            value: Value::Choice {
                default: "local",
                of: &["local", "s3"],
                field: |c| &mut c.media.store,
            },
        },
    ],
};

pub(super) const S3: Section = Section {
    name: "s3",
    doc: &["The S3-compatible service that holds uploaded files, where media.store is \"s3\"."],
    keys: &[
        Key {
            name: "bucket",
            doc: &["The name of a bucket that is there and nobody else's to read."],
            reload: false,
            value: Value::Text {
                default: "",
                check: check_bucket,
                field: |c| &mut c.s3.bucket,
            },
        },
        Key {
            name: "region",
            doc: &["Its region. Services without regions take any word."],
            reload: false,
            value: Value::Text {
                default: "us-east-1",
                check: check_region,
                field: |c| &mut c.s3.region,
            },
        },
        Key {
            name: "endpoint",
            doc: &[
                "The service's address, such as \"https://minio.example.org:9000\"; empty for Amazon's of the region.",
            ],
            reload: false,
            value: Value::Text {
                default: "",
                check: check_endpoint,
                field: |c| &mut c.s3.endpoint,
            },
        },
        Key {
            name: "credentials",
            doc: &[
                "A file with lines aws_access_key_id=… and aws_secret_access_key=…, for the server's own user to read.",
                "Left out, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment count, or the role",
                "of a container that Amazon's variables name.",
            ],
            reload: false,
            value: Value::OptionalPlace {
                example: "/etc/posthaste/s3-credentials",
                field: |c| &mut c.s3.credentials,
            },
        },
        Key {
            name: "path_style",
            doc: &[
                "Whether the bucket stands in the path of addresses, which all services understand, or in the host name.",
            ],
            reload: false,
            value: Value::Switch {
                default: true,
                field: |c| &mut c.s3.path_style,
            },
        },
        Key {
            name: "authorities",
            doc: &["Authorities of the service's certificate besides the machine's own, in PEM."],
            reload: false,
            value: Value::OptionalPlace {
                example: "/etc/posthaste/s3-ca.pem",
                field: |c| &mut c.s3.authorities,
            },
        },
        Key {
            name: "allow_http",
            doc: &[
                "Whether the endpoint may be plain HTTP beyond this machine: whoever is on the way reads every file.",
            ],
            reload: false,
            value: Value::Switch {
                default: false,
                field: |c| &mut c.s3.allow_http,
            },
        },
    ],
};

/// An address with places for the host.
fn check_public_url(text: &str) -> Result<(), String> {
    if text.replace("{host}", "").contains(['{', '}']) {
        return Err(format!(
            "{text:?} has braces around something else than {{host}}"
        ));
    }
    check_filled(text, &text.replace("{host}", "h"))
}

fn check_endpoint(text: &str) -> Result<(), String> {
    check_filled(text, text)
}

/// An address of HTTP without a path: what follows it is ours to say. `filled` is `text` as it will be used.
fn check_filled(text: &str, filled: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let rest = filled
        .strip_prefix("https://")
        .or_else(|| filled.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(format!("{text:?} does not begin with https:// or http://"));
    };
    if is_place(rest.strip_suffix('/').unwrap_or(rest)) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not a scheme and a host; write for example \"https://chat.example.org:5443\""
    ))
}

/// Whether this is a host, perhaps with a port, that no library stumbles over: some panic.
pub(crate) fn is_place(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let is_digit = |c: char| c.is_ascii_digit();
    let is_port = |port: &str| port.chars().all(is_digit) && port.parse::<u16>().is_ok();
    let host = authority.host();
    is_host(host)
        && match text.strip_prefix(host) {
            Some("") => true,
            Some(rest) => rest.strip_prefix(':').is_some_and(is_port),
            None => false,
        }
}

fn is_host(host: &str) -> bool {
    if let Some(bare) = host.strip_prefix('[') {
        let bare = bare.strip_suffix(']').unwrap_or_default();
        return bare.parse::<Ipv6Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    if is_number(last) {
        // An address, right or wrong.
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| !label.is_empty() && label.chars().all(is_fine);
    host.split('.').all(is_label) && idna::domain_to_ascii(host).is_ok()
}

/// As browsers and what is made after them read a part of an address.
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.chars().all(|c| c.is_ascii_hexdigit()),
        None => !label.is_empty() && label.chars().all(|c| c.is_ascii_digit()),
    }
}

/// What Amazon allows; other services allow no more.
fn check_bucket(text: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.is_empty() || (3..=63).contains(&text.len()) && text.chars().all(is_fine) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no name of a bucket: 3 to 63 small letters, digits, - and ."
    ))
}

fn check_region(text: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(is_fine) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no region; write for example \"eu-central-1\""
    ))
}
