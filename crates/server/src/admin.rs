//! The local admin socket: what `posthaste user`, `media`, `status` and `reload` say to a running server.
//!
//! One line of JSON is a request, one line of JSON is its answer; a connection may carry several.
//! Only the owner of the socket's file (mode 0600) can connect.

mod client;
mod socket;

pub(crate) use client::Client;
pub(crate) use socket::{AdminSocket, Handler};

use serde::{Deserialize, Serialize};

/// The longest request: an address of 3,071 bytes and a password of 1,023, each escaped.
pub(crate) const REQUEST_BYTES_MOST: u64 = 32 * 1024;

/// Accounts in one answer; a longer list is asked for page by page.
pub(crate) const PAGE: usize = 500;

/// What can be asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    UserAdd {
        account: String,
        password: String,
    },
    UserPasswd {
        account: String,
        password: String,
    },
    UserRemove {
        account: String,
    },
    UserDisable {
        account: String,
    },
    UserEnable {
        account: String,
    },
    /// With a resource one session is meant, else all.
    UserKick {
        address: String,
    },
    UserList {
        host: Option<String>,
        after: Option<String>,
    },
    /// What one account has uploaded, or all: then those after `after`.
    MediaUsage {
        account: Option<String>,
        after: Option<String>,
    },
    /// Removes files of an account, or counts them; those after `after`, as far as one step goes.
    MediaPurge {
        account: String,
        older_than_seconds: Option<u64>,
        after: Option<String>,
        dry_run: bool,
    },
    /// What is known of a file: its name in its address, or the whole address.
    MediaFile {
        file: String,
    },
    /// Removes a file.
    MediaRemove {
        file: String,
    },
    Reload,
    Status,
}

/// What comes back.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    /// So many sessions have been ended.
    Ended(usize),
    /// A page of accounts; `more` says that the list goes on after the last.
    Accounts {
        accounts: Vec<String>,
        more: bool,
    },
    /// A page; it goes on after `after`.
    MediaUsage {
        accounts: Vec<MediaUsage>,
        limits: MediaLimits,
        after: Option<String>,
    },
    /// So many were removed, or would be; it goes on after `after`.
    MediaPurged {
        files: u64,
        bytes: u64,
        after: Option<String>,
    },
    MediaFile(MediaFile),
    Reloaded {
        taken: Vec<String>,
        waiting: Vec<String>,
    },
    Status(Status),
    /// It was not done, for this reason.
    Refused(String),
}

/// How the server is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
    /// `serving`, `draining`, or `store failed` with the reason.
    pub(crate) state: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) listening: Vec<String>,
    /// Where the metrics are.
    pub(crate) metrics: Vec<String>,
    pub(crate) sessions: u64,
    pub(crate) resumable_sessions: u64,
    pub(crate) queued_stanzas: u64,
    pub(crate) longest_queue_stanzas: u64,
    pub(crate) store_bytes: u64,
    pub(crate) memory_bytes: u64,
}

/// What an account has uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MediaUsage {
    pub(crate) account: String,
    /// Those that are being uploaded included.
    pub(crate) files: u64,
    pub(crate) uploading: u64,
    /// What was uploaded twice counts once.
    pub(crate) bytes: u64,
    /// Of the uploads that have begun today (UTC).
    pub(crate) today_bytes: u64,
}

/// What an account may upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MediaLimits {
    pub(crate) file_bytes: u64,
    pub(crate) account_files: u64,
    pub(crate) account_bytes: u64,
    pub(crate) day_bytes: u64,
}

/// What there is to know of a file before it is removed. What its sender calls it is nobody's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MediaFile {
    pub(crate) account: String,
    pub(crate) bytes: u64,
    pub(crate) content_type: String,
    /// As `2026-11-22T09:08:07.006Z`.
    pub(crate) uploaded: String,
}
