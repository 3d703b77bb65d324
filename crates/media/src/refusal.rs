//! Why a request gets nothing, and what its sender is told: a status and a line of text.

use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use posthaste_gate::Body;
use posthaste_im::clock::Timestamp;
use posthaste_im::media::{LedgerError, SlotError};

use crate::resume;
use crate::store::StoreError;

/// When to come again if all places are taken: as long as a picture takes.
const BUSY_SECONDS: u64 = 10;
/// When to come again after a fault of ours that somebody may have to mend.
const FAULT_SECONDS: u64 = 60;

/// What is done here.
pub(crate) const METHODS: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such file, or it is not there any more.
    NotFound,
    /// Nothing of that kind is done here.
    Method,
    /// What it says of itself cannot be.
    Malformed(&'static str),
    /// No slot, or none of ours, or one of another address.
    Forged,
    /// The slot was not used in time, or its upload took too long.
    Expired,
    /// The slot has been used.
    Used,
    /// The account that got the slot is gone.
    NoAccount,
    /// It does not say how long it is.
    NoLength,
    /// It is longer than the slot is good for: so many bytes.
    TooLong(u64),
    /// It is shorter than the slot is for: so many bytes.
    TooShort(u64),
    /// It is something else than the slot says.
    WrongType,
    /// The sender stopped sending.
    Stalled,
    /// The body ended before its end, or is none.
    Broken,
    /// The same upload goes on somewhere else.
    TakenOver,
    /// Nothing is had of such a part.
    OutOfRange(u64),
    /// A condition of the request does not hold.
    ConditionFailed,
    /// An upload is resumed from somewhere else than where it is: here.
    WrongOffset(u64),
    /// The account has no room.
    AccountFull,
    /// Not today; again in so many seconds.
    DayFull(u64),
    /// Too many uploads of the account are under way.
    TooManyOpen,
    /// As many are served as can be.
    Busy,
    /// The disk is full.
    StoreFull,
    /// Something of ours does not work, and may work again in a while.
    Unavailable,
    /// Something of ours is broken.
    Fault,
    /// An upload is resumed by another version of tus.
    Version,
}

impl Refusal {
    /// What the ledger's refusal is here.
    pub(crate) fn of_ledger(error: LedgerError, now: Timestamp) -> Refusal {
        match error {
            LedgerError::NoAccount => Refusal::NoAccount,
            LedgerError::Used => Refusal::Used,
            LedgerError::NotFound => Refusal::Expired,
            LedgerError::AccountFull => Refusal::AccountFull,
            LedgerError::DayFull(until) => {
                let wait = until.millis().saturating_sub(now.millis());
                Refusal::DayFull(wait.div_ceil(1_000))
            }
            LedgerError::TooManyOpen => Refusal::TooManyOpen,
            LedgerError::Store(error) => {
                tracing::warn!(%error, "what is known of files cannot be read or written");
                Refusal::Unavailable
            }
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Malformed(_) | Refusal::TooShort(_) | Refusal::Broken => {
                StatusCode::BAD_REQUEST
            }
            Refusal::Forged | Refusal::NoAccount => StatusCode::FORBIDDEN,
            Refusal::Expired => StatusCode::GONE,
            Refusal::Used | Refusal::WrongOffset(_) | Refusal::TakenOver => StatusCode::CONFLICT,
            Refusal::NoLength => StatusCode::LENGTH_REQUIRED,
            Refusal::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Stalled => StatusCode::REQUEST_TIMEOUT,
            Refusal::OutOfRange(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::ConditionFailed | Refusal::Version => StatusCode::PRECONDITION_FAILED,
            Refusal::AccountFull | Refusal::StoreFull => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::DayFull(_) | Refusal::TooManyOpen => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Busy | Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Fault => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn reason(&self) -> String {
        let reason = match self {
            Refusal::TooLong(size) => {
                return format!("too large: this slot is for {size} bytes");
            }
            Refusal::TooShort(size) => {
                return format!("too small: this slot is for {size} bytes");
            }
            Refusal::WrongOffset(offset) => {
                return format!("the upload is at {offset} bytes");
            }
            Refusal::OutOfRange(size) => {
                return format!("the file has {size} bytes");
            }
            Refusal::Malformed(what) => what,
            Refusal::NotFound => "there is no such file",
            Refusal::Method => "nothing of that kind is done here",
            Refusal::Forged => "no slot for this address",
            Refusal::Expired => "the slot has expired: ask for another",
            Refusal::Used => "the slot has been used: ask for another",
            Refusal::NoAccount => "the account of this slot is gone",
            Refusal::NoLength => "the length of the file has to be said",
            Refusal::WrongType => "the slot is for another type",
            Refusal::Stalled => "the file does not come",
            Refusal::Broken => "the file has not come whole",
            Refusal::TakenOver => "the upload goes on in another request",
            Refusal::ConditionFailed => "the file is another one",
            Refusal::AccountFull => "the account has no room for it: remove some files first",
            Refusal::DayFull(_) => "the account has uploaded enough today",
            Refusal::TooManyOpen => "too many uploads of the account are under way",
            Refusal::Busy => "too many transfers at this moment",
            Refusal::StoreFull => "there is no room for it",
            Refusal::Unavailable => "it does not work at this moment",
            Refusal::Fault => "it does not work",
            Refusal::Version => "uploads are resumed by tus 1.0.0",
        };
        reason.to_owned()
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Busy | Refusal::TooManyOpen => Some(BUSY_SECONDS),
            Refusal::DayFull(seconds) => Some(*seconds),
            Refusal::Unavailable => Some(FAULT_SECONDS),
            _ => None,
        }
    }

    /// The answer.
    pub(crate) fn answer(&self) -> Response<Body> {
        let text = Full::new(format!("{}\n", self.reason()).into());
        let mut response = Response::new(text.map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Refusal::Method => {
                headers.insert(ALLOW, HeaderValue::from_static(METHODS));
            }
            Refusal::OutOfRange(size) => {
                if let Ok(range) = HeaderValue::try_from(format!("bytes */{size}")) {
                    headers.insert(CONTENT_RANGE, range);
                }
            }
            Refusal::WrongOffset(offset) => {
                headers.insert(resume::UPLOAD_OFFSET, HeaderValue::from(*offset));
            }
            Refusal::Version => {
                headers.insert(
                    resume::TUS_VERSION,
                    HeaderValue::from_static(resume::VERSION),
                );
            }
            _ => {}
        }
        response
    }
}

impl From<SlotError> for Refusal {
    fn from(error: SlotError) -> Refusal {
        match error {
            SlotError::Forged => Refusal::Forged,
            SlotError::Expired => Refusal::Expired,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        // The store has told the operator.
        match error {
            StoreError::NotFound => Refusal::NotFound,
            StoreError::Full => Refusal::StoreFull,
            StoreError::Busy => Refusal::TakenOver,
            error if error.is_temporary() => Refusal::Unavailable,
            _ => Refusal::Fault,
        }
    }
}
