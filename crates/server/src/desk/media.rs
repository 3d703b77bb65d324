//! Requests about what accounts have uploaded.

use super::{ours, parse};
use crate::admin::{Answer, MediaFile, MediaLimits, MediaUsage};
use posthaste_im::media::usage::{self, AccountUsage, Which};
use posthaste_im::media::{self, FileId};
use posthaste_im::node::Node;

pub(super) async fn usage_of(
    node: &Node,
    account: Option<String>,
    after: Option<String>,
) -> Result<Answer, String> {
    let (accounts, after) = match account {
        Some(account) => {
            let account = parse(&account)?;
            let usage = usage::usage_of(node, &account).await.map_err(told)?;
            // Of whichever host, and whether it is served still or not, as in `purge`.
            if usage.files == 0 {
                exists(node, &ours(node, account)?).await?;
            }
            (vec![usage], None)
        }
        None => {
            let after = after.map(|after| parse(&after)).transpose()?;
            usage::usages(node, after.as_ref()).await.map_err(told)?
        }
    };
    let limits = &node.config().media;
    Ok(Answer::MediaUsage {
        accounts: accounts.iter().map(shown).collect(),
        limits: MediaLimits {
            file_bytes: limits.file_bytes,
            account_files: limits.account_files.into(),
            account_bytes: limits.account_bytes,
            day_bytes: limits.day_bytes,
        },
        after: after.map(|after| after.to_string()),
    })
}

fn shown(usage: &AccountUsage) -> MediaUsage {
    MediaUsage {
        account: usage.account.to_string(),
        files: usage.files.into(),
        uploading: usage.open.into(),
        bytes: usage.bytes,
        today_bytes: usage.day_bytes,
    }
}

/// Mistyped addresses are not taken for somebody who has nothing.
async fn exists(node: &Node, account: &posthaste_proto::jid::BareJid) -> Result<(), String> {
    match node.accounts().exists(account).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{account}: there is no such account")),
        Err(error) => Err(format!("{account}: {error}")),
    }
}

pub(super) async fn purge(
    node: &Node,
    account: &str,
    older_than_seconds: Option<u64>,
    after: Option<String>,
    dry_run: bool,
) -> Result<Answer, String> {
    // Of whichever host: what a host that is served no more has left may be what is to go.
    let account = parse(account)?;
    let after = after.map(|after| id(&after)).transpose()?;
    let now = node.now();
    let which = Which {
        before: older_than_seconds.map(|age| now.minus_millis(age.saturating_mul(1_000))),
        after: after.as_ref(),
    };
    let found = match dry_run {
        true => usage::count(node, &account, which).await,
        false => usage::purge(node, &account, which).await,
    };
    let found = found.map_err(told)?;
    Ok(Answer::MediaPurged {
        files: found.files.into(),
        bytes: found.bytes,
        after: found.next.map(|next| next.to_string()),
    })
}

pub(super) async fn file(node: &Node, file: &str) -> Result<Answer, String> {
    let known = known(node, &id(file)?).await?;
    Ok(Answer::MediaFile(MediaFile {
        account: known.account.to_string(),
        bytes: known.size,
        content_type: known.content_type,
        uploaded: known.created.to_string(),
    }))
}

pub(super) async fn remove(node: &Node, file: &str) -> Result<Answer, String> {
    let id = id(file)?;
    let known = known(node, &id).await?;
    let removed = media::remove(node, &known.account, &id).await;
    removed.map(|()| Answer::Done).map_err(told)
}

async fn known(node: &Node, id: &FileId) -> Result<media::File, String> {
    let known = media::file(node, id).await.map_err(told)?;
    known.ok_or_else(|| format!("there is no file {id}: it was removed, or never uploaded whole"))
}

/// The name of a file: alone, or as a part of its address.
fn id(text: &str) -> Result<FileId, String> {
    let mut parts = text.split(['/', '?', '#']);
    parts.find_map(FileId::parse).ok_or_else(|| {
        format!("{text:?} names no file; give its address, or the 24 letters and digits after /media/ in it")
    })
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_address_or_by_its_name() {
        let name = "abcdefghijklmnopqrstuvw7";
        for text in [
            name.to_owned(),
            format!("https://example.org/media/{name}/balcony.jpg"),
            format!("http://127.0.0.1:5280/media/{name}/x?slot=abc"),
        ] {
            assert_eq!(id(&text).unwrap().as_str(), name);
        }
        let why = id("https://example.org/media/x").unwrap_err();
        assert!(why.contains("names no file"), "{why}");
    }
}
