//! A slot: whoever has an account here is told where to upload one file, or why not (§4 to §6).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::upload::{self, file_too_large, quota_reached};
use posthaste_proto::xml::Element;

use super::Query;
use crate::clock::Timestamp;
use crate::error::WalkError;
use crate::ext::Answer;
use crate::media::stats::Refused;
use crate::media::{self, FileId, LedgerError, Purpose, Slot};

/// Answers a request for a slot.
pub(super) async fn answer(query: &Query<'_>, payload: &Element) -> Answer {
    let account = query.account()?;
    let asked = upload::Request::read(payload)
        .map_err(|error| StanzaError::bad_request().with_text(error.to_string()))?;
    let now = query.node.now();
    let limits = &query.node.config().media;
    if asked.size > limits.largest() {
        query.node.stats.media.refuse(Refused::Size);
        return Err(file_too_large(limits.largest()).into());
    }
    let purpose = purpose(asked.purpose);
    if let Purpose::Ephemeral(until) = purpose
        && until <= now
    {
        let error = StanzaError::not_acceptable();
        return Err(error.with_text("the file would be gone already").into());
    }
    media::check(query.node, &account, asked.size)
        .await
        .map_err(refusal)?;
    let slot = Slot {
        account,
        id: FileId::random(query.node),
        name: asked.name,
        size: asked.size,
        content_type: asked.content_type.unwrap_or_default(),
        purpose,
        expires: now.plus_millis(u64::from(limits.slot_seconds) * 1_000),
    };
    let key = media::slot_key(query.node).await.map_err(refusal)?;
    let get = media::address(query.base, &slot.id, &slot.name);
    let put = format!("{get}?slot={}", slot.sign(&key));
    query.node.stats.media.slots.count();
    Ok(Some(upload::Slot { put, get }.to_element()))
}

impl Query<'_> {
    /// Only accounts of the host that the service stands beside have files here.
    ///
    /// # Errors
    /// `<forbidden/>`, type auth (§6).
    pub(super) fn account(&self) -> Result<BareJid, StanzaError> {
        let is_ours = self.from.domain() == self.host.domain.as_str();
        match self.from.local() {
            Some(_) if is_ours => Ok(self.from.to_bare()),
            _ => Err(forbidden()),
        }
    }
}

fn forbidden() -> StanzaError {
    StanzaError::forbidden().with_text("only accounts of this server upload files here")
}

fn purpose(said: upload::Purpose) -> Purpose {
    match said {
        upload::Purpose::Message => Purpose::Message,
        upload::Purpose::Profile => Purpose::Profile,
        upload::Purpose::Ephemeral(until) => Purpose::Ephemeral(Timestamp(until)),
        upload::Purpose::Permanent => Purpose::Permanent,
    }
}

/// What a client is told of what the ledger says.
pub(super) fn refusal(error: LedgerError) -> WalkError {
    let refused = match error {
        LedgerError::NoAccount => forbidden(),
        LedgerError::NotFound | LedgerError::Used => StanzaError::item_not_found(),
        LedgerError::AccountFull => quota_reached(
            "there is no room for more files: remove some of yours first",
            None,
        ),
        LedgerError::DayFull(until) => quota_reached(
            "you have uploaded as much as may be uploaded in a day",
            Some(until.to_string()),
        ),
        LedgerError::TooManyOpen => quota_reached("too many of your uploads are under way", None),
        LedgerError::Store(error) => return error,
    };
    refused.into()
}
