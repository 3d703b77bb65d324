//! Files that accounts have uploaded: who may upload what, what there is, and when it goes.
//!
//! The bytes are elsewhere (the `media` crate writes them to an object store and serves them over HTTP); here is what
//! is known of them. An account's home has a row for each of its files and the sum of them; a file has a partition of its
//! own, named by its unguessable [`FileId`], so that whoever knows the address finds it without knowing whose it is.
//! A file's partition is written only by whoever holds its account's home.
//!
//! The order of writing: a file's bytes, then whose it is, then the account's row, which alone says whether it is there;
//! it is removed in the order owner, row, bytes. So nothing is visible before it is whole, no link leads to bytes that are
//! erased, and what a crash leaves behind is known to the account's home: an unfinished row or a doomed object, which the
//! sweep clears.

mod address;
mod books;
pub(crate) mod delivered;
mod due;
mod ledger;
mod list;
mod names;
mod preview;
mod record;
mod removal;
mod slot;
pub mod stats;
mod sweep;
pub mod usage;

pub use address::{PATH, address, file_in};
pub use ledger::{
    Claimed, LedgerError, abandon, adopt, check, claim, file, finish, progress, remove,
};
pub use list::{Listed, Page, list, usage};
pub use names::{FileId, ObjectName};
pub use preview::{
    MOST_THUMBNAIL_BYTES, MOST_TINY_BYTES, Order, Painter, Picture, PictureKind, Preview,
    SmallPicture, keep_preview, preview,
};
pub use record::{Digest, File, Purpose, Record, Sent, State, Usage};
pub(crate) use removal::doom_account;
pub use slot::{Slot, SlotError, SlotKey, slot_key};
pub use sweep::{Doomed, Round, erased, sweep};

/// How long files stay. Purposes (XEP-0363) may say more: what is `permanent` or of a `profile` is kept, what is
/// `ephemeral` goes when it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until the uploader removes them.
    Forever,
    /// So many days.
    Days(u32),
    /// Until everybody whom they were sent to has them, and one of these days longer; in any case the other ones.
    Delivered {
        /// Days after the last one got it, so that it can be looked at again.
        after: u32,
        /// Days after which it goes even if somebody has not got it.
        most: u32,
    },
}

/// What may be uploaded.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes that an account has at one time; what it has uploaded twice counts once.
    pub account_bytes: u64,
    /// Files that an account has at one time: each costs a row.
    pub account_files: u32,
    /// Bytes that an account uploads in a day (UTC).
    pub day_bytes: u64,
    /// Uploads of an account under way at one time.
    pub open_uploads: u32,
    /// How long a slot can be used, in seconds (XEP-0363 §7 recommends 300).
    pub slot_seconds: u32,
    /// How long an upload may take, in seconds, interruptions included.
    pub upload_seconds: u32,
    /// How long files stay.
    pub keep: Keep,
}

impl Limits {
    /// Bytes of the largest file that can ever be uploaded.
    pub fn largest(&self) -> u64 {
        self.file_bytes.min(self.account_bytes).min(self.day_bytes)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // A video of some minutes.
            file_bytes: 256 << 20,
            account_bytes: 10 << 30,
            account_files: 100_000,
            day_bytes: 2 << 30,
            // A phone sends an album at once.
            open_uploads: 32,
            slot_seconds: 300,
            // The largest file over a bad mobile connection.
            upload_seconds: 6 * 3600,
            // As messages are: a link lives as long as what it stands in.
            keep: Keep::Days(30),
        }
    }
}
