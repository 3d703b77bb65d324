//! What an account has uploaded. XEP-0133 is older than that, so that the command and its form are ours.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::xep::data_form::{DataForm, Field, FieldKind, FormKind};

use super::{account_of, form, of_host, question, required};
use crate::error::WalkError;
use crate::ext::commands::{Command, Outcome, Run, Submission};
use crate::media::usage::usage_of;

const ADMIN: &str = "urn:posthaste:admin:0";

/// Not of XEP-0133.
pub(super) const USAGE: Command = of_host(
    "urn:posthaste:admin:0#media-usage",
    "Get User's Uploaded Files",
    Some(|_| {
        let whom = question(
            "accountjid",
            FieldKind::JidSingle,
            "The address of the user",
        );
        form(
            "Getting What a User Has Uploaded",
            "Fill out this form to learn how many files a user has uploaded, and how much of the limits that is.",
        )
        .with_field(required(whom))
    }),
    usage,
);

fn usage<'r>(run: &'r Run<'r>, told: Submission<'r>) -> BoxFuture<'r, Result<Outcome, WalkError>> {
    async move {
        let account = account_of(run, told.form, "accountjid").await?;
        let used = usage_of(run.node, &account).await?;
        let limits = &run.node.config().media;
        let mut result = DataForm::new(FormKind::Result, ADMIN);
        let rows: [(&str, &str, u64); 7] = [
            ("files", "Files", used.files.into()),
            (
                "files_most",
                "Files that there may be",
                limits.account_files.into(),
            ),
            (
                "uploading",
                "Files that are being uploaded",
                used.open.into(),
            ),
            ("bytes", "Bytes", used.bytes),
            (
                "bytes_most",
                "Bytes that there may be",
                limits.account_bytes,
            ),
            ("today", "Bytes uploaded today", used.day_bytes),
            (
                "today_most",
                "Bytes that may be uploaded in a day",
                limits.day_bytes,
            ),
        ];
        for (var, label, value) in rows {
            let field = Field::new(var, [value.to_string()]).of_kind(FieldKind::TextSingle);
            result.fields.push(field.labelled(label));
        }
        Ok(Outcome {
            payload: Some(result.to_element()),
            ..Outcome::default()
        })
    }
    .boxed()
}
